"""Take everything away that the node brought: processes, mounts, network, cgroups, files.

Nothing here trusts that the steps before it were completed, or that `up` was.
"""

import contextlib
import os
import socket
from pathlib import Path

from . import console, mounts, network, paths, processes


def claim() -> None:
    """Note whose node this is. Its names are the machine's: there can be one."""
    paths.OWNER.parent.mkdir(parents=True, exist_ok=True)
    paths.OWNER.write_text(str(paths.CACHE))


def refuse_foreign() -> None:
    """Fail if a node runs that belongs to another cache: that one would be torn down."""
    owner = paths.OWNER.read_text() if paths.OWNER.exists() else str(paths.CACHE)
    if owner != str(paths.CACHE) and (any(processes.members()) or network.leftovers()):
        raise console.Failure(
            f"A node runs that belongs to another cache. Take it down first:\n"
            f"  LINNET_CACHE={owner} python3 -m dev.cluster down"
        )


def tear_down() -> None:
    """End the node. Its state stays on disk for reading, its images in the cache."""
    refuse_foreign()
    # The kubelet goes first, or it would start again what is being ended.
    for name in ("kubelet", "kube-proxy", "kube-scheduler", "kube-controller-manager"):
        processes.stop(name, patience=3)
    processes.kill_all()
    for note in paths.PIDS.glob("*"):
        note.unlink()
    for folder in (paths.CACHE, paths.RUN):
        mounts.unmount(folder)
    network.remove()
    processes.remove_cgroups()
    _remove_traces()


def forget() -> None:
    """Remove the state of the node and the kubeconfig."""
    mounts.remove(paths.STATE)
    paths.KUBECONFIG.unlink(missing_ok=True)


def leftovers() -> list[str]:
    """What of the node is still there; empty after ``tear_down``."""
    found = [f"process {process}" for process in processes.members()]
    for folder in (paths.CACHE, paths.RUN):
        found += [f"mount {mount}" for mount in mounts.below(folder)]
    found += network.leftovers()
    return found


def _remove_traces() -> None:
    """Remove what Kubernetes and containerd write in fixed places, as far as it is ours."""
    mounts.remove(paths.RUN)
    logs = Path("/var/log/containers")
    if logs.is_dir():
        for link in logs.iterdir():
            if link.is_symlink() and Path(os.readlink(link)).is_relative_to(paths.STATE):
                link.unlink()
    for result in Path("/var/lib/cni/results").glob("linnet-*"):
        result.unlink()
    # containerd's shims leave their sockets; another containerd's are listened at.
    sockets = Path("/run/containerd/s")
    for entry in sockets.glob("*"):
        if entry.is_socket() and not _is_listened_at(entry):
            entry.unlink()
    results = Path("/var/lib/cni/results")
    for folder in (logs, results, results.parent, sockets, sockets.parent):
        _remove_if_empty(folder)


def _is_listened_at(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
    return True


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
