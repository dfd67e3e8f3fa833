"""The pipeline: one scikit-learn `Pipeline` from raw columns to probabilities.

The same object is cross-validated, fitted, logged and served. Estimators are scikit-learn's
classifiers by their short name; nothing is evaluated or imported by a name from the spec.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
)
from sklearn.utils import all_estimators, get_tags

from linnet_trainer.contract import Reason
from linnet_trainer.data import Feature
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import Steps

_IMPUTERS = {"Median": "median", "Mean": "mean", "MostFrequent": "most_frequent"}
_SCALERS = {
    "StandardScaler": StandardScaler,
    "RobustScaler": RobustScaler,
    "MinMaxScaler": MinMaxScaler,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The two classes of the target, in sort order; the last one is positive."""

    classes: tuple[Any, Any]
    type: str
    """`boolean`, `long`, `double` or `string`."""
    codes: np.ndarray[Any, np.dtype[np.int64]]
    """0 or 1 per row."""

    @property
    def values(self) -> np.ndarray[Any, Any]:
        """The target as the estimator sees it: the original classes."""
        dtype = object if self.type == "string" else None
        values: np.ndarray[Any, Any] = np.array(self.classes, dtype=dtype)[self.codes]
        return values


def read_target(values: pd.Series, name: str) -> Target:
    """Read a binary target.

    Raises:
        Refusal: it has one class, more than two, or values that are no classes.
    """
    column, kind = _target_column(values, name)
    classes = sorted(set(column.tolist()))
    shown = ", ".join(str(value) for value in classes[:5])
    if len(classes) == 1:
        raise Refusal(
            Reason.INVALID_DATA,
            f"`data.target`: all {len(values)} rows have {name} = {shown}; a classifier needs rows "
            "of both classes. Check the column and the window",
        )
    if len(classes) > 2:
        shown += ", …" if len(classes) > 5 else ""
        raise Refusal(
            Reason.TARGET_NOT_SUPPORTED,
            f"`data.target`: '{name}' has {len(classes)} different values ({shown}); this version "
            "of Linnet trains on targets with two classes",
        )
    codes = (column == classes[1]).astype(np.int64)
    return Target(classes=(classes[0], classes[1]), type=kind, codes=codes)


def make_estimator(steps: Steps, *, seed: int) -> Any:
    """Make the estimator that the spec names.

    Raises:
        Refusal: there is no such classifier, or it does not take these parameters.
    """
    known = dict(all_estimators(type_filter="classifier"))
    made = known.get(steps.estimator)
    if made is None:
        raise Refusal(Reason.UNKNOWN_ESTIMATOR, _unknown(steps.estimator, known))
    accepted = list(made._get_param_names())
    parameters = dict(steps.parameters)
    for name in parameters:
        if name not in accepted:
            near = difflib.get_close_matches(name, accepted, n=3, cutoff=0.5)
            hint = f"Did you mean {_or(near)}?" if near else f"It takes {', '.join(accepted)}"
            raise Refusal(
                Reason.UNKNOWN_ESTIMATOR,
                f"`pipeline.estimator.parameters`: {steps.estimator} has no parameter '{name}'. "
                f"{hint}",
            )
    if "random_state" in accepted:
        parameters.setdefault("random_state", seed)
    if steps.balance == "ClassWeight":
        if "class_weight" not in accepted:
            raise Refusal(
                Reason.UNKNOWN_ESTIMATOR,
                f"`pipeline.estimator.balance: ClassWeight`: {steps.estimator} has no parameter "
                "'class_weight'. Use 'None' or another estimator",
            )
        parameters.setdefault("class_weight", "balanced")
    try:
        estimator = made(**parameters)
        estimator._validate_params()
    except (TypeError, ValueError) as error:
        message = f"`pipeline.estimator.parameters`: {steps.estimator}: {error}"
        raise Refusal(Reason.UNKNOWN_ESTIMATOR, message) from error
    if not hasattr(estimator, "predict_proba"):
        raise Refusal(
            Reason.UNKNOWN_ESTIMATOR,
            f"`pipeline.estimator.class`: {steps.estimator} gives no probabilities with these "
            "parameters, and the server answers them. Use one that has 'predict_proba', such as "
            "LogisticRegression or HistGradientBoostingClassifier",
        )
    return estimator


def make_pipeline(steps: Steps, features: Sequence[Feature], *, seed: int) -> Pipeline:
    """Make the unfitted pipeline for these features.

    Raises:
        Refusal: as `make_estimator`.
    """
    estimator = make_estimator(steps, seed=seed)
    numeric = [feature.name for feature in features if feature.type == "double"]
    categorical = [feature.name for feature in features if feature.type == "string"]
    branches: list[tuple[str, Any, list[str]]] = []
    if numeric:
        branches.append(("numeric", _numeric(steps), numeric))
    if categorical:
        branches.append(("categorical", _encoder(steps), categorical))
    columns = ColumnTransformer(branches, remainder="drop")
    columns.set_output(transform="pandas")
    pipeline = Pipeline([("columns", columns), ("model", estimator)])
    _set_paths(pipeline, steps)
    return pipeline


def _set_paths(pipeline: Pipeline, steps: Steps) -> None:
    """Set what a search found, by path from the pipeline or from its estimator."""
    known = pipeline.get_params() if steps.paths else {}
    for path, value in steps.paths.items():
        place = next((each for each in (path, f"model__{path}") if each in known), None)
        if place is None:
            near = difflib.get_close_matches(path, known, n=3, cutoff=0.5)
            hint = f"Did you mean {_or(near)}?" if near else "Its steps are 'columns' and 'model'"
            raise Refusal(
                Reason.UNKNOWN_ESTIMATOR,
                f"`search.parameters`: the pipeline has no parameter '{path}'. {hint}",
            )
        pipeline.set_params(**{place: value})


def require_imputed(steps: Steps, inputs: pd.DataFrame, pipeline: Pipeline) -> None:
    """Refuse missing numbers that nobody fills in and the estimator does not take."""
    if steps.imputer != "None" or get_tags(pipeline.named_steps["model"]).input_tags.allow_nan:
        return
    numbers = inputs.select_dtypes("float64")
    missing = [name for name in numbers.columns if numbers[name].isna().any()]
    if missing:
        raise Refusal(
            Reason.INVALID_DATA,
            f"`pipeline.preprocess.imputer: None`: {', '.join(missing[:5])} have missing values "
            f"and {steps.estimator} takes none. Use an imputer",
        )


def fit(
    pipeline: Pipeline, inputs: pd.DataFrame, target: np.ndarray[Any, Any], steps: Steps
) -> tuple[Pipeline, tuple[str, ...]]:
    """Fit a clone; return it with the different warnings that it gave.

    Raises:
        Refusal: the estimator refuses its parameters or the data.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fitted = sklearn.clone(pipeline).fit(inputs, target)
        except (ValueError, TypeError, ArithmeticError) as error:
            message = (
                f"{steps.estimator} could not be fitted; check `pipeline.estimator.parameters`: "
                f"{str(error).splitlines()[0]}"
            )
            raise Refusal(Reason.TRAINER_FAILED, message) from error
    said = (
        f"{warning.category.__name__}: {str(warning.message).splitlines()[0]}" for warning in caught
    )
    return fitted, tuple(dict.fromkeys(said))


def _target_column(values: pd.Series, name: str) -> tuple[np.ndarray[Any, Any], str]:
    dtype = values.dtype
    if pd.api.types.is_bool_dtype(dtype):
        return values.to_numpy(dtype=bool), "boolean"
    if pd.api.types.is_integer_dtype(dtype):
        return values.to_numpy(dtype=np.int64), "long"
    if pd.api.types.is_float_dtype(dtype):
        floats = values.to_numpy(dtype=np.float64)
        if np.equal(np.mod(floats, 1), 0).all():
            return floats.astype(np.int64), "long"
        return floats, "double"
    if pd.api.types.infer_dtype(values, skipna=True) == "boolean":
        return values.to_numpy(dtype=bool), "boolean"
    if pd.api.types.is_object_dtype(dtype) or isinstance(
        dtype, pd.CategoricalDtype | pd.StringDtype
    ):
        return np.array([str(value) for value in values], dtype=object), "string"
    raise Refusal(
        Reason.TARGET_NOT_SUPPORTED,
        f"`data.target`: '{name}' is of type {dtype}; a target holds booleans, integers or texts",
    )


def _unknown(name: str, known: dict[str, Any]) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"Did you mean {_or(near)}?" if near else "Try LogisticRegression"
    if "." in name:
        hint = "Dotted names are not supported by this version of Linnet: use the short name"
    return f"`pipeline.estimator.class`: scikit-learn has no classifier '{name}'. {hint}"


def _or(names: Sequence[str]) -> str:
    return " or ".join(f"'{name}'" for name in names)


def _numeric(steps: Steps) -> Any:
    parts: list[tuple[str, Any]] = []
    if steps.imputer != "None":
        imputer = SimpleImputer(strategy=_IMPUTERS[steps.imputer], keep_empty_features=True)
        parts.append(("imputer", imputer))
    if steps.scaler != "None":
        parts.append(("scaler", _SCALERS[steps.scaler]()))
    return Pipeline(parts) if parts else "passthrough"


def _encoder(steps: Steps) -> Any:
    if steps.encoder == "OneHotEncoder":
        return OneHotEncoder(sparse_output=False, handle_unknown="ignore")
    if steps.encoder == "OrdinalEncoder":
        return OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
        )
    raise Refusal(
        Reason.TRAINER_FAILED,
        f"spec.pipeline.preprocess.encoder '{steps.encoder}' is not supported by this version of "
        "the trainer: use 'OneHotEncoder'",
    )
