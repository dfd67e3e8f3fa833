"""`spec.json`, as values: what is to be checked, with nothing left to look up."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from linnet_monitor import contract
from linnet_monitor.contract import Reason
from linnet_monitor.errors import Failure

_PART = re.compile(r"(\d+)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataDrift:
    """The distribution of features; no columns means all of the signature."""

    name: str
    columns: tuple[str, ...]
    numeric: str
    categorical: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionDrift:
    """The distribution of the model's scores."""

    name: str
    method: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DataQuality:
    """Fixed limits on shares of values, from 0 to 1; None where the reference decides."""

    name: str
    missing: float | None
    out_of_range: float | None
    new_categories: float | None


Signal = DataDrift | PredictionDrift | DataQuality


@dataclass(frozen=True, slots=True, kw_only=True)
class Spec:
    """One check."""

    spec_hash: str
    namespace: str
    name: str
    policy_uid: str
    slot: str
    model: str
    version: str
    artifacts: str
    """URI of the version's files."""
    digest: str
    """sha256 of its manifest, as the registry's tag says; empty where there is no tag."""
    trained_until: datetime | None
    uri: str
    timestamp: str
    days: int
    """Length of the window."""
    until: datetime | None
    """The window ends with the last whole day before this; None: before the newest event."""
    zone: ZoneInfo
    minimum: int
    """Fewer rows are not judged."""
    alpha: float
    """How probable an alarm of the whole check may be where nothing has changed."""
    method: str
    signals: tuple[Signal, ...]
    experiment: str
    link: str
    """Base of links to MLflow."""


def parse(document: Mapping[str, Any]) -> Spec:
    """Read `spec.json`.

    Raises:
        Failure: it lacks a field or asks for what this program cannot do.
    """
    try:
        return _parse(document)
    except (KeyError, TypeError, ValueError) as error:
        raise Failure(Reason.CHECK_FAILED, f"spec.json cannot be read: {error!r}") from error


def _parse(document: Mapping[str, Any]) -> Spec:
    spec = document["spec"]
    model, window, table = spec["model"], spec["window"], spec["source"]["table"]
    until = window["until"]
    return Spec(
        spec_hash=document["specHash"],
        namespace=document["namespace"],
        name=document["name"],
        policy_uid=document["policyUID"],
        slot=document["slot"],
        model=model["name"],
        version=model["version"],
        artifacts=model["artifactURI"],
        digest=model.get("digest", ""),
        trained_until=_time(model.get("trainedUntil", "")),
        uri=table["uri"],
        timestamp=table["timestamp"],
        days=_days(window["lookback"]),
        until=None if until == contract.NEWEST_EVENT else _time(until),
        zone=ZoneInfo(window.get("timeZone", "Etc/UTC")),
        minimum=int(window["minSamples"]),
        alpha=float(spec["alarm"]["falseAlarmProbability"]),
        method=spec["alarm"]["method"],
        signals=_signals(spec["signals"]),
        experiment=spec["experiment"],
        link=spec.get("trackingLink", ""),
    )


def _time(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _days(text: str) -> int:
    seconds = sum(int(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
    days, rest = divmod(timedelta(seconds=seconds), timedelta(days=1))
    if rest or days < 1:
        raise ValueError(f"window.lookback '{text}' must be whole days")
    return days


def _signals(entries: Sequence[Mapping[str, Any]]) -> tuple[Signal, ...]:
    return tuple(_signal(entry) for entry in entries)


def _signal(entry: Mapping[str, Any]) -> Signal:
    name = entry["name"]
    if "dataDrift" in entry:
        given = entry["dataDrift"]
        return DataDrift(
            name=name,
            columns=tuple(given.get("columns") or ()),
            numeric=given.get("numericMethod", "Wasserstein"),
            categorical=given.get("categoricalMethod", "JensenShannon"),
        )
    if "predictionDrift" in entry:
        return PredictionDrift(
            name=name, method=entry["predictionDrift"].get("method", "Wasserstein")
        )
    if "dataQuality" in entry:
        given = entry["dataQuality"]
        return DataQuality(
            name=name,
            missing=_ratio(given.get("maxMissing")),
            out_of_range=_ratio(given.get("maxOutOfRange")),
            new_categories=_ratio(given.get("maxNewCategories")),
        )
    raise ValueError(f"signal '{name}' is of no kind that this version knows")


def _ratio(text: str | None) -> float | None:
    return float(text) if text is not None else None
