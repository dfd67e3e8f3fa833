"""A small world for the real loop: API server, kubelet, gateway, registry and users in memory.

The operator's own observe, decide, perform and report run against it in virtual time; what is
fake is only what stands outside the operator. Every write may be the last one before a crash
(`crash_after`), and the process then starts anew with nothing but what the API server holds.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from linnet.api import labels
from linnet.api.shared import format_time
from linnet.core.registry import ModelView, RunView, VersionView
from linnet.core.rollout.state import ScrapedPage, ScrapeTarget
from linnet.ports import Conflict, Missing, Unavailable
from linnet.shell import reconcile
from linnet.shell.cache import Cache, Key
from linnet.shell.registry import Known
from linnet.shell.settings import parse
from linnet.shell.world import World

Manifest = dict[str, Any]
RESYNC = timedelta(seconds=60)
START = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
NAMESPACE = "team"


class Crash(Exception):
    """The process died right after a write was committed."""


class FakeCluster:
    """An API server: resourceVersions, uids, generations, server-side apply, scale, status."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str, str], Manifest] = {}
        self.writes: list[str] = []
        self.events: list[Manifest] = []
        self.crash_after: int | None = None
        self.failing: dict[tuple[str, str], Exception] = {}
        self.now = START
        self.version = 100
        self._uids = 0

    def fail(self, verb: str, kind: str, error: Exception) -> None:
        """Make every call of a verb on a kind fail."""
        self.failing[verb, kind] = error

    def _check(self, verb: str, kind: str) -> None:
        if (verb, kind) in self.failing:
            raise self.failing[verb, kind]

    def _stamp(self, obj: Manifest) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)

    def put(self, obj: Manifest) -> Manifest:
        """Store an object as somebody else than the operator would."""
        key = (obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"])
        before = self.objects.get(key)
        obj = copy.deepcopy(obj)
        if before is None:
            self._uids += 1
            obj["metadata"].setdefault("uid", f"uid-{self._uids}")
            obj["metadata"].setdefault("creationTimestamp", format_time(self.now))
            obj["metadata"]["generation"] = 1
        elif before == obj:
            return before
        elif before.get("spec") != obj.get("spec"):
            obj["metadata"]["generation"] = before["metadata"]["generation"] + 1
        self._stamp(obj)
        self.objects[key] = obj
        return obj

    def remove(self, kind: str, namespace: str, name: str) -> None:
        gone = self.objects.pop((kind, namespace, name))
        uid = gone["metadata"]["uid"]
        owned = [
            key
            for key, obj in self.objects.items()
            if any(o["uid"] == uid for o in obj["metadata"].get("ownerReferences", ()))
        ]
        for key in owned:
            self.remove(*key)

    def _written(self, verb: str, obj: Manifest) -> None:
        self.writes.append(f"{verb} {obj['kind']} {obj['metadata']['name']}")
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                self.crash_after = None
                raise Crash

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        self._check("get", kind)
        found = self.objects.get((kind, namespace, name))
        if found is None:
            raise Missing(f"{kind} {name} not found")
        return copy.deepcopy(found)

    async def list(self, kind: str, namespace: str | None = None) -> Sequence[Manifest]:
        return [copy.deepcopy(obj) for key, obj in self.objects.items() if key[0] == kind]

    async def apply(self, manifest: Mapping[str, Any]) -> Manifest:
        kind, meta = manifest["kind"], manifest["metadata"]
        self._check("apply", kind)
        before = self.objects.get((kind, meta["namespace"], meta["name"]))
        merged = _merge(before or {}, manifest)
        if kind == "Deployment":
            merged["spec"].setdefault("replicas", 1)
        if before is not None and merged == before:
            return copy.deepcopy(before)
        stored = self.put(merged)
        self._written("apply", stored)
        return copy.deepcopy(stored)

    async def create(self, manifest: Mapping[str, Any]) -> Manifest:
        kind, meta = manifest["kind"], manifest["metadata"]
        self._check("create", kind)
        if kind == "Event":
            self.events.append(dict(manifest))
            return dict(manifest)
        known = self.objects.get((kind, meta["namespace"], meta["name"]))
        if known is not None:
            return copy.deepcopy(known)
        stored = self.put(copy.deepcopy(dict(manifest)))
        self._written("create", stored)
        return copy.deepcopy(stored)

    async def patch(
        self, kind: str, namespace: str, name: str, patch: Mapping[str, Any]
    ) -> Manifest:
        self._check("patch", kind)
        before = await self.get(kind, namespace, name)
        stored = self.put(_merge(before, patch))
        self._written("patch", stored)
        return copy.deepcopy(stored)

    async def scale(self, namespace: str, name: str, replicas: int) -> None:
        before = await self.get("Deployment", namespace, name)
        before["spec"]["replicas"] = replicas
        self._written("scale", self.put(before))

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        found = self.objects.get((kind, namespace, name))
        if found is not None and found["metadata"]["uid"] == uid:
            self.remove(kind, namespace, name)
            self._written("delete", found)

    async def apply_status(self, manifest: Mapping[str, Any], *, force: bool = False) -> Manifest:
        kind, meta = manifest["kind"], manifest["metadata"]
        self._check("status", kind)
        before = await self.get(kind, meta["namespace"], meta["name"])
        if before["metadata"]["resourceVersion"] != meta["resourceVersion"]:
            raise Conflict("the object has been modified")
        before["status"] = copy.deepcopy(dict(manifest["status"]))
        self._stamp(before)
        self.objects[kind, meta["namespace"], meta["name"]] = before
        self._written("status", before)
        return copy.deepcopy(before)


def _merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> Manifest:
    """A deep merge; None deletes, lists and selectors are replaced."""
    merged = copy.deepcopy(dict(base))
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif (
            isinstance(value, Mapping)
            and isinstance(merged.get(key), Mapping)
            and (key != "selector")
        ):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = copy.deepcopy(value)
    return merged


class FakeRegistry:
    """MLflow's registry: aliases and tags of one model, and runs of trainings."""

    def __init__(self) -> None:
        self.aliases: dict[str, str] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.runs: list[RunView] = []
        self.down = False
        self.writes: list[str] = []

    def add_version(self, version: str, *, content: str | None = None) -> None:
        self.versions[version] = {
            labels.VERSION_MANIFEST: f"sha-{version}",
            labels.VERSION_CONTENT: content or f"content-{version}",
        }

    def _check(self) -> None:
        if self.down:
            raise Unavailable("connection refused")

    async def model(self, name: str) -> ModelView:
        self._check()
        if not self.versions:
            raise Missing(f"Registered Model with name={name} not found")
        return ModelView(
            name=name,
            aliases=dict(self.aliases),
            versions={
                version: VersionView(
                    version=version, artifact_uri=f"s3://models/{version}", tags=dict(tags)
                )
                for version, tags in self.versions.items()
            },
        )

    async def run(self, namespace: str, name: str, spec_hash: str) -> RunView | None:
        self._check()
        return self.runs[-1] if self.runs else None

    async def set_alias(self, model: str, alias: str, version: str) -> None:
        self._check()
        self.aliases[alias] = version
        self.writes.append(f"alias {alias}={version}")

    async def set_version_tag(self, model: str, version: str, key: str, value: str | None) -> None:
        self._check()
        if value is None:
            self.versions[version].pop(key, None)
        else:
            self.versions[version][key] = value
        self.writes.append(f"tag {version} {key}")

    async def close_run(self, run_id: str) -> None:
        self._check()
        self.writes.append(f"close {run_id}")


class DirectModels:
    """The registry without a cache: always fresh, except while it is down."""

    def __init__(self, registry: FakeRegistry) -> None:
        self._registry = registry
        self._last = Known()

    async def get(self, model: str) -> Known:
        try:
            self._last = Known(view=await self._registry.model(model))
        except Missing:
            self._last = Known(missing=True)
        except Unavailable as error:
            self._last = Known(view=self._last.view, error=str(error))
        return self._last

    def touch(self, model: str) -> None: ...
    def wait_for(self, model: str) -> None: ...


class QuietQueue:
    """Passes are driven by the simulation."""

    def add(self, key: Key) -> None: ...


@dataclass(kw_only=True)
class Behaviour:
    """How the pods of one version behave."""

    bad: float = 0.0
    """Share of requests that answer 500."""
    ready_after: float | None = 2.0
    """Seconds until a pod is ready; None = never."""
    fetch_exit: int | None = None
    restarts: int = 0


@dataclass(kw_only=True)
class Simulation:
    """One ModelDeployment in its small world."""

    spec: Mapping[str, Any]
    rate: float = 100.0
    """User requests per second."""
    seed: int = 1
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    gateway_up: bool = True
    metrics_up: bool = True

    def __post_init__(self) -> None:
        self.cluster = FakeCluster()
        self.registry = FakeRegistry()
        self.now = START
        self.random = random.Random(self.seed)
        self.counters: dict[str, dict[str, int]] = {}
        self.served: dict[str, list[int]] = {}
        self.unanswered = 0
        self.pod_started: dict[str, datetime] = {}
        self.key = Key("ModelDeployment", NAMESPACE, "delays")
        self._due = START
        self._seen: tuple[int, int, str] | None = None
        self.invariants: list[Callable[[Simulation], None]] = []
        self.cluster.put(
            {
                "apiVersion": "linnet.dev/v1alpha1",
                "kind": "ModelDeployment",
                "metadata": {"name": "delays", "namespace": NAMESPACE, "annotations": {}},
                "spec": copy.deepcopy(dict(self.spec)),
            }
        )
        self.restart()

    # -- the process --------------------------------------------------------------------------

    def restart(self) -> None:
        """Start the operator anew: nothing is remembered but what the API server holds."""
        self.world = World(
            cluster=self.cluster,
            registry=self.registry,
            models=DirectModels(self.registry),  # type: ignore[arg-type]
            metrics=self,  # type: ignore[arg-type]
            cache=Cache(),
            queue=QuietQueue(),  # type: ignore[arg-type]
            settings=parse(["--tracking-uri", "http://mlflow:5000"], {}),
            routes_exist=True,
            gateways_readable=False,
        )

    def _refresh(self) -> None:
        cache = Cache()
        for obj in self.cluster.objects.values():
            ours = obj["metadata"].get("labels", {}).get(labels.MANAGED_BY)
            if obj["kind"] == self.key.kind or ours:
                cache.update(obj)
        self.world.cache = cache

    async def reconcile(self) -> timedelta | None:
        """One pass; a crash restarts the process."""
        self._refresh()
        try:
            return await reconcile.model_deployment(self.key, self.world, now=self.now)
        except Crash:
            self.restart()
            return timedelta(0)
        except Conflict:
            return timedelta(0)
        except (Unavailable, Missing):
            return timedelta(seconds=1)
        finally:
            for check in self.invariants:
                check(self)

    async def settle_now(self) -> None:
        """Passes at this moment until none asks for another at once."""
        for _ in range(50):
            after = await self.reconcile()
            if after != timedelta(0):
                self._seen = self._state()
                # Resync and the registry's poll look at every object from time to time.
                self._due = self.now + min(after or RESYNC, RESYNC)
                return
        raise AssertionError("the loop does not come to rest at one moment")

    async def run_async(self, seconds: float, until: Callable[[Simulation], bool] | None) -> bool:
        for _ in range(int(seconds)):
            self.tick(1.0)
            if self.now >= self._due or self._state() != self._seen:
                await self.settle_now()
            if until is not None and until(self):
                return True
        return until is None

    def _state(self) -> tuple[int, int, str]:
        """Changes whenever a watch or the registry's poll would wake the object."""
        registry = f"{self.registry.aliases}{self.registry.down}{self.registry.versions}"
        return self.cluster.version, len(self.registry.writes), registry

    def run(self, seconds: float, until: Callable[[Simulation], bool] | None = None) -> bool:
        """Let virtual time pass, second by second; True when `until` came true."""
        return asyncio.run(self.run_async(seconds, until))

    # -- the world ----------------------------------------------------------------------------

    def tick(self, seconds: float) -> None:
        """Let kubelet, gateway and users do what they do in this time."""
        self.now += timedelta(seconds=seconds)
        self.cluster.now = self.now
        self._kubelet()
        self._gateway()
        self._users(seconds)

    def _behaviour(self, version: str) -> Behaviour:
        return self.behaviours.setdefault(version, Behaviour())

    def _kubelet(self) -> None:
        wanted: set[str] = set()
        for (kind, _, name), deployment in list(self.cluster.objects.items()):
            if kind != "Deployment":
                continue
            for index in range(deployment["spec"]["replicas"]):
                pod = f"{name}-{index}"
                wanted.add(pod)
                self._pod(pod, deployment)
        for kind, namespace, name in list(self.cluster.objects):
            if kind == "Pod" and name not in wanted:
                self.cluster.remove(kind, namespace, name)
                self.pod_started.pop(name, None)

    def _pod(self, name: str, deployment: Manifest) -> None:
        template = deployment["spec"]["template"]["metadata"]
        behaviour = self._behaviour(template["labels"][labels.MODEL_VERSION])
        started = self.pod_started.setdefault(name, self.now)
        age = (self.now - started).total_seconds()
        ready = behaviour.ready_after is not None and age >= behaviour.ready_after
        since = started + timedelta(seconds=behaviour.ready_after or 0) if ready else started
        status: Manifest = {
            "podIP": name,
            "conditions": [
                {
                    "type": "Ready",
                    "status": "True" if ready else "False",
                    "lastTransitionTime": format_time(since),
                }
            ],
            "containerStatuses": [{"restartCount": behaviour.restarts, "state": {}}],
        }
        if behaviour.restarts:
            status["containerStatuses"][0]["lastState"] = {
                "terminated": {"exitCode": 1, "finishedAt": format_time(self.now)}
            }
        if behaviour.fetch_exit is not None:
            ended = {"exitCode": behaviour.fetch_exit, "message": "the digest differs"}
            status["initContainerStatuses"] = [{"state": {"terminated": ended}}]
        known = self.cluster.objects.get(("Pod", NAMESPACE, name))
        uid = known["metadata"]["uid"] if known else None
        meta: Manifest = (
            dict(known["metadata"])
            if known
            else {
                "name": name,
                "namespace": NAMESPACE,
                "labels": template["labels"],
                "creationTimestamp": format_time(started),
            }
        )
        if uid is None or known is None or known.get("status") != status:
            self.cluster.put({"kind": "Pod", "metadata": meta, "status": status})

    def _gateway(self) -> None:
        route = self.cluster.objects.get(("HTTPRoute", NAMESPACE, "delays"))
        if route is None or not self.gateway_up:
            return
        conditions = [
            {
                "type": kind,
                "status": "True",
                "reason": kind,
                "message": "",
                "observedGeneration": route["metadata"]["generation"],
            }
            for kind in ("Accepted", "ResolvedRefs")
        ]
        parents = [
            {"parentRef": parent, "conditions": conditions}
            for parent in route["spec"]["parentRefs"]
        ]
        if (route.get("status") or {}).get("parents") != parents:
            self.cluster.put({**route, "status": {"parents": parents}})
        self.programmed = {
            ref["name"]: ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]
        }

    programmed: Mapping[str, int] = field(default_factory=dict, init=False)

    def _users(self, seconds: float) -> None:
        count = int(self.rate * seconds)
        shares = self._shares()
        if not shares:
            return
        names = list(shares)
        picked = self.random.choices(names, [shares[name] for name in names], k=count)
        for revision in names:
            self._serve(revision, picked.count(revision))

    def _serve(self, revision: str, count: int) -> None:
        pods = self._ready_pods(revision)
        if not pods:
            self.unanswered += count
            return
        version = pods[0]["metadata"]["labels"][labels.MODEL_VERSION]
        rate = self._behaviour(version).bad
        for index, pod in enumerate(pods):
            part = count // len(pods) + (1 if index < count % len(pods) else 0)
            bad = sum(self.random.random() < rate for _ in range(part)) if rate else 0
            counter = self.counters.setdefault(pod["metadata"]["uid"], {})
            for code, more in (("500", bad), ("200", part - bad)):
                if more:
                    counter[code] = counter.get(code, 0) + more
            tally = self.served.setdefault(version, [0, 0])
            tally[0] += part
            tally[1] += bad

    def _shares(self) -> Mapping[str, int]:
        """Where users' requests go: by the route, else by the Service's ready pods."""
        if self.programmed:
            return {name: weight for name, weight in self.programmed.items() if weight}
        service = self.cluster.objects.get(("Service", NAMESPACE, "delays"))
        if service is None:
            return {}
        only = service["spec"]["selector"].get(labels.REVISION)
        if only is not None:
            return {str(only): 1}
        shares: dict[str, int] = {}
        for (kind, _, _), obj in self.cluster.objects.items():
            if kind == "Pod" and _is_ready(obj):
                name = obj["metadata"]["labels"][labels.REVISION]
                shares[name] = shares.get(name, 0) + 1
        return shares

    def _ready_pods(self, revision: str) -> list[Manifest]:
        return [
            obj
            for (kind, _, _), obj in self.cluster.objects.items()
            if kind == "Pod"
            and obj["metadata"]["labels"][labels.REVISION] == revision
            and _is_ready(obj)
        ]

    # -- the metric source --------------------------------------------------------------------

    async def scrape(self, targets: Sequence[ScrapeTarget]) -> Sequence[ScrapedPage]:
        if not self.metrics_up:
            return []
        return [
            ScrapedPage(
                target=target,
                started="1",
                requests={"weighted": dict(self.counters.get(target.pod_uid, {}))},
            )
            for target in targets
        ]

    async def inputs(self, target: ScrapeTarget, model: str) -> Mapping[str, str] | None:
        return {"distance": "FP64"}

    # -- what a test asks ---------------------------------------------------------------------

    @property
    def object(self) -> Manifest:
        return self.cluster.objects["ModelDeployment", NAMESPACE, "delays"]

    @property
    def status(self) -> Manifest:
        found: Manifest = self.object.get("status") or {}
        return found

    def condition(self, kind: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        for condition in self.status.get("conditions", ()):
            if condition["type"] == kind:
                return condition["status"], condition["reason"]
        return "", ""

    def message(self, kind: str) -> str:
        return next(
            (c["message"] for c in self.status.get("conditions", ()) if c["type"] == kind), ""
        )

    def edit(self, change: Callable[[Manifest], None]) -> None:
        """Edit the object as a user would."""
        obj = copy.deepcopy(self.object)
        change(obj)
        self.cluster.put(obj)

    def request(self, verb: str, revision: str | None = None) -> None:
        """Annotate the object with a request of this moment."""
        name = f"={revision}" if revision else ""
        text = f"{verb}{name}@{format_time(self.now)}"
        self.edit(lambda obj: obj["metadata"]["annotations"].update({labels.REQUEST: text}))

    def deployments(self) -> list[str]:
        return sorted(name for kind, _, name in self.cluster.objects if kind == "Deployment")

    def facts(self) -> Manifest:
        """The end state, without times and names that carry them."""
        status = self.status
        return {
            "champion": status.get("champion", {}).get("version"),
            "candidate": status.get("candidate"),
            "rejected": [(r["version"], r["reason"]) for r in status.get("rejected", ())],
            "ready": self.condition("Ready"),
            "weights": dict(self.programmed),
            "deployments": self.deployments(),
            "aliases": dict(self.registry.aliases),
        }


def _is_ready(pod: Manifest) -> bool:
    return bool(pod["status"]["conditions"][0]["status"] == "True")


ROUTED: Manifest = {
    "model": {"name": "delays"},
    "route": {"parentRefs": [{"name": "eg"}], "hostnames": ["delays.example.com"]},
    "server": {"replicas": 2},
}


def serving(version: str = "1", **options: Any) -> Simulation:
    """A deployment whose version 1 serves and holds the champion alias, after its first minutes."""
    options.setdefault("spec", ROUTED)
    simulation = Simulation(**options)
    simulation.registry.add_version(version)
    simulation.registry.aliases["challenger"] = version
    assert simulation.run(120, lambda s: s.registry.aliases.get("champion") == version)
    simulation.run(5)
    return simulation


def offer(simulation: Simulation, version: str, **behaviour: Any) -> None:
    """Register a version and point the challenger alias at it."""
    content = behaviour.pop("content", None)
    simulation.registry.add_version(version, content=content)
    simulation.behaviours[version] = Behaviour(**behaviour)
    simulation.registry.aliases["challenger"] = version
