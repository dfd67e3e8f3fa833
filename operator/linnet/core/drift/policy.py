"""When a check is due, and whether a drift that was found leads to a retraining.

Each check of the chain says why there is no retraining just now; the first that holds counts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from linnet.api.drift_policy import (
    CheckEntry,
    CheckOutcome,
    DriftPolicyStatus,
    Retrain,
    RetrainMode,
    RetrainStatus,
)
from linnet.api.reasons import Reason
from linnet.api.shared import format_time, parse_duration, parse_time
from linnet.core.drift import resources
from linnet.core.drift.schedule import Schedule
from linnet.core.drift.state import Observation
from linnet.core.plan import Finding

Status = DriftPolicyStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """The schedule seen from now."""

    due: datetime | None = None
    """The newest slot that has passed without a check and may still be caught up."""
    missed: datetime | None = None
    """The newest slot that has passed and may not be caught up any more."""
    following: datetime | None = None
    """The next slot."""


def schedule(seen: Observation) -> Schedule:
    """The schedule of the spec; raises ValueError with a sentence."""
    return Schedule(seen.spec.schedule, seen.spec.time_zone)


def slots(seen: Observation, status: Status, now: datetime) -> Slots:
    """What the schedule asks for; nothing while it is suspended or cannot be read."""
    try:
        asked = schedule(seen)
    except ValueError:
        return Slots()
    if seen.spec.suspend:
        return Slots()
    last = parse_time(status.last_schedule_time) if status.last_schedule_time else seen.created
    found = asked.latest(after=last, until=now)
    following = asked.following(now)
    if found is None:
        return Slots(following=following)
    deadline = timedelta(seconds=seen.spec.starting_deadline_seconds)
    if now - found > deadline:
        return Slots(missed=found, following=following)
    return Slots(due=found, following=following)


def problem(seen: Observation, status: Status) -> Finding | None:
    """What a person must mend before all of the policy works, checks going on meanwhile."""
    try:
        schedule(seen)
    except ValueError as error:
        return Finding(Reason.INVALID_SCHEDULE, str(error), stalled=True)
    if seen.spec.retrain is None:
        return None
    return _mismatch(seen, seen.spec.retrain) or _failures(seen, seen.spec.retrain, status)


def _mismatch(seen: Observation, retrain: Retrain) -> Finding | None:
    wanted, deployment = retrain.template.spec.model, seen.deployment
    if deployment is None:
        return None
    if wanted.name != deployment.model:
        return Finding(
            Reason.MODEL_MISMATCH,
            f"`spec.retrain.template.spec.model.name` is '{wanted.name}', but deployment "
            f"'{seen.spec.model_deployment_ref.name}' serves '{deployment.model}': they must be "
            "the same",
            stalled=True,
        )
    if deployment.alias and wanted.alias != deployment.alias:
        return Finding(
            Reason.ALIAS_MISMATCH,
            f"`spec.retrain.template.spec.model.alias` is '{wanted.alias}', but deployment "
            f"'{seen.spec.model_deployment_ref.name}' follows '{deployment.alias}': they must be "
            "the same",
            stalled=True,
        )
    return None


def _failures(seen: Observation, retrain: Retrain, status: Status) -> Finding | None:
    done = status.retrain
    if done is None or (done.failures or 0) < retrain.max_failures:
        return None
    return Finding(
        Reason.RETRAINING_FAILED,
        f"{done.failures} retrainings in a row have failed, the last, {done.last_job}, with "
        f"{done.last_outcome}: see kubectl describe tjob/{done.last_job} -n {seen.namespace}. "
        "To go on: " + resume_command(seen),
        stalled=True,
    )


def resume_command(seen: Observation) -> str:
    """What a person types to let retraining go on."""
    return (
        f"kubectl annotate drift/{seen.name} -n {seen.namespace} --overwrite "
        "linnet.dev/request=resume@$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    )


def apart(entries: tuple[CheckEntry, ...]) -> tuple[CheckEntry, ...]:
    """The judged windows, newest first, that do not overlap a newer one of them."""
    judged = [
        each
        for each in entries
        if each.outcome in (CheckOutcome.WITHIN, CheckOutcome.DRIFTED)
        and each.window is not None
        and each.window.from_ is not None
        and each.window.until is not None
    ]
    kept: list[CheckEntry] = []
    begins: datetime | None = None
    for entry in sorted(judged, key=_end, reverse=True):
        if begins is None or _end(entry) <= begins:
            kept.append(entry)
            begins = _begin(entry)
    return tuple(kept)


def _begin(entry: CheckEntry) -> datetime:
    return parse_time((entry.window.from_ if entry.window is not None else None) or "")


def _end(entry: CheckEntry) -> datetime:
    return parse_time((entry.window.until if entry.window is not None else None) or "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Why no retraining is started now, in words that do not change while it lasts."""

    reason: Reason
    message: str
    until: datetime | None = None
    """When the cause ends by itself, where a time is known."""


Check = Callable[[Observation, Retrain, Status, datetime], Block | None]


def is_in_flight(
    seen: Observation, retrain: Retrain, status: Status, now: datetime
) -> Block | None:
    name = _record(status).in_flight
    return Block(reason=Reason.JOB_RUNNING, message=f"TrainingJob {name} runs") if name else None


def is_breached(seen: Observation, retrain: Retrain, status: Status, now: datetime) -> Block | None:
    """Enough windows that do not overlap have drifted, the newest among them."""
    when = retrain.when
    counted = apart(status.checks or ())[: when.of]
    drifted = sum(1 for each in counted if each.outcome is CheckOutcome.DRIFTED)
    if not counted or counted[0].outcome is not CheckOutcome.DRIFTED:
        return Block(reason=Reason.NOT_NEEDED, message="the newest judged window has not drifted")
    if drifted < when.breaches:
        return Block(
            reason=Reason.WAITING_FOR_BREACHES,
            message=f"{drifted} of the last {len(counted)} windows that do not overlap drifted; "
            f"a retraining needs {when.breaches} of {when.of}",
        )
    return None


def is_of_the_champion(
    seen: Observation, retrain: Retrain, status: Status, now: datetime
) -> Block | None:
    """The breaches are those of the version that serves."""
    judged = status.reference.version if status.reference is not None else None
    champion = seen.deployment.champion if seen.deployment is not None else ""
    if champion and judged == champion:
        return None
    return Block(
        reason=Reason.NOT_NEEDED,
        message=f"the checks judged version {judged}, and version {champion or 'none'} serves: "
        "the next check judges that",
    )


def is_new(seen: Observation, retrain: Retrain, status: Status, now: datetime) -> Block | None:
    """The window was not trained on before."""
    name = resources.retraining_name(seen, retrain.template, window_end(status))
    if name != _record(status).last_job and name not in seen.trainings:
        return None
    return Block(
        reason=Reason.NOT_NEEDED,
        message=f"the newest judged window was trained on before: TrainingJob {name}",
    )


def is_wanted(seen: Observation, retrain: Retrain, status: Status, now: datetime) -> Block | None:
    """Nothing asks for a person first."""
    found = problem(seen, status)
    return Block(reason=found.reason, message=found.message) if found is not None else None


def is_settled(seen: Observation, retrain: Retrain, status: Status, now: datetime) -> Block | None:
    """The deployment does not roll out."""
    if seen.deployment is None or not seen.deployment.rolling_out:
        return None
    return Block(
        reason=Reason.ROLLOUT_IN_PROGRESS,
        message=f"deployment '{seen.spec.model_deployment_ref.name}' is rolling a version out",
    )


def is_cool(seen: Observation, retrain: Retrain, status: Status, now: datetime) -> Block | None:
    """The last retraining and the last promotion are long enough ago."""
    promoted = seen.deployment.promoted if seen.deployment is not None else None
    started = _record(status).last_start_time
    moments = [each for each in (promoted, parse_time(started) if started else None) if each]
    until = max(moments, default=None)
    if until is None or until + parse_duration(retrain.cooldown) <= now:
        return None
    until += parse_duration(retrain.cooldown)
    return Block(
        reason=Reason.COOLDOWN,
        message=f"`spec.retrain.cooldown` of {retrain.cooldown} ends at {format_time(until)}",
        until=until,
    )


def counted(seen: Observation, retrain: Retrain, now: datetime) -> list[datetime]:
    """When the retrainings that count against the budget were started, oldest first."""
    per = parse_duration(retrain.budget.per)
    return sorted(each.created for each in seen.trainings.values() if each.created + per > now)


def is_affordable(
    seen: Observation, retrain: Retrain, status: Status, now: datetime
) -> Block | None:
    """The budget is not spent."""
    starts = counted(seen, retrain, now)
    if len(starts) < retrain.budget.jobs:
        return None
    until = starts[-retrain.budget.jobs] + parse_duration(retrain.budget.per)
    return Block(
        reason=Reason.BUDGET_SPENT,
        message=f"{len(starts)} retrainings were started in {retrain.budget.per}, as many as "
        f"`spec.retrain.budget.jobs` allows; the next may start at {format_time(until)}",
        until=until,
    )


def has_new_samples(
    seen: Observation, retrain: Retrain, status: Status, now: datetime
) -> Block | None:
    """Enough rows have come since the champion was trained."""
    new = (status.last_check.new_samples if status.last_check is not None else 0) or 0
    if new >= retrain.min_new_samples:
        return None
    return Block(
        reason=Reason.TOO_FEW_NEW_SAMPLES,
        message=f"{new} rows are newer than the champion's training; "
        f"`spec.retrain.minNewSamples` asks for {retrain.min_new_samples}",
    )


def is_automatic(
    seen: Observation, retrain: Retrain, status: Status, now: datetime
) -> Block | None:
    """The policy may start it by itself."""
    if retrain.mode is RetrainMode.AUTOMATIC:
        return None
    return Block(
        reason=Reason.SUGGESTED,
        message=f"a retraining until {window_end(status)} is suggested: set `spec.retrain.mode` to "
        "'Automatic' to let it start, or create a TrainingJob from `spec.retrain.template`",
    )


CHECKS: tuple[Check, ...] = (
    is_in_flight,  # one at a time
    is_breached,  # one window by chance is no reason
    is_of_the_champion,  # the reference moves along with the champion
    is_new,  # a repeated check starts nothing twice
    is_wanted,  # failed retrainings are not repeated for ever
    is_settled,  # a rollout is judged against a champion that stays
    is_cool,  # what was promoted gets time to be judged
    is_affordable,  # a budget bounds what a broken signal can cost
    has_new_samples,  # the same rows make the same model
    is_automatic,  # a person may want to decide
)


def block(seen: Observation, status: Status, now: datetime) -> Block | None:
    """Why no retraining is started now; None where one is to be started."""
    retrain = seen.spec.retrain
    if retrain is None:
        return Block(reason=Reason.NOT_ASKED, message="`spec.retrain` is not set: reports only")
    found = (check(seen, retrain, status, now) for check in CHECKS)
    return next((each for each in found if each is not None), None)


def window_end(status: Status) -> str:
    """End of the newest judged window."""
    counted = apart(status.checks or ())
    return format_time(_end(counted[0])) if counted else ""


def _record(status: Status) -> RetrainStatus:
    return status.retrain or RetrainStatus()
