"""A training program that asks a language model: it labels texts, a small model learns the labels.

People have labelled some remarks, the newest. A language model that speaks the chat-completions
protocol labels the others; how often it agrees with the people is a metric of the run, which a gate
judges; then `train.py` trains a classifier of words, which serves without a language model. Every
call is a trace of the run, the prompt is linked to it: `docs/explanation/language-models.md`.

    OPENAI_BASE_URL=http://… OPENAI_API_KEY=… OPENAI_MODEL=… python label.py
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from typing import Any

import mlflow
import pandas as pd
import train
from linnet_trainer import tracing
from mlflow.entities import SpanType
from mlflow.genai import scorers
from mlflow.tracing.constant import SpanAttributeKey
from sklearn.compose import make_column_transformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

TEXT = "remark"
ANSWERS = {"yes": True, "no": False}
PROMPT = "remark-is-a-complaint"
TEMPLATE = (
    "Is this remark of a passenger a complaint? Answer yes or no, nothing else.\n\n{{remark}}"
)


def read(data: dict[str, Any], run_id: str) -> pd.DataFrame:
    """Read the table, and label with a language model what no person has labelled."""
    table = train.rows(data)
    if TEXT not in table:
        raise train.Refusal(f"this program reads texts: the table has no column '{TEXT}'")
    unknown = table[data["target"]].isna()
    with tracing.tracked(run_id):
        labeller = Labeller()
        table.loc[unknown, data["target"]] = [labeller(each) for each in table[TEXT][unknown]]
        evaluate(labeller, table[~unknown], data["target"])
    return table.astype({data["target"]: bool})


class Labeller:
    """Labels remarks with the newest version of the prompt."""

    def __init__(self) -> None:
        self.prompt = mlflow.genai.load_prompt(f"prompts:/{PROMPT}@latest", allow_missing=True)
        if self.prompt is None or self.prompt.template != TEMPLATE:
            made = mlflow.genai.register_prompt(PROMPT, TEMPLATE)
            # What is loaded while a run is active is linked to it.
            self.prompt = mlflow.genai.load_prompt(PROMPT, version=made.version)

    @mlflow.trace(name="label")
    def __call__(self, remark: str) -> bool:
        """Return whether a remark is a complaint."""
        said = ask([{"role": "user", "content": self.prompt.format(remark=remark)}])
        word = said.strip().strip(".").lower()
        if word not in ANSWERS:
            raise train.Refusal(f"the language model must answer yes or no, and says: {said[:100]}")
        return ANSWERS[word]


@mlflow.trace(name="chat", span_type=SpanType.CHAT_MODEL)
def ask(messages: list[dict[str, str]]) -> str:
    """Ask the language model; the client `openai`, where it is installed, is traced by itself."""
    request = urllib.request.Request(
        f"{os.environ['OPENAI_BASE_URL']}/chat/completions",
        json.dumps({"model": os.environ["OPENAI_MODEL"], "messages": messages}).encode(),
        {
            "Content-Type": "application/json",
            "Authorization": f"Bearer {os.environ['OPENAI_API_KEY']}",
        },
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        answer = json.load(response)
    if span := mlflow.get_current_active_span():
        used = answer["usage"]
        tokens = {
            "input_tokens": used["prompt_tokens"],
            "output_tokens": used["completion_tokens"],
            "total_tokens": used["total_tokens"],
        }
        span.set_attribute(SpanAttributeKey.CHAT_USAGE, tokens)
    return str(answer["choices"][0]["message"]["content"])


def evaluate(labeller: Labeller, known: pd.DataFrame, target: str) -> None:
    """Log how often the language model says what people said, as `agreement/mean`."""
    if known.empty:
        raise train.Refusal(f"no row has a '{target}': label some remarks by hand")
    cases = [
        {"inputs": {"remark": remark}, "expectations": {"label": bool(label)}}
        for remark, label in zip(known[TEXT], known[target], strict=True)
    ]
    mlflow.genai.evaluate(cases, [agreement], predict_fn=labeller.__call__)


@scorers.scorer
def agreement(outputs: bool, expectations: dict[str, bool]) -> bool:
    """Whether an answer is that of a person."""
    return outputs == expectations["label"]


def fit(inputs: pd.DataFrame, target: pd.Series, seed: int) -> Pipeline:
    """Fit a classifier of words: what serves asks no language model."""
    words = make_column_transformer((TfidfVectorizer(), TEXT))
    return make_pipeline(words, LogisticRegression(random_state=seed)).fit(inputs, target)


if __name__ == "__main__":
    sys.exit(train.main(read=read, fit=fit))
