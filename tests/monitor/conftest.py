"""One trained version in a registry in a folder, and checks of live tables against it."""

from __future__ import annotations

import os

# Before numpy is imported: a spinning pool on two shared cores costs more than it gives.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from linnet_monitor import __main__ as program
from linnet_monitor import contract
from trainer.world import World, make_table, merge

BASE: dict[str, Any] = {
    "source": {"table": {"uri": "", "timestamp": "at"}},
    "window": {
        "lookback": "168h",
        "until": "NewestEvent",
        "timeZone": "Etc/UTC",
        "minSamples": 50,
    },
    "alarm": {"falseAlarmProbability": "0.05", "method": "HistoryWindows"},
    "signals": [
        {"name": "features", "dataDrift": {}},
        {"name": "scores", "predictionDrift": {}},
        {"name": "quality", "dataQuality": {}},
    ],
    "experiment": "team/policy-drift",
    "trackingLink": "http://mlflow",
}
SETTINGS = {
    "MLFLOW_ALLOW_FILE_STORE": "true",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "1",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING": "false",
    "AWS_MAX_ATTEMPTS": "1",
    "AWS_RETRY_MODE": "standard",
}


@dataclass(frozen=True)
class Checks:
    """A registry with one version, and a folder for what a check leaves."""

    world: World
    folder: Path
    model: Mapping[str, str]

    def live(self, *, days: int = 10, seed: int = 11) -> pd.DataFrame:
        """Rows of the same kind as those of the training, from June 2026 on, to be changed."""
        table = make_table(days=days, rows_a_day=60, seed=seed)
        return table.assign(at=table["at"] + pd.Timedelta(days=151))

    def write(self, table: pd.DataFrame, name: str = "live.parquet") -> str:
        path = self.folder / name
        table.to_parquet(path, index=False)
        return f"file://{path}"

    def run(
        self, uri: str, changes: Mapping[str, Any] | None = None, *, slot: str = "06:00"
    ) -> tuple[contract.Exit, contract.Check]:
        """Check once, as the pod of a slot."""
        spec = merge({**BASE, "model": dict(self.model)}, changes or {})
        spec["source"]["table"]["uri"] = uri
        canonical = json.dumps([spec, slot, str(self.folder)], sort_keys=True)
        document = {
            "v": 1,
            "specHash": hashlib.sha256(canonical.encode()).hexdigest(),
            "namespace": "team",
            "name": "policy",
            "policyUID": "uid-policy",
            "slot": f"2026-07-01T{slot}:00Z",
            "spec": spec,
        }
        path, end = self.folder / "check.json", self.folder / "end"
        path.write_text(json.dumps(document))
        code = program.check({contract.ENV_SPEC: str(path), contract.ENV_TERMINATION_LOG: str(end)})
        text = end.read_text()
        assert len(text.encode()) <= contract.RESULT_BYTES
        return code, contract.parse(text)

    def artifacts(self, run_id: str) -> list[str]:
        return sorted(each.path for each in self.world.client.list_artifacts(run_id))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, dict[str, str]]]:
    """A registry with the version that all tests check against."""
    folder = tmp_path_factory.mktemp("registry")
    uri = f"file://{folder}/mlruns"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("MLFLOW_REGISTRY_URI", uri)
        for name, value in SETTINGS.items():
            patch.setenv(name, value)
        world = World(folder=folder, uri=uri)
        table = world.write(make_table(rows_a_day=60))
        _, result = world.run(table, {"pipeline": {"columns": {"drop": ["plane"]}}})
        assert result.version, result.message
        yield world, described(world, "delays", result.version)


def described(world: World, name: str, version: str) -> dict[str, str]:
    """A version as the operator names it to a check."""
    tags = world.client.get_model_version(name, version).tags
    return {
        "name": name,
        "version": version,
        "artifactURI": world.client.get_model_version_download_uri(name, version),
        "digest": tags["linnet.dev/manifest-sha256"],
        "trainedUntil": tags["linnet.dev/trained-until"],
    }


@pytest.fixture
def checks(trained: tuple[World, dict[str, str]], tmp_path: Path) -> Checks:
    world, model = trained
    return Checks(world=world, folder=tmp_path, model=model)
