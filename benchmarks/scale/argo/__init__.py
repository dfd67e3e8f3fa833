"""Argo Rollouts 1.10.1: Rollouts of one replica with canary steps and no traffic router."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.scale.plane import Plane, free_port
from benchmarks.scale.subject import LOG, NAMESPACE
from benchmarks.scale.watching import Watching
from dev.cluster import builds
from tests.e2e.api import Api, Manifest

MODULE = "github.com/argoproj/argo-rollouts"
CONTROLLER = builds.Group(
    name="Argo Rollouts",
    module=Path(__file__).parent,
    batches=(builds.Batch(programs={"rollouts-controller": f"{MODULE}/cmd/rollouts-controller"}),),
)


def install(kubeconfig: Path) -> None:
    """Build the controller where it is not there, and create its definitions."""
    builds.ensure(CONTROLLER)
    told = subprocess.run(
        ["go", "mod", "download", "-json", MODULE],
        cwd=CONTROLLER.module, check=True, capture_output=True, text=True,
    )  # fmt: skip
    folder = Path(json.loads(told.stdout)["Dir"], "manifests", "crds")
    kubectl = [str(builds.NODE.program("kubectl")), f"--kubeconfig={kubeconfig}"]
    files = [f"--filename={file}" for file in sorted(folder.glob("*-crd.yaml"))]
    for verb in (
        ["apply", "--server-side"],
        ["wait", "--for=condition=Established", "--timeout=60s"],
    ):
        subprocess.run([*kubectl, *verb, *files], check=True, capture_output=True)


def start(kubeconfig: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start the controller as a process of this host."""
    with log.open("ab") as output:
        command = [
            str(CONTROLLER.program("rollouts-controller")),
            "--leader-elect=false", "--qps=400", "--burst=800",
            f"--metricsport={free_port()}", f"--healthzPort={free_port()}",
        ]  # fmt: skip
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig)}
        return subprocess.Popen(command, env=environment, stdout=output, stderr=output)


class ReplicaSets(Watching):
    """Every ReplicaSet has what it asks for."""

    def take(self, obj: Manifest) -> None:
        meta, wanted = obj["metadata"], obj["spec"].get("replicas", 1)
        status = {
            "observedGeneration": meta["generation"],
            **dict.fromkeys(
                ("replicas", "fullyLabeledReplicas", "readyReplicas", "availableReplicas"), wanted
            ),
        }
        if (obj.get("status") or {}) == status:
            return
        where = f"/apis/apps/v1/namespaces/{meta['namespace']}/replicasets/{meta['name']}/status"
        merge = "application/merge-patch+json"
        self.api.call("PATCH", where, {"status": status}, content=merge)


@dataclass
class ArgoRollouts:
    """The controller as a process, its client's rate limits lifted."""

    name: str = "Argo Rollouts"
    collection: str = "/apis/argoproj.io/v1alpha1/rollouts"
    children: str = "/apis/apps/v1/replicasets"
    namespaces: tuple[str, ...] = ("argo-rollouts",)
    settles: float = 0.0

    def prepare(self, at: Plane) -> None:
        install(at.kubeconfig)

    def start(self, at: Plane, folder: Path) -> subprocess.Popen[bytes]:
        return start(at.kubeconfig, folder / LOG)

    def stop(self) -> None: ...

    def collection_in(self, namespace: str) -> str:
        return f"/apis/argoproj.io/v1alpha1/namespaces/{namespace}/rollouts"

    def make(self, name: str) -> Manifest:
        labels = {"app": name}
        return {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "metadata": {"name": name, "namespace": NAMESPACE},
            "spec": {
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "strategy": {"canary": {"steps": [{"setWeight": 20}, {"pause": {}}]}},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {"containers": [{"name": "server", "image": "none"}]},
                },
            },
        }

    def is_ready(self, obj: Manifest) -> bool:
        return bool((obj.get("status") or {}).get("phase") == "Healthy")

    def stand_in(self, api: Api) -> Watching:
        return ReplicaSets(api, "/apis/apps/v1/replicasets")
