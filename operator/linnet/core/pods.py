"""What all pods of ours share: security, environment, volumes, ownership."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from linnet.api import labels
from linnet.api.pod_template import PodTemplate
from linnet.api.shared import API_VERSION

Manifest = Mapping[str, Any]

USER_ID = 10001
CREDENTIALS_DIR = "/etc/linnet/credentials"


def own_labels(component: str, owner_label: str, owner: str) -> dict[str, str]:
    """The labels on everything that we make."""
    return {
        labels.MANAGED_BY: labels.MANAGED_BY_LINNET,
        labels.COMPONENT: component,
        labels.INSTANCE: owner,
        owner_label: owner,
    }


def owner_references(kind: str, name: str, uid: str) -> list[Manifest]:
    """The controller reference by which garbage collection removes our children."""
    return [
        {
            "apiVersion": API_VERSION,
            "kind": kind,
            "name": name,
            "uid": uid,
            "controller": True,
            "blockOwnerDeletion": True,
        }
    ]


def registry_environment(
    *, tracking_uri: str, registry_uri: str, s3_endpoint: str, s3_region: str
) -> dict[str, str]:
    """Variables of every pod that talks to the registry or to a store."""
    variables = {
        "MLFLOW_TRACKING_URI": tracking_uri,
        "MLFLOW_REGISTRY_URI": registry_uri,
        "AWS_REGION": s3_region,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "DO_NOT_TRACK": "1",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
        "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",
    }
    if s3_endpoint:
        variables["MLFLOW_S3_ENDPOINT_URL"] = s3_endpoint
        variables["AWS_ENDPOINT_URL"] = s3_endpoint
    return variables


def environment(ours: Mapping[str, str], template: PodTemplate) -> list[Manifest]:
    """Our variables and the template's; an entry of the template replaces ours of its name."""
    theirs = {
        entry.name: entry.model_dump(mode="json", by_alias=True, exclude_none=True)
        for entry in template.env or ()
    }
    kept = [{"name": name, "value": value} for name, value in ours.items() if name not in theirs]
    return [*kept, *theirs.values()]


def secret_variables(variables: Mapping[str, tuple[str, str]]) -> list[Manifest]:
    """Variables whose values are keys of Secrets, as (Secret, key) by name; never read by us."""
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
        for name, (secret, key) in variables.items()
    ]


def user_sources(template: PodTemplate) -> list[Manifest]:
    """`envFrom` of the template."""
    return [
        source.model_dump(mode="json", by_alias=True, exclude_none=True)
        for source in template.env_from or ()
    ]


def environment_sources(secret: str, template: PodTemplate) -> list[Manifest]:
    """`envFrom` of a pod with credentials; the Secret may be absent."""
    return [{"secretRef": {"name": secret, "optional": True}}, *user_sources(template)]


def credential_volume(secret: str) -> Manifest:
    """The certificate authority of the Secret as a file, where there is one."""
    return {
        "name": "credentials",
        "secret": {
            "secretName": secret,
            "optional": True,
            "items": [{"key": "ca.crt", "path": "ca.crt"}],
        },
    }


def credential_mounts() -> list[Manifest]:
    return [{"name": "credentials", "mountPath": CREDENTIALS_DIR, "readOnly": True}]


def common_volumes(template: PodTemplate) -> list[Manifest]:
    """`/tmp` and the template's volumes."""
    theirs = [
        {
            key: value
            for key, value in volume.model_dump(
                mode="json", by_alias=True, exclude_none=True
            ).items()
            if key not in ("mountPath", "readOnly")
        }
        for volume in template.volumes or ()
    ]
    return [{"name": "tmp", "emptyDir": {}}, *theirs]


def common_mounts(template: PodTemplate) -> list[Manifest]:
    """Mounts of `common_volumes`."""
    theirs = [
        {"name": volume.name, "mountPath": volume.mount_path, "readOnly": volume.read_only}
        for volume in template.volumes or ()
    ]
    return [{"name": "tmp", "mountPath": "/tmp"}, *theirs]


def resources(template: PodTemplate, default: Manifest) -> Manifest:
    """The template's resources, else ours."""
    if template.resources is None:
        return default
    return template.resources.model_dump(mode="json", by_alias=True, exclude_none=True)


def container_rest() -> dict[str, Any]:
    """Security context and termination message: ours, whatever the template says."""
    return {
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }


def scheduling(template: PodTemplate) -> dict[str, Any]:
    """Pod-level fields: the template's placement and our security."""
    placed = template.model_dump(
        mode="json",
        by_alias=True,
        exclude_none=True,
        include={
            "image_pull_secrets",
            "node_selector",
            "tolerations",
            "affinity",
            "topology_spread_constraints",
            "priority_class_name",
            "service_account_name",
        },
    )
    return {
        **{key: value for key, value in placed.items() if value},
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def claim_of(uri: str) -> str:
    """The PersistentVolumeClaim of a table at `pvc://claim/path`, or nothing."""
    return urlsplit(uri).netloc if uri.startswith("pvc://") else ""


def claims_of(uris: Iterable[str]) -> dict[str, str]:
    """The claims of tables, each once, by the names of their volumes."""
    claims = dict.fromkeys(claim for uri in uris if (claim := claim_of(uri)))
    return {f"table-{number}": claim for number, claim in enumerate(claims)}


def claim_mounts(claims: Mapping[str, str], folder: str) -> list[Manifest]:
    """Where the claims of tables are mounted, read-only."""
    return [
        {"name": volume, "mountPath": f"{folder}/{claim}", "readOnly": True}
        for volume, claim in claims.items()
    ]


def claim_volumes(claims: Mapping[str, str]) -> list[Manifest]:
    """The volumes of `claim_mounts`."""
    return [
        {"name": volume, "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
        for volume, claim in claims.items()
    ]


def module_mounts(module: tuple[str, str] | None, path: str) -> list[Manifest]:
    """Where the user's code is mounted, read-only; `path` is that of its file."""
    folder = path.rpartition("/")[0]
    return [{"name": "module", "mountPath": folder, "readOnly": True}] if module else []


def module_volumes(module: tuple[str, str] | None, path: str) -> list[Manifest]:
    """The volume of `module_mounts`: one key of a ConfigMap as the file of this name."""
    if module is None:
        return []
    name, key = module
    items = [{"key": key, "path": path.rpartition("/")[2]}]
    # A pod that waits for a ConfigMap says nothing; one that lacks it says what is missing.
    return [{"name": "module", "configMap": {"name": name, "items": items, "optional": True}}]
