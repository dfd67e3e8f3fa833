"""Parts of what is recorded: decisions, arms, rejections and history, in one form for all."""

from __future__ import annotations

from datetime import datetime

from linnet.api.model_deployment import (
    Arm,
    DecidedBy,
    Decision,
    DecisionVerb,
    HistoryEntry,
    ModelDeploymentStatus,
    Rejected,
)
from linnet.api.reasons import Reason
from linnet.api.shared import cut, format_time
from linnet.core.plan import Finding
from linnet.core.registry import VersionView
from linnet.core.rollout import facts, judgement, steps
from linnet.core.rollout.analysis import State
from linnet.core.rollout.state import Observation

Status = ModelDeploymentStatus
HISTORY = 20
REJECTIONS = 10
MESSAGE = 1024


def update(status: Status, **changes: object) -> Status:
    return status.model_copy(update=changes)


def with_state(seen: Observation, status: Status, state: State, now: datetime) -> Status:
    """The status with other evidence, and everything that is told of it."""
    found = judgement.analysis_status(state, steps.rules(seen.spec), now=now)
    return update(status, analysis=found)


def arm_of(seen: Observation, version: VersionView) -> Arm:
    name, full = facts.revision_of(seen, version)
    return Arm(
        version=version.version,
        revision=name,
        hash=full,
        digest=version.digest or None,
        provenance="Verified" if version.digest else "Unverified",
    )


def decision(
    verb: DecisionVerb,
    revision: str,
    reason: Reason,
    message: str,
    now: datetime,
    *,
    performed: bool = False,
) -> Decision:
    return Decision(
        verb=verb,
        revision=revision,
        reason=reason.value,
        message=cut(message, MESSAGE),
        time=format_time(now),
        performed=performed,
    )


def rejected(
    seen: Observation, status: Status, arm: Arm, finding: Finding, message: str, now: datetime
) -> tuple[Rejected, ...]:
    """The rejections with one more, newest first; the same content is remembered once."""
    entry = Rejected(
        version=arm.version,
        revision=arm.revision,
        hash=facts.content_of(seen, arm),
        reason=finding.reason.value,
        time=format_time(now),
        e=status.analysis.e if status.analysis is not None else None,
        message=cut(message, MESSAGE),
    )
    others = tuple(each for each in status.rejected if each.hash != entry.hash)
    return (entry, *others)[:REJECTIONS]


def closed(status: Status, revision: str, now: datetime) -> tuple[HistoryEntry, ...]:
    """History in which a revision no longer serves."""
    return tuple(
        old.model_copy(update={"to": format_time(now)})
        if old.revision == revision and old.to is None
        else old
        for old in status.history
    )


def ended(
    arm: Arm,
    history: tuple[HistoryEntry, ...],
    share: tuple[str | None, int],
    by: DecidedBy,
    message: str,
    now: datetime,
) -> tuple[HistoryEntry, ...]:
    """History with a revision that had a share until now: since when, and how many percent."""
    since, percent = share
    entry = HistoryEntry(
        version=arm.version,
        revision=arm.revision,
        from_=since,
        to=format_time(now),
        max_weight=percent,
        decided_by=by,
        message=cut(message, MESSAGE),
    )
    return (entry, *history)[:HISTORY]


def began(
    arm: Arm, history: tuple[HistoryEntry, ...], by: DecidedBy, message: str, now: datetime
) -> tuple[HistoryEntry, ...]:
    """History with a revision that has all traffic from now on."""
    entry = HistoryEntry(
        version=arm.version,
        revision=arm.revision,
        from_=format_time(now),
        max_weight=100,
        decided_by=by,
        message=cut(message, MESSAGE),
    )
    return (entry, *history)[:HISTORY]
