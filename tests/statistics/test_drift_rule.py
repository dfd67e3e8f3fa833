"""The alarm's level where nothing has changed, and its power where something has.

The world of the reference (`ml.md`, section 12): days whose means move together, as AR(1) with
correlation rho, 12 columns, windows of 7 days, 90 days of history.
"""

from __future__ import annotations

from datetime import date, timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
from linnet_monitor import alarm, distances

DAYS, LENGTH, COLUMNS, ROWS, BINS = 90, 7, 12, 200, 20
GAP = 60
"""Days between the history and the window: what is judged comes later."""
RUNS = 200
EDGES = np.linspace(-2.5, 2.5, BINS - 1)
PLACES = np.linspace(-2.6, 2.6, BINS)
DATES = tuple(date(2020, 1, 1) + timedelta(days=day) for day in range(DAYS))


def column(random: np.random.Generator, rho: float) -> Any:
    """Counts by day and bin."""
    effects = np.zeros(DAYS + GAP)
    effects[0] = random.normal(0, 0.3)
    for day in range(1, len(effects)):
        effects[day] = rho * effects[day - 1] + np.sqrt(1 - rho**2) * random.normal(0, 0.3)
    codes = np.searchsorted(EDGES, random.normal(size=(len(effects), ROWS)) + effects[:, None])
    return np.stack([np.bincount(row, minlength=BINS) for row in codes]).astype(float)


def alarms(rho: float, *, shift: int = 0, runs: int = RUNS) -> float:
    """Share of windows with an alarm; in the first column `shift` bins are added."""
    random = np.random.default_rng(1)
    distance = partial(distances.wasserstein, places=PLACES, spread=1.0)
    found = 0
    for _ in range(runs):
        series = []
        for place in range(COLUMNS):
            counts = column(random, rho)
            window = counts[-LENGTH:].sum(axis=0)
            moved = np.roll(window, shift) if place == 0 else window
            series.append(
                alarm.Series(
                    name=str(place), history=counts[:DAYS], window=moved, distance=distance
                )
            )
        later = DATES[-1] + timedelta(days=GAP)
        ranking = alarm.rank(series, dates=DATES, length=LENGTH, current=later, alpha=0.05)
        assert ranking.alarm == (ranking.p_value <= 0.05)
        assert ranking.alarm == (ranking.score > 1)
        found += ranking.alarm
    return found / runs


@pytest.mark.parametrize(("rho", "published"), [(0.0, 0.055), (0.5, 0.072), (0.8, 0.104)])
def test_false_alarms_are_as_rare_as_it_is_written(rho: float, published: float) -> None:
    error = np.sqrt(published * (1 - published) / RUNS)
    assert alarms(rho) <= published + 3 * error


def test_a_column_that_moves_by_a_deviation_is_found() -> None:
    # Four bins of 0.26 are one standard deviation of the rows.
    assert alarms(0.0, shift=4, runs=50) >= 0.9


def test_days_needed_is_where_an_alarm_becomes_possible() -> None:
    random = np.random.default_rng(2)
    needed = alarm.days_needed(LENGTH, 0.05)
    assert needed == 25
    counts = column(random, 0.0)
    distance = partial(distances.wasserstein, places=PLACES, spread=1.0)
    for days, possible in ((needed, True), (needed - 1, False)):
        ranking = alarm.rank(
            [
                alarm.Series(
                    name="x",
                    history=counts[:days],
                    window=np.roll(counts[-LENGTH:].sum(axis=0), 10),
                    distance=distance,
                )
            ],
            dates=DATES[:days],
            length=LENGTH,
            current=DATES[-1] + timedelta(days=GAP),
            alpha=0.05,
        )
        assert ranking.alarm is possible
