"""The `Leakage` check on twenty planted leaks and twenty clean tables: `python … leaks.py`.

Planted on 20,000 flights with weather. Clean: tables that scikit-learn ships, one class against
the others, flights of single months, and synthetic tables. What is missed and what is falsely
refused is printed by name.
"""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from linnet_trainer import data, leakage
from linnet_trainer.recipe import Axis
from linnet_trainer.split import Split
from sklearn import datasets

HERE = Path(__file__).resolve().parent
FLIGHTS = runpy.run_path(str(HERE / "error_rates.py"))
TEXTS = ("carrier", "origin", "dest", "tail_number")


def signs(table: pd.DataFrame, *, twice: int = 0) -> leakage.Signs:
    """Look for signs in a table with the target `late` and, where there is one, `sched_dep`.

    `twice` rows of the holdout are made copies of training rows.
    """
    times = table.get("sched_dep")
    features = tuple(
        data.Feature(name=name, type="string" if name in TEXTS or kind.kind == "O" else "double",
                     source="")
        for name, kind in table.dtypes.items()
        if name not in ("late", "sched_dep") and not pd.api.types.is_datetime64_any_dtype(kind)
    )  # fmt: skip
    hashes = pd.util.hash_pandas_object(table, index=False).to_numpy().copy()
    held = len(table) * 4 // 5
    hashes[held : held + twice] = hashes[:twice]
    positions = np.arange(len(table))
    order = positions if times is not None else np.random.default_rng(0).permutation(positions)
    rows = data.Rows(
        frame=table, hashes=hashes, names=tuple(table), types=dict.fromkeys(table, ""), files=1
    )
    split = Split(
        training=order[:held],
        holdout=order[held:],
        by=Axis.RANDOM,
        start=None,
        trained_until=None,
        fraction=0.2,
    )
    return leakage.look_for(
        rows,
        data.cast(table, features),
        features,
        table["late"].to_numpy().astype(np.int64),
        split,
        times=times,
        seed=0,
    )


def planted(flights: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, int]]:
    """Twenty leaks: a name, the table, and how many rows lie on both sides."""
    random = np.random.default_rng(1)
    late, honest = flights["late"], flights.drop(columns=["dep_delay"])
    part = np.arange(len(flights)) < len(flights) * 4 // 5
    epoch = (flights["sched_dep"] - pd.Timestamp(0, tz="UTC")) / pd.Timedelta("1s")

    def mean_by(*names: str, only: Any = slice(None), smooth: float = 0.0) -> pd.Series:
        key = flights[list(names)].astype(str).agg("|".join, axis=1)
        seen = late[only].groupby(key[only])
        rate = (seen.sum() + smooth * late.mean()) / (seen.count() + smooth)
        return key.map(rate)

    count = len(late)

    def either(where_late: Any, where_punctual: Any) -> Any:
        return np.where(late, where_late, where_punctual)

    outside = random.choice([0.5, 2.5], count) + random.uniform(-0.4, 0.4, count)
    delay = random.normal(-5, 8, count).clip(None, 15)
    arrival = flights["dep_delay"] + either(30, -20) + random.normal(0, 3, count)
    columns: dict[str, Any] = {
        "copy": late.astype(float),
        "negation as text": either("no", "yes").astype(object),
        "copy with 1 in 500 flipped": (late ^ (random.random(count) < 0.002)).astype(float),
        "number that lies apart": either(5.0, 0.0) + random.normal(0, 1, count),
        "arrival delay": either(16 + random.exponential(30, count), delay),
        "compensation, missing where punctual": either(random.normal(100, 20, count), np.nan),
        "note, missing where late": either(None, "on time").astype(object),
        "three outcomes": either(random.choice(["L1", "L2"], count), "P").astype(object),
        "two bands, late in the middle": either(random.uniform(1, 2, count), outside),
        "departure delay (AUC .9, no time tells it)": flights["dep_delay"],
        "arrival delay, noisy": arrival,
        "mean per carrier, all rows": mean_by("carrier"),
        "mean per destination, all rows": mean_by("dest"),
        "mean per destination, smoothed": mean_by("dest", smooth=10),
        "mean per destination, training rows": mean_by("dest", only=part),
        "mean per plane, all rows": mean_by("tail_number"),
        "mean per origin and carrier, all rows": mean_by("origin", "carrier"),
        "arrival as seconds since 1970": epoch + flights["dep_delay"] * 60 + 7200,
    }
    for name, values in columns.items():
        yield name, honest.assign(leak=values), 0
    known = flights["sched_dep"] + pd.to_timedelta(random.uniform(-60, 30, count), unit="min")
    yield "column whose own time is after the event", honest.assign(precip_time=known), 0
    yield "200 rows on both sides", honest, 200


def clean(flights: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Twenty tables without a leak."""
    honest = flights.drop(columns=["dep_delay"])
    for month in range(1, 7):
        yield f"flights of month {month}", honest[honest["sched_dep"].dt.month == month]
    yield "flights without weather", honest.drop(columns=["temp", "wind_speed", "precip", "visib"])
    later = honest[honest["sched_dep"] >= pd.Timestamp("2013-07-01", tz="UTC")]
    before = honest[honest["sched_dep"] < pd.Timestamp("2013-07-01", tz="UTC")]
    rates = before.groupby("dest")["late"].mean()
    yield (
        "flights with last half-year's rate per destination",
        later.assign(rate=later["dest"].map(rates)),
    )
    for name in ("breast_cancer", "wine", "iris", "digits"):
        found = getattr(datasets, f"load_{name}")(as_frame=True)
        frame = found.data.add_prefix("c ")
        for code in range(1 if name == "breast_cancer" else 3):
            yield f"{name}, class {code}", frame.assign(late=found.target == code)
    for seed in range(2):
        x, y = datasets.make_classification(3000, 20, weights=[0.9], random_state=seed)
        yield f"synthetic {seed}", pd.DataFrame(x).add_prefix("c").assign(late=y == 1)


def main() -> None:
    """Print what is found, missed and falsely refused."""
    table = FLIGHTS["load"]()
    flights = table.iloc[:: len(table) // 20_000].head(20_000).reset_index(drop=True)
    found, missed, count = 0, [], 0
    for name, leaking, twice in planted(flights):
        count += 1
        seen = signs(leaking, twice=twice).sentences
        found += bool(seen)
        missed += [] if seen else [name]
        print(f"planted  {name}: {seen[0] if seen else 'MISSED'}", flush=True)
    print(f"found {found} of {count} planted leaks; missed: {'; '.join(missed) or 'none'}")
    refused, count = [], 0
    for name, table_ in clean(flights):
        count += 1
        seen = signs(table_.reset_index(drop=True)).sentences
        refused += [name] if seen else []
        print(f"clean    {name}: {'; '.join(seen) or 'no sign'}", flush=True)
    print(f"falsely refused {len(refused)} of {count}: {'; '.join(refused) or 'none'}")


if __name__ == "__main__":
    main()
