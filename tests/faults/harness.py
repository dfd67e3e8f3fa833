"""The real operator process behind the proxy, one namespace, and a stand-in for its node.

The registry is MLflow's own client on a folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from e2e.api import Api, Manifest
from mlflow import MlflowClient

from . import standin
from .proxy import Proxy

CHILDREN = ("Deployment", "Service", "ControllerRevision", "Job", "ConfigMap")
KINDS = ("ModelDeployment", "TrainingJob", "DriftPolicy")
NOWHERE = {"nodeSelector": {"linnet.dev/none": "true"}}
HOLD = {"minDuration": "1s", "minCandidateRequests": 20, "maxDuration": "20s"}
QUICK = {
    "strategy": {
        "steps": [{"weight": 50, "hold": HOLD}, {"weight": 100, "hold": {"minDuration": "1s"}}],
        "scaleDownDelay": "1s",
    },
    "analysis": {"interval": "1s", "warmup": "1s"},
}
SETTLED = 3.0
"""Seconds without a write after which nothing more is expected."""
MODEL = "faults"
SIDE_BY_SIDE = 3
"""Most of a story is waiting, and there are two cores."""


@dataclass(kw_only=True)
class Place:
    """One namespace, its operator and its proxy."""

    api: Api
    proxy: Proxy
    folder: Path
    namespace: str = field(default_factory=lambda: f"linnet-faults-{secrets.token_hex(3)}")
    process: subprocess.Popen[bytes] | None = None
    restarts: int = 0
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        labels = {"metadata": {"name": self.namespace}}
        self.api.apply({"apiVersion": "v1", "kind": "Namespace", **labels})
        self.uri = f"file://{self.folder}/mlruns"
        os.environ["MLFLOW_ALLOW_FILE_STORE"] = "true"
        self.registry = MlflowClient(self.uri)
        self.registry.create_registered_model(MODEL)
        self.node = standin.Node(
            api=self.api,
            namespace=self.namespace,
            registry=self.registry,
            uri=self.uri,
            model=MODEL,
        )
        self.register()

    # -- the registry ------------------------------------------------------------------------------

    def register(self, *, bad: bool = False) -> str:
        """Register another version and point the alias at it."""
        version = standin.register(self.registry, MODEL, self.uri)
        if bad:
            self.node.bad.add(version)
        self.registry.set_registered_model_alias(MODEL, "challenger", version)
        return version

    # -- the operator ------------------------------------------------------------------------------

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "KUBECONFIG": self.proxy.write_kubeconfig(self.folder / "kubeconfig"),
            "MLFLOW_ALLOW_FILE_STORE": "true",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "LINNET_TRACKING_URI": self.uri,
            "LINNET_NAMESPACES": self.namespace,
            "LINNET_NAMESPACE": self.namespace,
            "LINNET_IDENTITY": f"{self.namespace}/operator",
            "LINNET_RESYNC": "4s",
            "LINNET_REGISTRY_POLL": "2s",
            "LINNET_REGISTRY_POLL_WAITING": "1s",
            "LINNET_LEASE_DURATION": "3s",
            "LINNET_LEASE_RENEW": "500ms",
            "LINNET_LEASE_DEADLINE": "2s",
            "LINNET_LISTEN": "127.0.0.1:0",
            "LINNET_LOG_FORMAT": "text",
        }

    def start(self) -> subprocess.Popen[bytes]:
        """Start an operator; it becomes this place's."""
        with (self.folder / "operator.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "linnet"], env=self.environment(), stdout=log, stderr=log
            )
        self.started.append(self.process)
        return self.process

    def keep_running(self) -> None:
        """Start it again where it has ended, as the kubelet would."""
        if self.process is None or self.process.poll() is not None:
            self.restarts += self.process is not None
            self.start()

    def kill(self) -> None:
        """As a node that loses power."""
        if self.process is not None:
            self.process.kill()

    def stop(self) -> None:
        """End everything and delete the namespace."""
        for process in self.started:
            process.kill()
            process.wait(10)
        self.node.stop()
        with contextlib.suppress(Exception):
            self.api.delete("Namespace", None, self.namespace)

    @property
    def log(self) -> str:
        return (self.folder / "operator.log").read_text(errors="replace")[-4000:]

    # -- objects -----------------------------------------------------------------------------------

    def deploy(self, spec: Mapping[str, Any]) -> None:
        """The ModelDeployment alone."""
        self.api.apply(self._object("ModelDeployment", spec))

    def _object(self, kind: str, spec: Mapping[str, Any]) -> Manifest:
        return {
            "apiVersion": "linnet.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": "story", "namespace": self.namespace},
            "spec": dict(spec),
        }

    def create(self) -> None:
        """One object of each kind."""
        server = {"replicas": 1, "template": NOWHERE}
        self.deploy({"model": {"name": MODEL}, "server": server, **QUICK})
        training = {
            "model": {"name": MODEL},
            "data": {"table": {"uri": "s3://none/none.parquet"}, "target": "late"},
            "pipeline": {"estimator": {"class": "LogisticRegression"}},
            "gates": [{"name": "g", "metric": "roc_auc", "minimum": "0.6"}],
            "template": NOWHERE,
        }
        self.api.apply(self._object("TrainingJob", {**training, "suspend": True}))
        self.api.apply(
            self._object(
                "DriftPolicy",
                {
                    "modelDeploymentRef": {"name": "story"},
                    "source": {"table": {"uri": "s3://none/", "timestamp": "at"}},
                    "template": NOWHERE,
                    "retrain": {
                        "when": {"breaches": 1, "of": 1},
                        "cooldown": "1s",
                        "template": {"spec": training},
                    },
                },
            )
        )

    def update(self) -> None:
        """A change of each kind that reaches a child."""
        replicas = {"spec": {"server": {"replicas": 2}}}
        self.api.patch("ModelDeployment", self.namespace, "story", replicas)
        deadline = {"spec": {"activeDeadlineSeconds": 7200}}
        self.api.patch("TrainingJob", self.namespace, "story", deadline)
        self.check()

    def check(self) -> None:
        """Ask for a check now."""
        self.request("DriftPolicy", "check")

    def request(self, kind: str, what: str) -> None:
        """Ask for something now."""
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        asked = {"metadata": {"annotations": {"linnet.dev/request": f"{what}@{moment}"}}}
        self.api.patch(kind, self.namespace, "story", asked)

    def delete(self) -> None:
        for kind in KINDS:
            self.api.delete(kind, self.namespace, "story")

    # -- oracles -----------------------------------------------------------------------------------

    def until(self, done: Callable[[], Any], what: str, *, seconds: float = 90) -> None:
        """Wait until `done`."""
        deadline = time.monotonic() + seconds
        while not done():
            self.keep_running()
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{what}: not within {seconds:.0f} s\n{self.status()}\n{self.log}"
                )
            time.sleep(0.2)

    def settle(self, done: Callable[[], bool] = lambda: True, *, seconds: float = 60) -> None:
        """Wait until `done`, and then until nothing is written for a while."""
        deadline = time.monotonic() + seconds
        quiet, count = time.monotonic(), len(self.proxy.writes)
        while time.monotonic() < deadline:
            self.keep_running()
            time.sleep(0.2)
            if len(self.proxy.writes) != count or not done():
                quiet, count = time.monotonic(), len(self.proxy.writes)
            elif time.monotonic() - quiet > SETTLED:
                return
        raise AssertionError(f"not settled within {seconds} s: {self.state()}\n{self.log}")

    def status(self) -> Manifest:
        """The status of the ModelDeployment."""
        obj = self.api.get("ModelDeployment", self.namespace, "story") or {}
        found: Manifest = obj.get("status") or {}
        return found

    def is_champion(self, version: str) -> bool:
        """Whether a version serves alone and holds the alias."""
        status = self.status()
        champion = (status.get("champion") or {}).get("version")
        aliases = self.registry.get_registered_model(MODEL).aliases
        return (
            champion == version
            and not status.get("candidate")
            and str(aliases.get("champion")) == version
        )

    def is_rejected(self, version: str) -> bool:
        """Whether a version was taken back for good."""
        status = self.status()
        rejected = [each["version"] for each in status.get("rejected", ())]
        return version in rejected and not status.get("candidate")

    def serves(self) -> bool:
        """Whether the first version is champion and every kind has been looked at."""
        found = {kind: self.api.get(kind, self.namespace, "story") for kind in KINDS}
        champion = ((found["ModelDeployment"] or {}).get("status") or {}).get("champion") or {}
        looked = all((obj or {}).get("status", {}).get("conditions") for obj in found.values())
        return bool(champion.get("since")) and looked

    def is_updated(self) -> bool:
        """Whether the change of `update` has reached the children."""
        jobs = {obj["metadata"]["name"]: obj for obj in self.api.list("Job", self.namespace)}
        trainings = [job for name, job in jobs.items() if name.startswith("story-train-")]
        checks = [name for name in jobs if name.startswith("story-check-")]
        scaled = [obj["spec"]["replicas"] for obj in self.api.list("Deployment", self.namespace)]
        deadlines = [job["spec"].get("activeDeadlineSeconds") for job in trainings]
        return scaled == [2] and deadlines == [7200] and len(checks) == 1

    def is_gone(self) -> bool:
        return not self.state()

    def state(self) -> dict[str, str]:
        """Everything that there is, without what differs between two runs of one story."""
        found: dict[str, str] = {}
        for kind in CHILDREN:
            for obj in self.api.list(kind, self.namespace):
                labels = obj["metadata"].get("labels") or {}
                if labels.get("app.kubernetes.io/managed-by") != "linnet":
                    continue
                name = obj["metadata"]["name"]
                # A check is named by its minute.
                name = "story-check" if name.startswith("story-check-") else name
                # What these hold names the place's own registry.
                told = kind not in ("ConfigMap", "ControllerRevision")
                found[f"{kind} {name}"] = _digest(obj) if told else ""
        for kind in KINDS:
            obj = self.api.get(kind, self.namespace, "story")
            for condition in ((obj or {}).get("status") or {}).get("conditions", ()):
                said = f"{condition['status']}/{condition['reason']}"
                found[f"{kind} {condition['type']}"] = said
        return found

    def duplicates(self) -> list[str]:
        """What was made more than once."""
        made = list(self.proxy.created)
        return sorted({each for each in made if made.count(each) > 1})


def _digest(obj: Manifest) -> str:
    spec = json.loads(json.dumps(obj.get("spec") or obj.get("data") or {}))
    for key in ("clusterIP", "clusterIPs", "template", "selector"):
        spec.pop(key, None)
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]


@contextlib.contextmanager
def place(api: Api, folder: Path) -> Iterator[Place]:
    """A place with its operator started; all of it ends with the block."""
    with Proxy(kubeconfig=api.kubeconfig) as proxy:
        found = Place(api=api, proxy=proxy, folder=folder)
        try:
            found.start()
            yield found
        finally:
            found.stop()


def side_by_side(api: Api, folder: Path, stories: Mapping[str, Callable[[Place], None]]) -> None:
    """Tell each story in a place of its own.

    Raises:
        AssertionError: naming every story that failed, and how.
    """

    def failure(number: int, name: str) -> str:
        own = folder / str(number)
        own.mkdir()
        try:
            with place(api, own) as world:
                stories[name](world)
        except Exception as error:
            return f"{name}: {error!r}"
        return ""

    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        failures = [said for said in pool.map(failure, range(len(stories)), stories) if said]
    assert not failures, "\n\n".join(failures)
