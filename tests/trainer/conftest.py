"""Fixtures of the trainer's tests."""

from __future__ import annotations

import os

# Before numpy is imported: a spinning pool on two shared cores costs more than it gives.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from trainer.world import COMPARES, World, make_table


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    uri = f"file://{tmp_path}/mlruns"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", uri)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    # `prepare_environment` fills these in; a test must not leave them behind for others.
    for name, value in (
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("DO_NOT_TRACK", "1"),
        ("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false"),
        ("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0"),
        ("MLFLOW_HTTP_REQUEST_TIMEOUT", "2"),
        ("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true"),
        ("MLFLOW_RECORD_ENV_VARS_IN_MODEL_LOGGING", "false"),
        ("AWS_MAX_ATTEMPTS", "1"),
        ("AWS_RETRY_MODE", "standard"),
    ):
        monkeypatch.setenv(name, value)
    return World(folder=tmp_path, uri=uri)


@pytest.fixture(scope="session")
def flights() -> pd.DataFrame:
    return make_table()


@pytest.fixture(scope="session")
def compares() -> dict[str, Any]:
    """A spec that compares with the champion on the last 20 days."""
    return COMPARES
