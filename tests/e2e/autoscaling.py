"""Both arms of a rollout scaled by their load, as a real metrics-server tells it.

Not among the files that pytest finds by itself: `dev/test.sh autoscaling` builds and installs
metrics-server first, which takes minutes that `make test` has not.
"""

from __future__ import annotations

from .world import Manifest, Place, World, condition

BOUNDS = {"minReplicas": 1, "maxReplicas": 2, "targetCPUUtilizationPercentage": 20}
SMALL = {
    "resources": {"requests": {"cpu": "20m", "memory": "192Mi"}, "limits": {"memory": "512Mi"}}
}
"""Of 20 millicores a fifth: what a few requests in a second take."""


def _autoscaler(place: Place, version: str) -> Manifest:
    (found,) = (
        each
        for each in place.api.list("HorizontalPodAutoscaler", place.namespace)
        if each["metadata"]["labels"]["linnet.dev/model-version"] == version
    )
    return found


def _is_scaled(place: Place, version: str) -> bool:
    """Whether the autoscaler of a version knows its load and has asked for another pod for it."""
    found = _autoscaler(place, version)
    told = (found["status"].get("currentMetrics") or [{}])[0].get("resource", {})
    return (
        condition(found, "ScalingActive").get("status") == "True"
        and told.get("current", {}).get("averageUtilization") is not None
        and found["status"]["desiredReplicas"] == 2
    )


def test_each_version_is_scaled_by_its_load_and_no_arm_is_smaller_than_the_champion(
    world: World,
) -> None:
    place = world.place("autoscaling")
    place.serving(server={"autoscaling": BOUNDS, "template": SMALL})
    assert len(place.server_pod_names("1")) == 1
    traffic = place.traffic(rate=30)
    place.eventually("the champion is scaled", lambda: _is_scaled(place, "1"), seconds=300)
    place.eventually("two pods serve", lambda: len(place.server_pod_names("1")) == 2, seconds=120)

    second = place.register()
    place.reaches_weight(25, version=second)
    assert len(place.server_pod_names(second)) == 2, "a candidate must bear the champion's load"
    assert len(place.server_pod_names("1")) == 2, "the champion must bear all load at any moment"
    place.is_champion(second, seconds=300)
    place.only_runs(second)
    place.eventually("its successor is scaled", lambda: _is_scaled(place, second), seconds=120)
    traffic.has_no_failure()
