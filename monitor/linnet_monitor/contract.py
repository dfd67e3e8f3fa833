"""What the operator and a check's pod agree on: paths, variables, tags, exit codes, the document.

The operator renders `spec.json` and a Job with these names; the check leaves its document in the
termination message and, durably, in its run's tag `linnet.dev/result`. Nothing heavy is imported
here, because the operator imports this module and no other of the package.

`spec.json` is `{v: 1, specHash, namespace, name, policyUID, slot, spec}` with `spec`:

    model        {name, version, artifactURI, digest, trainedUntil}   digest: sha256 of the manifest
    source       {table: {uri, timestamp}}
    window       {lookback, until, timeZone, minSamples}   until: a time, or 'NewestEvent'
    alarm        {falseAlarmProbability, method}
    signals      as in the DriftPolicy
    experiment   name of the MLflow experiment
    trackingLink base of links to MLflow
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from linnet_trainer import contract as shared

# What all pods of Jobs have in common is the trainer's, under the same names.
SPEC_PATH = shared.SPEC_PATH
WORK_DIR = shared.WORK_DIR
ENV_SPEC = shared.ENV_SPEC
ENV_NAMESPACE = shared.ENV_NAMESPACE
ENV_NAME = shared.ENV_NAME
ENV_TERMINATION_LOG = shared.ENV_TERMINATION_LOG
ENV_WORK_DIR = shared.ENV_WORK_DIR
TAG_NAMESPACE = shared.TAG_NAMESPACE
TAG_NAME = shared.TAG_NAME
TAG_SPEC_HASH = shared.TAG_SPEC_HASH
TAG_RESULT = shared.TAG_RESULT
RESULT_BYTES = shared.RESULT_BYTES
MESSAGE_LENGTH = shared.MESSAGE_LENGTH
Exit = shared.Exit
cut = shared.cut

ENV_SLOT = "LINNET_SLOT"
NEWEST_EVENT = "NewestEvent"
SIGNAL_MESSAGE_LENGTH = 200
SIGNALS = 16
COLUMNS = 20


class Outcome(StrEnum):
    """How a check ended; `status.lastCheck.outcome`."""

    WITHIN = "Within"
    DRIFTED = "Drifted"
    TOO_FEW_SAMPLES = "TooFewSamples"
    INSUFFICIENT_REFERENCE = "InsufficientReference"
    ERROR = "Error"


class Reason(StrEnum):
    """Why a check ended as it did; the policy's conditions carry it on."""

    WITHIN_THRESHOLD = "WithinThreshold"
    FEATURE_DRIFT = "FeatureDrift"
    PREDICTION_DRIFT = "PredictionDrift"
    QUALITY_BREACH = "QualityBreach"
    TOO_FEW_SAMPLES = "TooFewSamples"
    NO_DATA = "NoData"
    INSUFFICIENT_REFERENCE = "InsufficientReference"
    SCHEMA_MISMATCH = "SchemaMismatch"
    SOURCE_UNAVAILABLE = "SourceUnavailable"
    REFERENCE_MISSING = "ReferenceMissing"
    CHECK_FAILED = "CheckFailed"


REASONS: Mapping[Outcome, frozenset[Reason]] = {
    Outcome.WITHIN: frozenset({Reason.WITHIN_THRESHOLD}),
    Outcome.DRIFTED: frozenset(
        {Reason.FEATURE_DRIFT, Reason.PREDICTION_DRIFT, Reason.QUALITY_BREACH}
    ),
    Outcome.TOO_FEW_SAMPLES: frozenset({Reason.TOO_FEW_SAMPLES, Reason.NO_DATA}),
    Outcome.INSUFFICIENT_REFERENCE: frozenset({Reason.INSUFFICIENT_REFERENCE}),
    Outcome.ERROR: frozenset(
        {
            Reason.SCHEMA_MISMATCH,
            Reason.SOURCE_UNAVAILABLE,
            Reason.REFERENCE_MISSING,
            Reason.CHECK_FAILED,
        }
    ),
}
"""The reasons that each outcome may have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Times (RFC 3339): the first that belongs to it, and the first that no longer does."""

    start: str = ""
    until: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What the window was compared with: the profile of one version."""

    version: str = ""
    digest: str = ""
    """sha256 of `profile.json`."""
    start: str = ""
    until: str = ""
    windows: int = 0
    """Windows of the check's length in its days."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One signal: what was measured, what it was compared with, on how many rows."""

    name: str
    breached: bool
    statistic: str = ""
    threshold: str = ""
    n: int = 0
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One of the columns that differ most; `statistic` beyond `threshold` is drift."""

    column: str
    signal: str
    method: str
    statistic: str
    threshold: str
    n_reference: int
    n_current: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The document: everything that the operator must know about a finished check."""

    spec_hash: str
    policy_uid: str
    slot: str
    outcome: Outcome
    reason: Reason
    message: str
    run_id: str = ""
    report_url: str = ""
    window: Window = field(default_factory=Window)
    rows: int = 0
    new_samples: int = 0
    """Rows of the source since the version was trained."""
    reference: Reference = field(default_factory=Reference)
    score: str = ""
    """Statistic divided by its threshold: above 1 is drift."""
    rank: int = 0
    """1 is the largest among the windows of the past and this one."""
    p_value: str = ""
    signals: tuple[Signal, ...] = ()
    columns: tuple[Column, ...] = ()

    def __post_init__(self) -> None:
        """Refuse a document that contradicts itself."""
        if self.reason not in REASONS[self.outcome]:
            raise ValueError(f"reason '{self.reason}' does not belong to outcome '{self.outcome}'")
        breached = any(each.breached for each in self.signals)
        if breached != (self.outcome is Outcome.DRIFTED):
            raise ValueError("a signal is breached exactly where the outcome is 'Drifted'")
        if len(self.signals) > SIGNALS or len(self.columns) > COLUMNS:
            raise ValueError(f"a check has at most {SIGNALS} signals and {COLUMNS} columns")

    @property
    def exit(self) -> Exit:
        """The exit code of the pod that wrote this document."""
        return Exit.ERROR if self.outcome is Outcome.ERROR else Exit.RESULT


NAMES = {
    "spec_hash": "specHash",
    "policy_uid": "policyUID",
    "run_id": "runID",
    "report_url": "reportURL",
    "new_samples": "newSamples",
    "p_value": "pValue",
    "n_reference": "nReference",
    "n_current": "nCurrent",
    "start": "from",
}
_ALWAYS = frozenset({"spec_hash", "policy_uid", "slot", "breached"})


def render(check: Check) -> str:
    """Render a document as JSON of at most 3.5 KiB.

    Columns go first, then the signals' words, then those of the message; what decides stays.
    """
    for length, words in ((MESSAGE_LENGTH, SIGNAL_MESSAGE_LENGTH), (MESSAGE_LENGTH, 0), (200, 0)):
        signals = tuple(_with_words(each, words) for each in check.signals)
        short = replace(check, message=cut(check.message, length), signals=signals)
        for kept in range(len(check.columns), -1, -1):
            text = _dump(replace(short, columns=check.columns[:kept]))
            if len(text.encode()) <= RESULT_BYTES:
                return text
    # Names have at most 63 characters: reached by very long links alone.
    return _dump(replace(short, columns=(), report_url="", message=cut(check.message, 60)))


def _with_words(signal: Signal, length: int) -> Signal:
    return replace(signal, message=cut(signal.message, length) if length else "")


def parse(text: str) -> Check:
    """Read a document.

    Raises:
        ValueError: it is no JSON object of version 1, lacks a field, or contradicts itself.
    """
    try:
        document = json.loads(text)
        if document["v"] != 1:
            raise ValueError(f"a check document of version {document['v']!r}")
        values = _read(Check, document)
        values["outcome"] = Outcome(values["outcome"])
        values["reason"] = Reason(values["reason"])
        values["window"] = Window(**_read(Window, values.get("window", {})))
        values["reference"] = Reference(**_read(Reference, values.get("reference", {})))
        values["signals"] = tuple(
            Signal(**_read(Signal, each)) for each in values.get("signals", ())
        )
        values["columns"] = tuple(
            Column(**_read(Column, each)) for each in values.get("columns", ())
        )
        return Check(**values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"no check document: {error}") from error


def _read(kind: type, document: Mapping[str, Any]) -> dict[str, Any]:
    names = {each.name: NAMES.get(each.name, each.name) for each in fields(kind)}
    return {name: document[key] for name, key in names.items() if key in document}


def _dump(check: Check) -> str:
    document = {"v": 1, **_without_blanks(asdict(check))}
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _without_blanks(value: Any) -> Any:
    if isinstance(value, dict):
        given = {NAMES.get(key, key): _without_blanks(item) for key, item in value.items()}
        kept = {NAMES.get(key, key) for key in _ALWAYS}
        return {k: v for k, v in given.items() if k in kept or v not in ("", 0, [], {})}
    if isinstance(value, tuple | list):
        return [_without_blanks(item) for item in value]
    return value
