"""Which step comes next, what its hold is, and what the analysis rules become."""

from datetime import timedelta
from typing import Any

import pytest
from builders import spec
from hypothesis import given
from hypothesis import strategies as st
from linnet.api.model_deployment import AdvanceWhen, OnTimeout, StepStatus
from linnet.core.rollout import steps
from linnet.core.rollout.analysis import Dispersion
from linnet_server.contract import LATENCY_EDGES


def ramp(*weights: int, **hold: Any) -> Any:
    return spec(
        strategy={
            "steps": [
                {"weight": weight, **({"hold": hold} if hold and weight < 100 else {})}
                for weight in weights
            ]
        }
    )


def test_the_default_hold() -> None:
    assert steps.hold_of(spec().strategy.steps[0]) == steps.HoldRule(
        minimum=timedelta(),
        maximum=timedelta(minutes=10),
        requests=200,
        advance_when=AdvanceWhen.EVIDENCE_OR_TIMEOUT,
        on_timeout=OnTimeout.ADVANCE,
    )


def test_100_percent_is_held_for_a_minute() -> None:
    assert steps.hold_of(spec().strategy.steps[-1]).minimum == timedelta(seconds=60)


def test_zero_requests_may_be_asked_for() -> None:
    rule = steps.hold_of(ramp(5, 100, minCandidateRequests=0).strategy.steps[0])
    assert rule.requests == 0


@pytest.mark.parametrize(
    ("weight", "expected"),
    [(0, (5, "1/4")), (5, (25, "2/4")), (7, (25, "2/4")), (50, (100, "4/4")), (100, None)],
)
def test_the_next_step(weight: int, expected: tuple[int, str] | None) -> None:
    found = steps.next_step(spec(), weight)
    assert (found and (found.weight, found.label)) == expected


def at(weight: int) -> StepStatus:
    return StepStatus(index=1, of=4, label="1/4", weight=weight)


@pytest.mark.parametrize(
    ("weights", "weight", "expected"),
    [
        ((5, 25, 50, 100), 25, None),
        ((10, 30, 100), 25, 30),
        ((10, 100), 25, None),
        ((100,), 25, None),
        ((5, 26, 100), 25, 26),
        ((5, 100), 100, None),
    ],
    ids=["unchanged", "the first above", "only 100 is left", "no ramp", "close above", "at 100"],
)
def test_edited_steps(weights: tuple[int, ...], weight: int, expected: int | None) -> None:
    found = steps.edited(ramp(*weights), at(weight))
    assert (found and found.weight) == expected


ramps = st.lists(st.integers(1, 99), min_size=0, max_size=6, unique=True).map(
    lambda weights: (*sorted(weights), 100)
)


@given(ramps, ramps, st.integers(0, 99))
def test_no_edit_ever_lowers_a_weight(
    before: tuple[int, ...], after: tuple[int, ...], start: int
) -> None:
    weight = start
    for weights in (before, after):
        given_spec = ramp(*weights)
        moved = steps.edited(given_spec, at(weight)) if weight else None
        following = moved or steps.next_step(given_spec, weight)
        if following is None:
            break
        assert following.weight is not None
        assert following.weight > weight
        weight = following.weight


@given(ramps)
def test_every_ramp_ends_at_100(weights: tuple[int, ...]) -> None:
    given_spec, weight, seen = ramp(*weights), 0, []
    while (following := steps.next_step(given_spec, weight)) is not None:
        weight = following.weight or 0
        seen.append(weight)
    assert seen == list(weights)


def test_the_default_rules_are_those_of_the_reference() -> None:
    rules = steps.rules(spec())
    assert (rules.false_rollback, rules.false_promotion, rules.horizon) == (0.05, 0.05, 180)
    assert (rules.interval, rules.warmup) == (timedelta(seconds=10), timedelta(seconds=30))
    (metric,) = rules.metrics
    assert (metric.tolerance, metric.margin, metric.acceptable) == (1.1, 2.0, 0.01)
    assert metric.bad == ("5xx", "400", "422", "Reset", "Timeout")
    assert rules.dispersion == Dispersion(source="Assumed", precision=5.0)
    assert metric.floor(rules.dispersion) == 2.0


def test_each_kind_of_metric_becomes_its_rule() -> None:
    given = [
        {"name": "errors", "errorRate": {"acceptable": "0.02"}, "tolerance": "1.05"},
        {"name": "latency", "latencyHistogram": {}},
        {"name": "scores", "driftBuckets": {}, "importance": 3},
        {"name": "slo", "objective": {"maxRate": "0.05", "slowerThan": "250ms"}},
    ]
    rules = steps.rules(spec(analysis={"metrics": given, "dispersion": {"mode": "Exact"}}))
    errors, latency, scores, slo = rules.metrics
    assert [rule.kind.value for rule in rules.metrics] == [
        "errorRate", "latencyHistogram", "driftBuckets", "objective",
    ]  # fmt: skip
    assert (errors.acceptable, errors.floor(rules.dispersion)) == (0.02, 3.0)
    assert (latency.margin, latency.is_guardrail, scores.is_guardrail) == (1.5, True, False)
    assert latency.floor(Dispersion()) == 4.0
    assert latency.floor(rules.dispersion) == 2.0
    assert scores.importance == 3
    assert slo.max_rate == 0.05
    assert slo.slower_than is not None
    below, edge = LATENCY_EDGES[slo.slower_than - 1], LATENCY_EDGES[slo.slower_than]
    assert below < 0.25 <= edge
    assert rules.dispersion == Dispersion(source="Exact", precision=None)


def test_a_short_ramp_has_the_shortest_horizon_and_a_long_one_its_own() -> None:
    assert steps.rules(ramp(5, 100, maxDuration="1m")).horizon == 100
    assert steps.rules(ramp(5, 50, 100, maxDuration="1h")).horizon == 720
