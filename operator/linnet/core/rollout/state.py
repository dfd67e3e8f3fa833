"""What is known of one ModelDeployment when it is decided about: a frozen observation.

It refuses impossible values, so that no test proves something about a world that cannot be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from linnet_server import contract

from linnet.api.model_deployment import ModelDeploymentSpec, ModelDeploymentStatus
from linnet.api.reasons import Reason
from linnet.core.registry import ModelView
from linnet.core.rollout.analysis import OutcomeSample, PodSample

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeTarget:
    """One pod whose counters may be read."""

    pod_uid: str
    revision: str
    address: str
    port: int = contract.PORT_MANAGEMENT


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapedPage:
    """What one pod's metrics page said: counters by kind, and when its process started."""

    target: ScrapeTarget
    started: str
    requests: Mapping[str, Mapping[str, int]]
    """By code."""
    latency: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Answers up to each latency edge, and last all of them."""
    scores: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Predicted rows by bucket of their score."""
    format: str = ""
    """Format of the model that is served."""
    outcomes: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    """Counts by result, by metric, by the revision that they are of."""
    differences: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Pairs of scores by their difference, in the contract's order, by revision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator's settings contribute to what a revision looks like."""

    server_image: str
    feast_image: str
    """Of the sidecar that looks features up."""
    image_pull_policy: str
    pod_environment: Mapping[str, str]
    """Variables of every pod that talks to the registry or a store."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """One server pod, as far as decisions need it."""

    uid: str
    name: str
    address: str
    ready: bool
    ready_changed: datetime | None
    """When its Ready condition last moved."""
    created: datetime
    deleting: bool = False
    fetch_exit: int | None = None
    """Last exit code of the fetch container, when it failed."""
    fetch_message: str = ""
    server_exit: int | None = None
    """Last exit code of the server container, when it ended."""
    server_message: str = ""
    restarts: int = 0
    last_restart: datetime | None = None
    waiting: str = ""
    """Reason of a waiting container, such as ImagePullBackOff."""
    waiting_message: str = ""
    unschedulable: str = ""
    """Why the scheduler found no node, or nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevisionView:
    """A revision's frozen record (its ControllerRevision) and what runs of it."""

    name: str
    uid: str
    data: Manifest
    rejected: str = ""
    """JSON of the annotation that remembers a rejection."""
    deployment: Manifest | None = None
    services: Mapping[str, Manifest] = field(default_factory=dict)
    autoscaler: Manifest | None = None
    """Its HorizontalPodAutoscaler: while it is there, nobody else sets replicas."""
    budget: Manifest | None = None
    """Its PodDisruptionBudget."""
    pods: tuple[PodView, ...] = ()

    @property
    def version(self) -> str:
        return str(self.data["version"])

    @property
    def wish_key(self) -> str:
        """Identity of what the user asked for: model, version, digest and their server settings."""
        return str(self.data["wishKey"])

    @property
    def content_key(self) -> str:
        """Identity that survives a new version number: content and server settings."""
        return str(self.data["contentKey"])

    @property
    def replicas(self) -> int:
        """Replicas that its Deployment asks for; 0 without one."""
        return int(self.deployment["spec"].get("replicas", 1)) if self.deployment else 0

    @property
    def workload(self) -> tuple[Manifest, ...]:
        """Everything that runs it, but its record and its pods: what goes when nobody needs it."""
        found = (self.autoscaler, self.budget, self.deployment, *self.services.values())
        return tuple(each for each in found if each is not None)

    @property
    def ready_pods(self) -> tuple[PodView, ...]:
        return tuple(pod for pod in self.pods if pod.ready and not pod.deleting)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficView:
    """What the data plane was told and what it says of it."""

    exists: bool = False
    weights: Mapping[str, int] = field(default_factory=dict)
    """Share in percent by revision, as it lies in the route (or as pods realise it)."""
    mirror: tuple[str, int] | None = None
    """The revision that gets copies, and of which share of the requests."""
    cohort: str | None = None
    """The revision that answers the candidate's cohort."""
    replay: tuple[str, int] | None = None
    """The revision to which the champion's server sends copies, and of which share."""
    observed: bool = False
    """Every parent has seen exactly this route, whatever it thinks of it."""
    programmed: bool = False
    """Every parent has accepted exactly this route and serves it."""
    reason: Reason = Reason.WAITING
    message: str = "no route yet"
    manifest: Manifest | None = None

    def __post_init__(self) -> None:
        if self.weights and sum(self.weights.values()) not in (0, 100):
            raise ValueError(f"weights must sum to 100: {dict(self.weights)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Everything that a decision about one ModelDeployment may look at."""

    name: str
    namespace: str
    uid: str
    generation: int
    spec: ModelDeploymentSpec
    status: ModelDeploymentStatus
    settings: Settings
    identity: str
    request_annotation: str = ""
    invalid: str = ""
    """What our own validation refused, or nothing."""
    model_allowed: bool = True
    model: ModelView | None = None
    """The registered model; None while it is missing or the registry has never answered."""
    model_missing: bool = False
    registry_error: str = ""
    """Why the registry could not be read just now; `model` is then the last that was read."""
    alias_owner: str = ""
    """An older ModelDeployment that owns the same champion alias, or nothing."""
    revisions: Mapping[str, RevisionView] = field(default_factory=dict)
    traffic: TrafficView = field(default_factory=TrafficView)
    service: Manifest | None = None
    """The Service without a gateway, where it exists."""
    route: Manifest | None = None
    """The HTTPRoute, where it exists, whether or not spec still asks for one."""
    sessions_exist: bool = True
    """Whether HTTPRoutes of this cluster have `sessionPersistence`, which is experimental."""
    shadow: Manifest | None = None
    """The ConfigMap that tells the champion's server who gets copies, where it exists."""
    route_change_waits: bool = False
    """Whether `spec` here still has the route (or none) that the running rollout began with."""
    foreign: str = ""
    """A child of our name that is not ours, or nothing."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """What the API server refused when a child was made, by child."""
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Inputs by revision, as a ready pod describes them: column to type, `?` = may be missing."""
    samples: tuple[PodSample, ...] | None = None
    """Counters, when they were scraped in this pass."""
    collectors: tuple[PodView, ...] = ()
    """Pods of the collector, where there is one."""
    outcomes: tuple[OutcomeSample, ...] = ()
    """What was told of compared and labelled answers, when counters were scraped."""
    answers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By metric: what its queries returned, where all of them were answered in this pass."""
    query_problems: Mapping[str, str] = field(default_factory=dict)
    """By metric: why its queries were not answered last."""

    @property
    def model_name(self) -> str:
        return self.spec.model.name
