"""The trials of a search as nested runs of MLflow: what people look at, and what outlives a pod.

A study that was lost with its pod is built again from them, so a trial's run is ended before the
study is told. The tag `linnet.dev/trial` holds what a study knows of a trial; its parameters are
the run's.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from linnet_trainer import contract
from linnet_trainer.registry import Tracker, calling

_PARENT = "mlflow.parentRunId"


class State(StrEnum):
    """How far a trial is."""

    RUNNING = "Running"
    COMPLETE = "Complete"
    PRUNED = "Pruned"
    FAILED = "Failed"
    """Its parameters cannot be fitted."""
    LOST = "Lost"
    """Its pod was lost with it."""


_STATUS = {
    State.COMPLETE: "FINISHED",
    State.PRUNED: "FINISHED",
    State.FAILED: "FAILED",
    State.LOST: "KILLED",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One trial as its run tells of it."""

    number: int
    pod: int
    """Index of the pod that tries it."""
    parameters: Mapping[str, str]
    """As `search.write` wrote them."""
    state: State = State.RUNNING
    value: float | None = None
    reported: tuple[float, ...] = field(default=())
    """What the pruner was told, fold by fold."""
    error: str = ""
    run_id: str = ""


class Trials:
    """The nested runs of one search."""

    def __init__(self, tracker: Tracker) -> None:
        self._client = MlflowClient()
        self._tracker = tracker

    def begin(self, trial: Trial) -> str:
        """Create the run of a trial; return its id."""
        with calling("start the run of a trial"):
            run = self._client.create_run(
                self._tracker.experiment_id,
                run_name=f"trial-{trial.number}",
                tags={
                    _PARENT: self._tracker.run_id,
                    contract.TAG_TRIAL: _render(trial),
                    "mlflow.user": "linnet",
                },
            )
            params = [Param(name, value) for name, value in trial.parameters.items()]
            self._client.log_batch(run.info.run_id, params=params)
        return str(run.info.run_id)

    def end(self, trial: Trial, *, metric: str, folds: Iterable[float] = ()) -> None:
        """Record how a trial ended, with the metric of its folds and their mean; end its run."""
        now = int(time.time() * 1000)
        metrics = [
            Metric(f"fold_{metric}", score, now, step) for step, score in enumerate(folds, start=1)
        ]
        if trial.value is not None:
            metrics.append(Metric(metric, trial.value, now, 0))
        tags = [RunTag(contract.TAG_TRIAL, _render(trial))]
        with calling("end the run of a trial"):
            self._client.log_batch(trial.run_id, metrics=metrics, tags=tags)
            self._client.set_terminated(trial.run_id, _STATUS[trial.state])

    def read(self) -> list[Trial]:
        """Return all trials in order of their numbers; of two with one number, the older one."""
        found: dict[int, Trial] = {}
        token: str | None = None
        with calling("read the trials"):
            while True:
                page = self._client.search_runs(
                    [self._tracker.experiment_id],
                    filter_string=f"tags.`{_PARENT}` = '{self._tracker.run_id}'",
                    order_by=["attributes.start_time ASC"],
                    page_token=token,
                )
                for run in page:
                    trial = _parse(run)
                    if trial is not None:
                        found.setdefault(trial.number, trial)
                token = page.token
                if not token:
                    return [found[number] for number in sorted(found)]


def _render(trial: Trial) -> str:
    document: dict[str, Any] = {
        "number": trial.number,
        "pod": trial.pod,
        "state": str(trial.state),
        "reported": list(trial.reported),
    }
    if trial.value is not None:
        document["value"] = trial.value
    if trial.error:
        document["error"] = contract.cut(trial.error, contract.MESSAGE_LENGTH)
    return json.dumps(document, ensure_ascii=False)


def _parse(run: Any) -> Trial | None:
    """Read a run; None for one that somebody else nested here, or that says nothing."""
    try:
        document = json.loads(run.data.tags[contract.TAG_TRIAL])
        return Trial(
            number=int(document["number"]),
            pod=int(document["pod"]),
            parameters=dict(run.data.params),
            state=State(document["state"]),
            value=document.get("value"),
            reported=tuple(map(float, document["reported"])),
            error=str(document.get("error", "")),
            run_id=run.info.run_id,
        )
    except (KeyError, TypeError, ValueError):
        return None
