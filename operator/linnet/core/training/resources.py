"""What a TrainingJob's children look like, and the spec that its trainer is given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from linnet_trainer import contract

from linnet.api import labels
from linnet.api.shared import format_time
from linnet.core import jobs, names, pods, subset
from linnet.core.training.state import Observation

Manifest = Mapping[str, Any]

SPEC_KEY = "spec.json"
DEFAULT_RESOURCES: Manifest = {
    "requests": {"cpu": "500m", "memory": "1Gi"},
    "limits": {"cpu": "1", "memory": "2Gi"},
}
_NOT_THE_RECIPE = {
    "suspend",
    "active_deadline_seconds",
    "ttl_seconds_after_finished",
    "backoff_limit",
    "template",
    "credentials_secret_name",
}
"""How and when a Job runs; the recipe's hash must not move when they do."""


def rendered_spec(seen: Observation) -> Manifest:
    """The recipe with the operator's computed defaults filled in."""
    spec = seen.spec.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude=_NOT_THE_RECIPE
    )
    spec.setdefault("experiment", f"{seen.namespace}/{seen.spec.model.name}")
    window = spec["data"].get("window")
    if window and "lookback" in window:
        window.setdefault("until", format_time(seen.created))
    return spec


def spec_hash(seen: Observation) -> str:
    """sha256 over the canonical JSON of the rendered spec."""
    return names.digest(rendered_spec(seen))


def make_config_map(seen: Observation, full_hash: str) -> Manifest:
    """The ConfigMap with the trainer's `spec.json`."""
    document = {
        "v": 1,
        "specHash": full_hash,
        "namespace": seen.namespace,
        "name": seen.name,
        "jobUID": seen.uid,
        "created": format_time(seen.created),
        "spec": rendered_spec(seen),
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(seen, full_hash),
        "data": {SPEC_KEY: names.canonical(document)},
    }


def make_job(seen: Observation, full_hash: str) -> Manifest:
    """The Job, created once and never re-applied."""
    spec = seen.spec
    metadata = _metadata(seen, full_hash)
    if seen.queue:
        metadata["labels"] = {**metadata["labels"], labels.KUEUE_QUEUE: seen.queue}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            "completionMode": "Indexed",
            "completions": 1,
            "parallelism": 1,
            "suspend": spec.suspend,
            "backoffLimit": spec.backoff_limit,
            "activeDeadlineSeconds": spec.active_deadline_seconds,
            "ttlSecondsAfterFinished": spec.ttl_seconds_after_finished,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": jobs.failure_policy("trainer", final=int(contract.Exit.ERROR)),
            "template": _pod_template(seen, full_hash),
        },
    }


def _metadata(seen: Observation, full_hash: str) -> dict[str, Any]:
    return {
        "name": names.training(seen.name, full_hash),
        "namespace": seen.namespace,
        "labels": pods.own_labels(labels.TRAINER, labels.TRAINING_JOB, seen.name),
        "annotations": {
            labels.MODEL: seen.spec.model.name,
            labels.SPEC_HASH: full_hash,
        },
        "ownerReferences": pods.owner_references("TrainingJob", seen.name, seen.uid),
    }


def _pod_template(seen: Observation, full_hash: str) -> Manifest:
    template = seen.spec.template
    resources = pods.resources(template, DEFAULT_RESOURCES)
    threads = max(1, math.floor(subset.quantity(resources.get("limits", {}).get("cpu", "1"))))
    environment = {
        contract.ENV_SPEC: contract.SPEC_PATH,
        contract.ENV_NAMESPACE: seen.namespace,
        contract.ENV_NAME: seen.name,
        contract.ENV_JOB_UID: seen.uid,
        contract.ENV_SPEC_HASH: full_hash,
        contract.ENV_CREATED: format_time(seen.created),
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    table = seen.spec.data.table
    return jobs.make_pod(
        template,
        seen.settings,
        name="trainer",
        command="run",
        environment=environment,
        resources=resources,
        secret=seen.spec.credentials_secret_name,
        config_map=names.training(seen.name, full_hash),
        spec_path=contract.SPEC_PATH,
        work_dir=contract.WORK_DIR,
        uri=table.uri if table is not None else "",
        own_labels=pods.own_labels(labels.TRAINER, labels.TRAINING_JOB, seen.name),
        annotations={labels.MODEL: seen.spec.model.name},
    )
