"""The few calls of kubectl that the demo makes; each fails with what kubectl said."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Manifest = Mapping[str, Any]


class Failed(Exception):
    """Something of the story did not happen; the message says what."""


class Kubectl:
    """kubectl on one cluster and namespace."""

    def __init__(self, program: str, kubeconfig: str, namespace: str) -> None:
        self._program = program
        self.namespace = namespace
        self._environment = {**os.environ, "KUBECONFIG": kubeconfig}

    def run(self, *arguments: str, timeout: float = 120) -> str:
        """Run kubectl in the namespace and return what it prints."""
        return self.cluster("--namespace", self.namespace, *arguments, timeout=timeout)

    def cluster(self, *arguments: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl without a namespace of ours."""
        done = subprocess.run(
            [self._program, *arguments],
            input=stdin,
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise Failed(f"kubectl {' '.join(arguments)}: {done.stderr.strip()[-800:]}")
        return done.stdout

    def apply(self, path: Path, *, server_side: bool = False) -> None:
        """Apply a file."""
        more = ("--server-side", "--force-conflicts") if server_side else ()
        self.run("apply", *more, "-f", str(path))

    def get(self, kind: str, name: str) -> Manifest | None:
        """One object, or None where there is none."""
        text = self.run("get", kind, name, "--ignore-not-found", "--output", "json")
        parsed: Manifest | None = json.loads(text) if text.strip() else None
        return parsed

    def python(self, namespace: str, deployment: str, code: str) -> str:
        """Run Python in a Deployment's pod."""
        return self.cluster(
            "-n", namespace, "exec", "-i", f"deploy/{deployment}", "--", "python", "-", stdin=code
        )


def wait(what: str, ready: Callable[[], bool], *, seconds: float, every: float = 1.0) -> None:
    """Wait until something is the case; Failed after so many seconds."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds:.0f} s")
        time.sleep(every)


def condition(obj: Manifest | None, kind: str) -> Manifest:
    """A condition of an object, empty where it is not there."""
    found = ((obj or {}).get("status") or {}).get("conditions") or ()
    return next((each for each in found if each["type"] == kind), {})
