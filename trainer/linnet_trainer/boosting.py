"""Estimators of LightGBM and XGBoost: found by dotted name, fitted as scikit-learn's are.

They are of the extra `boosting`. Nothing else is imported by a name from the spec.
"""

from __future__ import annotations

import difflib
import importlib
import itertools
from collections.abc import Collection
from importlib import metadata
from typing import Any

import numpy as np
import pandas as pd
from sklearn.pipeline import Pipeline

from linnet_trainer import nesting
from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal

CLASSES = {
    "lightgbm": {"classifier": "LGBMClassifier", "regressor": "LGBMRegressor"},
    "xgboost": {"classifier": "XGBClassifier", "regressor": "XGBRegressor"},
}
"""The estimators by package and kind."""

_DISTRIBUTIONS = {"lightgbm": ("lightgbm",), "xgboost": ("xgboost-cpu", "xgboost")}


def package_of(estimator: Any) -> str:
    """Return `lightgbm` or `xgboost` for an estimator of theirs, else an empty text."""
    package = type(estimator).__module__.partition(".")[0]
    return package if package in CLASSES else ""


def dotted(kind: str) -> list[str]:
    """Return the dotted names of the estimators of a kind."""
    return [f"{package}.{names[kind]}" for package, names in CLASSES.items() if kind in names]


def find(name: str, kind: str) -> Any:
    """Return the class of a dotted name.

    Raises:
        Refusal: it is not of these, or its package is not installed.
    """
    package = name.partition(".")[0]
    if name not in dotted(kind):
        near = difflib.get_close_matches(name, dotted(kind), n=1, cutoff=0) or dotted(kind)
        raise Refusal(
            Reason.UNKNOWN_ESTIMATOR,
            f"`pipeline.estimator.class`: there is no {kind} '{name}'; dotted names are "
            f"{' and '.join(dotted(kind))}. Did you mean '{near[0]}'?",
        )
    try:
        return getattr(importlib.import_module(package), name.partition(".")[2])
    except ImportError as error:
        raise Refusal(
            Reason.UNKNOWN_ESTIMATOR,
            f"`pipeline.estimator.class`: {name} needs {package}, which this image lacks "
            f"({error}). Set `template.image` to one with the extra 'boosting' "
            "(pip install 'linnet[trainer,boosting]'), for training and for serving",
        ) from error


def accepted(made: Any) -> Collection[str]:
    """Return the parameters that a class takes, the aliases of LightGBM's own among them."""
    known = list(made().get_params())
    if made.__module__.startswith("lightgbm."):
        from lightgbm.basic import _ConfigAliases

        aliases = _ConfigAliases._get_all_param_aliases()
        known += [*aliases, *itertools.chain(*aliases.values())]
    return dict.fromkeys(known)


def defaults(made: Any) -> dict[str, Any]:
    """Return parameters that keep a class quiet and make it give the same model twice."""
    if made.__module__.startswith("lightgbm."):
        return {"verbosity": -1, "deterministic": True, "force_row_wise": True}
    return {"verbosity": 0}


def wants_codes(estimator: Any) -> bool:
    """Return whether an estimator takes classes by their numbers only."""
    return type(estimator).__name__ == CLASSES["xgboost"]["classifier"]


def give_names(fitted: Pipeline, inputs: pd.DataFrame, target: np.ndarray[Any, Any]) -> Pipeline:
    """Return a classifier, fitted on the places of `target`'s sorted classes, with their names."""
    # Heavy, and the monitor, which reads manifests, has no use for it.
    from sklearn.ensemble import VotingClassifier
    from sklearn.frozen import FrozenEstimator

    named = VotingClassifier([("model", FrozenEstimator(fitted))], voting="soft")
    return Pipeline([("model", named.fit(inputs, target))])


def libraries(model: Any) -> dict[str, str]:
    """Return which distributions a model needs beside scikit-learn's, with their versions."""
    found = {}
    for package in sorted({package_of(each) for each in nesting.parts(model)} - {""}):
        for name in _DISTRIBUTIONS[package]:
            try:
                found[name] = metadata.version(name)
                break
            except metadata.PackageNotFoundError:
                continue
    return found
