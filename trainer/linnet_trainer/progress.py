"""Saying where a run is: a line in the pod's log and the run's tag `linnet.dev/progress`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from linnet_trainer.contract import TAG_PROGRESS, Stage, cut

PERCENT = {
    Stage.LOADING: 5,
    Stage.VALIDATING: 15,
    Stage.FITTING: 25,
    Stage.EVALUATING: 75,
    Stage.REGISTERING: 90,
}


class Progress:
    """The stages of one run; the operator copies the tag into `status.progress`."""

    def __init__(self, set_tag: Callable[[str, str], None]) -> None:
        self._set_tag = set_tag

    def enter(self, stage: Stage, message: str, *, percent: int | None = None) -> None:
        """Report a stage, or progress inside it."""
        share = PERCENT[stage] if percent is None else percent
        say(f"{stage} {share:3d} %  {message}")
        self._set_tag(TAG_PROGRESS, render(stage, share, message))


def render(stage: Stage, percent: int, message: str) -> str:
    """Render the tag's value."""
    document = {"stage": str(stage), "percent": percent, "message": cut(message, 200)}
    return json.dumps(document, ensure_ascii=False)


def say(line: str) -> None:
    """Write one line to the pod's log."""
    print(line, file=sys.stderr, flush=True)
