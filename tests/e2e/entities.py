"""Writes entity tables that no feature fits; runs in a pod of the demo image.

python entities.py s3://data/flights s3://data/e2e/run
"""

import os
import sys

import fsspec
import pandas as pd


def main(flights: str, root: str) -> None:
    """Write flights from an airport without weather, and flights of which one has no time."""
    options = {"endpoint_url": os.environ["AWS_ENDPOINT_URL"]}
    with fsspec.open(f"{flights}/schedule/2013-01.parquet", "rb", **options) as file:
        some = pd.read_parquet(file).head(1000)
    times = some["sched_dep"].where(some.index != 5)
    tables = {"lost": some.assign(origin="SFO"), "timeless": some.assign(sched_dep=times)}
    for name, table in tables.items():
        with fsspec.open(f"{root}/{name}.parquet", "wb", **options) as file:
            table.to_parquet(file, index=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
