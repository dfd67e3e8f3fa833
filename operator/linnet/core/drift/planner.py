"""What to do next about one DriftPolicy: `decide`, from one observation and a clock reading.

The safety argument. A check's slot is recorded before its Job is made, under a name that follows
from the slot; so a repeated pass finds the Job, and a slot is checked once. Its result is recorded
once, by the name of the Job. A retraining is recorded, by the name of its TrainingJob, before that
is made; the name follows from the window that was judged and from the template, so the same drift
never trains twice. A TrainingJob that was seen and is gone was deleted by a person: it is not made
again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from linnet_monitor import contract

from linnet.api.drift_policy import (
    CheckEntry,
    CheckOutcome,
    ColumnStatus,
    ConcurrencyPolicy,
    DriftPolicyStatus,
    LastCheck,
    ReferenceStatus,
    RetrainStatus,
    SignalStatus,
    TimeRange,
)
from linnet.api.reasons import Reason
from linnet.api.requests import Request, RequestVerb
from linnet.api.shared import RequestOutcome, RequestStatus, format_time
from linnet.core import admission, answers, jobs, statements
from linnet.core.drift import facts, judgement, policy, resources
from linnet.core.drift.state import Observation
from linnet.core.plan import Action, CreateObject, DeleteObject, Event, Finding, Plan

Status = DriftPolicyStatus
Transition = Callable[[Observation, Status, datetime], Status]

FACTS = (
    "request", "last_schedule_time", "last_check_time", "last_check", "signals", "columns",
    "checks", "reference", "retrain",
)  # fmt: skip
"""The fields of status that are recorded before they are acted upon."""
CHECKS = 20
KEPT_JOBS = 3
"""Ended checks whose Job and pods stay, so that their logs can be read."""
RETRY = timedelta(seconds=15)
MINUTE = timedelta(minutes=1)


def decide(seen: Observation, *, now: datetime) -> Plan[Status]:
    """What to record, or what to perform, and when to look again."""
    finding = admission.finding(seen)
    if finding is not None:
        return _stand_still(seen, finding)
    recorded = record(seen, now)
    status = _observed(seen, recorded, now)
    conditions = judgement.conditions(seen, status, now)
    if _facts(recorded) != _facts(seen.status):
        return Plan(
            status=status,
            records=True,
            conditions=conditions,
            events=_events(seen.status, status),
        )
    return Plan(
        status=status,
        actions=actions(seen, status),
        conditions=conditions,
        requeue_after=_requeue(seen, status, now),
    )


def _facts(status: Status) -> tuple[object, ...]:
    return tuple(getattr(status, name) for name in FACTS)


def _stand_still(seen: Observation, finding: Finding) -> Plan[Status]:
    status = _update(seen.status, observed_generation=seen.generation, operator=seen.identity)
    return Plan(
        status=status,
        conditions=statements.stalled(
            resources.KIND, seen.status.conditions, finding, seen.generation
        ),
    )


def _observed(seen: Observation, status: Status, now: datetime) -> Status:
    """Status with everything that is read anew in every pass."""
    following = policy.slots(seen, status, now).following
    return _update(
        status,
        observed_generation=seen.generation,
        operator=seen.identity,
        target=seen.spec.model_deployment_ref.name,
        next_schedule_time=format_time(following) if following is not None else None,
    )


def record(seen: Observation, now: datetime) -> Status:
    """The facts after this observation: the first transition that applies."""
    for transition in TRANSITIONS:
        after = transition(seen, seen.status, now)
        if after is not seen.status:
            return after
    return seen.status


def _update(status: Status, **changes: object) -> Status:
    return status.model_copy(update=changes)


# -- checks --------------------------------------------------------------------------------------


def finish_check(seen: Observation, status: Status, now: datetime) -> Status:
    """Record what a check found once its Job is over, or why it found nothing."""
    name, slot = facts.job_in_flight(seen, status), facts.current_slot(status)
    check = facts.view(seen, name)
    if not name or slot is None or not facts.is_over(check):
        return status
    found = facts.document(seen, check, slot)
    if found is not None:
        return _finished(status, name, found, now)
    if not seen.run_read:
        # The durable copy lies in the run's tag: wait for it rather than lose a finished check.
        return status
    words = jobs.last_words(check.pods) or "see the log of its pod"
    return _update(
        status,
        last_check_time=format_time(now),
        last_check=LastCheck(
            job_name=name,
            outcome=CheckOutcome.ERROR,
            reason=Reason.CHECK_FAILED.value,
            message=f"the check left no result: {words}",
        ),
        signals=None,
        columns=None,
    )


def _finished(status: Status, name: str, found: contract.Check, now: datetime) -> Status:
    outcome, reference = CheckOutcome(found.outcome.value), found.reference
    window = _window(found.window)
    last = LastCheck(
        job_name=name,
        window=window,
        rows=found.rows,
        reference_version=reference.version or None,
        outcome=outcome,
        reason=found.reason.value,
        score=found.score or None,
        rank=found.rank or None,
        windows=reference.windows or None,
        p_value=found.p_value or None,
        report_url=found.report_url or None,
        run_id=found.run_id or None,
        message=found.message,
        new_samples=found.new_samples,
    )
    changes: dict[str, object] = {
        "last_check_time": format_time(now),
        "last_check": last,
        "signals": _signals(found),
        "columns": _columns(found),
    }
    if reference.version:
        changes["reference"] = ReferenceStatus(
            version=reference.version,
            digest=reference.digest or None,
            from_=reference.start or None,
            until=reference.until or None,
            windows=reference.windows or None,
        )
    if window is not None:
        changes["checks"] = _counted(
            status, CheckEntry(window=window, outcome=outcome, score=last.score), reference.version
        )
    return _update(status, **changes)


def _window(found: contract.Window) -> TimeRange | None:
    return TimeRange(from_=found.start, until=found.until) if found.start and found.until else None


def _signals(found: contract.Check) -> tuple[SignalStatus, ...]:
    return tuple(
        SignalStatus(
            name=each.name,
            breached=each.breached,
            statistic=each.statistic or None,
            threshold=each.threshold or None,
            n=each.n,
            message=each.message or None,
        )
        for each in found.signals
    )


def _columns(found: contract.Check) -> tuple[ColumnStatus, ...]:
    return tuple(
        ColumnStatus(
            column=each.column,
            signal=each.signal,
            method=each.method,
            statistic=each.statistic,
            threshold=each.threshold,
            n_reference=each.n_reference,
            n_current=each.n_current,
        )
        for each in found.columns
    )


def _counted(status: Status, entry: CheckEntry, version: str) -> tuple[CheckEntry, ...]:
    """The newest checks against one reference; a window that is judged again counts once."""
    judged = status.reference.version if status.reference is not None else None
    before = (status.checks or ()) if judged == version else ()
    return (entry, *(each for each in before if each.window != entry.window))[:CHECKS]


def answer_request(seen: Observation, status: Status, now: datetime) -> Status:
    """Answer the annotation `linnet.dev/request`, once per time that it carries."""
    asked = answers.due(seen.request_annotation, resources.KIND, last=status.request, now=now)
    if asked is None:
        return _start_pending(seen, status, now)
    if isinstance(asked, RequestStatus):
        return _update(status, request=asked)
    if asked.verb is RequestVerb.RESUME:
        return _resume(status, asked)
    waits = _waits(seen, status, now)
    if waits:
        pending = answers.answer(asked, RequestOutcome.PENDING, waits)
        return _update(status, request=pending)
    done = answers.answer(asked, RequestOutcome.DONE, "the check is started")
    return _update(_started(status, now), request=done)


def _resume(status: Status, asked: Request) -> Status:
    before = status.retrain or RetrainStatus()
    if not before.failures:
        said = answers.answer(asked, RequestOutcome.DONE, "no retraining has failed")
        return _update(status, request=said)
    said = answers.answer(asked, RequestOutcome.DONE, "failed retrainings are forgotten")
    return _update(status, request=said, retrain=before.model_copy(update={"failures": 0}))


def _start_pending(seen: Observation, status: Status, now: datetime) -> Status:
    asked = status.request
    if asked is None or asked.outcome is not RequestOutcome.PENDING:
        return status
    if _waits(seen, status, now):
        return status
    done = asked.model_copy(
        update={"outcome": RequestOutcome.DONE, "message": "the check is started"}
    )
    return _update(_started(status, now), request=done)


def _waits(seen: Observation, status: Status, now: datetime) -> str:
    """What a check that is asked for waits for, or nothing."""
    reason = judgement.cannot_check(seen)
    if reason is not None:
        return reason.message
    running = facts.job_in_flight(seen, status)
    if running and seen.spec.concurrency_policy is ConcurrencyPolicy.FORBID:
        return f"check {running} still runs"
    slot = facts.current_slot(status)
    if slot is not None and _minute(now) <= slot:
        return "a check of this minute was made: the next one starts with the next minute"
    return ""


def _minute(time: datetime) -> datetime:
    return time.replace(second=0, microsecond=0)


def _started(status: Status, slot: datetime) -> Status:
    return _update(status, last_schedule_time=format_time(_minute(slot)))


def start_check(seen: Observation, status: Status, now: datetime) -> Status:
    """Record the slot whose check is to be made: the newest that is due, and no older one."""
    due = policy.slots(seen, status, now).due
    if due is None or judgement.cannot_check(seen) is not None:
        return status
    running = facts.job_in_flight(seen, status)
    if running and seen.spec.concurrency_policy is ConcurrencyPolicy.FORBID:
        return status
    return _started(status, due)


# -- retraining ----------------------------------------------------------------------------------


def finish_retraining(seen: Observation, status: Status, now: datetime) -> Status:
    """Record that the TrainingJob was seen, and how it ended."""
    before = status.retrain
    if before is None or not before.in_flight:
        return status
    found = seen.trainings.get(before.in_flight)
    if found is None:
        if before.last_outcome != Reason.JOB_RUNNING.value:
            return status  # it was not made yet
        return _retrain(status, in_flight=None, last_outcome="Deleted")
    if not found.reason:
        if before.last_outcome == Reason.JOB_RUNNING.value:
            return status
        return _retrain(status, last_outcome=Reason.JOB_RUNNING.value)
    failures = 0 if found.passed else (before.failures or 0) + 1
    return _retrain(status, in_flight=None, last_outcome=found.reason, failures=failures)


def start_retraining(seen: Observation, status: Status, now: datetime) -> Status:
    """Record the retraining that is to be made, or what keeps a drift from leading to one."""
    retrain = seen.spec.retrain
    if retrain is None:
        return status if status.retrain is None else _update(status, retrain=None)
    blocked = policy.block(seen, status, now)
    if blocked is None:
        end = policy.window_end(status)
        name = resources.retraining_name(seen, retrain.template, end)
        return _retrain(
            status,
            in_flight=name,
            last_job=name,
            last_start_time=format_time(now),
            last_outcome=None,
            started_in_period=len(policy.counted(seen, retrain, now)) + 1,
            suggestion=None,
            blocked_by=None,
        )
    suggested = blocked.reason is Reason.SUGGESTED
    told = blocked.reason not in (Reason.NOT_NEEDED, Reason.JOB_RUNNING)
    return _retrain(
        status,
        suggestion=blocked.message if suggested else None,
        blocked_by=blocked.reason.value if told else None,
    )


def _retrain(status: Status, **changes: object) -> Status:
    before = status.retrain or RetrainStatus()
    after = before.model_copy(update=changes)
    return status if after == before else _update(status, retrain=after)


TRANSITIONS: Sequence[Transition] = (
    answer_request,
    finish_check,
    start_check,
    finish_retraining,
    start_retraining,
)


# -- actions -------------------------------------------------------------------------------------


def actions(seen: Observation, status: Status) -> tuple[Action, ...]:
    """Everything to do now; empty in a settled state."""
    return (*_make_check(seen, status), *_make_retraining(seen, status), *_tidy(seen, status))


def _make_check(seen: Observation, status: Status) -> list[Action]:
    name, slot = facts.job_in_flight(seen, status), facts.current_slot(status)
    check = facts.view(seen, name)
    if not name or slot is None or facts.is_over(check):
        return []
    work: list[Action] = []
    if check.config_map is None:
        # Also beside a Job: its pod does not start without what somebody has deleted.
        if seen.deployment is None or seen.version is None:
            return []
        spec = resources.rendered_spec(seen, seen.deployment, seen.version, slot)
        work.append(CreateObject(manifest=resources.make_config_map(seen, spec, slot)))
    if check.job is None:
        work.append(CreateObject(manifest=resources.make_job(seen, slot)))
    return work


def _make_retraining(seen: Observation, status: Status) -> list[Action]:
    retrain, record = seen.spec.retrain, status.retrain
    if retrain is None or record is None or not record.in_flight:
        return []
    if record.in_flight in seen.trainings or record.last_outcome is not None:
        return []
    last = status.last_check
    manifest = resources.make_retraining(
        seen,
        retrain.template,
        name=record.in_flight,
        window_end=policy.window_end(status),
        report_url=(last.report_url if last is not None else None) or "",
    )
    return [CreateObject(manifest=manifest)]


def _tidy(seen: Observation, status: Status) -> list[Action]:
    """Delete checks that were replaced, and ended ones beyond the newest few."""
    current = facts.job_in_flight(seen, status)
    others = sorted((name for name in seen.checks if name != current), key=_number, reverse=True)
    ended = [name for name in others if seen.checks[name].job is None or _over(seen, name)]
    replaced = [name for name in others if name not in ended]
    gone = [*replaced, *ended[KEPT_JOBS:]]
    return [
        DeleteObject(kind=child["kind"], name=name, uid=child["metadata"]["uid"])
        for name in gone
        for child in (seen.checks[name].job, seen.checks[name].config_map)
        if child is not None
    ]


def _over(seen: Observation, name: str) -> bool:
    return facts.is_over(seen.checks[name])


def _number(name: str) -> int:
    tail = name.rpartition("-")[2]
    return int(tail) if tail.isdigit() else 0


def _requeue(seen: Observation, status: Status, now: datetime) -> timedelta | None:
    """When to look again without an event."""
    moments: list[datetime] = []
    slots = policy.slots(seen, status, now)
    if slots.following is not None:
        moments.append(slots.following)
    if status.request is not None and status.request.outcome is RequestOutcome.PENDING:
        moments.append(_minute(now) + MINUTE)
    blocked = policy.block(seen, status, now)
    if blocked is not None and blocked.until is not None:
        moments.append(blocked.until)
    waits_for_registry = slots.due is not None and seen.registry_error
    waits_for_run = facts.is_over(facts.view(seen, facts.job_in_flight(seen, status)))
    if waits_for_registry or (waits_for_run and not seen.run_read):
        moments.append(now + RETRY)
    return max(min(moments) - now, timedelta(0)) if moments else None


def _events(before: Status, after: Status) -> tuple[Event, ...]:
    events: list[Event] = []
    if after.last_schedule_time != before.last_schedule_time:
        events.append(Event(Reason.CHECK_STARTED, f"the check of {after.last_schedule_time}"))
    if after.last_check is not None and after.last_check != before.last_check:
        events += _check_events(before.last_check, after.last_check)
    events += _retrain_events(before.retrain or RetrainStatus(), after.retrain or RetrainStatus())
    return tuple(events)


def _check_events(before: LastCheck | None, after: LastCheck) -> list[Event]:
    failed = after.outcome is CheckOutcome.ERROR
    events = [Event(Reason.CHECK_DONE, after.message or after.outcome.value, warning=failed)]
    was = before is not None and before.outcome is CheckOutcome.DRIFTED
    now = after.outcome is CheckOutcome.DRIFTED
    if now and not was:
        events.append(Event(Reason.DRIFT_FOUND, after.message or "", warning=True))
    if was and after.outcome is CheckOutcome.WITHIN:
        events.append(Event(Reason.DRIFT_ENDED, after.message or ""))
    return events


def _retrain_events(before: RetrainStatus, after: RetrainStatus) -> list[Event]:
    if after.in_flight and after.in_flight != before.in_flight:
        return [Event(Reason.RETRAINING_STARTED, f"TrainingJob {after.in_flight} is made")]
    if before.in_flight and not after.in_flight:
        failed = (after.failures or 0) > (before.failures or 0)
        said = f"TrainingJob {before.in_flight}: {after.last_outcome}"
        return [Event(Reason.RETRAINING_ENDED, said, warning=failed)]
    if after.suggestion and after.suggestion != before.suggestion:
        return [Event(Reason.RETRAINING_SUGGESTED, after.suggestion)]
    if after.blocked_by and after.blocked_by != before.blocked_by:
        return [Event(Reason.RETRAINING_BLOCKED, f"no retraining: {after.blocked_by}")]
    return []
