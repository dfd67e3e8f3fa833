"""The API server through the official asyncio client: server-side apply and plain JSON."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode
from urllib.request import getproxies_environment

import aiohttp
from kubernetes.aio import client, config

from linnet.api import labels
from linnet.ports import Conflict, Manifest, Missing, Rejected, Unavailable

REQUEST_TIMEOUT = 20.0
PAGE = 250
"""Objects in one answer to a LIST: all at once would take more memory than the whole operator."""
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
YAML = "application/yaml"


@dataclass(frozen=True, slots=True)
class Resource:
    """Where a kind lives in the API, and what this adapter and Kopf's watches do with it."""

    api_version: str
    plural: str
    verbs: tuple[str, ...]
    subresources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cluster_wide_only: bool = False
    """Read only where the install sees the whole cluster, and only to say things better."""
    own_namespace: bool = False
    """Used in the operator's own namespace alone."""

    @property
    def prefix(self) -> str:
        return (
            f"/api/{self.api_version}"
            if "/" not in self.api_version
            else (f"/apis/{self.api_version}")
        )


_WATCH = ("get", "list", "watch")
_OWN = (*_WATCH, "create", "patch", "delete")
_STATUS = {"status": ("get", "patch"), "finalizers": ("update",)}

RESOURCES: Mapping[str, Resource] = {
    "TrainingJob": Resource("linnet.dev/v1alpha1", "trainingjobs", (*_WATCH, "create"), _STATUS),
    "ModelDeployment": Resource("linnet.dev/v1alpha1", "modeldeployments", _WATCH, _STATUS),
    "DriftPolicy": Resource("linnet.dev/v1alpha1", "driftpolicies", _WATCH, _STATUS),
    "Job": Resource("batch/v1", "jobs", _OWN),
    "Deployment": Resource("apps/v1", "deployments", _OWN, {"scale": ("get", "patch")}),
    "HorizontalPodAutoscaler": Resource("autoscaling/v2", "horizontalpodautoscalers", _OWN),
    "PodDisruptionBudget": Resource("policy/v1", "poddisruptionbudgets", _OWN),
    "ControllerRevision": Resource("apps/v1", "controllerrevisions", _OWN),
    "Service": Resource("v1", "services", _OWN),
    "ConfigMap": Resource("v1", "configmaps", _OWN),
    "Pod": Resource("v1", "pods", _WATCH),
    "HTTPRoute": Resource("gateway.networking.k8s.io/v1", "httproutes", _OWN),
    "Gateway": Resource("gateway.networking.k8s.io/v1", "gateways", _WATCH, cluster_wide_only=True),
    "Event": Resource("events.k8s.io/v1", "events", ("create",)),
    "Lease": Resource(
        "coordination.k8s.io/v1", "leases", ("get", "create", "update"), own_namespace=True
    ),
}


def path(kind: str, namespace: str | None, name: str | None = None, sub: str = "") -> str:
    """URL path of a kind's collection, of one object, or of its subresource."""
    resource = RESOURCES[kind]
    parts = [resource.prefix]
    if namespace is not None:
        parts.append(f"namespaces/{namespace}")
    parts.append(resource.plural)
    if name is not None:
        parts.append(name)
    if sub:
        parts.append(sub)
    return "/".join(parts)


def failure(status: int, body: bytes) -> Exception:
    """The port's error for an HTTP answer."""
    try:
        message = str(json.loads(body).get("message", ""))
    except (ValueError, AttributeError):
        message = body[:200].decode(errors="replace")
    text = message or f"the API server answered {status}"
    if status == 404:
        return Missing(text)
    if status == 409:
        return Conflict(text)
    # 410: a list whose pages were read too slowly; the next one begins anew.
    if status in (410, 429) or status >= 500:
        return Unavailable(text)
    return Rejected(text)


class KubernetesCluster:
    """The `Cluster` port on a real API server."""

    def __init__(self, api: client.ApiClient, *, identity: str) -> None:
        self._api = api
        self._status_manager = labels.status_field_manager(identity)
        self.count: Callable[[str, str], None] = lambda method, code: None
        """Called with method and status code of every request; telemetry replaces it."""

    @classmethod
    async def connect(cls, *, identity: str) -> KubernetesCluster:
        """Connect with the pod's service account, else with the kubeconfig."""
        configuration = client.Configuration()
        try:
            config.load_incluster_config(client_configuration=configuration)
        except config.ConfigException:
            await config.load_kube_config(client_configuration=configuration)
        # Else every request reads ~/.netrc, in a thread of its own.
        configuration.client_session_kwargs = {"trust_env": bool(getproxies_environment())}
        return cls(client.ApiClient(configuration), identity=identity)

    async def close(self) -> None:
        await self._api.close()

    async def request(
        self,
        method: str,
        url_path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        content_type: str = "application/json",
        timeout: float = REQUEST_TIMEOUT,
    ) -> Manifest:
        """Send one request; errors are the port's."""
        headers: dict[str, str] = {"Accept": "application/json", "Content-Type": content_type}
        await self._api.update_params_for_auth(
            headers, [], ["BearerToken"], url_path, method, body, None
        )
        url = self._api.configuration.host + url_path
        if query:
            url += "?" + urlencode(query)
        try:
            response = await self._api.rest_client.request(
                method, url, headers=headers, body=body, _request_timeout=timeout
            )
            data = await response.read()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self.count(method, "error")
            raise Unavailable(f"the API server did not answer: {error!r}") from error
        self.count(method, str(response.status))
        if not 200 <= response.status < 300:
            raise failure(response.status, data)
        parsed: Manifest = json.loads(data) if data else {}
        return parsed

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        return await self.request("GET", path(kind, namespace, name))

    async def pages(
        self, kind: str, namespace: str | None = None, *, ours: bool = False
    ) -> AsyncIterator[Sequence[Manifest]]:
        about = {"apiVersion": RESOURCES[kind].api_version, "kind": kind}
        query = {"limit": str(PAGE)}
        if ours:
            query["labelSelector"] = labels.SELECTOR
        while True:
            answer = await self.request("GET", path(kind, namespace), query=query)
            yield [{**about, **item} for item in answer.get("items", [])]
            following = answer.get("metadata", {}).get("continue")
            if not following:
                return
            query["continue"] = following

    async def has_field(self, kind: str, field: str) -> bool:
        """Whether the API server's schema of a kind's group knows a field of this name.

        Where it cannot be asked the answer is yes: it then refuses the field itself.
        """
        try:
            schema = await self.request("GET", f"/openapi/v3/apis/{RESOURCES[kind].api_version}")
        except Missing:
            return False
        except (Rejected, Unavailable):
            return True
        return f'"{field}"' in json.dumps(schema)

    async def apply(self, manifest: Manifest) -> Manifest:
        meta = manifest["metadata"]
        return await self.request(
            "PATCH",
            path(manifest["kind"], meta["namespace"], meta["name"]),
            query={"fieldManager": labels.FIELD_MANAGER, "force": "true"},
            body=manifest,
            content_type=APPLY,
        )

    async def create(self, manifest: Manifest) -> Manifest:
        meta = manifest["metadata"]
        try:
            return await self.request(
                "POST",
                path(manifest["kind"], meta["namespace"]),
                query={"fieldManager": labels.FIELD_MANAGER},
                # As YAML the API server writes raw parts down anew, in its own form. It keeps the
                # bytes of JSON, spaces included, and then refuses every later patch of a
                # ControllerRevision: its immutable `data` would no longer be the same bytes.
                body=json.dumps(manifest, ensure_ascii=False),
                content_type=YAML,
            )
        except Conflict:
            return await self.get(manifest["kind"], meta["namespace"], meta["name"])

    async def patch(self, kind: str, namespace: str, name: str, patch: Manifest) -> Manifest:
        return await self.request(
            "PATCH",
            path(kind, namespace, name),
            query={"fieldManager": labels.FIELD_MANAGER},
            body=patch,
            content_type=MERGE,
        )

    async def scale(self, namespace: str, name: str, replicas: int) -> None:
        await self.request(
            "PATCH",
            path("Deployment", namespace, name, "scale"),
            query={"fieldManager": labels.FIELD_MANAGER},
            body={"spec": {"replicas": replicas}},
            content_type=MERGE,
        )

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        try:
            await self.request(
                "DELETE",
                path(kind, namespace, name),
                body={
                    "apiVersion": "v1",
                    "kind": "DeleteOptions",
                    "preconditions": {"uid": uid},
                    "propagationPolicy": "Background",
                },
            )
        except (Missing, Conflict):
            # Gone, or another object under the same name: either way ours is not there.
            return

    async def apply_status(self, manifest: Manifest, *, force: bool = False) -> Manifest:
        meta = manifest["metadata"]
        query = {"fieldManager": self._status_manager}
        if force:
            query["force"] = "true"
        return await self.request(
            "PATCH",
            path(manifest["kind"], meta["namespace"], meta["name"], "status"),
            query=query,
            body=manifest,
            content_type=APPLY,
        )
