"""Error rates of `notWorseThan` on real days: `python benchmarks/gates/error_rates.py --runs 1000`.

The flights of March to December 2013, scored by models that were fitted on January and February.
All those days are the population, so that the true difference of two models' AUC is known; the
challenger is mixed from two models until it is worse by the margin, equal, or better. A run draws
so many whole days, at random or in a row, and asks the shipped gate (jackknife, t, first look). AUC
over days is a sum over pairs of days, which are counted once: runs cost little.

The difference depends on how many days there are. A pair of flights of one day tells less about the
weather than a pair of two days, and of few days more pairs are of one day; days in a row are of one
season. So a model that is worse is asked for the difference that holdouts of its kind have on
average (`truly`): what passes in more than alpha of the runs is then not a better model.
"""

from __future__ import annotations

import argparse
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from linnet_trainer import gates
from linnet_trainer.recipe import GateSpec
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

LOADER = Path(__file__).resolve().parents[2] / "examples" / "demo" / "load_flights.py"
SCHEDULE = ["minute", "weekday", "distance"]
WEATHER = [*SCHEDULE, "temp", "wind_speed", "precip", "visib"]
CATEGORIES = ["carrier", "origin", "dest"]
MARGINS = (0.005, 0.01, 0.02)
DAYS = (14, 31, 60)
BETTER = 0.01


def load() -> pd.DataFrame:
    """The flights with their weather, and the delay at departure, which only the better one knows.

    The departure delay stands in for information that a better model has.
    """
    loader = runpy.run_path(str(LOADER))
    source = loader["find_source"]()
    flights = pd.read_csv(source / "flights.csv.zip")
    tables = loader["make_tables"](source)
    table: pd.DataFrame = tables["weather"]
    local = pd.to_datetime(flights[["year", "month", "day"]]) + pd.to_timedelta(
        (flights["sched_dep_time"] // 100) * 60 + flights["sched_dep_time"] % 100, unit="min"
    )
    flights["sched_dep"] = local.dt.tz_localize("America/New_York").dt.tz_convert("UTC")
    arrived = flights[flights["arr_delay"].notna()].sort_values(
        "sched_dep", kind="stable", ignore_index=True
    )
    return table.assign(dep_delay=arrived["dep_delay"].clip(-30, 240).to_numpy())


def fitted(numbers: list[str], training: pd.DataFrame) -> Any:
    """A logistic model as the demo's."""
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore"), CATEGORIES),
    )
    return make_pipeline(columns, LogisticRegression(max_iter=500)).fit(training, training["late"])


def mixed_to(target: float, scores: dict[str, Any], late: Any) -> Any:
    """Mix the champion's scores with the worse or the better model's until AUC differs by this."""
    champion = scores["weather"]
    base = roc_auc_score(late, champion)
    other = scores["schedule"] if target < 0 else scores["delay"]
    low, high = 0.0, 1.0
    if abs(roc_auc_score(late, other) - base) < abs(target):
        # Worse than the worse model: away from the champion's direction.
        high = 3.0
    for _ in range(30):
        share = (low + high) / 2
        found = roc_auc_score(late, champion + share * (other - champion)) - base
        low, high = (share, high) if abs(found) < abs(target) else (low, share)
    return champion + low * (other - champion)


def equal(scores: dict[str, Any], late: Any, random: np.random.Generator) -> Any:
    """A different model of the same AUC: a better one, made worse by noise on every row."""
    base = roc_auc_score(late, scores["weather"])
    better = mixed_to(BETTER, scores, late)
    noise = random.normal(size=len(late))
    low, high = 0.0, 5.0
    for _ in range(30):
        share = (low + high) / 2
        low, high = (
            (share, high) if roc_auc_score(late, better + share * noise) > base else (low, share)
        )
    return better + low * noise


def pairs(score: Any, late: Any, day: Any) -> Any:
    """How often a late flight of day i scores above a punctual one of day j, shape [days, days]."""
    count = int(day.max()) + 1
    found = np.zeros((count, count))
    positive, of = score[late], day[late]
    for each in range(count):
        negative = np.sort(score[~late & (day == each)])
        below = np.searchsorted(negative, positive, side="left")
        upto = np.searchsorted(negative, positive, side="right")
        found[:, each] = np.bincount(of, weights=(below + upto) / 2, minlength=count)
    return found


def main() -> None:
    """Print the table of shares that pass."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    runs = parser.parse_args().runs
    table = load()
    early = table["sched_dep"] < pd.Timestamp("2013-03-01", tz="UTC")
    training, rest = table[early], table[~early].reset_index(drop=True)
    late = rest["late"].to_numpy()
    day = pd.factorize(rest["sched_dep"].dt.floor("D"))[0]
    scores = {
        name: fitted(numbers, training).decision_function(rest)
        for name, numbers in (
            ("schedule", SCHEDULE),
            ("weather", WEATHER),
            ("delay", [*WEATHER, "dep_delay"]),
        )
    }
    counts = np.outer(
        np.bincount(day[late], minlength=day.max() + 1),
        np.bincount(day[~late], minlength=day.max() + 1),
    )
    champion = pairs(scores["weather"], late, day)
    total = day.max() + 1
    auc = {name: round(float(roc_auc_score(late, score)), 4) for name, score in scores.items()}
    print(f"{len(rest)} flights of {total} days; AUC over all of them: {auc}")
    print(f"{runs} runs a cell; the standard error of a share p is sqrt(p (1 - p) / {runs}),")
    print(f"at p = .025 {np.sqrt(0.025 * 0.975 / runs):.4f}. Look 1: alpha is .025.")
    random = np.random.default_rng(0)
    same = pairs(equal(scores, late, random), late, day) - champion
    better = pairs(mixed_to(BETTER, scores, late), late, day) - champion
    print(
        f"{'days':>5} {'drawn':>9} {'margin':>7} {'truly':>8} {'worse by margin':>16} {'equal':>7} "
        f"{f'better by {BETTER}':>15}"
    )
    for margin in MARGINS:
        worse = pairs(mixed_to(-margin, scores, late), late, day) - champion
        print(
            f"over all days: {_true(worse, counts)}, {_true(same, counts)}, {_true(better, counts)}"
        )
        for days in DAYS:
            for drawn in ("at random", "in a row"):
                truly = -_expected(worse, counts, days, drawn)
                shares = []
                for apart, asked in ((worse, truly), (same, margin), (better, margin)):
                    passed = sum(
                        _passes(apart, counts, _draw(random, total, days, drawn), asked)
                        for _ in range(runs)
                    )
                    shares.append(passed / runs)
                print(
                    f"{days:>5} {drawn:>9} {margin:>7} {truly:>8.5f} {shares[0]:>16.4f} "
                    f"{shares[1]:>7.3f} {shares[2]:>15.3f}",
                    flush=True,
                )


def _expected(apart: Any, counts: Any, days: int, drawn: str) -> float:
    """Return the difference that holdouts of so many days have on average."""
    total = len(counts)
    if drawn == "at random":
        # How likely a day, and a pair of two days, is among those drawn.
        weight = np.full_like(counts, days * (days - 1) / (total * (total - 1)), dtype=float)
        np.fill_diagonal(weight, days / total)
        return float((weight * apart).sum() / (weight * counts).sum())
    found = []
    for first in range(total - days + 1):
        block = np.s_[first : first + days, first : first + days]
        found.append(apart[block].sum() / counts[block].sum())
    return float(np.mean(found))


def _true(apart: Any, counts: Any) -> str:
    return f"{apart.sum() / counts.sum():+.5f}"


def _draw(random: np.random.Generator, total: int, days: int, drawn: str) -> Any:
    if drawn == "at random":
        return random.choice(total, days, replace=False)
    return random.integers(0, total - days + 1) + np.arange(days)


def _passes(apart: Any, counts: Any, chosen: Any, margin: float) -> bool:
    ours, pairs_of = apart[np.ix_(chosen, chosen)], counts[np.ix_(chosen, chosen)]

    def measure(days: Any) -> float:
        block = np.ix_(days, days)
        return float(ours[block].sum() / pairs_of[block].sum())

    spec = GateSpec(name="never-worse", metric="roc_auc", champion=True, margin=margin)
    found = gates.jackknife(measure, np.arange(len(chosen)))
    return gates.judge_difference(spec, found, look=1, version="7").passed


if __name__ == "__main__":
    main()
