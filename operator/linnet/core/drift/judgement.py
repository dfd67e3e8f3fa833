"""What is said of a DriftPolicy: its conditions. `Ready` is the one summary."""

from __future__ import annotations

from datetime import datetime

from linnet.api import conditions as kinds
from linnet.api.conditions import Condition
from linnet.api.conditions import Status as Truth
from linnet.api.drift_policy import CheckOutcome, DriftPolicyStatus, LastCheck
from linnet.api.reasons import Reason
from linnet.api.shared import format_time
from linnet.core import statements
from linnet.core.drift import facts, policy
from linnet.core.drift.state import Observation
from linnet.core.plan import Finding

Status = DriftPolicyStatus

_say = statements.say

NOT_JUDGED = "no check has judged a window yet"


def conditions(seen: Observation, status: Status, now: datetime) -> tuple[Condition, ...]:
    """All conditions of this pass, without their transition times."""
    found = (
        _ready(seen, status, now),
        _drifted(status),
        _retraining(seen, status, now),
        _stalled(seen, status),
    )
    return statements.judged_from(seen.generation, found)


def cannot_check(seen: Observation) -> Finding | None:
    """What a check lacks before it can be made, or None."""
    name = seen.spec.model_deployment_ref.name
    deployment = seen.deployment
    if deployment is None:
        return Finding(
            Reason.DEPLOYMENT_NOT_FOUND,
            f"`spec.modelDeploymentRef` names '{name}', and namespace '{seen.namespace}' has no "
            "such ModelDeployment: checks begin when it is there",
        )
    if not deployment.champion:
        return Finding(
            Reason.REFERENCE_MISSING,
            f"deployment '{name}' has no champion yet: checks begin when a version serves",
        )
    if seen.version is not None:
        return None
    if seen.registry_error:
        return Finding(
            Reason.SOURCE_UNAVAILABLE,
            "the registry does not answer, checks begin when it does: " + seen.registry_error,
        )
    return Finding(
        Reason.REFERENCE_MISSING,
        f"version {deployment.champion} of '{deployment.model}' is not in the registry: its "
        "profile is what windows are compared with",
    )


def _ready(seen: Observation, status: Status, now: datetime) -> Condition:
    def say(truth: Truth, reason: Reason | str, message: str) -> Condition:
        return _say(kinds.READY, truth, reason, message)

    if seen.spec.suspend:
        return say(Truth.FALSE, Reason.SUSPENDED, "`spec.suspend` is true: no check is started")
    lacking = cannot_check(seen)
    # A registry that is away for a while takes nothing from a window that was judged.
    if lacking is not None and (status.last_check is None or not seen.registry_error):
        return say(Truth.FALSE, lacking.reason, lacking.message)
    slots = policy.slots(seen, status, now)
    running = facts.job_in_flight(seen, status)
    if running and slots.due is not None:
        due = format_time(slots.due)
        return say(
            Truth.FALSE, Reason.CHECK_LATE, f"check {running} still runs, the one of {due} waits"
        )
    if slots.missed is not None:
        return say(
            Truth.FALSE,
            Reason.CHECK_LATE,
            f"the check of {format_time(slots.missed)} was missed for longer than "
            f"`spec.startingDeadlineSeconds` ({seen.spec.starting_deadline_seconds} s): the next "
            "slot is checked",
        )
    last = status.last_check
    if last is None:
        if running:
            return say(Truth.UNKNOWN, Reason.CHECKING, f"check {running} runs")
        first = f" at {format_time(slots.following)}" if slots.following is not None else ""
        return say(Truth.UNKNOWN, Reason.WAITING_FOR_FIRST_CHECK, f"the first check is due{first}")
    said = last.message or last.outcome.value
    if last.outcome in (CheckOutcome.WITHIN, CheckOutcome.DRIFTED):
        return say(Truth.TRUE, Reason.MONITORING, said)
    return say(Truth.FALSE, last.reason or Reason.CHECK_FAILED, said)


def _drifted(status: Status) -> Condition:
    last = status.last_check
    if last is None:
        return _say(kinds.DRIFTED, Truth.UNKNOWN, Reason.NOT_JUDGED_YET, NOT_JUDGED)
    said = last.message or last.outcome.value
    match last.outcome:
        case CheckOutcome.DRIFTED:
            return _say(kinds.DRIFTED, Truth.TRUE, last.reason or Reason.FEATURE_DRIFT, said)
        case CheckOutcome.WITHIN:
            return _say(kinds.DRIFTED, Truth.FALSE, Reason.WITHIN_THRESHOLD, said)
        case CheckOutcome.TOO_FEW_SAMPLES:
            return _say(kinds.DRIFTED, Truth.UNKNOWN, Reason.TOO_FEW_SAMPLES, said)
        case CheckOutcome.INSUFFICIENT_REFERENCE:
            return _say(kinds.DRIFTED, Truth.UNKNOWN, Reason.INSUFFICIENT_REFERENCE, said)
        case CheckOutcome.ERROR:
            return _say(kinds.DRIFTED, Truth.UNKNOWN, Reason.NOT_JUDGED_YET, _failed(last))


def _failed(last: LastCheck) -> str:
    return f"the last check failed: {last.message or last.reason or 'see its log'}"


def _retraining(seen: Observation, status: Status, now: datetime) -> Condition:
    blocked = policy.block(seen, status, now)
    if blocked is None:
        return _say(kinds.RETRAINING, Truth.FALSE, Reason.NOT_NEEDED, "a retraining starts next")
    truth = Truth.TRUE if blocked.reason is Reason.JOB_RUNNING else Truth.FALSE
    return _say(kinds.RETRAINING, truth, blocked.reason, blocked.message)


def _stalled(seen: Observation, status: Status) -> Condition | None:
    if seen.problems:
        child, message = next(iter(sorted(seen.problems.items())))
        return _say(
            kinds.STALLED, Truth.TRUE, Reason.INVALID_TEMPLATE,
            f"the API server refuses {child}: {message}. Correct `spec.template` or "
            "`spec.retrain.template`",
        )  # fmt: skip
    found = policy.problem(seen, status)
    return _say(kinds.STALLED, Truth.TRUE, found.reason, found.message) if found else None
