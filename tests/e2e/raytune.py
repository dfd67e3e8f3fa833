"""Searches on Ray: inside a trainer's pod, and on a Ray cluster that is lost and comes back.

Not among the files that pytest finds by itself: `dev/test.sh extras` builds the image trainer-ray
first, which takes minutes that `make test` has not.
"""

from __future__ import annotations

from typing import Any

from .stage import beside
from .world import CONTAINER, POD, Manifest, Place, World, says

IMAGE = "localhost/linnet/trainer-ray:dev"
SPACE = [
    {"name": "C", "logUniform": {"min": "0.001", "max": "10"}},
    {"name": "fit_intercept", "categorical": {"choices": ["true", "false"]}},
]
ROOM = {
    "requests": {"cpu": "100m", "memory": "512Mi"},
    "limits": {"cpu": "2", "memory": "4Gi"},
}


def _search(place: Place, name: str, address: str, **changes: Any) -> None:
    """Apply a search of six trials, two at a time."""
    search = {
        "engine": "RayTune",
        "ray": {"address": address},
        "parallelism": 2,
        "trials": 6,
        "parameters": SPACE,
    }
    place.train(name, search=search, template={"resources": ROOM}, **changes)


def _has_searched(place: Place, name: str) -> Manifest:
    obj = place.is_complete(name, seconds=600)
    found = obj["status"]["search"]
    assert (found["completed"], found["running"], found["of"]) == (6, 0, 6), place.explain()
    assert {each["name"] for each in found["best"]["parameters"]} == {"C", "fit_intercept"}
    assert says(obj, "Registered", "True", "VersionCreated"), place.explain()
    return obj


def _has_run_for_each(place: Place, obj: Manifest) -> None:
    """Every trial is a nested run, and no more than one pod was needed."""
    found, name = obj["status"]["search"], obj["metadata"]["name"]
    assert len(place.trainer_pods(name)) == 1, "trials side by side are no pods"
    parent = f"tags.`mlflow.parentRunId` = '{obj['status']['run']['id']}'"
    body = {"experiment_ids": [obj["status"]["run"]["experimentID"]], "filter": parent}
    nested = place.world.registry.call("POST", "runs/search", body)["runs"]
    names = sorted(each["info"]["run_name"] for each in nested)
    assert len(names) == 6 + found["failed"], names


def _head(place: Place) -> None:
    """A Ray cluster of one pod, and its Service."""
    start = ["ray", "start", "--head", "--block", "--num-cpus=2", "--include-dashboard=false"]
    container = {
        **CONTAINER,
        "name": "head",
        "image": IMAGE,
        "command": [*start, "--port=6379", f"--object-store-memory={128 * 2**20}"],
        "envFrom": [],
        "resources": ROOM,
    }
    labels = {"app": "head"}
    place.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "head", "namespace": place.namespace, "labels": labels},
            "spec": {
                **POD,
                "containers": [container],
                "volumes": [{"name": "tmp", "emptyDir": {}}],
            },
        }
    )
    place.service("head", 6379, clusterIP="None")


@beside
def test_a_search_on_ray_inside_the_pod(world: World) -> None:
    place = world.place("ray-local")
    _search(place, "local", "local")
    _has_run_for_each(place, _has_searched(place, "local"))
    (pod,) = place.trainer_pods("local")
    assert pod["spec"]["containers"][0]["image"] == IMAGE


@beside
def test_a_search_on_a_ray_cluster(world: World) -> None:
    place = world.place("ray-cluster")
    address = f"head.{place.namespace}.svc:6379"
    _head(place)
    _search(place, "there", address)
    _has_run_for_each(place, _has_searched(place, "there"))


@beside
def test_a_ray_cluster_that_is_lost_in_the_middle_loses_no_finished_trial(world: World) -> None:
    place = world.place("ray-lost")
    _head(place)
    _search(place, "lost", f"head.{place.namespace}.svc:6379", backoffLimit=6)
    place.until(
        "TrainingJob", "lost", "two trials are done",
        lambda obj: (obj.get("status", {}).get("search") or {}).get("completed", 0) >= 2,
        seconds=480,
    )  # fmt: skip
    place.api.delete("Pod", place.namespace, "head", grace=0)
    place.eventually("the head is gone", lambda: place.get("Pod", "head") is None)
    _head(place)
    _has_searched(place, "lost")
    versions = [each["version"] for each in place.world.registry.versions(place.model)]
    assert versions == ["1"], "a search that begins again registers once"
