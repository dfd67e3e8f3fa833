"""Rollouts that are judged by more than errors, through the real loop in virtual time."""

from typing import Any

import pytest
from scenarios import at_weight, promoted, rejected
from simulation import NAMESPACE, ROUTED, Simulation, offer, serving

HOLD = {"minDuration": "20s", "minCandidateRequests": 50, "maxDuration": "300s"}
STEPS = [{"weight": 20, "hold": HOLD}, {"weight": 50, "hold": HOLD}, {"weight": 100}]


def judged(*metrics: dict[str, Any], **changes: Any) -> Simulation:
    """A deployment that serves, with these metrics and short steps."""
    spec = {
        **ROUTED,
        "strategy": {"steps": STEPS, **changes.pop("strategy", {})},
        "analysis": {"metrics": list(metrics), "interval": "5s", "warmup": "5s", **changes},
    }
    simulation = serving(spec=spec)
    # A champion has a past, by which its quantiles are known.
    simulation.run(30)
    return simulation


ERRORS = {"name": "errors", "errorRate": {}}
LATENCY = {"name": "latency", "latencyHistogram": {}}
SCORES = {"name": "scores", "driftBuckets": {}}
SLO = {"name": "slo", "objective": {"maxRate": "0.05", "slowerThan": "100ms"}}


@pytest.mark.parametrize(
    ("metrics", "behaviour", "words"),
    [
        ((ERRORS, LATENCY), {"slow": 0.5}, "candidate requests"),
        ((LATENCY,), {"slow": 0.5}, "were slower than 10.7 ms"),
        ((SCORES,), {"high": 0.6}, "were scored from"),
        ((SLO,), {"slow": 0.3}, "were slower than 114 ms"),
        ((SLO,), {"bad": 0.3}, "were bad"),
    ],
)
def test_a_candidate_is_rolled_back_by_what_is_measured(
    metrics: tuple[dict[str, Any], ...], behaviour: dict[str, float], words: str
) -> None:
    simulation = judged(*metrics)
    offer(simulation, "2", **behaviour)
    assert simulation.run(900, rejected("2")), simulation.message("Progressing")
    (entry,) = simulation.status["rejected"]
    assert entry["reason"] == "Regression"
    assert words in entry["message"], entry["message"]
    assert simulation.registry.aliases["champion"] == "1"


def test_a_candidate_like_the_champion_passes_all_metrics() -> None:
    simulation = judged(ERRORS, LATENCY, SCORES, SLO)
    offer(simulation, "2")
    assert simulation.run(3600, promoted("2")), simulation.message("Progressing")
    names = [metric["name"] for metric in simulation.status["analysis"]["metrics"]]
    assert names == ["errors", "latency", "scores", "slo"]


@pytest.mark.parametrize("dispersion", [{"mode": "Exact"}, {"mode": "Fixed", "precision": 500}])
def test_the_form_is_that_which_was_asked_for(dispersion: dict[str, Any]) -> None:
    simulation = judged(ERRORS, dispersion=dispersion)
    offer(simulation, "2", bad=0.2)
    assert simulation.run(900, rejected("2")), simulation.message("Progressing")
    (metric,) = simulation.status["analysis"]["metrics"]
    assert metric["dispersion"] == dispersion["mode"]
    assert metric.get("precision") == ("500" if "precision" in dispersion else None)


def test_an_objective_that_both_miss_holds_until_resume_and_blames_nobody() -> None:
    simulation = judged(ERRORS, SLO)
    offer(simulation, "2", slow=0.3)
    simulation.behaviours["1"].slow = 0.3
    assert simulation.run(900, lambda s: s.condition("Progressing")[1] == "SharedIncident")
    simulation.run(900)
    assert simulation.condition("Progressing") == ("False", "SharedIncident")
    assert "both versions miss slo" in simulation.message("Progressing")
    assert not simulation.status.get("rejected")
    for behaviour in simulation.behaviours.values():
        behaviour.slow = 0.0
    simulation.request("resume")
    assert simulation.run(3600, promoted("2")), simulation.message("Progressing")


def test_shares_that_are_not_as_configured_hold_until_resume() -> None:
    simulation = judged(ERRORS)
    offer(simulation, "2")
    assert simulation.run(300, at_weight(20, "2"))
    simulation.skew = 0.3
    assert simulation.run(300, lambda s: s.condition("SplitAsConfigured")[0] == "False")
    assert simulation.condition("SplitAsConfigured")[1] == "SampleRatioMismatch"
    assert "requests instead of 20 %" in simulation.message("SplitAsConfigured")
    simulation.run(900)
    assert simulation.status["weight"] == 20
    assert not simulation.status.get("rejected")
    simulation.skew = 1.0
    simulation.request("resume")
    assert simulation.run(3600, promoted("2")), simulation.message("Progressing")


def test_a_pod_that_dies_with_its_last_counts_is_no_mismatch() -> None:
    simulation = judged(ERRORS)
    offer(simulation, "2")
    assert simulation.run(300, at_weight(20, "2"))
    for _ in range(8):
        (pod, *_) = [name for name in simulation.of_kind("Pod") if "-v1-" in name]
        simulation.cluster.remove("Pod", NAMESPACE, pod)
        simulation.pod_started.pop(pod)
        simulation.run(9)
        assert simulation.condition("SplitAsConfigured")[0] != "False"
    assert simulation.run(3600, promoted("2")), simulation.message("Progressing")


def test_a_step_by_request_waits_for_promote_with_rollback_armed() -> None:
    by_request = [{"weight": 20, "hold": {"advanceWhen": "Request"}}, {"weight": 100}]
    simulation = judged(ERRORS, strategy={"steps": by_request})
    offer(simulation, "2")
    assert simulation.run(300, at_weight(20, "2"))
    simulation.run(3600)
    assert simulation.condition("Progressing") == ("False", "ManualPause")
    assert simulation.status["weight"] == 20
    simulation.request("promote", simulation.status["candidate"]["revision"])
    assert simulation.run(600, promoted("2")), simulation.message("Progressing")
    offer(simulation, "3", bad=0.5)
    assert simulation.run(600, rejected("3")), simulation.message("Progressing")


def test_testers_reach_a_candidate_by_header_and_are_no_evidence() -> None:
    header = {"name": "x-tester", "value": "yes"}
    simulation = judged(ERRORS, strategy={"steps": STEPS, "testHeader": header})
    offer(simulation, "2")
    assert simulation.run(300, lambda s: len(_rules(s)) == 2)
    weighted, first = _rules(simulation)
    candidate = simulation.status["candidate"]["revision"]
    assert first["matches"][0]["headers"] == [{"type": "Exact", **header}]
    assert [ref["name"] for ref in first["backendRefs"]] == [f"{candidate}-direct"]
    assert sum(ref["weight"] for ref in weighted["backendRefs"]) == 100
    simulation.request("abort", candidate)
    assert simulation.run(60, rejected("2"))
    assert len(_rules(simulation)) == 1


def test_a_path_prefix_is_matched_and_taken_away() -> None:
    route = {**ROUTED["route"], "pathPrefix": "/delays"}
    simulation = serving(spec={**ROUTED, "route": route})
    (rule,) = _rules(simulation)
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/delays"}}]
    assert rule["filters"][0]["urlRewrite"]["path"]["replacePrefixMatch"] == "/"
    assert simulation.status["url"] == "http://delays.example.com/delays"
    simulation.edit(lambda obj: obj["spec"]["route"].pop("pathPrefix"))
    simulation.run(30)
    (rule,) = _rules(simulation)
    assert rule["filters"] == []
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/"}}]


def _rules(simulation: Simulation) -> list[dict[str, Any]]:
    route = simulation.cluster.objects["HTTPRoute", NAMESPACE, "delays"]
    rules: list[dict[str, Any]] = route["spec"]["rules"]
    return rules
