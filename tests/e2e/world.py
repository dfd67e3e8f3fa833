"""Given, when, then on a real cluster.

A `World` is one run: the cluster, its diary, the registry, the tables and the trained models. A
`Place` is one namespace of it, with a registered model of its own. Steps wait with a limit, and
what they say when it passes holds the conditions of everything in the namespace.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import definitions
import yaml

from .api import Api, Diary, Manifest, Refused, path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
OPERATOR = "linnet-system"
POLL = "LINNET_REGISTRY_POLL"
"""By default a new version is seen within a minute: too long for dozens of them."""
HEALTHY = "200"
ARTIFACTS_TAG = "linnet.dev/artifact-uri"
MANIFEST_TAG = "linnet.dev/manifest-sha256"
CONTENT_TAG = "linnet.dev/content-digest"
TRAINED_TAG = "linnet.dev/trained-until"
WEIGHTS = [5, 25, 50, 100]
CONTENTS = {"good": "good.parquet", "bad": "extra.parquet", "contrary": "contrary.parquet"}
"""Models that are trained once, and the tables that they are trained on."""
SLOW = {"class": "RandomForestClassifier", "parameters": {"n_estimators": 400, "max_depth": 4}}
"""An estimator that takes many times as long for an answer as the others."""
MAKERS = ("model-version", "training-job", "drift-policy")
"""What a child is made for, by label; one of each kind for each, but a check for each slot."""

HOLD: Mapping[str, Any] = {"minDuration": "5s", "minCandidateRequests": 20, "maxDuration": "20s"}
STEPS: list[Mapping[str, Any]] = [
    {"weight": 5, "hold": HOLD},
    {"weight": 25, "hold": HOLD},
    {"weight": 50, "hold": HOLD},
    {"weight": 100, "hold": {"minDuration": "5s"}},
]
POD: Mapping[str, Any] = {
    "restartPolicy": "Never",
    "automountServiceAccountToken": False,
    "terminationGracePeriodSeconds": 5,
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 10001,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}
DEMO = "localhost/linnet/demo:dev"
CONTAINER: Mapping[str, Any] = {
    "image": DEMO,
    "imagePullPolicy": "IfNotPresent",
    "env": [
        {"name": "AWS_ENDPOINT_URL", "value": "http://s3.mlops.svc:7070"},
        {"name": "AWS_REGION", "value": "us-east-1"},
    ],
    "envFrom": [{"secretRef": {"name": "linnet-credentials"}}],
    "resources": {"requests": {"cpu": "20m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}},
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    },
    "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
}
PROMETHEUS = "http://prometheus.monitoring.svc:9090"
"""Where `python3 -m dev.cluster prometheus` has it answer."""
GATEWAY = "http://eg.envoy-gateway-system.svc"
ONE_REQUEST_A_CONNECTION = (
    "import sys; sys.path.insert(0, '/opt/linnet/demo'); import replay; "
    "replay.REST_SECONDS = -1.0; replay.main()"
)
"""Without a gateway kube-proxy chooses a pod per connection, so a kept one would stay with it."""


def merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` laid over it, objects merged, None taking a field away."""
    merged = dict(base)
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = merge(merged[key], value)
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = value
    return merged


def condition(obj: Mapping[str, Any] | None, kind: str) -> Mapping[str, Any]:
    """A condition of an object, empty where it is not there."""
    found = ((obj or {}).get("status") or {}).get("conditions") or ()
    return next((each for each in found if each["type"] == kind), {})


def says(obj: Mapping[str, Any] | None, kind: str, truth: str, reason: str) -> bool:
    """Whether a condition has this status and reason, for the object's present generation."""
    found = condition(obj, kind)
    return bool(
        obj is not None
        and (found.get("status"), found.get("reason")) == (truth, reason)
        and obj["status"].get("observedGeneration") == obj["metadata"]["generation"]
    )


# -- the registry ----------------------------------------------------------------------------------
ASK = """
import http.client, json
link = http.client.HTTPConnection("eg.envoy-gateway-system.svc", 80, timeout=10)
for _ in range({times}):
    link.request("POST", {path!r}, {body!r}, {headers!r})
    answer = link.getresponse()
    answer.read()
    told = {{name.lower(): value for name, value in answer.getheaders()}}
    print(json.dumps({{"status": answer.status, **told}}))
"""
"""Some requests in a row, from a pod, by one connection."""
ROW = {
    "columns": ["x1", "x2", "x3", "x4", "x5", "colour", "shape"],
    "data": [[0.1, 0.2, 0.3, 0.4, 0.5, "red", "round"]],
}


class Registry:
    """MLflow's REST interface, through a port-forward."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def _connect(self) -> None:
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            with socket.socket() as free:
                free.bind(("127.0.0.1", 0))
                self._port = free.getsockname()[1]
            self._process = subprocess.Popen(
                ["kubectl", "--kubeconfig", self._api.kubeconfig, "-n", "mlops", "port-forward",
                 "svc/mlflow", f"{self._port}:5000"],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
            time.sleep(1)

    @property
    def uri(self) -> str:
        """Where the registry answers on this host."""
        self._connect()
        return f"http://127.0.0.1:{self._port}"

    def close(self) -> None:
        """End the port-forward; the next call begins another."""
        with self._lock:
            if self._process is not None:
                self._process.kill()
                self._process.wait()

    def call(self, method: str, what: str, body: Any = None, **query: str) -> Manifest:
        """One call; a connection that broke is tried again for a while."""
        deadline = time.monotonic() + 90
        while True:
            url = f"{self.uri}/api/2.0/mlflow/{what}?{urllib.parse.urlencode(query)}"
            data = json.dumps(body).encode() if body is not None else None
            asked = urllib.request.Request(
                url, data, {"Content-Type": "application/json"}, method=method
            )
            try:
                with urllib.request.urlopen(asked, timeout=30) as answer:
                    found: Manifest = json.loads(answer.read() or b"{}")
                    return found
            except urllib.error.HTTPError as error:
                raise AssertionError(f"MLflow {what}: {error.read().decode()[:500]}") from error
            except OSError:
                if time.monotonic() > deadline:
                    raise
                self.close()
                time.sleep(1)

    def version(self, model: str, version: str) -> Manifest:
        """A version with its tags as a map."""
        found = self.call("GET", "model-versions/get", name=model, version=version)
        entry: Manifest = found["model_version"]
        return entry | {"tags": {t["key"]: t["value"] for t in entry.get("tags", ())}}

    def versions(self, model: str) -> list[Manifest]:
        """All versions of a model, oldest first."""
        found = self.call("GET", "model-versions/search", filter=f"name='{model}'")
        return sorted(found.get("model_versions", ()), key=lambda each: int(each["version"]))

    def aliases(self, model: str) -> dict[str, str]:
        """Alias to version."""
        found = self.call("GET", "registered-models/get", name=model)["registered_model"]
        return {each["alias"]: str(each["version"]) for each in found.get("aliases", ())}


# -- one run ---------------------------------------------------------------------------------------


@dataclass
class World:
    """One run on one cluster."""

    api: Api
    run: str
    diary: Diary
    registry: Registry
    places: list[Place] = field(default_factory=list)
    trained: dict[str, Future[Manifest]] = field(default_factory=dict)
    trainers: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(3))
    """Two cores: more trainings at once would only make each slower than its limit."""
    copies: dict[str, list[Manifest]] = field(default_factory=dict)
    """Of every trained model, those that no version is of yet."""
    copying: threading.Lock = field(default_factory=threading.Lock)
    beside_demo: bool = False

    @classmethod
    def begin(cls, kubeconfig: str, *, beside_demo: bool = False) -> World:
        """A run of its own name, on a cluster with the operator of this checkout."""
        api, run = Api(kubeconfig), secrets.token_hex(2)
        diary = Diary(api, prefix=f"e2e-{run}-")
        world = cls(api, run, diary, Registry(api), beside_demo=beside_demo)
        if world.source == run:
            world.install()
        diary.start()
        return world

    @property
    def store(self) -> str:
        """Where the run's tables lie."""
        return f"s3://data/e2e/{self.source}"

    @property
    def source(self) -> str:
        """The run whose tables and trained models are used: this one, or one that it repeats."""
        return os.environ.get("LINNET_E2E_REPEAT") or self.run

    def install(self) -> None:
        """Apply definitions and operator, and have it run from the images that are there now."""
        kubectl = self.api.kubectl
        definitions.install(self.api.kubeconfig)
        kubectl("apply", "-k", str(ROOT / "manifests" / "quickstart"))
        kubectl("-n", OPERATOR, "set", "env", "deploy/linnet-operator", f"{POLL}=10s")
        kubectl("-n", OPERATOR, "rollout", "restart", "deploy/linnet-operator")
        self.operator_is_ready()

    def uninstall(self) -> None:
        """Leave the operator as its manifests have it."""
        self.api.kubectl("-n", OPERATOR, "set", "env", "deploy/linnet-operator", f"{POLL}-")

    def operator_is_ready(self) -> None:
        """Wait for the operator's Deployment."""
        self.api.kubectl(
            "-n", OPERATOR, "rollout", "status", "deploy/linnet-operator", "--timeout=180s",
            timeout=190,
        )  # fmt: skip

    def operator_pods(self) -> list[Manifest]:
        """The operator's pods that are not on their way out, oldest first."""
        found = self.api.list(
            "Pod", OPERATOR, labelSelector="app.kubernetes.io/name=linnet-operator"
        )
        living = [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]
        return sorted(living, key=lambda pod: pod["metadata"]["creationTimestamp"])

    def operator_metrics(self) -> str:
        """The metrics page of the operator's pod."""
        name = self.operator_pods()[-1]["metadata"]["name"]
        return self.api.text("GET", path("Pod", OPERATOR, f"{name}:8080", "proxy", "metrics"))

    def place(self, name: str, *, model: str = "") -> Place:
        """Given a namespace of its own, with the store's keys in it."""
        namespace = f"e2e-{self.run}-{name}"
        self.api.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {
                    "name": namespace,
                    "labels": {"pod-security.kubernetes.io/enforce": "restricted"},
                },
            }
        )
        secret = self.api.get("Secret", "mlops", "linnet-credentials")
        assert secret is not None, "namespace mlops has no Secret linnet-credentials: make cluster"
        self.api.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": "linnet-credentials", "namespace": namespace},
                "data": secret["data"],
            }
        )
        place = Place(self, namespace, model or f"e2e-{self.run}-{name}")
        self.places.append(place)
        return place

    def prepare(self, pool: ThreadPoolExecutor) -> None:
        """Write the tables; train a good model, one that demands another column, one that
        answers the other class, and a slow one.
        """
        if self.source != self.run:
            for content in (*CONTENTS, "slow"):
                model = f"e2e-{self.source}-{content}"
                self.trained[content] = pool.submit(self.registry.version, model, "1")
            return
        place = self.place("base")
        place.run_script("tables", ROOT / "tests" / "e2e" / "tables.py", self.store)
        for content, table in CONTENTS.items():
            self.trained[content] = pool.submit(self._train, place, content, table)
        self.trained["slow"] = pool.submit(
            self._train, place, "slow", CONTENTS["good"], pipeline={"estimator": SLOW}
        )

    def _train(self, place: Place, content: str, table: str, **changes: Any) -> Manifest:
        model = f"e2e-{self.run}-{content}"
        data = {"table": {"uri": self.table(table)}}
        place.train(content, model={"name": model}, data=data, **changes)
        done = place.is_complete(content)
        return self.registry.version(model, done["status"]["version"])

    def copy(self, content: str) -> dict[str, str]:
        """The tags of a version that answers as a trained model does and is other content."""
        source = self.trained[content].result(timeout=300)
        with self.copying:
            spare = self.copies.setdefault(content, [])
            if not spare:
                spare += self._copy(source["tags"][ARTIFACTS_TAG])
            copy = spare.pop()
        return {
            # What was seen in training stays true: a gate asks for it.
            TRAINED_TAG: source["tags"][TRAINED_TAG],
            ARTIFACTS_TAG: copy["uri"],
            MANIFEST_TAG: copy["manifest"],
            CONTENT_TAG: copy["content"],
        }

    def _copy(self, source: str) -> list[Manifest]:
        """Some copies at once."""
        told: list[Manifest] = self.beside_mlflow("copies.py", source, f"{self.store}/copies", "8")
        return told

    def beside_mlflow(self, script: str, *arguments: str) -> Any:
        """What a script of this folder prints in MLflow's pod, which reads and writes the store."""
        text = (ROOT / "tests" / "e2e" / script).read_text(encoding="utf-8")
        pod = ("-n", "mlops", "exec", "-i", "deploy/mlflow", "--")
        return json.loads(self.api.kubectl(*pod, "python", "-", *arguments, stdin=text))

    def table(self, name: str) -> str:
        """The URI of one of the run's tables."""
        return f"{self.store}/{name}"

    def part(self) -> World:
        """The same run with places of its own."""
        return replace(self, places=[])

    def leave(self) -> None:
        """Delete this part's namespaces; the registry's entries stay, their names are unique."""
        for place in self.places:
            self.api.delete("Namespace", None, place.namespace)

    def end(self) -> None:
        """Leave nothing but the registry's entries and the tables."""
        self.leave()
        self.diary.stop()
        self.registry.close()


# -- one namespace ---------------------------------------------------------------------------------


@dataclass
class Place:
    """One namespace, its model and its traffic."""

    world: World
    namespace: str
    model: str

    @property
    def api(self) -> Api:
        return self.world.api

    @property
    def host(self) -> str:
        return f"{self.namespace}.example.com"

    # -- given -------------------------------------------------------------------------------------

    def training_job(self, name: str, **changes: Any) -> Manifest:
        """A TrainingJob on the good table, with changes."""
        spec = {
            "model": {"name": self.model},
            "data": {
                "table": {"uri": self.world.table("good.parquet")},
                "target": "late",
                "timestamp": "at",
                "groups": "plane",
            },
            "pipeline": {"estimator": {"class": "LogisticRegression"}},
            "validation": {"folds": 2, "holdout": {"by": "Time", "fraction": "0.3"}},
            "gates": [{"name": "good-enough", "metric": "roc_auc", "minimum": "0.60"}],
            "backoffLimit": 1,
            "template": {
                "resources": {
                    "requests": {"cpu": "100m", "memory": "256Mi"},
                    "limits": {"cpu": "1", "memory": "1Gi"},
                }
            },
        }
        return self._object("TrainingJob", name, merge(spec, changes))

    def model_deployment(self, name: str = "serve", **changes: Any) -> Manifest:
        """A ModelDeployment with short steps behind the gateway, with changes."""
        spec = {
            "model": {"name": self.model},
            "route": {
                "parentRefs": [{"name": "eg", "namespace": "default"}],
                "hostnames": [self.host],
            },
            "server": {
                "replicas": 1,
                "drainTimeout": "5s",
                "template": {
                    "resources": {
                        "requests": {"cpu": "50m", "memory": "192Mi"},
                        "limits": {"memory": "512Mi"},
                    }
                },
            },
            "strategy": {"steps": STEPS},
            "analysis": {"interval": "1s", "warmup": "2s"},
        }
        return self._object("ModelDeployment", name, merge(spec, changes))

    def drift_policy(self, name: str = "drift", **changes: Any) -> Manifest:
        """A DriftPolicy on the table of live rows, which trains anew after one breach."""
        training = self.training_job("template")["spec"]
        spec = {
            "modelDeploymentRef": {"name": "serve"},
            "source": {"table": {"uri": self.world.table("live.parquet"), "timestamp": "at"}},
            "window": {"until": "NewestEvent", "minSamples": 100},
            "retrain": {
                "when": {"breaches": 1, "of": 1},
                "cooldown": "1s",
                "template": {
                    "spec": {
                        **training,
                        "data": {
                            **training["data"],
                            "table": {"uri": self.world.table("live.parquet")},
                            "window": {"lookback": "1440h", "until": "CheckWindowEnd"},
                        },
                        "gates": [
                            *training["gates"],
                            {
                                "name": "never-worse",
                                "metric": "roc_auc",
                                "notWorseThan": "Champion",
                                "margin": "0.10",
                            },
                        ],
                    }
                },
            },
        }
        return self._object("DriftPolicy", name, merge(spec, changes))

    def gateway(self, name: str, **changes: Any) -> Manifest:
        """A Gateway of the place's own, with changes."""
        listener = {"name": "http", "protocol": "HTTP", "port": 80}
        spec = {"gatewayClassName": "eg", "listeners": [listener]}
        made = self._object("Gateway", name, merge(spec, changes))
        return made | {"apiVersion": "gateway.networking.k8s.io/v1"}

    def _object(self, kind: str, name: str, spec: Mapping[str, Any]) -> Manifest:
        return {
            "apiVersion": "linnet.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": dict(spec),
        }

    def register(
        self, content: str = "good", *, copy: Mapping[str, str] | None = None, alias: bool = True
    ) -> str:
        """Register a version of a trained model without training it again; the alias follows.

        It is other content than every version before, or a copy that was made earlier.
        """
        tags = copy or self.world.copy(content)
        call = self.world.registry.call
        if not self._has_model():
            call("POST", "registered-models/create", {"name": self.model})
        body = {
            "name": self.model,
            "source": tags[ARTIFACTS_TAG],
            "run_id": self.world.trained[content].result()["run_id"],
            "tags": [{"key": key, "value": value} for key, value in tags.items()],
        }
        version = str(call("POST", "model-versions/create", body)["model_version"]["version"])
        if alias:
            self.set_alias("challenger", version)
        return version

    def _has_model(self) -> bool:
        found = self.world.registry.call(
            "GET", "registered-models/search", filter=f"name='{self.model}'"
        )
        return bool(found.get("registered_models"))

    def set_alias(self, alias: str, version: str) -> None:
        """Point an alias of the place's model at a version."""
        body = {"name": self.model, "alias": alias, "version": version}
        self.world.registry.call("POST", "registered-models/alias", body)

    def set_tag(self, version: str, key: str, value: str) -> None:
        """Set a tag of a version of the place's model."""
        body = {"name": self.model, "version": version, "key": key, "value": value}
        self.world.registry.call("POST", "model-versions/set-tag", body)

    def serving(self, name: str = "serve", **changes: Any) -> Manifest:
        """Given a deployment whose first version serves and is champion."""
        version = self.register()
        self.apply(self.model_deployment(name, **changes))
        return self.is_champion(version, name=name, seconds=180)

    # -- when --------------------------------------------------------------------------------------

    def apply(self, manifest: Manifest) -> Manifest:
        """Apply an object."""
        return self.api.apply(manifest)

    @contextmanager
    def reapplied(self, manifest: Manifest) -> Iterator[list[Manifest]]:
        """Apply an object every second, as a GitOps tool does; what the API server answered."""
        answers: list[Manifest] = []
        ended = threading.Event()

        def again() -> None:
            while not ended.wait(1):
                answers.append(self.apply(manifest))

        with ThreadPoolExecutor(1) as pool:
            applying = pool.submit(again)
            try:
                yield answers
            finally:
                ended.set()
            applying.result()

    def train(self, name: str, **changes: Any) -> Manifest:
        """Apply a TrainingJob."""
        return self.apply(self.training_job(name, **changes))

    def apply_example(self, path: str, *, name: str = "", model: str = "", **changes: Any) -> str:
        """Apply a file of examples/ to this run's store and this place's model; the job's name."""
        text = (EXAMPLES / path).read_text(encoding="utf-8")
        *others, job = yaml.safe_load_all(text.replace("s3://data/", f"{self.world.store}/"))
        job = merge(job, {"spec": {"model": {"name": model or self.model}, **changes}})
        job["metadata"]["name"] = name or job["metadata"]["name"]
        for manifest in (*others, job):
            manifest["metadata"]["namespace"] = self.namespace
            self.apply(manifest)
        return str(job["metadata"]["name"])

    def patch(self, kind: str, name: str, spec: Manifest) -> Manifest:
        """Change fields of an object's spec."""
        return self.api.patch(kind, self.namespace, name, {"spec": spec})

    def request(
        self,
        verb: str,
        revision: str = "",
        *,
        name: str = "serve",
        kind: str = "ModelDeployment",
    ) -> Manifest:
        """Write the annotation `linnet.dev/request`, and return status.request when answered."""
        named = f"={revision}" if revision else ""
        before = self.get(kind, name)
        last = ((before or {}).get("status", {}).get("request") or {}).get("time", "")
        moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        while moment <= last:
            time.sleep(0.5)
            moment = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        text = f"{verb}{named}@{moment}"
        annotations = {"annotations": {"linnet.dev/request": text}}
        self.api.patch(kind, self.namespace, name, {"metadata": annotations})

        def answered(obj: Manifest) -> Any:
            found = obj.get("status", {}).get("request") or {}
            done = found.get("time") == moment and found.get("outcome") != "Pending"
            return found if done else None

        self.until(kind, name, f"the request {text} is answered", answered, seconds=90)
        found: Manifest = answered(self.get(kind, name) or {})
        return found

    def run_script(
        self, name: str, file: Path, *arguments: str, image: str = DEMO, seconds: float = 180
    ) -> None:
        """Run a script in a pod of an image with Python and wait for its end."""
        text = file.read_text(encoding="utf-8")
        container = {"image": image, "command": ["python"], "args": ["-c", text, *arguments]}
        self.pod(name, container)

        def ended() -> Any:
            pod = self.get("Pod", name)
            return pod and pod["status"]["phase"] in ("Succeeded", "Failed") and pod

        pod = self.world.diary.wait(ended, seconds)
        if not pod or pod["status"]["phase"] != "Succeeded":
            raise AssertionError(f"pod {name} did not succeed: {json.dumps(pod and pod['status'])}")

    def pod(self, name: str, container: Mapping[str, Any]) -> None:
        """Start a pod of the demo image."""
        spec = {
            **POD,
            "containers": [{"name": "main", **CONTAINER, **container}],
            "volumes": [{"name": "tmp", "emptyDir": {}}],
        }
        self.api.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": self.namespace, "labels": {"app": name}},
                "spec": spec,
            }
        )

    def service(self, name: str, port: int, *, target: int | None = None, **spec: Any) -> None:
        """Make the Service of a pod of this name, which listens on `target`, else on `port`."""
        meta = {"name": name, "namespace": self.namespace}
        ports = [{"port": port, "targetPort": target or port}]
        spec = {"selector": {"app": name}, "ports": ports, **spec}
        self.apply({"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": spec})

    def config_map(self, name: str, data: Mapping[str, str]) -> None:
        """Make a ConfigMap."""
        meta = {"name": name, "namespace": self.namespace}
        self.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data})

    def traffic(
        self, *, rate: float = 20, url: str = "", gateway: str = GATEWAY, name: str = "traffic"
    ) -> Traffic:
        """Send live traffic to a gateway, or past it to `url`; return when it is answered."""
        arguments = [
            f"--table={self.world.table('good.parquet')}",
            f"--url={url or gateway}/invocations",
            f"--rate={rate}",
            "--exclude=late,at,plane",
            "--max-seconds=3600",
        ]
        if url:
            program = ["-c", ONE_REQUEST_A_CONNECTION]
        else:
            program = ["/opt/linnet/demo/replay.py"]
            arguments.append(f"--host={self.host}")
        self.pod(name, {"args": [*program, *arguments]})
        traffic = Traffic(self, name)
        deadline = time.monotonic() + 120
        while traffic.total("", HEALTHY) < 20:
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.namespace}: no traffic: {traffic.totals()}")
            time.sleep(1)
        return traffic

    def ask(
        self,
        *,
        path: str = "/invocations",
        headers: Mapping[str, str] | None = None,
        times: int = 1,
    ) -> list[Manifest]:
        """Ask the gateway from the pod that sends traffic: status and headers of every answer."""
        sent = {"Host": self.host, "Content-Type": "application/json", **(headers or {})}
        body = json.dumps({"dataframe_split": ROW})
        code = ASK.format(path=path, body=body, headers=sent, times=times)
        said = self.api.kubectl(
            "-n", self.namespace, "exec", "-i", "traffic", "--", "python", "-", stdin=code
        )
        return [json.loads(line) for line in said.splitlines()]

    # -- then --------------------------------------------------------------------------------------

    def get(self, kind: str, name: str) -> Manifest | None:
        """An object as it was seen last."""
        return self.world.diary.get(kind, self.namespace, name)

    def all(self, kind: str) -> list[Manifest]:
        """All objects of a kind."""
        return self.world.diary.all(kind, self.namespace)

    def past(self, kind: str, name: str = "") -> list[Manifest]:
        """Every state of objects of a kind, oldest first."""
        return self.world.diary.past(kind, self.namespace, name)

    def until(
        self,
        kind: str,
        name: str,
        what: str,
        ready: Callable[[Manifest], Any],
        *,
        seconds: float = 90,
    ) -> Manifest:
        """Wait until something holds of an object, and return it."""

        def look() -> Any:
            obj = self.get(kind, name)
            return obj if obj is not None and ready(obj) else None

        found: Manifest | None = self.world.diary.wait(look, seconds)
        if found is None:
            raise AssertionError(f"{what}: not within {seconds:.0f} s\n{self.explain()}")
        return found

    def eventually(self, what: str, ready: Callable[[], Any], *, seconds: float = 60) -> Any:
        """Wait until something holds in the namespace."""
        found = self.world.diary.wait(ready, seconds)
        if not found:
            raise AssertionError(f"{what}: not within {seconds:.0f} s\n{self.explain()}")
        return found

    def has_condition(
        self,
        kind: str,
        name: str,
        which: str,
        truth: str,
        reason: str,
        *words: str,
        seconds: float = 90,
    ) -> Manifest:
        """A condition has this status and reason, and its sentence holds these words."""

        def ready(obj: Manifest) -> bool:
            message = str(condition(obj, which).get("message", ""))
            return says(obj, which, truth, reason) and all(word in message for word in words)

        what = f"{kind} {name}: {which}={truth}/{reason} with {words or 'a sentence'}"
        return self.until(kind, name, what, ready, seconds=seconds)

    def has_event(self, name: str, reason: str, *words: str, seconds: float = 15) -> Manifest:
        """There is an event of this reason about the object, whose note holds these words."""

        def look() -> Any:
            return next(
                (
                    event
                    for event in self.all("Event")
                    if event["reason"] == reason
                    and event["regarding"]["name"] == name
                    and all(word in event.get("note", "") for word in words)
                ),
                None,
            )

        found: Manifest = self.eventually(
            f"event {reason} of {name} {words}", look, seconds=seconds
        )
        return found

    def is_complete(self, name: str, *, seconds: float = 240) -> Manifest:
        """A TrainingJob ended well."""

        def ready(obj: Manifest) -> bool:
            if condition(obj, "Failed").get("status") == "True":
                raise AssertionError(f"{name} failed\n{self.explain()}")
            return condition(obj, "Complete").get("status") == "True"

        return self.until("TrainingJob", name, f"{name} is complete", ready, seconds=seconds)

    def has_failed(self, name: str, reason: str, *words: str, seconds: float = 240) -> Manifest:
        """A TrainingJob ended without a version, for this reason, and says so everywhere."""
        obj = self.has_condition(
            "TrainingJob", name, "Failed", "True", reason, *words, seconds=seconds
        )
        for which, truth in (("Complete", "False"), ("Stalled", "True")):
            assert says(obj, which, truth, reason), self.explain()
        assert "version" not in obj["status"], self.explain()
        self.has_event(name, reason, *words)
        return obj

    def is_champion(self, version: str, *, name: str = "serve", seconds: float = 240) -> Manifest:
        """A version serves all traffic, and the alias champion names it."""

        def ready(obj: Manifest) -> bool:
            champion = (obj.get("status") or {}).get("champion") or {}
            return (
                champion.get("version") == version
                and condition(obj, "Ready").get("status") == "True"
                and condition(obj, "Promoted").get("status") == "True"
            )

        what = f"version {version} is champion"
        return self.until("ModelDeployment", name, what, ready, seconds=seconds)

    def reaches_weight(
        self, weight: int, *, version: str = "", name: str = "serve", seconds: float = 180
    ) -> Manifest:
        """The candidate was seen to have at least this weight."""

        def ready(obj: Manifest) -> bool:
            status = obj.get("status") or {}
            right = not version or (status.get("candidate") or {}).get("version") == version
            return right and (status.get("weight") or 0) >= weight

        what = f"the candidate {version} has {weight} %"
        return self.until("ModelDeployment", name, what, ready, seconds=seconds)

    def is_rejected(
        self,
        version: str,
        reason: str = "RolledBack",
        *words: str,
        name: str = "serve",
        seconds: float = 180,
    ) -> Manifest:
        """A version was taken back for good, and the object says so."""

        def ready(obj: Manifest) -> bool:
            listed = (obj.get("status") or {}).get("rejected") or ()
            sentence = condition(obj, "Ready").get("message", "")
            return (
                any(each["version"] == version for each in listed)
                and says(obj, "Ready", "False", reason)
                and all(word in sentence for word in words)
            )

        what = f"version {version} is rejected, Ready=False/{reason} {words}"
        return self.until("ModelDeployment", name, what, ready, seconds=seconds)

    def weights_of(self, version: str, *, name: str = "serve") -> list[int]:
        """The weights that the route gave to a version, in order of time, repeats left out."""
        found: list[int] = []
        for route in self.past("HTTPRoute", name):
            refs = [ref for rule in route["spec"]["rules"] for ref in rule["backendRefs"]]
            assert sum(ref["weight"] for ref in refs) == 100, refs
            weight = sum(ref["weight"] for ref in refs if f"-v{version}-" in ref["name"])
            if weight and (not found or found[-1] != weight):
                found.append(weight)
        return found

    def route_gives_all_to(self, version: str, *, name: str = "serve") -> None:
        """Route, status and registry name the same champion."""

        def agree() -> bool:
            route, obj = self.get("HTTPRoute", name), self.get("ModelDeployment", name)
            if route is None or obj is None:
                return False
            refs = [ref for rule in route["spec"]["rules"] for ref in rule["backendRefs"]]
            told = {ref["name"]: ref["weight"] for ref in refs}
            seen = {each["revision"]: each["weight"] for each in obj["status"].get("traffic", ())}
            champion = obj["status"]["champion"]
            return (
                told == seen == {champion["revision"]: 100}
                and champion["version"] == version
                and condition(obj, "TrafficProgrammed").get("status") == "True"
            )

        self.eventually(f"route and status give all traffic to version {version}", agree)
        aliases = self.world.registry.aliases(self.model)
        assert aliases.get("champion") == version, f"{aliases}\n{self.explain()}"

    def revisions_running(self) -> set[str]:
        """Versions that have pods."""
        return {
            pod["metadata"]["labels"]["linnet.dev/model-version"]
            for pod in self.all("Pod")
            if "linnet.dev/model-version" in pod["metadata"].get("labels", {})
        }

    def only_runs(self, version: str, *, seconds: float = 90) -> None:
        """The pods of every other version are gone."""
        self.eventually(
            f"only version {version} has pods",
            lambda: self.revisions_running() == {version},
            seconds=seconds,
        )

    def trainer_pods(self, job: str) -> list[Manifest]:
        """The pods of a TrainingJob."""
        return [
            pod
            for pod in self.all("Pod")
            if pod["metadata"].get("labels", {}).get("linnet.dev/training-job") == job
        ]

    def server_pods(self, version: str) -> dict[str, int]:
        """Uid and restarts of a version's pods."""
        return {
            pod["metadata"]["uid"]: sum(
                each["restartCount"] for each in pod["status"].get("containerStatuses", ())
            )
            for pod in self.all("Pod")
            if pod["metadata"].get("labels", {}).get("linnet.dev/model-version") == version
            and not pod["metadata"].get("deletionTimestamp")
        }

    def server_pod_names(self, version: str) -> list[str]:
        """Names of a version's pods that are not on their way out."""
        uids = self.server_pods(version)
        found = [pod["metadata"] for pod in self.all("Pod") if pod["metadata"]["uid"] in uids]
        return sorted(meta["name"] for meta in found)

    def evict(self, pod: str) -> bool:
        """Evict a pod as a node's drain does; False where a budget does not allow it now."""
        eviction = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self.namespace},
        }
        try:
            self.api.call("POST", path("Pod", self.namespace, pod, "eviction"), eviction)
        except Refused as error:
            if error.code == 429:
                return False
            raise
        return True

    def made_everything_once(self) -> None:
        """No child was made twice under two names, and none of one name was made again."""
        with self.world.diary.changed:
            added = [
                entry.obj["metadata"] | {"kind": entry.kind}
                for entry in self.world.diary.entries
                if entry.namespace == self.namespace
                and entry.verb in ("ADDED", "LISTED")
                and entry.kind in ("Deployment", "ControllerRevision", "Job", "HTTPRoute")
            ]
        uids: dict[tuple[str, ...], set[str]] = {}
        for meta in added:
            labels = meta.get("labels", {})
            of = [labels.get(f"linnet.dev/{each}", "") for each in MAKERS]
            if meta["kind"] == "Job" and not labels.get("linnet.dev/training-job"):
                of.append(meta["name"])  # A check's: it tells the slot.
            uids.setdefault((meta["kind"], *of), set()).add(meta["uid"])
        twice = {key: found for key, found in uids.items() if len(found) > 1}
        assert not twice, f"made more than once: {twice}\n{self.explain()}"

    def explain(self) -> str:
        """Everything that helps to read a failure: conditions, decisions, pods, last events."""
        lines = [f"-- namespace {self.namespace}, model {self.model}"]
        for kind in ("TrainingJob", "ModelDeployment", "DriftPolicy"):
            for obj in self.all(kind):
                status = obj.get("status") or {}
                lines.append(f"{kind} {obj['metadata']['name']}")
                lines += [
                    f"  {each['type']}={each['status']}/{each['reason']}: {each['message']}"
                    for each in status.get("conditions", ())
                ]
                for key in ("champion", "candidate", "step", "decision", "request", "rejected"):
                    if status.get(key):
                        lines.append(f"  {key}: {json.dumps(status[key])[:600]}")
        for route in self.all("HTTPRoute"):
            lines.append(f"HTTPRoute {json.dumps(route['spec']['rules'])[:400]}")
        for pod in self.all("Pod"):
            state = json.dumps(
                [
                    each.get("state")
                    for key in ("initContainerStatuses", "containerStatuses")
                    for each in pod["status"].get(key, ())
                ]
            )
            phase = pod["status"].get("phase")
            lines.append(f"Pod {pod['metadata']['name']} {phase} {state[:400]}")
        events = sorted(self.all("Event"), key=lambda event: event.get("eventTime") or "")
        ours = [e for e in events if e.get("reportingController") == "linnet.dev/operator"]
        lines += [f"Event {e['eventTime']} {e['reason']}: {e.get('note', '')}" for e in ours[-12:]]
        return "\n".join(lines)


# -- traffic ---------------------------------------------------------------------------------------


@dataclass
class Traffic:
    """A pod that sends live traffic and counts every answer."""

    place: Place
    name: str

    def totals(self) -> Manifest:
        """The counts so far; empty while the pod does not answer."""
        where = path("Pod", self.place.namespace, f"{self.name}:8090", "proxy", "totals")
        try:
            return self.place.api.call("GET", where)
        except Exception:
            return {}

    def total(self, version: str, code: str = "") -> int:
        """How often a version ("" = any) answered with a code ("" = any)."""
        return sum(
            count
            for answered, codes in self.totals().get("answers", {}).items()
            for found, count in codes.items()
            if version in ("", answered) and code in ("", found)
        )

    def failures(self, *, but_of: str = "") -> list[str]:
        """Every request that did not end well, those of one version apart."""
        totals = self.totals()
        assert totals, f"the traffic pod of {self.place.namespace} does not answer"
        bad = [
            f"{count} x {code} of version {version}"
            for version, codes in totals["answers"].items()
            for code, count in codes.items()
            if code != HEALTHY and version != but_of
        ]
        lost = [f"{totals[key]} {key}" for key in ("lost", "refused", "timeouts") if totals[key]]
        return [*bad, *lost, *([json.dumps(totals["errors"])] if bad else [])]

    def has_no_failure(self, *, but_of: str = "") -> None:
        """No user request failed, those that a bad candidate refused counted apart."""
        found = self.failures(but_of=but_of)
        assert not found, f"{self.place.namespace}: {found}\n{self.place.explain()}"

    def stop(self) -> None:
        """Take the pod away."""
        self.place.api.delete("Pod", self.place.namespace, self.name)
