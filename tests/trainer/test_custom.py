"""The example of a training program: it gets what the operator renders and is believed by it."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import training_builders
import yaml
from linnet.adapters.mlflow import MLflowRegistry
from linnet.api.training_job import TrainingJobStatus
from linnet.core.training import planner, resources
from linnet.core.training.state import Observation
from linnet_server import fetch, model
from linnet_trainer import __main__ as program
from linnet_trainer import contract
from linnet_trainer.contract import Exit
from mlflow import MlflowClient

from trainer.world import World, merge

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "custom"
MANIFEST = yaml.safe_load((EXAMPLE / "train.yaml").read_text("utf-8"))
# What MLflow warns of in a program of the user's is not ours to mend.
pytestmark = pytest.mark.filterwarnings("default")
NOW = datetime(2026, 6, 1, tzinfo=UTC)
OVER = {"status": {"conditions": [{"type": "Complete", "status": "True", "reason": ""}]}}


def example() -> Any:
    """The program as a pod loads it."""
    spec = importlib.util.spec_from_file_location("custom_train", EXAMPLE / "train.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def observation(uri: str, changes: Mapping[str, Any] | None = None) -> Observation:
    """The example's TrainingJob on another table."""
    data = {"table": {"uri": uri}, "timestamp": "at", "window": None}
    spec = merge(merge(MANIFEST["spec"], {"data": data}), changes or {})
    return training_builders.observation(spec, name="delays-custom", uid="uid-1", created=NOW)


def run(seen: Observation, world: World, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run one pod of the job: the spec that the operator renders, in a file."""
    path = world.folder / "spec.json"
    path.write_text(resources.make_config_map(seen, resources.spec_hash(seen))["data"]["spec.json"])
    monkeypatch.setenv(contract.ENV_SPEC, str(path))
    monkeypatch.setenv(contract.ENV_TERMINATION_LOG, str(world.folder / "end"))
    return int(example().main())


def judged(seen: Observation, world: World) -> TrainingJobStatus:
    """What the operator records, from what it reads in the registry."""
    registry = MLflowRegistry(tracking_uri=world.uri, registry_uri=world.uri)
    full_hash = resources.spec_hash(seen)
    found = asyncio.run(registry.run(seen.namespace, seen.name, full_hash))
    model = asyncio.run(registry.model("delays")) if world.versions() else None
    registry.close()
    status = TrainingJobStatus(spec_hash=full_hash, job_name="j")
    job = OVER | {"metadata": {"name": "j"}, "spec": {}}
    return planner.decide(
        replace(seen, status=status, run=found, model=model, model_read=True, job=job), now=NOW
    ).status


def test_the_example_is_believed_and_a_second_pod_makes_no_second_version(
    world: World, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = observation(world.write(flights))

    assert run(seen, world, monkeypatch) == Exit.RESULT
    status = judged(seen, world)
    assert status.result is not None
    assert (status.result.reason, status.version) == ("Completed", "1"), status.result.message
    assert [gate.name for gate in status.result.gates or ()] == [
        "good-enough", "Leakage", "Imbalance", "ValidationSet", "Schema", "Reproducible",
    ]  # fmt: skip
    assert json.loads((world.folder / "end").read_text())["version"] == "1"

    assert run(seen, world, monkeypatch) == Exit.RESULT
    assert judged(seen, world) == status
    assert (world.versions(), len(world.runs())) == (["1"], 1)
    assert_served(world)


def assert_served(world: World) -> None:
    """Fetch and load version 1 as a server does, and ask it for a row with missing values."""
    version = world.client.get_model_version("delays", "1")
    wish = fetch.Wish(
        name="delays",
        version="1",
        uri=world.client.get_model_version_download_uri("delays", "1"),
        digest="",
        content=version.tags[contract.TAG_CONTENT].removeprefix("sha256:"),
        data="",
        run=version.run_id,
        required=True,
        formats=("Skops",),
        target=world.folder / "served",
    )
    assert fetch.fetch(wish)["provenance"] == "Verified"
    served = model.load(world.folder / "served")
    row = {"x": 1.0, "wind": None, "stops": 1.0, "carrier": None, "plane": "N1"}
    found = served.predict([[row[column.name] for column in served.columns]])
    assert found.labels[0] in (True, False)


def test_a_pod_that_dies_after_the_registration_is_continued(
    world: World, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = observation(world.write(flights))
    set_tag = MlflowClient.set_tag

    def die(client: MlflowClient, run_id: str, key: str, value: str) -> None:
        if key == contract.TAG_RESULT:
            raise ConnectionError("the machine is gone")
        set_tag(client, run_id, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_tag", die)
        with pytest.raises(ConnectionError):
            run(seen, world, patch)
    assert world.versions() == ["1"]
    assert judged(seen, world).result.reason == "InvalidResult"  # type: ignore[union-attr]

    assert run(seen, world, monkeypatch) == Exit.RESULT
    assert judged(seen, world).version == "1"
    assert (world.versions(), len(world.runs())) == (["1"], 1)


def test_the_example_refuses_a_model_below_its_gate_and_what_it_does_not_know(
    world: World, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.write(flights)
    gate = {"name": "good-enough", "metric": "roc_auc", "minimum": "0.99"}
    seen = observation(uri, {"gates": [gate]})
    assert run(seen, world, monkeypatch) == Exit.RESULT
    result = judged(seen, world).result
    assert result is not None
    assert result.reason == "GateRefused"
    assert result.message.startswith("gate 'good-enough' refused: roc_auc 0.8")

    more = {"name": "small", "size": {"maximum": "1Mi"}}
    seen = observation(uri, {"gates": [gate, more]})
    assert run(seen, world, monkeypatch) == Exit.ERROR
    result = judged(seen, world).result
    assert result is not None
    assert (result.reason, result.message) == (
        "InvalidData",
        "gates 'small': this program knows `minimum` alone",
    )
    assert world.versions() == []


def test_a_leak_is_found_by_the_example_too(
    world: World, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = observation(world.write(flights.assign(told=flights["late"].astype(float))))
    assert run(seen, world, monkeypatch) == Exit.RESULT
    result = judged(seen, world).result
    assert result is not None
    assert result.message == (
        "gate 'Leakage' refused: most of all columns 'told' tells the target alone: AUC 1.000"
    )


def test_linnets_trainer_says_that_it_is_no_program_of_the_users(
    world: World, flights: pd.DataFrame
) -> None:
    environ = world.environ(world.write(flights), {"pipeline": None, "custom": {}})

    assert program.run(environ) is Exit.ERROR
    result = contract.parse(Path(environ[contract.ENV_TERMINATION_LOG]).read_text())
    assert result.message.startswith("`spec.custom` is for a program of your own")
