"""Whole jobs against a registry: what they leave behind, and what a second pod of a job finds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from linnet_trainer import __main__ as program
from linnet_trainer import contract, manifest, registry
from linnet_trainer.contract import Exit, GateReason, Outcome, Reason
from linnet_trainer.errors import Unavailable

from trainer.world import World


def artifacts(world: World, version: str) -> Path:
    uri = world.client.get_model_version_download_uri("delays", version)
    return Path(uri.removeprefix("file://"))


def test_a_job_leaves_a_version_with_everything_that_lies_with_it(
    world: World, flights: pd.DataFrame
) -> None:
    code, result = world.run(world.write(flights))

    assert (code, result.outcome, result.version) == (Exit.RESULT, Outcome.PASSED, "1")
    assert result.trained_until == "2026-02-18T00:00:00Z"
    assert result.message.startswith("roc_auc 0.8")
    assert "on 12 days; roc_auc at least 0.60" in result.message

    version = world.client.get_model_version("delays", "1")
    folder = artifacts(world, "1")
    blob = (folder / manifest.MANIFEST).read_bytes()
    document = json.loads(blob)
    assert version.tags[contract.TAG_MANIFEST] == manifest.sha256(blob)
    assert version.tags[contract.TAG_CONTENT] == document["contentDigest"] == result.content_digest
    assert version.tags[contract.TAG_DATA] == document["dataDigest"] == result.data_sha256
    assert version.run_id == document["runID"] == result.run_id
    assert version.tags[contract.TAG_JOB_UID] == "uid-job-1"
    assert version.tags[contract.TAG_TRAINED_UNTIL] == result.trained_until
    assert document["files"] == {
        path.relative_to(folder).as_posix(): manifest.sha256(path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file() and path != folder / manifest.MANIFEST
    }
    nullable = {column["name"]: column["nullable"] for column in document["columns"]}
    assert nullable == {
        "x": False,
        "wind": True,
        "stops": False,
        "carrier": True,
        "plane": False,
    }

    run = world.client.get_run(result.run_id)
    assert run.info.status == "FINISHED"
    assert contract.parse(run.data.tags[contract.TAG_RESULT]) == result
    progress = json.loads(run.data.tags[contract.TAG_PROGRESS])
    assert (progress["stage"], progress["percent"]) == ("Registering", 100)
    dataset = json.loads(run.data.tags[contract.TAG_DATASET])
    assert (dataset["rows"], dataset["sha256"]) == (len(flights), result.data_sha256)
    assert {"fold_roc_auc", "cv_roc_auc_mean", "roc_auc", "training_roc_auc"} <= set(
        run.data.metrics
    )
    assert run.inputs.dataset_inputs[0].dataset.digest == dataset["digest"]
    stored = {artifact.path for artifact in world.client.list_artifacts(result.run_id)}
    cards = {"model-card.md", "model-card.html", "plots"}
    assert cards | {"environment.json", "gates.json", "result.json"} <= stored


def test_a_stored_model_reproduces_its_samples_with_our_list_of_types(
    world: World, flights: pd.DataFrame
) -> None:
    world.run(
        world.write(flights),
        {"pipeline": {"estimator": {"class": "HistGradientBoostingClassifier"}}},
    )
    folder = artifacts(world, "1")
    document = json.loads((folder / manifest.MANIFEST).read_text())
    model = manifest.load((folder / manifest.MODEL_FILE).read_bytes(), document)
    samples = json.loads((folder / "linnet" / "samples.json").read_text())
    rows = pd.DataFrame(samples["rows"], columns=samples["columns"])
    for column in document["columns"]:
        kind = "float64" if column["type"] == "double" else object
        rows[column["name"]] = rows[column["name"]].astype(kind)
    told = [pair[1] for pair in samples["probabilities"]]

    assert len(rows) == 240
    assert model.predict_proba(rows)[:, 1].tolist() == told
    assert samples["labels"] == [probability > 0.5 for probability in told]


def test_a_better_model_passes_against_the_champion_and_a_worse_one_is_refused(
    world: World, flights: pd.DataFrame, compares: dict[str, Any]
) -> None:
    uri = world.write(flights)
    plain = {**compares, "pipeline": {"columns": {"numeric": ["x"], "categorical": ["carrier"]}}}
    rich = {
        **compares,
        "pipeline": {"columns": {"numeric": ["x", "wind"], "categorical": ["carrier"]}},
    }
    _, first = world.run(uri, plain, job="plain")
    world.crown(first.version)
    _, better = world.run(uri, rich, job="rich")
    world.crown(better.version)
    code, worse = world.run(uri, plain, job="plain-again")

    assert first.gates[1].reason is GateReason.NO_CHAMPION
    assert better.gates[1].reason is GateReason.NOT_WORSE_THAN_CHAMPION
    assert "not worse than version 1 by more than 0.02: +0." in better.message
    assert better.message.endswith("(look 1)")
    assert better.gates[1].n == 20
    assert (code, worse.outcome, worse.reason) == (
        Exit.RESULT,
        Outcome.REFUSED,
        Reason.GATE_REFUSED,
    )
    assert worse.gates[1].reason is GateReason.WORSE_THAN_CHAMPION
    assert "(look 2)" in worse.message, "the same rows were looked at before, by another recipe"
    assert worse.version == ""
    assert world.versions() == ["1", "2"]
    assert world.client.get_logged_model(worse.model_id).model_id == worse.model_id


def test_a_champion_that_saw_the_holdout_is_no_comparison(
    world: World, flights: pd.DataFrame, compares: dict[str, Any]
) -> None:
    uri = world.write(flights)
    _, first = world.run(uri, {"validation": {"holdout": {"period": "240h"}}}, job="late")
    world.crown(first.version)
    _, second = world.run(uri, compares, job="early")

    assert second.gates[1].reason is GateReason.CHAMPION_SAW_HOLDOUT
    assert second.message == (
        "gate 'never-worse' refused: version 1 was trained until 2026-02-20T00:00:00Z, the holdout "
        "starts at 2026-02-10T00:00:00Z: it saw a part of it. Hold out a later part "
        "(`validation.holdout`, `data.window`)"
    )


def test_a_champion_that_needs_other_columns_is_no_comparison(
    world: World, flights: pd.DataFrame, compares: dict[str, Any]
) -> None:
    _, first = world.run(world.write(flights), job="wide")
    world.crown(first.version)
    narrow = world.write(flights.drop(columns=["wind", "plane"]), "narrow.parquet")
    _, second = world.run(narrow, compares, job="narrow")

    assert second.gates[1].reason is GateReason.CHECK_FAILED
    assert second.gates[1].message == (
        "no comparison with version 1: it needs the columns wind, plane, which the table lacks"
    )


def test_a_champion_whose_files_were_changed_is_no_comparison(
    world: World, flights: pd.DataFrame, compares: dict[str, Any]
) -> None:
    uri = world.write(flights)
    _, first = world.run(uri, job="first")
    world.crown(first.version)
    model = artifacts(world, first.version) / manifest.MODEL_FILE
    model.write_bytes(model.read_bytes() + b" ")
    _, second = world.run(uri, compares, job="second")

    assert second.gates[1].reason is GateReason.CHECK_FAILED
    assert "model.skops is not the file that the manifest names" in second.message


def test_a_second_pod_of_a_finished_job_writes_the_same_result_and_trains_nothing(
    world: World, flights: pd.DataFrame
) -> None:
    uri = world.write(flights)
    _, first = world.run(uri)
    Path(uri.removeprefix("file://")).unlink()
    code, second = world.run(uri)

    assert (code, second) == (Exit.RESULT, first)
    assert world.versions() == ["1"]
    assert len(world.runs()) == 1


@pytest.mark.parametrize(
    "moment",
    ["upload_model", "log_params", "log_metrics", "register", "after register", "log_text"],
)
def test_a_pod_that_dies_at_any_point_is_continued_in_the_same_run_with_one_version(
    world: World, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    uri = world.write(flights)
    name = moment.removeprefix("after ")
    original = getattr(registry.Tracker, name)

    def die(tracker: registry.Tracker, *given: Any, **named: Any) -> Any:
        if moment.startswith("after"):
            original(tracker, *given, **named)
        raise Unavailable("the machine is gone")

    with monkeypatch.context() as patch:
        patch.setattr(registry.Tracker, name, die)
        environ = world.environ(uri)
        assert program.run(environ) is Exit.RETRY
    assert not Path(environ[contract.ENV_TERMINATION_LOG]).exists()
    assert world.runs()[0].info.status == "KILLED"
    code, result = world.run(uri)

    assert (code, result.version) == (Exit.RESULT, "1")
    assert world.versions() == ["1"]
    assert [run.info.status for run in world.runs()] == ["FINISHED"]


SLOW_POD = """
import time
from linnet_trainer import __main__, fit
fit.fit = lambda *given: time.sleep(60)
__main__.main(["run"])
"""


def test_a_terminated_pod_marks_its_run_as_killed_and_the_next_one_resumes_it(
    world: World, flights: pd.DataFrame
) -> None:
    uri = world.write(flights)
    environ = {**os.environ, **world.environ(uri)}
    with subprocess.Popen(
        [sys.executable, "-c", SLOW_POD], env=environ, stderr=subprocess.PIPE, text=True
    ) as pod:
        assert pod.stderr is not None
        for line in pod.stderr:
            if line.startswith("Fitting"):
                break
        started = time.monotonic()
        pod.send_signal(signal.SIGTERM)
        assert pod.wait(timeout=30) == Exit.TERMINATED
    assert time.monotonic() - started < 20, "the end of a long call is not waited for"
    assert [run.info.status for run in world.runs()] == ["KILLED"]
    code, result = world.run(uri)

    assert (code, result.version) == (Exit.RESULT, "1")
    assert [run.info.status for run in world.runs()] == ["FINISHED"]


def test_a_registry_that_is_away_is_a_retry_without_a_result(
    world: World, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    environ = world.environ(world.write(flights))

    assert program.run(environ) is Exit.RETRY
    assert not Path(environ[contract.ENV_TERMINATION_LOG]).exists()
    assert (
        "will be tried again: the registry does not answer (find the run)"
        in capsys.readouterr().err
    )


def test_two_fits_of_one_recipe_have_one_content_digest_and_two_versions(
    world: World, flights: pd.DataFrame
) -> None:
    uri = world.write(flights)
    forest = {
        "pipeline": {
            "estimator": {"class": "RandomForestClassifier", "parameters": {"n_estimators": 5}}
        }
    }
    _, first = world.run(uri, forest, job="first")
    _, second = world.run(uri, forest, job="second")
    _, other = world.run(uri, {**forest, "seed": 1}, job="other")

    assert first.content_digest == second.content_digest != other.content_digest
    assert [first.version, second.version, other.version] == ["1", "2", "3"]


def test_looks_of_other_jobs_count_even_when_their_runs_were_deleted(
    world: World, flights: pd.DataFrame, compares: dict[str, Any]
) -> None:
    uri = world.write(flights)
    _, first = world.run(uri, compares, job="first")
    world.crown(first.version)
    _, second = world.run(uri, compares, job="second")
    world.client.delete_run(second.run_id)
    _, third = world.run(uri, {**compares, "experiment": "elsewhere"}, job="third")
    tags = world.client.get_run(third.run_id).data.tags

    assert second.message.endswith("(look 1)"), "no comparison, no look: the first had no champion"
    assert third.message.endswith("(look 2)")
    assert tags[contract.TAG_LOOK] == "2"


def test_without_time_a_group_holdout_compares_over_groups(
    world: World, flights: pd.DataFrame
) -> None:
    table = flights.drop(columns="at")
    spec = {
        "data": {"timestamp": None, "groups": "plane"},
        "validation": {"holdout": {"fraction": "0.5"}},
        "gates": [
            {"name": "never-worse", "metric": "average_precision", "notWorseThan": "Champion"}
        ],
    }
    uri = world.write(table)
    _, first = world.run(uri, spec, job="first")
    world.crown(first.version)
    _, second = world.run(uri, spec, job="second")
    _, larger = world.run(
        uri, {**spec, "validation": {"holdout": {"fraction": "0.45"}}}, job="smaller"
    )

    assert second.gates[0].reason is GateReason.NOT_WORSE_THAN_CHAMPION
    assert second.gates[0].value == "0.0000"
    assert second.gates[0].n >= 14
    assert second.trained_until == ""
    assert larger.gates[0].reason in (GateReason.UNCLEAR, GateReason.NOT_WORSE_THAN_CHAMPION)
