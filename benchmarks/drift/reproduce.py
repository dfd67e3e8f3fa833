"""False alarms and detection of drift rules: `python benchmarks/drift/reproduce.py --runs 200`.

The protocol of the reference (`ml.md`, section 12): 12 columns, windows of 7 days of 200 rows, 90
or 180 days of history whose daily means are AR(1) with correlation rho. Ours at its default
probability, beside what Evidently's preset decides from the first of the same rows: drift of the
data set (half of the columns) and of any column, by its default methods for that many rows (normed
Wasserstein at 0.1). `shift` moves one column by so many deviations of a row.
Every line says how often a check raises an alarm; the standard error is beside it.
"""

from __future__ import annotations

import argparse
import itertools
import math
import warnings
from datetime import date, timedelta
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from linnet_monitor import alarm, distances

LENGTH, COLUMNS, ROWS, GAP = 7, 12, 200, 60
EDGES = np.linspace(-2.5, 2.5, 19)
PLACES = np.linspace(-2.6, 2.6, 20)
EFFECT = 0.3
"""Standard deviation of a day's mean, in deviations of a row."""


def world(random: np.random.Generator, days: int, rho: float, shift: float) -> tuple[Any, Any]:
    """Rows of the history [days, rows, columns] and of the window; `shift` moves one column."""
    total = days + GAP
    effects = np.zeros((total, COLUMNS))
    effects[0] = random.normal(0, EFFECT, COLUMNS)
    for day in range(1, total):
        noise = random.normal(0, EFFECT, COLUMNS)
        effects[day] = rho * effects[day - 1] + math.sqrt(1 - rho**2) * noise
    rows = random.normal(size=(total, ROWS, COLUMNS)) + effects[:, None, :]
    window = rows[-LENGTH:].copy()
    window[..., 0] += shift
    return rows[:days], window


def ours(history: Any, window: Any) -> bool:
    """The shipped rule."""
    distance = partial(distances.wasserstein, places=PLACES, spread=1.0)
    series = [
        alarm.Series(
            name=str(place),
            history=_counts(history[..., place]),
            window=_counts(window[..., place]).sum(axis=0),
            distance=distance,
        )
        for place in range(COLUMNS)
    ]
    dates = [date(2020, 1, 1) + timedelta(days=day) for day in range(len(history))]
    return alarm.rank(series, dates=dates, length=LENGTH, alpha=0.05).alarm


def _counts(values: Any) -> Any:
    codes = np.searchsorted(EDGES, values)
    return np.stack([np.bincount(row, minlength=len(PLACES)) for row in codes]).astype(float)


def presets(history: Any, window: Any) -> tuple[bool, bool]:
    """What Evidently's preset says: of the data set, and of any column."""
    from evidently import DataDefinition, Dataset, Report
    from evidently.presets import DataDriftPreset

    names = [f"n{place}" for place in range(COLUMNS)]
    definition = DataDefinition(numerical_columns=names)
    current, reference = (
        Dataset.from_pandas(
            pd.DataFrame(rows.reshape(-1, COLUMNS), columns=names), data_definition=definition
        )
        for rows in (window, history)
    )
    snapshot = Report([DataDriftPreset()]).run(current, reference)
    metrics = snapshot.dict()["metrics"]
    count = metrics[0]["value"]
    return count["share"] >= 0.5, count["count"] > 0


def line(days: int, rho: float, shift: float, runs: int, beside: int) -> str:
    """One row of the table."""
    random = np.random.default_rng(3)
    found, whole, any_column = 0, 0, 0
    for run in range(runs):
        history, window = world(random, days, rho, shift)
        found += ours(history, window)
        if run < beside:
            data_set, column = presets(history, window)
            whole, any_column = whole + data_set, any_column + column
    told = [_share(found, runs), _share(whole, beside), _share(any_column, beside)]
    return f"{days:4}  {rho:4.1f}  {shift:5.2f}  {told[0]:>14}  {told[1]:>14}  {told[2]:>14}"


def _share(count: int, runs: int) -> str:
    # Drawn towards a half by one of each: 0 of 25 is not 0 ± 0.
    near = (count + 1) / (runs + 2)
    return f"{count / runs:.3f} ± {math.sqrt(near * (1 - near) / runs):.3f}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--beside", type=int, default=12, help="runs of Evidently, which are slow")
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    heads = ("ours", "preset: data", "preset: column")
    print(f"{'days':>4}  {'rho':>4}  {'shift':>5}  " + "  ".join(f"{head:>14}" for head in heads))
    quiet = itertools.product((90, 180), (0.0, 0.5, 0.8), (0.0,))
    moved = itertools.product((90,), (0.0, 0.5, 0.8), (0.5, 1.0))
    for days, rho, shift in (*quiet, *moved):
        print(line(days, rho, shift, given.runs, min(given.beside, given.runs)), flush=True)


if __name__ == "__main__":
    main()
