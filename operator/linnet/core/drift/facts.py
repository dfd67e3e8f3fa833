"""What follows from the record and the observation of a DriftPolicy, by name."""

from __future__ import annotations

from datetime import datetime

from linnet_monitor import contract

from linnet.api.drift_policy import DriftPolicyStatus
from linnet.api.shared import parse_time
from linnet.core import jobs, names
from linnet.core.drift.state import CheckView, Observation

Status = DriftPolicyStatus


def current_slot(status: Status) -> datetime | None:
    """The slot of the newest check."""
    return parse_time(status.last_schedule_time) if status.last_schedule_time else None


def job_in_flight(seen: Observation, status: Status) -> str:
    """The Job of the check that was started and has no recorded end; empty where there is none."""
    slot = current_slot(status)
    if slot is None:
        return ""
    name = names.check(seen.name, slot)
    recorded = status.last_check.job_name if status.last_check is not None else ""
    return "" if recorded == name else name


def view(seen: Observation, name: str) -> CheckView:
    """The children of a check, as far as there are any."""
    return seen.checks.get(name, CheckView())


def is_over(check: CheckView) -> bool:
    """Whether the check's Job has ended."""
    return check.job is not None and jobs.is_over(check.job)


def document(seen: Observation, check: CheckView, slot: datetime) -> contract.Check | None:
    """The document of a check: a pod's termination message, else the run's tag.

    A document of another policy or of another slot is never taken.
    """
    for text in jobs.results(check.pods, seen.run):
        try:
            found = contract.parse(text)
        except ValueError:
            continue
        if found.policy_uid == seen.uid and found.slot and parse_time(found.slot) == slot:
            return found
    return None
