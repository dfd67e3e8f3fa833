"""One leader at a time, whatever the clocks say; who cannot renew ends its process."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from linnet.ports import Conflict, Missing, Unavailable
from linnet.shell.lease import Elector
from linnet.shell.settings import parse

SHORT = {"LINNET_LEASE_DURATION": "500ms", "LINNET_LEASE_RENEW": "40ms"}
SETTINGS = parse(["--tracking-uri", "http://m"], {**SHORT, "LINNET_LEASE_DEADLINE": "300ms"})


class Leases:
    """The API server's part: one Lease with a resourceVersion."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.version = 0
        self.down = False

    async def request(self, method: str, path: str, *, body: Any = None, timeout: float) -> Any:
        await asyncio.sleep(0)
        if self.down:
            raise Unavailable("connection refused")
        if method == "GET":
            if self.lease is None:
                raise Missing("not found")
            return {**self.lease}
        if method == "POST" and self.lease is not None:
            raise Conflict("already exists")
        if method == "PUT":
            assert self.lease is not None
            if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
                raise Conflict("the object has been modified")
        self.version += 1
        metadata = {**body["metadata"], "resourceVersion": str(self.version)}
        self.lease = {**body, "metadata": metadata}
        return {**self.lease}

    @property
    def holder(self) -> str:
        assert self.lease is not None
        return str(self.lease["spec"]["holderIdentity"])


class Died(Exception):
    """The process ended itself."""


def elector(leases: Leases) -> Elector:
    def die(code: int) -> None:
        assert code == 1
        raise Died

    return Elector(leases, SETTINGS, die=die)  # type: ignore[arg-type]


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 10))


async def waits(one: Elector, seconds: float) -> bool:
    try:
        await asyncio.wait_for(one.acquire(), seconds)
    except TimeoutError:
        return True
    return False


def test_the_first_one_leads_and_the_second_waits() -> None:
    async def story() -> None:
        leases = Leases()
        first, second = elector(leases), elector(leases)
        await first.acquire()
        assert first.leading
        assert leases.holder == first.holder
        keeping = asyncio.create_task(first.keep())
        # Much longer than the lease lasts: it is renewed.
        assert await waits(second, 0.8)
        assert not keeping.done()
        assert not first.stale()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    run(story())


def test_two_that_start_at_once_agree_on_one() -> None:
    async def story() -> None:
        leases = Leases()
        electors = [elector(leases) for _ in range(5)]
        won = [await each._try() for each in electors]
        assert sum(won) == 1
        leases.lease = None
        assert sum(await asyncio.gather(*(each._try() for each in electors))) == 1

    run(story())


def test_a_leader_that_vanished_is_succeeded_when_the_lease_is_over() -> None:
    async def story() -> None:
        leases = Leases()
        first, second = elector(leases), elector(leases)
        await first.acquire()
        started = asyncio.get_running_loop().time()
        await second.acquire()
        assert asyncio.get_running_loop().time() - started >= 0.49
        assert leases.holder == second.holder
        assert leases.lease is not None
        assert leases.lease["spec"]["leaseTransitions"] == 1

    run(story())


@pytest.mark.parametrize("renewed", ["2001-01-01T00:00:00.0Z", "2099-01-01T00:00:00.0Z"])
def test_the_peers_clock_does_not_matter(renewed: str) -> None:
    async def story() -> None:
        leases = Leases()
        first, second = elector(leases), elector(leases)
        await first.acquire()
        assert leases.lease is not None
        leases.lease["spec"]["renewTime"] = renewed
        # Neither at once because it looks old, nor never because it looks new.
        assert await waits(second, 0.2)
        await second.acquire()
        assert second.leading

    run(story())


def test_a_released_lease_is_taken_at_once() -> None:
    async def story() -> None:
        leases = Leases()
        first, second = elector(leases), elector(leases)
        await first.acquire()
        await first.release()
        assert leases.holder == ""
        await asyncio.wait_for(second.acquire(), 0.3)

    run(story())


def test_a_standby_releases_nothing() -> None:
    async def story() -> None:
        leases = Leases()
        first, second = elector(leases), elector(leases)
        await first.acquire()
        await second.release()
        assert leases.holder == first.holder

    run(story())


def test_a_leader_that_cannot_renew_dies_before_another_can_lead() -> None:
    async def story() -> None:
        leases = Leases()
        first = elector(leases)
        await first.acquire()
        leases.down = True
        started = asyncio.get_running_loop().time()
        with pytest.raises(Died):
            await first.keep()
        assert 0.25 <= asyncio.get_running_loop().time() - started < 0.5

    run(story())


def test_a_leader_survives_a_short_silence() -> None:
    async def story() -> None:
        leases = Leases()
        first = elector(leases)
        await first.acquire()
        keeping = asyncio.create_task(first.keep())
        leases.down = True
        await asyncio.sleep(0.08)
        leases.down = False
        await asyncio.sleep(0.4)
        assert not keeping.done()
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)

    run(story())


def test_a_leader_that_finds_another_holder_dies() -> None:
    async def story() -> None:
        leases = Leases()
        first = elector(leases)
        await first.acquire()
        assert leases.lease is not None
        leases.version += 1
        leases.lease["spec"] = {**leases.lease["spec"], "holderIdentity": "other"}
        leases.lease["metadata"]["resourceVersion"] = str(leases.version)
        with pytest.raises(Died):
            await first.keep()

    run(story())


def test_an_api_server_that_is_down_delays_the_first_acquisition() -> None:
    async def story() -> None:
        leases = Leases()
        leases.down = True
        one = elector(leases)
        assert await waits(one, 0.1)
        leases.down = False
        await asyncio.wait_for(one.acquire(), 0.4)

    run(story())
