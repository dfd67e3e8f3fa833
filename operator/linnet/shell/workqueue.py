"""A de-duplicating queue of keys with client-go's semantics.

One key is processed by one worker at a time; a key that is added while it is processed is queued
once more; additions coalesce; failures back off; the earliest wake-up of a key wins.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT")

FIRST_BACKOFF = 0.5
LONGEST_BACKOFF = 300.0
JITTER = 0.2


class WorkQueue(Generic[KeyT]):
    """FIFO over keys: a storm on one key does not starve others."""

    def __init__(self, *, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock or asyncio.get_running_loop().time
        self._ready: deque[KeyT] = deque()
        self._queued: dict[KeyT, float] = {}
        self._processing: set[KeyT] = set()
        self._again: set[KeyT] = set()
        self._timers: dict[KeyT, tuple[float, asyncio.TimerHandle]] = {}
        self._failures: dict[KeyT, int] = {}
        self._wake = asyncio.Event()

    def __len__(self) -> int:
        return len(self._ready)

    def oldest(self) -> float:
        """Seconds that the head of the queue has waited; 0 when nothing waits."""
        return self._clock() - self._queued[self._ready[0]] if self._ready else 0.0

    def add(self, key: KeyT) -> None:
        """Ask for a pass over this key now."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer[1].cancel()
        if key in self._processing:
            self._again.add(key)
            return
        if key in self._queued:
            return
        self._queued[key] = self._clock()
        self._ready.append(key)
        self._wake.set()

    def add_after(self, key: KeyT, seconds: float) -> None:
        """Ask for a pass later; an earlier wake-up that is already set stays."""
        if seconds <= 0:
            self.add(key)
            return
        due = self._clock() + seconds
        known = self._timers.get(key)
        if known is not None:
            if known[0] <= due:
                return
            known[1].cancel()
        handle = asyncio.get_running_loop().call_later(seconds, self.add, key)
        self._timers[key] = (due, handle)

    async def take(self) -> tuple[KeyT, float]:
        """The next key and the seconds it has waited; `done` must follow."""
        while not self._ready:
            self._wake.clear()
            await self._wake.wait()
        key = self._ready.popleft()
        waited = self._clock() - self._queued.pop(key)
        self._processing.add(key)
        return key, waited

    def done(self, key: KeyT, *, failed: bool = False, requeue_after: float | None = None) -> None:
        """End the pass over a key; a failure is tried again with back-off, or when it says so."""
        self._processing.discard(key)
        again = key in self._again
        self._again.discard(key)
        if failed:
            backoff = self._backoff(key)
            if requeue_after is None:
                self.add_after(key, backoff)
            elif again:
                self.add(key)
            else:
                self.add_after(key, requeue_after)
        else:
            self._failures.pop(key, None)
            if again:
                self.add(key)
            elif requeue_after is not None:
                self.add_after(key, requeue_after)

    def retries(self, key: KeyT) -> int:
        """How often the key has failed in a row."""
        return self._failures.get(key, 0)

    def _backoff(self, key: KeyT) -> float:
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay: float = min(FIRST_BACKOFF * 2**count, LONGEST_BACKOFF)
        return delay * random.uniform(1 - JITTER, 1 + JITTER)
