"""The node's daemons: started once, detached, found again, and never mistaken for others.

A process is known by its pid and its start time, so a pid that was given away to something else is
not taken for ours. All of them start in one cgroup: whatever died before it could be written down
is found there.
"""

import contextlib
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import console, network, paths

CGROUPS = Path("/sys/fs/cgroup")
GROUP = "linnet"


def start(name: str, command: Sequence[str], *, path: str = "") -> None:
    """Start a daemon in the node's network unless it runs; its output goes to a log of its name."""
    if alive(name):
        return
    for folder in (paths.LOGS, paths.PIDS):
        folder.mkdir(parents=True, exist_ok=True)
    search = os.pathsep.join(filter(None, (path, os.environ.get("PATH"))))
    environment = {"PATH": search, "HOME": "/"}
    join = f'echo $$ > {_tracking() / "daemons" / "cgroup.procs"} && exec "$@"'
    with (paths.LOGS / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            ["sh", "-c", join, "sh", *network.inside(), *command],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd="/", env=environment,
            start_new_session=True,
        )  # fmt: skip
    note = json.dumps({"pid": process.pid, "started": _started(process.pid)})
    (paths.PIDS / name).write_text(note)


def alive(name: str) -> bool:
    """Whether the daemon of that name runs."""
    return pid(name) is not None


def pid(name: str) -> int | None:
    """The process of a daemon, if it still is the one that was started."""
    try:
        note = json.loads((paths.PIDS / name).read_text())
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    started = _started(note["pid"])
    return note["pid"] if started and started == note["started"] else None


def stop(name: str, *, patience: float = 10) -> None:
    """Ask a daemon to end, and end it when it does not."""
    process = pid(name)
    if process:
        os.kill(process, signal.SIGTERM)
        deadline = time.monotonic() + patience
        while alive(name) and time.monotonic() < deadline:
            time.sleep(0.05)
        if alive(name):
            os.kill(process, signal.SIGKILL)
            while alive(name):
                time.sleep(0.05)
    (paths.PIDS / name).unlink(missing_ok=True)


def tail(name: str, lines: int = 15) -> str:
    """The end of a daemon's log."""
    try:
        text = (paths.LOGS / f"{name}.log").read_text(errors="replace")
    except FileNotFoundError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:])


def ensure_cgroups() -> None:
    """Make the cgroup under which the kubelet puts pods, and the one that tracks daemons."""
    for root in _roots():
        group = root / GROUP
        group.mkdir(exist_ok=True)
        for knob in ("cpuset.cpus", "cpuset.mems"):
            # In version 1 a new cpuset is empty and takes no process.
            file = group / knob
            if root.name == "cpuset" and file.exists() and not file.read_text().strip():
                file.write_text((root / knob).read_text())
    if _unified():
        wanted = (CGROUPS / "cgroup.controllers").read_text().split()
        for folder in (CGROUPS, CGROUPS / GROUP):
            (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in wanted))
    (_tracking() / "daemons").mkdir(exist_ok=True)


def kill_strays() -> None:
    """Kill daemons that run in our cgroup but were not written down: `up` was killed just then."""
    known = {pid(note.name) for note in paths.PIDS.glob("*")}
    known |= {process for process in members() if _is_shim(process)}
    for process in _processes(_tracking() / "daemons"):
        if process not in known and not _has_ancestor(process, known):
            _kill(process)


def kill_all() -> None:
    """Kill every process of the node: daemons, shims, pods."""
    deadline = time.monotonic() + 30
    while found := list(members()):
        for process in found:
            _kill(process)
        if time.monotonic() > deadline:
            raise console.Failure(f"These processes of the node do not die: {found}")
        time.sleep(0.1)


def members() -> Iterator[int]:
    """Every process in one of the node's cgroups."""
    for root in _roots():
        if (root / GROUP).is_dir():
            for folder, _, _ in os.walk(root / GROUP):
                yield from _processes(Path(folder))


def remove_cgroups() -> None:
    """Remove the node's cgroups; they have to be empty."""
    for root in _roots():
        if (root / GROUP).is_dir():
            for folder, _, _ in os.walk(root / GROUP, topdown=False):
                _remove(Path(folder))


def _remove(group: Path) -> None:
    for _ in range(50):
        try:
            group.rmdir()
            return
        except FileNotFoundError:
            return
        except OSError:
            # The kernel lets go of dead processes a moment later.
            time.sleep(0.1)
    raise console.Failure(f"The cgroup {group} cannot be removed.")


def _unified() -> bool:
    return (CGROUPS / "cgroup.controllers").exists()


def _roots() -> list[Path]:
    """The roots of all hierarchies: one in cgroup version 2, one per controller in version 1."""
    if _unified():
        return [CGROUPS]
    roots = {root.resolve() for root in CGROUPS.iterdir() if (root / "cgroup.procs").exists()}
    return sorted(roots)


def _tracking() -> Path:
    """The hierarchy that says which daemons are ours."""
    return CGROUPS / GROUP if _unified() else CGROUPS / "pids" / GROUP


def _processes(group: Path) -> list[int]:
    try:
        return [int(line) for line in (group / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _kill(process: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process, signal.SIGKILL)


def _started(process: int) -> str | None:
    """When a process started, in ticks since the machine did; None if it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else fields[19]


def _is_shim(process: int) -> bool:
    try:
        return "containerd-shim" in Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return False


def _has_ancestor(process: int, known: set[int | None]) -> bool:
    while process > 1:
        if process in known:
            return True
        try:
            stat = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return True
        process = int(stat[1])
    return False
