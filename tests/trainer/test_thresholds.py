"""Calibration and the decision threshold: inside the folds, in the model, and as it is served."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from linnet_server import model as served
from linnet_trainer import data, evaluate, fit, manifest, thresholds, train, weights
from linnet_trainer.errors import Refusal
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, log_loss
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline

from trainer.preparing import fitted, prepare
from trainer.test_recipe import parse
from trainer.world import World, make_table, merge

LATE = {"data": {"positiveClass": "late"}}
TUNED = {"pipeline": {"thresholdMetric": "balanced_accuracy"}}


@pytest.fixture(scope="module")
def rare() -> pd.DataFrame:
    """Flights of which one in five is late, with labels of text; the last class is the common."""
    table = make_table()
    return table.assign(late=np.where(table["late"] & (table["x"] > 0), "late", "on time"))


def test_threshold_and_calibration_are_in_manifest_samples_gates_and_server_alike(
    world: World, rare: pd.DataFrame
) -> None:
    changes = {
        "data": {"positiveClass": "late"},
        "pipeline": {"thresholdMetric": "f1", "calibration": "Sigmoid"},
        "gates": [{"name": "labels", "metric": "f1", "minimum": "0.2"}],
        "waivers": [{"check": "Imbalance", "reason": "rare on purpose"}],
    }
    _, result = world.run(world.write(rare), changes)

    uri = world.client.get_model_version_download_uri("delays", result.version)
    folder = Path(uri.removeprefix("file://"))
    document = json.loads((folder / manifest.MANIFEST).read_text())
    assert document["positiveClass"] == "late"
    assert 0.1 < document["threshold"] < 0.45
    run = world.client.get_run(result.run_id).data
    assert run.metrics["threshold"] == document["threshold"]
    assert run.params["pipeline.calibration"] == "Sigmoid"
    assert run.params["pipeline.thresholdMetric"] == "f1"

    samples = json.loads((folder / "linnet/samples.json").read_text())
    shares = np.array(samples["probabilities"])[:, samples["classes"].index("late")]
    at_threshold = np.where(shares >= document["threshold"], "late", "on time").tolist()
    assert samples["labels"] == at_threshold
    assert samples["labels"] != np.where(shares > 0.5, "late", "on time").tolist()
    (folder / "model.json").write_text(json.dumps({"format": "Skops", "provenance": "Verified"}))
    model = served.load(folder)
    assert model.predict(samples["rows"]).labels == at_threshold
    assert served.check(model, folder) == len(samples["rows"])

    # A champion answers at its own threshold when it is compared.
    again = manifest.load((folder / "model.skops").read_bytes(), document)
    table = pd.DataFrame(samples["rows"], columns=samples["columns"])
    answers = evaluate.answer(again, table, ("on time", "late"))
    assert answers.label.tolist() == [int(label == "late") for label in at_threshold]
    assert again.predict(table).tolist() == at_threshold, "MLflow's predict says the same"


def test_a_tuned_threshold_beats_the_likelier_class_on_rows_of_later(
    world: World, rare: pd.DataFrame
) -> None:
    recipe, ready = prepare(world, rare, LATE, TUNED)
    tuned = fitted(recipe, ready)
    found = thresholds.of(tuned, ready.target.ordered)
    rows, truth = ready.table.iloc[ready.held.holdout], ready.target.codes[ready.held.holdout]
    given = evaluate.answer(tuned, rows, ready.target.classes)
    plain = evaluate.answer(tuned.steps[0][1].estimator, rows, ready.target.classes)

    assert found is not None
    assert found.positive == "late"
    assert given.probability.tolist() == plain.probability.tolist()
    scores = [balanced_accuracy_score(truth, answers.label) for answers in (given, plain)]
    assert scores[0] > scores[1] + 0.03


def test_nothing_of_the_holdout_or_of_a_tested_fold_moves_the_threshold(
    world: World, rare: pd.DataFrame
) -> None:
    recipe, ready = prepare(world, rare, LATE, TUNED)
    before = thresholds.of(fitted(recipe, ready), ready.target.ordered)
    ready.table.iloc[ready.held.holdout, 0] = 99.0
    ready.target.codes[ready.held.holdout] = 0

    assert thresholds.of(fitted(recipe, ready), ready.target.ordered) == before


@pytest.mark.parametrize(
    ("changes", "crossed"),
    [
        ({}, lambda frame, one, other: frame["at"].iloc[one].max() < frame["at"].iloc[other].min()),
        (
            {
                "data": {"timestamp": "", "groups": "plane"},
                "validation": {"folds": 3, "holdout": {"by": "Group"}},
            },
            lambda frame, one, other: (
                not set(frame["plane"].iloc[one]) & set(frame["plane"].iloc[other])
            ),
        ),
    ],
    ids=["time", "groups"],
)
def test_folds_inside_any_part_of_the_rows_keep_the_splits_axis(
    world: World, flights: pd.DataFrame, changes: Any, crossed: Any
) -> None:
    recipe = parse(merge({"data": {"table": {"uri": world.write(flights)}}}, changes))
    ready = train._prepare(recipe, data.read(recipe))
    part = ready.held.training[: len(ready.held.training) // 2]
    folds = ready.within.split(ready.table.iloc[part])

    assert len(folds) == recipe.validation.folds
    for training, test in folds:
        assert crossed(ready.rows.frame, part[training], part[test])


@pytest.mark.parametrize("method", ["Sigmoid", "Isotonic"])
def test_calibration_mends_probabilities_that_are_too_sure(
    world: World, flights: pd.DataFrame, method: str
) -> None:
    # One column six times over: naive Bayes counts its evidence as often.
    copies = {f"copy{number}": flights["wind"] for number in range(5)}
    sure = {"estimator": {"class": "GaussianNB"}, "columns": {"numeric": ["x", "wind", *copies]}}
    table = flights.assign(late=np.where(flights["late"], "late", "on time"), **copies)
    losses = []
    for calibration in ("None", method):
        recipe, ready = prepare(
            world, table, LATE, {"pipeline": {**sure, "calibration": calibration}}
        )
        rows = ready.held.holdout
        answers = evaluate.answer(
            fitted(recipe, ready), ready.table.iloc[rows], ready.target.classes
        )
        losses.append(log_loss(ready.target.codes[rows], answers.probability))

    assert losses[1] < losses[0] - 0.02


def test_weights_reach_calibrator_and_estimator_by_both_ways_alike(
    world: World, rare: pd.DataFrame
) -> None:
    table = rare.assign(w=np.arange(len(rare)) % 3 + 0.5)
    _, ready = prepare(world, table, LATE, {"data": {"weight": "w"}})
    rows = ready.held.training
    inputs, values, weight = ready.table.iloc[rows], ready.target.values[rows], ready.weight[rows]
    recipe = parse({"pipeline": {"calibration": "Sigmoid"}})

    def made() -> Any:
        pipeline = fit.make_pipeline(recipe.steps, ready.inputs.features, seed=0)
        return fit._calibrated(pipeline, recipe.steps, ready.within)

    routed = weights.by_routing(made(), inputs, values, weight)
    named = weights.by_prefix(made(), inputs, values, weight)
    plain = made().fit(inputs, values)

    assert routed.predict_proba(inputs).tolist() == named.predict_proba(inputs).tolist()
    assert abs(routed.predict_proba(inputs) - plain.predict_proba(inputs)).max() > 0.001
    manifest.require_trusted(fit._finished(routed))


def test_what_no_threshold_or_calibration_can_do_is_refused_with_the_field() -> None:
    field = "pipeline.thresholdMetric"
    for metric, classes, told in (
        ("f1_macro", ("a", "b", "c"), "a threshold is for a target of two classes, this one has 3"),
        ("roc_auc", (False, True), "judges probabilities, and a threshold moves labels alone"),
    ):
        with pytest.raises(Refusal, match=told) as caught:
            evaluate.require_labels(metric, classes, field=field)
        assert caught.value.message.startswith(f"`{field}: {metric}`")
    for name in ({"thresholdMetric": "r2"}, {"calibration": "Sigmoid"}):
        with pytest.raises(Refusal, match=f"`pipeline.{next(iter(name))}` is for `task: Classif"):
            parse({"task": "Regression", "pipeline": name})
    with pytest.raises(Refusal, match="no threshold can be tuned: The provided estimator"):
        thresholds.tune("f1", evaluate.Answers(probability=np.full(4, 0.3)), np.array([0, 1, 0, 1]))


def test_a_module_with_a_threshold_of_its_own_is_answered_by_it() -> None:
    table, late = np.random.default_rng(1).normal(size=(300, 1)), np.arange(300) % 2 == 0
    table[late] += 1
    fixed = FixedThresholdClassifier(LogisticRegression(), threshold=0.8, pos_label=False)
    tuned = TunedThresholdClassifierCV(LogisticRegression(), scoring="recall")
    both = [Pipeline([("model", each)]).fit(table, late) for each in (fixed, tuned)]

    assert thresholds.of(both[0], [False, True]) == thresholds.Threshold(value=0.8, positive=False)
    for model in both:
        answers = evaluate.answer(model, table, (False, True))
        assert answers.label.astype(bool).tolist() == model.predict(table).tolist()
    by_score = FixedThresholdClassifier(LogisticRegression(), response_method="decision_function")
    with pytest.raises(Refusal, match="a threshold on its decision function, and a server knows"):
        thresholds.of(by_score.fit(table, late), [False, True])
