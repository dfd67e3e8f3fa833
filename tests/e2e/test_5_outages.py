"""Outages of 90 s of what Linnet depends on. Nothing else runs then: these come last."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest

from .world import Place, World, says

OUTAGE = 90.0
API_SERVER = "kube-apiserver"


@contextlib.contextmanager
def _without(world: World, namespace: str, name: str) -> Iterator[None]:
    """A Deployment has no pods for as long as an outage lasts."""
    began = time.monotonic()
    world.api.kubectl("-n", namespace, "scale", f"deploy/{name}", "--replicas=0")
    try:
        while any(
            pod["metadata"]["name"].startswith(f"{name}-")
            for pod in world.api.list("Pod", namespace)
        ):
            assert time.monotonic() < began + 120, f"the pods of {name} do not end"
            time.sleep(1)
        ends = time.monotonic() + OUTAGE
        yield
        time.sleep(max(0.0, ends - time.monotonic()))
    finally:
        world.api.kubectl("-n", namespace, "scale", f"deploy/{name}", "--replicas=1")
        waits = ("rollout", "status", f"deploy/{name}", "--timeout=180s")
        world.api.kubectl("-n", namespace, *waits, timeout=190)


@contextlib.contextmanager
def _without_api_server() -> Iterator[None]:
    """The API server answers nobody for as long as an outage lasts."""
    from dev.cluster import processes  # the node of this checkout; another's cannot be stopped

    found = processes.pid(API_SERVER)
    if found is None:
        pytest.skip("only the API server of `make cluster` can be stopped")
    os.kill(found, signal.SIGSTOP)
    try:
        time.sleep(OUTAGE)
        yield
    finally:
        os.kill(found, signal.SIGCONT)


def _is_untouched(place: Place, champion: dict[str, int], version: str) -> None:
    """Champion and its pods are those from before, and nothing was held against the candidate."""
    assert place.server_pods(version) == champion, place.explain()
    obj = place.get("ModelDeployment", "serve")
    assert obj is not None
    assert obj["status"]["champion"]["version"] == version, place.explain()
    assert not obj["status"].get("rejected"), place.explain()


def test_a_registry_that_is_down_changes_nothing_that_serves(world: World) -> None:
    place = world.place("no-mlflow")
    place.serving(server={"replicas": 2})
    traffic = place.traffic(rate=10)
    with _without(world, "mlops", "mlflow"):
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
        before = place.server_pods("1")
        for pod in place.all("Pod"):
            if pod["metadata"]["uid"] in before:
                place.api.delete("Pod", place.namespace, pod["metadata"]["name"])
                _replaced(place, pod["metadata"]["uid"])
        obj = place.get("ModelDeployment", "serve")
        assert says(obj, "Ready", "True", "Serving"), place.explain()
        assert place.all("Job") == []
    place.has_condition(
        "ModelDeployment", "unknown", "ModelResolved", "False", "ModelNotFound", seconds=120
    )
    place.is_complete("later")
    traffic.has_no_failure()


def _replaced(place: Place, uid: str) -> None:
    """A pod is gone and both replicas are ready again."""

    def ready() -> bool:
        pods = [
            pod
            for pod in place.all("Pod")
            if "linnet.dev/model-version" in pod["metadata"].get("labels", {})
        ]
        conditions = [each for pod in pods for each in pod["status"].get("conditions", ())]
        good = sum(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
        return len(pods) == good == 2 and uid not in {pod["metadata"]["uid"] for pod in pods}

    place.eventually("another pod serves", ready, seconds=120)


def test_a_store_or_a_gateways_controller_that_is_down_makes_a_candidate_wait(
    world: World,
) -> None:
    place = world.place("outage")
    place.serving()
    traffic = place.traffic(rate=10)
    champion = place.server_pods("1")
    copy = world.copy("good")
    with _without(world, "mlops", "s3"):
        second = place.register(copy=copy)
        place.has_condition(
            "ModelDeployment", "serve", "Progressing", "False", "StoreUnavailable", seconds=240
        )
        place.has_event("serve", "StoreUnavailable")
        _is_untouched(place, champion, "1")
    place.is_champion(second, seconds=400)

    champion = place.server_pods(second)
    with _without(world, "envoy-gateway-system", "envoy-gateway"):
        third = place.register()
        place.has_condition(
            "ModelDeployment", "serve", "Progressing", "False", "RouteNotProgrammed", seconds=OUTAGE
        )  # fmt: skip
        _is_untouched(place, champion, second)
    place.is_champion(third, seconds=400)
    traffic.has_no_failure()


def test_an_api_server_that_is_down_stops_a_rollout_where_it_is(world: World) -> None:
    place = world.place("no-api")
    place.serving()
    traffic = place.traffic(rate=10)
    second = place.register()
    place.reaches_weight(25, version=second)
    with _without_api_server():
        pass
    world.operator_is_ready()
    place.is_champion(second, seconds=400)
    place.route_gives_all_to(second)
    traffic.has_no_failure()
