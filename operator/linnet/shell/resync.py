"""A complete LIST of every kind from time to time: every lost event is bounded by one period."""

from __future__ import annotations

import asyncio
import logging
import random

from linnet.api import labels
from linnet.core.rollout.traffic import RouteView, read_matches
from linnet.ports import Manifest, Missing, Rejected, Unavailable
from linnet.shell import heap
from linnet.shell.cache import key_of
from linnet.shell.handlers import OURS, UNLABELLED, Watcher
from linnet.shell.world import World

LOG = logging.getLogger("linnet.resync")
JITTER = 0.1
ROUTE = "HTTPRoute"
FIRST_AGAIN = 2.0
"""Seconds until the first complete LIST is tried again; no object is worked on before it."""


async def once(world: World, watcher: Watcher) -> None:
    """List all kinds, prune what vanished, and ask for a pass over every object of ours."""
    complete, routes = True, list[RouteView]()
    for kind in watcher.kinds():
        for namespace in world.settings.namespaces or (None,):
            try:
                await _list(kind, namespace, world, watcher, routes)
            except (Unavailable, Rejected, Missing) as error:
                LOG.warning("%s could not be listed: %s", kind, error)
                complete &= not isinstance(error, Unavailable)
    # Ordered here once, and not in every pass over a route.
    world.routes = tuple(sorted(routes, key=lambda route: route.age))
    world.models.forget(world.cache.models())
    world.synced |= complete
    heap.trim()


async def _list(
    kind: str, namespace: str | None, world: World, watcher: Watcher, routes: list[RouteView]
) -> None:
    """Take one kind's objects in, page by page; of HTTPRoutes note what everybody's ask for."""
    before, listed = world.cache.uids(kind, namespace), {}
    async for page in world.cluster.pages(kind, namespace, ours=kind not in (*UNLABELLED, ROUTE)):
        for obj in page:
            if kind == ROUTE:
                routes.append(read_matches(obj))
                if not _carries_our_label(obj):
                    continue
            listed[key_of(obj)] = obj["metadata"]["uid"]
            _take(obj, world, watcher)
    for gone in world.cache.prune(before, listed):
        watcher.wake(gone)


def _carries_our_label(obj: Manifest) -> bool:
    found = obj["metadata"].get("labels") or {}
    return bool(found.get(labels.MANAGED_BY) == labels.MANAGED_BY_LINNET)


def _take(obj: Manifest, world: World, watcher: Watcher) -> None:
    kind, namespace = obj["kind"], obj["metadata"].get("namespace", "")
    if kind != "Gateway" and not world.settings.watches(namespace):
        return
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
