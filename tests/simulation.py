"""A small world for the real loop: API server, kubelet, gateway, registry and users in memory.

The operator's own observe, decide, perform and report run against it in virtual time; what is
fake is only what stands outside the operator. Every write may be the last one before a crash
(`crash_after`), and the process then starts anew with nothing but what the API server holds.
"""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Self

from linnet.api import labels
from linnet.api.shared import format_time, parse_time
from linnet.core.registry import ModelView, RunView, Traces, VersionView
from linnet.core.rollout.state import ScrapedPage, ScrapeTarget
from linnet.ports import Conflict, Missing, Rejected, Unavailable
from linnet.shell import reconcile
from linnet.shell.cache import Cache, Key, key_of
from linnet.shell.registry import Known
from linnet.shell.settings import parse
from linnet.shell.world import World
from linnet_server import contract as server
from linnet_trainer import contract as trainer

Manifest = dict[str, Any]
RESYNC = timedelta(seconds=60)
START = datetime(2026, 11, 25, 8, 0, tzinfo=UTC)
NAMESPACE = "team"
SLOW, HIGH = "slow", "high"
"""Counters beside those of codes: slow answers and high scores."""
SETTINGS = parse(["--tracking-uri", "http://mlflow:5000"], {})


class Crash(Exception):
    """The process died right after a write was committed."""


def copied(value: Any) -> Any:
    """A copy of JSON, several times faster than `copy.deepcopy`."""
    if isinstance(value, Mapping):
        return {key: copied(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [copied(item) for item in value]
    return value


class FakeCluster:
    """An API server: resourceVersions, uids, generations, server-side apply, scale, status.

    `fail(verb, kind, error)` makes calls fail; `crash_after = n` lets n more writes pass and kills
    the process right after the next one was committed, `lose_after = n` drops its answer instead.
    """

    def __init__(self, *, identity: str = "linnet-system/linnet-operator") -> None:
        self.objects: dict[tuple[str, str, str], Manifest] = {}
        self.writes: list[str] = []
        self.calls: list[str] = []
        self.events: list[Manifest] = []
        self.crash_after: int | None = None
        self.lose_after: int | None = None
        self.failing: dict[tuple[str, str], Exception] = {}
        self.refusing: Exception | None = None
        """What every write is answered with."""
        self.now = START
        self.version = 100
        self.manager = labels.status_field_manager(identity)
        self.status_managers: dict[tuple[str, str, str], str] = {}
        """Who owns the status of an object, where somebody wrote it."""
        self._applied: dict[tuple[str, str, str], Manifest] = {}
        self._uids = 0

    def fail(self, verb: str, kind: str, error: Exception) -> None:
        """Make every call of a verb on a kind fail."""
        self.failing[verb, kind] = error

    def mend(self) -> None:
        """No call fails any more."""
        self.failing.clear()
        self.refusing = None

    def _check(self, verb: str, kind: str) -> None:
        self.calls.append(f"{verb} {kind}")
        if (verb, kind) in self.failing:
            raise self.failing[verb, kind]
        if self.refusing is not None and verb not in ("get", "list"):
            raise self.refusing

    def _stamp(self, obj: Manifest) -> None:
        self.version += 1
        obj["metadata"]["resourceVersion"] = str(self.version)

    def put(self, obj: Mapping[str, Any]) -> Manifest:
        """Store an object as somebody else than the operator would."""
        key = (obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"])
        before = self.objects.get(key)
        if before == obj:
            return before
        stored: Manifest = copied(obj)
        if before is None:
            self._uids += 1
            stored["metadata"].setdefault("uid", f"uid-{self._uids}")
            stored["metadata"].setdefault("creationTimestamp", format_time(self.now))
            stored["metadata"]["generation"] = 1
        elif before.get("spec") != stored.get("spec"):
            stored["metadata"]["generation"] = before["metadata"]["generation"] + 1
        self._stamp(stored)
        self.objects[key] = stored
        return stored

    def remove(self, kind: str, namespace: str, name: str) -> None:
        """Delete an object and what it owns, as garbage collection does."""
        gone = self.objects.pop((kind, namespace, name))
        self._applied.pop((kind, namespace, name), None)
        uid = gone["metadata"]["uid"]
        owned = [
            key
            for key, obj in self.objects.items()
            if any(o["uid"] == uid for o in obj["metadata"].get("ownerReferences", ()))
        ]
        for key in owned:
            if key in self.objects:
                self.remove(*key)

    def _written(self, verb: str, obj: Manifest) -> None:
        self.writes.append(f"{verb} {obj['kind']} {obj['metadata']['name']}")
        self.committed()

    def committed(self) -> None:
        """A write of the operator was committed, here or in the registry."""
        if self.crash_after is not None:
            self.crash_after -= 1
            if self.crash_after < 0:
                self.crash_after = None
                raise Crash
        if self.lose_after is not None:
            self.lose_after -= 1
            if self.lose_after < 0:
                self.lose_after = None
                raise Unavailable("the API server did not answer: connection reset")

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        self._check("get", kind)
        return self._copy(kind, namespace, name)

    def _copy(self, kind: str, namespace: str, name: str) -> Manifest:
        found = self.objects.get((kind, namespace, name))
        if found is None:
            raise Missing(f"{kind} {name} not found")
        return dict(copied(found))

    async def pages(
        self, kind: str, namespace: str | None = None, *, ours: bool = False
    ) -> AsyncIterator[Sequence[Manifest]]:
        self._check("list", kind)
        for key, obj in list(self.objects.items()):
            found = obj["metadata"].get("labels") or {}
            labelled = found.get(labels.MANAGED_BY) == labels.MANAGED_BY_LINNET
            if key[0] == kind and namespace in (None, key[1]) and (labelled or not ours):
                yield [copied(obj)]

    async def apply(self, manifest: Mapping[str, Any]) -> Manifest:
        kind, meta = manifest["kind"], manifest["metadata"]
        self._check("apply", kind)
        key = (kind, meta["namespace"], meta["name"])
        before = self.objects.get(key)
        merged = _merge(_without_dropped(before or {}, self._applied.get(key), manifest), manifest)
        self._applied[key] = copied(manifest)
        if kind == "Deployment":
            merged["spec"].setdefault("replicas", 1)
        if before is not None and merged == before:
            return dict(copied(before))
        stored = self.put(merged)
        self._written("apply", stored)
        return dict(copied(stored))

    async def create(self, manifest: Mapping[str, Any]) -> Manifest:
        kind, meta = manifest["kind"], manifest["metadata"]
        self._check("create", kind)
        if kind == "Event":
            self.events.append(dict(manifest))
            return dict(manifest)
        known = self.objects.get((kind, meta["namespace"], meta["name"]))
        if known is not None:
            return dict(copied(known))
        stored = self.put(manifest)
        self._written("create", stored)
        return dict(copied(stored))

    async def patch(
        self, kind: str, namespace: str, name: str, patch: Mapping[str, Any]
    ) -> Manifest:
        self._check("patch", kind)
        before = self._copy(kind, namespace, name)
        stored = self.put(_merge(before, patch))
        self._written("patch", stored)
        return dict(copied(stored))

    async def scale(self, namespace: str, name: str, replicas: int) -> None:
        self._check("scale", "Deployment")
        before = self._copy("Deployment", namespace, name)
        before["spec"]["replicas"] = replicas
        self._written("scale", self.put(before))

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        self._check("delete", kind)
        found = self.objects.get((kind, namespace, name))
        if found is not None and found["metadata"]["uid"] == uid:
            self.remove(kind, namespace, name)
            self._written("delete", found)

    async def apply_status(self, manifest: Mapping[str, Any], *, force: bool = False) -> Manifest:
        kind, meta = manifest["kind"], manifest["metadata"]
        self._check("status", kind)
        key = (kind, meta["namespace"], meta["name"])
        before = self._copy(*key)
        for field_name in ("resourceVersion", "uid"):
            given = meta.get(field_name)
            if given is not None and given != before["metadata"][field_name]:
                raise Conflict("the object has been modified")
        owner = self.status_managers.get(key, self.manager)
        if owner != self.manager and not force:
            raise Conflict(f'Apply failed with 1 conflict: conflict with "{owner}"')
        self.status_managers[key] = self.manager
        if before.get("status") == manifest["status"]:
            return before
        before["status"] = copied(manifest["status"])
        self._stamp(before)
        self.objects[key] = before
        self._written("status", before)
        return dict(copied(before))


def _without_dropped(
    live: Mapping[str, Any], last: Mapping[str, Any] | None, wanted: Mapping[str, Any]
) -> Manifest:
    """What is left of an object when fields that were applied before are no longer sent."""
    kept: Manifest = copied(live)
    for key, value in (last or {}).items():
        if key not in wanted:
            kept.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(wanted[key], Mapping) and key in kept:
            kept[key] = _without_dropped(kept[key], value, wanted[key])
    return kept


def _merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> Manifest:
    """A deep merge; None deletes, lists and selectors are replaced."""
    merged: Manifest = dict(base)
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
            merged[key] = copied(value)
    return merged


class FakeRegistry:
    """MLflow's registry: aliases and tags of one model, and runs of trainings."""

    def __init__(self, *, committed: Callable[[], None] = lambda: None) -> None:
        self.aliases: dict[str, str] = {}
        self.versions: dict[str, dict[str, str]] = {}
        self.runs: list[RunView] = []
        self.down = False
        self.writes: list[str] = []
        self._committed = committed

    def add_version(self, version: str, *, content: str | None = None, **tags: str) -> None:
        self.versions[version] = {
            labels.VERSION_MANIFEST: f"sha-{version}",
            labels.VERSION_CONTENT: content or f"content-{version}",
            **tags,
        }

    def _check(self) -> None:
        if self.down:
            raise Unavailable("connection refused")

    def _write(self, what: str) -> None:
        self.writes.append(what)
        self._committed()

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
        wanted = {
            trainer.TAG_NAMESPACE: namespace,
            trainer.TAG_NAME: name,
            trainer.TAG_SPEC_HASH: spec_hash,
        }
        found = [run for run in self.runs if wanted.items() <= run.tags.items()]
        return found[-1] if found else None

    async def traces(self, run: RunView) -> Traces:
        self._check()
        return Traces(count=0, failed=0, input_tokens=0, output_tokens=0)

    async def set_alias(self, model: str, alias: str, version: str) -> None:
        self._check()
        self.aliases[alias] = version
        self._write(f"alias {alias}={version}")

    async def set_version_tag(self, model: str, version: str, key: str, value: str | None) -> None:
        self._check()
        if value is None:
            self.versions[version].pop(key, None)
        else:
            self.versions[version][key] = value
        self._write(f"tag {version} {key}")

    async def close_run(self, run_id: str) -> None:
        self._check()
        self.runs = [
            replace(run, status="KILLED") if run.run_id == run_id else run for run in self.runs
        ]
        self._write(f"close {run_id}")


class DirectModels:
    """The registry without a cache: always fresh, except while it is down."""

    def __init__(self, registry: FakeRegistry) -> None:
        self._registry = registry
        self._last = Known()

    async def get(self, model: str, *, fresh: bool = False) -> Known:
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
    slow: float = 0.0
    """Share of requests that take 200 ms instead of 10 ms."""
    high: float = 0.3
    """Share of scores that are 0.9 instead of 0.1."""
    other: float = 0.0
    """Share of copies that are answered otherwise than the champion answers."""
    ready_after: float | None = 2.0
    """Seconds until a pod is ready; None = never."""
    fetch_exit: int | None = None
    restarts: int = 0


@dataclass(kw_only=True)
class Loop:
    """One object of ours, the operator's process, and time."""

    spec: Mapping[str, Any]
    kind: ClassVar[str]
    resync: ClassVar[timedelta] = RESYNC
    """How often the object is looked at without a reason."""
    step: ClassVar[int] = 1
    """Seconds of virtual time from one look at the world to the next."""

    def __post_init__(self) -> None:
        self.cluster = FakeCluster()
        self.registry = FakeRegistry(committed=self.cluster.committed)
        self.now = START
        self.key = Key(self.kind, NAMESPACE, "delays")
        self.restarts = 0
        self.passes = 0
        self._due = START
        self._seen: tuple[int, int, str] | None = None
        self._kinds: set[str] = set()
        self.invariants: list[Callable[[Self], None]] = []
        self.unseen: Callable[[Manifest], bool] = lambda obj: False
        """Objects of which lists and watches tell nothing now: the cache holds what it held."""
        self.past: dict[Key, Manifest] = {}
        """What lists and watches tell of an object in place of what it is now."""
        self.cluster.put(
            {
                "apiVersion": "linnet.dev/v1alpha1",
                "kind": self.kind,
                "metadata": {"name": "delays", "namespace": NAMESPACE, "annotations": {}},
                "spec": copied(self.spec),
            }
        )
        self.start()

    def metrics(self) -> Any:
        """The metric source."""
        return None

    def queries(self) -> Any:
        """Prometheus, where the operator knows one."""
        return None

    def tick(self, seconds: float) -> None:
        """Let the world do what it does in this time."""
        raise NotImplementedError

    # -- the process --------------------------------------------------------------------------

    def start(self) -> None:
        """Start the operator anew: nothing is remembered but what the API server holds."""
        self.world = World(
            cluster=self.cluster,
            registry=self.registry,
            models=DirectModels(self.registry),  # type: ignore[arg-type]
            metrics=self.metrics(),
            queries=self.queries(),
            cache=Cache(),
            queue=QuietQueue(),  # type: ignore[arg-type]
            settings=SETTINGS,
            routes_exist=True,
            gateways_readable=False,
        )

    def _refresh(self) -> None:
        """Bring the cache up to date, as watches and resync would."""
        alive = set()
        for obj in self.cluster.objects.values():
            ours = obj["metadata"].get("labels", {}).get(labels.MANAGED_BY)
            if obj["kind"] in (*labels.OWNER_LABEL, "Gateway") or ours:
                alive.add(key_of(obj))
                if not self.unseen(obj):
                    self.world.cache.update(self.past.get(key_of(obj), obj))
        kinds = {key.kind for key in alive}
        for kind in kinds | self._kinds:
            for gone in self.world.cache.uids(kind).keys() - alive:
                obj = self.world.cache.get(gone)
                if obj is not None and not self.unseen(dict(obj)):
                    self.world.cache.remove(obj)
        self._kinds = kinds

    async def reconcile(self) -> timedelta | None:
        """One pass; a crash restarts the process."""
        self._refresh()
        self.passes += 1
        try:
            return await reconcile.RECONCILERS[self.kind](self.key, self.world, now=self.now)
        except Crash:
            self.restarts += 1
            self.start()
            return timedelta(0)
        except Conflict:
            # The queue's back-off; a conflict is nothing that passes at the same moment.
            return timedelta(seconds=1)
        except (Rejected, Unavailable, Missing):
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
                self._due = self.now + min(after or self.resync, self.resync)
                return
        raise AssertionError("the loop does not come to rest at one moment")

    async def run_async(self, seconds: float, until: Callable[[Self], bool] | None) -> bool:
        for _ in range(int(seconds) // self.step):
            self.now += timedelta(seconds=self.step)
            self.cluster.now = self.now
            self.tick(float(self.step))
            if self.now >= self._due or self._state() != self._seen:
                await self.settle_now()
            if until is not None and until(self):
                return True
        return until is None

    def _state(self) -> tuple[int, int, str]:
        """Changes whenever a watch or the registry's poll would wake the object."""
        registry = f"{self.registry.aliases}{self.registry.down}{self.registry.versions}"
        return self.cluster.version, len(self.registry.writes), registry

    def run(self, seconds: float, until: Callable[[Self], bool] | None = None) -> bool:
        """Let virtual time pass, step by step; True when `until` came true."""
        return asyncio.run(self.run_async(seconds, until))

    # -- what a test asks ---------------------------------------------------------------------

    @property
    def object(self) -> Manifest:
        return self.cluster.objects[self.key.kind, NAMESPACE, "delays"]

    @property
    def status(self) -> Manifest:
        found: Manifest = self.object.get("status") or {}
        return found

    @property
    def writes(self) -> int:
        """How often anything was written, here and in the registry."""
        return len(self.cluster.writes) + len(self.registry.writes)

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

    def edit(self, change: Callable[[Manifest], object]) -> None:
        """Edit the object as a user would."""
        obj = copied(self.object)
        change(obj)
        self.cluster.put(obj)

    def stays_silent(self, seconds: float = 300) -> None:
        """Let so many seconds go by, in which nothing is written."""
        before = self.writes
        self.run(seconds)
        assert self.writes == before, self.cluster.writes[-3:]

    def of_kind(self, kind: str) -> list[str]:
        """Names of the objects of a kind."""
        return sorted(name for each, _, name in self.cluster.objects if each == kind)


@dataclass(kw_only=True)
class Simulation(Loop):
    """One ModelDeployment in its small world."""

    kind: ClassVar[str] = "ModelDeployment"
    rate: float = 100.0
    """User requests per second."""
    seed: int = 1
    behaviours: dict[str, Behaviour] = field(default_factory=dict)
    skew: float = 1.0
    """How much of its share a candidate gets from a gateway that does not keep shares."""
    load: int = 1
    """Pods that an autoscaler would run by the CPU use of their revision."""
    gateway_up: bool = True
    mirrors: bool = True
    """Whether the gateway can copy requests."""
    sync: float = 20.0
    """Seconds until a mounted file follows its ConfigMap."""
    process: str = "1"
    """When all server processes started, as their metrics pages tell it."""
    metrics_up: bool = True
    prometheus: bool = True
    """Whether the operator knows a Prometheus."""
    prometheus_up: bool = True
    series: int = 0
    """How many series a query returns beside those of pods."""
    figures: dict[str, float] = field(default_factory=dict)
    """What the query `figure{…}` returns, by version."""

    def __post_init__(self) -> None:
        self.programmed: dict[str, int] = {}
        self.random = random.Random(self.seed)
        self.counters: dict[tuple[str, str], dict[str, int]] = {}
        """By pod and kind of traffic."""
        self.mirror: tuple[str, int] | None = None
        self.replay: Manifest | None = None
        """What the servers read about copies."""
        self.written: tuple[str | None, datetime] = (None, START)
        self.outcomes: dict[tuple[str, str], list[int]] = {}
        """Answers that were otherwise and alike, by pod and revision."""
        self.cohorts: list[str] = []
        self.served: dict[str, list[int]] = {}
        self.unanswered = 0
        self.pod_started: dict[str, datetime] = {}
        self.revisions_of: dict[str, str] = {}
        """Revision of every pod that ever was, by uid."""
        self.stale: set[str] = set()
        """Pods of which Prometheus tells nothing now, by uid."""
        self.held: set[str] = set()
        """Versions that have had all traffic."""
        super().__post_init__()

    def metrics(self) -> Any:
        return self

    # -- the world ----------------------------------------------------------------------------

    def tick(self, seconds: float) -> None:
        """Let kubelet, gateway and users do what they do in this time."""
        self._autoscalers()
        self._kubelet()
        self._mount()
        self._gateway()
        self._users(seconds)

    def _behaviour(self, version: str) -> Behaviour:
        return self.behaviours.setdefault(version, Behaviour())

    def _autoscalers(self) -> None:
        for (kind, namespace, name), scaler in list(self.cluster.objects.items()):
            deployment = self.cluster.objects.get(("Deployment", namespace, name))
            if kind != "HorizontalPodAutoscaler" or deployment is None:
                continue
            least, most = scaler["spec"]["minReplicas"], scaler["spec"]["maxReplicas"]
            wanted = min(max(self.load, least), most)
            if deployment["spec"]["replicas"] != wanted:
                spec = {**deployment["spec"], "replicas": wanted}
                self.cluster.put({**deployment, "spec": spec})

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

    def _mount(self) -> None:
        """A file of a ConfigMap is brought to the pods after a while."""
        found = self.cluster.objects.get(("ConfigMap", NAMESPACE, "delays-shadow"))
        text = found["data"][server.SHADOW_KEY] if found is not None else None
        if text != self.written[0]:
            self.written = (text, self.now)
        if (self.now - self.written[1]).total_seconds() >= self.sync:
            self.replay = json.loads(text) if text is not None else None

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
            stored = self.cluster.put({"kind": "Pod", "metadata": meta, "status": status})
            self.revisions_of[stored["metadata"]["uid"]] = template["labels"][labels.REVISION]

    def _gateway(self) -> None:
        route = self.cluster.objects.get(("HTTPRoute", NAMESPACE, "delays"))
        if route is None or not self.gateway_up:
            return
        refused = not self.mirrors and any(
            each["type"] == "RequestMirror"
            for rule in route["spec"]["rules"]
            for each in rule.get("filters", ())
        )
        conditions = [
            {
                "type": kind,
                "status": "False" if refused and kind == "Accepted" else "True",
                "reason": "UnsupportedValue" if refused else kind,
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
        if refused:
            return
        self.programmed = {
            ref["name"]: ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]
        }
        weighted, *others = route["spec"]["rules"]
        self.held |= {name for name, weight in self.programmed.items() if weight == 100}
        copies = [each for each in weighted.get("filters", ()) if each["type"] == "RequestMirror"]
        told = [each["requestMirror"] for each in copies]
        self.mirror = next(
            ((each["backendRef"]["name"][: -len("-mirror")], each["percent"]) for each in told),
            None,
        )
        names = [rule["backendRefs"][0]["name"] for rule in others]
        self.cohorts = [name[: -len("-cohort")] for name in names if name.endswith("-cohort")]

    def _users(self, seconds: float) -> None:
        count = int(self.rate * seconds)
        shares = self._shares()
        if not shares:
            return
        names = list(shares)
        least = min(shares.values())
        told = [shares[name] * (self.skew if shares[name] == least else 1) for name in names]
        picked = self.random.choices(names, told, k=count)
        for revision in names:
            self._serve(revision, picked.count(revision))
        if self.mirror is not None:
            self._serve(self.mirror[0], count * self.mirror[1] // 100, kind="mirrored")
        if self.replay is not None:
            answered = picked.count(self.replay["from"])
            self._copy(self.replay, answered * self.replay["percent"] // 100)
        for revision in self.cohorts:
            self._serve(revision, count // 5, kind="cohort")

    def _copy(self, replay: Manifest, count: int) -> None:
        """The champion's pods send copies, and compare what they get."""
        candidates, champions = (self._ready_pods(replay[end]) for end in ("to", "from"))
        if not candidates or not champions:
            return
        self._serve(replay["to"], count, kind="mirrored")
        behaviour = self._behaviour(candidates[0]["metadata"]["labels"][labels.MODEL_VERSION])
        for pod in champions:
            results = self.outcomes.setdefault((pod["metadata"]["uid"], replay["to"]), [0, 0])
            for _ in range(count // len(champions)):
                if self.random.random() >= behaviour.bad:
                    results[self.random.random() >= behaviour.other] += 1

    def _serve(self, revision: str, count: int, *, kind: str = "weighted") -> None:
        pods = self._ready_pods(revision)
        if not pods:
            self.unanswered += count if kind != "mirrored" else 0
            return
        version = pods[0]["metadata"]["labels"][labels.MODEL_VERSION]
        behaviour = self._behaviour(version)
        for index, pod in enumerate(pods):
            part = count // len(pods) + (1 if index < count % len(pods) else 0)
            bad, slow, high = (
                sum(self.random.random() < rate for _ in range(part)) if rate else 0
                for rate in (behaviour.bad, behaviour.slow, behaviour.high)
            )
            counter = self.counters.setdefault((pod["metadata"]["uid"], kind), {})
            for code, more in (("500", bad), ("200", part - bad), (SLOW, slow), (HIGH, high)):
                if more:
                    counter[code] = counter.get(code, 0) + more
            if kind == "mirrored":
                continue
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
            if self._ready_pods(only):
                self.held.add(str(only))
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
        return [self._page(target) for target in targets]

    def _page(self, target: ScrapeTarget) -> ScrapedPage:
        requests, latency, scores = {}, {}, {}
        for (uid, kind), counted in self.counters.items():
            if uid == target.pod_uid:
                requests[kind] = {c: n for c, n in counted.items() if c not in (SLOW, HIGH)}
                total = sum(requests[kind].values())
                slow, high = counted.get(SLOW, 0), counted.get(HIGH, 0)
                edges = server.LATENCY_EDGES
                upto = (total if e >= 0.2 else total - slow if e >= 0.01 else 0 for e in edges)
                latency[kind] = (*upto, total)
                buckets = [0] * len(server.PREDICTION_BUCKETS)
                buckets[2], buckets[18] = total - high, high
                scores[kind] = tuple(buckets)
        outcomes = {
            revision: {server.OUTCOME_DISAGREEMENT: {"bad": otherwise, "ok": alike}}
            for (uid, revision), (otherwise, alike) in self.outcomes.items()
            if uid == target.pod_uid
        }
        return ScrapedPage(
            target=target,
            started=self.process,
            requests=requests,
            latency=latency,
            scores=scores,
            outcomes=outcomes,
        )

    # -- Prometheus ----------------------------------------------------------------------------

    def queries(self) -> Any:
        return self if self.prometheus else None

    async def query(self, text: str) -> Mapping[str, float]:
        """`requests`, `errors`, `slow` or `figure`, each `{revision="…"}`: counters by pod."""
        if not self.prometheus_up:
            raise Unavailable("Prometheus cannot be reached: connection refused")
        match = re.fullmatch(r'([a-z]+)\{revision="([^"]+)"\}', text)
        if match is None:
            raise Rejected("Prometheus refuses the query: parse error")
        name, revision = match.groups()
        if name == "figure":
            version = revision.rpartition("-")[0].rpartition("-v")[2]
            return {"": self.figures[version]} if version in self.figures else {}
        if name not in ("requests", "errors", "slow"):
            return {}
        values: dict[str, float] = {f"other-{index}": 0.0 for index in range(self.series)}
        for (uid, kind), counted in self.counters.items():
            told = uid not in self.stale and kind == "weighted"
            if told and self.revisions_of[uid] == revision:
                errors, slow = counted.get("500", 0), counted.get(SLOW, 0)
                total = errors + counted.get("200", 0)
                values[uid] = {"requests": total, "errors": errors, "slow": slow}[name]
        return values

    async def inputs(self, target: ScrapeTarget, model: str) -> Mapping[str, str] | None:
        return {"distance": "FP64"}

    # -- what a test asks ---------------------------------------------------------------------

    def request(self, verb: str, revision: str | None = None) -> None:
        """Annotate the object with a request of this moment."""
        name = f"={revision}" if revision else ""
        text = f"{verb}{name}@{format_time(self.now)}"
        self.edit(lambda obj: obj["metadata"]["annotations"].update({labels.REQUEST: text}))

    def deployments(self) -> list[str]:
        return self.of_kind("Deployment")

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


# -- trainings -----------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """What one pod of a trainer does."""

    outcome: str = "Passed"
    """`Passed`, `Refused` or `Error`; or `Crash`, `OutOfMemory`: it leaves no document."""
    seconds: float = 30.0
    message_lost: bool = False
    """The termination message is not there; the run's tag is."""
    tag_lost: bool = False
    """The run's tag is not there; the termination message is."""


@dataclass(kw_only=True)
class TrainingSimulation(Loop):
    """One TrainingJob with a Job controller and a trainer in memory."""

    kind: ClassVar[str] = "TrainingJob"
    attempts: Sequence[Attempt] = (Attempt(),)
    """One per pod; the last one is repeated."""

    def __post_init__(self) -> None:
        self.pods_started = 0
        self.jobs_seen: set[str] = set()
        """Uids of all Jobs that ever were."""
        super().__post_init__()

    def tick(self, seconds: float) -> None:
        for (kind, _, _), obj in list(self.cluster.objects.items()):
            if kind == "Job":
                self.jobs_seen.add(obj["metadata"]["uid"])
                self._job(obj)

    # -- the Job controller ---------------------------------------------------------------------

    def _pods(self, job: Manifest) -> list[Manifest]:
        return [
            obj
            for (kind, _, _), obj in self.cluster.objects.items()
            if kind == "Pod"
            and any(o["uid"] == job["metadata"]["uid"] for o in obj["metadata"]["ownerReferences"])
        ]

    def _job(self, job: Manifest) -> None:
        spec, status, pods = job["spec"], job.get("status") or {}, self._pods(job)
        over = next((c for c in status.get("conditions", ()) if c["type"] != "Suspended"), None)
        if over is not None:
            ttl = spec.get("ttlSecondsAfterFinished")
            age = (self.now - parse_time(over["lastTransitionTime"])).total_seconds()
            if ttl is not None and age >= ttl:
                self.cluster.remove("Job", NAMESPACE, job["metadata"]["name"])
            return
        running = [pod for pod in pods if pod["status"]["phase"] == "Running"]
        if spec.get("suspend"):
            for pod in running:
                self.cluster.remove("Pod", NAMESPACE, pod["metadata"]["name"])
            self._job_status(job, {"conditions": [self._true("Suspended", "JobSuspended")]})
            return
        started = status.get("startTime") or format_time(self.now)
        self._job_status(job, {"startTime": started})
        limit = spec.get("activeDeadlineSeconds")
        if limit is not None and (self.now - parse_time(started)).total_seconds() >= limit:
            for pod in running:
                self.cluster.remove("Pod", NAMESPACE, pod["metadata"]["name"])
            self._end(job, "Failed", "DeadlineExceeded")
            return
        if running:
            self._train(job, running[0])
            return
        codes = [_exit_code(pod) for pod in pods]
        if 0 in codes:
            self._end(job, "Complete", "CompletionsReached")
        elif int(trainer.Exit.ERROR) in codes:
            self._end(job, "Failed", "PodFailurePolicy")
        elif len(codes) > spec["backoffLimit"]:
            self._end(job, "Failed", "BackoffLimitExceeded")
        else:
            self._start_pod(job)

    def _true(self, kind: str, reason: str) -> Manifest:
        return {
            "type": kind,
            "status": "True",
            "reason": reason,
            "lastTransitionTime": format_time(self.now),
        }

    def _job_status(self, job: Manifest, status: Manifest) -> None:
        before = (job.get("status") or {}).get("conditions", ())
        kinds = [condition["type"] for condition in status.get("conditions", ())]
        if (job.get("status") or {}).keys() == status.keys() and kinds == [
            condition["type"] for condition in before
        ]:
            return
        job_now = self.cluster.objects["Job", NAMESPACE, job["metadata"]["name"]]
        self.cluster.put({**job_now, "status": status})

    def _end(self, job: Manifest, kind: str, reason: str) -> None:
        job_now = self.cluster.objects["Job", NAMESPACE, job["metadata"]["name"]]
        conditions = [self._true(kind, reason)]
        self.cluster.put({**job_now, "status": {**job_now["status"], "conditions": conditions}})

    def _start_pod(self, job: Manifest) -> None:
        self.pods_started += 1
        self.cluster.put(
            {
                "kind": "Pod",
                "metadata": {
                    "name": f"{job['metadata']['name']}-0-{self.pods_started:05d}",
                    "namespace": NAMESPACE,
                    "labels": job["spec"]["template"]["metadata"]["labels"],
                    "creationTimestamp": format_time(self.now),
                    "ownerReferences": [
                        {"uid": job["metadata"]["uid"], "kind": "Job", "controller": True}
                    ],
                },
                "status": {"phase": "Running"},
            }
        )

    # -- the trainer ----------------------------------------------------------------------------

    def _train(self, job: Manifest, pod: Manifest) -> None:
        attempt = self.attempts[min(self.pods_started, len(self.attempts)) - 1]
        name = pod["metadata"]["name"]
        variables = {
            entry["name"]: entry.get("value", "")
            for entry in job["spec"]["template"]["spec"]["containers"][0]["env"]
        }
        run_id = f"run-{name}"
        tags = {
            trainer.TAG_NAMESPACE: variables[trainer.ENV_NAMESPACE],
            trainer.TAG_NAME: variables[trainer.ENV_NAME],
            trainer.TAG_SPEC_HASH: variables[trainer.ENV_SPEC_HASH],
            trainer.TAG_JOB_UID: variables[trainer.ENV_JOB_UID],
            trainer.TAG_PROGRESS: '{"stage": "Fitting", "percent": 50}',
        }
        age = (self.now - parse_time(pod["metadata"]["creationTimestamp"])).total_seconds()
        if age < attempt.seconds:
            self._record_run(run_id, "RUNNING", tags)
            return
        if attempt.outcome in ("Crash", "OutOfMemory"):
            code = 137 if attempt.outcome == "OutOfMemory" else int(trainer.Exit.RETRY)
            self._pod_end(pod, code, "Traceback\nKeyError: 'age'", attempt.outcome == "OutOfMemory")
            return
        document = self.document(variables, attempt.outcome, run_id)
        text = trainer.render(document)
        if not attempt.tag_lost:
            tags[trainer.TAG_RESULT] = text
        self._record_run(run_id, "FINISHED", tags)
        self._pod_end(pod, int(document.exit), "" if attempt.message_lost else text, False)

    def document(
        self, variables: Mapping[str, str], outcome: str, run_id: str, *, version: str = ""
    ) -> trainer.Result:
        """The result document of a run; a passed one has registered its version, once."""
        reasons = {
            "Passed": trainer.Reason.COMPLETED,
            "Refused": trainer.Reason.GATE_REFUSED,
            "Error": trainer.Reason.INVALID_DATA,
        }
        passed = outcome == "Passed"
        if passed and not version:
            version = self._register(variables[trainer.ENV_JOB_UID])
        gate = trainer.Gate(
            name="minimum",
            passed=passed,
            value="0.71" if passed else "0.55",
            bound="0.6",
            n=1000,
            reason=trainer.GateReason.AT_LEAST_MINIMUM
            if passed
            else trainer.GateReason.BELOW_THRESHOLD,
            message="roc_auc 0.71" if passed else "roc_auc 0.55 is below 0.6",
        )
        return trainer.Result(
            spec_hash=variables[trainer.ENV_SPEC_HASH],
            job_uid=variables[trainer.ENV_JOB_UID],
            outcome=trainer.Outcome(outcome),
            reason=reasons[outcome],
            message={
                "Passed": "the gates passed",
                "Refused": "gate minimum: roc_auc 0.55 is below 0.6",
                "Error": "column 'late' is not in the table",
            }[outcome],
            run_id=run_id,
            version=version if passed else "",
            gates=() if outcome == "Error" else (gate,),
        )

    def _register(self, job_uid: str) -> str:
        for version, tags in self.registry.versions.items():
            if tags.get(trainer.TAG_JOB_UID) == job_uid:
                return version
        version = str(max((int(v) for v in self.registry.versions), default=0) + 1)
        self.registry.add_version(version, **{trainer.TAG_JOB_UID: job_uid})
        return version

    def _record_run(self, run_id: str, status: str, tags: Mapping[str, str]) -> None:
        view = RunView(run_id=run_id, experiment_id="1", status=status, tags=dict(tags))
        known = [run.run_id for run in self.registry.runs]
        if run_id in known:
            self.registry.runs[known.index(run_id)] = view
        else:
            self.registry.runs.append(view)

    def _pod_end(self, pod: Manifest, code: int, message: str, out_of_memory: bool) -> None:
        ended = {
            "exitCode": code,
            "message": message,
            "reason": "OOMKilled" if out_of_memory else "Completed",
        }
        status = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{"name": "trainer", "state": {"terminated": ended}}],
        }
        self.cluster.put({**pod, "status": status})

    # -- what a test asks -------------------------------------------------------------------------

    @property
    def done(self) -> bool:
        """Whether the job has a result and nothing is left to do."""
        return bool(self.status.get("result")) and (
            self.condition("Complete")[0] == "True" or self.condition("Failed")[0] == "True"
        )

    def facts(self) -> Manifest:
        """The end state, without times and ids."""
        result = self.status.get("result") or {}
        return {
            "complete": self.condition("Complete"),
            "promoted": self.condition("Promoted"),
            "outcome": result.get("outcome"),
            "reason": result.get("reason"),
            "version": self.status.get("version"),
            "aliases": dict(self.registry.aliases),
            "versions": sorted(self.registry.versions),
            "alias writes": [w for w in self.registry.writes if w.startswith("alias")],
            "jobs": len(self.jobs_seen),
            "config maps": self.of_kind("ConfigMap"),
            "services": self.of_kind("Service"),
        }


def _exit_code(pod: Manifest) -> int | None:
    statuses = pod["status"].get("containerStatuses") or [{}]
    return (statuses[0].get("state") or {}).get("terminated", {}).get("exitCode")


TRAINING: Manifest = {
    "model": {"name": "delays", "alias": "challenger"},
    "data": {"table": {"uri": "s3://data/flights.parquet"}, "target": "late"},
    "pipeline": {
        "columns": {"numeric": ["distance"]},
        "estimator": {"class": "LogisticRegression"},
    },
    "gates": [{"name": "minimum", "metric": "roc_auc", "minimum": "0.6"}],
    "backoffLimit": 2,
    "activeDeadlineSeconds": 600,
}
