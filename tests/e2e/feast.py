"""Trainings on a real Feast repository, whose registry and source lie in the cluster's store.

Not among the files that pytest finds by itself: `dev/test.sh extras` builds the image
`trainer-feast` first, which takes minutes that `make test` has not.
"""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from .world import ROOT, Manifest, Place, World, merge, says

EXAMPLES = ROOT / "examples"
IMAGE = "localhost/linnet/trainer-feast:dev"
RESOURCES = {
    "requests": {"cpu": "100m", "memory": "512Mi"},
    "limits": {"cpu": "1", "memory": "2Gi"},
}
TOGETHER = 3
FLIGHTS, REPOSITORY = "s3://data/flights", "s3://data/feast"


@pytest.fixture(scope="module")
def place(world: World) -> Place:
    """Given the flights of a winter, and a repository of the weather."""
    place = world.place("feast")
    script = EXAMPLES / "demo" / "load_flights.py"
    place.run_script("flights", script, f"--target={_at(place, FLIGHTS)}", "--months=1-3")
    _apply(place, "apply-v1")
    return place


def _at(place: Place, uri: str) -> str:
    return uri.replace("s3://data", place.world.store)


def _apply(place: Place, pod: str, *arguments: str) -> None:
    """Apply the example's definitions, as a team would by `feast apply`."""
    where = [f"--flights={_at(place, FLIGHTS)}", f"--repository={_at(place, REPOSITORY)}"]
    script = EXAMPLES / "feast" / "apply.py"
    place.run_script(pod, script, *where, *arguments, image=IMAGE, seconds=300)


def _job(place: Place, name: str, **changes: Any) -> Manifest:
    """The example, on this run's store, with changes."""
    text = (EXAMPLES / "training" / "60-feast.yaml").read_text(encoding="utf-8")
    for uri in (FLIGHTS, REPOSITORY):
        text = text.replace(uri, _at(place, uri))
    job = merge(yaml.safe_load(text), {"spec": {"model": {"name": place.model}}})
    job["metadata"] = {"name": name, "namespace": place.namespace}
    return merge(job, {"spec": {"template": {"resources": RESOURCES}, **changes}})


def test_the_example_trains_and_a_changed_service_is_refused(place: Place) -> None:
    place.apply(_job(place, "first"))
    obj = place.is_complete("first", seconds=480)
    version = obj["status"]["version"]
    tags = place.world.registry.version(place.model, version)["tags"]
    assert tags["linnet.dev/feature-service"] == "delays_v1"
    assert tags["linnet.dev/feature-set-sha256"].startswith("sha256:")
    run = place.world.registry.call("GET", "runs/get", run_id=obj["status"]["run"]["id"])["run"]
    told = {tag["key"]: tag["value"] for tag in run["data"]["tags"]}
    assert told["feast.feature_refs"] == (
        "weather:temp,weather:wind_speed,weather:precip,weather:visib"
    )
    pods = [pod for pod in place.all("Pod") if "first-train" in pod["metadata"]["name"]]
    assert [pod["spec"]["containers"][0]["image"] for pod in pods] == [IMAGE]

    place.set_alias("champion", version)
    _apply(place, "apply-changed", "--ttl-hours=2")
    place.apply(_job(place, "changed"))
    obj = place.has_failed(
        "changed", "GateRefused", "feature service 'delays_v1' changed under its name since "
        f"version {version}: `ttlSeconds` of view 'weather' is 7200.0, was 10800.0", seconds=480,
    )  # fmt: skip
    assert says(obj, "Registered", "False", "CheckFailed"), place.explain()
    assert [each["version"] for each in place.world.registry.versions(place.model)] == [version]


def test_what_does_not_fit_ends_with_the_field_and_what_to_do(place: Place) -> None:
    tables = place.world.store
    refused: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
        "no-repository": (
            {"feast": {"repoUri": f"{tables}/nowhere"}},
            ("data.feast.repoUri", "feature_store.yaml does not exist"),
        ),
        "no-service": (
            {"feast": {"featureService": "delays_v9"}},
            ("`data.feast.featureService`", "no feature service 'delays_v9'", "delays_v1"),
        ),
        "no-key": (
            {"feast": {"entities": {"uri": f"{tables}/good.parquet"}}, "timestamp": "at"},
            ("`data.feast.entities.uri`", "no column 'origin'", "feature view 'weather'"),
        ),
        "no-time": (
            {"timestamp": "departed"},
            ("`data.timestamp` names 'departed'", "no column of"),
        ),
        "nothing-found": (
            {"feast": {"entities": {"uri": f"{tables}/lost.parquet"}}},
            ("none of 1000 rows found a value in feature view 'weather'", "'origin'"),
        ),
        "null-times": (
            {"feast": {"entities": {"uri": f"{tables}/timeless.parquet"}}},
            ("`data.timestamp`: 1 of 1000 rows have no value in 'sched_dep'",),
        ),
    }
    place.run_script(
        "entities", ROOT / "tests" / "e2e" / "entities.py", _at(place, FLIGHTS), tables
    )
    names = list(refused)
    for start in range(0, len(names), TOGETHER):
        some = names[start : start + TOGETHER]
        for name in some:
            place.apply(_job(place, name, data=refused[name][0]))
        for name in some:
            place.has_failed(name, "InvalidData", *refused[name][1], seconds=360)
