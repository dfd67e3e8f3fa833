"""One real Kubernetes node: what runs, with which settings, in which order.

Every flag that is not self-evident is here because the node did not work without it, or because a
test machine has little room: see the comments beside them.
"""

import json
import ssl
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

from . import builds, certificates, cleanup, console, kubernetes, network, paths, processes, runtime

DAEMONS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "containerd",
    "kubelet",
    "kube-proxy",
)
"""In the order in which they start."""

RESTARTS = 60.0
"""Seconds in which a daemon that may be started again is."""


def up() -> None:
    """Bring the node up; take over what runs of it, start afresh if its control plane does not."""
    if not _control_plane_answers():
        cleanup.tear_down()
        cleanup.forget()
    for folder in (paths.RUN, paths.CONFIG, paths.LOGS, paths.PIDS, paths.CONTAINERD):
        folder.mkdir(parents=True, exist_ok=True)
    cleanup.claim()
    processes.ensure_cgroups()
    processes.kill_strays()
    network.ensure()
    certificates.ensure()
    with console.step("control plane"):
        _start_etcd()
        _start_apiserver()
        # Earlier, the controller manager would end: it reads a ConfigMap of the API server.
        _wait_for("kube-apiserver", ready)
        _start_controllers()
    with console.step("node"):
        runtime.start()
        _start_kubelet()
        _start_proxy()
        _wait_for("kubelet", kubernetes.node_is_ready, again=_start_kubelet)


def ready() -> bool:
    """Whether the API server says that it is ready."""
    if not network.leads_to_node():
        # Without our interface the question would leave this machine by its default route.
        return False
    try:
        trust = ssl.create_default_context(cafile=str(paths.PKI / "ca.crt"))
        trust.load_cert_chain(paths.PKI / "admin.crt", paths.PKI / "admin.key")
        # No proxy of this machine stands between the host and the node's own address.
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
        )
        with opener.open(f"{certificates.SERVER}/readyz", timeout=3) as answer:
            return bool(answer.status == 200)
    except OSError:
        # No certificates yet, nobody listens, or an answer that says no.
        return False


def _control_plane_answers() -> bool:
    if not (processes.alive("etcd") and processes.alive("kube-apiserver")):
        return False
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if ready():
            return True
        time.sleep(0.5)
    return False


def _start_etcd() -> None:
    client, peer = "http://127.0.0.1:2379", "http://127.0.0.1:2380"
    _start(
        "etcd",
        f"--data-dir={paths.STATE / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=default={peer}",
        # The state dies with the node, and the disk of a test machine is slow.
        "--unsafe-no-fsync",
        "--log-level=warn",
    )


def _start_apiserver() -> None:
    pki = paths.PKI
    _start(
        "kube-apiserver",
        "--etcd-servers=http://127.0.0.1:2379",
        "--secure-port=6443",
        f"--advertise-address={network.NODE_ADDRESS}",
        f"--service-cluster-ip-range={network.SERVICE_RANGE}",
        "--authorization-mode=Node,RBAC",
        "--enable-admission-plugins=NodeRestriction",
        "--allow-privileged=true",
        f"--client-ca-file={pki}/ca.crt",
        f"--tls-cert-file={pki}/apiserver.crt",
        f"--tls-private-key-file={pki}/apiserver.key",
        f"--kubelet-client-certificate={pki}/apiserver-kubelet.crt",
        f"--kubelet-client-key={pki}/apiserver-kubelet.key",
        f"--kubelet-certificate-authority={pki}/ca.crt",
        "--kubelet-preferred-address-types=InternalIP",
        "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
        f"--service-account-key-file={pki}/service-accounts.pub",
        f"--service-account-signing-key-file={pki}/service-accounts.key",
        f"--requestheader-client-ca-file={pki}/front-proxy-ca.crt",
        "--requestheader-allowed-names=front-proxy",
        "--requestheader-extra-headers-prefix=X-Remote-Extra-",
        "--requestheader-group-headers=X-Remote-Group",
        "--requestheader-username-headers=X-Remote-User",
        f"--proxy-client-cert-file={pki}/front-proxy.crt",
        f"--proxy-client-key-file={pki}/front-proxy.key",
        "--profiling=false",
    )


def _start_controllers() -> None:
    pki = paths.PKI
    _start(
        "kube-controller-manager",
        f"--kubeconfig={paths.CONFIG}/controller-manager.kubeconfig",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--allocate-node-cidrs=true",
        f"--cluster-cidr={network.POD_RANGE}",
        f"--service-cluster-ip-range={network.SERVICE_RANGE}",
        f"--service-account-private-key-file={pki}/service-accounts.key",
        f"--root-ca-file={pki}/ca.crt",
        f"--cluster-signing-cert-file={pki}/ca.crt",
        f"--cluster-signing-key-file={pki}/ca.key",
        "--use-service-account-credentials=true",
        "--profiling=false",
    )
    _start(
        "kube-scheduler",
        f"--kubeconfig={paths.CONFIG}/scheduler.kubeconfig",
        "--bind-address=127.0.0.1",
        "--leader-elect=false",
        "--profiling=false",
    )


def _start_kubelet() -> None:
    # Pods inherit no resolver from the host: every name that they may know is in the cluster.
    resolver = paths.CONFIG / "resolv.conf"
    _write(resolver, "")
    configuration = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": f"unix://{paths.SOCKET}",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{paths.PKI}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": f"{paths.PKI}/kubelet-server.crt",
        "tlsPrivateKeyFile": f"{paths.PKI}/kubelet-server.key",
        "clusterDNS": [network.DNS_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": str(resolver),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{processes.GROUP}",
        # The kubelet has refused cgroup version 1 since 1.35 unless told otherwise.
        "failCgroupV1": False,
        "failSwapOn": False,
        "maxPods": 200,
        # Files of a ConfigMap follow it within seconds: a test waits for them.
        "syncFrequency": "10s",
        # No image may be collected: it could not be pulled again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        # Absolute and low: a test machine's disk is large and mostly full of other things.
        "evictionHard": {
            "memory.available": "200Mi",
            "nodefs.available": "1Gi",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1Gi",
            "imagefs.inodesFree": "1%",
        },
        "configMapAndSecretChangeDetectionStrategy": "Watch",
        "serializeImagePulls": False,
        "podLogsDir": str(paths.STATE / "pods"),
        "volumePluginDir": str(paths.STATE / "volume-plugins"),
    }
    file = paths.CONFIG / "kubelet.json"
    _write(file, json.dumps(configuration, indent=1))
    _start(
        "kubelet",
        f"--config={file}",
        f"--kubeconfig={paths.CONFIG}/kubelet.kubeconfig",
        f"--root-dir={paths.STATE / 'kubelet'}",
        f"--cert-dir={paths.STATE / 'kubelet-pki'}",
        f"--hostname-override={certificates.NODE}",
        f"--node-ip={network.NODE_ADDRESS}",
    )


def _start_proxy() -> None:
    configuration = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": f"{paths.CONFIG}/proxy.kubeconfig"},
        "clusterCIDR": network.POD_RANGE,
        "hostnameOverride": certificates.NODE,
        "mode": "nftables",
        # The limit of tracked connections belongs to the host, and is left alone.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }
    file = paths.CONFIG / "kube-proxy.json"
    _write(file, json.dumps(configuration, indent=1))
    _start("kube-proxy", f"--config={file}")


def _write(file: Path, text: str) -> None:
    """Write a file unless it says so already: kube-proxy ends when its own is written to."""
    if not file.exists() or file.read_text() != text:
        file.write_text(text)


def _start(name: str, *flags: str) -> None:
    processes.start(name, [str(builds.NODE.program(name)), *flags], path=str(builds.NODE.folder))


def _wait_for(
    daemon: str,
    condition: Callable[[], bool],
    *,
    patience: float = 180,
    again: Callable[[], None] | None = None,
) -> None:
    """Wait for a daemon; start one that ended again if it may be, as systemd would, for a while.

    The kubelet ends when it comes before containerd's side of it, which is ready some time after
    containerd answers its own client and has no client of its own here to ask.
    """
    begun = time.monotonic()
    while not condition():
        if not processes.alive(daemon):
            if again is None or time.monotonic() - begun > RESTARTS:
                raise console.Failure(f"{daemon} ended:\n{processes.tail(daemon)}")
            again()
        if time.monotonic() - begun > patience:
            raise console.Failure(f"{daemon} is not ready:\n{processes.tail(daemon)}")
        time.sleep(0.3)
