"""What the user's code asks of language models, kept in the job's run.

Within `tracked`, MLflow's own means find their place by themselves: traces belong to the run, a
prompt that is registered or loaded is linked to it, `mlflow.genai.evaluate` writes its figures into
it. Values of variables that look like secrets are blotted out of every span before it leaves.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import mlflow
from mlflow.entities import LiveSpan, SpanStatus

from linnet_trainer import module
from linnet_trainer.registry import calling


def tracked(run_id: str) -> AbstractContextManager[None]:
    """Make a run the active one of this thread, and trace what is asked of language models.

    Calls through the client `openai`, where it is installed, are traced by themselves; for others
    there is `mlflow.trace`. At the end every trace is in the registry, and the run goes on.

    Raises:
        Unavailable: the registry did not answer, at the beginning or the end of the block.
    """
    # What is slow, at once: a block may have a limit of time.
    if importlib.util.find_spec("openai") is not None:
        mlflow.openai.autolog(silent=True)
    return _tracked(run_id)


@contextmanager
def _tracked(run_id: str) -> Iterator[None]:
    with calling("resume the run"):
        mlflow.start_run(run_id=run_id)
    try:
        with mlflow.tracing.configure(span_processors=[blot]):
            yield
    finally:
        mlflow.flush_trace_async_logging()
        with calling("go on with the run"):
            mlflow.end_run("RUNNING")


def blot(span: LiveSpan) -> None:
    """Blot the values of secrets out of a span: inputs, outputs, attributes and what was raised."""
    for key, value in span.attributes.items():
        if (clean := _clean(value)) != value:
            span.set_attribute(key, clean)
    status = span.status
    if status.description:
        span.set_status(SpanStatus(status.status_code, module.clean(status.description)))
    # Neither MLflow nor OpenTelemetry has a way to change an event that was recorded.
    for event in span._span.events:
        event._attributes = {key: _clean(value) for key, value in event.attributes.items()}


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return module.clean(value)
    if isinstance(value, dict):
        return {_clean(key): _clean(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    return value
