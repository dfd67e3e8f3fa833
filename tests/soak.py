"""Promotions, rollbacks and retrainings in a loop under load, with pods taken away at random.

    LINNET_KUBECONFIG=... python -m tests.soak --minutes 60
    LINNET_KUBECONFIG=... python -m tests.soak --rollouts 100

One deployment behind the gateway takes a better version, then a bad one, then one that a drift led
to, again and again. Meanwhile the operator's pod, the gateway's controller and pods that train or
check are killed, server pods are deleted, and Envoy is replaced. In the second half the operator is
left alive, so that its memory can be seen. It ends well if every rollout ended as it should,
nothing was made twice and no user request failed but those that a bad candidate refused. With
`--rollouts` several deployments do so side by side, without retrainings. The summary is printed and
written to benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from tests.e2e.api import Manifest
from tests.e2e.world import OPERATOR, ROOT, WEIGHTS, Place, Traffic, World

GATEWAYS = "envoy-gateway-system"
DISTURBED = ("operator", "operator", "server", "job", "gateway-controller", "gateway")
GROWTH = 1.25
"""How much larger the operator may be after the last round than after the first one it survived."""
JOB = "batch.kubernetes.io/job-name"
SIDE_BY_SIDE = 4
"""Deployments of a run that counts rollouts: most of a rollout is waiting."""
LONGEST = 600.0
"""Seconds that one rollout may take, with everything that is killed meanwhile."""


class Disturber(threading.Thread):
    """Takes a pod away every now and then; which and when is drawn."""

    def __init__(self, place: Place, dice: random.Random, pause: tuple[float, float]) -> None:
        super().__init__(daemon=True)
        self.place = place
        self.dice = dice
        self.pause = pause
        self.killed: Counter[str] = Counter()
        self.spare_operator = False
        self.ended = threading.Event()
        self._struck: set[str] = set()
        """Jobs that lost a pod: each has a few attempts, not any number."""

    def run(self) -> None:
        """Disturb until `ended` is set."""
        while not self.ended.wait(self.dice.uniform(*self.pause)):
            what = self.dice.choice(DISTURBED)
            if what == "operator" and self.spare_operator:
                continue
            try:
                if self._take(what):
                    self.killed[what] += 1
            except Exception as error:
                # The API server may be busy; the next pod is taken then.
                print(f"  {what} was not taken away: {error}", file=sys.stderr)

    def _take(self, what: str) -> bool:
        world = self.place.world
        if what == "gateway":
            _restart_gateway(world)
            return True
        if what == "operator":
            found = [(OPERATOR, pod["metadata"]["name"], 0) for pod in world.operator_pods()]
        elif what == "server":
            # Deleted as a node's drain does it: a server that is killed loses what it holds.
            found = [
                (self.place.namespace, pod["metadata"]["name"], -1)
                for pod in self.place.all("Pod")
                if "linnet.dev/revision" in pod["metadata"].get("labels", {})
                and not pod["metadata"].get("deletionTimestamp")
            ]
        elif what == "job":
            found = [
                (self.place.namespace, pod["metadata"]["name"], 0)
                for pod in self.place.all("Pod")
                if self._job_of(pod) not in ("", *self._struck)
                and pod["status"].get("phase") in ("Pending", "Running")
            ]
        else:
            pods = world.api.list("Pod", GATEWAYS)
            found = [
                (GATEWAYS, pod["metadata"]["name"], 0)
                for pod in pods
                if pod["metadata"]["name"].startswith("envoy-gateway-")
            ]
        if not found:
            return False
        namespace, name, grace = self.dice.choice(found)
        if what == "job":
            self._struck |= {
                self._job_of(pod)
                for pod in self.place.all("Pod")
                if pod["metadata"]["name"] == name
            }
        world.api.delete("Pod", namespace, name, grace=grace)
        return True

    @staticmethod
    def _job_of(pod: Manifest) -> str:
        return str(pod["metadata"].get("labels", {}).get(JOB, ""))


def _restart_gateway(world: World) -> None:
    """Have Envoy's pod replaced while it serves, as any change of its settings does."""
    annotations = {"linnet.dev/restarted": _now()}
    settings = {"envoyDeployment": {"pod": {"annotations": annotations}}}
    patch = {"spec": {"provider": {"kubernetes": settings}}}
    world.api.patch("EnvoyProxy", "default", "eg", patch)


@dataclass
class Summary:
    """What happened."""

    began: str
    seed: int
    promotions: int = 0
    rollbacks: int = 0
    retrainings: int = 0
    seconds: dict[str, list[float]] = field(
        default_factory=lambda: {"promotion": [], "rollback": [], "retraining": []}
    )
    bad_requests: list[int] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)
    """MiB of the operator after every round in which it was left alive."""
    problem: str = ""

    def document(self, traffic: dict[str, Any], killed: Counter[str]) -> dict[str, Any]:
        """The summary for JSON."""
        return {
            "began": self.began,
            "ended": _now(),
            "seed": self.seed,
            "promotions": self.promotions,
            "rollbacks": self.rollbacks,
            "retrainings": self.retrainings,
            "seconds": {key: _spread(found) for key, found in self.seconds.items()},
            "bad_candidate_requests": _spread([float(each) for each in self.bad_requests]),
            "operator_mib": self.memory,
            "killed": dict(killed),
            "requests": {
                key: traffic.get(key) for key in ("sent", "lost", "refused", "timeouts", "answers")
            },
            "problem": self.problem,
        }


def _spread(found: list[float]) -> dict[str, float]:
    if not found:
        return {}
    ordered = sorted(found)
    return {
        "n": len(ordered),
        "median": round(ordered[len(ordered) // 2], 1),
        "max": round(ordered[-1], 1),
    }


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _promote(place: Place, summary: Summary) -> str:
    began, version = time.monotonic(), place.register()
    place.is_champion(version, seconds=LONGEST)
    weights = place.weights_of(version)
    assert weights == WEIGHTS, f"the weights were {weights}\n{place.explain()}"
    place.route_gives_all_to(version)
    summary.promotions += 1
    summary.seconds["promotion"].append(time.monotonic() - began)
    return version


def _roll_back(place: Place, traffic: Traffic, champion: str, summary: Summary) -> str:
    began, version = time.monotonic(), place.register("bad")
    place.is_rejected(version, "RolledBack", seconds=LONGEST)
    place.route_gives_all_to(champion)
    summary.rollbacks += 1
    summary.seconds["rollback"].append(time.monotonic() - began)
    summary.bad_requests.append(traffic.total(version))
    return version


def _retrain(place: Place, summary: Summary) -> str:
    """A drift is found, leads to a training and to a new champion."""
    began, name = time.monotonic(), f"drift-{summary.retrainings + 1}"
    place.apply(place.drift_policy(name))
    place.request("check", name=name, kind="DriftPolicy")
    found = place.until(
        "DriftPolicy", name, "a retraining is recorded",
        lambda each: each["status"].get("retrain", {}).get("lastJob"), seconds=LONGEST,
    )  # fmt: skip
    job = place.is_complete(found["status"]["retrain"]["lastJob"], seconds=LONGEST)
    version = str(job["status"]["version"])
    place.is_champion(version, seconds=LONGEST)
    place.route_gives_all_to(version)
    jobs = [
        each["metadata"]["name"]
        for each in place.all("TrainingJob")
        if each["metadata"].get("labels", {}).get("linnet.dev/drift-policy") == name
    ]
    assert len(jobs) == 1, f"{name} trained more than once: {jobs}"
    place.api.delete("DriftPolicy", place.namespace, name)
    summary.retrainings += 1
    summary.seconds["retraining"].append(time.monotonic() - began)
    return version


def _operator_mib(world: World) -> float:
    """Resident memory of the operator's process."""
    page = world.operator_metrics()
    found = re.search(r"^process_resident_memory_bytes (\S+)$", page, re.MULTILINE)
    assert found, "the operator's metrics have no process_resident_memory_bytes"
    return round(float(found[1]) / 2**20, 1)


def _failures(totals: dict[str, Any], bad: set[str]) -> list[str]:
    wrong = [
        f"{count} x {code} of version {version}"
        for version, codes in totals.get("answers", {}).items()
        for code, count in codes.items()
        if code != "200" and version not in bad
    ]
    lost = [f"{totals[key]} {key}" for key in ("lost", "refused", "timeouts") if totals.get(key)]
    return [*wrong, *lost]


@dataclass(kw_only=True)
class Course:
    """One deployment's way through a run, and when it ends."""

    name: str
    seed: int
    goes_on: Callable[[], bool]
    spares_operator: Callable[[], bool] = lambda: False
    retrains: bool = True
    rate: float = 25
    """Requests per second."""
    pause: tuple[float, float] = (10.0, 60.0)
    """Seconds between two pods that are taken away."""
    summary: Summary = field(init=False)

    def __post_init__(self) -> None:
        self.summary = Summary(began=_now(), seed=self.seed)

    @property
    def rollouts(self) -> int:
        """Promotions and rollbacks by now."""
        return self.summary.promotions + self.summary.rollbacks


def soak(world: World, course: Course) -> dict[str, Any]:
    """Run one deployment until its end and return the summary."""
    summary, bad = course.summary, set[str]()
    place = world.place(course.name)
    champion = "1"
    place.serving(server={"replicas": 2})
    traffic = place.traffic(rate=course.rate)
    disturber = Disturber(place, random.Random(course.seed), course.pause)
    disturber.start()
    try:
        while course.goes_on():
            champion = _promote(place, summary)
            bad.add(_roll_back(place, traffic, champion, summary))
            if course.retrains:
                champion = _retrain(place, summary)
            place.made_everything_once()
            if disturber.spare_operator:
                summary.memory.append(_operator_mib(world))
            disturber.spare_operator = course.spares_operator()
            print(
                f"{_now()} {course.name}: {summary.promotions} promotions, {summary.rollbacks} "
                f"rollbacks, {summary.retrainings} retrainings, killed {dict(disturber.killed)}, "
                f"operator {summary.memory[-1:]} MiB",
                flush=True,
            )
    except AssertionError as error:
        summary.problem = str(error)
    finally:
        disturber.ended.set()
    totals = traffic.totals()
    found = _failures(totals, bad)
    if found and not summary.problem:
        summary.problem = f"user requests failed: {found}"
    if not summary.problem and summary.memory and summary.memory[-1] > GROWTH * summary.memory[0]:
        summary.problem = f"the operator's memory grows: {summary.memory} MiB"
    return summary.document(totals, disturber.killed)


def for_minutes(world: World, minutes: float, seed: int) -> dict[str, Any]:
    """One deployment that is rolled out, rolled back and retrained for so long."""
    began = time.monotonic()
    course = Course(
        name="soak",
        seed=seed,
        goes_on=lambda: time.monotonic() < began + 60 * minutes,
        spares_operator=lambda: time.monotonic() > began + 30 * minutes,
    )
    return soak(world, course)


def for_rollouts(world: World, count: int, seed: int) -> dict[str, Any]:
    """So many rollouts and rollbacks, by several deployments side by side."""
    courses: list[Course] = []

    def goes_on() -> bool:
        found = [each.summary for each in courses]
        done = sum(each.rollouts for each in courses)
        return done < count and not any(summary.problem for summary in found)

    courses.extend(
        Course(
            name=f"soak-{number}",
            seed=seed + number,
            goes_on=goes_on,
            retrains=False,
            rate=10,
            pause=(10.0 * SIDE_BY_SIDE, 60.0 * SIDE_BY_SIDE),
        )
        for number in range(SIDE_BY_SIDE)
    )
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        documents = list(pool.map(lambda course: soak(world, course), courses))
    problems = [each["problem"] for each in documents if each["problem"]]
    return {
        "began": documents[0]["began"],
        "ended": _now(),
        "rollouts": sum(each.rollouts for each in courses),
        "problem": "\n".join(problems),
        "deployments": documents,
    }


def _where() -> dict[str, str]:
    """The machine's kind, and the versions that the numbers are of."""
    packages = ("kopf", "kubernetes", "mlflow-skinny", "scikit-learn")
    return {
        "machine": f"{os.cpu_count()} cores, {platform.machine()}",
        "versions": ", ".join(f"{name} {metadata.version(name)}" for name in packages),
    }


def main() -> int:
    """Run as the command line says; 0 if all ended as it should."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--rollouts", type=int, default=0, help="so many instead, side by side")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10_000))
    chosen = parser.parse_args()
    kubeconfig = os.environ.get("LINNET_KUBECONFIG")
    if not kubeconfig:
        parser.error("LINNET_KUBECONFIG must name a cluster's kubeconfig: run `make soak`")
    world = World.begin(kubeconfig)
    try:
        with ThreadPoolExecutor(2) as pool:
            world.prepare(pool)
            if chosen.rollouts:
                document = for_rollouts(world, chosen.rollouts, chosen.seed)
            else:
                document = for_minutes(world, chosen.minutes, chosen.seed)
    finally:
        world.uninstall()
        world.end()
    text = json.dumps(_where() | document, indent=2)
    print(text)
    folder = Path(ROOT, "benchmarks", "results")
    folder.mkdir(parents=True, exist_ok=True)
    stamp = document["began"].replace(":", "").replace("-", "")
    (folder / f"soak-{stamp}.json").write_text(text + "\n", encoding="utf-8")
    return 1 if document["problem"] else 0


if __name__ == "__main__":
    sys.exit(main())
