"""What a TrainingJob's children look like, and the spec that its trainer is given."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from linnet_trainer import contract

from linnet.api import labels
from linnet.api.shared import format_time
from linnet.api.training_job import Data, TrainingJobSpec
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
    spec.setdefault("experiment", _experiment(seen))
    window = spec["data"].get("window")
    if window and "lookback" in window:
        window.setdefault("until", format_time(seen.created))
    if seen.spec.custom is not None:
        # The image is the recipe here: another one is another job, and never adopts its run.
        spec["custom"]["image"] = seen.spec.template.image
    return spec


def _experiment(seen: Observation) -> str:
    """The MLflow experiment of the job's run."""
    return seen.spec.experiment or f"{seen.namespace}/{seen.spec.model.name}"


def spec_hash(seen: Observation) -> str:
    """sha256 over the canonical JSON of the rendered spec."""
    return names.digest(rendered_spec(seen))


def searches_on_ray(spec: TrainingJobSpec) -> bool:
    """Whether the trials of a search run on Ray, which an image of its own holds."""
    return spec.search is not None and spec.search.ray is not None


def searching_pods(spec: TrainingJobSpec) -> int:
    """How many pods train: index 0 makes the model, the others help it search."""
    if spec.search is None or searches_on_ray(spec):
        return 1
    return spec.search.parallelism


def needs_service(spec: TrainingJobSpec) -> bool:
    """Whether the pods of a search find each other: pod 0 serves the study to the others."""
    return searching_pods(spec) > 1 and (spec.search is None or spec.search.storage is None)


def make_service(seen: Observation, full_hash: str) -> Manifest:
    """The headless Service that gives the pods of a search their names."""
    metadata = _metadata(seen, full_hash)
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "clusterIP": "None",
            # A trainer has no readiness: pod 0 answers as soon as its study is whole.
            "publishNotReadyAddresses": True,
            "selector": {labels.JOB_NAME: metadata["name"]},
            "ports": [{"name": "study", "port": contract.STUDY_PORT, "protocol": "TCP"}],
        },
    }


def _study_environment(seen: Observation, full_hash: str) -> dict[str, str]:
    """Where the pods of a search find the study that pod 0 serves."""
    if not needs_service(seen.spec):
        return {}
    name = names.training(seen.name, full_hash)
    host = f"{name}-0.{name}.{seen.namespace}.svc"
    return {contract.ENV_STUDY_URL: f"grpc://{host}:{contract.STUDY_PORT}"}


def _study_secret(spec: TrainingJobSpec) -> dict[str, tuple[str, str]]:
    """Where they find the URL of a database; it is a key of a Secret that only pods read."""
    if spec.search is None or spec.search.storage is None:
        return {}
    reference = spec.search.storage.secret_ref
    return {contract.ENV_STUDY_URL: (reference.name, reference.key)}


def _module(spec: TrainingJobSpec) -> tuple[str, str] | None:
    return (spec.module.config_map_name, spec.module.key) if spec.module is not None else None


def _uris(data: Data) -> list[str]:
    """What may lie in claims that the pod mounts."""
    uris = [source.uri for source in (data.table, data.dictionary) if source is not None]
    if data.feast is not None:
        uris += [data.feast.repo_uri, data.feast.entities.uri]
    return uris


def _program(spec: TrainingJobSpec) -> Manifest:
    """What the container runs: Linnet's trainer, or a program of the user's."""
    if spec.custom is None:
        return {"args": ["run"]}
    return spec.custom.model_dump(mode="json", exclude_none=True)


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
            "completions": searching_pods(spec),
            "parallelism": searching_pods(spec),
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
        # Where MLflow keeps what the user's code starts or traces outside of the job's run.
        "MLFLOW_EXPERIMENT_NAME": _experiment(seen),
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "OMP_WAIT_POLICY": "PASSIVE",
        **_study_environment(seen, full_hash),
    }
    return jobs.make_pod(
        template,
        seen.settings,
        name="trainer",
        program=_program(seen.spec),
        environment=environment,
        resources=resources,
        secret=seen.spec.credentials_secret_name,
        config_map=names.training(seen.name, full_hash),
        spec_path=contract.SPEC_PATH,
        work_dir=contract.WORK_DIR,
        uris=_uris(seen.spec.data),
        own_labels=pods.own_labels(labels.TRAINER, labels.TRAINING_JOB, seen.name),
        annotations={labels.MODEL: seen.spec.model.name},
        secret_environment=_study_secret(seen.spec),
        module=_module(seen.spec),
        subdomain=names.training(seen.name, full_hash) if needs_service(seen.spec) else "",
    )
