"""The plots that people look at, as PNG files; scikit-learn draws most of them.

Matplotlib is imported when the first plot is drawn, with the backend that needs no screen, and
every figure is closed before the next: the peak of a pod's memory lies in the fit, not here.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics
from sklearn.calibration import CalibrationDisplay
from sklearn.inspection import permutation_importance

from linnet_trainer import evaluate
from linnet_trainer.targets import Kind, kind_of

ROWS, REPEATS = 2000, 3
"""So many holdout rows, shuffled so often, for the permutation importance of a column."""

COLUMNS = 20
CURVES = 10
"""So many classes are told apart in one plot."""

SHARES = (0.1, 0.33)
"""Parts of the training rows that the learning curve fits anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What the plots show."""

    metric: str
    """The first gate's."""
    answers: evaluate.Given
    target: np.ndarray[Any, Any]
    """The class from 0 on, or the number, per holdout row."""
    classes: Sequence[Any]
    """The classes by code; empty for numbers."""
    inputs: pd.DataFrame
    """The holdout's features."""
    ask: Callable[[pd.DataFrame], evaluate.Given]
    """The fitted model."""
    fit_on: Callable[[float], float]
    """The metric on the holdout of a model fitted on this first share of the training rows."""
    folds: Sequence[Mapping[str, float]]
    score: float
    """The metric on the holdout."""
    seed: int


def draw(evidence: Evidence) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the plots by name, and of those that could not be drawn the reason."""
    import matplotlib

    matplotlib.use("Agg")
    made: dict[str, bytes] = {}
    failed: dict[str, str] = {}
    for name, plot in PLOTS[kind_of(tuple(evidence.classes))].items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                made[name] = _png(plot, evidence)
        except ValueError as error:
            failed[name] = str(error).splitlines()[0]
    return made, failed


def _png(plot: Callable[[Evidence, Any], None], evidence: Evidence) -> bytes:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4.5), layout="tight")
    try:
        plot(evidence, axes)
        return render(figure)
    finally:
        plt.close(figure)


def render(figure: Any) -> bytes:
    """Return a figure of Matplotlib as a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()


def _probability(evidence: Evidence) -> Any:
    """The probability of class 1, or of each of more classes."""
    assert isinstance(evidence.answers, evaluate.Answers)
    return np.asarray(evidence.answers.probability)


def _roc(evidence: Evidence, axes: Any) -> None:
    metrics.RocCurveDisplay.from_predictions(
        evidence.target, _probability(evidence), ax=axes, plot_chance_level=True
    )


def _precision_recall(evidence: Evidence, axes: Any) -> None:
    metrics.PrecisionRecallDisplay.from_predictions(
        evidence.target, _probability(evidence), ax=axes, plot_chance_level=True
    )


def _of_each(display: Any) -> Callable[[Evidence, Any], None]:
    """One curve for each of the most common classes against all others."""

    def draw_each(evidence: Evidence, axes: Any) -> None:
        common = np.bincount(evidence.target).argsort()[::-1][:CURVES]
        for code in sorted(common):
            display.from_predictions(
                evidence.target == code,
                _probability(evidence)[:, code],
                ax=axes,
                name=str(evidence.classes[code]),
            )

    return draw_each


def _calibration(evidence: Evidence, axes: Any) -> None:
    CalibrationDisplay.from_predictions(
        evidence.target, _probability(evidence), n_bins=10, strategy="quantile", ax=axes
    )


def _confusion(evidence: Evidence, axes: Any) -> None:
    names = [str(name) for name in evidence.classes]
    metrics.ConfusionMatrixDisplay.from_predictions(
        evidence.target,
        evidence.answers.label,
        labels=np.arange(len(names)),
        display_labels=names,
        include_values=len(names) <= CURVES,
        ax=axes,
        colorbar=False,
        xticks_rotation="horizontal" if len(names) == 2 else "vertical",
    )


def _residuals(evidence: Evidence, axes: Any) -> None:
    """Of two classes: how far the mean outcome lies from the probability, in its tenths."""
    probability = _probability(evidence)
    bins = pd.qcut(probability, 10, labels=False, duplicates="drop")
    apart = pd.Series(evidence.target - probability).groupby(bins).agg(["mean", "sem"])
    middle = pd.Series(probability).groupby(bins).mean()
    axes.errorbar(middle, apart["mean"], yerr=1.96 * apart["sem"], fmt="o")
    axes.axhline(0, color="grey", linewidth=1)
    axes.set(xlabel="Predicted probability", ylabel="Outcome minus probability (95 % of rows)")


def _against(kind: str) -> Callable[[Evidence, Any], None]:
    """Of numbers: the outcome, or what is left of it, against the answer."""

    def draw_points(evidence: Evidence, axes: Any) -> None:
        metrics.PredictionErrorDisplay.from_predictions(
            y_true=evidence.target,
            y_pred=np.asarray(evidence.answers.label),
            kind=kind,
            subsample=ROWS,
            random_state=evidence.seed,
            scatter_kwargs={"s": 8, "alpha": 0.5},
            ax=axes,
        )

    return draw_points


def _importance(evidence: Evidence, axes: Any) -> None:
    count = len(evidence.inputs)
    chosen = np.arange(count)
    if count > ROWS:
        chosen = np.random.default_rng(evidence.seed).choice(count, ROWS, replace=False)

    def score(_: Any, inputs: pd.DataFrame, target: np.ndarray[Any, Any]) -> float:
        return evaluate.score(evidence.metric, evidence.ask(inputs), target)

    found = permutation_importance(
        _Asked(),
        evidence.inputs.iloc[chosen],
        evidence.target[chosen],
        scoring=score,
        n_repeats=REPEATS,
        random_state=evidence.seed,
    )
    order = np.argsort(found.importances_mean)[-COLUMNS:]
    names = evidence.inputs.columns[order]
    axes.barh(names, found.importances_mean[order], xerr=found.importances_std[order])
    axes.set(xlabel=f"Loss of {evidence.metric} when the column is shuffled")


class _Asked:
    """Stands for a fitted estimator where the scorer asks the model itself."""

    def fit(self) -> None:
        """Never called."""


def _learning_curve(evidence: Evidence, axes: Any) -> None:
    shares = [*SHARES, 1.0]
    scores = [*(evidence.fit_on(share) for share in SHARES), evidence.score]
    axes.plot([100 * share for share in shares], scores, marker="o")
    axes.set(xlabel="Training rows, %", ylabel=f"{evidence.metric} on the holdout")


def _folds(evidence: Evidence, axes: Any) -> None:
    scores = [fold.get(evidence.metric, np.nan) for fold in evidence.folds]
    axes.bar([str(number) for number in range(1, len(scores) + 1)], scores)
    axes.axhline(evidence.score, color="black", linewidth=1, label="holdout")
    axes.set(xlabel="Fold", ylabel=evidence.metric)
    axes.legend()


_ANY: Mapping[str, Callable[[Evidence, Any], None]] = {
    "permutation-importance": _importance,
    "learning-curve": _learning_curve,
    "folds": _folds,
}

PLOTS: Mapping[Kind, Mapping[str, Callable[[Evidence, Any], None]]] = {
    Kind.BINARY: {
        "roc": _roc,
        "precision-recall": _precision_recall,
        "calibration": _calibration,
        "confusion": _confusion,
        "residuals": _residuals,
        **_ANY,
    },
    Kind.CLASSES: {
        "roc": _of_each(metrics.RocCurveDisplay),
        "precision-recall": _of_each(metrics.PrecisionRecallDisplay),
        "confusion": _confusion,
        **_ANY,
    },
    Kind.NUMBER: {
        "actual": _against("actual_vs_predicted"),
        "residuals": _against("residual_vs_predicted"),
        **_ANY,
    },
}
"""The plots of a model by the kind of its target."""
