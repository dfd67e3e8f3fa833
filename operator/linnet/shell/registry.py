"""The registry as all objects share it: polled by model, kept when the registry is down."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

from linnet.core.registry import ModelView
from linnet.ports import Missing, ModelRegistry, Rejected, Unavailable

LOG = logging.getLogger("linnet.registry")
TICK = 1.0
FRESH = 2.0
"""Seconds for which a read counts as fresh: passes over many objects share it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of one registered model."""

    view: ModelView | None = None
    """What was read last; it stays while the registry is down."""
    missing: bool = False
    error: str = ""
    """Why the last read failed, or nothing."""


class RegistryCache:
    """Reads each model at most every poll period; tells who is interested when it changed."""

    def __init__(
        self,
        registry: ModelRegistry,
        *,
        poll: timedelta,
        poll_waiting: timedelta,
        changed: Callable[[str], None],
    ) -> None:
        self._registry = registry
        self._poll = poll.total_seconds()
        self._poll_waiting = poll_waiting.total_seconds()
        self._changed = changed
        self._known: dict[str, Known] = {}
        self._due: dict[str, float] = {}
        self._read_at: dict[str, float] = {}
        self._waiting: set[str] = set()
        self._reading: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def get(self, model: str, *, fresh: bool = False) -> Known:
        """What is known of a model; it is read now where it never was.

        `fresh` is for what is decided once and for all: what was read before this moment may be of
        a model that was deleted and made anew since.
        """
        if self._is_wanted(model, fresh):
            async with self._reading[model]:
                # Another pass may have read it while this one waited.
                if self._is_wanted(model, fresh):
                    await self._read(model)
        return self._known[model]

    def _is_wanted(self, model: str, fresh: bool) -> bool:
        return model not in self._known or (fresh and self._is_old(model))

    def _is_old(self, model: str) -> bool:
        # A registry that is down is not asked by every pass of every object.
        limit = self._poll_waiting if self._known[model].error else FRESH
        return asyncio.get_running_loop().time() - self._read_at[model] >= limit

    def wait_for(self, model: str) -> None:
        """Something waits for this model: poll it more often until it has changed."""
        if model in self._waiting:
            return
        self._waiting.add(model)
        soon = asyncio.get_running_loop().time() + self._poll_waiting
        self._due[model] = min(self._due.get(model, soon), soon)

    def touch(self, model: str) -> None:
        """We wrote something ourselves: read again as soon as possible."""
        self._due[model] = 0.0

    def forget(self, keep: set[str]) -> None:
        """Stop polling models that no object names any more."""
        for model in set(self._known) - keep:
            self._known.pop(model, None)
            self._due.pop(model, None)
            self._read_at.pop(model, None)
            self._reading.pop(model, None)
            self._waiting.discard(model)

    async def run(self) -> None:
        """Poll until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = [model for model in list(self._known) if self._due.get(model, 0) <= loop.time()]
            for model in due:
                before = self._known.get(model)
                await self._read(model)
                if self._known[model] != before:
                    self._waiting.discard(model)
                    self._changed(model)
            await asyncio.sleep(TICK)

    async def _read(self, model: str) -> None:
        before = self._known.get(model, Known())
        try:
            after = Known(view=await self._registry.model(model))
        except Missing:
            after = Known(missing=True)
        except (Unavailable, Rejected) as error:
            LOG.warning("model '%s' was not read: %s", model, error)
            after = replace(before, error=str(error))
        self._known[model] = after
        period = self._poll_waiting if model in self._waiting or after.error else self._poll
        self._read_at[model] = asyncio.get_running_loop().time()
        self._due[model] = self._read_at[model] + period
