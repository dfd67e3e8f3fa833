"""What is known of one DriftPolicy when it is decided about: a frozen observation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from linnet.api.drift_policy import DriftPolicySpec, DriftPolicyStatus
from linnet.core.jobs import PodView, Settings
from linnet.core.registry import RunView, VersionView

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentView:
    """The ModelDeployment whose data are judged."""

    model: str
    alias: str
    """The alias that it follows; empty where it names a version."""
    champion: str
    """The champion's version; empty while there is none."""
    promoted: datetime | None
    """Since when the champion has all traffic."""
    rolling_out: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckView:
    """The children of one check."""

    job: Manifest | None = None
    config_map: Manifest | None = None
    pods: tuple[PodView, ...] = ()
    """Newest last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingView:
    """One TrainingJob that this policy made."""

    created: datetime
    reason: str = ""
    """How it ended, as a reason; empty while it runs."""
    passed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Everything that a decision about one DriftPolicy may look at."""

    name: str
    namespace: str
    uid: str
    generation: int
    created: datetime
    spec: DriftPolicySpec
    status: DriftPolicyStatus
    settings: Settings
    identity: str
    request_annotation: str = ""
    invalid: str = ""
    model_allowed: bool = True
    foreign: str = ""
    deployment: DeploymentView | None = None
    version: VersionView | None = None
    """The champion's version in the registry; None while it is not known."""
    registry_error: str = ""
    """Why the registry could not be read just now."""
    checks: Mapping[str, CheckView] = field(default_factory=dict)
    """Checks by the name of their Job."""
    run: RunView | None = None
    """The run of the check that is over and whose pods say nothing."""
    run_read: bool = False
    """Whether the tracking server was asked for `run` and answered."""
    trainings: Mapping[str, TrainingView] = field(default_factory=dict)
    """Retrainings by name."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """What the API server refused when a child was made, by child."""

    @property
    def model_name(self) -> str:
        return self.deployment.model if self.deployment is not None else ""
