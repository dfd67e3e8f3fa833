"""One run of the end-to-end tests: install, prepare, start what runs side by side, clean up."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from .stage import MOST, NOTES, Stage
from .world import World


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell the numbers of the run."""
    for note in sorted(NOTES):
        terminalreporter.write_line(note)


@pytest.fixture(scope="session")
def kubeconfig() -> str:
    found = os.environ.get("LINNET_KUBECONFIG")
    if not found:
        pytest.fail(
            "tests/e2e needs a real cluster: run `make e2e`, which starts one, or name a "
            "kubeconfig in LINNET_KUBECONFIG"
        )
    return found


def _refuse_beside_demo(kubeconfig: str) -> bool:
    """One node serves both: their numbers would be of each other's load."""
    done = subprocess.run(
        ["kubectl", "--kubeconfig", kubeconfig, "get", "namespace", "demo", "--ignore-not-found"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        pytest.fail(f"the cluster does not answer: {done.stderr.strip()}")
    there = bool(done.stdout.strip())
    if there and os.environ.get("LINNET_E2E_BESIDE_DEMO") != "1":
        pytest.fail("the demo's namespace is on this cluster: run `make demo-down` first")
    return there


@pytest.fixture(scope="session")
def pools() -> Iterator[tuple[ThreadPoolExecutor, ThreadPoolExecutor]]:
    """One pool for scenarios, another for what they wait for."""
    with ThreadPoolExecutor(MOST) as scenarios, ThreadPoolExecutor(4) as preparations:
        yield scenarios, preparations
        scenarios.shutdown(wait=False, cancel_futures=True)


@pytest.fixture(scope="session")
def world(kubeconfig: str, pools: tuple[ThreadPoolExecutor, ThreadPoolExecutor]) -> Iterator[World]:
    beside_demo = _refuse_beside_demo(kubeconfig)
    world = World.begin(kubeconfig, beside_demo=beside_demo)
    try:
        world.prepare(pools[1])
        yield world
    finally:
        pools[0].shutdown(wait=False, cancel_futures=True)
        if world.source == world.run:
            world.uninstall()
        if os.environ.get("LINNET_E2E_KEEP") != "1":
            world.end()


@pytest.fixture(scope="session")
def stage(
    world: World,
    pools: tuple[ThreadPoolExecutor, ThreadPoolExecutor],
    request: pytest.FixtureRequest,
) -> Stage:
    tests = [item.function for item in request.session.items if isinstance(item, pytest.Function)]
    return Stage(world, tests, pools[0])
