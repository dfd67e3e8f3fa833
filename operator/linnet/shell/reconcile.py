"""Observe, decide, perform, report: one pass over one object, per kind.

A pass either records a decision or performs recorded ones. The pass after a record does not read
counters: evidence cannot starve the action.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from linnet.api import conditions as kinds
from linnet.api import support
from linnet.api.conditions import Condition
from linnet.api.drift_policy import DriftPolicy
from linnet.api.reasons import Reason
from linnet.core.plan import Plan
from linnet.core.rollout import planner as rollout
from linnet.core.training import planner as training
from linnet.shell import observe, perform, report
from linnet.shell.cache import Key
from linnet.shell.world import World

AT_ONCE = timedelta(0)
Reconciler = Callable[..., Awaitable[timedelta | None]]


def _next(outcome: perform.Outcome, requeue_after: timedelta | None) -> timedelta | None:
    """When to look again after actions: at once where our own writes made something new."""
    if outcome.error is not None:
        raise outcome.error
    return AT_ONCE if outcome.changed else requeue_after


async def training_job(key: Key, world: World, *, now: datetime) -> timedelta | None:
    """Bring one TrainingJob closer to its end; return when to look again."""
    seen = await observe.training_job(key, world)
    if seen is None:
        return None
    plan = training.decide(seen, now=now)
    if plan.records:
        await report.write(key, seen.status, plan, world, now=now)
        return AT_ONCE
    outcome = await perform.all_of(key, seen.uid, plan.actions, world)
    await report.write(key, seen.status, plan, world, now=now)
    return _next(outcome, plan.requeue_after)


async def model_deployment(key: Key, world: World, *, now: datetime) -> timedelta | None:
    """Bring one ModelDeployment closer to its spec; return when to look again."""
    seen = await observe.model_deployment(key, world)
    if seen is None:
        return None
    seen = await observe.describe(seen, world)
    if rollout.scrape_is_due(seen, now=now):
        seen = await observe.counters(seen, world)
    plan = rollout.decide(seen, now=now)
    if plan.records:
        await report.write(key, seen.status, plan, world, now=now)
        return AT_ONCE
    outcome = await perform.all_of(key, seen.uid, plan.actions, world)
    await report.write(key, seen.status, plan, world, now=now)
    return _next(outcome, plan.requeue_after)


async def drift_policy(key: Key, world: World, *, now: datetime) -> timedelta | None:
    """Say that this version does nothing for a DriftPolicy."""
    obj = world.cache.get(key)
    if obj is None or obj["metadata"].get("deletionTimestamp"):
        return None
    policy = DriftPolicy.model_validate(obj)
    message = support.message_kind_not_supported(DriftPolicy)
    generation = policy.metadata.generation

    def say(kind: str, truth: kinds.Status, reason: Reason, text: str) -> Condition:
        return Condition(
            type=kind, status=truth, reason=reason, message=text, observed_generation=generation
        )

    conditions = (
        say(kinds.READY, kinds.Status.FALSE, Reason.NOT_YET_SUPPORTED, message),
        say(kinds.DRIFTED, kinds.Status.UNKNOWN, Reason.NOT_JUDGED_YET, "not judged yet"),
        say(kinds.RETRAINING, kinds.Status.UNKNOWN, Reason.NOT_JUDGED_YET, "not judged yet"),
        say(kinds.STALLED, kinds.Status.TRUE, Reason.NOT_YET_SUPPORTED, message),
    )
    status = policy.status.model_copy(
        update={"observed_generation": generation, "operator": world.settings.identity}
    )
    await report.write(
        key, policy.status, Plan(status=status, conditions=conditions), world, now=now
    )
    return None


RECONCILERS: dict[str, Reconciler] = {
    "TrainingJob": training_job,
    "ModelDeployment": model_deployment,
    "DriftPolicy": drift_policy,
}
