"""The non-inferiority gate: its interval, its error rate, its looks, its words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.stats
from linnet_trainer import champion, evaluate, gates
from linnet_trainer.contract import GateReason
from linnet_trainer.gates import Difference
from linnet_trainer.recipe import GateSpec, Unit
from sklearn.metrics import roc_auc_score

SPEC = GateSpec(name="never-worse", metric="roc_auc", champion=True)


def day_jackknife_ci(
    y: Any, champion: Any, challenger: Any, day: Any, metric: Callable[..., float], level: float
) -> tuple[float, float, float]:
    """The reference function of ml.md, section 12, as it stands there."""
    days = np.unique(day)
    g = len(days)

    def delta(m: Any) -> float:
        return metric(y[m], challenger[m]) - metric(y[m], champion[m])

    theta = delta(np.ones(len(y), bool))
    loo = np.array([delta(day != d) for d in days])
    half = scipy.stats.t.ppf((1 + level) / 2, g - 1) * np.sqrt(
        (g - 1) / g * ((loo - loo.mean()) ** 2).sum()
    )
    return theta - half, theta, theta + half


def scores(seed: int, days: int, rows: int) -> tuple[Any, Any, Any, Any]:
    """Labels, two models' scores and days; the models share every day's shock."""
    random = np.random.default_rng(seed)
    day = np.repeat(np.arange(days), rows)
    signal = random.normal(size=days * rows)
    y = (random.random(days * rows) < 1 / (1 + np.exp(1 - signal))).astype(int)
    shock = random.normal(scale=0.5, size=(2, days))[:, day]
    noise = random.normal(scale=1.0, size=(2, days * rows))
    both = 1 / (1 + np.exp(-(signal + shock + noise)))
    return y, both[0], both[1], day


def difference_of(y: Any, champion: Any, challenger: Any) -> Callable[[Any], float]:
    ours = evaluate.Answers(probability=challenger, label=(challenger > 0.5).astype(int))
    theirs = evaluate.Answers(probability=champion, label=(champion > 0.5).astype(int))

    def measure(rows: Any) -> float:
        return evaluate.score("roc_auc", ours, y, rows) - evaluate.score("roc_auc", theirs, y, rows)

    return measure


@pytest.mark.parametrize("days", [14, 31])
def test_the_first_look_is_the_reference_functions_lower_bound_at_level_95(days: int) -> None:
    y, champion, challenger, day = scores(1, days, 40)
    low, theta, _ = day_jackknife_ci(y, champion, challenger, day, roc_auc_score, 0.95)
    found = gates.jackknife(difference_of(y, champion, challenger), day)
    times = gates.quantile(confidence=0.95, look=1, freedom=found.freedom)

    assert found.estimate == pytest.approx(theta, abs=1e-12)
    assert found.estimate - times * found.error == pytest.approx(low, abs=1e-12)
    assert found.clusters == days


@pytest.mark.parametrize("days", [20, 450])
def test_paired_losses_per_day_give_the_jackknife_of_their_mean(days: int) -> None:
    random = np.random.default_rng(days)
    day = np.repeat(np.arange(days), random.integers(1, 9, days))
    truth = random.normal(size=len(day))
    ours = evaluate.Numbers(label=truth + random.normal(scale=0.9, size=len(day)))
    theirs = evaluate.Numbers(label=truth + random.normal(size=len(day)))

    for metric in evaluate.LOSSES:
        paired = champion.compare(metric, ours, theirs, truth, day)
        general = gates.jackknife(
            lambda rows, metric=metric: (
                evaluate.score(metric, ours, truth, rows)
                - evaluate.score(metric, theirs, truth, rows)
            ),
            day,
        )
        assert paired.estimate == pytest.approx(general.estimate, abs=1e-12)
        assert paired.error == pytest.approx(general.error, rel=1e-9)
        assert (paired.clusters, paired.freedom) == (days, min(days, gates.BLOCKS) - 1)


def test_looks_spend_no_more_than_the_total_alpha() -> None:
    spent = [
        scipy.stats.t.sf(gates.quantile(confidence=0.95, look=look, freedom=30), 30)
        for look in range(1, 200)
    ]

    assert spent[0] == pytest.approx(0.025)
    assert sum(spent) < 0.05
    assert spent == sorted(spent, reverse=True)


def test_the_measured_bounds_of_the_demo_come_from_its_standard_error() -> None:
    bounds = [
        0.064 - gates.quantile(confidence=0.95, look=look, freedom=30) * 0.029
        for look in (1, 2, 3, 4)
    ]

    assert bounds == pytest.approx([0.005, -0.009, -0.018, -0.024], abs=0.0015)


def test_a_model_that_is_worse_by_the_margin_passes_about_as_rarely_as_alpha_says() -> None:
    """Linear scores stand in for AUC: the truth at the margin's edge is then exact."""
    random = np.random.default_rng(5)
    spec = GateSpec(name="g", metric="accuracy", champion=True, margin=0.02)
    passed = 0
    runs, days, rows = 400, 20, 15
    day = np.repeat(np.arange(days), rows)
    for _ in range(runs):
        values = -0.02 + random.normal(scale=0.05, size=days)[day]
        values = values + random.normal(scale=0.2, size=days * rows)

        def measure(chosen: Any, values: Any = values) -> float:
            return float(values[chosen].mean())

        found = gates.jackknife(measure, day)
        passed += gates.judge_difference(spec, found, look=1, version="1").passed

    # Three standard errors above the nominal 10 of 400.
    assert passed <= 10 + 3 * np.sqrt(400 * 0.025 * 0.975)
    assert passed >= 1


def test_many_clusters_are_merged_into_blocks_of_whole_clusters() -> None:
    random = np.random.default_rng(6)
    shock = random.normal(size=1000)
    group = np.repeat(np.arange(1000), 3)
    values = shock[group] + random.normal(size=3000)
    found = gates.jackknife(lambda rows: float(values[rows].mean()), group)

    assert (found.clusters, found.freedom) == (1000, 199)
    means = values.reshape(1000, 3).mean(axis=1)
    assert found.error == pytest.approx(means.std(ddof=1) / np.sqrt(1000), rel=0.2)


CASES = [
    (
        "a clear gain passes",
        Difference(estimate=0.058, error=0.0265, clusters=31, freedom=30),
        1,
        GateReason.NOT_WORSE_THAN_CHAMPION,
        "not worse than version 7 by more than 0.02: +0.058, at least +0.004 (look 1)",
    ),
    (
        "an equal model with a small error passes",
        Difference(estimate=0.0, error=0.0, clusters=31, freedom=30),
        9,
        GateReason.NOT_WORSE_THAN_CHAMPION,
        "not worse than version 7 by more than 0.02: +0.000, at least +0.000 (look 9)",
    ),
    (
        "an estimate below the margin is worse",
        Difference(estimate=-0.03, error=0.01, clusters=31, freedom=30),
        2,
        GateReason.WORSE_THAN_CHAMPION,
        "roc_auc is worse than version 7's by more than 0.02: -0.030, standard error 0.010 over "
        "31 days (look 2)",
    ),
    (
        "a wide interval is unclear and says what it would need",
        Difference(estimate=0.0, error=0.02, clusters=31, freedom=30),
        1,
        GateReason.UNCLEAR,
        "unclear against version 7: roc_auc +0.000, at least -0.041, which is not above -0.02 "
        "(look 1); standard error 0.020 over 31 days resolves a margin of 0.041; 0.02 needs about "
        "130 days",
    ),
    (
        "thirteen days are too few, whatever they say",
        Difference(estimate=0.5, error=0.01, clusters=13, freedom=12),
        1,
        GateReason.UNCLEAR,
        "the holdout has 13 days and must have at least 14: make `validation.holdout` larger; "
        "standard error 0.010 over 13 days resolves a margin of 0.022",
    ),
    (
        "one day has no spread",
        Difference(estimate=0.5, error=float("nan"), clusters=1, freedom=1),
        1,
        GateReason.UNCLEAR,
        "the holdout has 1 days and must have at least 14: make `validation.holdout` larger",
    ),
]


@pytest.mark.parametrize(
    ("found", "look", "reason", "message"),
    [case[1:] for case in CASES],
    ids=[case[0] for case in CASES],
)
def test_a_difference_is_judged_in_words(
    found: Difference, look: int, reason: GateReason, message: str
) -> None:
    gate = gates.judge_difference(SPEC, found, look=look, version="7")

    assert (gate.reason, gate.message) == (reason, message)
    assert gate.passed is (reason is GateReason.NOT_WORSE_THAN_CHAMPION)


def test_the_same_estimate_passes_at_an_early_look_and_not_at_a_late_one() -> None:
    found = Difference(estimate=0.064, error=0.029, clusters=31, freedom=30)
    passed = [
        gates.judge_difference(SPEC, found, look=look, version="1").passed for look in range(1, 6)
    ]

    assert passed == [True, True, True, False, False]


def test_a_minimum_is_met_by_the_estimate_itself() -> None:
    spec = GateSpec(name="good-enough", metric="roc_auc", minimum="0.60")

    met = gates.judge_minimum(spec, 0.6, rows=100)
    missed = gates.judge_minimum(spec, 0.5999, rows=100)
    assert (met.passed, met.reason) == (True, GateReason.AT_LEAST_MINIMUM)
    assert (missed.passed, missed.reason) == (False, GateReason.BELOW_THRESHOLD)
    assert missed.message == "roc_auc 0.600 is below the minimum 0.60"


def test_a_group_gate_says_groups() -> None:
    spec = GateSpec(name="g", metric="f1", champion=True, unit=Unit.GROUP)
    found = Difference(estimate=0.0, error=0.0, clusters=3, freedom=2)

    assert "has 3 groups" in gates.judge_difference(spec, found, look=1, version="1").message
