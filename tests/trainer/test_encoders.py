"""Categories by the target's mean: cross-fitted along the split's axis, for every target."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from linnet_trainer import evaluate, fit, manifest, weights
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import TargetEncoder

from trainer.preparing import fitted, prepare
from trainer.world import World

ENCODED: dict[str, Any] = {
    "pipeline": {
        "columns": {"numeric": ["x"], "categorical": ["carrier", "plane"]},
        "preprocess": {"encoder": "TargetEncoder"},
    }
}
GROUPED = {"data": {"timestamp": "", "groups": "plane"}, "validation": {"holdout": {"by": "Group"}}}


CLASSES = ("early", "late", "on time")
CASES = {
    "two classes": ({}, lambda table: table["late"], ["x", "carrier", "plane"]),
    "three classes": (
        {"gates": [{"name": "g", "metric": "accuracy", "minimum": "0.1"}]},
        lambda table: np.select([table["late"], table["x"] > 0.3], ["late", "early"], "on time"),
        ["x", *(f"{name}_{how}" for name in ("carrier", "plane") for how in CLASSES)],
    ),
    "whole numbers": (
        {
            "task": "Regression",
            "pipeline": {"estimator": {"class": "Ridge"}},
            "gates": [{"name": "g", "metric": "r2", "minimum": "0.1"}],
        },
        lambda table: (10 * table["x"]).round(),
        ["x", "carrier", "plane"],
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_every_kind_of_target_is_encoded_twice_alike_and_by_name(
    world: World, flights: pd.DataFrame, kind: str
) -> None:
    changes, target, names = CASES[kind]
    recipe, ready = prepare(world, flights.assign(late=target(flights)), ENCODED, changes)
    model = fitted(recipe, ready)

    found = [name.partition("__")[2] for name in model[:-1].get_feature_names_out()]
    assert found == names
    assert manifest.digest(model) == manifest.digest(fitted(recipe, ready))
    manifest.require_trusted(model)
    strange = ready.table.head(2).assign(plane=["never seen", None])
    answers = evaluate.answer(model, strange, ready.target.classes)
    assert np.isfinite(evaluate.signal(answers)).all()


def test_a_category_of_one_row_each_tells_a_model_nothing(
    world: World, flights: pd.DataFrame
) -> None:
    """Encoded on the rows themselves it would give every training row's answer away."""
    table = flights.assign(late=flights["late"].sample(frac=1, random_state=0).to_numpy())
    table["plane"] = [f"N{number // 2}" for number in range(len(table))]
    recipe, ready = prepare(world, table, ENCODED, {"pipeline": {"columns": {"numeric": []}}})
    part = ready.held.training
    model = fitted(recipe, ready)
    encoder = model.named_steps["columns"].named_transformers_["categorical"]
    naive = encoder.transform(ready.table[["carrier", "plane"]].iloc[part])
    fooled = LogisticRegression().fit(naive, ready.target.codes[part])

    assert roc_auc_score(ready.target.codes[part], naive["plane"]) > 0.85
    assert abs(fooled.coef_[0, 1]) > 4 * abs(model.named_steps["model"].coef_[0, 1])
    assert encoder.cv is None, "the splitter holds the table and stays with the trainer"


@pytest.mark.parametrize(("changes", "column"), [({}, "at"), (GROUPED, "plane")])
def test_each_row_is_encoded_once_by_rows_of_another_time_or_group(
    world: World, flights: pd.DataFrame, changes: Any, column: str
) -> None:
    columns = {"pipeline": {"columns": {"categorical": ["carrier"]}}}
    _, ready = prepare(world, flights, ENCODED, columns, changes)
    part = ready.held.training[: len(ready.held.training) // 2]
    folds = ready.within.cover().split(ready.table.iloc[part])

    values = ready.rows.frame[column].to_numpy()
    assert sorted(np.concatenate([test for _, test in folds])) == list(range(len(part)))
    for training, test in folds:
        assert not set(values[part[training]]) & set(values[part[test]])
        if column == "at":
            inside = (values[part] >= values[part[test]].min()) & (
                values[part] <= values[part[test]].max()
            )
            assert inside.sum() == len(test), "a block of time is one stretch"


class Cured(TargetEncoder):  # type: ignore[misc]
    """Keeps metadata routing away from the encoder's own splitter, where it fails."""

    def fit_transform(self, X: Any, y: Any) -> Any:
        with sklearn.config_context(enable_metadata_routing=False):
            return super().fit_transform(X, y)


@pytest.mark.parametrize("calibration", ["None", "Sigmoid"])
def test_beside_an_encoder_the_steps_name_gives_the_weights_that_routing_would_give(
    world: World, flights: pd.DataFrame, calibration: str
) -> None:
    table = flights.assign(w=np.arange(len(flights)) % 3 + 0.5)
    changes = {"data": {"weight": "w"}, "pipeline": {"calibration": calibration}}
    recipe, ready = prepare(world, table, ENCODED, changes)
    rows = ready.held.training
    inputs, values, weight = ready.table.iloc[rows], ready.target.values[rows], ready.weight[rows]

    def made(encoder: type) -> Any:
        pipeline = fit.make_pipeline(recipe.steps, ready.inputs.features, seed=0)
        columns = pipeline.named_steps["columns"]
        columns.set_params(categorical=encoder(target_type="auto"))
        fit._cross(pipeline, ready.within)
        return fit._calibrated(pipeline, recipe.steps, ready.within)

    with pytest.raises(KeyError, match="groups"):
        weights.by_routing(made(TargetEncoder), inputs, values, weight)
    named = weights.fit(made(TargetEncoder), inputs, values, weight)
    routed = weights.by_routing(made(Cured), inputs, values, weight)
    plain = made(TargetEncoder).fit(inputs, values)

    assert named.predict_proba(inputs).tolist() == routed.predict_proba(inputs).tolist()
    assert abs(named.predict_proba(inputs) - plain.predict_proba(inputs)).max() > 0.001


def test_an_encoder_is_trained_judged_and_registered(world: World, flights: pd.DataFrame) -> None:
    _, result = world.run(world.write(flights), ENCODED)

    assert result.version == "1", result.message
    path = world.client.download_artifacts(result.run_id, "model-card.md")
    with open(path) as card:
        assert "TargetEncoder (cross-fitted over blocks of time)" in card.read()
