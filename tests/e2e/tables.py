"""Writes the small tables of the end-to-end tests into the store; runs in a pod of the demo image.

python tables.py s3://data/e2e/run
"""

import os
import sys

import fsspec
import numpy as np
import pandas as pd

DAYS, ROWS_A_DAY = 60, 50


def make(*, seed: int = 7, signal: float = 1.0, later: int = 0) -> pd.DataFrame:
    """Rows whose label depends on `x1` and `x2` as strongly as `signal` says, `later` in days."""
    random = np.random.default_rng(seed)
    count = DAYS * ROWS_A_DAY
    day = np.repeat(np.arange(DAYS), ROWS_A_DAY) + later
    numbers = {f"x{n}": random.normal(size=count).round(6) for n in range(1, 6)}
    odds = signal * (1.4 * numbers["x1"] + 1.0 * numbers["x2"])
    moment = day * 86400 + np.tile(np.linspace(0, 80000, ROWS_A_DAY), DAYS).astype(int)
    return pd.DataFrame(
        {
            "at": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(moment, unit="s"),
            "late": random.random(count) < 1 / (1 + np.exp(-odds)),
            **numbers,
            "colour": random.choice(np.array(["red", "green", "blue"], dtype=object), count),
            "shape": random.choice(np.array(["round", "square"], dtype=object), count),
            "plane": [f"N{number}" for number in random.integers(0, 100, count)],
        }
    )


def remarks(*, seed: int = 7) -> pd.DataFrame:
    """Remarks of passengers; people have labelled the newest, two of the 24 wrong."""
    random, count = np.random.default_rng(seed), 120
    said = {
        True: ("seat {} was dirty", "the crew at gate {} was rude", "bag {} was lost"),
        False: ("seat {} was fine", "the crew at gate {} was kind", "bag {} came soon"),
    }
    truth = np.arange(count) % 2 == 0
    texts = [random.choice(said[bool(each)]).format(row) for row, each in enumerate(truth)]
    known = np.arange(count) >= 96
    wrong = np.arange(count) % 13 == 0
    return pd.DataFrame(
        {
            "at": pd.Timestamp("2026-01-01", tz="UTC")
            + pd.to_timedelta(np.arange(count), unit="h"),
            "remark": texts,
            "complaint": np.where(known, truth ^ wrong, None),
        }
    )


def main(root: str) -> None:
    """Write every table below `root`."""
    options = {
        "endpoint_url": os.environ["AWS_ENDPOINT_URL"],
        "client_kwargs": {"region_name": os.environ["AWS_REGION"]},
        "config_kwargs": {"s3": {"addressing_style": "path"}},
    }
    good = make()
    extra = good.assign(x6=np.random.default_rng(1).normal(size=len(good)).round(6))
    tables = {
        "good.parquet": good,
        "extra.parquet": extra,
        "good.csv": good,
        # The same kind of rows, later, with two numbers far from where they were in training.
        "live.parquet": make(seed=8, later=60).assign(
            x3=lambda table: table["x3"] + 2, x4=lambda table: table["x4"] - 2
        ),
        "noise.parquet": make(signal=0.0),
        # The same rows with every label turned round: a model of it answers the other class.
        "contrary.parquet": good.assign(late=~good["late"]),
        "empty.parquet": good.head(0),
        "other.parquet": good.rename(columns={"late": "delayed"}),
        "one-class.parquet": good.assign(late=True),
        "number.parquet": good.assign(late=good["x1"]),
        "remarks.parquet": remarks(),
    }
    for name, table in tables.items():
        with fsspec.open(f"{root}/{name}", "wb", **options) as file:
            if name.endswith(".csv"):
                table.to_csv(file, index=False)
            else:
                table.to_parquet(file, index=False)
        print(name, len(table), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
