"""Jobs as the domains share them: how far one is, how its pods ended, and how a failure is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PodView:
    """One pod of a Job: how far it is, and how it ended."""

    name: str
    created: datetime
    phase: str
    exit_code: int | None = None
    out_of_memory: bool = False
    message: str = ""
    """Termination message: the result document, or the end of the log."""
    waiting: str = ""
    """What keeps it from running, in words."""


def condition(job: Manifest, kind: str) -> Manifest | None:
    """A condition of the Job that is True."""
    conditions = (job.get("status") or {}).get("conditions") or ()
    return next((c for c in conditions if c["type"] == kind and c["status"] == "True"), None)


def is_over(job: Manifest) -> bool:
    """Whether the Job is complete or has failed."""
    return condition(job, "Complete") is not None or condition(job, "Failed") is not None


def last_words(pods: Sequence[PodView]) -> str:
    """The last line that the newest pod left, or nothing."""
    lines = [line.strip() for line in pods[-1].message.splitlines() if line.strip()] if pods else []
    return lines[-1] if lines else ""


def failure_policy(container: str, *, final: int) -> Manifest:
    """`podFailurePolicy`: the exit code `final` ends the Job, a disruption does not count."""
    return {
        "rules": [
            {
                "action": "FailJob",
                "onExitCodes": {"containerName": container, "operator": "In", "values": [final]},
            },
            {
                "action": "Ignore",
                "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
            },
        ]
    }
