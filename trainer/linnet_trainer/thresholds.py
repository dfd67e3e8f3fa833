"""From probabilities to labels: the decision threshold of a classifier of two classes.

A threshold is tuned on rows that no fit saw, after calibration, and lies in the model itself. The
manifest repeats it, so that a server labels as the gates did: at the threshold or above it is the
positive class.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline

from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal

PLAIN = 0.5
"""Without a threshold the likelier class is the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """From which probability on the answer is the positive class."""

    value: float
    positive: Any


def tune(metric: str, answers: Any, codes: np.ndarray[Any, Any]) -> float:
    """Return the threshold on the probability of class 1 that scores best on these rows.

    `answers` is a fitted classifier of row numbers, `codes` are the rows' classes, 0 or 1.

    Raises:
        Refusal: all rows have one probability.
    """
    tuner = TunedThresholdClassifierCV(
        FrozenEstimator(answers),
        scoring=metric,
        response_method="predict_proba",
        cv="prefit",
        refit=False,
    )
    try:
        with warnings.catch_warnings():
            # At the ends no row is called positive, and some scorers warn of it.
            warnings.simplefilter("ignore")
            tuner.fit(np.arange(len(codes)), codes)
    except ValueError as error:
        raise Refusal(
            Reason.TRAINER_FAILED,
            f"`pipeline.thresholdMetric: {metric}`: no threshold can be tuned: {error}",
        ) from error
    return float(tuner.best_threshold_)


def settle(
    model: Any, threshold: Threshold, inputs: pd.DataFrame, values: np.ndarray[Any, Any]
) -> Pipeline:
    """Return the fitted model with its threshold; `inputs` and `values` are rows of both classes.

    At 0.5 the model stays as it is: a server answers the likelier class.
    """
    if threshold.value == PLAIN:
        return model
    decided = FixedThresholdClassifier(
        FrozenEstimator(model),
        threshold=threshold.value,
        pos_label=threshold.positive,
        response_method="predict_proba",
    )
    return Pipeline([("model", decided.fit(inputs, values))])


def of(model: Any, classes: Sequence[Any]) -> Threshold | None:
    """Return the threshold of a fitted classifier with these classes, in sort order.

    None where the likelier class is its answer.

    Raises:
        Refusal: its threshold is on something else than a probability.
    """
    last = model
    while isinstance(last, Pipeline):
        last = last.steps[-1][1]
    if isinstance(last, TunedThresholdClassifierCV):
        value, positive = last.best_threshold_, last._curve_scorer._get_pos_label()
    elif isinstance(last, FixedThresholdClassifier):
        value, positive = last.threshold, last.pos_label
    else:
        return None
    if last.response_method == "decision_function" or not hasattr(last, "predict_proba"):
        raise Refusal(
            Reason.TRAINER_FAILED,
            f"{type(last).__name__} has a threshold on its decision function, and a server knows "
            "probabilities: give it `response_method='predict_proba'`",
        )
    if value in ("auto", PLAIN):
        return None
    return Threshold(value=float(value), positive=classes[-1] if positive is None else positive)
