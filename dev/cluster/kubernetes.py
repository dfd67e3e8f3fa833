"""What is asked of the API server, through kubectl."""

import hashlib
import json
import subprocess
from typing import Any

from . import builds, certificates, console, paths


def kubectl(*arguments: str, stdin: str | None = None) -> str:
    """Run kubectl on the cluster; return what it printed."""
    done = run(*arguments, stdin=stdin)
    if done.returncode:
        raise console.Failure(f"kubectl {' '.join(arguments)}:\n{done.stderr.strip()}")
    return done.stdout


def run(*arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run kubectl, whatever comes of it."""
    own = builds.NODE.program("kubectl")
    program = str(own) if own.exists() else "kubectl"
    command = [program, f"--kubeconfig={paths.KUBECONFIG}", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True)


def get(*arguments: str) -> Any:
    """Read objects as JSON; None if there are none."""
    done = run("get", *arguments, "--output=json")
    return json.loads(done.stdout) if not done.returncode else None


def node_is_ready() -> bool:
    """Whether the node takes pods."""
    node = get("node", certificates.NODE) or {}
    conditions = node.get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def apply(name: str, manifest: str) -> None:
    """Apply objects, unless these very objects were applied in this life of the cluster."""
    mark = paths.STATE / "applied" / name
    digest = hashlib.sha256(manifest.encode()).hexdigest()
    if mark.exists() and mark.read_text() == digest:
        return
    kubectl("apply", "--server-side", "--force-conflicts", "--filename=-", stdin=manifest)
    mark.parent.mkdir(parents=True, exist_ok=True)
    mark.write_text(digest)


def wait(condition: str, *what: str, seconds: int = 180) -> None:
    """Wait for a condition of an object, such as ``Available`` of a Deployment."""
    done = run("wait", f"--for=condition={condition}", *what, f"--timeout={seconds}s")
    if done.returncode:
        state = run("get", *what, "--output=yaml").stdout
        raise console.Failure(f"{' '.join(what)} is not {condition}:\n{state[-3000:]}")
