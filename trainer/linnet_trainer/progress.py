"""Saying where a run is: a line in the pod's log and the run's tag `linnet.dev/progress`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from linnet_trainer.contract import TAG_PROGRESS, Stage, cut

PERCENT = {
    Stage.LOADING: 5,
    Stage.VALIDATING: 15,
    Stage.SEARCHING: 20,
    Stage.FITTING: 25,
    Stage.EVALUATING: 75,
    Stage.REGISTERING: 90,
}


class Progress:
    """The stages of one run; the operator copies the tag into `status.progress`."""

    def __init__(self, set_tag: Callable[[str, str], None]) -> None:
        self._set_tag = set_tag
        self._reached = 0

    def enter(
        self,
        stage: Stage,
        message: str,
        *,
        percent: int | None = None,
        remaining: int | None = None,
    ) -> None:
        """Report a stage, or progress inside it; the percentage of a run never falls.

        `remaining` is how many seconds the stage will take, estimated.
        """
        # A search takes the run further than the place where a fit without one begins.
        self._reached = max(self._reached, PERCENT[stage] if percent is None else percent)
        say(f"{stage} {self._reached:3d} %  {message}")
        self._set_tag(TAG_PROGRESS, render(stage, self._reached, message, remaining=remaining))


def render(stage: Stage, percent: int, message: str, *, remaining: int | None = None) -> str:
    """Render the tag's value."""
    document = {"stage": str(stage), "percent": percent, "message": cut(message, 200)}
    if remaining is not None:
        document["remainingSeconds"] = remaining
    return json.dumps(document, ensure_ascii=False)


def say(line: str) -> None:
    """Write one line to the pod's log."""
    print(line, file=sys.stderr, flush=True)
