"""What happens to a rollout that stands at a weight, on a real API server.

Every case is a row of "In the middle of a rollout" in `docs/explanation/faults.md`: the rollout
holds or goes on as the row says, nothing is held against the candidate, and it can be promoted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from e2e.api import Api, path
from e2e.world import condition

from .harness import MODEL, NOWHERE, Place, side_by_side

pytestmark = pytest.mark.cluster

WEIGHT = 50
"""As the stand-in's pods all count alike."""
HELD = {"minDuration": "1s", "minCandidateRequests": 1_000_000, "maxDuration": "1h"}
STRATEGY = {
    "steps": [{"weight": WEIGHT, "hold": HELD}, {"weight": 100, "hold": {"minDuration": "1s"}}],
    "scaleDownDelay": "1s",
}
Fault = Callable[[Place], None]


def midway(world: Place) -> str:
    """A rollout that stands at its first weight; the candidate's version."""
    spec = {
        "model": {"name": MODEL},
        "route": {
            "parentRefs": [{"name": "stand-in"}],
            "hostnames": [f"{world.namespace}.example.com"],
        },
        "server": {"replicas": 1, "template": NOWHERE},
        "strategy": STRATEGY,
        "analysis": {"interval": "1s", "warmup": "1s"},
    }
    world.deploy(spec)
    world.settle(lambda: world.is_champion("1"), seconds=120)
    version = world.register()
    world.until(lambda: _stands(world), "the candidate has its first weight")
    return version


def ends_well(world: Place, version: str) -> None:
    """The candidate still has its weight, nothing is held against it, and it can be promoted."""
    world.until(lambda: _stands(world), "the candidate has its weight again")
    status = world.status()
    assert not status.get("rejected"), status
    revision = status["candidate"]["revision"]
    world.request("ModelDeployment", f"promote={revision}")
    world.settle(lambda: world.is_champion(version), seconds=120)
    assert not world.status().get("rejected"), world.status()


def _says(world: Place, kind: str, truth: str, reason: str) -> bool:
    found = condition(world.api.get("ModelDeployment", world.namespace, "story"), kind)
    return (found.get("status"), found.get("reason")) == (truth, reason)


def _weights(world: Place) -> list[int]:
    route = world.api.get("HTTPRoute", world.namespace, "story")
    return (
        sorted(ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]) if route else []
    )


def _stands(world: Place) -> bool:
    """Route, gateways and status agree on the first weight."""
    return (
        world.status().get("weight") == WEIGHT
        and _weights(world) == [WEIGHT, 100 - WEIGHT]
        and _says(world, "TrafficProgrammed", "True", "Programmed")
        and _says(world, "MetricsAvailable", "True", "Scraped")
    )


# -- what happens ----------------------------------------------------------------------------------


def metrics_are_gone(world: Place) -> None:
    world.node.metrics_up = False
    world.until(lambda: _says(world, "MetricsAvailable", "False", "MetricsUnavailable"), "told")
    assert _says(world, "Progressing", "False", "MetricsUnavailable")
    time.sleep(10)
    assert world.status()["weight"] == WEIGHT
    world.node.metrics_up = True


def processes_restart(world: Place) -> None:
    before = _counted(world)
    world.node.restart_processes()
    world.until(lambda: _counted(world) > before + 100, "what the new processes count is added")


def _counted(world: Place) -> int:
    (metric,) = world.status()["analysis"]["metrics"]
    return int(metric["candidate"]["total"] + metric["warming"]["total"])


def pods_are_replaced(world: Place) -> None:
    uids = {pod["metadata"]["uid"] for pod in world.api.list("Pod", world.namespace)}
    for pod in world.api.list("Pod", world.namespace):
        world.api.delete("Pod", world.namespace, pod["metadata"]["name"], grace=0)

    def replaced() -> bool:
        found = {pod["metadata"]["uid"] for pod in world.api.list("Pod", world.namespace)}
        return len(found) == len(uids) and not found & uids

    world.until(replaced, "both pods are replaced")


def two_operators_work(world: Place) -> None:
    first = world.process
    assert first is not None
    world.start()
    time.sleep(5)
    first.kill()
    time.sleep(5)


def status_is_restored_from_a_backup(world: Place) -> None:
    obj = world.api.get("ModelDeployment", world.namespace, "story")
    assert obj is not None
    older = {
        key: value
        for key, value in obj["status"].items()
        if key not in ("candidate", "step", "analysis", "weight", "traffic")
    }
    where = path("ModelDeployment", world.namespace, "story", "status")
    del obj["metadata"]["managedFields"]
    world.api.call("PUT", where, {**obj, "status": older})


def weights_are_edited(world: Place) -> None:
    route = world.api.get("HTTPRoute", world.namespace, "story")
    assert route is not None
    rules = route["spec"]["rules"]
    for ref, weight in zip(rules[0]["backendRefs"], (20, 80), strict=True):
        ref["weight"] = weight
    world.api.patch("HTTPRoute", world.namespace, "story", {"spec": {"rules": rules}})


def route_is_deleted(world: Place) -> None:
    world.api.delete("HTTPRoute", world.namespace, "story")


def services_are_deleted(world: Place) -> None:
    names = {obj["metadata"]["name"] for obj in world.api.list("Service", world.namespace)}
    for name in names:
        world.api.delete("Service", world.namespace, name)

    def back() -> bool:
        return names == {o["metadata"]["name"] for o in world.api.list("Service", world.namespace)}

    world.until(back, "the Services are there again")


def another_route_is_older(world: Place) -> None:
    route = world.api.get("HTTPRoute", world.namespace, "story")
    assert route is not None
    meta = {"name": "foreign", "namespace": world.namespace}
    world.api.apply(
        {key: route[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": meta}
    )
    time.sleep(1.5)  # Ages are told in whole seconds.
    world.api.delete("HTTPRoute", world.namespace, "story")
    world.until(
        lambda: _says(world, "TrafficProgrammed", "False", "RouteOverlap"), "the twin is named"
    )
    obj = world.api.get("ModelDeployment", world.namespace, "story")
    assert f"{world.namespace}/foreign" in condition(obj, "TrafficProgrammed")["message"]
    assert world.status()["weight"] == WEIGHT
    world.api.delete("HTTPRoute", world.namespace, "foreign")


FAULTS: tuple[Fault, ...] = (
    metrics_are_gone,
    processes_restart,
    pods_are_replaced,
    two_operators_work,
    status_is_restored_from_a_backup,
    weights_are_edited,
    route_is_deleted,
    services_are_deleted,
    another_route_is_older,
)


def test_a_fault_in_the_middle_of_a_rollout_changes_no_end(api: Api, tmp_path: Path) -> None:
    def told(world: Place, fault: Fault) -> None:
        version = midway(world)
        fault(world)
        ends_well(world, version)

    side_by_side(api, tmp_path, {fault.__name__: partial(told, fault=fault) for fault in FAULTS})
