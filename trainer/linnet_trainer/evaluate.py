"""What the model is worth: scikit-learn's scorers on the holdout, and on every fold.

Scorers see a stand-in with the answers that were computed once, so that a gate can score any subset
of rows without predicting again, and classes of any type are scored as codes from 0 on.
"""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer, get_scorer_names

from linnet_trainer import thresholds
from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal
from linnet_trainer.targets import Kind, kind_of

GATE_METRIC = "gates[].metric"
"""The field of the spec that names a metric, unless another does."""

STANDARD = {
    Kind.BINARY: (
        "roc_auc",
        "average_precision",
        "neg_log_loss",
        "neg_brier_score",
        "accuracy",
        "balanced_accuracy",
        "f1",
        "precision",
        "recall",
    ),
    Kind.CLASSES: (
        "roc_auc_ovr",
        "neg_log_loss",
        "accuracy",
        "balanced_accuracy",
        "f1_macro",
        "precision_macro",
        "recall_macro",
    ),
    Kind.NUMBER: (
        "r2",
        "neg_root_mean_squared_error",
        "neg_mean_absolute_error",
        "neg_median_absolute_error",
        "explained_variance",
        "neg_max_error",
    ),
}
"""What is measured of every model; the first one leads where no gate has a metric."""

LOSSES: Mapping[str, Callable[[Any, Any], Any]] = {
    "neg_mean_absolute_error": lambda truth, number: np.abs(truth - number),
    "neg_mean_squared_error": lambda truth, number: (truth - number) ** 2,
}
"""Metrics that are the mean of one loss per row, with that loss: `(truth, answers) -> [rows]`."""


class Answers(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A model's answers for numbered rows, in the shape of a fitted classifier of codes."""

    def __init__(self, probability: Any = None, label: Any = None) -> None:
        self.probability = probability
        """Probability of class 1 per row, shape [rows]; of more than two classes that of each,
        [rows, classes]."""
        self.label = label
        """The class per row, from 0 on."""

    @property
    def classes_(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The encoded classes."""
        shape = np.shape(self.probability)
        return np.arange(shape[1] if len(shape) == 2 else 2)

    def predict_proba(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return all classes' probabilities for the rows of these numbers: [rows, classes]."""
        given: np.ndarray[Any, Any] = np.asarray(self.probability)[rows]
        return given if given.ndim == 2 else np.column_stack([1 - given, given])

    def predict(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the labels of the rows of these numbers."""
        labels: np.ndarray[Any, Any] = np.asarray(self.label)[rows]
        return labels

    def of(self, rows: np.ndarray[Any, Any]) -> Answers:
        """Return the answers for the rows of these numbers alone."""
        probability = np.asarray(self.probability)[rows]
        return Answers(probability=probability, label=self.predict(rows))


class Numbers(RegressorMixin, BaseEstimator):  # type: ignore[misc]
    """A model's answers for numbered rows, in the shape of a fitted regressor."""

    def __init__(self, label: Any = None) -> None:
        self.label = label
        """The number per row."""

    def predict(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the numbers of the rows of these numbers."""
        numbers: np.ndarray[Any, Any] = np.asarray(self.label)[rows]
        return numbers

    def of(self, rows: np.ndarray[Any, Any]) -> Numbers:
        """Return the answers for the rows of these numbers alone."""
        return Numbers(label=self.predict(rows))


Given: TypeAlias = Answers | Numbers


def answer(model: Any, inputs: Any, classes: tuple[Any, ...]) -> Given:
    """Let a fitted model answer all rows of `inputs`, at its threshold if it has one.

    `classes` are the model's by code, empty for a regressor. A class that the model was not fitted
    on has probability 0.

    Raises:
        Refusal: an answer is no finite number.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if not classes:
            return Numbers(label=_finite(np.ravel(model.predict(inputs)), "answers"))
        given = _finite(model.predict_proba(inputs), "probabilities")
    names = model.classes_.tolist()
    codes = np.array([classes.index(name) for name in names])
    # The likelier class, as the server answers; a few estimators' `predict` says otherwise.
    label = codes[given.argmax(axis=1)]
    if threshold := thresholds.of(model, names):
        positive = classes.index(threshold.positive)
        reached = given[:, names.index(threshold.positive)] >= threshold.value
        label = np.where(reached, positive, 1 - positive)
    probability = np.zeros((len(given), len(classes)))
    probability[:, codes] = given
    if len(classes) == 2:
        probability = probability[:, 1]
    return Answers(probability=probability, label=label)


def _finite(answers: Any, name: str) -> Any:
    if not np.isfinite(answers).all():
        raise Refusal(
            Reason.TRAINER_FAILED, f"the model's {name} are not finite: check its parameters"
        )
    return answers


def signal(answers: Given) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Return one number per row that stands for the answer.

    The probability of class 1 of two, the code of the likeliest of more, or the number itself.
    """
    if isinstance(answers, Answers) and np.ndim(answers.probability) == 1:
        return np.asarray(answers.probability, dtype=np.float64)
    return np.asarray(answers.label, dtype=np.float64)


def require_scorers(names: Iterable[str], *, field: str = GATE_METRIC) -> None:
    """Refuse a metric that scikit-learn does not know; `field` of the spec names it."""
    known = get_scorer_names()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
            hint = f" Did you mean {' or '.join(repr(other) for other in near)}?" if near else ""
            raise Refusal(
                Reason.TRAINER_FAILED,
                f"`{field}`: scikit-learn has no scorer '{name}'.{hint}",
            )


def require_fit(
    metrics: Iterable[str], classes: tuple[Any, ...], *, field: str = GATE_METRIC
) -> None:
    """Refuse a metric that does not suit the target, before anything is fitted."""
    if classes:
        truth = np.tile(np.arange(len(classes)), 2)
        shares = np.full((len(truth), len(classes)), 1 / len(classes))
        example: Given = Answers(
            probability=shares[:, 1] if len(classes) == 2 else shares, label=truth
        )
    else:
        # No whole numbers: a scorer of classes would take those for classes.
        truth = np.array([0.25, 1.5, 2.75])
        example = Numbers(label=truth)
    for metric in metrics:
        score(metric, example, truth, field=field)


def judges_labels(metric: str) -> bool:
    """Return whether a scorer asks for labels, so that a threshold moves it."""
    return bool(get_scorer(metric)._response_method == "predict")


def require_labels(metric: str, classes: tuple[Any, ...], *, field: str) -> None:
    """Refuse a metric that no threshold moves, or a target that has none; `field` names it."""
    if len(classes) != 2:
        raise Refusal(
            Reason.TARGET_NOT_SUPPORTED,
            f"`{field}: {metric}`: a threshold is for a target of two classes, this one has "
            f"{len(classes)}: remove it",
        )
    if not judges_labels(metric):
        raise Refusal(
            Reason.TRAINER_FAILED,
            f"`{field}: {metric}` judges probabilities, and a threshold moves labels alone: use a "
            "scorer of labels, such as f1, balanced_accuracy or matthews_corrcoef",
        )


def score(
    metric: str,
    answers: Given,
    target: np.ndarray[Any, Any],
    rows: np.ndarray[Any, Any] | None = None,
    *,
    field: str = GATE_METRIC,
) -> float:
    """Score answers against `target` (its codes per row), on all rows or on those numbered.

    NaN where the metric is not defined, as for AUC on rows of one class.

    Raises:
        Refusal: the metric is not for such a target.
    """
    chosen = np.arange(len(target)) if rows is None else rows
    classes = tuple(answers.classes_) if isinstance(answers, Answers) else ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return float(get_scorer(metric)(answers, chosen, target[chosen]))
        except (ValueError, TypeError, AttributeError) as error:
            if len(np.unique(target[chosen])) < len(classes):
                return math.nan
            kind = kind_of(classes)
            raise Refusal(
                Reason.TRAINER_FAILED,
                f"`{field}`: scorer '{metric}' does not fit a {kind}: {error}. It takes "
                f"{', '.join(STANDARD[kind])} and others",
            ) from error


def score_all(
    metrics: Sequence[str], answers: Given, target: np.ndarray[Any, Any]
) -> dict[str, float]:
    """Score the metrics of the gates first, then the standard ones, without those undefined."""
    kind = kind_of(tuple(answers.classes_) if isinstance(answers, Answers) else ())
    return score_each([*metrics, *STANDARD[kind]], answers, target)


def score_each(
    metrics: Iterable[str], answers: Given, target: np.ndarray[Any, Any]
) -> dict[str, float]:
    """Score these metrics and no other, without those undefined."""
    scores = {name: score(name, answers, target) for name in dict.fromkeys(metrics)}
    return {name: value for name, value in scores.items() if not math.isnan(value)}
