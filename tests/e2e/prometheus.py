"""A rollout that is judged by a gateway's counters, read from a real Prometheus.

Not among the files that pytest finds by itself: `dev/test.sh prometheus` builds and installs
Prometheus first, which takes minutes that `make test` has not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from .world import OPERATOR, PROMETHEUS, STEPS, Manifest, Place, World, condition

SETTING = "LINNET_PROMETHEUS_URL"
PATIENT = {"minDuration": "5s", "minCandidateRequests": 100_000, "maxDuration": "10m"}


@pytest.fixture
def asking(world: World) -> Iterator[World]:
    """The operator knows where Prometheus is."""
    _set(world, f"{SETTING}={PROMETHEUS}")
    yield world
    _set(world, f"{SETTING}-")


def _set(world: World, setting: str) -> None:
    world.api.kubectl("-n", OPERATOR, "set", "env", "deploy/linnet-operator", setting)
    world.operator_is_ready()


def _gateway(place: Place) -> str:
    """Make a Gateway whose Envoy counts by Service; where it listens."""
    name = f"counts-{place.world.run}"
    image = place.api.get("EnvoyProxy", "default", "eg")
    assert image is not None, "EnvoyProxy default/eg is not there: make cluster"
    kubernetes = image["spec"]["provider"]["kubernetes"]
    service = {**kubernetes["envoyService"], "name": name}
    proxy = {
        "apiVersion": image["apiVersion"],
        "kind": "EnvoyProxy",
        "metadata": {"name": "counts", "namespace": place.namespace},
        "spec": {
            "mergeBackends": {},
            "provider": {
                "type": "Kubernetes",
                "kubernetes": {**kubernetes, "envoyService": service},
            },
        },
    }
    place.apply(proxy)
    parameters = {"group": "gateway.envoyproxy.io", "kind": "EnvoyProxy", "name": "counts"}
    place.apply(place.gateway("counts", infrastructure={"parametersRef": parameters}))
    return f"http://{name}.envoy-gateway-system.svc"


def _counted_by_envoy(place: Place) -> dict[str, Any]:
    """Requests that Envoy could not have answered well, by Service, whoever is to blame."""
    cluster = f'envoy_cluster_name="service/{place.namespace}/$revision/80/http"'
    return {
        "name": "gateway",
        "errorRate": {},
        "source": {
            "promQL": {
                "total": f"envoy_cluster_upstream_rq_completed{{{cluster}}}",
                "bad": "envoy_cluster_upstream_rq_xx"
                f'{{{cluster},envoy_response_code_class=~"4|5"}}',
            }
        },
    }


def _metric(obj: Manifest) -> Manifest:
    (metric,) = obj["status"]["analysis"]["metrics"]
    found: Manifest = metric
    return found


def test_a_gateways_counters_judge_and_see_dead_pods(asking: World) -> None:
    place = asking.place("prometheus")
    gateway = _gateway(place)
    place.serving(
        route={"parentRefs": [{"name": "counts"}]},
        analysis={"metrics": [_counted_by_envoy(place)]},
    )
    traffic = place.traffic(rate=20, gateway=gateway)
    second = place.register()
    obj = place.is_champion(second, seconds=300)
    assert _metric(obj)["candidate"]["total"] > 20, place.explain()
    assert place.weights_of(second) == [each["weight"] for each in STEPS]
    traffic.has_no_failure()

    bad = place.register("bad")
    obj = place.is_rejected(bad, "RolledBack", "gateway")
    assert _metric(obj)["candidate"]["bad"] > 0, place.explain()

    # Pods that die take their own counters with them.
    steps = [{"weight": 25, "hold": PATIENT}, STEPS[-1]]
    place.patch("ModelDeployment", "serve", {"strategy": {"steps": steps}})
    fourth = place.register()
    place.reaches_weight(25, version=fourth)
    deadline = time.monotonic() + 180
    while not _is_rejected(place, fourth):
        assert time.monotonic() < deadline, place.explain()
        for name in place.server_pod_names(fourth):
            place.api.delete("Pod", place.namespace, name, grace=0)
        time.sleep(1)
    obj = place.is_rejected(fourth, "RolledBack", "gateway")
    assert _metric(obj)["candidate"]["bad"] > 0, place.explain()
    assert traffic.total(fourth, "422") == 0
    place.route_gives_all_to(second)


def _is_rejected(place: Place, version: str) -> bool:
    obj = place.get("ModelDeployment", "serve")
    return condition(obj, "Ready").get("reason") == "RolledBack" and any(
        each["version"] == version for each in (obj or {})["status"].get("rejected", ())
    )
