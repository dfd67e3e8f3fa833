"""Rollouts judged by what Prometheus says, through the real loop in virtual time."""

from typing import Any

import pytest
from scenarios import at_weight, promoted, rejected
from simulation import NAMESPACE, ROUTED, Simulation, offer, serving

HOLD = {"minDuration": "20s", "minCandidateRequests": 50, "maxDuration": "300s"}
STEPS = [{"weight": 20, "hold": HOLD}, {"weight": 50, "hold": HOLD}, {"weight": 100}]


def by_query(bad: str) -> dict[str, Any]:
    of = '{revision="$revision"}'
    return {"promQL": {"total": f"requests{of}", "bad": f"{bad}{of}"}}


ERRORS = {"name": "errors", "errorRate": {}, "source": by_query("errors")}
LATENCY = {"name": "latency", "latencyHistogram": {}, "source": by_query("slow")}
SLO = {"name": "slo", "objective": {"maxRate": "0.05"}, "source": by_query("errors")}
QUEUE = {
    "name": "queue",
    "gaugePromQL": {"query": 'figure{revision="$revision"}', "higherIs": "Worse"},
}
PODS = {"name": "pods", "errorRate": {}}


def judged(*metrics: dict[str, Any], **options: Any) -> Simulation:
    """A deployment that serves, with these metrics and short steps."""
    analysis = {"metrics": list(metrics), "interval": "5s", "warmup": "5s"}
    spec = {**ROUTED, "strategy": {"steps": STEPS}, "analysis": analysis}
    simulation = serving(spec=spec, **options)
    simulation.run(30)
    return simulation


@pytest.mark.parametrize(
    ("metric", "behaviour"),
    [(ERRORS, {"bad": 0.3}), (LATENCY, {"slow": 0.5}), (SLO, {"bad": 0.3})],
)
def test_a_candidate_is_rolled_back_by_counters_of_queries(
    metric: dict[str, Any], behaviour: dict[str, float]
) -> None:
    simulation = judged(metric)
    offer(simulation, "2", **behaviour)
    assert simulation.run(600, rejected("2")), simulation.message("Progressing")
    assert f"{metric['name']} " in simulation.status["rejected"][0]["message"]


@pytest.mark.parametrize("metric", [ERRORS, LATENCY])
def test_a_candidate_like_the_champion_is_promoted_by_counters_of_queries(
    metric: dict[str, Any],
) -> None:
    simulation = judged(metric)
    simulation.behaviours["1"].slow = 0.05
    offer(simulation, "2", slow=0.05)
    assert simulation.run(3600, promoted("2")), simulation.message("Progressing")
    (told,) = simulation.status["analysis"]["metrics"]
    assert told["candidate"]["total"] > 1000


def test_a_figure_that_is_worse_interval_after_interval_ends_a_rollout() -> None:
    simulation = judged(PODS, QUEUE)
    simulation.figures = {"1": 3.0, "2": 4.0}
    offer(simulation, "2")
    assert simulation.run(600, rejected("2")), simulation.message("Progressing")
    message = simulation.status["rejected"][0]["message"]
    assert "candidate readings" in message, message
    assert "were worse than the other's" in message


@pytest.mark.parametrize("figures", [{"1": 3.0, "2": 3.0}, {"1": 4.0, "2": 3.0}])
def test_a_figure_that_is_equal_or_better_is_no_evidence(figures: dict[str, float]) -> None:
    simulation = judged(PODS, QUEUE)
    simulation.figures = figures
    offer(simulation, "2")
    assert simulation.run(3600, promoted("2")), simulation.message("Progressing")


def test_an_outage_of_prometheus_holds_and_is_counted_as_one_larger_block() -> None:
    simulation = judged(ERRORS)
    offer(simulation, "2")
    assert simulation.run(300, at_weight(20, "2"))
    simulation.run(10)
    before = simulation.status["analysis"]["metrics"][0]["candidate"]["total"]
    simulation.prometheus_up = False
    simulation.run(900)
    assert simulation.condition("Progressing") == ("False", "MetricsUnavailable")
    assert simulation.condition("MetricsAvailable") == ("False", "MetricsUnavailable")
    message = simulation.message("MetricsAvailable")
    assert "queries of errors" in message
    assert "connection refused" in message
    assert simulation.status["weight"] == 20
    assert not simulation.status.get("rejected")
    simulation.prometheus_up = True
    simulation.run(6)
    after = simulation.status["analysis"]["metrics"][0]["candidate"]["total"]
    assert after - before > 900 * 100 * 0.15, "the outage's requests are counted"
    assert simulation.run(3600, promoted("2")), simulation.message("Progressing")


def test_a_bad_candidate_of_an_outage_is_found_when_it_is_over() -> None:
    simulation = judged(ERRORS)
    offer(simulation, "2")
    assert simulation.run(300, at_weight(20, "2"))
    simulation.run(10)
    simulation.prometheus_up = False
    simulation.behaviours["2"].bad = 0.2
    simulation.run(300)
    simulation.behaviours["2"].bad = 0.0
    simulation.prometheus_up = True
    assert simulation.run(60, rejected("2")), simulation.message("Progressing")


def test_no_weight_is_given_before_prometheus_was_asked() -> None:
    simulation = judged(ERRORS)
    simulation.prometheus_up = False
    offer(simulation, "2")
    simulation.run(300)
    assert simulation.condition("Progressing") == ("False", "MetricsUnavailable")
    assert "version 2 gets no weight" in simulation.message("Progressing")
    assert "2" not in simulation.served
    simulation.prometheus_up = True
    assert simulation.run(3600, promoted("2")), simulation.message("Progressing")


UNKNOWN_SERIES = {
    "name": "typo",
    "errorRate": {},
    "source": {
        "promQL": {"total": 'request{revision="$revision"}', "bad": 'error{revision="$revision"}'}
    },
}
UNKNOWN_GAUGE = {**QUEUE, "name": "typo"}


@pytest.mark.parametrize("metric", [UNKNOWN_SERIES, UNKNOWN_GAUGE])
def test_queries_that_find_nothing_hold_the_weight_however_long(metric: dict[str, Any]) -> None:
    simulation = judged(PODS, metric)
    offer(simulation, "2")
    simulation.run(3600)
    assert simulation.condition("Progressing") == ("False", "MetricsUnavailable")
    assert simulation.condition("MetricsAvailable") == ("False", "MetricsUnavailable")
    assert "the queries of typo have found nothing" in simulation.message("Progressing")
    assert simulation.status["weight"] == 20
    assert not simulation.status.get("rejected")


def test_an_operator_without_prometheus_says_which_setting_is_missing() -> None:
    simulation = judged(ERRORS, prometheus=False)
    offer(simulation, "2")
    simulation.run(300)
    assert simulation.condition("Progressing") == ("False", "MetricsUnavailable")
    assert "LINNET_PROMETHEUS_URL" in simulation.message("Progressing")
    assert "2" not in simulation.served


def test_a_query_that_prometheus_refuses_is_told_by_metric() -> None:
    wrong = {
        "name": "typo",
        "errorRate": {},
        "source": {"promQL": {"total": 'a{"$revision"', "bad": 'b{"$revision"'}},
    }
    simulation = judged(wrong)
    offer(simulation, "2")
    simulation.run(120)
    message = simulation.message("Progressing")
    assert "metric 'typo': `total`: Prometheus refuses the query" in message


def test_a_query_of_too_many_series_is_told_what_to_do() -> None:
    simulation = judged(ERRORS, series=29)  # and two pods
    offer(simulation, "2")
    simulation.run(60)
    message = simulation.message("Progressing")
    assert "returns 31 series for revision" in message, message
    assert "sum over what need not be told apart" in message


@pytest.mark.parametrize(
    ("metric", "words"),
    [
        (
            {**ERRORS, "source": {"promQL": {"total": "a", "bad": 'b{x="$revision"}'}}},
            "spec.analysis.metrics[0].source.promQL.total must contain '$revision'",
        ),
        (
            {
                **ERRORS,
                "source": {
                    "promQL": {
                        "total": 'a{x="$revision"}',
                        "bad": 'sum(rate(b{x="$revision"}[1m]))',
                    }
                },
            },
            "spec.analysis.metrics[0].source.promQL.bad must be a raw counter, without 'rate('",
        ),
        (
            {"name": "queue", "gaugePromQL": {"query": "up", "higherIs": "Worse"}},
            "spec.analysis.metrics[0].gaugePromQL.query must contain '$revision'",
        ),
    ],
)
def test_queries_that_cannot_work_are_refused_by_name(metric: dict[str, Any], words: str) -> None:
    simulation = judged(PODS)
    simulation.edit(lambda obj: obj["spec"]["analysis"].update({"metrics": [metric]}))
    simulation.run(10)
    assert simulation.condition("Stalled") == ("True", "InvalidSpec")
    assert words in simulation.message("Stalled")


def test_a_series_that_goes_and_comes_back_is_counted_once() -> None:
    simulation = judged(ERRORS)
    offer(simulation, "2")
    assert simulation.run(300, at_weight(20, "2"))
    simulation.run(5)
    (pod, *_) = [name for name in simulation.of_kind("Pod") if "-v1-" in name]
    uid = simulation.cluster.objects["Pod", NAMESPACE, pod]["metadata"]["uid"]
    for _ in range(3):
        simulation.stale.add(uid)
        simulation.run(7)
        simulation.stale.clear()
        simulation.run(7)
    counted = simulation.status["analysis"]["metrics"][0]["champion"]["total"]
    assert 20 * 100 < counted < 60 * 100
    assert simulation.run(3600, promoted("2")), simulation.message("Progressing")


def test_requests_are_counted_where_no_metric_counts_them() -> None:
    simulation = judged({"name": "latency", "latencyHistogram": {}})
    offer(simulation, "2")
    assert simulation.run(3600, promoted("2")), simulation.message("Progressing")
