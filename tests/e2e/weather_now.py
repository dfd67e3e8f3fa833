"""Write the weather of now into the online store, as a stream of observations would.

python weather_now.py <repository> <airport>=<hours ago> ...
"""

from __future__ import annotations

import os
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import fsspec
import pandas as pd
from feast import FeatureStore

WEATHER = {"temp": 21.0, "wind_speed": 9.0, "precip": 0.0, "visib": 10.0}


def main() -> None:
    repository, *airports = sys.argv[1:]
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    os.environ["FEAST_S3_ENDPOINT_URL"] = endpoint
    now = datetime.now(UTC)
    rows = []
    for told in airports:
        airport, _, hours = told.partition("=")
        observed = now - timedelta(hours=float(hours))
        rows.append({"origin": airport, "observed": observed, "published": now, **WEATHER})
    with tempfile.TemporaryDirectory() as folder:
        with fsspec.open(f"{repository}/feature_store.yaml", "r", endpoint_url=endpoint) as file:
            Path(folder, "feature_store.yaml").write_text(file.read())
        FeatureStore(repo_path=folder).write_to_online_store("weather", pd.DataFrame(rows))


main()
