"""The workers: each takes a key, runs one pass over it, and says when it comes back."""

from __future__ import annotations

import asyncio
import logging
import time

from linnet.ports import Conflict, Missing, Rejected, Unavailable
from linnet.shell import telemetry
from linnet.shell.cache import Key
from linnet.shell.reconcile import RECONCILERS
from linnet.shell.world import World

LOG = logging.getLogger("linnet.workers")
QUEUE_NAME = "linnet"
STAND_DOWN = 300.0
"""Seconds until an object that another install owns is looked at again."""
FOREIGN_OWNER = "Apply failed with"
"""How the API server begins when another field manager owns what we apply without force."""
UNTIL_FILLED = 0.1
SLOW_RETRY = 60.0
"""Seconds until something that a person must mend is tried again."""


async def work(world: World) -> None:
    """Process keys until cancelled; nothing that a pass raises ends the worker.

    It begins when every kind was listed once: with half of the pods in the cache, the counters of
    the other half would be forgotten and then counted anew.
    """
    while not world.synced:  # noqa: ASYNC110 - once at the start
        await asyncio.sleep(UNTIL_FILLED)
    while True:
        key, waited = await world.queue.take()
        telemetry.QUEUE_SECONDS.labels(QUEUE_NAME).observe(waited)
        telemetry.QUEUE_DEPTH.labels(QUEUE_NAME).set(len(world.queue))
        started = time.monotonic()
        result = "error"
        try:
            result = await _pass(key, world)
        finally:
            telemetry.RECONCILES.labels(key.kind, result).inc()
            telemetry.RECONCILE_SECONDS.labels(key.kind).observe(time.monotonic() - started)


async def _pass(key: Key, world: World) -> str:
    about = {"about": {"kind": key.kind, "namespace": key.namespace, "name": key.name}}
    try:
        after = await RECONCILERS[key.kind](key, world, now=world.now())
    except asyncio.CancelledError:
        raise
    except Conflict as error:
        if FOREIGN_OWNER in str(error):
            LOG.warning("another install owns the status, standing down: %s", error, extra=about)
            telemetry.FOREIGN.labels(key.kind).inc()
            world.queue.done(key, requeue_after=STAND_DOWN)
            return "stand_down"
        LOG.info("overtaken, observing again: %s", error, extra=about)
        world.queue.done(key, failed=True)
        return "conflict"
    except Rejected as error:
        LOG.warning("refused: %s", error, extra=about)
        # The next pass says what was refused; the ones after it wait for a person.
        pause = SLOW_RETRY if world.queue.retries(key) else 1.0
        world.queue.done(key, failed=True, requeue_after=pause)
        return "refused"
    except (Unavailable, Missing) as error:
        LOG.warning("will be tried again: %s", error, extra=about)
        telemetry.QUEUE_RETRIES.labels(QUEUE_NAME).inc()
        world.queue.done(key, failed=True)
        return "error"
    except Exception:
        LOG.exception("a pass failed", extra=about)
        telemetry.QUEUE_RETRIES.labels(QUEUE_NAME).inc()
        world.queue.done(key, failed=True)
        return "error"
    world.queue.done(key, requeue_after=after.total_seconds() if after is not None else None)
    return "success" if after is None else "requeue_after"
