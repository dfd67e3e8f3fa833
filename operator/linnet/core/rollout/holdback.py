"""A share of the requests that the old champion keeps for a while after a promotion.

Both versions serve, so that their comparison goes on: the old champion stays the measure, the new
one is on trial, and may be sent back as on probation.
"""

from __future__ import annotations

from datetime import datetime

from linnet.api.model_deployment import (
    DecidedBy,
    HistoryEntry,
    HoldbackStatus,
    ModelDeploymentStatus,
)
from linnet.api.shared import format_time
from linnet.core.rollout import analysis, facts, holds, records, traffic
from linnet.core.rollout.state import Observation

Status = ModelDeploymentStatus


def begin(seen: Observation, status: Status) -> HoldbackStatus | None:
    """What a promotion leaves with the champion that goes; None where that could not answer."""
    asked = seen.spec.strategy.holdback
    if asked is None or not holds.is_available(seen, status.champion):
        return None
    return HoldbackStatus(percent=asked.percent)


def start(seen: Observation, status: Status, now: datetime) -> Status:
    """Begin its time once every gateway reports the share."""
    held = status.holdback
    if held is None or held.since is not None or not traffic.held_back(status):
        return status
    if not (seen.traffic.programmed and traffic.in_place(seen, status)):
        return status
    return records.update(status, holdback=held.model_copy(update={"since": format_time(now)}))


def end(seen: Observation, status: Status, now: datetime) -> Status:
    """Give all requests to the champion, for one of four reasons.

    A paused deployment keeps its shares; only an old champion that cannot answer loses its own.
    """
    held, why = status.holdback, _over(seen, status, now)
    if held is None or why is None:
        return status
    ended = records.update(
        status,
        holdback=held.model_copy(update={"ended": format_time(now)}),
        history=history(status, why, now),
    )
    state = facts.state_of(status)
    if state is None:
        return ended
    # What is open holds requests of both shares: it would confound them.
    return records.with_state(seen, ended, analysis.change_weight(state), now)


def _over(seen: Observation, status: Status, now: datetime) -> str | None:
    """Why a holdback is over, or None while it goes on."""
    if not traffic.held_back(status):
        return None
    if not holds.is_available(seen, status.previous):
        return "no pod of the old champion was ready"
    if seen.spec.paused:
        return None
    if seen.spec.strategy.holdback is None:
        return "`strategy.holdback` was taken away"
    ends = facts.holdback_ends(seen, status)
    if ends is not None and now >= ends:
        return "`strategy.holdback.duration` was over"
    if facts.on_probation(seen, status, now=now):
        return None
    wish, champion = facts.wish_of(seen), status.champion
    if wish is None or champion is None or facts.rejection_of(seen, status, wish) is not None:
        return None
    wanted = facts.revision_of(seen, wish)[0]
    return f"version {wish.version} was asked for" if wanted != champion.revision else None


def history(status: Status, why: str, now: datetime) -> tuple[HistoryEntry, ...]:
    """History with the share that the old champion kept, if it ever had it."""
    held, previous = status.holdback, status.previous
    if held is None or held.since is None or previous is None or not traffic.held_back(status):
        return status.history
    share, message = (held.since, held.percent), f"{held.percent} % were held back until {why}"
    return records.ended(previous, status.history, share, DecidedBy.PROBATION, message, now)
