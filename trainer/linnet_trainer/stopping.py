"""Early stopping of boosted estimators: how many rounds, told by rows of the split's own axis.

The estimators would hold out random rows. Here the last fold inside the rows at hand holds them
out: the latest by time, whole groups, or rows with their copies. The rounds that are best there are
then made on all rows, so that the newest are learned from, too.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn.base import is_classifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.pipeline import Pipeline

from linnet_trainer import boosting, nesting
from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import Axis, Steps
from linnet_trainer.split import Within

AUTO = 10_000
"""scikit-learn's `early_stopping: auto` stops where there are more rows than this."""

_HISTOGRAM = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)
_ALIASES = (
    "early_stopping_round",
    "early_stopping_rounds",
    "early_stopping",
    "n_iter_no_change",
)
"""What LightGBM calls it; XGBoost has the second."""


def require_axis(estimator: Any, steps: Steps, by: Axis) -> None:
    """Refuse an estimator that would hold out random rows by itself where the split has an axis."""
    if by is Axis.RANDOM or isinstance(estimator, _HISTOGRAM) or steps.module is not None:
        return
    given = estimator.get_params()
    if "validation_fraction" not in given:
        return
    name = "early_stopping" if "early_stopping" in given else "n_iter_no_change"
    if given[name]:
        raise Refusal(
            Reason.UNKNOWN_ESTIMATOR,
            f"`pipeline.estimator.parameters`: with '{name}' {steps.estimator} holds out random "
            f"rows, and the split is by {by}: leave it out, or use HistGradientBoosting, lightgbm "
            "or xgboost, which are stopped by rows of that axis",
        )


def settle(
    pipeline: Pipeline,
    inputs: pd.DataFrame,
    target: np.ndarray[Any, Any],
    weight: np.ndarray[Any, Any] | None,
    within: Within,
) -> None:
    """Set the number of rounds of an unfitted pipeline that asks for early stopping."""
    estimator = pipeline.steps[-1][1]
    if not _asked(estimator, len(inputs)):
        return
    training, test = within.split(inputs)[-1]
    if is_classifier(estimator):
        # Nothing can be told of a class that no row taught.
        test = test[np.isin(target[test], target[training])]
    before = sklearn.clone(pipeline[:-1])
    shown = before.fit_transform(inputs.iloc[training], target[training])
    held = (before.transform(inputs.iloc[test]), target[test])
    options = {} if weight is None else {"sample_weight": weight[training]}
    estimator.set_params(
        **_rounds(sklearn.clone(estimator), shown, target[training], held, options)
    )


def rounds(model: Any) -> int | None:
    """Return how many rounds a fitted model was boosted, None for one that is not."""
    for each in nesting.parts(model):
        if isinstance(each, _HISTOGRAM) and hasattr(each, "n_iter_"):
            return int(each.n_iter_)
        if boosting.package_of(each) == "lightgbm" and hasattr(each, "fitted_"):
            return int(each.n_estimators_)
        if boosting.package_of(each) == "xgboost" and hasattr(each, "_Booster"):
            return int(each.get_booster().num_boosted_rounds())
    return None


def _asked(estimator: Any, rows: int) -> bool:
    given = estimator.get_params()
    if isinstance(estimator, _HISTOGRAM):
        asked = given["early_stopping"]
        return rows > AUTO if asked == "auto" else bool(asked)
    return bool(boosting.package_of(estimator)) and any(given.get(each) for each in _ALIASES)


def _rounds(
    estimator: Any, shown: Any, target: Any, held: tuple[Any, Any], options: dict[str, Any]
) -> dict[str, Any]:
    """Fit until the held-out rows get no better; return the parameters of the best round."""
    if isinstance(estimator, _HISTOGRAM):
        estimator.set_params(early_stopping=True)
        estimator.fit(shown, target, X_val=held[0], y_val=held[1], **options)
        # The first score is of no round at all.
        best = max(1, int(np.argmax(estimator.validation_score_)))
        return {"early_stopping": False, "max_iter": best}
    off = {each: None for each in _ALIASES if estimator.get_params().get(each)}
    if boosting.package_of(estimator) == "xgboost":
        estimator.fit(shown, target, eval_set=[held], verbose=False, **options)
        return {**off, "n_estimators": estimator.best_iteration + 1}
    with warnings.catch_warnings():
        # `eval_set` is deprecated for `eval_X` and `eval_y`; LightGBM 4.7 takes no names there.
        warnings.filterwarnings("ignore", message="The argument 'eval_set' is deprecated")
        estimator.fit(shown, target, eval_set=[held], **options)
    return {**dict.fromkeys(off, 0), "n_estimators": max(1, estimator.best_iteration_)}
