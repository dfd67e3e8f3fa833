"""Worlds as an earlier operator left them, so that a newer one can go on from there.

    python tests/upgrade.py > tests/golden/<commit>.json

is run with the code of the commit that the file is named after: it tells some stories to their
middle and writes everything down that outlives an operator's process, statuses above all.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

from drift_stories import CASES
from drift_stories import begin as begin_days
from linnet.core.registry import RunView
from scenarios import STORIES, at_weight, begin, request
from simulation import (
    NAMESPACE,
    TRAINING,
    Behaviour,
    Loop,
    Simulation,
    TrainingSimulation,
    offer,
)

GOLDEN = Path(__file__).parent / "golden"
DAY = 86_400


def _rollout(weight: int, **behaviour: Any) -> Simulation:
    world = begin(STORIES["a rollout"])
    offer(world, "2", **behaviour)
    assert world.run(120, at_weight(weight, "2")), world.message("Progressing")
    world.run(4)
    return world


def _returning() -> Simulation:
    world = begin(STORIES["a rollback"])
    offer(world, "2", bad=0.6)
    decided = "RollBack"
    assert world.run(120, lambda s: (s.status.get("decision") or {}).get("verb") == decided)
    return world


def _rejected() -> Simulation:
    world = _returning()
    request("retry", "2")(world)
    return world


def _training(seconds: int) -> TrainingSimulation:
    world = TrainingSimulation(spec=TRAINING)
    world.run(seconds)
    return world


def _policy(days: float) -> Any:
    world = begin_days(CASES["two breaches of three train anew"])
    world.run(days * DAY)
    return world


MAKERS: dict[str, Callable[[], Any]] = {
    "a first weight": lambda: _rollout(20),
    "a later weight": lambda: _rollout(50),
    "a bad candidate under way": lambda: _rollout(20, bad=0.03),
    "traffic that returns": _returning,
    "a rejection that is to be forgotten": _rejected,
    "a training that runs": lambda: _training(12),
    "a training that has ended": lambda: _training(60),
    "a policy after one breach": lambda: _policy(1.5),
    "a policy whose retraining runs": lambda: _policy(2.3),
}
"""What is written down, by name."""


def write_down(world: Any) -> dict[str, Any]:
    """Everything of a world that does not live in the operator's process."""
    found = {
        "now": world.now.isoformat(),
        "objects": list(world.cluster.objects.values()),
        "uids": world.cluster._uids,
        "version": world.cluster.version,
        "versions": world.registry.versions,
        "aliases": world.registry.aliases,
        "runs": [asdict(run) for run in world.registry.runs],
        "writes": world.registry.writes,
    }
    if isinstance(world, Simulation):
        found |= {
            "behaviours": {name: asdict(each) for name, each in world.behaviours.items()},
            "counters": [[*key, found] for key, found in world.counters.items()],
            "programmed": world.programmed,
            "held": sorted(world.held),
            "pods": {name: moment.isoformat() for name, moment in world.pod_started.items()},
        }
    elif isinstance(world, TrainingSimulation):
        found |= {"started": world.pods_started, "jobs": sorted(world.jobs_seen)}
    else:
        found |= {"checked": world.checked, "retrained": world.retrained}
    return found


def go_on(world: Any, found: Mapping[str, Any]) -> Any:
    """A world made anew that takes up where another was written down."""
    world.now = world.cluster.now = datetime.fromisoformat(found["now"])
    world.cluster.objects = {
        (obj["kind"], obj["metadata"].get("namespace", NAMESPACE), obj["metadata"]["name"]): obj
        for obj in found["objects"]
    }
    world.cluster._uids, world.cluster.version = found["uids"], found["version"]
    world.registry.versions, world.registry.aliases = found["versions"], found["aliases"]
    world.registry.runs = [RunView(**run) for run in found["runs"]]
    world.registry.writes = found["writes"]
    if isinstance(world, Simulation):
        world.behaviours = {name: Behaviour(**each) for name, each in found["behaviours"].items()}
        world.counters = {(pod, kind): each for pod, kind, each in found["counters"]}
        world.programmed = found["programmed"]
        world.held = set(found["held"])
        world.pod_started = {
            name: datetime.fromisoformat(moment) for name, moment in found["pods"].items()
        }
    elif isinstance(world, TrainingSimulation):
        world.pods_started, world.jobs_seen = found["started"], set(found["jobs"])
    else:
        world.checked, world.retrained = found["checked"], found["retrained"]
    world.start()
    return world


def main() -> int:
    """Write all of them to standard output."""
    worlds: dict[str, Loop] = {name: make() for name, make in MAKERS.items()}
    found = {name: write_down(world) for name, world in worlds.items()}
    json.dump(found, sys.stdout, sort_keys=True, separators=(",", ":"))
    print()
    return 0


if __name__ == "__main__":
    sys.exit(main())
