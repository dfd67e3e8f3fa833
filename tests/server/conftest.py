"""Models, artifacts and server processes for the tests of the server."""

import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

COLUMNS = [
    {"name": "distance", "type": "double", "nullable": False},
    {"name": "temp", "type": "double", "nullable": True},
    {"name": "carrier", "type": "string", "nullable": False},
]
NAMES = [column["name"] for column in COLUMNS]
ROW = [500.0, 20.0, "UA"]


def sha256(blob: bytes) -> str:
    return hashlib.sha256(blob).hexdigest()


def libraries() -> dict[str, str]:
    import sklearn

    return {"scikit-learn": sklearn.__version__, "numpy": np.__version__}


def flights(count: int) -> pd.DataFrame:
    """Return rows of the three columns, the weather missing in some."""
    draw = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "distance": draw.uniform(100, 2500, count),
            "temp": draw.normal(15, 8, count),
            "carrier": draw.choice(["UA", "AA", "DL"], count).astype(object),
        }
    )
    table.loc[::17, "temp"] = np.nan
    return table


def fitted() -> tuple[Pipeline, pd.DataFrame]:
    """Return a small model of late flights and the rows that it was fitted on."""
    table = flights(300)
    late = (table["distance"] / 2500 + table["temp"].fillna(15) / 40) > 0.9
    numbers = Pipeline([("imputer", SimpleImputer()), ("scaler", StandardScaler())])
    columns = ColumnTransformer(
        [
            ("numeric", numbers, ["distance", "temp"]),
            ("categorical", OneHotEncoder(handle_unknown="ignore"), ["carrier"]),
        ]
    )
    pipeline = Pipeline([("columns", columns), ("model", LogisticRegression())])
    return pipeline.fit(table[NAMES], late.to_numpy()), table


def rows_of(table: pd.DataFrame) -> list[list[Any]]:
    return [[None if pd.isna(cell) else cell for cell in row] for row in table.values.tolist()]


def write_manifest(folder: Path, **changes: Any) -> str:
    """Write the manifest over the files of `folder` and return its sha256."""
    (folder / "linnet").mkdir(exist_ok=True)
    (folder / "linnet" / "manifest.json").unlink(missing_ok=True)
    files = {
        path.relative_to(folder).as_posix(): sha256(path.read_bytes())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    document = {
        "v": 1,
        "format": "Skops",
        "modelFile": "model.skops",
        "libraries": libraries(),
        "columns": COLUMNS,
        "task": "Classification",
        "classes": [False, True],
        "positiveClass": True,
        "threshold": 0.5,
        "files": files,
        "contentDigest": "sha256:" + "c" * 64,
        **changes,
    }
    blob = json.dumps(document).encode()
    (folder / "linnet" / "manifest.json").write_bytes(blob)
    return sha256(blob)


@pytest.fixture(scope="session")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a logged model as the trainer leaves it; read-only by agreement."""
    folder = tmp_path_factory.mktemp("artifact")
    pipeline, table = fitted()
    skops.io.dump(pipeline, folder / "model.skops")
    (folder / "linnet").mkdir()
    some = table.head(40)
    samples = {
        "columns": NAMES,
        "rows": rows_of(some),
        "labels": pipeline.predict(some).tolist(),
        "probabilities": pipeline.predict_proba(some).tolist(),
    }
    (folder / "linnet" / "samples.json").write_text(json.dumps(samples))
    (folder / "linnet" / "profile.json").write_text("{}")
    (folder / "MLmodel").write_text("flavors: {}\n")
    write_manifest(folder)
    return folder


@pytest.fixture
def own_artifact(artifact: Path, tmp_path: Path) -> Path:
    """Return a copy of the artifact that a test may break."""
    return Path(shutil.copytree(artifact, tmp_path / "artifact"))


def manifest_digest(folder: Path) -> str:
    return sha256((folder / "linnet" / "manifest.json").read_bytes())


def write_model_json(folder: Path, **changes: str) -> None:
    document = {
        "name": "delays",
        "version": "7",
        "format": "Skops",
        "digest": "",
        "contentDigest": "",
        "provenance": "Verified",
        **changes,
    }
    (folder / "model.json").write_text(json.dumps(document))


@pytest.fixture(scope="session")
def model_folder(artifact: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what fetch leaves for the server."""
    folder = Path(shutil.copytree(artifact, tmp_path_factory.mktemp("model") / "model"))
    write_model_json(folder)
    return folder


def free_base() -> int:
    """Return the first of five neighbouring ports that are free now."""
    for base in range(21000 + os.getpid() % 5000, 60000, 7):
        try:
            for port in range(base, base + 5):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    raise AssertionError("no five neighbouring ports are free")


class Running:
    """A real server process."""

    def __init__(self, folder: Path, *command: str, **environment: str) -> None:
        self.base = free_base()
        self.before_ready: set[tuple[int, bytes]] = set()
        """What `/readyz` said until it said 200."""
        self.process = subprocess.Popen(
            [sys.executable, *(command or ("-m", "linnet_server", "serve"))],
            env={
                **os.environ,
                "LINNET_MODEL_DIR": str(folder),
                "LINNET_MODEL_NAME": "delays",
                "LINNET_MODEL_VERSION": "7",
                "LINNET_REVISION": "delays-v7-0a1b2c3d",
                "LINNET_PORT_BASE": str(self.base),
                "LINNET_TERMINATION_LOG": str(folder) + ".termination",
                "LINNET_DRAIN_DELAY": "0.1",
                **environment,
            },
            stderr=subprocess.PIPE,
            text=True,
        )
        self.errors = ""

    def wait_until_ready(self) -> "Running":
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise AssertionError(self.end())
            try:
                answer = self.get(1, "/readyz")
                if answer[0] == 200:
                    return self
                self.before_ready.add(answer)
            except OSError:
                pass
            time.sleep(0.05)
        raise AssertionError("the server did not get ready")

    def get(self, offset: int, path: str) -> tuple[int, bytes]:
        try:
            url = f"http://127.0.0.1:{self.base + offset}{path}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def end(self) -> str:
        """Stop the process if it runs and return what it wrote."""
        if self.process.poll() is None:
            self.process.terminate()
        self.errors += self.process.communicate(timeout=30)[1]
        return self.errors


STUB = str(Path(__file__).with_name("stub_server.py"))


@pytest.fixture
def start_stub(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Return a function that starts a server process with a stub for a model."""
    started: list[Running] = []

    def start(**environment: str) -> Running:
        started.append(Running(tmp_path / "model", STUB, **environment))
        return started[-1]

    yield start
    for running in started:
        running.end()


@pytest.fixture(scope="session")
def server(model_folder: Path) -> Iterator[Running]:
    """Return a running server that the tests of a session share."""
    running = Running(model_folder, LINNET_MAX_REQUEST_BYTES="65536")
    try:
        yield running.wait_until_ready()
    finally:
        running.end()
