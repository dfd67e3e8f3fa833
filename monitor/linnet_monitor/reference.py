"""The reference: the profile that lies with a version, as counts by day."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from linnet_trainer import data, manifest
from linnet_trainer.data import Feature
from linnet_trainer.registry import Run

from linnet_monitor import alarm
from linnet_monitor.contract import Reason
from linnet_monitor.distances import Counts
from linnet_monitor.errors import Failure
from linnet_monitor.spec import Spec

MISSING = 1
"""The last bin of every column counts missing values."""
TIME = "linnet_time"
SCORE = "linnet_score"
ROWS_FOR_A_SHARE = 30
"""A day with fewer rows says nothing of a share."""


@dataclass(frozen=True)
class Column:
    """One input: how its values fall into bins, and how they fell day by day."""

    feature: Feature
    edges: Counts
    """Inner edges of numbers; empty for categories."""
    categories: tuple[str, ...]
    low: float
    high: float
    spread: float
    counts: Counts
    """[days, bins]; the last bin counts missing values."""

    @property
    def name(self) -> str:
        return self.feature.name

    @property
    def is_number(self) -> bool:
        return self.feature.type == "double"

    @property
    def bins(self) -> int:
        """All bins, the one of missing values among them."""
        return int(self.counts.shape[1])

    @cached_property
    def places(self) -> Counts:
        """Where the bins of numbers lie, missing apart: middles, and half-way to the extremes."""
        if not len(self.edges):
            return np.array([(self.low + self.high) / 2])
        low, high = min(self.low, self.edges[0]), max(self.high, self.edges[-1])
        ends = np.concatenate(([low], self.edges, [high]))
        return np.asarray((ends[1:] + ends[:-1]) / 2)

    def codes(self, values: pd.Series) -> Any:
        """The bin of every value; shape [rows]."""
        if self.is_number:
            numbers = values.to_numpy(dtype=np.float64)
            codes = np.searchsorted(self.edges, numbers, side="right")
            codes[np.isnan(numbers)] = self.bins - MISSING
            return codes
        codes = pd.Index(self.categories).get_indexer(pd.Index(values))
        codes[codes < 0] = len(self.categories)
        codes[values.isna().to_numpy()] = self.bins - MISSING
        return codes


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What windows are compared with: one version's model and profile."""

    version: str
    digest: str
    dates: tuple[date, ...]
    """Days of the profile in UTC, without gaps."""
    start: str
    until: str
    columns: tuple[Column, ...]
    """The inputs that are counted: all but free text, of which nearly every row is new."""
    features: tuple[Feature, ...]
    """All inputs of the model."""
    scores: Counts
    """[days, 20 bins] of the probability of the positive class."""
    sample: pd.DataFrame
    """Rows that the profile kept, with `linnet_…` columns."""
    model: Any
    classes: tuple[Any, ...]
    """The two classes of the model, the positive one last."""

    @cached_property
    def sample_days(self) -> Any:
        """The day of every row of the sample, as a number from 0; shape [rows]."""
        return pd.factorize(self.sample[TIME].dt.floor("D"))[0]


def load(spec: Spec, run: Run, folder: Path) -> Reference:
    """Fetch the version's files, each checked against the manifest's digests.

    Raises:
        Failure: the version has no profile by day, or its files are not what the registry says.
        Unavailable: registry or store do not answer.
    """
    document = _manifest(spec, run, folder)
    classes = _classes(spec, document)
    profile_blob = _file(spec, run, document, "profile.json", folder)
    profile = json.loads(profile_blob)
    if not profile.get("days"):
        raise Failure(
            Reason.REFERENCE_MISSING,
            f"version {spec.version} of '{spec.model}' was trained without `data.timestamp`, so "
            "its profile has no days to compare a window with: train it with a timestamp",
        )
    sample = _file(spec, run, document, "profile.parquet", folder)
    dates = calendar_of(profile["days"])
    features = {each["name"]: feature_of(each) for each in document["columns"]}
    columns = tuple(
        column_of(entry, features[entry["name"]], dates) for entry in profile["columns"]
    )
    return Reference(
        version=spec.version,
        digest=manifest.sha256(profile_blob),
        dates=dates,
        start=profile["from"],
        until=profile["until"],
        columns=columns,
        features=tuple(features.values()),
        scores=alarm.calendar(profile["score"]["counts"], dates),
        sample=pd.read_parquet(io.BytesIO(sample)),
        model=_model(spec, run, document, folder),
        classes=classes,
    )


def _manifest(spec: Spec, run: Run, folder: Path) -> Mapping[str, Any]:
    try:
        blob = run.download(spec.artifacts, manifest.MANIFEST, folder).read_bytes()
    except FileNotFoundError as error:
        raise Failure(
            Reason.REFERENCE_MISSING,
            f"version {spec.version} of '{spec.model}' has no {error}: Linnet did not train it, "
            "and only versions that Linnet trained carry a profile to compare with",
        ) from error
    found = manifest.sha256(blob)
    if spec.digest and found.removeprefix("sha256:") != spec.digest.removeprefix("sha256:"):
        raise Failure(
            Reason.REFERENCE_MISSING,
            f"the manifest of version {spec.version} of '{spec.model}' has {found}, and the "
            f"registry's tag says {spec.digest}",
        )
    document: Mapping[str, Any] = json.loads(blob)
    return document


def _classes(spec: Spec, document: Mapping[str, Any]) -> tuple[Any, ...]:
    """The two classes by the trainer's codes."""
    classes, positive = document.get("classes") or (), document.get("positiveClass")
    if len(classes) != 2:
        raise Failure(
            Reason.REFERENCE_MISSING,
            f"version {spec.version} of '{spec.model}' does not answer one of two classes, and "
            "this version of Linnet measures the drift of no other: delete the DriftPolicy",
        )
    return tuple(sorted(classes, key=lambda each: bool(each == positive)))


def _file(spec: Spec, run: Run, document: Mapping[str, Any], name: str, folder: Path) -> bytes:
    path = f"{manifest.FOLDER}/{name}"
    try:
        blob = run.download(spec.artifacts, path, folder).read_bytes()
    except FileNotFoundError as error:
        raise Failure(
            Reason.REFERENCE_MISSING, f"version {spec.version} of '{spec.model}' has no {path}"
        ) from error
    expected = str((document.get("files") or {}).get(path, ""))
    if expected.removeprefix("sha256:") != manifest.sha256(blob).removeprefix("sha256:"):
        raise Failure(
            Reason.REFERENCE_MISSING,
            f"{path} of version {spec.version} of '{spec.model}' is not what its manifest says",
        )
    return blob


def _model(spec: Spec, run: Run, document: Mapping[str, Any], folder: Path) -> Any:
    try:
        file = run.download(spec.artifacts, document["modelFile"], folder)
        return manifest.load(file.read_bytes(), document)
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise Failure(
            Reason.REFERENCE_MISSING,
            f"version {spec.version} of '{spec.model}' cannot be loaded: {error}",
        ) from error


def calendar_of(days: list[str]) -> tuple[date, ...]:
    """All days from the first to the last, those without rows too."""
    first, last = date.fromisoformat(days[0]), date.fromisoformat(days[-1])
    return tuple(first + timedelta(days=each) for each in range((last - first).days + 1))


def feature_of(entry: Mapping[str, Any]) -> Feature:
    """One column of the manifest."""
    return Feature(name=entry["name"], type=entry["type"], source=entry.get("source", ""))


def column_of(entry: Mapping[str, Any], feature: Feature, dates: tuple[date, ...]) -> Column:
    """One column of `profile.json`."""
    return Column(
        feature=feature,
        edges=np.asarray(entry.get("edges", ()), dtype=np.float64),
        categories=tuple(entry.get("categories", ())),
        low=float(entry.get("min", 0.0)),
        high=float(entry.get("max", 0.0)),
        spread=float(entry.get("std", 0.0)),
        counts=alarm.calendar(entry["counts"], dates),
    )


def inputs(reference: Reference, frame: pd.DataFrame) -> pd.DataFrame:
    """The model's inputs out of a table's rows; raises Refusal for a value of a wrong type."""
    return data.cast(frame, reference.features)
