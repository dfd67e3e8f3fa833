"""The pipeline: one scikit-learn `Pipeline` from raw columns to probabilities or numbers.

The same object is cross-validated, fitted, logged and served. Estimators are scikit-learn's
classifiers and regressors by their short name; nothing is evaluated or imported by a name from the
spec.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import sklearn
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import HDBSCAN
from sklearn.compose import ColumnTransformer
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import (
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    RobustScaler,
    StandardScaler,
    TargetEncoder,
)
from sklearn.utils import all_estimators, get_tags

from linnet_trainer import boosting, nesting, split, stopping, weights
from linnet_trainer import module as modules
from linnet_trainer.contract import Reason
from linnet_trainer.data import Feature
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import Steps, Task

WORDS = 1000
"""So many of a text column's most frequent words are features, unless a search says otherwise."""

_KINDS = {Task.CLASSIFICATION: "classifier", Task.REGRESSION: "regressor"}
_COMMON = {"classifier": "LogisticRegression", "regressor": "Ridge", "clustering": "HDBSCAN"}
"""An estimator to try, by kind."""
_IMPUTERS = {"Median": "median", "Mean": "mean", "MostFrequent": "most_frequent"}
_SCALERS = {
    "StandardScaler": StandardScaler,
    "RobustScaler": RobustScaler,
    "MinMaxScaler": MinMaxScaler,
}


def make_estimator(steps: Steps, *, seed: int) -> Any:
    """Make the estimator that the spec names.

    Raises:
        Refusal: there is no such estimator for the task, or it does not take these parameters.
    """
    if steps.module is not None:
        method = "predict_proba" if steps.task is Task.CLASSIFICATION else "predict"
        return modules.make(steps.module, steps.parameters, seed=seed, method=method)
    made, accepted, parameters = _class(steps)
    for name in parameters:
        if name not in accepted:
            near = difflib.get_close_matches(name, accepted, n=3, cutoff=0.5)
            hint = f"Did you mean {_or(near)}?" if near else f"It takes {', '.join(accepted[:80])}"
            raise Refusal(
                Reason.UNKNOWN_ESTIMATOR,
                f"`pipeline.estimator.parameters`: {steps.estimator} has no parameter '{name}'. "
                f"{hint}",
            )
    if steps.task is Task.CLUSTERING:
        # Its default changes with scikit-learn 1.10.
        parameters.setdefault("copy", True)
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
        if not boosting.package_of(estimator):
            estimator._validate_params()
    except (TypeError, ValueError) as error:
        message = f"`pipeline.estimator.parameters`: {steps.estimator}: {error}"
        raise Refusal(Reason.UNKNOWN_ESTIMATOR, message) from error
    if steps.task is Task.CLASSIFICATION and not hasattr(estimator, "predict_proba"):
        raise Refusal(
            Reason.UNKNOWN_ESTIMATOR,
            f"`pipeline.estimator.class`: {steps.estimator} gives no probabilities with these "
            "parameters, and the server answers them. Use one that has 'predict_proba', such as "
            "LogisticRegression or HistGradientBoostingClassifier",
        )
    return estimator


def _known(task: Task) -> tuple[str, dict[str, Any]]:
    """What the estimators of a task are called, and those that there are."""
    if task is Task.CLUSTERING:
        return "clustering", {"HDBSCAN": HDBSCAN}
    return _KINDS[task], dict(all_estimators(type_filter=_KINDS[task]))


def _class(steps: Steps) -> tuple[Any, Sequence[str], dict[str, Any]]:
    """The estimator's class, the parameters that it takes, and those that it gets."""
    if "." in steps.estimator and steps.task is not Task.CLUSTERING:
        made = boosting.find(steps.estimator, _KINDS[steps.task])
        return made, list(boosting.accepted(made)), {**boosting.defaults(made), **steps.parameters}
    kind, known = _known(steps.task)
    if steps.estimator not in known:
        raise Refusal(Reason.UNKNOWN_ESTIMATOR, _unknown(steps.estimator, known, kind))
    made = known[steps.estimator]
    return made, list(made._get_param_names()), dict(steps.parameters)


def make_pipeline(steps: Steps, features: Sequence[Feature], *, seed: int) -> Pipeline:
    """Make the unfitted pipeline for these features.

    Raises:
        Refusal: as `make_estimator`.
    """
    estimator = make_estimator(steps, seed=seed)
    if steps.module is not None:
        # The same shape as ours, with one step: the user's estimator takes the raw columns.
        pipeline = Pipeline([("model", estimator)])
        _set_paths(pipeline, steps)
        return pipeline
    numeric = [feature.name for feature in features if feature.type == "double"]
    text = [feature.name for feature in features if feature.name in steps.columns.text]
    categorical = [
        feature.name
        for feature in features
        if feature.type == "string" and feature.name not in text
    ]
    branches: list[tuple[str, Any, list[str]]] = []
    if numeric:
        branches.append(("numeric", _numeric(steps), numeric))
    if categorical:
        branches.append(("categorical", _encoder(steps), categorical))
    columns = ColumnTransformer(branches, remainder="drop")
    # Words are many and mostly absent: an estimator that takes a sparse matrix gets one, which no
    # data frame can be. The text's own steps have no data frame to give either way.
    sparse = bool(text) and get_tags(estimator).input_tags.sparse
    # LightGBM and XGBoost refuse names with ',', ':' or '[' in them, as categories may have.
    if not sparse and not boosting.package_of(estimator):
        columns.set_output(transform="pandas")
    if text:
        columns.transformers.append(("text", _text(text, sparse), text))
        columns.sparse_threshold = 1.0 if sparse else 0.0
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
    pipeline: Pipeline,
    inputs: pd.DataFrame,
    target: np.ndarray[Any, Any] | None,
    steps: Steps,
    weight: np.ndarray[Any, Any] | None = None,
    *,
    within: split.Within | None = None,
) -> tuple[Pipeline, tuple[str, ...]]:
    """Fit a clone, its last step with the rows' weights; return it with the warnings that it gave.

    `within` makes the folds inside these rows that calibration and a TargetEncoder rest on.

    Raises:
        Refusal: the estimator refuses its parameters or the data.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            fitted = _fitted(sklearn.clone(pipeline), inputs, target, steps, weight, within)
        except Exception as error:
            # Whatever a module raises is its author's to mend.
            if isinstance(error, Refusal):
                raise
            known = isinstance(error, ValueError | TypeError | ArithmeticError)
            known |= type(error).__name__ == "LightGBMError"
            if steps.module is None and not known:
                raise
            said = modules.clean(str(error)).splitlines() or [type(error).__name__]
            field = "pipeline.estimator.parameters" if steps.module is None else "module.entry"
            if "empty vocabulary" in said[0] and steps.columns.text:
                field = "pipeline.columns.text"
            message = f"{steps.estimator} could not be fitted; check `{field}`: {said[0]}"
            raise Refusal(Reason.TRAINER_FAILED, message) from error
    told = (
        f"{warning.category.__name__}: {str(warning.message).splitlines()[0]}" for warning in caught
    )
    return fitted, tuple(dict.fromkeys(told))


def _fitted(
    pipeline: Pipeline,
    inputs: pd.DataFrame,
    target: np.ndarray[Any, Any] | None,
    steps: Steps,
    weight: np.ndarray[Any, Any] | None,
    within: split.Within | None,
) -> Pipeline:
    """Fit this pipeline, by the numbers of the classes where the estimator wants those."""
    if target is None:
        return _finished(weights.fit(pipeline, inputs, None, weight))
    coded = steps.module is None and boosting.wants_codes(pipeline.steps[-1][1])
    seen = np.unique(target, return_inverse=True)[1] if coded else target
    if within is not None and steps.module is None:
        _cross(pipeline, within)
        stopping.settle(pipeline, inputs, seen, weight, within)
    model = _calibrated(pipeline, steps, within)
    fitted = _finished(weights.fit(model, inputs, seen, weight))
    return boosting.give_names(fitted, inputs, target) if coded else fitted


def _cross(pipeline: Pipeline, within: split.Within) -> None:
    """Let a TargetEncoder encode each row by rows of other folds."""
    for each in nesting.parts(pipeline):
        if isinstance(each, TargetEncoder):
            each.cv = within.cover()


def _calibrated(pipeline: Pipeline, steps: Steps, within: split.Within | None) -> Any:
    """The pipeline, or what calibrates it on the rows that each fold leaves out."""
    if steps.calibration == "None":
        return pipeline
    return CalibratedClassifierCV(
        pipeline, method=steps.calibration.lower(), cv=within, ensemble=True
    )


def _finished(fitted: Any) -> Pipeline:
    """A fitted model as a pipeline, without what only the fit needed."""
    for each in nesting.parts(fitted):
        if isinstance(getattr(each, "cv", None), split.Within):
            # It holds the whole table, and no server needs it.
            each.cv = None
    return fitted if isinstance(fitted, Pipeline) else Pipeline([("model", fitted)])


def _unknown(name: str, known: dict[str, Any], kind: str) -> str:
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    hint = f"Did you mean {_or(near)}?" if near else f"Try {_COMMON[kind]}"
    for other in boosting.dotted(kind):
        if other.endswith(f".{name}"):
            hint = f"Write '{other}'"
    owner = "Linnet" if kind == "clustering" else "scikit-learn"
    return f"`pipeline.estimator.class`: {owner} has no {kind} '{name}'. {hint}"


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


def _text(names: Sequence[str], sparse: bool) -> Any:
    """TF-IDF of each column by itself; a missing text has no words."""
    imputer = SimpleImputer(
        strategy="constant", fill_value="", missing_values=None, keep_empty_features=True
    )
    imputer.set_output(transform="pandas")
    branches = []
    taken = set(ColumnTransformer([]).get_params(deep=False))
    for number, name in enumerate(names):
        plain = name.isidentifier() and "__" not in name and name not in taken
        words = TfidfVectorizer(max_features=WORDS)
        branches.append((name if plain else f"column{number}", words, name))
    tfidf = ColumnTransformer(branches, sparse_threshold=1.0 if sparse else 0.0)
    return Pipeline([("imputer", imputer), ("tfidf", tfidf)])


def _encoder(steps: Steps) -> Any:
    if steps.encoder == "OneHotEncoder":
        return OneHotEncoder(sparse_output=False, handle_unknown="ignore")
    if steps.encoder == "OrdinalEncoder":
        return OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2
        )
    # Whole numbers would be taken for classes, also where they are what a regression predicts.
    kind = "continuous" if steps.task is Task.REGRESSION else "auto"
    return TargetEncoder(target_type=kind)
