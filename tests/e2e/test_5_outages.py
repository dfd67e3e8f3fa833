"""Outages of what Linnet depends on. Nothing else runs then: these come last."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from .world import World, says


def _scale(world: World, name: str, replicas: int) -> None:
    world.api.kubectl("-n", "mlops", "scale", f"deploy/{name}", f"--replicas={replicas}")
    deadline = time.monotonic() + 120
    while not replicas and any(
        pod["metadata"]["name"].startswith(f"{name}-") for pod in world.api.list("Pod", "mlops")
    ):
        assert time.monotonic() < deadline, f"the pods of {name} do not end"
        time.sleep(1)
    if replicas:
        world.api.kubectl(
            "-n", "mlops", "rollout", "status", f"deploy/{name}", "--timeout=180s", timeout=190
        )


@pytest.fixture
def outages(world: World) -> Iterator[World]:
    yield world
    for name in ("mlflow", "s3"):
        _scale(world, name, 1)


def test_a_registry_or_store_that_is_down_changes_nothing_that_serves(outages: World) -> None:
    world = outages
    place = world.place("outage")
    place.serving()
    traffic = place.traffic(rate=10)
    champion = place.server_pods("1")
    waiting = place.register(alias=False)

    _scale(world, "mlflow", 0)
    place.train("later", model={"alias": ""})
    place.has_condition(
        "TrainingJob", "later", "Complete", "False", "RegistryUnavailable", "does not answer"
    )
    place.apply(place.model_deployment("unknown", model={"name": f"{place.model}-unread"}))
    place.has_condition(
        "ModelDeployment", "unknown", "ModelResolved", "Unknown", "RegistryUnavailable"
    )
    place.has_condition(
        "ModelDeployment", "serve", "ModelResolved", "True", "Resolved", "as last read",
        seconds=120,
    )  # fmt: skip
    obj = place.get("ModelDeployment", "serve")
    assert says(obj, "Ready", "True", "Serving"), place.explain()
    assert place.all("Job") == []
    _scale(world, "mlflow", 1)
    place.has_condition(
        "ModelDeployment", "unknown", "ModelResolved", "False", "ModelNotFound", seconds=120
    )
    place.is_complete("later")

    _scale(world, "s3", 0)
    place.set_alias("challenger", waiting)
    place.has_condition(
        "ModelDeployment", "serve", "Progressing", "False", "StoreUnavailable", seconds=240
    )
    place.has_event("serve", "StoreUnavailable")
    assert place.server_pods("1") == champion
    obj = place.get("ModelDeployment", "serve")
    assert obj is not None
    assert not obj["status"].get("rejected"), place.explain()
    _scale(world, "s3", 1)
    place.is_champion(waiting, seconds=400)
    time.sleep(1)
    traffic.has_no_failure()
