"""A small world for the trainer: synthetic tables, a registry in a folder, jobs that run in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from linnet_trainer import __main__ as program
from linnet_trainer import contract
from mlflow import MlflowClient

BASE: dict[str, Any] = {
    "model": {"name": "delays"},
    "data": {"target": "late", "timestamp": "at"},
    "pipeline": {"estimator": {"class": "LogisticRegression"}},
    "validation": {"folds": 2},
    "gates": [{"name": "good-enough", "metric": "roc_auc", "minimum": "0.60"}],
}


def make_table(days: int = 60, rows_a_day: int = 20, *, seed: int = 7) -> pd.DataFrame:
    """Rows whose label depends on `x` and, more, on `wind`; a few texts and missing values."""
    random = np.random.default_rng(seed)
    count = days * rows_a_day
    day = np.repeat(np.arange(days), rows_a_day)
    x, wind = random.normal(size=count), random.normal(size=count)
    shock = random.normal(scale=0.2, size=days)[day]
    late = random.random(count) < 1 / (1 + np.exp(1 - 0.9 * x - 1.5 * wind - shock))
    moment = day * 86400 + np.tile(np.linspace(0, 80000, rows_a_day), days).astype(int)
    carrier = random.choice(np.array(["AA", "B6", "UA"], dtype=object), count)
    carrier[random.random(count) < 0.05] = None
    return pd.DataFrame(
        {
            "at": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(moment, unit="s"),
            "late": late,
            "x": x,
            "wind": np.where(random.random(count) < 0.02, np.nan, wind),
            "stops": random.integers(0, 3, count),
            "carrier": carrier,
            "plane": [f"N{number}" for number in random.integers(0, 40, count)],
        }
    )


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` laid over it, objects merged, None taking a field away."""
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(value, dict) and isinstance(merged.get(key), dict):
            merged[key] = merge(merged[key], value)
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


@dataclass(frozen=True)
class World:
    """One registry, and jobs that run against it."""

    folder: Path
    uri: str

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.uri)

    def write(self, table: pd.DataFrame, name: str = "table.parquet") -> str:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith(".parquet"):
            table.to_parquet(path, index=False)
        else:
            table.to_csv(path, index=False)
        return f"file://{path}"

    def environ(
        self, uri: str, changes: Mapping[str, Any] | None = None, *, job: str = "job-1"
    ) -> dict[str, str]:
        """Write `spec.json` of a job and return the environment of its pod."""
        spec = merge(merge(BASE, {"data": {"table": {"uri": uri}}}), changes or {})
        canonical = json.dumps(spec, sort_keys=True, separators=(",", ":"))
        document = {
            "v": 1,
            "specHash": hashlib.sha256(canonical.encode()).hexdigest(),
            "namespace": "team",
            "name": job,
            "jobUID": f"uid-{job}",
            "created": "2026-06-01T00:00:00Z",
            "spec": spec,
        }
        path = self.folder / f"{job}.json"
        path.write_text(json.dumps(document))
        return {
            contract.ENV_SPEC: str(path),
            contract.ENV_TERMINATION_LOG: str(self.folder / f"{job}.end"),
        }

    def run(
        self, uri: str, changes: Mapping[str, Any] | None = None, *, job: str = "job-1"
    ) -> tuple[contract.Exit, contract.Result]:
        environ = self.environ(uri, changes, job=job)
        code = program.run(environ)
        return code, contract.parse(Path(environ[contract.ENV_TERMINATION_LOG]).read_text())

    def crown(self, version: str) -> None:
        """Make a version the champion, as the operator would."""
        self.client.set_registered_model_alias("delays", "champion", version)

    def versions(self) -> list[str]:
        return sorted(str(found.version) for found in self.client.search_model_versions())

    def runs(self) -> list[Any]:
        experiment = self.client.get_experiment_by_name("team/delays")
        return list(self.client.search_runs([experiment.experiment_id])) if experiment else []


COMPARES: dict[str, Any] = {
    "gates": [
        {"name": "good-enough", "metric": "roc_auc", "minimum": "0.60"},
        {"name": "never-worse", "metric": "roc_auc", "notWorseThan": "Champion"},
    ],
    "validation": {"holdout": {"period": "480h"}},
}
