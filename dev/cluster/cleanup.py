"""Take everything away that the node brought: processes, mounts, network, cgroups, files.

Nothing here trusts that the steps before it were completed, or that `up` was.
"""

import contextlib
import os
from pathlib import Path

from . import mounts, network, paths, processes


def tear_down() -> None:
    """End the node. Its state stays on disk for reading, its images in the cache."""
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
    for folder in (logs, Path("/var/lib/cni/results"), Path("/var/lib/cni")):
        _remove_if_empty(folder)


def _remove_if_empty(folder: Path) -> None:
    with contextlib.suppress(OSError):
        folder.rmdir()
