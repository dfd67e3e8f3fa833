"""Run a process and watch it: when it told what, its CPU time by then, its peak of memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
POLL_SECONDS = 0.05
_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Watched:
    """A process that has ended."""

    code: int = 0
    seconds: float = 0.0
    """Wall time from its start to its end."""
    cpu: float = 0.0
    """CPU seconds of all its threads."""
    peak: float = 0.0
    """MiB of memory."""
    marks: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Wall and CPU seconds at the first line that begins with a word."""
    lines: list[tuple[float, str]] = field(default_factory=list)
    """What it told, and after how many seconds."""

    def since(self, word: str) -> tuple[float, float]:
        """Wall and CPU seconds from this word to the end."""
        wall, cpu = self.marks[word]
        return self.seconds - wall, self.cpu - cpu

    def between(self, first: str, last: str) -> tuple[float, float]:
        """Wall and CPU seconds from one word to another."""
        (wall, cpu), (then, spent) = self.marks[first], self.marks[last]
        return then - wall, spent - cpu


def run(arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> Watched:
    """Run Python with these arguments to its end; raise where it fails."""
    found = Watched()
    begun = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    watching = threading.Thread(target=_watch, args=(process.pid, found), daemon=True)
    watching.start()
    for line in process.stderr:
        seconds = time.monotonic() - begun
        found.lines.append((seconds, line.rstrip()))
        word = line.split(maxsplit=1)[0] if line.strip() else ""
        found.marks.setdefault(word, (seconds, _cpu(process.pid)))
    _, status, usage = os.wait4(process.pid, 0)
    found.seconds = time.monotonic() - begun
    found.code = process.returncode = os.waitstatus_to_exitcode(status)
    found.cpu = usage.ru_utime + usage.ru_stime
    watching.join()
    if found.code:
        told = [line for _, line in found.lines[-20:]]
        raise RuntimeError("\n".join([f"{arguments} ended with {found.code}", *told]))
    return found


def _watch(process: int, found: Watched) -> None:
    """Read the peak of memory until the process has ended.

    Not `ru_maxrss`: it outlives `exec`, so a child tells its parent's peak where that is more.
    """
    while True:
        try:
            told = Path(f"/proc/{process}/status").read_text()
        except OSError:
            return
        peak = re.search(r"VmHWM:\s+(\d+) kB", told)
        if peak is None:
            return  # It has ended, and nobody has waited for it yet.
        found.peak = int(peak[1]) / 1024
        time.sleep(POLL_SECONDS)


def run_beside(
    processes: Sequence[tuple[Sequence[str], Mapping[str, str]]],
) -> list[Watched]:
    """Run processes side by side; return them in their order."""
    ended: dict[int, Watched] = {}
    threads = [
        threading.Thread(target=lambda n=n, given=given: ended.update({n: run(*given)}))
        for n, given in enumerate(processes)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(ended) < len(processes):
        raise RuntimeError("a process of several failed: see above")
    return [ended[n] for n in range(len(processes))]


def _cpu(process: int) -> float:
    """CPU seconds that a process has spent; 0 where it has just ended."""
    try:
        told = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(told[11]) + int(told[12])) / _TICK
