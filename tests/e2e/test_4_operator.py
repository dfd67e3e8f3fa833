"""The operator itself: killed at random moments, replaced, away for a while, and what it may do."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from .api import OURS
from .stage import NOTES, Stage
from .world import OPERATOR, WEIGHTS, Place, World, condition, says

KILLS = 8
SILENCE = 60.0
WRITE = r'rest_client_requests_total\{.*method="(POST|PATCH|DELETE)"\} (\S+)'


@pytest.fixture(autouse=True)
def alone(stage: Stage) -> None:
    """Whatever runs side by side has ended: these tests are about the operator's own doings."""
    stage.wait_for_all()


def _kill_operator(world: World, *, grace: int = 0) -> None:
    for pod in world.operator_pods():
        world.api.delete("Pod", OPERATOR, pod["metadata"]["name"], grace=grace)


def _writes(world: World) -> Counter[str]:
    """The operator's requests that change something, by method; PUT is the Lease's alone."""
    found: Counter[str] = Counter()
    for line in world.operator_metrics().splitlines():
        match = re.match(WRITE, line)
        if match:
            found[match[1]] += int(float(match[2]))
    return found


def test_killed_at_random_moments_it_ends_in_the_same_state_and_falls_silent(
    world: World,
) -> None:
    seed = random.SystemRandom().randrange(10_000)
    dice = random.Random(seed)
    good, bad, train = (world.place(f"chaos-{name}") for name in ("good", "bad", "train"))
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda place: place.serving(), (good, bad)))
        streams = list(pool.map(lambda place: place.traffic(rate=15), (good, bad)))
    traffic, bad_traffic = streams
    second, worse = good.register(), bad.register("bad")
    train.train("train")

    kills, ends = 0, time.monotonic() + 420
    while kills < KILLS or not _all_over(good, second, bad, worse, train):
        assert time.monotonic() < ends, "\n".join(p.explain() for p in (good, bad, train))
        time.sleep(dice.uniform(2, 16))
        if kills < KILLS or not _all_over(good, second, bad, worse, train):
            _kill_operator(world)
            kills += 1
        if kills >= KILLS + 4:
            # Enough of it: what is not over yet ends now.
            time.sleep(5)
            break
    NOTES.append(f"operator killed {kills} times, drawn with seed {seed}")

    # The state is that of a run without kills.
    good.is_champion(second)
    assert good.weights_of(second) == WEIGHTS, good.weights_of(second)
    good.route_gives_all_to(second)
    obj = bad.is_rejected(worse, "RolledBack", "regression", "traffic returned to version 1")
    assert len(obj["status"]["rejected"]) == 1, obj["status"]
    assert len(obj["status"]["history"]) == 2, obj["status"]
    bad.route_gives_all_to("1")
    done = train.is_complete("train")
    assert done["status"]["version"] == "1"
    assert done["status"]["progress"]["percent"] == 100
    assert [each["version"] for each in world.registry.versions(train.model)] == ["1"]
    assert world.registry.aliases(train.model) == {"challenger": "1"}
    good.only_runs(second)
    bad.only_runs("1")
    for place in (good, bad, train):
        place.made_everything_once()
    traffic.has_no_failure()
    bad_traffic.has_no_failure(but_of=worse)

    # A rejection is remembered by the next process too.
    _kill_operator(world)
    world.operator_is_ready()
    bad.patch("ModelDeployment", "serve", {"analysis": {"interval": "2s"}})
    bad.has_condition("ModelDeployment", "serve", "Ready", "False", "RolledBack")

    _is_silent(world, (good, bad, train))
    assert bad.weights_of(worse) in ([5], [5, 25]), "the rejected version was tried again"


def _all_over(good: Place, second: str, bad: Place, worse: str, train: Place) -> bool:
    promoted, rejected = good.get("ModelDeployment", "serve"), bad.get("ModelDeployment", "serve")
    trained = train.get("TrainingJob", "train")
    return (
        promoted is not None
        and promoted["status"]["champion"]["version"] == second
        and condition(promoted, "Promoted").get("status") == "True"
        and condition(rejected, "Ready").get("reason") == "RolledBack"
        and condition(trained, "Complete").get("status") == "True"
    )


def _is_silent(world: World, places: tuple[Place, ...]) -> None:
    """Once settled, nothing is written: no object changes, no request of the operator does so."""
    names = {place.namespace for place in places}
    time.sleep(15)
    began, before, others = time.time(), _writes(world), _others(world, names)
    time.sleep(SILENCE)
    with world.diary.changed:
        changed = [
            f"{entry.verb} {entry.kind} {entry.namespace}/{entry.name}"
            for entry in world.diary.entries
            if entry.at > began and entry.kind in (*OURS, "Event") and entry.namespace in names
        ]
    assert not changed, f"written in {SILENCE:.0f} s of silence: {changed}"
    performed = _performed(world, names)
    assert not performed, f"performed in {SILENCE:.0f} s of silence: {performed}"
    elsewhere = _writes(world) - before
    # Where nobody else gave the operator anything to do, it asked for no change at all.
    assert not elsewhere or _others(world, names) != others, f"requests in silence: {elsewhere}"
    NOTES.append(f"writes for other objects in {SILENCE:.0f} s of silence: {dict(elsewhere)}")


def _others(world: World, names: set[str]) -> dict[str, str]:
    """Versions of our kinds' objects in other namespaces."""
    return {
        obj["metadata"]["uid"]: obj["metadata"]["resourceVersion"]
        for kind in ("TrainingJob", "ModelDeployment", "DriftPolicy")
        for obj in world.api.list(kind)
        if obj["metadata"]["namespace"] not in names
    }


def _performed(world: World, namespaces: set[str]) -> list[str]:
    """What the operator's log says that it did to these namespaces' children lately.

    Requests are counted for all objects together and other tests' objects are not settled; the log
    has a line with the namespace before every action, also before those that change nothing.
    """
    text = world.api.kubectl(
        "-n", OPERATOR, "logs", "deploy/linnet-operator", f"--since={SILENCE:.0f}s"
    )
    found = []
    for line in text.splitlines():
        entry = json.loads(line) if line.startswith("{") else {}
        if entry.get("logger") == "linnet.perform" and entry.get("namespace") in namespaces:
            found.append(f"{entry['message']} in {entry['namespace']}")
    return found


def _takes_over(world: World, place: Place, *, grace: int) -> float:
    """Seconds from the leader's end to the next leader's first pass over an object."""
    world.operator_is_ready()
    began = time.monotonic()
    _kill_operator(world, grace=grace)
    obj = place.get("ModelDeployment", "serve")
    assert obj is not None
    interval = "3s" if obj["spec"]["analysis"]["interval"] != "3s" else "1s"
    patched = place.patch("ModelDeployment", "serve", {"analysis": {"interval": interval}})
    generation = patched["metadata"]["generation"]
    place.until(
        "ModelDeployment", "serve", "the next leader looked at it",
        lambda each: each["status"].get("observedGeneration") == generation, seconds=90,
    )  # fmt: skip
    return time.monotonic() - began


def test_another_leader_takes_over(world: World) -> None:
    place = world.place("leader")
    place.register()
    place.apply(place.model_deployment())
    place.is_champion("1")
    killed = _takes_over(world, place, grace=0)
    stopped = _takes_over(world, place, grace=30)
    NOTES.append(
        f"next leader's first pass after a kill: {killed:.1f} s, after SIGTERM: {stopped:.1f} s"
    )
    assert killed < 45, f"{killed:.1f} s after a kill"
    assert stopped < 20, f"{stopped:.1f} s after SIGTERM"


def test_while_it_is_away_everything_serves_and_a_newer_version_keeps_its_alias(
    world: World,
) -> None:
    place = world.place("away")
    place.serving()
    traffic = place.traffic(rate=10)
    kubectl = world.api.kubectl
    place.train("late")
    place.until(
        "TrainingJob", "late", "the Job is made", lambda each: each.get("status", {}).get("jobName")
    )
    place.eventually("the Job exists", lambda: place.all("Job"))
    try:
        kubectl("-n", OPERATOR, "scale", "deploy/linnet-operator", "--replicas=0")
        place.eventually(
            "the training ended",
            lambda: any(
                each["type"] == "Complete" and each["status"] == "True"
                for job in place.all("Job")
                for each in job.get("status", {}).get("conditions", ())
            ),
            seconds=240,
        )
        newer = place.register()
        time.sleep(5)
    finally:
        kubectl("-n", OPERATOR, "scale", "deploy/linnet-operator", "--replicas=1")
    world.operator_is_ready()
    obj = place.is_complete("late")
    assert int(obj["status"]["version"]) < int(newer)
    assert says(obj, "Promoted", "False", "NewerVersionHoldsAlias"), place.explain()
    assert world.registry.aliases(place.model)["challenger"] == newer
    place.is_champion(newer, seconds=300)
    traffic.has_no_failure()


@pytest.mark.parametrize("verb", ["get", "list", "watch", "create", "patch", "delete"])
def test_it_may_not_touch_secrets(world: World, verb: str) -> None:
    asked = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": {
            "user": f"system:serviceaccount:{OPERATOR}:linnet-operator",
            "groups": ["system:serviceaccounts", f"system:serviceaccounts:{OPERATOR}"],
            "resourceAttributes": {"verb": verb, "resource": "secrets", "namespace": "mlops"},
        },
    }
    where = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    answer = world.api.call("POST", where, asked)
    assert answer["status"]["allowed"] is False, answer["status"]
    # The question itself is a right one: what it needs it may do.
    asked["spec"]["resourceAttributes"] = {
        "verb": "list", "group": "linnet.dev", "resource": "trainingjobs", "namespace": "mlops",
    }  # fmt: skip
    assert world.api.call("POST", where, asked)["status"]["allowed"] is True


def test_only_one_process_holds_the_lease(world: World) -> None:
    world.operator_is_ready()
    time.sleep(12)
    lease = world.api.get("Lease", OPERATOR, "linnet-operator")
    assert lease is not None
    holder = lease["spec"]["holderIdentity"]
    pods = [pod["metadata"]["name"] for pod in world.operator_pods()]
    assert any(name in holder for name in pods), (holder, pods)
    renewed = datetime.fromisoformat(lease["spec"]["renewTime"].replace("Z", "+00:00"))
    assert (datetime.now(UTC) - renewed).total_seconds() < 15
