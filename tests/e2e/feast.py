"""Trainings and servers on a real Feast repository: registry and source lie in the cluster's store,
the newest values in Redis.

Not among the files that pytest finds by itself: `dev/test.sh extras` builds the image
`trainer-feast` first, which takes minutes that `make test` has not.
"""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from .world import DEMO, EXAMPLES, ROOT, Manifest, Place, World, condition, merge, says

IMAGE = "localhost/linnet/trainer-feast:dev"
RESOURCES = {
    "requests": {"cpu": "100m", "memory": "512Mi"},
    "limits": {"cpu": "1", "memory": "2Gi"},
}
TOGETHER = 3
REDIS = {
    "image": "localhost/linnet/redis:7",
    "command": ["/usr/bin/redis-server", "--save", "", "--protected-mode", "no"],
}
WEATHER = ["temp", "wind_speed", "precip", "visib"]
NOW = [21.0, 9.0, 0.0, 10.0]
"""What `weather_now.py` writes."""
FLIGHT = {"minute": 480.0, "weekday": 0.0, "distance": 700.0, "carrier": "UA", "dest": "ORD"}
ASK = """
import http.client, json
link = http.client.HTTPConnection("eg.envoy-gateway-system.svc", 80, timeout=10)
link.request("POST", "/invocations", {body!r}, {headers!r})
answer = link.getresponse()
print(json.dumps([answer.status, json.loads(answer.read())]))
"""


@pytest.fixture(scope="module")
def place(world: World) -> Place:
    """Given the flights of a winter, a repository of the weather, and a Redis for the newest."""
    place = world.place("feast")
    place.pod("redis", REDIS)
    place.service("redis", 6379)
    script = EXAMPLES / "demo" / "load_flights.py"
    place.run_script("flights", script, f"--target={_flights(place)}", "--months=1-3")
    _apply(place, "apply-v1")
    return place


@pytest.fixture(scope="module")
def trained(place: Place) -> Manifest:
    """Given a version that was trained on these features."""
    _train(place, "first")
    return place.is_complete("first", seconds=480)


def _flights(place: Place) -> str:
    return f"{place.world.store}/flights"


def _repository(place: Place) -> str:
    return f"{place.world.store}/feast"


def _apply(place: Place, pod: str, *arguments: str) -> None:
    """Apply the example's definitions, as a team would by `feast apply`."""
    where = [
        f"--flights={_flights(place)}",
        f"--repository={_repository(place)}",
        f"--redis=redis.{place.namespace}.svc:6379",
    ]
    script = EXAMPLES / "feast" / "apply.py"
    place.run_script(pod, script, *where, *arguments, image=IMAGE, seconds=300)


def _train(place: Place, name: str, **changes: Any) -> None:
    """Apply the example, with changes."""
    path = "training/60-feast.yaml"
    place.apply_example(path, name=name, template={"resources": RESOURCES}, **changes)


def _write_weather(place: Place, pod: str) -> None:
    """Write what is observed now at one airport, and at another half a day ago."""
    script = ROOT / "tests" / "e2e" / "weather_now.py"
    told = (_repository(place), "EWR=0.1", "LGA=12")
    place.run_script(pod, script, *told, image=IMAGE, seconds=300)


def _ask(place: Place, *flights: dict[str, Any]) -> tuple[int, Any]:
    """Ask the gateway from a pod; status and body."""
    body = json.dumps({"dataframe_records": flights, "params": {"output": "probability"}})
    code = ASK.format(body=body, headers={"Host": place.host})
    command = ("-n", place.namespace, "exec", "-i", "asker", "--", "python", "-")
    status, answer = json.loads(place.api.kubectl(*command, stdin=code))
    return status, answer


def _features(place: Place, **changes: Any) -> Manifest:
    feast = {
        "repoUri": _repository(place),
        "featureService": "delays_v1",
        "entityKeys": ["origin"],
    }
    return {"feast": {**feast, **changes}, "timeout": "500ms"}


def test_a_server_looks_up_what_a_request_leaves_out(place: Place, trained: Manifest) -> None:
    _write_weather(place, "weather")
    place.apply(place.model_deployment(features=_features(place)))
    place.is_champion(trained["status"]["version"], seconds=300)
    place.pod("asker", {"image": DEMO, "command": ["sleep", "3600"]})
    place.eventually(
        "a pod can ask", lambda: (place.get("Pod", "asker") or {})["status"]["phase"] == "Running"
    )

    here, late, nowhere = ({**FLIGHT, "origin": each} for each in ("EWR", "LGA", "SFO"))
    told = dict(zip(WEATHER, NOW, strict=True))
    status, looked_up = _ask(place, here, here)
    assert status == 200, looked_up
    status, given = _ask(place, here | told, here | told)
    assert status == 200, given
    assert looked_up == given
    other = _ask(place, here | told | {"visib": 0.0, "precip": 1.0})[1]
    assert given["predictions"][0] != other["predictions"][0], "the weather counts"
    for absent in (late, nowhere):
        status, answer = _ask(place, here, absent)
        assert (status, answer["error"]) == (
            422, "row 1, column 'temp': feature view 'weather' has no value for this entity that "
            "is young enough, and the model was trained without missing ones",
        )  # fmt: skip
    assert _ask(place, FLIGHT) == (
        422, {"error": "column 'origin' is missing: it names the entity of feature view 'weather'"}
    )  # fmt: skip

    place.api.delete("Pod", place.namespace, "redis", grace=0)
    status, away = place.eventually(
        "the view that is away is named", lambda: (found := _ask(place, here))[0] == 503 and found
    )
    assert "feature view 'weather'" in away["error"]
    assert _ask(place, here | told)[0] == 200, "what needs no look-up is answered"
    place.eventually("the pod is gone", lambda: place.get("Pod", "redis") is None)
    place.pod("redis", REDIS)
    _write_weather(place, "weather-again")
    place.eventually("it is looked up again", lambda: _ask(place, here)[0] == 200, seconds=120)


def test_features_that_do_not_fit_the_version_or_the_repository_are_told(
    place: Place, trained: Manifest
) -> None:
    wrong = {
        "keys": ({"entityKeys": ["dest"]}, "`features.feast.entityKeys` must be origin"),
        "service": (
            {"featureService": "delays_v9"},
            "`features.feast.featureService`: .*no feature service 'delays_v9'",
        ),
    }
    for name, (changes, _) in wrong.items():
        manifest = place.model_deployment(name, features=_features(place, **changes))
        del manifest["spec"]["route"]
        place.apply(merge(manifest, {"spec": {"model": {"championAlias": ""}}}))
    for name, (_, said) in wrong.items():
        obj = place.until(
            "ModelDeployment", name, "it says what is wrong",
            lambda each: says(each, "Progressing", "False", "FeaturesInvalid"), seconds=240,
        )  # fmt: skip
        assert re.search(said, condition(obj, "Progressing")["message"]), place.explain()


def test_a_changed_service_is_refused(place: Place, trained: Manifest) -> None:
    obj, version = trained, trained["status"]["version"]
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
    _train(place, "changed")
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
    place.run_script("entities", ROOT / "tests" / "e2e" / "entities.py", _flights(place), tables)
    names = list(refused)
    for start in range(0, len(names), TOGETHER):
        some = names[start : start + TOGETHER]
        for name in some:
            _train(place, name, data=refused[name][0])
        for name in some:
            place.has_failed(name, "InvalidData", *refused[name][1], seconds=360)
