"""Where the cluster keeps its files: nothing lies in the checkout.

The cache survives everything and is keyed by content. The state belongs to one life of the node
and is thrown away with it. What holds sockets lies under /run, whose path is short.
"""

import os
from pathlib import Path

SOURCE = Path(__file__).resolve().parent
"""This folder."""

CHECKOUT = SOURCE.parent.parent
"""The root of the repository, where the Dockerfile lies."""


def _home() -> Path:
    if chosen := os.environ.get("LINNET_CACHE"):
        return Path(chosen).resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "linnet"


CACHE = _home()
KUBECONFIG = CACHE / "kubeconfig"
PROVIDER = CACHE / "provider"
"""Holds one word: who made the cluster."""
KUBECTL = CACHE / "path" / "kubectl"
CONTAINERD = CACHE / "containerd"
"""Images and their unpacked layers outlive the node: loading them takes longer than starting it."""

STATE = CACHE / "node"
PKI = STATE / "pki"
CONFIG = STATE / "config"
LOGS = STATE / "logs"
PIDS = STATE / "pids"
VOLUMES = STATE / "volumes"

RUN = Path("/run/linnet")
OWNER = RUN / "owner"
SOCKET = RUN / "containerd.sock"
