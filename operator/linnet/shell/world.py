"""What the loop holds in its hands: ports, cache, queue, settings, and what only memory needs.

Nothing here is a fact that a restart may lose: problems and descriptions are found again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from linnet.core.rollout.state import ScrapeTarget
from linnet.core.rollout.traffic import RouteView
from linnet.ports import Cluster, MetricSource, ModelRegistry, QuerySource
from linnet.shell.cache import Cache, Key
from linnet.shell.registry import RegistryCache
from linnet.shell.settings import Settings
from linnet.shell.workqueue import WorkQueue


@dataclass(slots=True, kw_only=True)
class World:
    """Everything that a pass may touch."""

    cluster: Cluster
    registry: ModelRegistry
    models: RegistryCache
    metrics: MetricSource
    cache: Cache
    queue: WorkQueue[Key]
    settings: Settings
    routes_exist: bool
    """Whether the Gateway API is installed."""
    gateways_readable: bool
    """Whether this install may read Gateways; only then can it say that one does not exist."""
    sessions_exist: bool = True
    """Whether its HTTPRoutes have `sessionPersistence`."""
    queries: QuerySource | None = None
    """Prometheus, where the settings name one."""
    routes: tuple[RouteView, ...] = ()
    """The HTTPRoutes of everybody, oldest first, as the last resync has listed them."""
    foreign: dict[Key, str] = field(default_factory=dict)
    """Objects of our name that are not ours, by the key of ours."""
    problems: dict[Key, dict[str, str]] = field(default_factory=dict)
    """What the API server refused of an object's children."""
    query_problems: dict[Key, dict[str, str]] = field(default_factory=dict)
    """Why queries were not answered last, by object and metric."""
    columns: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Inputs by revision; they never change."""
    synced: bool = False
    """Whether every kind was listed once."""
    posted: dict[str, float] = field(default_factory=dict)
    """Events that were posted lately, to tell each once."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def describe(self, target: ScrapeTarget, model: str) -> None:
        """Learn a revision's inputs from a ready pod, once."""
        if target.revision in self.columns:
            return
        found = await self.metrics.inputs(target, model)
        if found is not None:
            self.columns[target.revision] = found


def monotonic() -> float:
    """The loop's clock, which no change of the wall clock moves."""
    return asyncio.get_running_loop().time()
