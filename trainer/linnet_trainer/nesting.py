"""What an estimator is made of: pipelines, columns, and estimators that hold others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sklearn.base import BaseEstimator


def parts(estimator: Any) -> Iterator[Any]:
    """Yield an estimator with all that are nested in it, the fitted clones of some too."""
    yield estimator
    below = list(estimator.get_params(deep=False).values())
    below += [each for _, each in getattr(estimator, "steps", ())]
    below += [each[1] for each in getattr(estimator, "transformers", ())]
    below += [each[1] for each in getattr(estimator, "transformers_", ())]
    below += [each for _, each in getattr(estimator, "estimators", ())]
    below += [each.estimator for each in getattr(estimator, "calibrated_classifiers_", ())]
    for each in below:
        if isinstance(each, BaseEstimator):
            yield from parts(each)
