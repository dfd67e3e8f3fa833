"""The API server as the tests see it: a few requests, and a diary of everything that changes.

The diary watches our kinds in all namespaces of a run. Waiting for something costs no request, and
what happened in between (a weight of two seconds, an event) is never missed.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import urllib3
from kubernetes import client, config

Manifest = dict[str, Any]

PATHS = {
    "Namespace": ("/api/v1", "namespaces"),
    "Pod": ("/api/v1", "pods"),
    "Service": ("/api/v1", "services"),
    "Secret": ("/api/v1", "secrets"),
    "ConfigMap": ("/api/v1", "configmaps"),
    "Deployment": ("/apis/apps/v1", "deployments"),
    "ControllerRevision": ("/apis/apps/v1", "controllerrevisions"),
    "Job": ("/apis/batch/v1", "jobs"),
    "Event": ("/apis/events.k8s.io/v1", "events"),
    "Lease": ("/apis/coordination.k8s.io/v1", "leases"),
    "HorizontalPodAutoscaler": ("/apis/autoscaling/v2", "horizontalpodautoscalers"),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
    "Gateway": ("/apis/gateway.networking.k8s.io/v1", "gateways"),
    "EnvoyProxy": ("/apis/gateway.envoyproxy.io/v1alpha1", "envoyproxies"),
    "TrainingJob": ("/apis/linnet.dev/v1alpha1", "trainingjobs"),
    "ModelDeployment": ("/apis/linnet.dev/v1alpha1", "modeldeployments"),
    "DriftPolicy": ("/apis/linnet.dev/v1alpha1", "driftpolicies"),
}
WATCHED = (
    "TrainingJob",
    "ModelDeployment",
    "DriftPolicy",
    "HTTPRoute",
    "Deployment",
    "Service",
    "Job",
    "ConfigMap",
    "ControllerRevision",
    "Pod",
    "Event",
)
OURS = tuple(kind for kind in WATCHED if kind not in ("Pod", "Event"))
"""What the operator itself writes."""


class Refused(Exception):
    """The API server's answer to a request that it does not carry out."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text[:800]}")
        self.code = code


def path(kind: str, namespace: str | None = None, name: str = "", *more: str) -> str:
    """The path of a kind, of one namespace or of one object."""
    group, plural = PATHS[kind]
    place = f"/namespaces/{namespace}" if namespace else ""
    return "/".join(part for part in (f"{group}{place}/{plural}", name, *more) if part)


class Api:
    """Requests to one cluster, from any thread."""

    def __init__(self, kubeconfig: str) -> None:
        self.kubeconfig = kubeconfig
        settings = client.Configuration()
        config.load_kube_config(config_file=kubeconfig, client_configuration=settings)
        settings.connection_pool_maxsize = 64
        self._client = client.ApiClient(settings)

    def _open(
        self,
        method: str,
        where: str,
        body: Any,
        content: str,
        query: Mapping[str, str],
        **more: Any,
    ) -> Any:
        _, url, headers, *_ = self._client.param_serialize(
            method,
            where,
            query_params=list(query.items()),
            header_params={"Content-Type": content, "Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        data = json.dumps(body) if body is not None else None
        pool = self._client.rest_client.pool_manager
        return pool.request(method, url, headers=headers, body=data, retries=False, **more)

    def text(
        self,
        method: str,
        where: str,
        body: Any = None,
        *,
        content: str = "application/json",
        timeout: float = 30,
        **query: str,
    ) -> str:
        """The answer's text; raises Refused. A connection that broke is tried again for a while."""
        deadline = time.monotonic() + 60
        while True:
            try:
                answer = self._open(method, where, body, content, query, timeout=timeout)
            except urllib3.exceptions.HTTPError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
                continue
            if answer.status >= 400:
                raise Refused(answer.status, answer.data.decode("utf-8", "replace"))
            return str(answer.data.decode())

    def call(self, method: str, where: str, body: Any = None, **more: Any) -> Manifest:
        """The answer as an object; raises Refused."""
        found: Manifest = json.loads(self.text(method, where, body, **more))
        return found

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """One object, or None where there is none."""
        try:
            return self.call("GET", path(kind, namespace, name))
        except Refused as error:
            if error.code == 404:
                return None
            raise

    def list(self, kind: str, namespace: str | None = None, **query: str) -> list[Manifest]:
        """All objects of a kind."""
        items: list[Manifest] = self.call("GET", path(kind, namespace), **query)["items"]
        return items

    def apply(self, manifest: Manifest) -> Manifest:
        """Apply as a user does, server-side."""
        meta = manifest["metadata"]
        return self.call(
            "PATCH",
            path(manifest["kind"], meta.get("namespace"), meta["name"]),
            manifest,
            content="application/apply-patch+yaml",
            fieldManager="e2e",
            force="true",
        )

    def patch(self, kind: str, namespace: str, name: str, patch: Manifest) -> Manifest:
        """Merge-patch an object."""
        where = path(kind, namespace, name)
        return self.call("PATCH", where, patch, content="application/merge-patch+json")

    def delete(self, kind: str, namespace: str | None, name: str, *, grace: int = -1) -> None:
        """Delete; one that is gone is success."""
        query = {"gracePeriodSeconds": str(grace)} if grace >= 0 else {}
        query["propagationPolicy"] = "Background"
        try:
            self.call("DELETE", path(kind, namespace, name), **query)
        except Refused as error:
            if error.code != 404:
                raise

    def kubectl(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """kubectl, for what is more than a request: exec, kustomize, rollout."""
        done = subprocess.run(
            ["kubectl", "--kubeconfig", self.kubeconfig, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()[-2000:]}")
        return done.stdout

    def lines(self, where: str, **query: str) -> Iterator[Manifest]:
        """A watch's lines, until the server ends it."""
        answer = self._open(
            "GET", where, None, "application/json", query,
            preload_content=False, timeout=urllib3.Timeout(connect=10, read=90),
        )  # fmt: skip
        try:
            if answer.status >= 400:
                raise Refused(answer.status, answer.data.decode("utf-8", "replace"))
            rest = b""
            for chunk in answer.stream(65536):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from (json.loads(line) for line in whole if line)
        finally:
            # A watch that is left in the middle cannot be used again.
            answer.close()


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the diary."""

    at: float
    verb: str
    kind: str
    namespace: str
    name: str
    obj: Manifest


@dataclass
class Diary:
    """What is, and what happened, in the namespaces with one prefix."""

    api: Api
    prefix: str
    kinds: Sequence[str] = WATCHED
    entries: list[Entry] = field(default_factory=list)
    now: dict[tuple[str, str, str], Manifest] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    _ended: threading.Event = field(default_factory=threading.Event)
    _filled: dict[str, threading.Event] = field(default_factory=dict)

    def start(self) -> None:
        """Begin to write; returns when every kind was read once."""
        for kind in self.kinds:
            self._filled[kind] = threading.Event()
            threading.Thread(target=self._follow, args=(kind,), daemon=True).start()
        for kind, filled in self._filled.items():
            assert filled.wait(60), f"{kind} cannot be watched"

    def stop(self) -> None:
        """Write no more."""
        self._ended.set()

    def get(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """An object as it was seen last."""
        with self.changed:
            return self.now.get((kind, namespace, name))

    def all(self, kind: str, namespace: str) -> list[Manifest]:
        """All objects of a kind in a namespace."""
        with self.changed:
            return [obj for key, obj in sorted(self.now.items()) if key[:2] == (kind, namespace)]

    def past(self, kind: str, namespace: str, name: str = "") -> list[Manifest]:
        """Every state of objects of a kind, oldest first."""
        with self.changed:
            return [
                entry.obj
                for entry in self.entries
                if (entry.kind, entry.namespace) == (kind, namespace)
                and name in ("", entry.name)
                and entry.verb != "DELETED"
            ]

    def wait(self, ready: Callable[[], Any], seconds: float) -> Any:
        """The first true value of `ready`, or None after so many seconds."""
        deadline = time.monotonic() + seconds
        with self.changed:
            while True:
                found = ready()
                if found:
                    return found
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self.changed.wait(min(left, 1.0))

    def _follow(self, kind: str) -> None:
        while not self._ended.is_set():
            try:
                version = self._read(kind)
                self._filled[kind].set()
                while not self._ended.is_set():
                    version = self._watch(kind, version)
            except (Refused, urllib3.exceptions.HTTPError, OSError, ValueError):
                self._ended.wait(1)

    def _read(self, kind: str) -> str:
        found = self.api.call("GET", path(kind))
        seen = set()
        for obj in found["items"]:
            self._write(kind, "LISTED", obj)
            seen.add((kind, obj["metadata"]["namespace"], obj["metadata"]["name"]))
        with self.changed:
            for key in [key for key in self.now if key[0] == kind and key not in seen]:
                del self.now[key]
        return str(found["metadata"]["resourceVersion"])

    def _watch(self, kind: str, version: str) -> str:
        query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
        for line in self.api.lines(path(kind), timeoutSeconds="600", **query):
            if line["type"] == "ERROR":
                raise Refused(410, json.dumps(line["object"]))
            version = str(line["object"]["metadata"]["resourceVersion"])
            if line["type"] != "BOOKMARK":
                self._write(kind, line["type"], line["object"])
            if self._ended.is_set():
                break
        return version

    def _write(self, kind: str, verb: str, obj: Manifest) -> None:
        meta = obj["metadata"]
        namespace = meta.get("namespace", "")
        if not namespace.startswith(self.prefix):
            return
        key = (kind, namespace, meta["name"])
        with self.changed:
            known = self.now.get(key)
            if verb == "DELETED":
                self.now.pop(key, None)
            elif verb == "LISTED" and known is not None and _version(known) == _version(obj):
                return
            else:
                self.now[key] = obj
            self.entries.append(Entry(time.time(), verb, kind, namespace, meta["name"], obj))
            self.changed.notify_all()


def _version(obj: Manifest) -> str:
    return str(obj["metadata"]["resourceVersion"])
