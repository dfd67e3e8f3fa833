"""What is known of one TrainingJob when it is decided about: a frozen observation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from linnet.api.training_job import TrainingJobSpec, TrainingJobStatus
from linnet.core.jobs import PodView, Settings
from linnet.core.registry import ModelView, RunView

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """Everything that a decision about one TrainingJob may look at."""

    name: str
    namespace: str
    uid: str
    generation: int
    created: datetime
    spec: TrainingJobSpec
    status: TrainingJobStatus
    settings: Settings
    identity: str
    cause: str = ""
    """Annotation of a DriftPolicy that made it: JSON of `status.cause`."""
    queue: str = ""
    """Kueue queue of the object, copied to the Job."""
    invalid: str = ""
    model_allowed: bool = True
    foreign: str = ""
    job: Manifest | None = None
    config_map: Manifest | None = None
    service: Manifest | None = None
    """The headless Service of a search over pods."""
    pods: tuple[PodView, ...] = ()
    """Newest last."""
    run: RunView | None = None
    model: ModelView | None = None
    """The registered model; None while it does not exist or was not read."""
    registry_error: str = ""
    """Why the registry could not be read just now; run and model are then not known."""
    model_read: bool = False
    """Whether `model` says what the registry holds; only then may an alias be judged."""
    problems: Mapping[str, str] = field(default_factory=dict)
    """What the API server refused when a child was made, by child."""

    def __post_init__(self) -> None:
        if self.model_read and self.registry_error:
            raise ValueError("a registry that failed has not been read")

    @property
    def model_name(self) -> str:
        return self.spec.model.name
