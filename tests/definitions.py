"""Put the definitions of this checkout on a cluster: what tests on a real API server begin with."""

from __future__ import annotations

import subprocess
from pathlib import Path

CRDS = Path(__file__).parents[1] / "crds"


def install(kubeconfig: str) -> None:
    """Apply all definitions and return when the server serves them; repeatable.

    Raises:
        subprocess.CalledProcessError: the server refused one, or serves it not within 60 s.
    """
    kubectl = ["kubectl", "--kubeconfig", kubeconfig]
    apply = ["apply", "--server-side", "--force-conflicts", "-f", str(CRDS)]
    wait = ["wait", "--for=condition=Established", "--timeout=60s", "-f", str(CRDS)]
    subprocess.run([*kubectl, *apply], check=True, capture_output=True)
    subprocess.run([*kubectl, *wait], check=True, capture_output=True)
