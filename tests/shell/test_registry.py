"""The registry is read once for all objects, and kept while it is down."""

import asyncio
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

import pytest
from linnet.shell import registry
from linnet.shell.registry import RegistryCache
from simulation import FakeRegistry


class Counted(FakeRegistry):
    """How often a model was read."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    async def model(self, name: str) -> Any:
        self.reads += 1
        return await super().model(name)


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 10))


def make(source: FakeRegistry, changed: list[str] | None = None, poll: float = 60) -> RegistryCache:
    return RegistryCache(
        source,
        poll=timedelta(seconds=poll),
        poll_waiting=timedelta(seconds=0.02),
        changed=(changed if changed is not None else []).append,
    )


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "TICK", 0.005)


async def polled(cache: RegistryCache, seconds: float) -> None:
    task = asyncio.create_task(cache.run())
    await asyncio.sleep(seconds)
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_many_objects_read_a_model_once() -> None:
    async def story() -> None:
        source = Counted()
        source.add_version("1")
        cache = make(source)
        for _ in range(10):
            known = await cache.get("delays")
        assert source.reads == 1
        assert known.view is not None
        assert set(known.view.versions) == {"1"}

    run(story())


def test_a_missing_model_and_a_registry_that_is_down_are_told_apart() -> None:
    async def story() -> None:
        source = Counted()
        missing = await make(source).get("delays")
        assert (missing.missing, missing.error) == (True, "")
        source.down = True
        down = await make(source).get("delays")
        assert (down.missing, down.error, down.view) == (False, "connection refused", None)

    run(story())


def test_what_was_read_last_stays_while_the_registry_is_down() -> None:
    async def story() -> None:
        source = Counted()
        source.add_version("1")
        cache = make(source)
        await cache.get("delays")
        source.down = True
        cache.touch("delays")
        await polled(cache, 0.02)
        known = await cache.get("delays")
        assert known.view is not None
        assert known.error == "connection refused"

    run(story())


def test_a_change_is_told_once_and_silence_is_not() -> None:
    async def story() -> None:
        changed: list[str] = []
        source = Counted()
        source.add_version("1")
        cache = make(source, changed, poll=0.01)
        await cache.get("delays")
        await polled(cache, 0.05)
        assert changed == []
        source.aliases["challenger"] = "1"
        await polled(cache, 0.05)
        assert changed == ["delays"]

    run(story())


def test_a_model_that_is_waited_for_is_polled_more_often() -> None:
    async def story() -> None:
        changed: list[str] = []
        source = Counted()
        cache = make(source, changed)
        await cache.get("delays")
        cache.wait_for("delays")
        source.add_version("1")
        await polled(cache, 0.1)
        assert changed == ["delays"]
        # It came: from here on the long period holds again.
        reads = source.reads
        await polled(cache, 0.1)
        assert source.reads <= reads + 1

    run(story())


def test_our_own_write_is_read_back_soon() -> None:
    async def story() -> None:
        source = Counted()
        source.add_version("1")
        cache = make(source)
        await cache.get("delays")
        await source.set_alias("delays", "champion", "1")
        cache.touch("delays")
        await polled(cache, 0.03)
        known = await cache.get("delays")
        assert known.view is not None
        assert known.view.aliases == {"champion": "1"}

    run(story())


def test_models_that_nobody_names_are_not_polled() -> None:
    async def story() -> None:
        source = Counted()
        source.add_version("1")
        cache = make(source, poll=0.01)
        await cache.get("delays")
        cache.forget(set())
        reads = source.reads
        await polled(cache, 0.05)
        assert source.reads == reads

    run(story())


def test_what_is_decided_for_good_is_read_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "FRESH", 0.01)

    async def story() -> None:
        source = Counted()
        source.add_version("5")
        cache = make(source)
        await cache.get("delays")
        source.versions.clear()
        source.add_version("1")
        await asyncio.sleep(0.02)
        old = await cache.get("delays")
        known = await cache.get("delays", fresh=True)
        assert source.reads == 2
        assert old.view is not None
        assert list(old.view.versions) == ["5"]
        assert known.view is not None
        assert list(known.view.versions) == ["1"]

    run(story())
