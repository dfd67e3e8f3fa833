"""Entry point of the operator: settings, elector, Kopf inside."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Sequence

import kopf

from linnet.adapters.kubernetes import KubernetesCluster, path
from linnet.adapters.mlflow import MLflowRegistry
from linnet.adapters.pods import PodReader
from linnet.adapters.prometheus import Prometheus
from linnet.ports import Missing, Rejected, Unavailable
from linnet.shell import heap, resync, telemetry, workers
from linnet.shell.cache import Cache, Key, registered_model
from linnet.shell.handlers import NoMemories, Watcher
from linnet.shell.health import Health
from linnet.shell.lease import Elector
from linnet.shell.registry import RegistryCache
from linnet.shell.settings import Settings, parse
from linnet.shell.workqueue import WorkQueue
from linnet.shell.world import World

LOG = logging.getLogger("linnet")
OLDEST_WAIT = 300.0
"""Seconds that a key may wait before the process counts as stuck."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the operator until it is asked to stop."""
    heap.configure()
    settings = parse(sys.argv[1:] if arguments is None else arguments)
    telemetry.set_up_logs(settings.log_level, settings.log_format)
    return asyncio.run(run(settings))


async def run(settings: Settings) -> int:
    """Stand by until this process leads, then run the loop until a signal comes."""
    stop = asyncio.Event()
    _obey_signals(stop)
    cluster = await KubernetesCluster.connect(identity=settings.identity)
    cluster.count = lambda method, code: telemetry.API_REQUESTS.labels(code, method).inc()
    elector = Elector(cluster, settings)
    health = Health(settings.listen)
    health.live["lease"] = lambda: "the last renewal is too old" if elector.stale() else None
    await health.start()
    try:
        if not await _before(stop, elector.acquire()):
            return 0
        telemetry.LEADER.labels(settings.identity).set(1)
        return await _lead(settings, cluster, elector, health, stop)
    finally:
        await elector.release()
        await health.stop()
        await cluster.close()


def _obey_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)


async def _before(stop: asyncio.Event, work: object) -> bool:
    """Whether the work ended before the signal to stop came."""
    task = asyncio.ensure_future(work)  # type: ignore[call-overload]
    waiting = asyncio.ensure_future(stop.wait())
    await asyncio.wait({task, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if task.done():
        task.result()
        return True
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    return False


async def _lead(
    settings: Settings,
    cluster: KubernetesCluster,
    elector: Elector,
    health: Health,
    stop: asyncio.Event,
) -> int:
    registry = MLflowRegistry(
        tracking_uri=settings.tracking_uri, registry_uri=settings.registry_uri
    )
    registry.count = lambda method, outcome: telemetry.REGISTRY_REQUESTS.labels(
        method, outcome
    ).inc()
    pods = PodReader(timeout=settings.scrape_timeout, concurrency=settings.scrape_concurrency)
    pods.count = lambda outcome: telemetry.SCRAPES.labels(outcome).inc()
    prometheus = _prometheus(settings)
    world = await _world(settings, cluster, registry, pods, prometheus)
    telemetry.REGISTRY.register(telemetry.StatusCollector(world.cache.of_kind))
    watcher = Watcher(world)
    watcher.register()
    # Kopf cancels every task that was created after it started: ours come first.
    tasks = [
        asyncio.create_task(elector.keep(), name="lease"),
        asyncio.create_task(world.models.run(), name="registry"),
        asyncio.create_task(resync.run(world, watcher), name="resync"),
        *(
            asyncio.create_task(workers.work(world), name=f"worker-{n}")
            for n in range(settings.workers)
        ),
    ]
    _watch_health(health, world, tasks)
    operator = asyncio.create_task(_kopf(settings, watcher, stop), name="kopf")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    try:
        done, _ = await asyncio.wait(
            {operator, stopping, *tasks}, return_when=asyncio.FIRST_COMPLETED
        )
        failed = [task for task in done if task is not stopping and task is not operator]
        for task in failed:
            LOG.critical("task %s ended: %r", task.get_name(), task.exception())
        if operator in done and not stop.is_set():
            LOG.critical("the watches ended: %r", operator.exception())
            return 1
        return 1 if failed else 0
    finally:
        stop.set()
        for task in (*tasks, stopping):
            task.cancel()
        await asyncio.gather(*tasks, stopping, return_exceptions=True)
        await elector.release()
        await asyncio.gather(operator, return_exceptions=True)
        await pods.close()
        if prometheus is not None:
            await prometheus.close()
        registry.close()


async def _kopf(settings: Settings, watcher: Watcher, stop: asyncio.Event) -> None:
    ours = asyncio.all_tasks()
    tasks = await kopf.spawn_tasks(
        registry=watcher.registry,
        settings=watcher.settings(),
        memories=NoMemories(),
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
        stop_flag=stop,
    )
    # Kopf has taken the signals for itself: they are ours, so that the Lease is released before
    # Kopf takes its time to leave.
    _obey_signals(stop)
    await kopf.run_tasks(tasks, ignored=ours)


def _prometheus(settings: Settings) -> Prometheus | None:
    if not settings.prometheus_url:
        return None
    prometheus = Prometheus(
        settings.prometheus_url,
        timeout=settings.scrape_timeout,
        concurrency=settings.scrape_concurrency,
    )
    prometheus.count = lambda outcome: telemetry.QUERIES.labels(outcome).inc()
    return prometheus


async def _world(
    settings: Settings,
    cluster: KubernetesCluster,
    registry: MLflowRegistry,
    pods: PodReader,
    prometheus: Prometheus | None,
) -> World:
    cache = Cache()
    queue: WorkQueue[Key] = WorkQueue()

    def changed(model: str) -> None:
        for reader in cache.readers(registered_model(model)):
            queue.add(reader)

    models = RegistryCache(
        registry,
        poll=settings.registry_poll,
        poll_waiting=settings.registry_poll_waiting,
        changed=changed,
    )
    return World(
        cluster=cluster,
        registry=registry,
        models=models,
        metrics=pods,
        queries=prometheus,
        cache=cache,
        queue=queue,
        settings=settings,
        routes_exist=await _can_list(cluster, "HTTPRoute", settings),
        sessions_exist=await cluster.has_field("HTTPRoute", "sessionPersistence"),
        gateways_readable=not settings.namespaces and await _can_list(cluster, "Gateway", settings),
    )


async def _can_list(cluster: KubernetesCluster, kind: str, settings: Settings) -> bool:
    """Whether a kind exists and may be read; asked again until the API server answers."""
    namespace = settings.namespaces[0] if settings.namespaces else None
    while True:
        try:
            await cluster.request("GET", path(kind, namespace), query={"limit": "1"})
        except (Missing, Rejected):
            return False
        except Unavailable as error:
            LOG.warning("waiting for the API server: %s", error)
            await asyncio.sleep(1)
        else:
            return True


def _watch_health(health: Health, world: World, tasks: Sequence[asyncio.Task[None]]) -> None:
    def dead_task() -> str | None:
        dead = [task.get_name() for task in tasks if task.done()]
        return f"{', '.join(dead)} ended" if dead else None

    def stuck() -> str | None:
        waited = world.queue.oldest()
        return f"the queue's head waits for {waited:.0f} s" if waited > OLDEST_WAIT else None

    health.live["tasks"] = dead_task
    health.live["queue"] = stuck
    health.ready["cache"] = lambda: None if world.synced else "not filled yet"


if __name__ == "__main__":
    sys.exit(main())
