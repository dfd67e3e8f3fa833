"""Faults of the fault matrix's rows P, for the planners of all kinds: they end, as does their mark.

The oracle: when a fault has stopped, the end is that of the undisturbed story, nothing was made
twice, and then nothing is written any more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from drift_stories import CASES
from drift_stories import begin as begin_days
from linnet.ports import Conflict, Missing, Rejected, Unavailable
from scenarios import STORIES, begin, keep
from simulation import NAMESPACE, TRAINING, Loop, Manifest, TrainingSimulation, offer

CHILDREN = ("Deployment", "Service", "HTTPRoute", "ControllerRevision", "Job", "ConfigMap", "Pod")


@dataclass(frozen=True, kw_only=True)
class Told:
    """A story of one kind: how it begins, how long it takes, and when a fault can strike."""

    make: Callable[[], Any]
    seconds: int
    moments: tuple[int, ...]
    lasts: int


def _rollout(version: str, **behaviour: float) -> Any:
    world = begin(STORIES["a rollout"])
    offer(world, version, **behaviour)
    return world


def _training() -> Any:
    return TrainingSimulation(spec=TRAINING)


DAY = 86_400
WORLDS: dict[str, Told] = {
    "a rollout": Told(make=lambda: _rollout("2"), seconds=400, moments=(0, 8, 30, 55), lasts=40),
    "a rollback": Told(
        make=lambda: _rollout("2", bad=0.6), seconds=400, moments=(6, 12, 20), lasts=40
    ),
    "a training": Told(make=_training, seconds=400, moments=(0, 10, 25), lasts=40),
    "a policy that trains anew": Told(
        make=lambda: begin_days(CASES["two breaches of three train anew"]),
        seconds=5 * DAY,
        moments=(0, 79_200, DAY + 79_200),
        lasts=1800,
    ),
}


def _is_child(obj: Manifest) -> bool:
    return obj["kind"] in CHILDREN


def _is_ours(obj: Manifest) -> bool:
    return not _is_child(obj)


def _is_pod(obj: Manifest) -> bool:
    return bool(obj["kind"] == "Pod")


def unseen(which: Callable[[Manifest], bool]) -> Callable[[Loop], None]:
    return lambda world: setattr(world, "unseen", which)


def refused(error: Exception) -> Callable[[Loop], None]:
    return lambda world: setattr(world.cluster, "refusing", error)


def unlisted(world: Loop) -> None:
    """Reads fail, writes do not."""
    for kind in CHILDREN:
        world.cluster.fail("get", kind, Unavailable("etcdserver: request timed out"))


FAULTS: dict[str, Callable[[Loop], None]] = {
    "row 3: children are seen late": unseen(_is_child),
    "row 3: our objects are seen late": unseen(_is_ours),
    "row 3: pods are seen late": unseen(_is_pod),
    "row 5: nothing is seen of what lies between": unseen(lambda obj: True),
    "row 8: 409 on every write": refused(Conflict("the object has been modified")),
    "row 8: 403 on every write": refused(Rejected("forbidden")),
    "row 8: 404 on every write": refused(Missing("not found")),
    "row 8: 429 and 5xx on every write": refused(Unavailable("the server is overloaded")),
    "row 8: reads of children fail": unlisted,
}


@cache
def undisturbed(name: str) -> tuple[Manifest, int]:
    """The end of a story without a fault, and how many Jobs and Deployments were ever made."""
    world = WORLDS[name].make()
    world.run(WORLDS[name].seconds)
    return world.facts(), _made(world)


def _made(world: Loop) -> int:
    made = ("create Job", "apply Deployment", "create TrainingJob", "create ControllerRevision")
    return sum(write.startswith(made) for write in world.cluster.writes)


def ends_alike(name: str, world: Loop, *, after: int, once: bool = True) -> None:
    """The oracle, once the fault has ended, so many seconds after the story began."""
    world.run(WORLDS[name].seconds - after)
    facts, made = undisturbed(name)
    assert world.facts() == facts  # type: ignore[attr-defined]
    assert not once or _made(world) == made, world.cluster.writes
    world.stays_silent(WORLDS[name].lasts)


ROWS = [
    (name, moment, fault) for name, told in WORLDS.items() for moment in told.moments
    for fault in FAULTS
]  # fmt: skip


@pytest.mark.parametrize(("name", "moment", "fault"), ROWS)
def test_a_fault_that_ends_leaves_no_mark(name: str, moment: int, fault: str) -> None:
    told = WORLDS[name]
    world = told.make()
    world.run(moment)
    FAULTS[fault](world)
    world.run(told.lasts)
    world.unseen = lambda obj: False
    world.cluster.mend()
    ends_alike(name, world, after=moment + told.lasts)


@pytest.mark.parametrize(
    ("name", "moment"),
    [(name, moment) for name, told in WORLDS.items() for moment in told.moments],
)
def test_children_that_foreign_hands_delete_come_back(name: str, moment: int) -> None:
    """Row 6: every child at once, but a Job: it is history, and its loss is an end of its own."""
    told = WORLDS[name]
    world = told.make()
    if keep in world.invariants:
        world.invariants.remove(keep)
    world.run(moment)
    for key in list(world.cluster.objects):
        if key[0] in ("Deployment", "Service", "HTTPRoute", "ConfigMap") and (
            key in world.cluster.objects
        ):
            world.cluster.remove(*key)
    ends_alike(name, world, after=moment, once=False)


@pytest.mark.parametrize(
    ("name", "moment"),
    [(name, moment) for name, told in WORLDS.items() for moment in told.moments],
)
@pytest.mark.parametrize("down", ["nothing", "the registry"])
def test_an_object_that_is_deleted_at_any_moment_is_left_alone(
    name: str, moment: int, down: str
) -> None:
    """Row 10: nothing waits for the operator, and it writes nothing for what is gone."""
    told = WORLDS[name]
    world = told.make()
    world.invariants.clear()
    world.run(moment)
    world.registry.down = down == "the registry"
    world.cluster.remove(world.key.kind, NAMESPACE, world.key.name)
    world.stays_silent(told.lasts)
