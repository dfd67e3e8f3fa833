"""What a DriftPolicy's children look like: a check's Job with its spec, and a retraining."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from linnet_monitor import contract

from linnet.api import labels
from linnet.api.drift_policy import TrainingTemplate, WindowUntil
from linnet.api.shared import API_VERSION, format_time, parse_duration, parse_time
from linnet.core import jobs, names, pods
from linnet.core.drift.state import DeploymentView, Observation
from linnet.core.registry import VersionView

Manifest = Mapping[str, Any]

KIND = "DriftPolicy"
SPEC_KEY = "spec.json"
DEADLINE = timedelta(hours=1)
RETRIES = 2
DEFAULT_RESOURCES: Manifest = {
    "requests": {"cpu": "250m", "memory": "512Mi"},
    "limits": {"cpu": "1", "memory": "1Gi"},
}


def rendered_spec(
    seen: Observation, deployment: DeploymentView, version: VersionView, slot: datetime
) -> Manifest:
    """What the check of a slot is to do, with nothing left to look up."""
    spec = seen.spec
    window = spec.window.model_dump(mode="json", by_alias=True)
    if spec.window.until is WindowUntil.NOW:
        window["until"] = format_time(slot)
    return {
        "model": {
            "name": deployment.model,
            "version": version.version,
            "artifactURI": version.artifact_uri,
            "digest": version.tags.get(labels.VERSION_MANIFEST, ""),
            "trainedUntil": version.tags.get(labels.VERSION_TRAINED_UNTIL, ""),
        },
        "source": spec.source.model_dump(mode="json", by_alias=True, exclude_none=True),
        "window": window,
        "alarm": spec.alarm.model_dump(mode="json", by_alias=True),
        "signals": [
            signal.model_dump(mode="json", by_alias=True, exclude_none=True)
            for signal in spec.signals
        ],
        "experiment": f"{seen.namespace}/{seen.name}-drift",
        "trackingLink": seen.settings.tracking_link,
    }


def make_config_map(seen: Observation, spec: Manifest, slot: datetime) -> Manifest:
    """The ConfigMap with the check's `spec.json`, created once."""
    full_hash = names.digest({"slot": format_time(slot), "policy": seen.uid, "spec": spec})
    document = {
        "v": 1,
        "specHash": full_hash,
        "namespace": seen.namespace,
        "name": seen.name,
        "policyUID": seen.uid,
        "slot": format_time(slot),
        "spec": spec,
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            **_metadata(seen, slot),
            "annotations": {labels.MODEL: spec["model"]["name"], labels.SPEC_HASH: full_hash},
        },
        "data": {SPEC_KEY: names.canonical(document)},
    }


def make_job(seen: Observation, slot: datetime) -> Manifest:
    """The Job of a check, created once and never re-applied."""
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(seen, slot),
        "spec": {
            "backoffLimit": RETRIES,
            "activeDeadlineSeconds": int(DEADLINE.total_seconds()),
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": jobs.failure_policy("check", final=int(contract.Exit.ERROR)),
            "template": _pod_template(seen, slot),
        },
    }


def _metadata(seen: Observation, slot: datetime) -> dict[str, Any]:
    return {
        "name": names.check(seen.name, slot),
        "namespace": seen.namespace,
        "labels": pods.own_labels(labels.CHECK, labels.DRIFT_POLICY, seen.name),
        "ownerReferences": pods.owner_references(KIND, seen.name, seen.uid),
    }


def _pod_template(seen: Observation, slot: datetime) -> Manifest:
    template, table = seen.spec.template, seen.spec.source.table
    environment = {
        contract.ENV_SPEC: contract.SPEC_PATH,
        contract.ENV_NAMESPACE: seen.namespace,
        contract.ENV_NAME: seen.name,
        contract.ENV_SLOT: format_time(slot),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }
    return jobs.make_pod(
        template,
        seen.settings,
        name="check",
        program={"args": ["check"]},
        environment=environment,
        resources=pods.resources(template, DEFAULT_RESOURCES),
        secret=seen.spec.credentials_secret_name,
        config_map=names.check(seen.name, slot),
        spec_path=contract.SPEC_PATH,
        work_dir=contract.WORK_DIR,
        uris=[table.uri] if table is not None else [],
        own_labels=pods.own_labels(labels.CHECK, labels.DRIFT_POLICY, seen.name),
        annotations={},
    )


def retraining_name(seen: Observation, template: TrainingTemplate, window_end: str) -> str:
    """`<drift, 24>-<yyyymmdd of window end>-<5 hex>`: the same window is trained on once."""
    tail = names.digest(
        {
            "policy": seen.uid,
            "until": window_end,
            "template": template.model_dump(mode="json", by_alias=True, exclude_none=True),
        }
    )[:5]
    day = parse_time(window_end).strftime("%Y%m%d")
    return f"{seen.name[:24].rstrip('-')}-{day}-{tail}"


def make_retraining(
    seen: Observation, template: TrainingTemplate, *, name: str, window_end: str, report_url: str
) -> Manifest:
    """The TrainingJob that a drift has caused, with a window of absolute times."""
    spec = template.spec.model_dump(mode="json", by_alias=True, exclude_none=True)
    window = template.spec.data.window
    if window is not None:
        until = parse_time(window_end if window.until in (None, "CheckWindowEnd") else window.until)
        rendered = {"until": format_time(until)}
        if window.lookback is not None:
            rendered["from"] = format_time(until - parse_duration(window.lookback))
        spec["data"]["window"] = rendered
    given = template.metadata
    cause = {"driftPolicy": seen.name, "reportURL": report_url, "windowEnd": window_end}
    return {
        "apiVersion": API_VERSION,
        "kind": "TrainingJob",
        "metadata": {
            "name": name,
            "namespace": seen.namespace,
            "labels": {
                **((given.labels if given is not None else None) or {}),
                labels.MANAGED_BY: labels.MANAGED_BY_LINNET,
                labels.DRIFT_POLICY: seen.name,
            },
            "annotations": {
                **((given.annotations if given is not None else None) or {}),
                labels.CAUSE: json.dumps({key: value for key, value in cause.items() if value}),
            },
            "ownerReferences": pods.owner_references(KIND, seen.name, seen.uid),
        },
        "spec": spec,
    }
