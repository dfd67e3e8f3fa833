"""The alarm's level where nothing has changed, and its power where something has.

The world of the reference (`ml.md`, section 12): days whose means move together, as AR(1) with
correlation rho, 12 columns, windows of 7 days, 90 or 180 days of history.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
from linnet_monitor import alarm, distances
from scipy.stats import norm

LENGTH, COLUMNS, ROWS = 7, 12, 200
EDGES = np.linspace(-2.5, 2.5, 19)
PLACES = np.linspace(-2.6, 2.6, 20)
WASSERSTEIN = partial(distances.wasserstein, places=PLACES, spread=1.0)


def world(random: np.random.Generator, days: int, *, rho: float = 0.0, columns: int = 1) -> Any:
    """Counts [days + a window's, columns, bins] of normal rows; the window comes much later."""
    effects = np.zeros((days + LENGTH, columns))
    for day in range(len(effects)):
        noise = random.normal(0, 0.3, columns)
        alone = day in (0, days)
        effects[day] = noise if alone else rho * effects[day - 1] + np.sqrt(1 - rho**2) * noise
    below = norm.cdf(EDGES - effects[..., None])
    shares = np.diff(below, axis=-1, prepend=0.0, append=1.0)
    return random.multinomial(ROWS, shares / shares.sum(axis=-1, keepdims=True)).astype(float)


def rank(
    counts: Any, days: int, *, shift: int = 0, length: int = LENGTH, **given: Any
) -> alarm.Ranking:
    """Rank the last days against the first; in the first column `shift` bins are added."""
    series = []
    for place in range(counts.shape[1]):
        window = counts[days:, place].sum(axis=0)
        series.append(
            alarm.Series(
                name=str(place),
                history=counts[:days, place],
                window=np.roll(window, shift) if place == 0 else window,
                distance=WASSERSTEIN,
            )
        )
    ranking = alarm.rank(series, dates=dates(days), length=length, alpha=0.05, **given)
    assert ranking.alarm == (ranking.p_value <= 0.05)
    assert ranking.alarm == (ranking.score > 1)
    return ranking


def dates(days: int) -> tuple[date, ...]:
    return tuple(date(2020, 1, 1) + timedelta(days=day) for day in range(days))


def alarms(days: int, rho: float, *, runs: int, shift: int = 0) -> float:
    """Share of windows with an alarm."""
    random = np.random.default_rng(1)
    worlds = (world(random, days, rho=rho, columns=COLUMNS) for _ in range(runs))
    return sum(rank(counts, days, shift=shift).alarm for counts in worlds) / runs


@pytest.mark.parametrize(
    ("days", "rho", "published", "runs"),
    [
        (90, 0.0, 0.055, 400),
        (90, 0.5, 0.072, 400),
        (90, 0.8, 0.104, 400),
        (180, 0.0, 0.036, 250),
        (180, 0.8, 0.069, 250),
    ],
)
def test_false_alarms_are_as_rare_as_it_is_written(
    days: int, rho: float, published: float, runs: int
) -> None:
    error = np.sqrt(published * (1 - published) / runs)
    assert abs(alarms(days, rho, runs=runs) - published) <= 3 * error


def test_a_column_that_moves_by_a_deviation_is_found() -> None:
    # Four bins of 0.28 are about one standard deviation of the rows.
    assert alarms(90, 0.0, runs=50, shift=4) >= 0.9


@pytest.mark.parametrize(("length", "needed"), [(7, 25), (14, 41)])
def test_days_needed_is_where_an_alarm_becomes_possible(length: int, needed: int) -> None:
    assert alarm.days_needed(length, 0.05) == needed
    for seed in range(10):
        counts = world(np.random.default_rng(seed), needed)
        assert rank(counts, needed, shift=10, length=length).alarm


def test_one_day_less_resolves_nothing() -> None:
    ranking = rank(world(np.random.default_rng(2), 24), 24, shift=10)
    assert not ranking.resolves
    assert not ranking.alarm


def test_windows_that_overlap_all_others_are_not_ranked() -> None:
    # Of 19 windows of 14 days in 32 days the first and the last five have one apart.
    ranking = rank(world(np.random.default_rng(2), 32), 32, shift=10, length=14)
    assert ranking.windows == 10
    assert not ranking.resolves


def test_windows_without_a_row_are_not_ranked() -> None:
    counts = world(np.random.default_rng(3), 90)
    counts[:45] = 0
    ranking = rank(counts, 90)
    assert ranking.windows == 45, "the first that has a row begins on day 39"


def test_windows_of_days_that_are_judged_are_not_ranked() -> None:
    counts = world(np.random.default_rng(4), 90)
    counts[90:] = counts[10:17]
    ranking = rank(counts, 90, touched=frozenset(dates(90)[10:17]))
    assert ranking.windows == 84 - 13
