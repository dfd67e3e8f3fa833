"""A training as a script without Linnet does it: scikit-learn and MLflow, nothing else.

`python plain.py <table> <estimator> <folds>`: the trainer's pipeline, folds, holdout, final fit and
logged model, and the evidence that the trainer adds: the fit again, a learning curve, the loss of
each column, five plots. It tells its stages by the trainer's words.
"""

from __future__ import annotations

import sys

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import mlflow
import pandas as pd
from sklearn import ensemble, linear_model, metrics
from sklearn.calibration import CalibrationDisplay
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.inspection import permutation_importance
from sklearn.model_selection import TimeSeriesSplit, cross_validate
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.training.table import NUMBERS, PARAMETERS, TARGET, TEXTS, TIME

SHARES = (0.1, 0.33)
TRUSTED = ["numpy.dtype", "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor"]


def say(stage: str) -> None:
    """Tell a stage as the trainer does."""
    print(stage, file=sys.stderr, flush=True)


def make(name: str) -> Pipeline:
    """The unfitted pipeline."""
    known = {**vars(linear_model), **vars(ensemble)}
    columns = ColumnTransformer(
        [
            ("numeric", make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), NUMBERS),
            ("categorical", OneHotEncoder(sparse_output=False, handle_unknown="ignore"), TEXTS),
        ]
    ).set_output(transform="pandas")
    model = known[name](**PARAMETERS.get(name, {}))
    if "random_state" in model.get_params():
        model.set_params(random_state=0)
    return Pipeline([("columns", columns), ("model", model)])


def draw(name: str, display: object, *given: object) -> None:
    """Log one plot."""
    figure, axes = plt.subplots(figsize=(6, 4.5), layout="tight")
    display.from_predictions(*given, ax=axes)  # type: ignore[attr-defined]
    mlflow.log_figure(figure, f"plots/{name}.png")
    plt.close(figure)


def main(path: str, estimator: str, folds: int) -> None:
    """Train on one table."""
    mlflow.set_experiment("plain")
    with mlflow.start_run():
        say("Loading")
        table = pd.read_parquet(path).sort_values(TIME)
        held = int(0.8 * len(table))
        inputs, target = table[NUMBERS + TEXTS], table[TARGET]
        training, answers = inputs[:held], target[:held]
        say("Fitting")
        found = cross_validate(
            make(estimator), training, answers, cv=TimeSeriesSplit(folds), scoring="roc_auc"
        )
        for fold, score in enumerate(found["test_score"]):
            mlflow.log_metric("fold_roc_auc", score, step=fold)
        model = make(estimator).fit(training, answers)
        say("Evaluating")
        probability = model.predict_proba(inputs[held:])[:, 1]
        truth = target[held:]
        mlflow.log_metric("roc_auc", metrics.roc_auc_score(truth, probability))
        mlflow.sklearn.log_model(
            model,
            name="model",
            signature=mlflow.models.infer_signature(training[:1000], probability[:1000]),
            input_example=training[:5],
            pip_requirements=["scikit-learn"],
            skops_trusted_types=TRUSTED,
        )
        make(estimator).fit(training, answers)
        for share in SHARES:
            part = int(share * held)
            less = make(estimator).fit(training[:part], answers[:part])
            metrics.roc_auc_score(truth, less.predict_proba(inputs[held:])[:, 1])
        some = inputs[held:].sample(min(2000, len(truth)), random_state=0)
        permutation_importance(
            model, some, truth.loc[some.index], scoring="roc_auc", n_repeats=3, random_state=0
        )
        draw("roc", metrics.RocCurveDisplay, truth, probability)
        draw("precision-recall", metrics.PrecisionRecallDisplay, truth, probability)
        draw("calibration", CalibrationDisplay, truth, probability)
        draw("confusion", metrics.ConfusionMatrixDisplay, truth, probability > 0.5)
        draw("error", metrics.DetCurveDisplay, truth, probability)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
