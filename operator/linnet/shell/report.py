"""The one status write of a pass, and the events that follow it."""

from __future__ import annotations

import hashlib
import logging
import os
import socket
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from linnet.api import conditions as kinds
from linnet.api import labels
from linnet.api.conditions import Condition
from linnet.api.conditions import Status as Truth
from linnet.api.drift_policy import DriftPolicyStatus
from linnet.api.model_deployment import DecisionVerb, ModelDeploymentStatus
from linnet.api.reasons import Reason
from linnet.api.shared import API_VERSION, cut
from linnet.api.training_job import TrainingJobStatus
from linnet.core.plan import Event, Plan
from linnet.ports import Missing, Rejected, Unavailable
from linnet.shell import telemetry
from linnet.shell.cache import Key
from linnet.shell.world import World, monotonic

LOG = logging.getLogger("linnet.report")
Status = TrainingJobStatus | ModelDeploymentStatus | DriftPolicyStatus

REPEAT_AFTER = 600.0
"""An event with the same words is told again after this many seconds at the earliest."""
MOST_REMEMBERED = 10_000
NOTE = 1024
_ENDED = {
    DecisionVerb.PROMOTE: "promoted",
    DecisionVerb.ROLL_BACK: "rolled_back",
    DecisionVerb.WITHDRAW: "withdrawn",
}
_TOLD_OTHERWISE = frozenset({kinds.STALLED, kinds.FAILED, kinds.DRIFTED, kinds.RETRAINING})
"""The summary of the same pass says the same words, or an event of its own does."""
_SUMMARIES = frozenset(kinds.SUMMARY.values())
_ON_ITS_WAY = frozenset(
    reason.value
    for reason in (
        Reason.PREPARING,
        Reason.CANARY_IN_PROGRESS,
        Reason.ROLLING_BACK,
        Reason.SUPERSEDING,
        Reason.PAUSED,
        Reason.MANUAL_PAUSE,
        Reason.QUEUED,
        Reason.TRAINING,
        Reason.REGISTERING,
        Reason.SUSPENDED,
        Reason.FIRST_REVISION_STARTING,
        Reason.ALIAS_NOT_ASKED,
        Reason.NOT_WRITTEN,
    )
)
"""Reasons of a condition that is False because something goes on, as it should."""


async def write(key: Key, before: Status, plan: Plan[Any], world: World, *, now: datetime) -> bool:
    """Write the plan's status if it differs; True where it was written.

    The write carries the resourceVersion that was read: whoever was overtaken gets a Conflict and
    observes again, so a replayed pass neither counts twice nor overwrites a newer decision.
    """
    merged = kinds.merge(before.conditions, plan.conditions, now)
    after = plan.status.model_copy(update={"conditions": merged})
    known = world.cache.get(key)
    if after == before or known is None:
        return False
    body = {
        "apiVersion": API_VERSION,
        "kind": key.kind,
        "metadata": {
            "name": key.name,
            "namespace": key.namespace,
            "resourceVersion": known["metadata"]["resourceVersion"],
            "uid": known["metadata"]["uid"],
        },
        "status": after.manifest(),
    }
    answer = await world.cluster.apply_status(body, force=world.settings.take_over)
    world.cache.update(answer)
    _count(key, before, after)
    events = [*plan.events, *_transitions(before.conditions, merged)]
    await _post(key, str(known["metadata"]["uid"]), events, world, now=now)
    return True


def _transitions(before: Sequence[Condition], after: Sequence[Condition]) -> list[Event]:
    """The transitions of conditions that a person wants in the object's diary."""
    events: list[Event] = []
    for condition in after:
        old = kinds.get(before, condition.type)
        if _is_told(old, condition):
            events.append(_event(condition, warning=_is_bad(condition)))
    return events


def _is_told(old: Condition | None, new: Condition) -> bool:
    """What is bad, what is good again, and every step of the summary; what passes is not told."""
    if new.type in _TOLD_OTHERWISE:
        return False
    if old is None or (old.status, old.reason) == (new.status, new.reason):
        return new.type in _SUMMARIES and old is None and _is_bad(new)
    if new.type in _SUMMARIES:
        return True
    if old.status is new.status or new.reason == Reason.NOT_NEEDED.value:
        return False
    if new.type in (kinds.PROMOTED, kinds.REGISTERED):
        return new.status is not Truth.UNKNOWN
    return Truth.FALSE in (old.status, new.status) and Truth.UNKNOWN is not new.status


def _is_bad(condition: Condition) -> bool:
    """Whether a person should be warned; on its way is not bad."""
    return condition.status is Truth.FALSE and condition.reason not in _ON_ITS_WAY


def _event(condition: Condition, *, warning: bool) -> Event:
    return Event(Reason(condition.reason), condition.message, warning=warning)


def _count(key: Key, before: Status, after: Status) -> None:
    if isinstance(after, ModelDeploymentStatus) and isinstance(before, ModelDeploymentStatus):
        _count_rollout(key, before, after)
    if isinstance(after, TrainingJobStatus) and isinstance(before, TrainingJobStatus):
        _count_training(key, before, after)
    if isinstance(after, DriftPolicyStatus) and isinstance(before, DriftPolicyStatus):
        _count_drift(key, before, after)


def _count_drift(key: Key, before: DriftPolicyStatus, after: DriftPolicyStatus) -> None:
    if after.last_check is not None and after.last_check != before.last_check:
        outcome = after.last_check.outcome.value
        telemetry.CHECKS.labels(key.namespace, key.name, outcome).inc()
    was = before.retrain.in_flight if before.retrain is not None else None
    if was and after.retrain is not None and not after.retrain.in_flight:
        outcome = after.retrain.last_outcome or ""
        telemetry.RETRAININGS.labels(key.namespace, key.name, outcome).inc()


def _count_training(key: Key, before: TrainingJobStatus, after: TrainingJobStatus) -> None:
    if before.result is None and after.result is not None:
        telemetry.TRAININGS.labels(
            key.namespace, after.result.outcome.value, after.result.reason
        ).inc()


def _count_rollout(key: Key, before: ModelDeploymentStatus, after: ModelDeploymentStatus) -> None:
    decision = after.decision
    if decision is not None and decision.verb in _ENDED and not decision.performed:
        fresh = decision != before.decision
        telemetry.ROLLOUTS.labels(key.namespace, key.name, _ENDED[decision.verb]).inc(int(fresh))


async def _post(
    key: Key, uid: str, events: Sequence[Event], world: World, *, now: datetime
) -> None:
    """Post events; one that cannot be posted is logged and never repeated."""
    for event in events:
        identity = hashlib.sha256(f"{uid}/{event.reason}/{event.note}".encode()).hexdigest()
        last = world.posted.get(identity)
        if last is not None and monotonic() - last < REPEAT_AFTER:
            continue
        if len(world.posted) > MOST_REMEMBERED:
            world.posted.clear()
        world.posted[identity] = monotonic()
        try:
            await world.cluster.create(_manifest(key, uid, event, identity, now))
        except (Unavailable, Rejected, Missing) as error:
            LOG.warning("event %s was not posted: %s", event.reason, error)


def _manifest(key: Key, uid: str, event: Event, identity: str, now: datetime) -> dict[str, Any]:
    stamp = f"{int(now.timestamp() * 1000):x}"
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {
            "name": f"{key.name}.{identity[:10]}.{stamp}",
            "namespace": key.namespace,
        },
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": labels.REPORTING_CONTROLLER,
        "reportingInstance": _instance(),
        "action": event.reason.value,
        "reason": event.reason.value,
        "type": "Warning" if event.warning else "Normal",
        "note": cut(event.note, NOTE),
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": key.kind,
            "namespace": key.namespace,
            "name": key.name,
            "uid": uid,
        },
    }


def _instance() -> str:
    """The name that this process reports events under."""
    return os.environ.get("POD_NAME") or socket.gethostname()
