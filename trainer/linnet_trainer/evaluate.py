"""What the model is worth: scikit-learn's scorers on the holdout, and on every fold.

Scorers see a stand-in with the answers that were computed once, so that a gate can score any subset
of rows without predicting again, and classes of any type are scored as 0 and 1.
"""

from __future__ import annotations

import difflib
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import get_scorer, get_scorer_names

from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal

STANDARD = (
    "roc_auc",
    "average_precision",
    "neg_log_loss",
    "neg_brier_score",
    "accuracy",
    "balanced_accuracy",
    "f1",
    "precision",
    "recall",
)


class Answers(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A model's answers for numbered rows, in the shape of a fitted classifier of 0 and 1."""

    def __init__(self, probability: Any = None, label: Any = None) -> None:
        self.probability = probability
        """Probability of class 1 per row."""
        self.label = label
        """0 or 1 per row."""

    @property
    def classes_(self) -> np.ndarray[Any, np.dtype[np.int64]]:
        """The encoded classes."""
        return np.array([0, 1])

    def predict_proba(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return both classes' probabilities for the rows of these numbers."""
        positive = np.asarray(self.probability)[rows]
        both: np.ndarray[Any, Any] = np.column_stack([1 - positive, positive])
        return both

    def predict(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """Return the labels of the rows of these numbers."""
        labels: np.ndarray[Any, Any] = np.asarray(self.label)[rows]
        return labels


def answer(model: Any, inputs: Any, positive: Any) -> Answers:
    """Let a fitted classifier answer all rows of `inputs`; `positive` is its class 1.

    Raises:
        Refusal: an answer is no number.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        both = model.predict_proba(inputs)
    place = list(model.classes_).index(positive)
    probability = both[:, place]
    # The likelier class, as the server answers; a few estimators' `predict` says otherwise.
    label = (both.argmax(axis=1) == place).astype(np.int64)
    if not np.isfinite(probability).all():
        raise Refusal(
            Reason.TRAINER_FAILED, "the model's probabilities are not finite: check its parameters"
        )
    return Answers(probability=probability, label=label)


def require_scorers(names: Iterable[str], *, field: str = "gates[].metric") -> None:
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


def score(
    metric: str,
    answers: Answers,
    target: np.ndarray[Any, Any],
    rows: np.ndarray[Any, Any] | None = None,
) -> float:
    """Score answers against `target` (0 or 1 per row), on all rows or on those numbered.

    NaN where the metric is not defined, as for AUC on rows of one class.

    Raises:
        Refusal: the metric is not for binary classification.
    """
    chosen = np.arange(len(target)) if rows is None else rows
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return float(get_scorer(metric)(answers, chosen, target[chosen]))
        except (ValueError, TypeError, AttributeError) as error:
            if len(np.unique(target[chosen])) < 2:
                return math.nan
            raise Refusal(
                Reason.TRAINER_FAILED,
                f"`gates[].metric`: scorer '{metric}' does not fit a binary classifier: {error}",
            ) from error


def score_all(
    metrics: Sequence[str], answers: Answers, target: np.ndarray[Any, Any]
) -> dict[str, float]:
    """Score the metrics of the gates first, then the standard ones, without those undefined."""
    names = dict.fromkeys([*metrics, *STANDARD])
    scores = {name: score(name, answers, target) for name in names}
    return {name: value for name, value in scores.items() if not math.isnan(value)}
