"""Every name that Linnet writes on objects, versions and runs, and the ports it knows."""

from typing import Final

PREFIX: Final = "linnet.dev/"

# Labels on everything that is made

MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY_LINNET: Final = "linnet"
SELECTOR: Final = f"{MANAGED_BY}={MANAGED_BY_LINNET}"
"""Selects everything that we make."""
COMPONENT: Final = "app.kubernetes.io/name"
INSTANCE: Final = "app.kubernetes.io/instance"

TRAINER: Final = "linnet-trainer"
SERVER: Final = "linnet-server"
COLLECTOR: Final = "linnet-collector"
CHECK: Final = "linnet-check"

TRAINING_JOB: Final = "linnet.dev/training-job"
MODEL_DEPLOYMENT: Final = "linnet.dev/model-deployment"
DRIFT_POLICY: Final = "linnet.dev/drift-policy"
OWNER_LABEL: Final = {
    "TrainingJob": TRAINING_JOB,
    "ModelDeployment": MODEL_DEPLOYMENT,
    "DriftPolicy": DRIFT_POLICY,
}

REVISION: Final = "linnet.dev/revision"
MODEL_VERSION: Final = "linnet.dev/model-version"

JOB_NAME: Final = "batch.kubernetes.io/job-name"
"""Kubernetes' own, on the pods of a Job."""
KUEUE_QUEUE: Final = "kueue.x-k8s.io/queue-name"
"""The user's, copied from a TrainingJob to its Job."""

# Annotations

REQUEST: Final = "linnet.dev/request"
"""The user's; all others are ours."""
MODEL: Final = "linnet.dev/model"
SPEC_HASH: Final = "linnet.dev/spec-hash"
REVISION_HASH: Final = "linnet.dev/revision-hash"
DIGEST: Final = "linnet.dev/digest"
REJECTED: Final = "linnet.dev/rejected"
ROLLOUT_ID: Final = "linnet.dev/rollout-id"
CAUSE: Final = "linnet.dev/cause"

# Field managers

FIELD_MANAGER: Final = "linnet"
"""Applies children, forced."""


def status_field_manager(install: str) -> str:
    """Return who applies status, never forced: a second operator gets a conflict and stands down.

    `install` is the operator's identity; field managers have at most 128 characters.
    """
    return f"linnet-status-{install.replace('/', '-')}"[:128]


REPORTING_CONTROLLER: Final = "linnet.dev/operator"
"""Who reports our events."""
LEASE: Final = "linnet-operator"

# Tags of MLflow runs

RUN_NAMESPACE: Final = "linnet.dev/namespace"
RUN_NAME: Final = "linnet.dev/name"
RUN_JOB_UID: Final = "linnet.dev/job-uid"
RUN_SPEC_HASH: Final = "linnet.dev/spec-hash"
RUN_PROGRESS: Final = "linnet.dev/progress"
RUN_HOLDOUT: Final = "linnet.dev/holdout-sha256"
RUN_LOOK: Final = "linnet.dev/look"
RUN_RESULT: Final = "linnet.dev/result"

# Tags of registered versions

VERSION_MANIFEST: Final = "linnet.dev/manifest-sha256"
VERSION_CONTENT: Final = "linnet.dev/content-digest"
VERSION_JOB_UID: Final = "linnet.dev/job-uid"
VERSION_DATA: Final = "linnet.dev/data-sha256"
VERSION_TRAINED_UNTIL: Final = "linnet.dev/trained-until"
VERSION_NOT_SERVABLE: Final = "linnet.dev/not-servable"
"""Why no server can answer with it."""


def champion_since_tag(namespace: str, name: str) -> str:
    """Return the tag that says since when a ModelDeployment has this version as champion."""
    return f"linnet.dev/champion-since.{namespace}.{name}"


def rejected_tag(namespace: str, name: str) -> str:
    """Return the tag that remembers a rejection by a ModelDeployment, as JSON."""
    return f"linnet.dev/rejected.{namespace}.{name}"


def history_tag(namespace: str, name: str) -> str:
    """Return the tag with the newest 20 entries of a ModelDeployment's history, as JSON."""
    return f"linnet.dev/history.{namespace}.{name}"


# Ports

PORT_SERVICE: Final = 80
"""Of every Service of ours."""
PORT_WEIGHTED: Final = 8080
PORT_METRICS: Final = 8081
"""`/metrics`, `/healthz` and `/readyz` of the server."""
PORT_MIRRORED: Final = 8082
PORT_DIRECT: Final = 8083
PORT_COHORT: Final = 8084
PORT_GRPC: Final = 8085
PORT_COLLECTOR: Final = 8090
PORT_FEATURES: Final = 8091
PORT_STUDY: Final = 8092
PORT_OPERATOR: Final = 8080
"""`/metrics`, `/healthz` and `/readyz` of the operator."""
