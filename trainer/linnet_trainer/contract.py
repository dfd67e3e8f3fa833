"""What the operator and the trainer's pod agree on: paths, variables, tags, exit codes, the result.

The operator renders `spec.json` and a Job with these names and reads the result document back from
the run's tag `linnet.dev/result` (the termination message is a copy). Nothing heavy is imported
here, because the operator imports this module and no other of the package.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from enum import IntEnum, StrEnum
from typing import Any

SPEC_PATH = "/etc/linnet/spec/spec.json"
MODULE_PATH = "/etc/linnet/module/module.py"
"""The key of the ConfigMap that `spec.module` names."""
CA_PATH = "/etc/linnet/credentials/ca.crt"
WORK_DIR = "/var/run/linnet/work"
PVC_DIR = "/var/run/linnet/pvc"
"""`pvc://claim/path` is the file `<PVC_DIR>/claim/path`; the operator mounts the claim there."""
TERMINATION_LOG = "/dev/termination-log"

ENV_SPEC = "LINNET_SPEC"
ENV_NAMESPACE = "LINNET_NAMESPACE"
ENV_NAME = "LINNET_NAME"
ENV_JOB_UID = "LINNET_JOB_UID"
ENV_SPEC_HASH = "LINNET_SPEC_HASH"
ENV_CREATED = "LINNET_CREATED"
ENV_TERMINATION_LOG = "LINNET_TERMINATION_LOG"
"""Replaces `/dev/termination-log`; for runs outside of a pod."""
ENV_WORK_DIR = "LINNET_WORK_DIR"
"""Replaces `/var/run/linnet/work`; for runs outside of a pod."""

ENV_MODULE = "LINNET_MODULE"
"""Replaces `/etc/linnet/module/module.py`; for runs outside of a pod."""
ENV_INDEX = "JOB_COMPLETION_INDEX"
"""Which pod of an Indexed Job this is; Kubernetes writes it. Index 0 makes the result."""
ENV_STUDY_URL = "LINNET_STUDY_URL"
"""Where the study of a search over pods is: `grpc://<pod 0>:8092`, or a database."""
STUDY_PORT = 8092
ENV_FEATURES = "LINNET_FEATURES"
"""For `linnet-trainer features`: `{repoUri, featureService, entityKeys, port, timeoutSeconds}`."""
PATH_FEATURES = "/features"
"""GET: the feature set. POST `{"keys": {name: values}}`: `{"columns": {name: values}}`."""

TAG_NAMESPACE = "linnet.dev/namespace"
TAG_NAME = "linnet.dev/name"
TAG_JOB_UID = "linnet.dev/job-uid"
TAG_SPEC_HASH = "linnet.dev/spec-hash"
TAG_MODEL = "linnet.dev/model"
TAG_PROGRESS = "linnet.dev/progress"
TAG_DATASET = "linnet.dev/dataset"
TAG_SEARCH = "linnet.dev/search"
"""How far the search is: `status.search`."""
TAG_MODULE = "linnet.dev/module-sha256"
TAG_STUDY = "linnet.dev/study"
"""When the search was begun and, once it is, why it is over."""
TAG_TRIAL = "linnet.dev/trial"
"""On the nested run of a trial: what a study is built again from."""
TAG_HOLDOUT = "linnet.dev/holdout-sha256"
TAG_LOOK = "linnet.dev/look"
TAG_VERDICT = "linnet.dev/verdict"
"""The decision, written before the version is created: a pod that dies between finds it."""
TAG_RESULT = "linnet.dev/result"

TAG_MANIFEST = "linnet.dev/manifest-sha256"
TAG_CONTENT = "linnet.dev/content-digest"
TAG_DATA = "linnet.dev/data-sha256"
TAG_TRAINED_UNTIL = "linnet.dev/trained-until"
TAG_ARTIFACTS = "linnet.dev/artifact-uri"
TAG_FEATURE_SET = "linnet.dev/feature-set-sha256"
"""What the features of a feature service were made of."""
TAG_FEATURE_SERVICE = "linnet.dev/feature-service"
TAG_NOT_SERVABLE = "linnet.dev/not-servable"
"""Why no server can answer with a version: no ModelDeployment starts one."""

RESULT_BYTES = 3584
MESSAGE_LENGTH = 600
GATE_MESSAGE_LENGTH = 300
TAG_LENGTH = 4500
"""MLflow takes tags of 5,000 characters."""
METRICS = 8
GATES = 16


class Exit(IntEnum):
    """How a pod of the trainer ends; the Job's `podFailurePolicy` reads 2 as final."""

    RESULT = 0
    RETRY = 1
    ERROR = 2
    TERMINATED = 143


class FeaturesExit(IntEnum):
    """How `linnet-trainer features` ends: numbers of the server's contract, whose pod it is in."""

    OK = 0
    INVALID = 14
    UNAVAILABLE = 20


class Stage(StrEnum):
    """Where a run is; `status.progress.stage`."""

    LOADING = "Loading"
    VALIDATING = "Validating"
    SEARCHING = "Searching"
    FITTING = "Fitting"
    EVALUATING = "Evaluating"
    REGISTERING = "Registering"


class Check(StrEnum):
    """What is checked of every job, whether or not a gate asks for it: the name of its gate."""

    LEAKAGE = "Leakage"
    IMBALANCE = "Imbalance"
    VALIDATION_SET = "ValidationSet"
    SCHEMA = "Schema"
    REPRODUCIBLE = "Reproducible"


class Outcome(StrEnum):
    """How a run ended."""

    PASSED = "Passed"
    REFUSED = "Refused"
    ERROR = "Error"


class Reason(StrEnum):
    """Why a run ended as it did: `Completed`, `GateRefused`, or what another try does not mend."""

    COMPLETED = "Completed"
    GATE_REFUSED = "GateRefused"
    INVALID_DATA = "InvalidData"
    TARGET_NOT_SUPPORTED = "TargetNotSupported"
    UNKNOWN_ESTIMATOR = "UnknownEstimator"
    TRAINER_FAILED = "TrainerFailed"


class GateReason(StrEnum):
    """What one gate found; the operator's conditions `Registered` and `Promoted` carry it on."""

    AT_LEAST_MINIMUM = "AtLeastMinimum"
    NOT_WORSE_THAN_CHAMPION = "NotWorseThanChampion"
    NO_CHAMPION = "NoChampion"
    BELOW_THRESHOLD = "BelowThreshold"
    WORSE_THAN_CHAMPION = "WorseThanChampion"
    UNCLEAR = "Unclear"
    CHAMPION_SAW_HOLDOUT = "ChampionSawHoldout"
    CHECK_FAILED = "CheckFailed"
    WITHIN_LIMIT = "WithinLimit"
    ABOVE_LIMIT = "AboveLimit"
    WIDENED = "Widened"
    CHECK_PASSED = "CheckPassed"
    WAIVED = "Waived"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One figure on the holdout, by scikit-learn's scorer name."""

    name: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What one gate of the spec said; `n` counts rows, or clusters where a gate compares."""

    name: str
    passed: bool
    value: str = ""
    bound: str = ""
    n: int = 0
    reason: GateReason
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The result document: everything that the operator must know about a finished run."""

    spec_hash: str
    job_uid: str
    outcome: Outcome
    reason: Reason
    message: str
    run_id: str = ""
    model_id: str = ""
    version: str = ""
    metrics: tuple[Metric, ...] = ()
    gates: tuple[Gate, ...] = ()
    rows: int = 0
    trained_until: str = ""
    content_digest: str = ""
    data_sha256: str = ""

    def __post_init__(self) -> None:
        """Refuse a document that contradicts itself."""
        if (self.reason is Reason.COMPLETED) != (self.outcome is Outcome.PASSED):
            raise ValueError("reason 'Completed' belongs to outcome 'Passed', and to it alone")
        if (self.reason is Reason.GATE_REFUSED) != (self.outcome is Outcome.REFUSED):
            raise ValueError("reason 'GateRefused' belongs to outcome 'Refused', and to it alone")
        if self.version and self.outcome is not Outcome.PASSED:
            raise ValueError("only a run whose gates passed has a version")
        if len(self.metrics) > METRICS or len(self.gates) > GATES:
            raise ValueError(f"a result has at most {METRICS} metrics and {GATES} gates")

    @property
    def exit(self) -> Exit:
        """The exit code of the pod that wrote this document."""
        return Exit.ERROR if self.outcome is Outcome.ERROR else Exit.RESULT


NAMES = {
    "spec_hash": "specHash",
    "job_uid": "jobUID",
    "run_id": "runID",
    "model_id": "modelID",
    "trained_until": "trainedUntil",
    "content_digest": "contentDigest",
    "data_sha256": "dataSha256",
}


_LENGTHS = (
    (GATE_MESSAGE_LENGTH, GATE_MESSAGE_LENGTH),
    (120, GATE_MESSAGE_LENGTH),
    (60, GATE_MESSAGE_LENGTH),
    (20, 200),
    (0, 120),
    (0, 60),
    (0, 20),
    (0, 0),
)
"""How long the messages of passed and of refused gates may be, from the roomiest on."""


def cut(text: str, length: int) -> str:
    """Return `text` with at most `length` characters, the last one '…' where it was longer."""
    if len(text) <= length:
        return text
    return text[: length - 1] + "…" if length > 0 else ""


def render(result: Result) -> str:
    """Render a result as JSON of at most 3.5 KiB; messages are cut first, identities never.

    What passed is told shorter before what refused is.
    """
    result = replace(result, message=cut(result.message, MESSAGE_LENGTH))
    for passed, refused in _LENGTHS:
        gates = tuple(
            replace(gate, message=cut(gate.message, passed if gate.passed else refused))
            for gate in result.gates
        )
        text = _dump(replace(result, gates=gates))
        if len(text.encode()) <= RESULT_BYTES:
            return text
    bare = replace(result, gates=tuple(replace(gate, message="") for gate in result.gates))
    for length in (300, 150, 60):
        text = _dump(replace(bare, message=cut(result.message, length)))
        if len(text.encode()) <= RESULT_BYTES:
            return text
    # Gate names have at most 63 characters, so this is reached only by very long metric names.
    return _dump(replace(bare, message=cut(result.message, 60), metrics=()))


def parse(text: str) -> Result:
    """Read a result document.

    Raises:
        ValueError: it is no JSON object of version 1, lacks a field, or contradicts itself.
    """
    try:
        document = json.loads(text)
        if document["v"] != 1:
            raise ValueError(f"a result document of version {document['v']!r}")
        values: dict[str, Any] = {
            field: document[NAMES.get(field, field)]
            for field in Result.__dataclass_fields__
            if NAMES.get(field, field) in document
        }
        values["outcome"] = Outcome(values["outcome"])
        values["reason"] = Reason(values["reason"])
        values["metrics"] = tuple(Metric(**metric) for metric in values.get("metrics", ()))
        values["gates"] = tuple(
            Gate(**{**gate, "reason": GateReason(gate["reason"])})
            for gate in values.get("gates", ())
        )
        return Result(**values)
    except KeyError as error:
        raise ValueError(f"no result document: it lacks {error}") from error
    except (AttributeError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"no result document: {error}") from error


def _dump(result: Result) -> str:
    document: dict[str, Any] = {"v": 1}
    for field, value in asdict(result).items():
        if value not in ("", (), 0) or field in ("spec_hash", "job_uid"):
            document[NAMES.get(field, field)] = value
    document["gates"] = [_without_blanks(gate) for gate in document.get("gates", ())]
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def _without_blanks(gate: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in gate.items() if value != ""}
