"""Kopf's part: watches that fill the cache and wake a key, and nothing else.

Only `on.event` is used: it never retries, writes nothing and wants no finalizer. A handler hands
the object to the cache, which keeps a copy, and asks for a pass over its owner.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import kopf
from kopf._core.reactor.inventory import ResourceMemories, ResourceMemory

from linnet.adapters.kubernetes import PAGE, RESOURCES
from linnet.api import labels
from linnet.shell.cache import key_of, owners_of
from linnet.shell.world import World

OURS = ("TrainingJob", "ModelDeployment", "DriftPolicy")
UNLABELLED = (*OURS, "Gateway")
"""What users make: all of it is looked at, of everything else only what carries our label."""
CHILDREN = (
    "Job",
    "ConfigMap",
    "Pod",
    "Deployment",
    "HorizontalPodAutoscaler",
    "PodDisruptionBudget",
    "ControllerRevision",
    "Service",
)
LONGEST_BACKOFF = 30


class Backoffs:
    """Delays between retries of a watch, for ever; Kopf iterates anew for every request."""

    def __iter__(self) -> Iterator[float]:
        return itertools.chain((1, 2, 4, 8, 16), itertools.repeat(LONGEST_BACKOFF))


async def log_in(**kwargs: Any) -> kopf.ConnectionInfo | None:
    """Log Kopf in like everything else: the pod's service account, else the kubeconfig."""
    return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)


class NoMemories(ResourceMemories):
    """Kopf remembers nothing of an object: no handler of ours has a state."""

    async def recall(self, raw_body: Any, **given: Any) -> ResourceMemory:
        return await super().recall(raw_body, **{**given, "ephemeral": True})


class NoDiffs(kopf.DiffBaseStorage):
    """Kopf compares no object with its past: it would copy each of them twice for an event."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        return


class Watcher:
    """Registers the handlers: one per kind, all the same."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.registry = kopf.OperatorRegistry()

    def kinds(self) -> tuple[str, ...]:
        """Everything that is watched by this install."""
        more = []
        if self._world.routes_exist:
            more.append("HTTPRoute")
        if self._world.routes_exist and self._world.gateways_readable:
            more.append("Gateway")
        return (*OURS, *CHILDREN, *more)

    def register(self) -> None:
        """Register one event handler per kind, and what Kopf needs to start."""
        kopf.on.login(registry=self.registry)(log_in)
        for kind in self.kinds():
            resource = RESOURCES[kind]
            group, _, version = resource.api_version.rpartition("/")
            kopf.on.event(
                group, version, resource.plural, registry=self.registry, id=f"cache-{kind}"
            )(self._handler(kind, resource.api_version))

    def _handler(self, kind: str, api_version: str) -> Any:
        async def handle(event: Mapping[str, Any], **_: Any) -> None:
            obj = {"apiVersion": api_version, "kind": kind, **event["object"]}
            self.take(str(event.get("type") or ""), obj)

        return handle

    def take(self, event_type: str, obj: Mapping[str, Any]) -> None:
        """Put one watched object into the cache and wake whom it concerns."""
        namespace = obj["metadata"].get("namespace", "")
        if obj["kind"] != "Gateway" and not self._world.settings.watches(namespace):
            return
        if event_type == "DELETED":
            self._world.cache.remove(obj)
        elif not self._world.cache.update(obj):
            return
        self.wake(obj)

    def wake(self, obj: Mapping[str, Any]) -> None:
        """Ask for a pass over an object's owners, and over those who look at it."""
        for owner in owners_of(obj):
            self._world.queue.add(owner)
        if obj["kind"] == "Gateway":
            for deployment in self._world.cache.keys("ModelDeployment"):
                self._world.queue.add(deployment)
        for policy in self._world.cache.readers(key_of(obj)):
            self._world.queue.add(policy)

    def settings(self) -> kopf.OperatorSettings:
        """How Kopf is to behave as a shell."""
        settings = kopf.OperatorSettings()
        settings.scanning.disabled = True
        settings.peering.standalone = True
        settings.posting.enabled = False
        settings.persistence.diffbase_storage = NoDiffs()
        # One list of everything would be decoded at once.
        settings.watching.chunk_size = PAGE
        settings.watching.server_timeout = 300
        settings.watching.client_timeout = 330
        settings.watching.connect_timeout = 10
        settings.networking.connect_timeout = 10
        settings.networking.request_timeout = 30
        settings.networking.error_backoffs = Backoffs()
        settings.queueing.exit_timeout = 10
        # A task for each of thousands of objects would wait for its next event.
        settings.queueing.idle_timeout = 0.2
        for kind in self.kinds():
            if kind not in UNLABELLED:
                resource = RESOURCES[kind]
                group = resource.api_version.rpartition("/")[0]
                settings.watching.label_selectors[group, resource.plural] = labels.SELECTOR
        return settings
