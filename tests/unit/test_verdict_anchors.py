"""The rules of others as the verdict's benchmark re-implements them, on tables made by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import beta, mannwhitneyu

from benchmarks.verdict import anchors
from benchmarks.verdict.comparing import Number, Outcome, Sheet, differ, error_of_share
from benchmarks.verdict.worlds import World


def world(k1: Sequence[int], *, n1: int = 100, k0: Sequence[int] = (), n0: int = 400) -> World:
    """One run whose scrapes have these bad answers of the candidate and of the champion."""
    bad = np.array([k1])
    champion = np.array([k0]) if k0 else np.zeros_like(bad)
    return World(
        n1=np.full_like(bad, n1),
        k1=bad,
        n0=np.full_like(bad, n0),
        k0=champion,
        seconds=np.full(bad.shape[1], 10.0),
    )


def ended(found: Any) -> int:
    (scrape,) = found.tolist()
    return int(scrape)


def test_argo_rolls_back_at_the_second_interval_that_fails() -> None:
    assert ended(anchors.threshold(world([2, 0, 2, 0, 0]), rate=0.015)) == 2
    assert ended(anchors.threshold(world([2, 0, 1, 0, 1]), rate=0.015)) == -1


def test_an_interval_of_argo_is_the_sum_of_its_scrapes() -> None:
    # Ten scrapes, five intervals: 3 of 200 is not above 1.5 %, 4 of 200 is.
    assert ended(anchors.threshold(world([3, 0] * 5), rate=0.015)) == -1
    assert ended(anchors.threshold(world([0, 0, 3, 1, 0, 0, 4, 0, 0, 0]), rate=0.015)) == 7


def test_the_example_of_argo_tolerates_three_failures() -> None:
    given = {"rate": 0.05, "looks": 20, "limit": 3}
    assert ended(anchors.threshold(world([6, 6, 6] + [5] * 17), **given)) == -1
    assert ended(anchors.threshold(world([6, 6, 6] + [5] * 16 + [6]), **given)) == 19


def test_an_interval_without_requests_does_not_fail() -> None:
    assert ended(anchors.threshold(world([0] * 5, n1=0), rate=0.01)) == -1
    assert ended(anchors.ratio(world([0] * 5, n1=0, k0=[4] * 5), limit=1.5)) == -1


def test_a_ratio_compares_the_arms() -> None:
    # The champion has 1 %: 1.5 times that is not yet above, 2 % is.
    assert ended(anchors.ratio(world([2, 2, 0, 0, 0], n1=100, k0=[4] * 5), limit=1.5)) == 1
    assert ended(anchors.ratio(world([3, 3, 3, 3, 3], n1=200, k0=[4] * 5), limit=1.5)) == -1


def test_a_ratio_to_nothing_fails_with_the_first_bad_answer() -> None:
    assert ended(anchors.ratio(world([1, 1, 0, 0, 0]), limit=1.5)) == 1
    assert ended(anchors.ratio(world([0, 0, 0, 0, 0]), limit=1.5)) == -1


def test_flagger_counts_ten_fails_that_never_decay() -> None:
    assert ended(anchors.flagger(world([2, 0] * 9 + [2, 2]))) == 18
    assert ended(anchors.flagger(world([1] * 20))) == -1, "99 % is not below 99 %"


def test_flagger_promotes_after_ten_passes_whatever_comes_then() -> None:
    assert ended(anchors.flagger(world([0] * 10 + [50] * 10))) == -1
    assert ended(anchors.flagger(world([0] * 9 + [50] * 10 + [0]))) == 18


def test_iter8_looks_once_at_the_end() -> None:
    assert ended(anchors.iter8(world([50, 0, 0, 0, 0]))) == 4
    assert ended(anchors.iter8(world([3, 3, 1, 0, 0]))) == -1, "7 of 500 is 1.4 %"


def test_kayenta_asks_for_a_shift_above_a_quarter_of_its_estimate() -> None:
    control = np.arange(20) / 1000
    # All of the experiment is above all of the control: the largest statistic there is.
    assert anchors.kayenta_high(control + 0.1, control)
    # A significant shift whose interval reaches below a quarter of the estimate is no failure.
    shifted = control + 0.0052
    assert mannwhitneyu(shifted, control, alternative="greater").pvalue < 0.01
    assert not anchors.kayenta_high(shifted, control)


def test_kayenta_passes_what_is_alike() -> None:
    same = np.array([0.0, 0.01, 0.02, 0.0])
    assert not anchors.kayenta_high(same, same)
    assert not anchors.kayenta_high(same - 0.5, same)
    assert not anchors.kayenta_high(np.array([]), same)


def test_kayenta_does_not_take_ties_for_a_shift() -> None:
    # Half of all pairs are tied at nothing: the limit of the shift is nothing, and not above it.
    control, experiment = np.zeros(40), np.array([0.0] * 25 + [0.2] * 15)
    assert mannwhitneyu(experiment, control, alternative="greater").pvalue < 0.001
    assert not anchors.kayenta_high(experiment, control)


def test_kayenta_leaves_out_scrapes_without_requests() -> None:
    given = world([0, 9] * 50, n1=10)
    given.n1[0, ::2] = 0
    assert ended(anchors.kayenta(given)) == 19


@pytest.mark.parametrize(("n1", "k1", "n0", "k0"), [(50, 1, 950, 9), (2000, 40, 8000, 80)])
def test_bayes_agrees_with_draws_from_both_posteriors(n1: int, k1: int, n0: int, k0: int) -> None:
    tables = (np.array([[value]]) for value in (n1, k1, n0, k0))
    (((probability,),),) = (anchors.probability_worse(*tables).tolist(),)
    draws = 200_000
    candidate = beta(k1 + 1, n1 - k1 + 1).rvs(draws, random_state=1)
    champion = beta(k0 + 1, n0 - k0 + 1).rvs(draws, random_state=2)
    assert probability == pytest.approx((candidate > champion).mean(), abs=0.004)


def test_bayes_between_equal_tables_is_undecided() -> None:
    table = np.array([[100]]), np.array([[3]])
    assert anchors.probability_worse(*table, *table).item() == pytest.approx(0.5, abs=1e-5)


def test_z_is_the_pooled_test_of_two_shares() -> None:
    # 8 of 100 and 12 of 400: z = 2.282, below the 2.326 of one in a hundred; with 9 it is 2.665.
    pooled = 20 / 500
    z = (0.08 - 0.03) / math.sqrt(pooled * (1 - pooled) * (1 / 100 + 1 / 400))
    assert z == pytest.approx(2.282, abs=1e-3)
    assert ended(anchors.naive_z(world([8], k0=[12]), looks=1)) == -1
    assert ended(anchors.naive_z(world([9], k0=[12]), looks=1)) == 0


def test_naive_rules_look_at_all_that_was_seen_so_far() -> None:
    # One stretch alone is not significant (z = 1.85), two together are (2.62).
    assert ended(anchors.naive_z(world([4, 4, 4, 4], k0=[5] * 4), looks=4)) == 1
    assert ended(anchors.naive_bayes(world([4, 4, 4, 4], k0=[5] * 4), looks=4)) == 1


@pytest.mark.parametrize(
    ("text", "value", "rounding"),
    [("5.9k", 5900, 50), ("14k", 14000, 500), ("590", 590, 5), (".5", 0.5, 0.05), ("0", 0, 0.5)],
)
def test_a_printed_number_is_read_with_its_rounding(
    text: str, value: float, rounding: float
) -> None:
    number = Number.read(text)
    assert (number.value, number.rounding) == (value, pytest.approx(rounding))


def test_two_standard_errors_beyond_the_rounding_are_a_difference() -> None:
    theirs = Number(10.0, 0.5)
    assert not differ(20.4, 4.0, theirs, 3.0)
    assert differ(20.6, 4.0, theirs, 3.0)


def test_a_cell_says_what_was_found_when_and_at_what_price() -> None:
    given = world([2, 2, 0, 0, 0])
    outcome = Outcome.of(given, anchors.threshold(given, rate=0.015))
    sheet = Sheet()
    assert sheet.found(outcome, "", runs=1000, name="one") == "100@1.0k (200)"
    assert sheet.compared == 0
    assert sheet.share(outcome, "100", runs=1000, name="one") == "100 [100]"
    assert sheet.compared == 1
    assert sheet.differing == []


def test_a_run_that_never_ended_has_met_all_its_requests() -> None:
    given = world([0, 0, 0, 0, 0])
    outcome = Outcome.of(given, anchors.threshold(given, rate=0.015))
    assert Sheet().found(outcome, "", runs=1000, name="one") == "0 (500)"


def test_no_event_still_leaves_a_standard_error() -> None:
    assert 0 < error_of_share(0, 200) < error_of_share(20, 200)
