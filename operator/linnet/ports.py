"""What the core's decisions need from the world, as protocols of a few methods each.

Adapters implement them and raise three errors: `Unavailable` (try again), `Rejected` (a person can
act on it), `Missing` (it does not exist).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from linnet.core.registry import ModelView, RunView, Traces
from linnet.core.rollout.state import ScrapedPage, ScrapeTarget

Manifest = Mapping[str, Any]


class Unavailable(Exception):
    """The other side is down, overloaded or too slow; another try may pass."""


class Rejected(Exception):
    """The other side understood and refused; another try of the same does not help."""


class Conflict(Rejected):
    """Somebody else wrote first: observe again."""


class Missing(Exception):
    """What was named does not exist."""


class Cluster(Protocol):
    """The API server."""

    async def get(self, kind: str, namespace: str, name: str) -> Manifest:
        """Read one object; raises Missing."""
        ...

    def pages(
        self, kind: str, namespace: str | None = None, *, ours: bool = False
    ) -> AsyncIterator[Sequence[Manifest]]:
        """Read all objects of a kind, or those with our label, in one namespace or everywhere."""
        ...

    async def apply(self, manifest: Manifest) -> Manifest:
        """Apply an object server-side with force, as its only owner."""
        ...

    async def create(self, manifest: Manifest) -> Manifest:
        """Create an object; one that exists under this name is returned as it is."""
        ...

    async def patch(self, kind: str, namespace: str, name: str, patch: Manifest) -> Manifest:
        """Merge-patch single fields; raises Missing."""
        ...

    async def scale(self, namespace: str, name: str, replicas: int) -> None:
        """Set a Deployment's replicas through its scale subresource."""
        ...

    async def delete(self, kind: str, namespace: str, name: str, uid: str) -> None:
        """Delete the object with this uid; one that is gone is success."""
        ...

    async def apply_status(self, manifest: Manifest, *, force: bool = False) -> Manifest:
        """Apply the status subresource; a stale resourceVersion in the body raises Conflict."""
        ...


class ModelRegistry(Protocol):
    """MLflow's registry and the few facts about runs that a TrainingJob needs."""

    async def model(self, name: str) -> ModelView:
        """Aliases and versions of one registered model; raises Missing, Unavailable."""
        ...

    async def run(self, namespace: str, name: str, spec_hash: str) -> RunView | None:
        """The newest run with these tags, if there is one; raises Unavailable."""
        ...

    async def traces(self, run: RunView) -> Traces:
        """The traces of a run; raises Missing where MLflow cannot count them, Unavailable."""
        ...

    async def set_alias(self, model: str, alias: str, version: str) -> None:
        """Point an alias at a version."""
        ...

    async def set_version_tag(self, model: str, version: str, key: str, value: str | None) -> None:
        """Set one tag of a version, or delete it where `value` is None."""
        ...

    async def close_run(self, run_id: str) -> None:
        """Mark a run that nobody works on as killed."""
        ...


class QuerySource(Protocol):
    """Prometheus, or what speaks its HTTP API."""

    async def query(self, text: str) -> Mapping[str, float]:
        """The present value of every series that a PromQL query returns, by its labels as text.

        Values that are no numbers are left out. Raises Unavailable, and Rejected where the query
        itself is at fault.
        """
        ...


class MetricSource(Protocol):
    """Where counters come from."""

    async def scrape(self, targets: Sequence[ScrapeTarget]) -> Sequence[ScrapedPage]:
        """Read every target once; those that do not answer in time are left out."""
        ...

    async def inputs(self, target: ScrapeTarget, model: str) -> Mapping[str, str] | None:
        """How a pod describes its inputs; None where it does not answer."""
        ...
