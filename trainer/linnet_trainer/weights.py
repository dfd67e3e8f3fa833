"""The weight of each row: from its column into the fit of the estimator, and into nothing else.

Metrics count every row once, and so do the steps before the estimator. The weight goes by
scikit-learn's metadata routing; with a TargetEncoder in the pipeline, where routing fails
(scikit-learn 1.9.1 raises `KeyError: 'groups'`), as a parameter of the last step by its name.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.preprocessing import TargetEncoder
from sklearn.utils.validation import has_fit_parameter

from linnet_trainer import nesting
from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import Steps


def read(values: pd.Series, name: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Read the column `data.weight`; shape [rows], finite, none below 0.

    Raises:
        Refusal: a weight is no such number, or all are 0.
    """
    if not pd.api.types.is_numeric_dtype(values.dtype):
        raise Refusal(
            Reason.INVALID_DATA,
            f"`data.weight` names '{name}', whose type is {values.dtype}: a weight is a number",
        )
    weights: np.ndarray[Any, np.dtype[np.float64]] = values.to_numpy(dtype=np.float64)
    wrong = int((~np.isfinite(weights) | (weights < 0)).sum())
    if wrong:
        raise Refusal(
            Reason.INVALID_DATA,
            f"`data.weight`: {wrong} of {len(weights)} rows have a weight in '{name}' that is "
            "below 0 or infinite: correct the column",
        )
    if not weights.any():
        raise Refusal(
            Reason.INVALID_DATA,
            f"`data.weight`: all {len(weights)} rows have weight 0 in '{name}': correct the column",
        )
    return weights


def require_taken(estimator: Any, steps: Steps, name: str) -> None:
    """Refuse an estimator that cannot be given weights."""
    if not has_fit_parameter(estimator, "sample_weight"):
        raise Refusal(
            Reason.UNKNOWN_ESTIMATOR,
            f"`data.weight` names '{name}', and {steps.estimator} takes no sample_weight: remove "
            "`data.weight`, or use an estimator that takes it, such as LogisticRegression, Ridge "
            "or HistGradientBoostingClassifier",
        )


def fit(
    model: Any,
    inputs: pd.DataFrame,
    target: np.ndarray[Any, Any] | None,
    weights: np.ndarray[Any, np.dtype[np.float64]] | None,
) -> Any:
    """Fit a pipeline, calibrated or not, its last step with the weights, if there are any.

    It is fitted itself, and returned.
    """
    if weights is None:
        return model.fit(inputs, target)
    if any(isinstance(each, TargetEncoder) for each in nesting.parts(model)):
        return by_prefix(model, inputs, target, weights)
    return by_routing(model, inputs, target, weights)


def by_prefix(model: Any, inputs: Any, target: Any, weights: Any) -> Any:
    """Fit with the weights as a parameter of the last step by its name, and of calibration."""
    if not isinstance(model, CalibratedClassifierCV):
        name = model.steps[-1][0]
        return model.fit(inputs, target, **{f"{name}__sample_weight": weights})
    name = model.estimator.steps[-1][0]
    with warnings.catch_warnings():
        # It looks for `sample_weight` in the pipeline's `fit`, where it stands by the step's name.
        warnings.filterwarnings("ignore", message="Since Pipeline does not appear to accept")
        return model.fit(
            inputs, target, sample_weight=weights, **{f"{name}__sample_weight": weights}
        )


def by_routing(model: Any, inputs: Any, target: Any, weights: Any) -> Any:
    """Fit with the weights routed to the last step and to calibration; what else could take them is
    told not to."""
    calibrated = isinstance(model, CalibratedClassifierCV)
    last = (model.estimator if calibrated else model).steps[-1][1]
    weighted = {id(each) for each in nesting.parts(last)} | ({id(model)} if calibrated else set())
    with sklearn.config_context(enable_metadata_routing=True):
        takers = [each for each in nesting.parts(model) if has_fit_parameter(each, "sample_weight")]
        for each in takers:
            each.set_fit_request(sample_weight=id(each) in weighted)
        fitted = model.fit(inputs, target, sample_weight=weights)
    for each in nesting.parts(fitted):
        # A request says how a fit is called, not what was learned, and skops cannot store it.
        vars(each).pop("_metadata_request", None)
    return fitted
