"""LightGBM and XGBoost by dotted name, and early stopping by rows of the split's own axis."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from linnet_server import model as served
from linnet_trainer import boosting, evaluate, fit, manifest, stopping, weights
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import Axis

from trainer.preparing import fitted, prepare
from trainer.test_recipe import parse
from trainer.world import World, make_table, merge

FEW: dict[str, Any] = {"n_estimators": 5, "max_depth": 3}
LABELS = {"data": {"positiveClass": "late"}}


@pytest.fixture(scope="module")
def named() -> pd.DataFrame:
    """Flights with labels of text, the positive one first in sort order, and odd categories."""
    table = make_table()
    odd = table["carrier"].replace({"AA": "A,A", "B6": "B[6]:<"})
    return table.assign(late=np.where(table["late"], "late", "on time"), carrier=odd)


def estimator(name: str, **parameters: Any) -> dict[str, Any]:
    return {"pipeline": {"estimator": {"class": name, "parameters": parameters}}}


@pytest.mark.parametrize("name", ["lightgbm.LGBMClassifier", "xgboost.XGBClassifier"])
def test_a_boosted_classifier_answers_by_name_twice_alike_and_is_loaded_again(
    world: World, named: pd.DataFrame, name: str
) -> None:
    calibrated = {"pipeline": {"calibration": "Sigmoid", "thresholdMetric": "f1"}}
    for more in ({}, calibrated):
        recipe, ready = prepare(world, named, LABELS, estimator(name, **FEW), more)
        model = fitted(recipe, ready)
        answers = evaluate.answer(model, ready.table, ready.target.classes)
        codes = ready.target.codes

        assert model.classes_.tolist() == ["late", "on time"]
        assert ready.target.classes == ("on time", "late")
        assert evaluate.score("roc_auc", answers, codes, ready.held.holdout) > 0.7
        assert manifest.digest(model) == manifest.digest(fitted(recipe, ready))
        manifest.require_trusted(model)


@pytest.mark.parametrize("name", ["lightgbm.LGBMRegressor", "xgboost.XGBRegressor"])
def test_a_boosted_regression_takes_weights(world: World, flights: pd.DataFrame, name: str) -> None:
    changes = {
        "task": "Regression",
        "data": {"target": "x", "weight": "w"},
        "gates": [{"name": "g", "metric": "r2", "minimum": "0"}],
    }
    table = flights.assign(w=np.where(flights["wind"] > 0, 5.0, 0.1))
    recipe, ready = prepare(world, table, changes, estimator(name, **FEW))
    weights.require_taken(fit.make_estimator(recipe.steps, seed=0), recipe.steps, "w")
    weighted = evaluate.answer(fitted(recipe, ready), ready.table, ())
    alike = prepare(world, table.assign(w=1.0), changes, estimator(name, **FEW))
    plain = evaluate.answer(fitted(*alike), ready.table, ())

    assert abs(weighted.label - plain.label).max() > 0.01


def test_a_boosted_model_is_trained_registered_and_served(
    world: World, named: pd.DataFrame
) -> None:
    asked = estimator("xgboost.XGBClassifier", n_estimators=50, early_stopping_rounds=3)
    _, result = world.run(world.write(named), merge(LABELS, asked))

    assert result.version == "1", result.message
    assert 1 <= world.client.get_run(result.run_id).data.metrics["rounds"] < 50
    uri = world.client.get_model_version_download_uri("delays", result.version)
    folder = Path(uri.removeprefix("file://"))
    document = json.loads((folder / manifest.MANIFEST).read_text())
    assert document["libraries"]["xgboost-cpu"]
    assert "xgboost-cpu==" in (folder / "requirements.txt").read_text()
    (folder / "model.json").write_text(json.dumps({"format": "Skops", "provenance": "Verified"}))
    model = served.load(folder)
    assert served.check(model, folder) > 200
    assert set(model.classes) == {"late", "on time"}


def test_without_the_extra_the_field_and_what_to_do_are_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> Any:
        raise ModuleNotFoundError(f"No module named '{name}'")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(Refusal, match="needs lightgbm, which this image lacks") as caught:
        boosting.find("lightgbm.LGBMClassifier", "classifier")
    assert "`template.image` to one with the extra 'boosting'" in caught.value.message


@pytest.mark.parametrize(
    ("name", "told"),
    [
        (
            "os.system",
            "there is no classifier 'os.system'; dotted names are lightgbm.LGBM",
        ),
        ("lightgbm.LGBMRegressor", "Did you mean 'lightgbm.LGBMClassifier'?"),
        ("XGBClassifier", "Write 'xgboost.XGBClassifier'"),
    ],
)
def test_another_dotted_name_is_refused(name: str, told: str) -> None:
    with pytest.raises(Refusal) as caught:
        fit.make_estimator(parse(estimator(name)).steps, seed=0)
    assert told in caught.value.message


def test_a_parameter_that_a_library_does_not_have_is_refused_with_a_near_one() -> None:
    for name, wrong, near in (
        ("lightgbm.LGBMClassifier", "num_leave", "'num_leaves'"),
        ("xgboost.XGBClassifier", "max_dept", "'max_depth'"),
    ):
        with pytest.raises(Refusal, match=f"has no parameter '{wrong}'.*{near}"):
            fit.make_estimator(parse(estimator(name, **{wrong: 3})).steps, seed=0)
    steps = parse(estimator("lightgbm.LGBMClassifier", lambda_l2=2.0)).steps
    assert fit.make_estimator(steps, seed=0).get_params()["lambda_l2"] == 2.0


STOPPED: list[tuple[str, dict[str, Any]]] = [
    (
        "HistGradientBoostingClassifier",
        {"max_iter": 60, "early_stopping": True, "n_iter_no_change": 3},
    ),
    ("lightgbm.LGBMClassifier", {"n_estimators": 60, "early_stopping_rounds": 3}),
    ("xgboost.XGBClassifier", {"n_estimators": 60, "early_stopping_rounds": 3}),
]


@pytest.mark.parametrize(("name", "parameters"), STOPPED, ids=[name for name, _ in STOPPED])
@pytest.mark.parametrize("encoder", ["OneHotEncoder", "TargetEncoder"])
def test_rounds_are_told_by_the_latest_rows_and_then_made_on_all(
    world: World, named: pd.DataFrame, name: str, parameters: Any, encoder: str
) -> None:
    """What the latest fold says decides: with its labels turned round, one round is best."""
    preprocess = {"pipeline": {"preprocess": {"encoder": encoder}}}
    recipe, ready = prepare(world, named, LABELS, estimator(name, **parameters), preprocess)
    part = ready.held.training
    told = stopping.rounds(fitted(recipe, ready))
    assert told is not None
    assert 1 < told < 60

    latest = part[ready.within.split(ready.table.iloc[part])[-1][1]]
    assert ready.times.iloc[latest].min() > ready.times.iloc[np.setdiff1d(part, latest)].max()
    ready.target.codes[latest] = 1 - ready.target.codes[latest]
    assert stopping.rounds(fitted(recipe, ready)) == 1


def test_an_estimator_that_would_hold_out_random_rows_is_refused_beside_an_axis() -> None:
    for name, parameters in (
        ("MLPClassifier", {"early_stopping": True}),
        ("GradientBoostingClassifier", {"n_iter_no_change": 5}),
    ):
        steps = parse(estimator(name, **parameters)).steps
        made = fit.make_estimator(steps, seed=0)
        with pytest.raises(Refusal, match=f"{name} holds out random rows, and the split is by T"):
            stopping.require_axis(made, steps, Axis.TIME)
        stopping.require_axis(made, steps, Axis.RANDOM)
        unstopped = fit.make_estimator(parse(estimator(name)).steps, seed=0)
        stopping.require_axis(unstopped, steps, Axis.TIME)
