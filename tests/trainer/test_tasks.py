"""Regressions and classifiers of several classes: what they leave, and how they are judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from linnet_trainer import checks, evaluate, manifest, plots, targets
from linnet_trainer.contract import GateReason, Outcome, Reason
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import Table, Task
from linnet_trainer.targets import Kind
from sklearn.base import is_classifier
from sklearn.linear_model import LogisticRegression

from trainer.test_recipe import parse
from trainer.world import World

TABLE = Table(uri="", target="y")

DELAY: dict[str, Any] = {
    "task": "Regression",
    "data": {"target": "delay"},
    "pipeline": {
        "columns": {"numeric": ["x", "wind"], "categorical": ["carrier"]},
        "estimator": {"class": "Ridge"},
    },
    "gates": [
        {"name": "good-enough", "metric": "neg_mean_absolute_error", "minimum": "-15"},
        {
            "name": "never-worse",
            "metric": "neg_mean_absolute_error",
            "notWorseThan": "Champion",
            "margin": "0.5",
        },
    ],
    "validation": {"holdout": {"period": "480h"}},
}


def files(world: World, version: str) -> tuple[Any, Any, Any]:
    """The manifest, the samples and the profile of a version."""
    uri = world.client.get_model_version_download_uri("delays", version).removeprefix("file://")
    names = ("manifest.json", "samples.json", "profile.json")
    one, two, three = (json.loads((Path(uri) / "linnet" / name).read_text()) for name in names)
    return one, two, three


def drawn(world: World, run_id: str) -> set[str]:
    return {Path(each.path).stem for each in world.client.list_artifacts(run_id, "plots")}


def test_a_regression_is_measured_compared_drawn_and_registered_as_one(
    world: World, flights: pd.DataFrame
) -> None:
    noise = np.random.default_rng(5).normal(scale=5, size=len(flights))
    delay = 10 + 12 * flights["x"] + 8 * flights["wind"].fillna(0) + noise
    uri = world.write(flights.assign(delay=delay).drop(columns="late"))
    _, first = world.run(uri, DELAY, job="first")
    world.crown(first.version)
    flat = {**DELAY, "pipeline": {"columns": {"numeric": ["x"]}, "estimator": {"class": "Ridge"}}}
    _, worse = world.run(uri, flat, job="flat")

    assert first.message.startswith("neg_mean_absolute_error -3.9")
    assert [metric.name for metric in first.metrics][:3] == [
        "neg_mean_absolute_error",
        "r2",
        "neg_root_mean_squared_error",
    ]
    names = [gate.name for gate in first.gates]
    assert names == [
        "good-enough",
        "never-worse",
        "Leakage",
        "ValidationSet",
        "Schema",
        "Reproducible",
    ]
    document, samples, profile = files(world, first.version)
    assert document["task"] == "Regression"
    assert "classes" not in document
    assert len(samples["predictions"]) == len(samples["rows"])
    assert profile["score"]["rows"] > 400
    assert (
        len(next(iter(profile["score"]["counts"].values()))) == len(profile["score"]["edges"]) + 1
    )
    assert drawn(world, first.run_id) == set(plots.PLOTS[Kind.NUMBER])
    assert worse.gates[1].reason is GateReason.WORSE_THAN_CHAMPION
    assert worse.outcome is Outcome.REFUSED
    assert worse.gates[1].n == 20


def test_three_classes_are_measured_drawn_and_registered_in_the_models_order(
    world: World, flights: pd.DataFrame
) -> None:
    how = np.select([flights["late"], flights["x"] > 0.3], ["late", "early"], "on time")
    uri = world.write(flights.assign(late=how))
    changes = {"gates": [{"name": "small", "size": {"maximum": "10Mi"}}]}
    _, result = world.run(uri, changes)

    assert result.message.startswith("roc_auc_ovr 0.")
    document, samples, profile = files(world, result.version)
    assert document["classes"] == samples["classes"] == ["early", "late", "on time"]
    assert "positiveClass" not in document
    assert {len(row) for row in samples["probabilities"]} == {3}
    assert samples["labels"] == [
        samples["classes"][int(np.argmax(row))] for row in samples["probabilities"]
    ]
    assert profile["score"]["categories"] == document["classes"]
    assert drawn(world, result.run_id) == set(plots.PLOTS[Kind.CLASSES])
    path = world.client.download_artifacts(result.run_id, "model-card.md")
    assert "3 classes, the rarest (early) 0." in Path(path).read_text()


def test_a_class_that_a_fold_lacks_has_probability_0_there() -> None:
    table = np.array([[0.0], [1.0], [2.0], [3.0]])
    model = LogisticRegression().fit(table, ["a", "a", "c", "c"])
    found = evaluate.answer(model, table, ("a", "b", "c"))

    assert isinstance(found, evaluate.Answers)
    assert found.probability[:, 1].tolist() == [0, 0, 0, 0]
    assert found.label.tolist() == [0, 0, 2, 2]
    assert np.isnan(evaluate.score("roc_auc_ovr", found, np.array([0, 0, 2, 2])))


@pytest.mark.parametrize(
    ("metric", "classes", "told"),
    [
        ("roc_auc", ("a", "b", "c"), "does not fit a classifier of more than two classes: "),
        ("f1", ("a", "b", "c"), "It takes roc_auc_ovr, neg_log_loss"),
        ("accuracy", (), "does not fit a regression: "),
    ],
)
def test_a_metric_of_another_kind_of_target_is_refused_before_a_fit(
    metric: str, classes: tuple[str, ...], told: str
) -> None:
    with pytest.raises(Refusal) as caught:
        evaluate.require_fit([metric], classes)

    assert told in caught.value.message


@pytest.mark.parametrize("kind", list(Kind))
def test_every_standard_metric_fits_its_kind(kind: Kind) -> None:
    classes = {Kind.BINARY: (False, True), Kind.CLASSES: (1, 2, 3), Kind.NUMBER: ()}[kind]

    evaluate.require_fit(evaluate.STANDARD[kind], classes)
    stand_in = evaluate.Answers() if classes else evaluate.Numbers()
    assert is_classifier(stand_in) is bool(classes)


@pytest.mark.parametrize(
    ("values", "task", "reason", "told"),
    [
        ([1.0, float("inf")], Task.REGRESSION, Reason.INVALID_DATA, "holds infinite numbers"),
        ([2, 2, 2], Task.REGRESSION, Reason.INVALID_DATA, "all 3 rows have y = 2"),
        ([True, False], Task.REGRESSION, Reason.TARGET_NOT_SUPPORTED, "`task: Classification`"),
        (range(101), Task.CLASSIFICATION, Reason.TARGET_NOT_SUPPORTED, "at most 100 classes"),
    ],
)
def test_a_target_that_the_task_cannot_predict_is_refused(
    values: Any, task: Task, reason: Reason, told: str
) -> None:
    with pytest.raises(Refusal) as caught:
        targets.read(pd.Series(values), TABLE, task)

    assert caught.value.reason is reason
    assert told in caught.value.message


def test_a_holdout_with_a_class_that_was_never_learned_is_refused_by_its_name() -> None:
    target = targets.read(pd.Series(["a", "b", "c"]), TABLE, Task.CLASSIFICATION)

    targets.require_learned(target, np.array([0, 1, 2]), np.array([1]), TABLE)
    with pytest.raises(Refusal, match="no training row has y = c, which rows of the holdout have"):
        targets.require_learned(target, np.array([0, 1]), np.array([2]), TABLE)


def test_a_rare_class_of_three_wants_a_minimum_that_the_commonest_answer_misses() -> None:
    codes = np.repeat([0, 1, 2], [60, 37, 3])
    blind = parse({"gates": [{"name": "g", "metric": "accuracy", "minimum": "0.5"}]})
    seeing = parse({"gates": [{"name": "g", "metric": "balanced_accuracy", "minimum": "0.5"}]})
    found = checks.imbalance(blind, codes, codes, ("a", "b", "c")).gate

    assert not found.passed
    assert "3.0% of the training rows are of the rarest class, c; a model that always says a" in (
        found.message
    )
    assert checks.imbalance(seeing, codes, codes, ("a", "b", "c")).gate.passed
    even = np.repeat([0, 1, 2], 30)
    assert checks.imbalance(blind, even, even, ("a", "b", "c")).gate.passed


def test_the_classes_of_a_manifest_are_in_the_fitted_models_order() -> None:
    target = targets.Target(classes=("no", "late"), type="string", codes=np.array([0, 1]))

    assert manifest._answered(target, None) == {
        "classes": ["late", "no"],
        "classType": "string",
        "positiveClass": "late",
        "threshold": 0.5,
    }


@pytest.mark.parametrize(
    ("values", "positive", "classes"),
    [
        ([True, False], "false", (True, False)),
        ([1, 2], "2", (1, 2)),
        (["no", "late"], "late", ("no", "late")),
    ],
)
def test_the_positive_class_is_the_last_code(
    values: Any, positive: str, classes: tuple[Any, Any]
) -> None:
    table = Table(uri="", target="y", positive=positive)
    found = targets.read(pd.Series(values), table, Task.CLASSIFICATION)

    assert found.classes == classes
    assert found.values.tolist() == values


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["a", "b", "c"], "is for a target with two classes; 'y' has 3: remove it"),
        (["a", "b"], "names 'late', which is no class of 'y': use 'a' or 'b'"),
    ],
)
def test_a_positive_class_that_is_none_is_refused(values: Any, told: str) -> None:
    table = Table(uri="", target="y", positive="late")
    with pytest.raises(Refusal) as caught:
        targets.read(pd.Series(values), table, Task.CLASSIFICATION)

    assert told in caught.value.message
