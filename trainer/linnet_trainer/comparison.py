"""Other runs of the model that the card sets this one beside: the champion's, and the last five."""

from __future__ import annotations

import json
from typing import Any

from linnet_trainer import champion, contract, registry
from linnet_trainer.report import Beside

RUNS = 5


def others(tracker: registry.Tracker, rival: champion.Rival | None) -> tuple[Beside, ...]:
    """Return the champion's run first, then the newest ones of the model without it."""
    found: list[Beside] = []
    if rival is not None and rival.run_id:
        run = tracker.read_run(rival.run_id)
        if run is not None:
            found.append(_read(run, f"champion (version {rival.version})"))
    for run in tracker.recent(RUNS + len(found)):
        if rival is None or run.info.run_id != rival.run_id:
            found.append(_read(run, run.data.tags.get(contract.TAG_NAME) or run.info.run_id))
    return tuple(found[: RUNS + 1 if rival is not None and rival.run_id else RUNS])


def _read(run: Any, title: str) -> Beside:
    dataset = json.loads(run.data.tags.get(contract.TAG_DATASET, "{}"))
    return Beside(
        title=title,
        params=dict(run.data.params),
        metrics=dict(run.data.metrics),
        rows=str(dataset.get("rows", "")),
        data=str(dataset.get("sha256", "")),
    )
