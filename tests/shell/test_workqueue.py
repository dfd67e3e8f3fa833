"""The queue keeps client-go's promises: one worker a key, coalesced adds, back-off, fairness."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from linnet.shell import workqueue
from linnet.shell.workqueue import WorkQueue


def run(story: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(story, 10))


async def taken(queue: WorkQueue[str]) -> str:
    return (await asyncio.wait_for(queue.take(), 1))[0]


async def nothing(queue: WorkQueue[str], seconds: float = 0.02) -> bool:
    try:
        await asyncio.wait_for(queue.take(), seconds)
    except TimeoutError:
        return True
    return False


def test_adds_of_one_key_coalesce_while_it_waits() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        for _ in range(5):
            queue.add("a")
        assert len(queue) == 1
        assert await taken(queue) == "a"
        queue.done("a")
        assert await nothing(queue)

    run(story())


def test_a_key_that_is_processed_goes_to_no_second_worker_and_comes_back_once() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        assert await taken(queue) == "a"
        for _ in range(3):
            queue.add("a")
        assert await nothing(queue)
        queue.done("a")
        assert await taken(queue) == "a"
        queue.done("a")
        assert await nothing(queue)

    run(story())


def test_a_storm_on_one_key_does_not_starve_others() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("storm")
        queue.add("calm")
        order = []
        for _ in range(4):
            key = await taken(queue)
            order.append(key)
            queue.add("storm")
            queue.done(key)
        assert "calm" in order[:2]

    run(story())


def test_failures_back_off_and_success_resets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workqueue, "JITTER", 0.0)

    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        delays = []
        for _ in range(12):
            queue.add("a")
            await taken(queue)
            queue.done("a", failed=True)
            delays.append(queue._timers["a"][0] - asyncio.get_running_loop().time())
        assert [round(delay, 1) for delay in delays[:4]] == [0.5, 1.0, 2.0, 4.0]
        assert max(delays) <= workqueue.LONGEST_BACKOFF
        assert queue.retries("a") == 12
        queue.add("a")
        await taken(queue)
        queue.done("a")
        assert queue.retries("a") == 0

    run(story())


def test_an_event_during_a_failing_pass_does_not_skip_the_back_off() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        await taken(queue)
        queue.add("a")
        queue.done("a", failed=True)
        assert await nothing(queue)
        assert await taken(queue) == "a"

    run(story())


def test_the_earliest_wake_up_wins() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add_after("a", 5)
        queue.add_after("a", 0.02)
        queue.add_after("a", 9)
        assert await taken(queue) == "a"
        queue.done("a")
        assert await nothing(queue, 0.05)

    run(story())


def test_an_event_takes_the_place_of_a_later_wake_up() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add_after("a", 0.03)
        queue.add("a")
        assert await taken(queue) == "a"
        queue.done("a")
        assert await nothing(queue, 0.06)

    run(story())


def test_no_time_to_wait_is_at_once() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        await taken(queue)
        queue.done("a", requeue_after=0)
        assert await taken(queue) == "a"

    run(story())


def test_a_wake_up_that_comes_while_its_key_is_processed_is_not_lost() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add_after("a", 0.02)
        queue.add_after("b", 0.01)
        assert await taken(queue) == "b"
        assert await taken(queue) == "a"
        queue.add_after("a", 0.01)
        await asyncio.sleep(0.03)
        queue.done("a")
        assert await taken(queue) == "a"

    run(story())


def test_how_long_the_head_has_waited_is_known() -> None:
    now = [10.0]

    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue(clock=lambda: now[0])
        assert queue.oldest() == 0
        queue.add("a")
        now[0] = 14.0
        assert queue.oldest() == 4
        assert (await queue.take())[1] == 4

    run(story())


def test_two_workers_never_hold_the_same_key() -> None:
    async def story() -> None:
        queue: WorkQueue[str] = WorkQueue()
        busy: set[str] = set()
        passes: dict[str, int] = {}

        async def work() -> None:
            while True:
                key, _ = await queue.take()
                assert key not in busy
                busy.add(key)
                await asyncio.sleep(0.001)
                busy.discard(key)
                passes[key] = passes.get(key, 0) + 1
                queue.done(key)

        workers = [asyncio.create_task(work()) for _ in range(4)]
        for round_number in range(40):
            queue.add(f"key-{round_number % 3}")
            await asyncio.sleep(0.0005)
        await asyncio.sleep(0.05)
        assert not any(worker.done() for worker in workers)
        assert set(passes) == {"key-0", "key-1", "key-2"}
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    run(story())
