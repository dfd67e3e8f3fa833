"""What else ends a rollout or brings a champion back: latency, objectives, undo; ways around."""

from __future__ import annotations

from typing import Any

from .stage import beside
from .world import STEPS, Manifest, Place, World, says

SHADOW = {
    "shadow": {"percent": 100},
    "hold": {"minDuration": "8s", "minCandidateRequests": 20, "maxDuration": "40s"},
}
COHORT = {"cohort": {"header": "x-arm", "championValue": "a", "candidateValue": "b"}}
ERRORS = {"name": "errors", "errorRate": {}}


def _ask(place: Place, **how: Any) -> set[tuple[int, str]]:
    """Status and revision of some answers."""
    return {(each["status"], each["x-linnet-revision"]) for each in place.ask(**how)}


def _stands_in(place: Place, kind: str, version: str) -> Manifest:
    """The candidate is in a step of this kind, and every gateway says so."""

    def there(obj: Manifest) -> bool:
        status = obj.get("status") or {}
        step, candidate = status.get("step") or {}, status.get("candidate") or {}
        right = (step.get("kind"), candidate.get("version")) == (kind, version)
        return right and bool(step.get("since"))

    what = f"version {version} stands in a {kind} step"
    return place.until("ModelDeployment", "serve", what, there, seconds=180)


@beside
def test_a_shadow_shows_a_bad_candidate_to_nobody(world: World) -> None:
    place = world.place("shadow")
    place.serving(strategy={"steps": [SHADOW, *STEPS]})
    traffic = place.traffic(rate=15)
    bad = place.register("bad")
    _stands_in(place, "Shadow", bad)
    obj = place.is_rejected(bad, "RolledBack", "regression", seconds=240)
    assert traffic.total(bad) == 0, "a user was answered by a shadow"
    (metric,) = obj["status"]["analysis"]["metrics"]
    assert metric["candidate"]["bad"] + metric["warming"]["bad"] > 0, metric

    second = place.register()
    obj = _stands_in(place, "Shadow", second)
    assert says(obj, "TrafficProgrammed", "True", "Programmed"), place.explain()
    assert traffic.total(second) == 0
    place.is_champion(second, seconds=300)
    place.route_gives_all_to(second)
    traffic.has_no_failure()


@beside
def test_a_candidate_that_disagrees_is_rolled_back_before_any_user_meets_it(world: World) -> None:
    place = world.place("disagreement")
    # The kubelet takes up to a minute and a half to bring the champion the news.
    patient = {**SHADOW, "hold": {**SHADOW["hold"], "maxDuration": "300s"}}
    metrics = [ERRORS, {"name": "agreement", "disagreement": {"maxRate": "0.10"}}]
    # Without a gateway, which could not tell answers apart anyway.
    place.serving(route=None, strategy={"steps": [patient, *STEPS]}, analysis={"metrics": metrics})
    traffic = place.traffic(rate=15, url=f"http://serve.{place.namespace}.svc")
    contrary = place.register("contrary")
    obj = _stands_in(place, "Shadow", contrary)
    assert obj["status"]["step"]["mirroredBy"] == "Champion", place.explain()
    obj = place.is_rejected(contrary, "RolledBack", "agreement", seconds=360)
    assert traffic.total(contrary) == 0, "a user was answered by a shadow"
    told = {each["name"]: each for each in obj["status"]["analysis"]["metrics"]}
    assert told["errors"]["candidate"]["bad"] == 0, told
    assert place.get("ConfigMap", "serve-shadow") is None
    traffic.has_no_failure()


@beside
def test_pods_by_load_and_an_eviction_that_no_user_notices(world: World) -> None:
    place = world.place("sizes")
    place.serving(server={"autoscaling": {"minReplicas": 2, "maxReplicas": 3}})
    traffic = place.traffic(rate=15)
    first, second = place.server_pod_names("1")
    assert place.evict(first)
    assert not place.evict(second), "the budget let both pods go"
    place.eventually(
        "the other may go when the first is replaced", lambda: place.evict(second), seconds=180
    )
    third = place.register()
    place.is_champion(third, seconds=300)
    place.only_runs(third)
    assert len(place.server_pod_names(third)) == 2
    traffic.has_no_failure()


@beside
def test_cohorts_are_answered_by_their_version_until_a_person_decides(world: World) -> None:
    place = world.place("cohort")
    place.serving(strategy={"steps": [COHORT, *STEPS]})
    traffic = place.traffic(rate=15)
    second = place.register()
    obj = _stands_in(place, "Cohort", second)
    revisions = {arm: obj["status"][arm]["revision"] for arm in ("champion", "candidate")}
    assert _ask(place, headers={"x-arm": "a"}, times=30) == {(200, revisions["champion"])}
    assert _ask(place, headers={"x-arm": "b"}, times=30) == {(200, revisions["candidate"])}
    assert _ask(place, times=30) == {(200, revisions["champion"])}

    def counted(each: Manifest) -> bool:
        (metric,) = each["status"]["analysis"]["metrics"]
        told = [metric[key]["total"] for key in ("candidate", "warming")]
        return sum(told) >= 30

    place.until("ModelDeployment", "serve", "the cohort is counted", counted)
    assert traffic.total(second) == 0
    answer = place.request("promote", revisions["candidate"])
    assert answer["outcome"] == "Done", answer
    place.is_champion(second, seconds=300)
    traffic.has_no_failure()


@beside
def test_a_share_is_held_back_until_another_version_is_asked_for(world: World) -> None:
    place = world.place("holdback")
    place.serving(strategy={"holdback": {"percent": 20, "duration": "10m"}})
    traffic = place.traffic(rate=15)
    second = place.register()
    place.is_champion(second, seconds=300)

    def kept(obj: Manifest) -> bool:
        told = {each["version"]: each["weight"] for each in obj["status"].get("traffic", ())}
        return told == {second: 80, "1": 20}

    obj = place.until("ModelDeployment", "serve", "version 1 keeps its share", kept)
    assert says(obj, "Ready", "True", "Probation"), place.explain()
    before, blocks = traffic.total("1"), obj["status"]["analysis"]["blocks"]

    def goes_on(each: Manifest) -> bool:
        return bool(each["status"]["analysis"]["blocks"] > blocks)

    place.until("ModelDeployment", "serve", "both are compared", goes_on)
    assert traffic.total("1") > before
    third = place.register()
    place.until(
        "ModelDeployment", "serve", "the share is given back for version 3",
        lambda each: bool(each["status"].get("candidate")),
    )  # fmt: skip
    place.is_champion(third, seconds=300)
    traffic.has_no_failure()


@beside
def test_a_slow_candidate_is_rolled_back_by_its_latency(world: World) -> None:
    place = world.place("latency")
    place.serving(analysis={"metrics": [ERRORS, {"name": "latency", "latencyHistogram": {}}]})
    traffic = place.traffic(rate=15)
    slow = place.register("slow")
    obj = place.is_rejected(slow, "RolledBack", "latency", "slower than", seconds=300)
    place.route_gives_all_to("1")
    metrics = {each["name"]: each for each in obj["status"]["analysis"]["metrics"]}
    assert metrics["errors"]["candidate"]["bad"] == 0, metrics
    assert float(metrics["latency"]["e"]) > 20, metrics
    traffic.has_no_failure()


@beside
def test_an_objective_alone_rolls_a_candidate_back(world: World) -> None:
    place = world.place("objective")
    objective = {"name": "slo", "objective": {"maxRate": "0.02", "slowerThan": "2s"}}
    place.serving(analysis={"metrics": [objective]})
    traffic = place.traffic(rate=15)
    bad = place.register("bad")
    place.is_rejected(bad, "RolledBack", "slo", "were bad")
    traffic.has_no_failure(but_of=bad)


@beside
def test_undo_on_probation_and_what_goes_around_the_weights(world: World) -> None:
    place = world.place("undo")
    header = {"name": "x-tester", "value": "yes"}
    place.serving(strategy={"probation": {"duration": "10m"}, "testHeader": header})
    traffic = place.traffic(rate=15)
    second = place.register()
    place.reaches_weight(5, version=second)
    obj = place.get("ModelDeployment", "serve")
    assert obj is not None
    revision = obj["status"]["candidate"]["revision"]
    assert _ask(place, headers={"x-tester": "yes"}, times=30) == {(200, revision)}

    obj = place.is_champion(second, seconds=300)
    assert says(obj, "Ready", "True", "Probation"), place.explain()
    assert place.revisions_running() == {"1", second}
    answer = place.request("undo", revision)
    assert answer["outcome"] == "Done", answer
    place.is_rejected(second, "Undone", "version 1 takes all traffic back")
    place.has_condition("ModelDeployment", "serve", "Promoted", "True", "AliasSet", "version 1")
    place.route_gives_all_to("1")
    place.only_runs("1")

    # Another deployment of the same model on the same host, under a path of its own.
    other = place.model_deployment("other", model={"championAlias": "", "version": "1"})
    other["spec"]["model"].pop("alias", None)
    other["spec"]["route"]["pathPrefix"] = "/other"
    place.apply(other)
    obj = place.has_condition("ModelDeployment", "other", "Ready", "True", "Serving", seconds=180)
    assert obj["status"]["url"] == f"http://{place.host}/other"
    there = obj["status"]["champion"]["revision"]
    assert _ask(place, path="/other/invocations", times=10) == {(200, there)}
    here = place.get("ModelDeployment", "serve")
    assert here is not None
    champion = here["status"]["champion"]["revision"]
    assert _ask(place, times=10) == {(200, champion)}
    traffic.has_no_failure()
