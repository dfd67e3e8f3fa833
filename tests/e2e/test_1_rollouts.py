"""Rollouts behind the gateway: promoted under load, taken back, steered by requests."""

from __future__ import annotations

import time
from datetime import datetime

from .stage import NOTES, beside
from .world import WEIGHTS, Place, Traffic, World, condition, says


def _is_promoted(place: Place, traffic: Traffic, version: str) -> None:
    """A rollout of a good version, from candidate to champion."""
    obj = place.is_champion(version, seconds=300)
    assert place.weights_of(version) == WEIGHTS, place.explain()
    place.route_gives_all_to(version)
    newest = obj["status"]["history"][0]
    assert (newest["version"], newest["maxWeight"]) == (version, 100)
    assert traffic.total(version, "200") > 100
    place.has_event("serve", "Promoted", f"version {version} has held 100 %")
    place.only_runs(version)
    traffic.has_no_failure()


@beside
def test_better_versions_are_promoted_under_load_without_a_failed_request(world: World) -> None:
    place = world.place("promote")
    place.serving(server={"replicas": 2})
    traffic = place.traffic(rate=20)

    # A GitOps tool that applies what is in Git, again and again, changes neither weights nor state.
    with place.reapplied(place.model_deployment(server={"replicas": 2})) as applied:
        second = place.register()
        obj = place.reaches_weight(5, version=second)
        assert says(obj, "InputsCompatible", "True", "SameInputs"), place.explain()
        _is_promoted(place, traffic, second)
    assert len(applied) > 20, "the rollout took less than a re-applied manifest a second"
    assert {each["metadata"]["generation"] for each in applied} == {1}

    third = place.register()
    _is_promoted(place, traffic, third)
    obj = place.get("ModelDeployment", "serve")
    assert obj is not None
    champions = [entry["version"] for entry in obj["status"]["history"]]
    assert champions == [third, second, "1"], champions
    _answers_carry_version_and_id(place, third)
    traffic.has_no_failure()


def _answers_carry_version_and_id(place: Place, version: str) -> None:
    (answer,) = place.ask()
    assert answer["status"] == 200, answer
    assert answer["x-linnet-model-version"] == version
    assert answer["x-linnet-revision"].startswith(f"serve-v{version}-")
    assert len(answer["x-request-id"]) > 8


@beside
def test_a_bad_candidate_is_rolled_back_and_stays_rejected(world: World) -> None:
    place = world.place("rollback")
    place.serving()
    traffic = place.traffic(rate=20)
    champion = place.server_pods("1")

    asked = time.time()
    copy = world.copy("bad")
    bad = place.register("bad", copy=copy)
    obj = place.is_rejected(bad, "RolledBack", "regression", "traffic returned to version 1")
    _note_times(place, traffic, bad, asked)

    rejected = obj["status"]["rejected"][0]
    assert (rejected["version"], rejected["reason"]) == (bad, "Regression"), rejected
    assert max(place.weights_of(bad)) <= 25, place.weights_of(bad)
    sentence = rejected["message"]
    assert condition(obj, "Ready")["message"].startswith(sentence)
    assert condition(obj, "Stalled")["reason"] == "RolledBack"
    place.has_event("serve", "RollBackDecided", sentence)
    place.has_event("serve", "RolledBack", sentence)
    differing = [
        condition(old, "InputsCompatible").get("message", "")
        for old in place.past("ModelDeployment", "serve")
        if says(old, "InputsCompatible", "False", "InputsDiffer")
    ]
    assert any("x6" in each for each in differing), place.explain()
    place.route_gives_all_to("1")
    place.only_runs("1")
    assert place.server_pods("1") == champion, "the champion's pods were touched"

    # The same manifest changes nothing.
    place.apply(place.model_deployment())
    # The same content under a new number is not tried.
    again = place.register("bad", copy=copy)
    obj = place.has_condition(
        "ModelDeployment", "serve", "Ready", "False", "SameContentAsRejected",
        f"version {again} has the same content as version {bad}", f"retry={rejected['revision']}",
        seconds=120,
    )  # fmt: skip
    assert condition(obj, "Stalled")["reason"] == "SameContentAsRejected"
    place.has_event("serve", "SameContentAsRejected", f"version {again}")
    assert place.weights_of(again) == []
    assert place.revisions_running() == {"1"}
    tag = f"linnet.dev/rejected.{place.namespace}.serve"
    assert tag in world.registry.version(place.model, bad)["tags"]

    # A person may ask for another try, which ends as the first did.
    refused = place.request("retry", "serve-v1-00000000")
    assert refused["outcome"] == "Refused", refused
    assert rejected["revision"] in refused["message"]
    done = place.request("retry", rejected["revision"])
    assert done["outcome"] == "Done", done
    obj = place.is_rejected(again, "RolledBack", "regression")
    assert traffic.total(again) > 0
    place.route_gives_all_to("1")
    _only_the_bad_failed(traffic, {bad, again})
    assert place.server_pods("1") == champion, "the champion's pods were touched"


def _note_times(place: Place, traffic: Traffic, bad: str, asked: float) -> None:
    """Tell how long the alias took to bring the first request, and the decision the last one."""
    first, last = traffic.totals()["answered"][bad]
    event = place.has_event("serve", "RollBackDecided")
    decided = datetime.fromisoformat(event["eventTime"]).timestamp()
    NOTES.append(
        f"{first - asked:.1f} s from the alias to the candidate's first answer, "
        f"{last - decided:+.2f} s from the decision to its last"
    )


def _only_the_bad_failed(traffic: Traffic, bad: set[str]) -> None:
    totals = traffic.totals()
    for version, codes in totals["answers"].items():
        expected = {"422"} if version in bad else {"200"}
        assert set(codes) <= expected, f"version {version}: {codes}"
    assert (totals["lost"], totals["refused"], totals["timeouts"]) == (0, 0, 0), totals


@beside
def test_requests_steer_a_rollout(world: World) -> None:
    place = world.place("requests")
    patient = {"minDuration": "0s", "minCandidateRequests": 1, "maxDuration": "8s"}
    steps = [
        {"weight": 5, "hold": {**patient, "maxDuration": "600s", "minCandidateRequests": 100000}},
        {"weight": 25, "hold": {**patient, "onTimeout": "Pause"}},
        {"weight": 50, "hold": {**patient, "maxDuration": "600s", "minCandidateRequests": 100000}},
        {"weight": 100, "hold": {"minDuration": "5s"}},
    ]
    place.serving(strategy={"steps": steps})
    traffic = place.traffic(rate=12)
    second = place.register()
    obj = place.reaches_weight(5, version=second)
    revision = obj["status"]["candidate"]["revision"]

    # What does not fit is refused with a sentence.
    wrong = place.request("promote", "serve-v9-00000000")
    assert wrong["outcome"] == "Refused", wrong
    assert revision in wrong["message"]
    nonsense = place.request("explode", revision)
    assert nonsense["outcome"] == "Refused", nonsense
    place.has_event("serve", "RequestRefused", "explode")

    # Paused, nothing moves.
    place.patch("ModelDeployment", "serve", {"paused": True})
    place.has_condition("ModelDeployment", "serve", "Ready", "False", "Paused", "5 %")
    place.has_condition(
        "ModelDeployment", "serve", "Progressing", "False", "ManualPause", "spec.paused"
    )
    place.patch("ModelDeployment", "serve", {"paused": False})
    place.has_condition("ModelDeployment", "serve", "Ready", "False", "CanaryInProgress")

    # One step further, by name.
    done = place.request("promote", revision)
    assert done["outcome"] == "Done", done
    place.reaches_weight(25, version=second)

    # A pause by timeout ends on `resume`, which holds the step once more.
    place.has_condition("ModelDeployment", "serve", "Progressing", "False", "Timeout", "resume")
    place.has_condition("ModelDeployment", "serve", "Ready", "False", "Paused", "25 %")
    assert place.request("resume")["outcome"] == "Done"
    place.has_condition("ModelDeployment", "serve", "Ready", "False", "CanaryInProgress")
    place.has_condition("ModelDeployment", "serve", "Progressing", "False", "Timeout")
    assert place.request("promote", revision)["outcome"] == "Done"
    place.reaches_weight(50, version=second)

    # `abort` takes it back, for good.
    assert place.request("abort", revision)["outcome"] == "Done"
    obj = place.is_rejected(second, "RolledBack", "abort was requested")
    assert obj["status"]["rejected"][0]["reason"] == "Aborted"
    place.route_gives_all_to("1")
    assert place.weights_of(second) == [5, 25, 50]
    time.sleep(5)
    traffic.has_no_failure()


@beside
def test_a_rollout_without_a_gateway_follows_replicas(world: World) -> None:
    place = world.place("replicas")
    place.serving(route=None, server={"replicas": 2})
    assert place.all("HTTPRoute") == []
    url = f"http://serve.{place.namespace}.svc"
    traffic = place.traffic(rate=12, url=url)

    second = place.register()
    obj = place.reaches_weight(25, version=second)
    assert says(obj, "TrafficProgrammed", "True", "ReplicaWeighted"), place.explain()
    obj = place.is_champion(second, seconds=300)
    assert obj["status"]["url"] == url
    assert traffic.total(second, "200") > 20
    place.only_runs(second)
    traffic.has_no_failure()

    bad = place.register("bad")
    place.is_rejected(bad, "RolledBack", "regression", f"traffic returned to version {second}")
    place.only_runs(second)
    service = place.get("Service", "serve")
    assert service is not None
    assert f"-v{second}-" in service["spec"]["selector"]["linnet.dev/revision"]
    _only_the_bad_failed(traffic, {bad})
