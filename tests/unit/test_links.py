"""Links of a job: its run, and what its code did with language models."""

from __future__ import annotations

from typing import Any

import pytest
from linnet.api.training_job import LLM, Evaluation, Prompt
from linnet.api.training_job import Traces as TracesStatus
from linnet.core.registry import RunView, Traces
from linnet.core.training import links

BASE = "https://mlflow.example.com"
PAGE = f"{BASE}/#/experiments/3"
COUNTED = Traces(count=4, failed=1, input_tokens=70, output_tokens=9)


def seen(traces: Traces | None = None, **tags: str) -> RunView:
    return RunView(run_id="r1", experiment_id="3", status="FINISHED", tags=tags, traces=traces)


CASES: dict[str, tuple[RunView, LLM | None]] = {
    "a job that asked nothing has none": (
        seen(Traces(count=0, failed=0, input_tokens=0, output_tokens=0)), None,
    ),
    "an MLflow that counts no traces gives none": (seen(), None),
    "traces are counted and linked": (
        seen(COUNTED),
        LLM(
            traces=TracesStatus(
                count=4,
                failed=1,
                input_tokens=70,
                output_tokens=9,
                url=f"{PAGE}/runs/r1/traces",
            )
        ),
    ),
    "a prompt's name is quoted": (
        seen(**{links.PROMPTS: '[{"name": "a/b c", "version": "2"}]'}),
        LLM(
            prompts=(
                Prompt(
                    name="a/b c", version="2", url=f"{PAGE}/prompts/a%2Fb%20c?promptVersion=2"
                ),
            )
        ),
    ),
    "a tag that is no list of prompts is left alone": (
        seen(**{links.PROMPTS: '{"name": 1}'}), None,
    ),
    "a version that is too long is left alone": (
        seen(**{links.PROMPTS: '[{"name": "a", "version": "1234567890"}]'}), None,
    ),
    "an evaluation is linked": (
        seen(**{links.RUN_TYPE: links.EVALUATED}),
        LLM(evaluation=Evaluation(url=f"{PAGE}/evaluation-runs?selectedRunUuid=r1")),
    ),
    "a run of another type has no evaluation": (seen(**{links.RUN_TYPE: "training"}), None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_links(name: str) -> None:
    run, expected = CASES[name]
    found: Any = links.language_models(run, BASE)
    assert found == expected


def test_at_most_sixteen_prompts_are_told() -> None:
    text = ",".join(f'{{"name": "p{number}", "version": "1"}}' for number in range(20))
    found = links.language_models(seen(**{links.PROMPTS: f"[{text}]"}), BASE)
    assert found is not None
    assert found.prompts is not None
    assert [prompt.name for prompt in found.prompts] == [f"p{number}" for number in range(16)]


def test_the_run_has_its_page() -> None:
    assert links.run(seen(), BASE) == f"{PAGE}/runs/r1"
