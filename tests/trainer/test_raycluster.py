"""A Ray cluster that is not there, and what a search on Ray cannot have; no Ray is started."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from linnet_trainer import __main__ as program
from linnet_trainer import contract, raycluster, study
from linnet_trainer.contract import Exit
from linnet_trainer.errors import Refusal

from trainer.test_search import C, parse
from trainer.test_study import free_port
from trainer.world import World

ON_RAY: dict[str, Any] = {"engine": "RayTune", "ray": {"address": "local"}}


def test_a_cluster_that_does_not_answer_is_waited_for_told_and_tried_again(
    world: World,
    flights: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(study, "PAUSE", 0.01)
    monkeypatch.setattr(study, "PATIENCE", 0.05)
    address = f"127.0.0.1:{free_port()}"
    search = {"parameters": [C], "engine": "RayTune", "ray": {"address": address}}
    spec = {"pipeline": {"columns": {"numeric": ["x", "wind"]}}, "search": search}

    assert program.run(world.environ(world.write(flights), spec)) is Exit.RETRY
    told = f"the Ray cluster '{address}' does not answer ([Errno 111] Connection refused)"
    message = json.loads(world.runs()[0].data.tags[contract.TAG_PROGRESS])["message"]
    assert message == f"{told}: tried again"
    assert f"will be tried again: {told}" in capsys.readouterr().err


@pytest.mark.parametrize("address", ["ray://head:10001", "head", ":6379", "head:gcs"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with (
        pytest.raises(Refusal, match="must be 'local', or 'host:port' of the head"),
        raycluster.connected(address, trials=1),
    ):
        pass


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"engine": "RayTune"}, "need each other"),
        ({"ray": {"address": "local"}}, "need each other"),
        ({**ON_RAY, "storage": {"secretRef": {"name": "s"}}}, "is for `engine: Optuna`"),
    ],
)
def test_what_a_search_on_ray_cannot_have_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(Refusal) as caught:
        parse(C, **given)

    assert told in caught.value.message
    assert "`search." in caught.value.message


def test_the_code_of_a_module_is_not_on_the_nodes_of_a_cluster(
    world: World, flights: pd.DataFrame, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "module.py"
    path.write_text("from sklearn.naive_bayes import GaussianNB as _M\ndef build(): return _M()\n")
    monkeypatch.setenv(contract.ENV_MODULE, str(path))
    search = {
        "engine": "RayTune",
        "ray": {"address": "head:6379"},
        "parameters": [{"name": "var_smoothing", "uniform": {"min": "0", "max": "1"}}],
    }
    module = {"configMapName": "code", "entry": "build"}
    code, result = world.run(
        world.write(flights), {"pipeline": None, "module": module, "search": search}
    )

    assert code is Exit.ERROR
    assert "`module` and `search.ray.address`" in result.message
