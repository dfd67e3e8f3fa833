"""SIGTERM under load: every request that was sent is answered."""

import asyncio
import contextlib
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable

from server.conftest import Running
from server.harness import GOOD, Wire, request, run

Start = Callable[..., Running]


class Clients:
    """Clients behind a gateway: they stop choosing this server soon after it says not ready."""

    def __init__(self, running: Running) -> None:
        self.running = running
        self.outcomes: Counter[str] = Counter()
        self.after_signal = 0
        self._told = asyncio.Event()
        self._signalled = False

    async def run(self, *, before_signal: float, propagation: float) -> None:
        """Send until the endpoint is gone; SIGTERM comes after `before_signal` seconds."""
        clients = [asyncio.create_task(self._client(keep=at % 2 == 0)) for at in range(12)]
        await asyncio.sleep(before_signal)
        self.running.process.send_signal(signal.SIGTERM)
        self._signalled = True
        while (await self._ready()) == 200:  # noqa: ASYNC110 - it is the server's state
            await asyncio.sleep(0.02)
        await asyncio.sleep(propagation)
        self._told.set()
        await asyncio.gather(*clients)

    async def _ready(self) -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.running.base + 1)
        wire = Wire(reader, writer)
        try:
            return (await wire.ask("GET", "/readyz")).status
        finally:
            await wire.close()

    async def _client(self, *, keep: bool) -> None:
        wire: Wire | None = None
        while not self._told.is_set():
            try:
                if wire is None:
                    wire = Wire(*await asyncio.open_connection("127.0.0.1", self.running.base))
            except OSError:
                self.outcomes["refused"] += 1
                await asyncio.sleep(0.01)
                continue
            try:
                answer = await wire.ask("POST", "/invocations", GOOD)
            except TimeoutError:
                self.outcomes["hung"] += 1
                return
            except (OSError, EOFError):
                self.outcomes["lost"] += 1
                wire = None
                continue
            self.outcomes[str(answer.status)] += 1
            self.after_signal += self._signalled
            if not keep or answer.headers.get("connection") == "close":
                await wire.close()
                wire = None
        if wire is not None:
            await wire.close()


def test_no_request_is_lost_when_the_server_is_told_to_end_under_load(start_stub: Start) -> None:
    running = start_stub(STUB_SECONDS="0.01", LINNET_DRAIN_DELAY="1s").wait_until_ready()
    clients: list[Clients] = []

    async def scenario() -> None:
        clients.append(Clients(running))
        await clients[0].run(before_signal=0.5, propagation=0.5)

    run(scenario)
    assert running.process.wait(timeout=10) == 0
    outcomes = clients[0].outcomes
    assert set(outcomes) == {"200"}
    assert outcomes["200"] > 100
    assert clients[0].after_signal > 50
    assert '"dropped_connections": 0' in running.end()


def test_a_request_that_takes_longer_than_the_delay_is_answered(start_stub: Start) -> None:
    running = start_stub(STUB_SECONDS="0.7").wait_until_ready()

    async def scenario() -> None:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", running.base))
        await wire.send(request("POST", "/invocations", GOOD))
        await asyncio.sleep(0.1)
        running.process.terminate()
        answer = await wire.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        await wire.close()

    run(scenario)
    assert running.process.wait(timeout=10) == 0


def test_a_request_beyond_the_drain_timeout_does_not_hold_the_pod(start_stub: Start) -> None:
    running = start_stub(STUB_SECONDS="8", LINNET_DRAIN_TIMEOUT="300ms").wait_until_ready()

    async def scenario() -> None:
        wire = Wire(*await asyncio.open_connection("127.0.0.1", running.base))
        await wire.send(request("POST", "/invocations", GOOD))
        await asyncio.sleep(0.1)
        running.process.terminate()
        assert await wire.at_end()
        await wire.close()

    began = time.monotonic()
    run(scenario)
    assert running.process.wait(timeout=10) == 0
    assert time.monotonic() - began < 5
    assert '"dropped_connections": 1' in running.end()


def test_idle_connections_are_closed_and_the_probe_port_answers_to_the_end(
    start_stub: Start,
) -> None:
    running = start_stub(LINNET_DRAIN_DELAY="500ms").wait_until_ready()

    async def scenario() -> None:
        idle = Wire(*await asyncio.open_connection("127.0.0.1", running.base))
        assert (await idle.ask("POST", "/invocations", GOOD)).status == 200
        running.process.terminate()
        await asyncio.sleep(0.2)
        assert running.get(1, "/readyz") == (503, b"draining\n")
        assert running.get(1, "/healthz") == (200, b"ok\n")
        assert b'code="200"} 1' in running.get(1, "/metrics")[1]
        # The listeners are still open: not everybody knows yet.
        late = Wire(*await asyncio.open_connection("127.0.0.1", running.base + 3))
        assert (await late.ask("POST", "/invocations", GOOD)).status == 200
        assert await idle.at_end()
        for wire in (idle, late):
            await wire.close()

    run(scenario)
    assert running.process.wait(timeout=10) == 0


def test_a_server_that_is_told_to_end_while_it_loads_ends(start_stub: Start) -> None:
    running = start_stub()
    with contextlib.suppress(subprocess.TimeoutExpired):
        running.process.wait(timeout=0.01)
    running.wait_until_ready()
    running.process.terminate()
    assert running.process.wait(timeout=10) == 0
