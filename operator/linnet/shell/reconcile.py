"""Observe, decide, perform, report: one pass over one object, per kind.

A pass either records a decision or performs recorded ones. The pass after a record does not read
counters: evidence cannot starve the action.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from linnet.core.drift import planner as drift
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
    """Bring one DriftPolicy closer to its schedule; return when to look again."""
    seen = await observe.drift_policy(key, world)
    if seen is None:
        return None
    plan = drift.decide(seen, now=now)
    if plan.records:
        await report.write(key, seen.status, plan, world, now=now)
        return AT_ONCE
    outcome = await perform.all_of(key, seen.uid, plan.actions, world)
    await report.write(key, seen.status, plan, world, now=now)
    return _next(outcome, plan.requeue_after)


RECONCILERS: dict[str, Reconciler] = {
    "TrainingJob": training_job,
    "ModelDeployment": model_deployment,
    "DriftPolicy": drift_policy,
}
