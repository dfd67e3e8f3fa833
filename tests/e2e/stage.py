"""Scenarios that run side by side: their time is waiting, so all of them together take little more
than the longest.

A test marked `@beside` is started on a thread with the first such test that pytest comes to; the
test itself only waits for its end. What is asked for with `-k` is all that runs.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

from .world import World

Scenario = Callable[[World], None]
MOST = 6
"""How many scenarios run at once: each has a stream of requests, and there are two cores."""
_SCENARIO = "_scenario"
LIMIT = 900.0
NOTES: list[str] = []
"""Numbers that a run tells at its end."""


def beside(scenario: Scenario) -> Callable[[Stage], None]:
    """Make a test that runs beside the others."""

    @functools.wraps(scenario)
    def test(stage: Stage) -> None:
        stage.wait_for(scenario)

    del test.__wrapped__  # type: ignore[attr-defined]
    setattr(test, _SCENARIO, scenario)
    return test


class Stage:
    """The scenarios of this run, started in the order in which they were collected."""

    def __init__(self, world: World, tests: Iterable[Any], pool: ThreadPoolExecutor) -> None:
        self._world = world
        self._running: dict[Scenario, Future[None]] = {}
        for test in tests:
            scenario = getattr(test, _SCENARIO, None)
            if scenario is not None and scenario not in self._running:
                self._running[scenario] = pool.submit(self._run, scenario)

    def _run(self, scenario: Scenario) -> None:
        part, began = self._world.part(), time.monotonic()
        try:
            scenario(part)
        except BaseException:
            # What failed is left to be looked at until the end of the run.
            self._world.places.extend(part.places)
            raise
        finally:
            NOTES.append(f"{time.monotonic() - began:4.0f} s beside others: {scenario.__name__}")
        part.leave()

    def wait_for(self, scenario: Scenario) -> None:
        """Wait for a scenario's end; its failure is the test's."""
        self._running[scenario].result(timeout=LIMIT)

    def wait_for_all(self) -> None:
        """Wait until nothing runs any more, however it ended."""
        wait(self._running.values(), timeout=LIMIT)
