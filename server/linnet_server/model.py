"""The model of this pod: loaded from a file under our own list of types, checked, warmed.

Rows come in as lists in the manifest's column order with None for a missing value; labels and
probabilities go out as plain Python values. Everything here runs in one worker thread.
"""

import importlib.util
import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy
import pandas
import sklearn
import skops.io
from sklearn.base import is_classifier, is_regressor
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline

from linnet_server import contract, manifests, trust
from linnet_server.batching import Predictions
from linnet_server.manifests import Column, Manifest

TOLERANCE = 1e-6
"""How far a probability may lie from the sample's: room for another BLAS and for trees that add up
in single precision, not for another model."""

BOOSTERS = ("lightgbm", "xgboost", "xgboost-cpu")
"""Distributions that a manifest may name; each is imported by the first word of its name."""

Row = Sequence[Any]

_DECIDING = (FixedThresholdClassifier, TunedThresholdClassifierCV)


class LoadFailed(Exception):
    """The model cannot be loaded here (exit code 30)."""


class SelfCheckFailed(Exception):
    """The model does not reproduce its samples (exit code 31)."""


class Model:
    """An estimator with its columns; calls take and give plain values."""

    def __init__(self, estimator: Any, manifest: Manifest, summary: dict[str, str]) -> None:
        self.columns: tuple[Column, ...] = manifest.columns
        self.format = summary["format"]
        self.provenance = summary["provenance"]
        self.manifested = bool(manifest.files)
        """Whether the trainer wrote the manifest; that of an adopted model is made of `MLmodel`."""
        self.feature_service = manifest.feature_service
        self.feature_digest = manifest.feature_digest
        self.task = manifest.task or _task_of(estimator)
        self.positive: int | None = None
        """Index of the positive class; None for more than two classes and for regression."""
        self._estimator = estimator
        self._threshold = manifest.threshold
        # A model that Linnet did not train has no threshold in its manifest, but may in itself.
        self._decides = isinstance(_last(estimator), _DECIDING)
        fitted = getattr(estimator, "feature_names_in_", None)
        self._names = None if fitted is None else [str(name) for name in fitted]
        known = {column.name: index for index, column in enumerate(self.columns)}
        if self._names is None and any(column.type != "double" for column in self.columns):
            # A model fitted without names saw one array: the manifest's order is all there is.
            self._names = list(known)
        if self._names is not None and set(self._names) != set(known):
            differing = sorted(set(self._names) ^ set(known))
            raise LoadFailed(
                f"the model was fitted with other columns than its manifest names: {differing[:5]}"
            )
        self._order = [known[name] for name in self._names or known]
        self.classes: tuple[Any, ...] = ()
        self._classified = self.task == "Classification"
        if self._classified:
            self.classes = tuple(_plain(value) for value in estimator.classes_)
            if manifest.classes and tuple(manifest.classes) != self.classes:
                raise LoadFailed(
                    f"the model knows the classes {list(self.classes)}, "
                    f"its manifest names {list(manifest.classes)}"
                )
            if len(self.classes) == 2:
                positive = manifest.positive_class
                self.positive = self.classes.index(positive) if positive in self.classes else 1
        self.has_probabilities = self._classified and hasattr(estimator, "predict_proba")

    def predict(self, rows: Sequence[Row]) -> Predictions:
        """Answer `rows`; raise whatever the estimator raises."""
        table = self._table(rows)
        if not self.has_probabilities:
            return Predictions(self._estimator.predict(table).tolist(), None)
        scores = self._estimator.predict_proba(table)
        return Predictions(self._labels(table, scores), scores.tolist())

    def _labels(self, table: Any, scores: Any) -> list[Any]:
        if self._threshold is None and self._decides:
            return [_plain(value) for value in self._estimator.predict(table)]
        if self.positive is not None and self._threshold not in (None, 0.5):
            positive = scores[:, self.positive] >= self._threshold
            winners = numpy.where(positive, self.positive, 1 - self.positive)
        else:
            winners = scores.argmax(axis=1)
        classes = self.classes
        return [classes[index] for index in winners.tolist()]

    def _table(self, rows: Sequence[Row]) -> Any:
        columns = list(zip(*rows, strict=True))
        if self._names is None:
            return numpy.array([_numbers(columns[at]) for at in self._order]).T
        return pandas.DataFrame(
            {
                name: _cells(columns[at], self.columns[at].type)
                for name, at in zip(self._names, self._order, strict=True)
            },
            copy=False,
        )


def _numbers(cells: Sequence[Any]) -> Any:
    # numpy reads None as not-a-number, which is what a missing value is to scikit-learn.
    return numpy.array(cells, dtype=numpy.float64)


def _cells(cells: Sequence[Any], kind: str) -> Any:
    if kind == "double":
        return _numbers(cells)
    if kind == "boolean" and None not in cells:
        return numpy.array(cells, dtype=numpy.bool_)
    return numpy.array(cells, dtype=object)


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, numpy.generic) else value


def _last(estimator: Any) -> Any:
    """What answers in the end: the last step of a pipeline, the best estimator of a search."""
    while True:
        if isinstance(estimator, Pipeline):
            estimator = estimator.steps[-1][1]
        elif hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        else:
            return estimator


def _task_of(estimator: Any) -> str:
    if is_classifier(estimator):
        return "Classification"
    if is_regressor(estimator):
        return "Regression"
    raise LoadFailed("the model is neither a classifier nor a regressor")


def load(folder: Path) -> Model:
    """Load what fetch left in `folder`; raise LoadFailed. Nothing in the file is executed."""
    try:
        summary = json.loads((folder / contract.MODEL_FILE).read_bytes())
        manifest = manifests.parse((folder / contract.MANIFEST_FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise LoadFailed(f"the model's files cannot be read: {error}") from error
    if manifest.format != contract.FORMAT_SKOPS:
        raise LoadFailed(f"the model has format {manifest.format}; this server serves Skops")
    fitted = str(manifest.libraries.get("scikit-learn", ""))
    if fitted.split(".")[:2] != sklearn.__version__.split(".")[:2]:
        raise LoadFailed(
            f"the model was fitted with scikit-learn {fitted or 'of an unknown version'}; "
            f"this server has {sklearn.__version__}, and the minor version must be the same"
        )
    for name in BOOSTERS:
        if name in manifest.libraries and not importlib.util.find_spec(name.partition("-")[0]):
            raise LoadFailed(
                f"the model needs {name} {manifest.libraries[name]}, which this image lacks: set "
                "`server.template.image` to one with the extra 'boosting'"
            )
    path = folder / manifest.model_file
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            types = skops.io.get_untrusted_types(file=path)
            strangers = trust.untrusted(types)
            if strangers:
                raise LoadFailed(
                    "the model file holds types that this server does not load: "
                    + ", ".join(strangers[:5])
                )
            estimator = skops.io.load(path, trusted=types)
    except LoadFailed:
        raise
    except Exception as error:
        # A broken file may raise anything, and each of it means the same.
        raise LoadFailed(f"the model file cannot be loaded: {error}") from error
    if not hasattr(estimator, "predict"):
        raise LoadFailed("the model has no `predict`, so there is nothing to serve")
    return Model(estimator, manifest, summary)


def check(model: Model, folder: Path) -> int:
    """Compare the model's answers with the samples that lie beside it; return how many rows.

    Raises SelfCheckFailed naming the first row that differs. A model without a manifest of its own
    has no samples: 0.
    """
    path = folder / contract.SAMPLES_FILE
    if not path.exists():
        if model.manifested:
            raise SelfCheckFailed(f"the model has no {contract.SAMPLES_FILE}")
        return 0
    try:
        samples = json.loads(path.read_bytes())
        names = [column.name for column in model.columns]
        order = [samples["columns"].index(name) for name in names]
        rows = [[row[at] for at in order] for row in samples["rows"]]
        labels = samples.get("labels", samples.get("predictions"))
        probabilities = samples.get("probabilities")
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise SelfCheckFailed(f"{contract.SAMPLES_FILE} cannot be read: {error!r}") from error
    if not rows or labels is None or len(labels) != len(rows):
        raise SelfCheckFailed(f"{contract.SAMPLES_FILE} must hold rows and a label for each")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answers = model.predict(rows)
    except Exception as error:
        raise SelfCheckFailed(f"the model fails on its own samples: {error}") from error
    _compare(answers, labels, probabilities)
    return len(rows)


def _compare(answers: Predictions, labels: list[Any], probabilities: Any) -> None:
    if probabilities and answers.probabilities is not None:
        for at, (ours, theirs) in enumerate(zip(answers.probabilities, probabilities, strict=True)):
            for ours_one, theirs_one in zip(ours, theirs, strict=True):
                if not abs(ours_one - theirs_one) <= TOLERANCE:
                    raise SelfCheckFailed(
                        f"sample row {at}: the model gives probability {ours_one!r}, "
                        f"the sample says {theirs_one!r}"
                    )
    for at, (our_label, their_label) in enumerate(zip(answers.labels, labels, strict=True)):
        if our_label == their_label or _close(our_label, their_label):
            continue
        raise SelfCheckFailed(
            f"sample row {at}: the model answers {our_label!r}, the sample says {their_label!r}"
        )


def _close(ours: Any, theirs: Any) -> bool:
    if not isinstance(ours, float) or not isinstance(theirs, int | float):
        return False
    return math.isclose(ours, theirs, rel_tol=TOLERANCE, abs_tol=TOLERANCE)


def warm(model: Model, folder: Path) -> str:
    """Call the model in the shapes that requests have; return why that failed, or an empty text."""
    filler = {"double": 0.0, "string": "", "boolean": False}
    row: Row = [None if column.nullable else filler[column.type] for column in model.columns]
    try:
        samples = json.loads((folder / contract.SAMPLES_FILE).read_bytes())
        order = [samples["columns"].index(column.name) for column in model.columns]
        row = [samples["rows"][0][at] for at in order]
    except (OSError, ValueError, KeyError, IndexError):
        pass
    try:
        for count in (1, 32, 1, 1):
            model.predict([row] * count)
    except Exception as error:
        # Invented values may not suit a model without samples; requests are judged by themselves.
        return f"{type(error).__name__}: {error}"
    return ""
