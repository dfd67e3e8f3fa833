"""A search on Ray in this process: what it finds is what a search without Ray would find.

Not among the files that pytest finds by itself: Ray takes half a minute to start on two busy cores,
which `make test` has not. `dev/test.sh extras` runs it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from linnet_trainer import contract
from linnet_trainer.contract import Exit, Outcome

from trainer.world import World

SPEC: dict[str, Any] = {
    "validation": {"folds": 4},
    "pipeline": {
        "columns": {"numeric": ["x", "wind"]},
        "estimator": {"class": "LogisticRegression", "parameters": {"C": 0.01}},
    },
    "search": {
        "engine": "RayTune",
        "ray": {"address": "local"},
        "trials": 6,
        "parallelism": 2,
        "parameters": [
            {"name": "C", "logUniform": {"min": "0.00001", "max": "10"}},
            {"name": "solver", "categorical": {"choices": ["lbfgs", "liblinear"]}},
            {"name": "fit_intercept", "categorical": {"choices": ["true", "false"]}},
        ],
    },
}


MORTAL = """
import os, signal, sys
from pathlib import Path
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

def build():
    died = Path({died!r})
    if "default_worker" in sys.argv[0] and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    columns = make_column_transformer((SimpleImputer(), ["x", "wind"]))
    return make_pipeline(columns, LogisticRegression())
"""
"""A pipeline that takes the first worker down which asks for it, as a want of memory would."""


def states(world: World) -> list[str]:
    """The states of the trials, in order of their names."""
    told = [run.data.tags.get(contract.TAG_TRIAL, "") for run in world.runs()]
    return sorted(json.loads(text)["state"] for text in told if text)


@pytest.mark.filterwarnings("default")
def test_a_worker_that_dies_loses_its_trial_and_no_more(
    world: World, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.folder / "module.py"
    path.write_text(MORTAL.format(died=str(world.folder / "died")))
    monkeypatch.setenv(contract.ENV_MODULE, str(path))
    search = {
        **SPEC["search"],
        "parallelism": 1,
        "trials": 3,
        "parameters": [
            {"name": "logisticregression__C", "uniform": {"min": "0.01", "max": "10"}},
            {"name": "logisticregression__penalty", "categorical": {"choices": ["l2"]}},
        ],
    }
    spec = {
        "validation": {"folds": 2},
        "pipeline": None,
        "module": {"configMapName": "code", "entry": "build"},
        "search": search,
    }
    code, result = world.run(world.write(flights), spec)

    assert (code, result.outcome) == (Exit.RESULT, Outcome.PASSED)
    assert states(world) == ["Complete"] * 3 + ["Lost"]
    lost = next(
        each["error"]
        for run in world.runs()
        if (each := json.loads(run.data.tags.get(contract.TAG_TRIAL, "{}"))).get("error")
    )
    assert lost.startswith("its worker on Ray was lost (")


@pytest.mark.filterwarnings("default")
def test_a_search_on_ray_ends_as_any_other(world: World, flights: pd.DataFrame) -> None:
    code, result = world.run(world.write(flights), SPEC)

    assert (code, result.outcome, result.version) == (Exit.RESULT, Outcome.PASSED, "1")
    run = world.client.get_run(result.run_id)
    nested = [each for each in world.runs() if "mlflow.parentRunId" in each.data.tags]
    told = json.loads(run.data.tags[contract.TAG_SEARCH])
    assert (told["completed"], told["failed"], told["running"], told["of"]) == (6, 0, 0, 6)
    assert sorted(each.info.run_name for each in nested) == [f"trial-{n}" for n in range(6)]
    first = next(each for each in nested if each.info.run_name == "trial-0")
    assert first.data.params["C"] == "0.01", "the spec's own value is tried first"
    complete = [
        each
        for each in nested
        if json.loads(each.data.tags[contract.TAG_TRIAL])["state"] == "Complete"
    ]
    best = max(complete, key=lambda each: each.data.metrics["roc_auc"])
    assert best.info.run_name == f"trial-{told['best']['number']}"
    assert run.data.params["search.best.C"] == best.data.params["C"]
    assert run.data.metrics["cv_roc_auc_mean"] == pytest.approx(run.data.metrics["search_best"])
    card = world.client.download_artifacts(result.run_id, "model-card.md", str(world.folder))
    assert "yes: Ray Tune, TPE, 6 trials" in Path(card).read_text()
