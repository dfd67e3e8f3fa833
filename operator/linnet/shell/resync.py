"""A complete LIST of every kind from time to time: every lost event is bounded by one period."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping

from linnet.api import labels
from linnet.ports import Manifest, Missing, Rejected, Unavailable
from linnet.shell.cache import Key
from linnet.shell.handlers import OURS, Watcher
from linnet.shell.world import World

LOG = logging.getLogger("linnet.resync")
JITTER = 0.1
FIRST_AGAIN = 2.0
"""Seconds until the first complete LIST is tried again; no object is worked on before it."""


async def once(world: World, watcher: Watcher) -> None:
    """List all kinds, prune what vanished, and ask for a pass over every object of ours."""
    complete = True
    for kind in watcher.kinds():
        for namespace in world.settings.namespaces or (None,):
            before = world.cache.uids(kind, namespace)
            try:
                listed = await world.cluster.list(kind, namespace)
            except (Unavailable, Rejected, Missing) as error:
                LOG.warning("%s could not be listed: %s", kind, error)
                complete &= not isinstance(error, Unavailable)
                continue
            _take(kind, before, [obj for obj in listed if _concerns(obj)], world, watcher)
    world.models.forget(world.cache.models())
    world.synced |= complete


def _concerns(obj: Manifest) -> bool:
    if obj["kind"] in (*OURS, "Gateway"):
        return True
    found = obj["metadata"].get("labels") or {}
    return bool(found.get(labels.MANAGED_BY) == labels.MANAGED_BY_LINNET)


def _take(
    kind: str,
    before: Mapping[Key, str],
    listed: list[Manifest],
    world: World,
    watcher: Watcher,
) -> None:
    for gone in world.cache.prune(before, listed):
        watcher.wake(gone)
    for obj in listed:
        if kind != "Gateway" and not world.settings.watches(obj["metadata"]["namespace"]):
            continue
        # A child's lost event wakes its owner here; objects of ours are looked at in any case.
        if world.cache.update(obj) or kind in OURS:
            watcher.wake(obj)


async def run(world: World, watcher: Watcher) -> None:
    """Resync until cancelled; the first time at once, and again soon until it was complete."""
    period = world.settings.resync.total_seconds()
    while True:
        await once(world, watcher)
        if not world.synced:
            await asyncio.sleep(FIRST_AGAIN)
            continue
        await asyncio.sleep(period * random.uniform(1 - JITTER, 1 + JITTER))
