"""A Feast repository of the tests: hourly weather of airports, known 50 minutes late."""

from __future__ import annotations

import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

AIRPORTS = ("EWR", "JFK", "LGA")
LAG = pd.Timedelta("50min")
TTL = timedelta(hours=3)
START = pd.Timestamp("2026-01-01", tz="UTC")


def weather(days: int = 60, *, seed: int = 3) -> pd.DataFrame:
    """Weather of each airport and hour, with the time at which it became known."""
    random = np.random.default_rng(seed)
    hours = pd.date_range(START, periods=24 * days, freq="h")
    parts = [
        pd.DataFrame(
            {
                "airport": airport,
                "observed": hours,
                "published": hours + LAG,
                "wind": random.normal(size=len(hours)),
                "gusts": random.integers(0, 9, len(hours)),
                "sky": random.choice(np.array(["clear", "cloudy"], dtype=object), len(hours)),
            }
        )
        for airport in AIRPORTS
    ]
    return pd.concat(parts, ignore_index=True)


def entities(table: pd.DataFrame, days: int = 60, rows_a_day: int = 20) -> pd.DataFrame:
    """Flights whose label depends on the wind that was known at their time."""
    random = np.random.default_rng(7)
    count = days * rows_a_day
    moment = np.sort(random.integers(7200, days * 86400, count))
    frame = pd.DataFrame(
        {
            "at": START + pd.to_timedelta(moment, unit="s"),
            "airport": random.choice(np.array(AIRPORTS, dtype=object), count),
            "x": random.normal(size=count),
        }
    )
    wind = as_of(frame, table)["wind"].fillna(0).to_numpy()
    odds = 1 / (1 + np.exp(1 - frame["x"] - 1.5 * wind))
    return frame.assign(late=random.random(count) < odds)


def as_of(frame: pd.DataFrame, table: pd.DataFrame, ttl: timedelta = TTL) -> pd.DataFrame:
    """What was known of the weather at each row's time, by pandas: in the rows' order."""
    row = frame.assign(row=np.arange(len(frame))).sort_values("at")
    found = pd.merge_asof(
        row, table.sort_values("published"), left_on="at", right_on="published", by="airport"
    ).sort_values("row")
    names = ["wind", "gusts", "sky"]
    fresh = found["at"] - found["observed"] <= pd.Timedelta(ttl)
    return found[names].where(fresh).reset_index(drop=True)


def write(table: pd.DataFrame, path: Path) -> None:
    """Write a source; Feast's DuckDB cannot materialize times in nanoseconds."""
    table.to_parquet(path, index=False, coerce_timestamps="us")


def make_repository(
    folder: Path, table: pd.DataFrame, *, offline: str = "duckdb", **changes: Any
) -> str:
    """Write a repository with the services `delays_v1` and return its URI."""
    folder.mkdir(parents=True, exist_ok=True)
    write(table, folder / "weather.parquet")
    settings = {
        "project": "flights",
        "provider": "local",
        "registry": "registry.db",
        "offline_store": {"type": offline},
        "online_store": {"type": "sqlite", "path": "online.db"},
        "entity_key_serialization_version": 3,
    }
    (folder / "feature_store.yaml").write_text(yaml.safe_dump(settings))
    apply(folder, **changes)
    return f"file://{folder}"


def apply(
    folder: Path,
    *,
    ttl: timedelta = TTL,
    columns: tuple[str, ...] = ("wind", "gusts", "sky"),
    service: str = "delays_v1",
    wind: Any = None,
) -> Any:
    """Apply entity, view and service to the repository in `folder`; return its store."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from feast import (
            Entity,
            FeatureService,
            FeatureStore,
            FeatureView,
            Field,
            FileSource,
            ValueType,
        )
        from feast.types import Float64, Int64, String

        types = {"wind": wind or Float64, "gusts": Int64, "sky": String}
        airport = Entity(name="airport", join_keys=["airport"], value_type=ValueType.STRING)
        source = FileSource(
            path=str(folder / "weather.parquet"),
            timestamp_field="observed",
            created_timestamp_column="published",
        )
        view = FeatureView(
            name="weather",
            entities=[airport],
            ttl=ttl,
            schema=[Field(name=n, dtype=t, description=f"the {n}") for n, t in types.items()],
            source=source,
            description="hourly observations",
        )
        store = FeatureStore(repo_path=str(folder))
        used = FeatureService(
            name=service, features=[view[list(columns)]], description="for late flights"
        )
        store.apply([airport, view, used])
        return store


def add_planes(folder: Path, planes: pd.DataFrame) -> None:
    """Apply a view of planes, which `plane_number` names, and a service of both views."""
    write(planes, folder / "planes.parquet")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource
        from feast import ValueType as Kind
        from feast.types import Array, Int64, String

        store = FeatureStore(repo_path=str(folder))
        plane = Entity(name="plane", value_type=Kind.INT64)
        view = FeatureView(
            name="planes",
            entities=[plane],
            ttl=timedelta(0),
            schema=[
                Field(name="plane", dtype=Int64),
                Field(name="age", dtype=Int64),
                Field(name="tags", dtype=Array(String)),
            ],
            source=FileSource(path=str(folder / "planes.parquet"), timestamp_field="since"),
        )
        named = view.with_join_key_map({"plane": "plane_number"})
        weather = store.get_feature_view("weather")
        store.apply([plane, view, FeatureService(name="both_v1", features=[weather, named])])
