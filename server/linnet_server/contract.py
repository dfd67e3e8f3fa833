"""What the operator and a server pod agree on: ports, variables, files, exit codes, counters.

The operator imports this module alone; it imports nothing but the standard library's types.
"""

from enum import IntEnum
from typing import Final

# Ports. The port tells the kind of a request, never a header.

PORT_WEIGHTED: Final = 8080
PORT_MANAGEMENT: Final = 8081
PORT_MIRRORED: Final = 8082
PORT_DIRECT: Final = 8083
PORT_COHORT: Final = 8084

KIND_WEIGHTED: Final = "weighted"
KIND_MIRRORED: Final = "mirrored"
KIND_DIRECT: Final = "direct"
KIND_COHORT: Final = "cohort"

KIND_BY_PORT: Final[dict[int, str]] = {
    PORT_WEIGHTED: KIND_WEIGHTED,
    PORT_MIRRORED: KIND_MIRRORED,
    PORT_DIRECT: KIND_DIRECT,
    PORT_COHORT: KIND_COHORT,
}

PATH_METRICS: Final = "/metrics"
PATH_LIVE: Final = "/healthz"
PATH_READY: Final = "/readyz"

# Commands.

COMMAND_FETCH: Final = ("linnet-server", "fetch")
COMMAND_SERVE: Final = ("linnet-server", "serve")

# Environment.

ENV_MODEL_DIR: Final = "LINNET_MODEL_DIR"
ENV_MODEL_NAME: Final = "LINNET_MODEL_NAME"
ENV_MODEL_VERSION: Final = "LINNET_MODEL_VERSION"

# fetch
ENV_ARTIFACT_URI: Final = "LINNET_ARTIFACT_URI"
ENV_DIGEST: Final = "LINNET_DIGEST"
"""sha256 of `linnet/manifest.json` as the version's tag says it, with or without `sha256:`; may be
empty."""
ENV_CONTENT_DIGEST: Final = "LINNET_CONTENT_DIGEST"
ENV_DATA_DIGEST: Final = "LINNET_DATA_DIGEST"
ENV_RUN_ID: Final = "LINNET_RUN_ID"
"""What else the registry records of the version; what is empty is not compared."""
ENV_PROVENANCE: Final = "LINNET_PROVENANCE"
ENV_ALLOW_FORMATS: Final = "LINNET_ALLOW_FORMATS"
"""Comma-separated formats; empty means Plan,Skops."""
ENV_TERMINATION_LOG: Final = "LINNET_TERMINATION_LOG"
ENV_CA_FILE: Final = "LINNET_CA_FILE"

# serve
ENV_REVISION: Final = "LINNET_REVISION"
ENV_NAMESPACE: Final = "LINNET_NAMESPACE"
ENV_DEPLOYMENT: Final = "LINNET_DEPLOYMENT"
ENV_POD_NAME: Final = "LINNET_POD_NAME"
ENV_WORKERS: Final = "LINNET_WORKERS"
ENV_MAX_REQUEST_BYTES: Final = "LINNET_MAX_REQUEST_BYTES"
"""Longest body in bytes, a plain integer."""
ENV_DRAIN_TIMEOUT: Final = "LINNET_DRAIN_TIMEOUT"
"""How long a request may take once the listeners are closed: seconds (`15`, `15s`) or `1m`."""
ENV_DRAIN_DELAY: Final = "LINNET_DRAIN_DELAY"
"""How long the listeners stay open after SIGTERM: longer than an endpoint update takes."""
ENV_PORT_BASE: Final = "LINNET_PORT_BASE"
"""First of the five ports; for tests, pods leave it alone."""

ENV_FEATURES_URL: Final = "LINNET_FEATURES_URL"
"""Where the pod's sidecar answers look-ups of features; empty without one."""
ENV_FEATURES_TIMEOUT: Final = "LINNET_FEATURES_TIMEOUT"
"""How long a look-up may take."""
DEFAULT_FEATURES_TIMEOUT_SECONDS: Final = 0.05

ENV_SHADOW_FILE: Final = "LINNET_SHADOW_FILE"
"""For tests; pods leave it alone."""

SHADOW_FOLDER: Final = "/etc/linnet/shadow"
SHADOW_KEY: Final = "shadow.json"
DEFAULT_SHADOW_FILE: Final = f"{SHADOW_FOLDER}/{SHADOW_KEY}"
"""Who gets copies of which requests: `{from, to, url, percent}`, revisions and an `http://` URL
without path. A server whose revision is not `from` sends none; without the file nobody does."""
DEFAULT_MODEL_DIR: Final = "/var/run/linnet/model"
DEFAULT_TERMINATION_LOG: Final = "/dev/termination-log"
DEFAULT_CA_FILE: Final = "/etc/linnet/credentials/ca.crt"
DEFAULT_MAX_REQUEST_BYTES: Final = 10 * 1024 * 1024
DEFAULT_DRAIN_TIMEOUT_SECONDS: Final = 15.0
DEFAULT_DRAIN_DELAY_SECONDS: Final = 5.0
DRAIN_OVERHEAD_SECONDS: Final = 5.0
"""What a pod needs beside delay and time-out; `terminationGracePeriodSeconds` is at least all
three."""
DEFAULT_ALLOW_FORMATS: Final = ("Plan", "Skops")

PROVENANCE_REQUIRED: Final = "Required"
PROVENANCE_IF_PRESENT: Final = "IfPresent"
PROVENANCE_VERIFIED: Final = "Verified"
PROVENANCE_UNVERIFIED: Final = "Unverified"

FORMAT_PLAN: Final = "Plan"
FORMAT_SKOPS: Final = "Skops"
FORMAT_PICKLE: Final = "Pickle"

# Files, relative to the model directory or to the logged model.

MANIFEST_FILE: Final = "linnet/manifest.json"
MLMODEL_FILE: Final = "MLmodel"
SAMPLES_FILE: Final = "linnet/samples.json"
PROFILE_FILE: Final = "linnet/profile.json"
SKOPS_FILE: Final = "model.skops"
MODEL_FILE: Final = "model.json"
"""`{name, version, format, digest, contentDigest, provenance}`, written last by fetch."""

# Exit codes.


class ExitCode(IntEnum):
    """How a container of the pod ends; the name is the reason that the operator reports."""

    OK = 0
    INVALID_SETTING = 2
    PROVENANCE_MISMATCH = 10
    FORMAT_NOT_ALLOWED = 11
    NOT_SERVABLE = 12
    ARTIFACT_MISSING = 13
    FEATURES_INVALID = 14
    STORE_UNAVAILABLE = 20
    REGISTRY_UNAVAILABLE = 21
    CREDENTIALS_MISSING = 22
    LOAD_FAILED = 30
    SELF_CHECK_FAILED = 31


REASON_BY_EXIT_CODE: Final[dict[int, str]] = {
    ExitCode.PROVENANCE_MISMATCH: "ProvenanceMismatch",
    ExitCode.FORMAT_NOT_ALLOWED: "FormatNotAllowed",
    ExitCode.NOT_SERVABLE: "NotServable",
    ExitCode.ARTIFACT_MISSING: "ArtifactMissing",
    ExitCode.FEATURES_INVALID: "FeaturesInvalid",
    ExitCode.STORE_UNAVAILABLE: "StoreUnavailable",
    ExitCode.REGISTRY_UNAVAILABLE: "RegistryUnavailable",
    ExitCode.CREDENTIALS_MISSING: "CredentialsMissing",
    ExitCode.LOAD_FAILED: "LoadFailed",
    ExitCode.SELF_CHECK_FAILED: "SelfCheckFailed",
}

REJECTING_EXIT_CODES: Final[frozenset[int]] = frozenset(
    {
        ExitCode.PROVENANCE_MISMATCH,
        ExitCode.FORMAT_NOT_ALLOWED,
        ExitCode.NOT_SERVABLE,
        ExitCode.ARTIFACT_MISSING,
        ExitCode.FEATURES_INVALID,
        ExitCode.LOAD_FAILED,
        ExitCode.SELF_CHECK_FAILED,
    }
)
"""The revision's own fault: it is rejected. The other codes wait for the world to mend."""

# Headers.

HEADER_REQUEST_ID: Final = "x-request-id"
HEADER_MODEL_VERSION: Final = "x-linnet-model-version"
HEADER_REVISION: Final = "x-linnet-revision"
HEADER_EVENT_ID: Final = "ce-id"
HEADER_EVENT_TIME: Final = "ce-time"

# Counters.

METRIC_REQUESTS: Final = "linnet_requests_total"
METRIC_SECONDS: Final = "linnet_request_seconds"
METRIC_PREDICTIONS: Final = "linnet_predictions_total"
METRIC_ROWS: Final = "linnet_rows_total"
METRIC_IN_FLIGHT: Final = "linnet_requests_in_flight"
METRIC_UNKNOWN_COLUMNS: Final = "linnet_unknown_columns_total"
METRIC_MODEL_INFO: Final = "linnet_model_info"
METRIC_PROCESS_START: Final = "process_start_time_seconds"
METRIC_OUTCOMES: Final = "linnet_outcomes_total"
"""Answers that were compared with another's, or with their label, by `revision, metric, result`."""
METRIC_PAIR_SCORES: Final = "linnet_pair_scores_total"
"""Pairs of scores by `revision, difference`: the champion's less that revision's."""

OUTCOME_DISAGREEMENT: Final = "disagreement"
OUTCOME_LABELLED: Final = "labelled"
OUTCOME_PAIRED: Final = "paired"

RESULT_BAD: Final = "bad"
RESULT_OK: Final = "ok"
RESULT_CANDIDATE_ONLY: Final = "candidate_only"
RESULT_CHAMPION_ONLY: Final = "champion_only"
RESULT_BOTH: Final = "both"
RESULT_NEITHER: Final = "neither"
"""The last four are of `paired`: who was wrong."""

METRIC_COPIES: Final = "linnet_copies_total"
"""Copies of requests for `revision`, by `outcome`."""

COPY_COMPARED: Final = "compared"
COPY_ANSWERED: Final = "answered"
"""Answered, and there was nothing to compare: another code than 200, or no classes."""
COPY_FAILED: Final = "failed"
COPY_DROPPED: Final = "dropped"
"""Not sent: more were waiting than fit."""

PAIR_DIFFERENCES: Final[tuple[str, ...]] = tuple(f"{i / 20:.2f}" for i in range(-20, 21))
"""Values of `difference`. Whoever counts rounds a difference at random to one of its two
neighbours, the nearer the likelier, so that the mean stays what it is."""

CODE_RESET: Final = "reset"
"""The client went away before its answer was written."""
CODE_TIMEOUT: Final = "timeout"
"""The request did not arrive whole in time."""

LATENCY_EDGES: Final[tuple[float, ...]] = tuple(0.001 * 1.2**i for i in range(57))
"""Upper edges of the latency histogram in seconds: 1 ms to 27 s, each 1.2 times the one before."""

PREDICTION_BUCKETS: Final[tuple[str, ...]] = tuple(f"{i / 20:.2f}" for i in range(20))
"""Names of the 20 buckets of `linnet_predictions_total`: their lower edges for a probability."""

UNKNOWN_COLUMN_NAMES: Final = 50
"""How many unknown columns are counted by name; the others together are `other`."""

DEFAULT_BAD_CODES: Final[tuple[str, ...]] = ("5xx", "400", "422", "Reset", "Timeout")
"""What counts as an error for `errorRate` unless `errorRate.bad` says otherwise."""


def is_bad(code: str, bad: tuple[str, ...] = DEFAULT_BAD_CODES) -> bool:
    """Tell whether the `code` of a counter is one of `bad`.

    Args:
        code: an HTTP status (`"200"`), `reset` or `timeout`.
        bad: statuses (`"422"`), classes (`"5xx"`), `Reset`, `Timeout`.
    """
    if code in (CODE_RESET, CODE_TIMEOUT):
        return code.capitalize() in bad
    return code in bad or f"{code[:1]}xx" in bad
