"""Linnet: ModelDeployments over ten models of an MLflow server."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from mlflow import MlflowClient

from benchmarks.scale.plane import Plane, free_port
from benchmarks.scale.subject import LOG, NAMESPACE
from benchmarks.scale.watching import Watching
from dev.cluster import builds, paths
from tests import definitions
from tests.e2e.api import Api, Manifest

MODELS = 10
PARTS = ("operator", "trainer", "server", "monitor")
"""The folders whose packages the operator imports."""
READY = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}


def environment(name: str, requirements: Path) -> Path:
    """The programs of a Python environment of its own, as the image of that name has it."""
    folder = paths.CACHE / "environments" / name
    if not folder.exists():
        partial = folder.with_name(f"{name}.partial")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(partial)], check=True)
        pip = [str(partial / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*pip, f"--requirement={requirements}"], check=True)
        partial.rename(folder)
    return folder / "bin"


class Pods(Watching):
    """One ready pod for every Deployment."""

    def take(self, obj: Manifest) -> None:
        meta, pods = obj["metadata"], f"/api/v1/namespaces/{obj['metadata']['namespace']}/pods"
        name = f"{meta['name']}-0"
        pod = {
            "metadata": {"name": name, "labels": obj["spec"]["template"]["metadata"]["labels"]},
            "spec": {"containers": [{"name": "server", "image": "none"}]},
        }
        self.api.call("POST", pods, pod)
        status = {"phase": "Running", "podIP": "127.0.0.1", "conditions": [READY]}
        merge = "application/merge-patch+json"
        self.api.call("PATCH", f"{pods}/{name}/status", {"status": status}, content=merge)


@dataclass
class Linnet:
    """The operator as a process."""

    name: str = "Linnet"
    collection: str = "/apis/linnet.dev/v1alpha1/modeldeployments"
    children: str = "/apis/apps/v1/controllerrevisions"
    namespaces: tuple[str, ...] = ("linnet-system",)
    settles: float = 75.0
    """The first version is called promoted after it was held for a minute."""

    def prepare(self, at: Plane) -> None:
        os.environ["PATH"] = f"{builds.NODE.folder}{os.pathsep}{os.environ['PATH']}"
        definitions.install(str(at.kubeconfig))
        self._mlflow = environment("mlflow", paths.SOURCE / "images" / "mlflow.txt")
        self._python = environment("operator", paths.CHECKOUT / "locks" / "operator.txt")
        self._start_registry()
        registry = MlflowClient(self._uri)
        for number in range(MODELS):
            model = f"model-{number}"
            registry.create_registered_model(model)
            tags = {"linnet.dev/manifest-sha256": f"{number:064d}"}
            made = registry.create_model_version(model, "s3://none/model", tags=tags)
            registry.set_registered_model_alias(model, "challenger", made.version)

    @property
    def _uri(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def _start_registry(self) -> None:
        self._folder, self._port = tempfile.TemporaryDirectory(), free_port()
        store = f"sqlite:///{self._folder.name}/mlflow.db"
        self._registry = subprocess.Popen(
            [str(self._mlflow / "python"), "-m", "mlflow", "server", "--workers=1",
             f"--backend-store-uri={store}", f"--port={self._port}"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=self._folder.name,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return
            if time.monotonic() > deadline:
                raise RuntimeError("the MLflow server does not listen")
            time.sleep(0.5)

    def stop(self) -> None:
        self._registry.terminate()
        self._registry.wait(30)

    def start(self, at: Plane, folder: Path) -> subprocess.Popen[bytes]:
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(str(paths.CHECKOUT / part) for part in PARTS),
            "KUBECONFIG": str(at.kubeconfig),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "LINNET_TRACKING_URI": self._uri,
            "LINNET_NAMESPACE": "linnet-system",
            "LINNET_IDENTITY": "linnet-system/operator",
            "LINNET_LISTEN": "127.0.0.1:0",
        }
        # A killed leader's Lease would be waited for; a short one would be lost on busy cores.
        Api(str(at.kubeconfig)).delete("Lease", "linnet-system", "linnet-operator")
        with (folder / LOG).open("ab") as log:
            command = [str(self._python / "python"), "-m", "linnet"]
            return subprocess.Popen(command, env=variables, stdout=log, stderr=log)

    def collection_in(self, namespace: str) -> str:
        return f"/apis/linnet.dev/v1alpha1/namespaces/{namespace}/modeldeployments"

    def make(self, name: str) -> Manifest:
        number = sum(map(ord, name)) % MODELS
        # One champion alias has one owner: thousands cannot share ten models' and be at rest.
        return {
            "apiVersion": "linnet.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "model": {"name": f"model-{number}", "championAlias": ""},
                "server": {"replicas": 1},
            },
        }

    def is_ready(self, obj: Manifest) -> bool:
        conditions = (obj.get("status") or {}).get("conditions", ())
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def stand_in(self, api: Api) -> Watching:
        return Pods(api, "/apis/apps/v1/deployments")
