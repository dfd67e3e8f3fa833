"""Shadow and A/B steps, through the real loop in virtual time."""

from typing import Any

import pytest
from scenarios import promoted, rejected
from simulation import NAMESPACE, ROUTED, Simulation, offer, serving

HOLD = {"minDuration": "20s", "minCandidateRequests": 50, "maxDuration": "300s"}
SHADOW = {"shadow": {"percent": 50}, "hold": {**HOLD, "minDuration": "90s"}}
COHORT = {"cohort": {"header": "x-arm", "championValue": "a", "candidateValue": "b"}}
WEIGHTS = [{"weight": 20, "hold": HOLD}, {"weight": 100}]
METRICS = [{"name": "errors", "errorRate": {}}, {"name": "scores", "driftBuckets": {}}]


def stepping(*steps: dict[str, Any], **spec: Any) -> Simulation:
    """A deployment that serves, with these steps before its weights."""
    given = {
        **ROUTED,
        "strategy": {"steps": [*steps, *WEIGHTS]},
        "analysis": {"metrics": METRICS, "interval": "5s", "warmup": "5s"},
        **spec,
    }
    return serving(spec={key: value for key, value in given.items() if value is not None})


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


def test_a_shadow_without_a_gateway_is_refused_by_name() -> None:
    simulation = serving()
    simulation.edit(lambda obj: obj["spec"].pop("route"))
    simulation.edit(lambda obj: obj["spec"].update({"strategy": {"steps": [SHADOW, *WEIGHTS]}}))
    simulation.run(30)
    assert simulation.condition("Stalled") == ("True", "NotYetSupported")
    assert "spec.strategy.steps[0].shadow without spec.route" in simulation.message("Stalled")


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
