"""Observations of a TrainingJob for table tests: one base, and what differs of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builders import NOW
from linnet.api.training_job import TrainingJobSpec, TrainingJobStatus
from linnet.core.jobs import Settings
from linnet.core.training import resources
from linnet.core.training.state import Observation

SETTINGS = Settings(
    image="trainer:1", image_pull_policy="Never", pod_environment={}, tracking_link="http://m"
)


def observation(spec: Mapping[str, Any], **changes: Any) -> Observation:
    """A job of this spec that nothing was done for yet."""
    values: dict[str, Any] = {
        "name": "delays",
        "namespace": "team",
        "uid": "uid-job",
        "generation": 1,
        "created": NOW,
        "spec": TrainingJobSpec.model_validate(spec),
        "status": TrainingJobStatus(),
        "settings": SETTINGS,
        "identity": "linnet-system/linnet-operator",
    }
    return Observation(**{**values, **changes})


def begun(seen: Observation) -> TrainingJobStatus:
    """The status once its Job has a name."""
    found = resources.spec_hash(seen)
    return TrainingJobStatus(
        spec_hash=found,
        job_name=f"{seen.name}-train-{found[:8]}",
        start_time="2026-11-25T12:00:00Z",
    )
