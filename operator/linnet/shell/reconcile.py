"""Observe, decide, perform, report: one pass over one object, per kind.

A pass either records a decision or performs recorded ones. The pass after a record does not read
counters: evidence cannot starve the action.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Protocol

from linnet.core.drift import planner as drift
from linnet.core.plan import Plan
from linnet.core.rollout import planner as rollout
from linnet.core.training import planner as training
from linnet.shell import observe, perform, report
from linnet.shell.cache import Key
from linnet.shell.world import World

AT_ONCE = timedelta(0)
Reconciler = Callable[..., Awaitable[timedelta | None]]


class Seen(Protocol):
    """The part of an observation that carrying a plan out needs."""

    @property
    def uid(self) -> str: ...
    @property
    def status(self) -> report.Status: ...


async def _carry_out(
    key: Key, seen: Seen, plan: Plan[Any], world: World, *, now: datetime
) -> timedelta | None:
    """Record a plan's decision, or perform what was recorded; return when to look again.

    At once after a record, and where our own writes made something new.
    """
    if plan.records:
        await report.write(key, seen.status, plan, world, now=now)
        return AT_ONCE
    if plan.actions:
        await perform.refuse_overtaken(key, world)
    outcome = await perform.all_of(key, seen.uid, plan.actions, world)
    await report.write(key, seen.status, plan, world, now=now)
    if outcome.error is not None:
        raise outcome.error
    return AT_ONCE if outcome.changed else plan.requeue_after


async def training_job(key: Key, world: World, *, now: datetime) -> timedelta | None:
    """Bring one TrainingJob closer to its end; return when to look again."""
    seen = await observe.training_job(key, world)
    if seen is None:
        return None
    return await _carry_out(key, seen, training.decide(seen, now=now), world, now=now)


async def model_deployment(key: Key, world: World, *, now: datetime) -> timedelta | None:
    """Bring one ModelDeployment closer to its spec; return when to look again."""
    seen = await observe.model_deployment(key, world)
    if seen is None:
        return None
    seen = await observe.describe(seen, world)
    if rollout.scrape_is_due(seen, now=now):
        seen = await observe.counters(seen, world)
    return await _carry_out(key, seen, rollout.decide(seen, now=now), world, now=now)


async def drift_policy(key: Key, world: World, *, now: datetime) -> timedelta | None:
    """Bring one DriftPolicy closer to its schedule; return when to look again."""
    seen = await observe.drift_policy(key, world)
    if seen is None:
        return None
    return await _carry_out(key, seen, drift.decide(seen, now=now), world, now=now)


RECONCILERS: dict[str, Reconciler] = {
    "TrainingJob": training_job,
    "ModelDeployment": model_deployment,
    "DriftPolicy": drift_policy,
}
