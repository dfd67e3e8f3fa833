"""Conditions: what each kind reports, and how an old list becomes a new one.

A planner judges and gives conditions without times; `merge` gives each the time at which its
status last moved. Nothing is ever decided from a condition that was written before.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, TypeAlias

from annotated_types import MaxLen, MinLen
from pydantic import ConfigDict, Field, StringConstraints

from linnet.api.shared import Int64, Message, Model, Time, by, format_time

_NEVER: Final = format_time(datetime(1970, 1, 1, tzinfo=UTC))


class Status(StrEnum):
    """Whether a condition holds."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class Condition(Model):
    """One thing that is true, false or not known of an object."""

    model_config = ConfigDict(
        json_schema_extra={
            "required": [
                "type", "status", "reason", "message", "lastTransitionTime", "observedGeneration",
            ]
        }
    )  # fmt: skip

    type: Annotated[str, MinLen(1), StringConstraints(max_length=64, pattern=r"^[A-Z][A-Za-z]*$")]
    """What the condition is about."""
    status: Status
    """True, False or Unknown."""
    reason: Annotated[
        str, MinLen(1), StringConstraints(max_length=64, pattern=r"^[A-Z][A-Za-z0-9]*$")
    ]
    """One word for the situation; `kubectl linnet explain <reason>` says what to do."""
    message: Message
    """A sentence with the numbers and, when a person must act, the command."""
    last_transition_time: Time = Field(default_factory=lambda: _NEVER)
    """When the status last moved."""
    observed_generation: Int64 = Field(default_factory=lambda: 0)
    """The generation of the object that this was judged from."""


Conditions: TypeAlias = Annotated[tuple[Condition, ...], MaxLen(16), by("type")]

STALLED: Final = "Stalled"
PROMOTED: Final = "Promoted"
READY: Final = "Ready"

COMPLETE: Final = "Complete"
FAILED: Final = "Failed"
SUSPENDED: Final = "Suspended"
REGISTERED: Final = "Registered"

AVAILABLE: Final = "Available"
PROGRESSING: Final = "Progressing"
MODEL_RESOLVED: Final = "ModelResolved"
TRAFFIC_PROGRAMMED: Final = "TrafficProgrammed"
METRICS_AVAILABLE: Final = "MetricsAvailable"
ANALYSIS_SATISFIED: Final = "AnalysisSatisfied"
SPLIT_AS_CONFIGURED: Final = "SplitAsConfigured"
INPUTS_COMPATIBLE: Final = "InputsCompatible"

DRIFTED: Final = "Drifted"
RETRAINING: Final = "Retraining"

TRAINING_JOB_TYPES: Final = (COMPLETE, FAILED, SUSPENDED, REGISTERED, PROMOTED, STALLED)
MODEL_DEPLOYMENT_TYPES: Final = (
    READY, AVAILABLE, PROGRESSING, MODEL_RESOLVED, TRAFFIC_PROGRAMMED, METRICS_AVAILABLE,
    ANALYSIS_SATISFIED, SPLIT_AS_CONFIGURED, INPUTS_COMPATIBLE, PROMOTED, STALLED,
)  # fmt: skip
DRIFT_POLICY_TYPES: Final = (READY, DRIFTED, RETRAINING, STALLED)

ONLY_WHILE_TRUE: Final = frozenset({STALLED, FAILED, SUSPENDED})
"""These are absent while they do not hold; all others are written on the first visit."""

SUMMARY: Final = {"TrainingJob": COMPLETE, "ModelDeployment": READY, "DriftPolicy": READY}
"""The condition whose reason is the STATUS column of a kind."""

TYPES: Final = {
    "TrainingJob": TRAINING_JOB_TYPES,
    "ModelDeployment": MODEL_DEPLOYMENT_TYPES,
    "DriftPolicy": DRIFT_POLICY_TYPES,
}


def get(conditions: Iterable[Condition], type: str) -> Condition | None:
    """Return the condition of that type, if it is there."""
    return next((each for each in conditions if each.type == type), None)


def merge(
    old: Sequence[Condition], new: Sequence[Condition], now: datetime
) -> tuple[Condition, ...]:
    """Return `new`, each with the time at which its status last moved.

    A condition that is in `old` only is gone: it existed while it was True. The order is that of
    `new`.
    """
    times = {(each.type, each.status): each.last_transition_time for each in old}
    return tuple(
        each.model_copy(
            update={"last_transition_time": times.get((each.type, each.status), format_time(now))}
        )
        for each in new
    )
