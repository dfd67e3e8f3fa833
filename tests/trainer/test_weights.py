"""Weights of rows: by which way they reach the estimator, and which are refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from linnet_trainer import fit, manifest, weights
from linnet_trainer.data import Feature
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import Columns, Steps
from sklearn.preprocessing import TargetEncoder

from trainer.world import World

FEATURES = (
    Feature(name="x", type="double", source="double"),
    Feature(name="carrier", type="string", source="string"),
)


def steps(estimator: str = "LogisticRegression") -> Steps:
    return Steps(columns=Columns(), estimator=estimator, parameters={})


def part(table: pd.DataFrame) -> tuple[pd.DataFrame, Any, Any]:
    chosen = table.dropna(subset=["carrier"]).head(400)
    return chosen[["x", "carrier"]], chosen["late"].to_numpy(), np.arange(len(chosen)) % 3 + 0.5


def coefficients(pipeline: Any) -> Any:
    return pipeline.named_steps["model"].coef_


def test_routing_and_the_steps_name_give_the_same_model_and_weights_count(
    flights: pd.DataFrame,
) -> None:
    inputs, target, weight = part(flights)

    def made() -> Any:
        return fit.make_pipeline(steps(), FEATURES, seed=0)

    routed = weights.by_routing(made(), inputs, target, weight)
    named = weights.by_prefix(made(), inputs, target, weight)
    plain = made().fit(inputs, target)

    assert coefficients(routed).tolist() == coefficients(named).tolist()
    assert abs(coefficients(routed) - coefficients(plain)).max() > 0.01
    scalers = [
        each.named_steps["columns"].named_transformers_["numeric"] for each in (routed, plain)
    ]
    assert scalers[0].named_steps["scaler"].mean_ == scalers[1].named_steps["scaler"].mean_
    manifest.require_trusted(routed)


def test_with_a_target_encoder_the_weights_go_by_the_steps_name(flights: pd.DataFrame) -> None:
    inputs, target, weight = part(flights)

    def made() -> Any:
        pipeline = fit.make_pipeline(steps(), FEATURES, seed=0)
        columns = pipeline.named_steps["columns"]
        (_, numbers, names), _ = columns.transformers
        encoder = TargetEncoder(cv=3)
        columns.transformers = [("numeric", numbers, names), ("categorical", encoder, ["carrier"])]
        return pipeline

    with pytest.raises(KeyError, match="groups"):
        weights.by_routing(made(), inputs, target, weight)
    fitted = weights.fit(made(), inputs, target, weight)
    assert coefficients(fitted).shape == (1, 2)


def test_an_estimator_that_takes_no_weights_is_refused_with_the_field_and_what_to_do() -> None:
    estimator = fit.make_estimator(steps("KNeighborsClassifier"), seed=0)
    with pytest.raises(Refusal) as caught:
        weights.require_taken(estimator, steps("KNeighborsClassifier"), "importance")

    assert caught.value.message.startswith(
        "`data.weight` names 'importance', and KNeighborsClassifier takes no sample_weight: remove "
    )


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["a", "b"], "`data.weight` names 'w', whose type is object: a weight is a number"),
        (
            [1.0, -1.0],
            "`data.weight`: 1 of 2 rows have a weight in 'w' that is below 0 or infinite",
        ),
        ([0, 0], "`data.weight`: all 2 rows have weight 0 in 'w'"),
    ],
)
def test_a_weight_that_is_none_is_refused(values: Any, told: str) -> None:
    with pytest.raises(Refusal) as caught:
        weights.read(pd.Series(values), "w")

    assert told in caught.value.message


def test_weight_and_identity_are_no_features_and_one_identity_is_one_row(
    world: World, flights: pd.DataFrame
) -> None:
    table = flights.assign(w=1.5, flight=np.arange(len(flights)))
    uri = world.write(table)
    given = {"data": {"weight": "w", "rowId": "flight", "positiveClass": "false"}}
    _, result = world.run(uri, given)
    twice = world.write(table.assign(flight=np.arange(len(flights)) // 2 % 500), "twice.parquet")
    _, refused = world.run(twice, given, job="twice")

    model = world.client.get_model_version("delays", result.version)
    run = world.client.get_run(model.run_id)
    assert {run.data.params[f"data.{name}"] for name in ("weight", "rowId")} == {"w", "flight"}
    leakage = next(gate for gate in result.gates if gate.name == "Leakage")
    assert leakage.n == 5, "neither is a feature"
    assert "rows of the holdout are copies of training rows, equal in all columns or in" in (
        refused.message
    )
