"""The example of a training program: it gets what the operator renders and is believed by it."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from linnet_server import fetch, model
from linnet_trainer import __main__ as program
from linnet_trainer import contract
from linnet_trainer.contract import Exit
from mlflow import MlflowClient

from trainer import programs
from trainer.world import World

# What MLflow warns of in a program of the user's is not ours to mend.
pytestmark = pytest.mark.filterwarnings("default")


def test_the_example_is_believed_and_a_second_pod_makes_no_second_version(
    world: World, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = programs.observation("train", world.write(flights))

    assert programs.run("train", seen, world, monkeypatch) == Exit.RESULT
    status = programs.judged(seen, world)
    assert status.result is not None
    assert (status.result.reason, status.version) == ("Completed", "1"), status.result.message
    assert [gate.name for gate in status.result.gates or ()] == [
        "good-enough", "Leakage", "Imbalance", "ValidationSet", "Schema", "Reproducible",
    ]  # fmt: skip
    assert json.loads((world.folder / "end").read_text())["version"] == "1"

    assert programs.run("train", seen, world, monkeypatch) == Exit.RESULT
    assert programs.judged(seen, world) == status
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
    seen = programs.observation("train", world.write(flights))
    set_tag = MlflowClient.set_tag

    def die(client: MlflowClient, run_id: str, key: str, value: str) -> None:
        if key == contract.TAG_RESULT:
            raise ConnectionError("the machine is gone")
        set_tag(client, run_id, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "set_tag", die)
        with pytest.raises(ConnectionError):
            programs.run("train", seen, world, patch)
    assert world.versions() == ["1"]
    assert programs.judged(seen, world).result.reason == "InvalidResult"  # type: ignore[union-attr]

    assert programs.run("train", seen, world, monkeypatch) == Exit.RESULT
    assert programs.judged(seen, world).version == "1"
    assert (world.versions(), len(world.runs())) == (["1"], 1)


def test_the_example_refuses_a_model_below_its_gate_and_what_it_does_not_know(
    world: World, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    uri = world.write(flights)
    gate = {"name": "good-enough", "metric": "roc_auc", "minimum": "0.99"}
    seen = programs.observation("train", uri, {"gates": [gate]})
    assert programs.run("train", seen, world, monkeypatch) == Exit.RESULT
    result = programs.judged(seen, world).result
    assert result is not None
    assert result.reason == "GateRefused"
    assert result.message.startswith("gate 'good-enough' refused: roc_auc 0.8")

    more = {"name": "small", "size": {"maximum": "1Mi"}}
    seen = programs.observation("train", uri, {"gates": [gate, more]})
    assert programs.run("train", seen, world, monkeypatch) == Exit.ERROR
    result = programs.judged(seen, world).result
    assert result is not None
    assert (result.reason, result.message) == (
        "InvalidData",
        "gates 'small': this program knows `minimum` alone",
    )
    assert world.versions() == []


def test_a_leak_is_found_by_the_example_too(
    world: World, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = programs.observation(
        "train", world.write(flights.assign(told=flights["late"].astype(float)))
    )
    assert programs.run("train", seen, world, monkeypatch) == Exit.RESULT
    result = programs.judged(seen, world).result
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
