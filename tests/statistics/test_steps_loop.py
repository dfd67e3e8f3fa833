"""Shadow and A/B steps, through the real loop in virtual time."""

import json
from typing import Any

import pytest
from scenarios import promoted, rejected
from simulation import NAMESPACE, ROUTED, Simulation, copied, offer, serving

HOLD = {"minDuration": "20s", "minCandidateRequests": 50, "maxDuration": "300s"}
SHADOW = {"shadow": {"percent": 50}, "hold": {**HOLD, "minDuration": "90s"}}
COHORT = {"cohort": {"header": "x-arm", "championValue": "a", "candidateValue": "b"}}
WEIGHTS = [{"weight": 20, "hold": HOLD}, {"weight": 100}]
METRICS = [{"name": "errors", "errorRate": {}}, {"name": "scores", "driftBuckets": {}}]


def stepping(*steps: dict[str, Any], mirrors: bool = True, **spec: Any) -> Simulation:
    """A deployment that serves, with these steps before its weights."""
    given = {
        **ROUTED,
        "strategy": {"steps": [*steps, *WEIGHTS]},
        "analysis": {"metrics": METRICS, "interval": "5s", "warmup": "5s"},
        **spec,
    }
    return serving(
        spec={key: value for key, value in given.items() if value is not None}, mirrors=mirrors
    )


def rules(simulation: Simulation) -> list[dict[str, Any]]:
    route = simulation.cluster.objects["HTTPRoute", NAMESPACE, "delays"]
    found: list[dict[str, Any]] = route["spec"]["rules"]
    return found


def in_step(kind: str) -> Any:
    return lambda s: (
        (s.status.get("step") or {}).get("kind") == kind and s.status["step"].get("since")
    )


def test_a_shadow_step_gets_copies_and_leads_to_weights() -> None:
    simulation = stepping(SHADOW)
    offer(simulation, "2")
    assert simulation.run(300, in_step("Shadow")), simulation.message("Progressing")
    candidate = simulation.status["candidate"]["revision"]
    (rule,) = rules(simulation)
    mirror = next(each for each in rule["filters"] if each["type"] == "RequestMirror")
    assert mirror["requestMirror"]["backendRef"]["name"] == f"{candidate}-mirror"
    assert mirror["requestMirror"]["percent"] == 50
    assert [ref["weight"] for ref in rule["backendRefs"]] == [100]
    assert simulation.condition("Ready") == ("False", "Shadowing")
    simulation.run(10)
    assert simulation.status["traffic"][-1]["mirrorPercent"] == 50
    assert "2" not in simulation.served, "nobody is answered by a shadow"
    assert simulation.run(1200, promoted("2")), simulation.message("Progressing")
    (rule,) = rules(simulation)
    assert rule["filters"] == []
    assert simulation.unanswered == 0


@pytest.mark.parametrize("behaviour", [{"bad": 0.3}, {"high": 0.99}])
def test_a_bad_candidate_ends_in_the_shadow_without_one_user_request(
    behaviour: dict[str, float],
) -> None:
    simulation = stepping(SHADOW)
    offer(simulation, "2", **behaviour)
    assert simulation.run(600, rejected("2")), simulation.message("Progressing")
    assert "2" not in simulation.served
    simulation.run(60)
    (rule,) = rules(simulation)
    assert rule["filters"] == []


def test_an_ab_step_compares_cohorts_and_waits_for_a_person() -> None:
    simulation = stepping(COHORT)
    offer(simulation, "2", bad=0.0)
    assert simulation.run(300, in_step("Cohort")), simulation.message("Progressing")
    champion = simulation.status["champion"]["revision"]
    candidate = simulation.status["candidate"]["revision"]
    weighted, first, second = rules(simulation)
    for rule, value, revision in ((first, "a", champion), (second, "b", candidate)):
        assert rule["matches"][0]["headers"] == [{"type": "Exact", "name": "x-arm", "value": value}]
        assert [ref["name"] for ref in rule["backendRefs"]] == [f"{revision}-cohort"]
    assert [ref["name"] for ref in weighted["backendRefs"]] == [champion]
    simulation.run(1800)
    assert simulation.condition("Progressing") == ("False", "ManualPause")
    errors = simulation.status["analysis"]["metrics"][0]
    assert errors["candidate"]["total"] > 1000
    assert errors["champion"]["total"] == pytest.approx(errors["candidate"]["total"], rel=0.05)
    assert simulation.condition("SplitAsConfigured") == ("True", "NotNeeded")
    simulation.request("promote", candidate)
    assert simulation.run(1200, promoted("2")), simulation.message("Progressing")
    assert len(rules(simulation)) == 1


def test_a_candidate_that_fails_its_cohort_is_rolled_back() -> None:
    simulation = stepping(COHORT)
    offer(simulation, "2", bad=0.3)
    assert simulation.run(600, rejected("2")), simulation.message("Progressing")
    simulation.run(60)
    assert len(rules(simulation)) == 1


def test_evidence_of_the_shadow_and_of_weights_share_one_alpha() -> None:
    simulation = stepping(SHADOW, COHORT)
    offer(simulation, "2")
    assert simulation.run(600, in_step("Cohort")), simulation.message("Progressing")
    simulation.behaviours["2"].bad = 0.3
    assert simulation.run(600, rejected("2")), simulation.message("Progressing")
    assert float(simulation.status["rejected"][0]["e"]) >= 20


def test_a_shadow_step_that_is_edited_away_goes_on_to_weights() -> None:
    simulation = stepping({**SHADOW, "hold": {**HOLD, "minDuration": "250s"}})
    offer(simulation, "2")
    assert simulation.run(300, in_step("Shadow")), simulation.message("Progressing")
    simulation.edit(lambda obj: obj["spec"]["strategy"].update({"steps": WEIGHTS}))
    assert simulation.run(60, in_step("Weight")), simulation.message("Progressing")
    assert simulation.run(1200, promoted("2")), simulation.message("Progressing")


AGREEMENT = {"name": "agreement", "disagreement": {"maxRate": "0.05"}}
BY_ANSWERS = {"metrics": [*METRICS, AGREEMENT], "interval": "5s", "warmup": "5s"}


def shadow_map(simulation: Simulation) -> dict[str, Any] | None:
    """What the champion's server is told of copies."""
    found = simulation.cluster.objects.get(("ConfigMap", NAMESPACE, "delays-shadow"))
    return json.loads(found["data"]["shadow.json"]) if found is not None else None


@pytest.mark.parametrize(("route", "percent"), [(ROUTED["route"], 50), (None, 100)])
def test_the_champion_sends_the_copies_where_answers_are_compared(
    route: dict[str, Any] | None, percent: int
) -> None:
    step = {**SHADOW, "shadow": {"percent": percent}}
    simulation = stepping(step, route=route, analysis=BY_ANSWERS)
    offer(simulation, "2", other=0.02)
    assert simulation.run(300, in_step("Shadow")), simulation.message("Progressing")
    champion, candidate = (simulation.status[arm]["revision"] for arm in ("champion", "candidate"))
    assert simulation.status["step"]["mirroredBy"] == "Champion"
    assert shadow_map(simulation) == {
        "from": champion,
        "to": candidate,
        "url": f"http://{candidate}-mirror.{NAMESPACE}.svc",
        "percent": percent,
    }
    if route is not None:
        (rule,) = rules(simulation)
        assert rule["filters"] == [], "no request is copied twice"
    simulation.run(60)
    assert "sent by the champion's server" in simulation.message("Ready")
    assert simulation.status["traffic"][-1]["mirrorPercent"] == percent
    assert "2" not in simulation.served
    told = {metric["name"]: metric for metric in simulation.status["analysis"]["metrics"]}
    assert told["agreement"]["candidate"]["total"] > 1000
    assert "champion" not in told["agreement"]
    assert simulation.run(1800, promoted("2")), simulation.message("Progressing")
    assert shadow_map(simulation) is None
    assert simulation.unanswered == 0


@pytest.mark.parametrize("route", [ROUTED["route"], None])
def test_a_candidate_that_answers_otherwise_ends_in_the_shadow(
    route: dict[str, Any] | None,
) -> None:
    simulation = stepping(SHADOW, route=route, analysis=BY_ANSWERS)
    offer(simulation, "2", other=0.2)
    assert simulation.run(600, rejected("2")), simulation.message("Progressing")
    message = simulation.status["rejected"][0]["message"]
    assert "candidate requests were not answered as by the champion" in message, message
    assert "2" not in simulation.served
    simulation.run(60)
    assert shadow_map(simulation) is None


def test_a_gateway_that_cannot_copy_says_so_and_the_champion_does_it() -> None:
    simulation = stepping(SHADOW, mirrors=False)
    offer(simulation, "2")
    assert simulation.run(300, in_step("Shadow")), simulation.message("Progressing")
    assert simulation.status["step"]["mirroredBy"] == "Champion"
    (rule,) = rules(simulation)
    assert rule["filters"] == []
    assert simulation.run(1200, promoted("2")), simulation.message("Progressing")


def test_a_gateway_that_can_copy_goes_on_until_answers_are_to_be_compared() -> None:
    simulation = stepping({**SHADOW, "hold": {**HOLD, "minDuration": "280s"}})
    offer(simulation, "2", other=0.2)
    assert simulation.run(300, in_step("Shadow")), simulation.message("Progressing")
    assert simulation.status["step"]["mirroredBy"] == "Gateway"
    simulation.run(60)
    simulation.edit(lambda obj: obj["spec"]["analysis"]["metrics"].append(AGREEMENT))
    assert simulation.run(200, rejected("2")), simulation.message("Progressing")


def test_a_map_that_a_foreign_hand_changed_is_written_anew() -> None:
    simulation = stepping(SHADOW, route=None)
    offer(simulation, "2")
    assert simulation.run(300, in_step("Shadow")), simulation.message("Progressing")
    before = shadow_map(simulation)
    changed = dict(simulation.cluster.objects["ConfigMap", NAMESPACE, "delays-shadow"])
    simulation.cluster.put({**changed, "data": {"shadow.json": '{"to": "elsewhere"}'}})
    simulation.run(10)
    assert shadow_map(simulation) == before


def test_pods_of_an_older_linnet_that_send_no_copies_are_told() -> None:
    simulation = stepping(SHADOW, route=None)
    champion = simulation.status["champion"]["revision"]
    record = copied(simulation.cluster.objects["ControllerRevision", NAMESPACE, champion])
    volumes = record["data"]["template"]["spec"]["volumes"]
    volumes[:] = [volume for volume in volumes if volume["name"] != "shadow-target"]
    simulation.cluster.put(record)
    simulation.sync = 1e9
    offer(simulation, "2")
    assert simulation.run(300, in_step("Shadow")), simulation.message("Progressing")
    simulation.run(60)
    assert simulation.condition("Progressing") == ("False", "LowTraffic")
    assert "request `promote`" in simulation.message("Progressing")
    simulation.request("promote", simulation.status["candidate"]["revision"])
    assert simulation.run(900, promoted("2")), simulation.message("Progressing")


LONG = {"minDuration": "600s", "minCandidateRequests": 50, "maxDuration": "700s"}


@pytest.mark.parametrize(("replicas", "source"), [(4, "Learned"), (1, "Assumed")])
def test_the_champions_pods_teach_how_noisy_they_are_before_the_first_weight(
    replicas: int, source: str
) -> None:
    simulation = stepping(
        {"shadow": {"percent": 20}, "hold": LONG},
        server={"replicas": replicas},
        analysis={"metrics": METRICS[:1], "interval": "5s", "warmup": "5s"},
    )
    for version in ("1", "2"):
        offer(simulation, version, bad=0.02)
        if version == "1":
            simulation.run(20)
    assert simulation.run(300, in_step("Shadow")), simulation.message("Progressing")
    simulation.run(30)
    (metric,) = simulation.status["analysis"]["metrics"]
    assert metric["dispersion"] == "Assumed"
    assert simulation.run(900, in_step("Weight")), simulation.message("Progressing")
    simulation.run(60)
    (metric,) = simulation.status["analysis"]["metrics"]
    assert metric["dispersion"] == source
    assert (float(metric["precision"]) > 5) == (source == "Learned")


def test_a_slow_start_of_the_candidate_is_time_to_learn_in() -> None:
    simulation = stepping(
        SHADOW,
        server={"replicas": 4},
        analysis={"metrics": METRICS[:1], "interval": "5s", "warmup": "5s"},
        strategy={"steps": [SHADOW, *WEIGHTS], "progressDeadline": "30m"},
    )
    simulation.behaviours["1"].bad = 0.02
    offer(simulation, "2", bad=0.02, ready_after=550.0)
    assert simulation.run(700, in_step("Shadow")), simulation.message("Progressing")
    assert simulation.run(900, in_step("Weight")), simulation.message("Progressing")
    simulation.run(60)
    (metric,) = simulation.status["analysis"]["metrics"]
    assert metric["dispersion"] == "Learned"
