"""Make a Feast repository of the weather at New York's airports, and say what its features mean.

The flights' loader has written the source, `<flights>/observations.parquet`: what was observed at
which hour, and when that became known. Runs in the image `trainer-feast`.

    python apply.py --flights s3://data/flights --repository s3://data/feast
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import fsspec
import yaml
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, ValueType
from feast.types import Float64, String

ENDPOINT = os.environ.get("AWS_ENDPOINT_URL")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write `feature_store.yaml` and apply the definitions."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--flights", required=True, help="folder with observations.parquet")
    parser.add_argument("--repository", required=True, help="s3://… or file://…")
    parser.add_argument("--service", default="delays_v1")
    parser.add_argument("--ttl-hours", type=int, default=3)
    parser.add_argument("--redis", default="", help="host:port of an online store")
    given = parser.parse_args(arguments)
    if ENDPOINT:
        os.environ["FEAST_S3_ENDPOINT_URL"] = ENDPOINT
    settings: dict[str, Any] = {
        "project": "flights",
        "provider": "local",
        "registry": f"{given.repository}/registry.db",
        "offline_store": {"type": "duckdb"},
        "entity_key_serialization_version": 3,
    }
    if given.redis:
        settings["online_store"] = {"type": "redis", "connection_string": given.redis}
    options: dict[str, Any] = {}
    if given.repository.startswith("s3://") and ENDPOINT:
        options["endpoint_url"] = ENDPOINT
    with fsspec.open(f"{given.repository}/feature_store.yaml", "w", **options) as file:
        yaml.safe_dump(settings, file)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "feature_store.yaml").write_text(yaml.safe_dump(settings))
        store = FeatureStore(repo_path=folder)
        store.apply(definitions(given.flights, given.service, timedelta(hours=given.ttl_hours)))
    print(f"{given.repository}: feature service {given.service} applied", flush=True)
    return 0


def definitions(flights: str, service: str, ttl: timedelta) -> list[Any]:
    """Return the airport, its weather, and the set of features that a model is trained on."""
    airport = Entity(name="origin", value_type=ValueType.STRING, description="Airport of departure")
    weather = FeatureView(
        name="weather",
        entities=[airport],
        ttl=ttl,
        schema=[
            Field(name="origin", dtype=String),
            Field(name="temp", dtype=Float64, description="Degrees Fahrenheit"),
            Field(name="wind_speed", dtype=Float64, description="Miles an hour"),
            Field(name="precip", dtype=Float64, description="Inches in the hour"),
            Field(name="visib", dtype=Float64, description="Miles"),
        ],
        source=FileSource(
            path=f"{flights}/observations.parquet",
            timestamp_field="observed",
            created_timestamp_column="published",
            s3_endpoint_override=ENDPOINT,
        ),
        description="Weather at an airport, hour by hour",
    )
    return [
        airport,
        weather,
        FeatureService(name=service, features=[weather], description="Weather for late flights"),
    ]


if __name__ == "__main__":
    sys.exit(main())
