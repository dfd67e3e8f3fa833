"""Jobs as the domains share them: their pod, how far one is, what its pods left behind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from linnet_trainer.contract import MODULE_PATH, PVC_DIR

from linnet.api import labels
from linnet.api.pod_template import PodTemplate
from linnet.core import pods
from linnet.core.registry import RunView

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator's settings contribute to a Job."""

    image: str
    image_pull_policy: str
    pod_environment: Mapping[str, str]
    tracking_link: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """One pod of a Job: how far it is, and how it ended."""

    name: str
    created: datetime
    phase: str
    exit_code: int | None = None
    out_of_memory: bool = False
    message: str = ""
    """Termination message: the result document, or the end of the log."""
    waiting: str = ""
    """What keeps it from running, in words."""


def condition(job: Manifest, kind: str) -> Manifest | None:
    """A condition of the Job that is True."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == kind and c["status"] == "True"), None)


def is_over(job: Manifest) -> bool:
    """Whether the Job is complete or has failed."""
    return condition(job, "Complete") is not None or condition(job, "Failed") is not None


def last_words(pods: Sequence[PodView]) -> str:
    """The last line that the newest pod left, or nothing."""
    lines = [line.strip() for line in pods[-1].message.splitlines() if line.strip()] if pods else []
    return lines[-1] if lines else ""


def results(ended: Sequence[PodView], run: RunView | None) -> list[str]:
    """Where a result document may stand: the pods' last messages, newest first, then the run."""
    texts = [pod.message for pod in reversed(ended) if pod.exit_code is not None]
    return texts if run is None else [*texts, run.tags.get(labels.RUN_RESULT, "")]


def make_pod(
    template: PodTemplate,
    settings: Settings,
    *,
    name: str,
    program: Manifest,
    environment: Mapping[str, str],
    resources: Manifest,
    secret: str,
    config_map: str,
    spec_path: str,
    work_dir: str,
    uris: Iterable[str],
    own_labels: Mapping[str, str],
    annotations: Mapping[str, str],
    secret_environment: Mapping[str, tuple[str, str]] | None = None,
    subdomain: str = "",
    module: tuple[str, str] | None = None,
) -> Manifest:
    """The pod template of a Job that reads `spec.json`, a table, the registry and a store.

    Args:
        template: the user's part.
        settings: the operator's.
        name: of the container.
        program: `command` and `args` of the container, where they are not the image's.
        environment: variables besides those of the settings.
        resources: of the container.
        secret: credentials, which may be absent.
        config_map: holds `spec.json`.
        spec_path: where the program reads it.
        work_dir: scratch.
        uris: of tables, whose claims are mounted where they name one.
        own_labels: ours; the user's cannot replace them.
        annotations: ours, likewise.
        secret_environment: variables that are keys of Secrets, as (Secret, key).
        module: ConfigMap and key of the user's code, which may be absent: the program says so.
        subdomain: the headless Service that gives each pod a name; empty where none does.
    """
    claims = pods.claims_of(uris)
    container = {
        "name": name,
        "image": template.image or settings.image,
        "imagePullPolicy": settings.image_pull_policy,
        **program,
        "env": [
            *pods.environment({**settings.pod_environment, **environment}, template),
            *pods.secret_variables(secret_environment or {}),
        ],
        "envFrom": pods.environment_sources(secret, template),
        "resources": resources,
        "volumeMounts": [
            {"name": "spec", "mountPath": spec_path.rpartition("/")[0], "readOnly": True},
            {"name": "work", "mountPath": work_dir},
            *pods.module_mounts(module, MODULE_PATH),
            *pods.claim_mounts(claims, PVC_DIR),
            *pods.credential_mounts(),
            *pods.common_mounts(template),
        ],
        **pods.container_rest(),
    }
    return {
        "metadata": {
            "labels": {**(template.labels or {}), **own_labels},
            "annotations": {**(template.annotations or {}), **annotations},
        },
        "spec": {
            **pods.scheduling(template),
            **({"subdomain": subdomain} if subdomain else {}),
            "restartPolicy": "Never",
            "containers": [container],
            "volumes": [
                {"name": "spec", "configMap": {"name": config_map}},
                {"name": "work", "emptyDir": {}},
                *pods.module_volumes(module, MODULE_PATH),
                *pods.claim_volumes(claims),
                pods.credential_volume(secret),
                *pods.common_volumes(template),
            ],
        },
    }


def failure_policy(container: str, *, final: int) -> Manifest:
    """`podFailurePolicy`: the exit code `final` ends the Job, a disruption does not count."""
    return {
        "rules": [
            {
                "action": "FailJob",
                "onExitCodes": {"containerName": container, "operator": "In", "values": [final]},
            },
            {
                "action": "Ignore",
                "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
            },
        ]
    }
