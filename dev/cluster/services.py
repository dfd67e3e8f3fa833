"""What runs in the cluster before Linnet does: DNS, gateway, S3 store, MLflow."""

import json
import secrets
from pathlib import Path

from . import builds, console, kubernetes, paths

CREDENTIALS = "linnet-credentials"
NAMESPACE = "mlops"
VOLUMES = 32

_PATIENCE = 420
"""Seconds for a service to come up: two cores may be busy with a build."""


def install_node_services() -> None:
    """Install what a bare node lacks and a cluster made by others has: volumes and DNS."""
    kubernetes.apply("volumes", _manifest("volumes.yaml") + _volumes())
    kubernetes.apply("coredns", _manifest("coredns.yaml"))


def install() -> None:
    """Install store, MLflow and gateway, and wait until they serve."""
    # MLflow takes longest to start, so it goes first.
    kubernetes.apply("namespace", json.dumps(_namespace()))
    make_credentials(NAMESPACE)
    kubernetes.apply("mlops", _manifest("mlops.yaml"))
    with console.step("Envoy Gateway"):
        # Definitions apart, so that the objects that follow are known.
        kubernetes.apply("gateway-crds", builds.gateway_definitions())
        kubernetes.apply("envoy-gateway", _manifest("envoy-gateway.yaml"))
        _wait_available("envoy-gateway", "envoy-gateway-system")
        kubernetes.apply("gateway", _manifest("gateway.yaml"))
        gateway = ("gateway/eg", "--namespace=default")
        kubernetes.wait("Programmed", *gateway, seconds=_PATIENCE)
    with console.step("S3 store and MLflow"):
        _wait_available("s3", NAMESPACE)
        _wait_available("mlflow", NAMESPACE)


def install_prometheus() -> None:
    """Install a Prometheus that reads servers and gateways, and wait until it serves."""
    kubernetes.apply("prometheus", _manifest("prometheus.yaml"))
    _wait_available("prometheus", "monitoring")


def install_metrics() -> None:
    """Install metrics-server, which autoscalers ask, and wait until it serves."""
    kubernetes.apply("metrics", _manifest("metrics.yaml"))
    _wait_available("metrics-server", "kube-system")
    kubernetes.wait("Available", "apiservice/v1beta1.metrics.k8s.io", seconds=_PATIENCE)


def wait_for_dns() -> None:
    """Wait until names are resolved."""
    _wait_available("coredns", "kube-system")


def make_credentials(namespace: str) -> None:
    """Put the Secret with the keys of the S3 store into a namespace."""
    secret: dict[str, object] = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": CREDENTIALS, "namespace": namespace},
    }
    if namespace == NAMESPACE:
        secret["stringData"] = _keys()
    else:
        original = kubernetes.get("secret", CREDENTIALS, f"--namespace={NAMESPACE}")
        if not original:
            raise console.Failure(f"There is no Secret {CREDENTIALS} in {NAMESPACE} to copy.")
        secret["data"] = original["data"]
    kubernetes.kubectl(
        "apply", "--server-side", "--force-conflicts", "--filename=-", stdin=json.dumps(secret)
    )


def _keys() -> dict[str, str]:
    """The keys of the store, made up once for each life of the cluster."""
    file = paths.STATE / "store-keys.json"
    if not file.exists():
        keys = {
            "AWS_ACCESS_KEY_ID": f"linnet{secrets.token_hex(7)}",
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(20),
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        fresh = file.with_suffix(".new")
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(keys))
        fresh.rename(file)
    return dict(json.loads(file.read_text()))


def _namespace() -> dict[str, object]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": NAMESPACE, "labels": labels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def _volumes() -> str:
    """Folders of the node as volumes, open to every user: pods choose theirs."""
    documents = []
    for number in range(1, VOLUMES + 1):
        name = f"volume-{number:02d}"
        folder = paths.VOLUMES / name
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o777)
        spec = {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "standard",
            "hostPath": {"path": str(folder), "type": "Directory"},
        }
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}}
        documents.append(json.dumps(volume | {"spec": spec}))
    return "".join(f"\n---\n{document}" for document in documents)


def _wait_available(deployment: str, namespace: str) -> None:
    what = (f"deployment/{deployment}", f"--namespace={namespace}")
    kubernetes.wait("Available", *what, seconds=_PATIENCE)


def _manifest(name: str) -> str:
    return Path(paths.SOURCE, "manifests", name).read_text()
