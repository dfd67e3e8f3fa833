"""Memory, CPU and writes at thousands of objects, beside Argo Rollouts.

    python -m benchmarks.scale --sizes 1000,5000

Each controller runs alone, as a process, against an etcd and an API server of its own (plane.py).
Linnet is given ModelDeployments without a gateway over ten registered models, Argo Rollouts is
given Rollouts of one replica; what is asked of both is what a user applies and waits for. Nobody
runs pods: a stand-in reports those of a Deployment (Linnet's children) as ready, and the status of
a ReplicaSet (Argo's children), so that every object comes to rest.

Told are: from apply to the child for single objects and for all at once; until all objects say
that they are ready; CPU for one object; memory; a minute at rest; and a start after SIGKILL.
"""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.scale import argo, linnet
from benchmarks.scale.plane import Plane, plane
from benchmarks.scale.subject import LOG, NAMESPACE, Subject
from benchmarks.scale.watching import Following
from tests.e2e.api import Api

SINGLE = 10
CLIENTS = 8
REST_SECONDS = 60
QUIET_CPU = 0.03
"""Share of a core below which a controller is at rest."""
LIMIT = 3600.0


@dataclass(frozen=True)
class Usage:
    """What a process has used: CPU seconds, and memory in MiB now and at most."""

    cpu: float
    rss: float
    peak: float


def usage(pid: int) -> Usage:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = os.sysconf("SC_CLK_TCK")
    status = Path(f"/proc/{pid}/status").read_text()

    def mib(name: str) -> float:
        found = re.search(rf"^{name}:\s+(\d+) kB", status, re.MULTILINE)
        return int(found[1]) / 1024 if found else 0.0

    return Usage((int(fields[11]) + int(fields[12])) / ticks, mib("VmRSS"), mib("VmHWM"))


def writes(api: Api) -> int:
    """Requests that change something and are no Lease's, as the API server counts them."""
    total = 0.0
    for line in api.text("GET", "/metrics").splitlines():
        if not line.startswith("apiserver_request_total{"):
            continue
        if re.search(r'verb="(POST|PUT|PATCH|APPLY|DELETE)"', line) and "leases" not in line:
            total += float(line.rpartition(" ")[2])
    return int(total)


def until(done: Callable[[], bool], what: str, seconds: float = LIMIT) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


def until_quiet(process: subprocess.Popen[bytes], *, at_least: float = 3.0) -> None:
    """Wait until the process hardly uses the CPU any more."""
    time.sleep(at_least)
    quiet = 0
    deadline = time.monotonic() + LIMIT
    while quiet < 3:
        before = usage(process.pid).cpu
        time.sleep(1)
        if process.poll() is not None:
            raise RuntimeError(f"the controller has ended with {process.returncode}")
        quiet = quiet + 1 if usage(process.pid).cpu - before < QUIET_CPU else 0
        if time.monotonic() > deadline:
            raise RuntimeError("the controller does not come to rest")


@contextmanager
def running(subject: Subject, at: Plane, folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """The controller; a list, so that it can be started anew. It ends with the block."""
    found = [subject.start(at, folder)]
    try:
        yield found
    except RuntimeError:
        # The folder goes with the measurement, and with it what the controller has said.
        print("\n".join((folder / LOG).read_text().splitlines()[-10:]), file=sys.stderr)
        raise
    finally:
        found[-1].kill()
        found[-1].wait()


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def say(subject: Subject, size: int, what: str, value: str) -> None:
    print(f"{subject.name:14} {size:6d}  {what:44} {value}", flush=True)


def measure(subject: Subject, size: int) -> None:
    """One controller at one size, from nothing."""
    with tempfile.TemporaryDirectory() as scratch, plane(Path(scratch)) as at:
        api = Api(str(at.kubeconfig))
        subject.prepare(at)
        for name in (NAMESPACE, *subject.namespaces):
            api.call("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
        children = Following(api, subject.children)
        objects = Following(api, subject.collection, subject.is_ready)
        stand_in = subject.stand_in(api)
        children.start()
        objects.start()
        stand_in.start()
        try:
            with running(subject, at, Path(scratch)) as found:
                _tell(subject, size, api, at, Path(scratch), found, children, objects)
        finally:
            for each in (children, objects, stand_in, subject):
                each.stop()


def _tell(
    subject: Subject,
    size: int,
    api: Api,
    at: Plane,
    folder: Path,
    found: list[subprocess.Popen[bytes]],
    children: Following,
    objects: Following,
) -> None:
    def tell(what: str, value: str) -> None:
        say(subject, size, what, value)

    def apply(name: str) -> float:
        began = time.monotonic()
        api.call("POST", subject.collection_in(NAMESPACE), subject.make(name))
        return began

    until_quiet(found[-1])
    tell("memory, empty (MiB)", f"{usage(found[-1].pid).rss:.0f}")
    lags = []
    for number in range(SINGLE):
        name = f"one-{number}"
        began = apply(name)
        until(partial(children.first.__contains__, name), "a child")
        lags.append(children.first[name] - began)
        until(partial(objects.reached.__contains__, name), "an object at rest")
    tell("apply to child, one at a time, median (s)", f"{statistics.median(lags):.3f}")
    until_quiet(found[-1])

    before, began = usage(found[-1].pid), time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        applied = dict(
            zip(
                [f"many-{n}" for n in range(size)],
                pool.map(apply, [f"many-{n}" for n in range(size)]),
                strict=True,
            )
        )
    tell("applied all after (s)", f"{time.monotonic() - began:.1f}")
    until(lambda: applied.keys() <= children.first.keys(), "all children")
    lags = [children.first[name] - at for name, at in applied.items()]
    tell("last child after (s)", f"{max(children.first[n] for n in applied) - began:.1f}")
    tell(
        "apply to child, all at once, median / p95 (s)",
        f"{statistics.median(lags):.2f} / {percentile(lags, 0.95):.2f}",
    )
    until(lambda: applied.keys() <= objects.reached.keys(), "all objects at rest")
    tell("all say ready after (s)", f"{max(objects.reached[n] for n in applied) - began:.1f}")
    until_quiet(found[-1])
    after = usage(found[-1].pid)
    tell("CPU for one object, until ready (ms)", f"{1000 * (after.cpu - before.cpu) / size:.1f}")
    tell("memory after (MiB) / peak", f"{after.rss:.0f} / {after.peak:.0f}")

    time.sleep(subject.settles)
    until_quiet(found[-1])
    before, count = usage(found[-1].pid), writes(api)
    time.sleep(REST_SECONDS)
    after = usage(found[-1].pid)
    tell("at rest: writes in a minute", f"{writes(api) - count}")
    tell("at rest: CPU in a minute (s)", f"{after.cpu - before.cpu:.2f}")

    found[-1].kill()
    found[-1].wait()
    count, began = writes(api), time.monotonic()
    found.append(subject.start(at, folder))
    until_quiet(found[-1], at_least=10.0)
    after = usage(found[-1].pid)
    tell("cold start: at rest after (s)", f"{time.monotonic() - began - 3:.0f}")
    tell("cold start: CPU (s)", f"{after.cpu:.1f}")
    tell("cold start: memory (MiB) / peak", f"{after.rss:.0f} / {after.peak:.0f}")
    tell("cold start: writes", f"{writes(api) - count}")


def main() -> int:
    """Measure each controller at each size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", default="1000,5000")
    parser.add_argument("--only", default="", help="'linnet' or 'argo'")
    chosen = parser.parse_args()
    subjects: list[Any] = [linnet.Linnet(), argo.ArgoRollouts()]
    for size in map(int, chosen.sizes.split(",")):
        for subject in subjects:
            if chosen.only in subject.name.lower():
                measure(subject, size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
