"""Where Ray runs: inside this pod, or on a cluster that exists, which this pod then joins."""

from __future__ import annotations

import functools
import importlib.metadata
import logging
import os
import re
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any

from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal
from linnet_trainer.progress import say
from linnet_trainer.storages import StudyAway

LOCAL = "local"
OBJECT_STORE_BYTES = 256 * 2**20
"""Memory for the rows that workers read; Ray keeps greater tables on disk."""
CONNECT_SECONDS = 10.0
JOIN_SECONDS = 120.0
SAME = ("linnet", "ray", "scikit-learn", "pandas", "numpy")
"""Packages of which nodes need the versions of this image: models and rows are sent as pickles."""
_VARIABLES = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
}


class RayAway(StudyAway):
    """Ray does not start or answer; another try may mend it."""


@contextmanager
def connected(address: str, *, trials: int) -> Iterator[None]:
    """Connect this process to Ray: to its own, for so many trials at once, or to a cluster's.

    Raises:
        Refusal: the address is none, or the cluster lacks what a trial needs.
        RayAway: the cluster does not answer.
    """
    # Before Ray is imported, which reads them once.
    os.environ.update(_VARIABLES)
    if address == LOCAL:
        os.environ.update(_own())
    with _inside(trials) if address == LOCAL else _joined(address):
        yield


@functools.cache
def _own() -> dict[str, str]:
    """What holds for a Ray of this pod alone.

    It listens on the pod's address, and whoever reaches it runs what they like: it asks for a token
    that nobody else has. Its workers are all that the pod has to do, so they are not at the end of
    the queue, where Ray puts them.
    """
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_worker_niceness": "0",
    }


@contextmanager
def _inside(trials: int) -> Iterator[None]:
    """Run Ray in this pod, with a CPU for each trial."""
    with ExitStack() as stack:
        # Its sockets lie below, and the path of a socket has at most 107 characters.
        home = tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True)
        given = {
            "address": LOCAL,
            "num_cpus": trials,
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
            "_temp_dir": stack.enter_context(home),
        }
        say(f"Ray starts in this pod, for {trials} trials at once")
        try:
            stack.enter_context(_session(**given))
        except Exception as error:
            # It raises nothing more special; busy cores are too slow for its own time-outs.
            raise RayAway(f"Ray in this pod did not start ({error})") from None
        yield


@contextmanager
def _joined(address: str) -> Iterator[None]:
    """Join a cluster as a node without CPUs, on which no trial is tried.

    Tune's own process has to run on a node; so it is here, where the registry's keys are.
    """
    _require_answer(address)
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", f"--address={address}"]
    command += ["--num-cpus=0", f"--object-store-memory={OBJECT_STORE_BYTES}", "--block"]
    with tempfile.TemporaryFile() as told:
        node = subprocess.Popen(command, stdout=told, stderr=subprocess.STDOUT)
        try:
            with _session_of(node, address, told):
                _require_same(address)
                yield
        finally:
            node.terminate()
            node.wait()


def _require_answer(address: str) -> None:
    """Raise at once where nobody listens; Ray itself tries for minutes."""
    host, _, port = address.rpartition(":")
    if "://" in address or not host or not port.isdigit():
        raise _refusal(f"'{address}' must be '{LOCAL}', or 'host:port' of the head (port 6379)")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise RayAway(f"{_told(address)} does not answer ({error})") from None


@contextmanager
def _session_of(node: subprocess.Popen[bytes], address: str, told: IO[bytes]) -> Iterator[None]:
    """Connect by a node that is being started, and tells what it does in `told`."""
    deadline = time.monotonic() + JOIN_SECONDS
    with ExitStack() as stack:
        while True:
            try:
                stack.enter_context(_session(address=address))
                break
            except (ConnectionError, RuntimeError, ValueError) as error:
                _require_patience(node, address, told, error, deadline)
                time.sleep(1)
        say(f"joined {_told(address)}")
        yield


def _require_patience(
    node: subprocess.Popen[bytes],
    address: str,
    told: IO[bytes],
    error: Exception,
    deadline: float,
) -> None:
    """Raise where it is of no use to wait for the node."""
    said = str(error)
    if is_over := node.poll() is not None:
        told.seek(0)
        said = told.read().decode(errors="replace") + said
    if mismatch := re.search(r"Version mismatch.*?(?=\n\n|$)", said, re.DOTALL):
        raise _refusal(f"{_told(address)} has other versions: {' '.join(mismatch[0].split())}")
    if is_over or time.monotonic() > deadline:
        say(said)
        last = said.strip().splitlines()[-1]
        raise RayAway(f"{_told(address)} cannot be joined ({last})") from None


@contextmanager
def _session(**given: Any) -> Iterator[None]:
    import ray

    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    try:
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **given)
        yield
    finally:
        ray.shutdown()


def _require_same(address: str) -> None:
    """Refuse a cluster whose nodes have no CPU, or other packages than this image."""
    import ray

    if ray.cluster_resources().get("CPU", 0) < 1:
        raise _refusal(f"{_told(address)} has no node with a CPU")
    ours = _versions()
    try:
        theirs = ray.get(ray.remote(num_cpus=1)(_versions).remote())
    except ray.exceptions.RayTaskError as error:
        last = str(error).strip().splitlines()[-1]
        raise _refusal(
            f"the nodes of {_told(address)} cannot try a trial ({last}): run them from the image "
            "of this pod"
        ) from None
    other = [
        f"{name} {version} and not {ours[name]}"
        for name, version in theirs.items()
        if version != ours[name]
    ]
    if other:
        raise _refusal(
            f"the nodes of {_told(address)} have {', '.join(other)}: run them from the image of "
            "this pod"
        )


def _versions() -> dict[str, str]:
    return {name: importlib.metadata.version(name) for name in SAME}


def _told(address: str) -> str:
    return f"the Ray cluster '{address}'"


def _refusal(what: str) -> Refusal:
    return Refusal(Reason.TRAINER_FAILED, f"`search.ray.address`: {what}")
