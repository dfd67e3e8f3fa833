"""Conditions as all kinds state them: without times, which `merge` gives when they are written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from linnet.api import conditions as kinds
from linnet.api.conditions import Condition, Status
from linnet.api.reasons import Reason
from linnet.core.plan import Finding


def say(kind: str, truth: Status, reason: Reason | str, message: str) -> Condition:
    """One condition."""
    return Condition(type=kind, status=truth, reason=str(reason), message=message)


def judged_from(generation: int, found: Iterable[Condition | None]) -> tuple[Condition, ...]:
    """Those that hold or are always written, with the generation that they were judged from."""
    return tuple(
        each.model_copy(update={"observed_generation": generation})
        for each in found
        if each is not None
    )


def stalled(
    resource: str, before: Sequence[Condition], finding: Finding, generation: int
) -> tuple[Condition, ...]:
    """Nothing was judged: what was said before stays, the summary and Stalled say why.

    Args:
        resource: the kind of the object, such as `TrainingJob`.
        before: the conditions as they were written last.
        finding: why nothing is judged.
        generation: the object's.
    """
    summary = kinds.SUMMARY[resource]
    others = [
        kind for kind in kinds.TYPES[resource] if kind not in {summary, *kinds.ONLY_WHILE_TRUE}
    ]
    return judged_from(
        generation,
        (
            say(summary, Status.FALSE, finding.reason, finding.message),
            *(
                kinds.get(before, kind)
                or say(kind, Status.UNKNOWN, Reason.NOT_JUDGED_YET, "not judged yet")
                for kind in others
            ),
            say(kinds.STALLED, Status.TRUE, finding.reason, finding.message),
        ),
    )
