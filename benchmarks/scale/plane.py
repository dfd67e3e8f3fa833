"""A control plane by itself: etcd and an API server on loopback, no node and no controllers.

What runs against it costs what it costs itself: nobody else reacts to what it writes.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from dev.cluster import builds

READY_SECONDS = 60.0


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(kw_only=True)
class Plane:
    """An API server, and where its kubeconfig lies."""

    folder: Path
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    port: int = field(default_factory=free_port)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "kubeconfig"

    def start(self) -> None:
        """Start both and return when the API server is ready.

        Raises:
            RuntimeError: it was not ready in time; its log is in the folder.
        """
        client, peer = free_port(), free_port()
        etcd = f"http://127.0.0.1:{client}"
        self._run(
            "etcd", f"--data-dir={self.folder}/etcd", "--unsafe-no-fsync",
            f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
        )  # fmt: skip
        key = self.folder / "service-accounts.key"
        subprocess.run(
            ["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True
        )
        tokens = self.folder / "tokens.csv"
        tokens.write_text(f"{self.token},bench,bench,system:masters\n")
        self._run(
            "kube-apiserver", f"--etcd-servers={etcd}", f"--secure-port={self.port}",
            "--bind-address=127.0.0.1", f"--cert-dir={self.folder}/pki",
            "--authorization-mode=AlwaysAllow", f"--token-auth-file={tokens}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.96.0.0/12",
            "--disable-admission-plugins=ServiceAccount",
            "--max-requests-inflight=2000", "--max-mutating-requests-inflight=1000",
        )  # fmt: skip
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            if time.monotonic() > deadline:
                raise RuntimeError(f"the API server is not ready: see {self.folder}")
            time.sleep(0.2)

    def stop(self) -> None:
        """End both."""
        for process in reversed(self.processes):
            process.send_signal(signal.SIGTERM)
        for process in reversed(self.processes):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(10)
            process.kill()
            process.wait()

    def _run(self, program: str, *arguments: str) -> None:
        with (self.folder / f"{program}.log").open("wb") as log:
            command = [str(builds.NODE.program(program)), *arguments]
            self.processes.append(subprocess.Popen(command, stdout=log, stderr=log))

    def _kubeconfig(self) -> dict[str, object]:
        authority = str(self.folder / "pki" / "apiserver.crt")
        server = {
            "server": f"https://127.0.0.1:{self.port}",
            "certificate-authority": authority,
        }
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "plane", "cluster": server}],
            "users": [{"name": "bench", "user": {"token": self.token}}],
            "contexts": [{"name": "plane", "context": {"cluster": "plane", "user": "bench"}}],
            "current-context": "plane",
        }

    def _is_ready(self) -> bool:
        self.kubeconfig.write_text(json.dumps(self._kubeconfig()))
        kubectl = [str(builds.NODE.program("kubectl")), f"--kubeconfig={self.kubeconfig}"]
        asked = subprocess.run([*kubectl, "get", "--raw=/readyz"], capture_output=True, check=False)
        return asked.returncode == 0


@contextlib.contextmanager
def plane(folder: Path) -> Iterator[Plane]:
    """A control plane that ends with the block."""
    builds.ensure(builds.NODE)
    found = Plane(folder=folder)
    try:
        found.start()
        yield found
    finally:
        found.stop()
