"""Where MLflow's pages show a job's run, and what its code asked of language models."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.parse import quote, urlencode

from linnet.api.training_job import LLM, Evaluation, Prompt, Traces, TrainingJobSpec
from linnet.core.registry import RunView

PROMPTS = "mlflow.linkedPrompts"
"""MLflow's tag of a run: JSON of the prompts that were registered or loaded in it."""
RUN_TYPE = "mlflow.runType"
EVALUATED = "genai_evaluate"
"""MLflow's `RUN_TYPE` of a run in which `mlflow.genai.evaluate` has scored answers."""
MOST = 16
"""Prompts in status."""


def may_ask(spec: TrainingJobSpec) -> bool:
    """Whether the job runs code of the user's, which may ask language models."""
    return spec.module is not None or spec.custom is not None


def run(seen: RunView, base: str) -> str:
    """The page of a run."""
    return f"{_experiment(seen, base)}/runs/{seen.run_id}"


def language_models(seen: RunView, base: str) -> LLM | None:
    """What the code of a run did with language models; None where it did nothing."""
    traces = _traces(seen, base)
    prompts = tuple(_prompts(seen, base))[:MOST]
    evaluation = None
    if seen.tags.get(RUN_TYPE) == EVALUATED:
        chosen = urlencode({"selectedRunUuid": seen.run_id})
        evaluation = Evaluation(url=f"{_experiment(seen, base)}/evaluation-runs?{chosen}")
    if traces is None and not prompts and evaluation is None:
        return None
    return LLM(traces=traces, prompts=prompts or None, evaluation=evaluation)


def _traces(seen: RunView, base: str) -> Traces | None:
    found = seen.traces
    if found is None or not found.count:
        return None
    return Traces(
        count=found.count,
        failed=found.failed,
        input_tokens=found.input_tokens,
        output_tokens=found.output_tokens,
        url=f"{run(seen, base)}/traces",
    )


def _prompts(seen: RunView, base: str) -> Iterator[Prompt]:
    """The linked prompts; none where the tag, which anybody may write, is not MLflow's JSON."""
    try:
        for each in json.loads(seen.tags.get(PROMPTS, "[]")):
            name, version = str(each["name"]), str(each["version"])
            chosen = urlencode({"promptVersion": version})
            url = f"{_experiment(seen, base)}/prompts/{quote(name, safe='')}?{chosen}"
            yield Prompt(name=name, version=version, url=url)
    except (ValueError, TypeError, KeyError):
        return


def _experiment(seen: RunView, base: str) -> str:
    return f"{base}/#/experiments/{seen.experiment_id}"
