"""Write public tables that scikit-learn ships into a store: `diabetes`, `wine` and `iris`.

`diabetes.parquet` has 442 patients with ten measurements and how far the disease went within a year
(`progression`, a number); `wine.parquet` has 178 wines of three growers (`cultivar`) with thirteen
measurements; `iris.parquet` has the lengths and widths of 150 flowers and not what they are.

    python load_tables.py --target s3://data/public
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

import fsspec
import pandas as pd
from sklearn import datasets


def main(arguments: Sequence[str] | None = None) -> int:
    """Make the tables and write them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--target", required=True, help="s3://… or file://…")
    given = parser.parse_args(arguments)
    options: dict[str, Any] = {}
    if given.target.startswith("s3://") and (endpoint := os.environ.get("AWS_ENDPOINT_URL")):
        options["endpoint_url"] = endpoint
    for name, table in make_tables().items():
        with fsspec.open(f"{given.target.rstrip('/')}/{name}.parquet", "wb", **options) as file:
            table.to_parquet(file, index=False)
        print(f"{name}: {len(table)} rows", flush=True)
    return 0


def make_tables() -> dict[str, pd.DataFrame]:
    """Return the tables by name, with column names that a client would write."""
    diabetes = datasets.load_diabetes(as_frame=True, scaled=False)
    wine = datasets.load_wine(as_frame=True)
    iris = datasets.load_iris(as_frame=True)
    measured = wine.data.rename(columns=lambda name: name.replace("/", "_"))
    return {
        "diabetes": diabetes.data.assign(progression=diabetes.target),
        "iris": iris.data.rename(columns=lambda name: name.replace(" (cm)", "").replace(" ", "_")),
        "wine": measured.assign(cultivar=wine.target.map({0: "first", 1: "second", 2: "third"})),
    }


if __name__ == "__main__":
    sys.exit(main())
