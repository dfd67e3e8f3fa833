"""A study between pods and in a database: who is lost, who goes on, and what is never told."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from linnet_trainer import __main__ as program
from linnet_trainer import contract, storages, study
from linnet_trainer.contract import Exit
from linnet_trainer.errors import Refusal, Unavailable
from linnet_trainer.storages import StudyAway

from trainer.world import World

SPEC: dict[str, Any] = {
    "validation": {"folds": 2},
    "pipeline": {"columns": {"numeric": ["x", "wind"]}},
    "search": {
        "trials": 12,
        "sampler": "Random",
        "parameters": [{"name": "C", "logUniform": {"min": "0.001", "max": "10"}}],
    },
}
SLOW_POD = """
import time
from linnet_trainer import __main__, study
study.PAUSE = 0.2
judge = study.Searcher._judge
study.Searcher._judge = lambda *given: (time.sleep(0.2), judge(*given))[1]
__main__.main(["run"])
"""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def start(environ: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SLOW_POD], env={**os.environ, **environ})


def states(world: World) -> list[tuple[int, int, str]]:
    """Number, pod and state of every trial that a run tells of."""
    told = [run.data.tags.get(contract.TAG_TRIAL, "") for run in world.runs()]
    found = [json.loads(text) for text in told if text]
    return sorted((each["number"], each["pod"], each["state"]) for each in found)


def test_two_pods_search_one_study_and_it_outlives_the_one_that_serves_it(
    world: World, flights: pd.DataFrame
) -> None:
    address = {contract.ENV_STUDY_URL: f"grpc://127.0.0.1:{free_port()}"}
    first = {**world.environ(world.write(flights), SPEC), **address}
    second = {**first, contract.ENV_INDEX: "1"}
    with start(second) as other:
        with start(first) as pod:
            deadline = time.monotonic() + 300
            while {each[1] for each in states(world)} != {0, 1}:
                assert time.monotonic() < deadline
                time.sleep(0.2)
            pod.send_signal(signal.SIGKILL)
        code = program.run(first)
        left = other.wait(timeout=300)

    assert (code, left) == (Exit.RESULT, Exit.RESULT)
    result = contract.parse(Path(first[contract.ENV_TERMINATION_LOG]).read_text())
    assert result.version == "1"
    found = states(world)
    numbers = [number for number, _, _ in found]
    assert numbers == list(range(len(numbers))), "every trial keeps its number"
    count = Counter(state for _, _, state in found)
    assert 12 <= count["Complete"] <= 13, "two pods may begin the last one at once"
    assert count["Lost"] <= 1, "the pod that was lost was in one trial"
    told = json.loads(world.client.get_run(result.run_id).data.tags[contract.TAG_SEARCH])
    assert told["of"] == 12
    assert told["completed"] >= 12


def database(path: Path) -> Any:
    """A database of this machine in place of PostgreSQL."""
    return lambda text, *, creates: optuna.storages.RDBStorage(
        f"sqlite:///{path}", skip_table_creation=not creates
    )


def test_a_study_in_a_database_is_gone_on_with_and_its_lost_trial_is_settled(
    world: World, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(storages, "_database", database(tmp_path / "study.db"))
    environ = {
        **world.environ(world.write(flights), {**SPEC, "search": {**SPEC["search"], "trials": 4}}),
        contract.ENV_STUDY_URL: "postgresql://u:secret@db/studies",
    }
    tell = study._tell

    def die(of: Any, trial: Any) -> None:
        if trial.number == 2:
            raise Unavailable("the machine is gone")
        tell(of, trial)

    with monkeypatch.context() as patch:
        patch.setattr(study, "_tell", die)
        assert program.run(environ) is Exit.RETRY
    assert program.run(environ) is Exit.RESULT

    kept = optuna.load_study(study_name="uid-job-1", storage=f"sqlite:///{tmp_path}/study.db")
    assert [trial.state.name for trial in kept.trials] == ["COMPLETE"] * 4, "2 ended, untold"
    assert [each[2] for each in states(world)] == ["Complete"] * 4
    assert all("secret" not in str(run.data) for run in world.runs())


def test_a_database_that_goes_away_is_waited_for_told_and_tried_again(
    world: World,
    flights: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(study, "PAUSE", 0.01)
    monkeypatch.setattr(study, "PATIENCE", 0.05)
    monkeypatch.setattr(storages, "_CONNECT_SECONDS", 2)
    url = f"postgresql://somebody:hunter2@127.0.0.1:{free_port()}/studies"
    environ = {**world.environ(world.write(flights), SPEC), contract.ENV_STUDY_URL: url}

    assert program.run(environ) is Exit.RETRY
    run = world.runs()[0]
    message = json.loads(run.data.tags[contract.TAG_PROGRESS])["message"]
    assert message == (
        "the study's database (`search.storage.secretRef`) does not answer (OperationalError): "
        "tried again"
    )
    written = capsys.readouterr().err
    assert "will be tried again: the study's database" in written
    for secret in ("hunter2", "somebody", "postgresql://"):
        assert secret not in written + str(run.data)


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://u:hunter2@db/x", "must start with 'postgresql://'"),
        ("postgresql://u:hunter2@db:port/x", "cannot be read as"),
    ],
)
def test_a_url_that_is_none_is_refused_without_being_told(url: str, told: str) -> None:
    with pytest.raises(Refusal) as caught:
        storages.open_storage(url, pod=0)

    assert told in caught.value.message
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_what_a_storage_raises_is_told_by_its_kind_alone() -> None:
    secret = "hunter" + "2"
    with pytest.raises(StudyAway) as caught, storages.answering(f"postgresql://u:{secret}@db/x"):
        raise optuna.exceptions.StorageInternalError(secret) from ConnectionError(secret)

    assert str(caught.value).endswith("does not answer (ConnectionError)")
    assert secret not in "".join(traceback.format_exception(caught.value))
