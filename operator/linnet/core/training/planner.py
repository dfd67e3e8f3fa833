"""What to do next about one TrainingJob: `decide`, from one observation and a clock reading.

The safety argument. A Job is created once, under a name that follows from the recipe, after its
name was recorded; a repeated creation finds it. The trainer registers at most one version for this
object (it looks for the tag with this uid first), so a repeated pod makes no second one. The
result is recorded once, and from then on nothing is trained: finished is a recorded fact. The
alias is a recorded decision, moved once, only to a higher version, and never written again after
it was seen to be moved.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from linnet_trainer import contract
from pydantic import BaseModel

from linnet.api.reasons import Reason
from linnet.api.shared import format_time
from linnet.api.training_job import (
    AliasStatus,
    Cause,
    Dataset,
    GateStatus,
    Metric,
    Progress,
    ProgressStage,
    Result,
    ResultOutcome,
    Run,
    SearchStatus,
    TrainingJobStatus,
)
from linnet.core import admission, jobs, names, statements
from linnet.core.plan import (
    Action,
    ApplyObject,
    CloseRun,
    CreateObject,
    Event,
    Finding,
    PatchObject,
    Plan,
    SetAlias,
)
from linnet.core.subset import covers
from linnet.core.training import custom, judgement, links, policy, resources
from linnet.core.training.state import Observation

Status = TrainingJobStatus
ToldT = TypeVar("ToldT", bound=BaseModel)
Transition = Callable[[Observation, Status, datetime], Status]

FACTS = ("spec_hash", "job_name", "start_time", "completion_time", "result", "version", "alias")
"""The fields of status that are recorded before they are acted upon."""
POLL = timedelta(seconds=5)
"""How soon to look at the run's progress again; no event tells of it."""
RETRY = timedelta(seconds=15)


def decide(seen: Observation, *, now: datetime) -> Plan[Status]:
    """What to record, or what to perform, and when to look again."""
    finding = admission.finding(seen)
    if finding is not None:
        return _stand_still(seen, finding)
    facts = record(seen, now)
    status = observe(seen, facts)
    conditions = judgement.conditions(seen, status)
    if _facts(facts) != _facts(seen.status):
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
        requeue_after=_requeue(seen, status),
    )


def _facts(status: Status) -> tuple[object, ...]:
    return tuple(getattr(status, name) for name in FACTS)


def _stand_still(seen: Observation, finding: Finding) -> Plan[Status]:
    status = _reported(seen, seen.status)
    return Plan(
        status=status,
        conditions=statements.stalled(
            "TrainingJob", seen.status.conditions, finding, seen.generation
        ),
    )


def _reported(seen: Observation, status: Status) -> Status:
    return status.model_copy(
        update={"observed_generation": seen.generation, "operator": seen.identity}
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


def adopt_finished_run(seen: Observation, status: Status, now: datetime) -> Status:
    """Take over a finished run of this name and recipe before another is started."""
    if status.job_name is not None or status.result is not None:
        return status
    full_hash = resources.spec_hash(seen)
    found = policy.document(seen, full_hash, adopt=True)
    if found is None or _unproven(seen, found) or policy.doubt(seen, found) is not None:
        return status
    return _finished(_update(status, spec_hash=full_hash), found, now)


def choose_job(seen: Observation, status: Status, now: datetime) -> Status:
    """Name the Job that is to be made; the registry must answer, since the trainer needs it."""
    if status.job_name is not None or status.result is not None or seen.registry_error:
        return status
    full_hash = resources.spec_hash(seen)
    return _update(
        status,
        spec_hash=full_hash,
        job_name=names.training(seen.name, full_hash),
        start_time=format_time(now),
    )


def finish(seen: Observation, status: Status, now: datetime) -> Status:
    """Record the result once the Job is over, or what was wrong when it left none."""
    if status.result is not None or status.spec_hash is None:
        return status
    if seen.job is not None and not jobs.is_over(seen.job):
        return status
    # Without a Job: over and removed by its TTL while nobody looked, or not made yet.
    found = policy.document(seen, status.spec_hash)
    if found is None and (seen.job is None or seen.registry_error):
        # The durable copy lies in the run's tag: wait for it rather than lose a finished training.
        return status
    if found is None:
        return _failed(seen, status, policy.failure(seen), now)
    if _unproven(seen, found):
        return status
    doubt = policy.doubt(seen, found)
    return _finished(status, found, now) if doubt is None else _failed(seen, status, doubt, now)


def _unproven(seen: Observation, found: contract.Result) -> bool:
    """Whether what a program of the user's claims waits for the registry to be read."""
    return custom.claims(seen, found) and not seen.model_read


def _failed(seen: Observation, status: Status, finding: Finding, now: datetime) -> Status:
    """Over without a result of its own."""
    assert status.spec_hash is not None
    result = Result(
        v=1,
        spec_hash=status.spec_hash,
        job_uid=seen.uid,
        outcome=ResultOutcome.ERROR,
        reason=finding.reason.value,
        message=finding.message,
        run_id=seen.run.run_id if seen.run is not None else None,
    )
    return _update(status, result=result, completion_time=format_time(now))


def _finished(status: Status, found: contract.Result, now: datetime) -> Status:
    result = Result(
        v=1,
        spec_hash=found.spec_hash,
        job_uid=found.job_uid,
        run_id=found.run_id or None,
        model_id=found.model_id or None,
        version=found.version or None,
        outcome=ResultOutcome(found.outcome.value),
        reason=found.reason.value,
        message=found.message,
        metrics=tuple(Metric(name=each.name, value=each.value) for each in found.metrics),
        gates=tuple(
            GateStatus(
                name=gate.name,
                passed=gate.passed,
                reason=gate.reason.value,
                value=gate.value or None,
                bound=gate.bound or None,
                n=gate.n,
                message=gate.message or None,
            )
            for gate in found.gates
        ),
        rows=found.rows or None,
        trained_until=found.trained_until or None,
        content_digest=found.content_digest or None,
        data_sha256=found.data_sha256 or None,
    )
    return _update(
        status,
        result=result,
        version=result.version,
        completion_time=format_time(now),
    )


def decide_alias(seen: Observation, status: Status, now: datetime) -> Status:
    """Record that the alias moves to the new version, or that a newer one holds it."""
    alias = seen.spec.model.alias
    if status.version is None or status.alias is not None or not alias or not seen.model_read:
        return status
    newer = judgement.newer_holder(seen, status.version)
    return _update(status, alias=AliasStatus(name=alias, version=newer or status.version))


def finish_alias(seen: Observation, status: Status, now: datetime) -> Status:
    """Record that the alias was moved: from here on it is never written again."""
    decided = status.alias
    if decided is None or decided.moved_time is not None or seen.model is None:
        return status
    if judgement.yielded(status):
        return status
    newer = judgement.newer_holder(seen, decided.version)
    if newer is not None:
        # Somebody was faster between the decision and the write, or after a lost answer.
        return _update(status, alias=AliasStatus(name=decided.name, version=newer))
    if seen.model.aliases.get(decided.name) != decided.version:
        return status
    moved = decided.model_copy(update={"moved_time": format_time(now)})
    return _update(status, alias=moved)


TRANSITIONS: Sequence[Transition] = (
    adopt_finished_run,
    choose_job,
    finish,
    decide_alias,
    finish_alias,
)


def observe(seen: Observation, status: Status) -> Status:
    """Status with everything that is read anew in every pass."""
    status = _reported(seen, status)
    changes: dict[str, object] = {}
    if seen.pods:
        changes["attempts"] = sum(
            1 for pod in seen.pods if pod.exit_code not in (None, int(contract.Exit.RESULT))
        )
    if seen.run is not None:
        changes["run"] = Run(
            id=seen.run.run_id,
            experiment_id=seen.run.experiment_id,
            url=links.run(seen.run, seen.settings.tracking_link),
        )
        changes["dataset"] = _told(seen, contract.TAG_DATASET, Dataset) or status.dataset
        changes["search"] = _told(seen, contract.TAG_SEARCH, SearchStatus) or status.search
        changes["llm"] = links.language_models(seen.run, seen.settings.tracking_link) or status.llm
    changes["progress"] = _progress(seen, status)
    changes["cause"] = _cause(seen) or status.cause
    if status.result is not None:
        changes["metrics"] = status.result.metrics
        changes["gates"] = status.result.gates
    if status.version is not None:
        changes["model_uri"] = f"models:/{seen.spec.model.name}/{status.version}"
    return _update(status, **changes)


def _progress(seen: Observation, status: Status) -> Progress | None:
    if status.result is not None:
        if status.result.outcome is not ResultOutcome.PASSED:
            return status.progress
        # Whatever was seen of it on the way: who was away meanwhile says the same in the end.
        return Progress(stage=ProgressStage.REGISTERING, percent=100)
    return _told(seen, contract.TAG_PROGRESS, Progress) or status.progress


def _told(seen: Observation, tag: str, kind: type[ToldT]) -> ToldT | None:
    """What the trainer wrote into a tag of its run; None where it cannot be read."""
    text = seen.run.tags.get(tag, "") if seen.run is not None else ""
    try:
        return kind.model_validate(json.loads(text)) if text else None
    except ValueError:
        return None


def _cause(seen: Observation) -> Cause | None:
    try:
        return Cause.model_validate(json.loads(seen.cause)) if seen.cause else None
    except ValueError:
        return None


def actions(seen: Observation, status: Status) -> tuple[Action, ...]:
    """Everything to do now; empty in a settled state."""
    work: list[Action] = []
    if status.result is None and status.job_name is not None and status.spec_hash is not None:
        config_map = resources.make_config_map(seen, status.spec_hash)
        if seen.config_map is None or not covers(seen.config_map, config_map):
            work.append(ApplyObject(manifest=config_map))
        if resources.needs_service(seen.spec):
            service = resources.make_service(seen, status.spec_hash)
            if seen.service is None or not covers(seen.service, service):
                work.append(ApplyObject(manifest=service))
        # Whether a Job that is not there has already ended is told by its run: ask that first.
        if seen.job is None and not seen.registry_error:
            work.append(CreateObject(manifest=resources.make_job(seen, status.spec_hash)))
    if seen.job is not None:
        work.extend(_mutable_fields(seen))
    decided = status.alias
    if decided is not None and decided.moved_time is None and not judgement.yielded(status):
        work.append(
            SetAlias(model=seen.spec.model.name, alias=decided.name, version=decided.version)
        )
    if _run_is_abandoned(seen, status) and seen.run is not None:
        work.append(CloseRun(run_id=seen.run.run_id))
    return tuple(work)


def _run_is_abandoned(seen: Observation, status: Status) -> bool:
    """A pod that was killed leaves its run RUNNING for ever; nobody will work on it again."""
    return (
        status.result is not None
        and status.result.outcome is ResultOutcome.ERROR
        and seen.run is not None
        and seen.run.status == "RUNNING"
    )


def _mutable_fields(seen: Observation) -> list[Action]:
    """Changes of the three fields that may change, each patched into the Job alone."""
    if seen.job is None:
        return []
    live, spec = seen.job["spec"], seen.spec
    patch: dict[str, object] = {}
    over = jobs.is_over(seen.job)
    # With a queue, Kueue owns `suspend`.
    if not over and not seen.queue and bool(live.get("suspend")) != spec.suspend:
        patch["suspend"] = spec.suspend
    if not over and live.get("activeDeadlineSeconds") != spec.active_deadline_seconds:
        patch["activeDeadlineSeconds"] = spec.active_deadline_seconds
    if live.get("ttlSecondsAfterFinished") != spec.ttl_seconds_after_finished:
        patch["ttlSecondsAfterFinished"] = spec.ttl_seconds_after_finished
    if not patch:
        return []
    return [PatchObject(kind="Job", name=seen.job["metadata"]["name"], patch={"spec": patch})]


def _requeue(seen: Observation, status: Status) -> timedelta | None:
    """When to look again without an event; None for a settled object."""
    if seen.registry_error:
        return RETRY
    if status.result is None:
        return None if seen.spec.suspend and not seen.pods else POLL
    if judgement.yielded(status):
        return None
    if status.alias is not None and status.alias.moved_time is None:
        return POLL
    waiting = status.version is not None and seen.spec.model.alias and not seen.model_read
    return RETRY if waiting else None


def _events(before: Status, after: Status) -> tuple[Event, ...]:
    events: list[Event] = []
    if before.job_name is None and after.job_name is not None:
        events.append(Event(Reason.JOB_CREATED, f"Job {after.job_name} is made"))
    if before.result is None and after.result is not None:
        for gate in after.result.gates or ():
            events.append(
                Event(
                    Reason.GATE_PASSED if gate.passed else Reason.GATE_REFUSED,
                    f"{gate.name}: {gate.message or gate.value or ''}",
                    warning=not gate.passed,
                )
            )
    if (
        after.alias is not None
        and after.alias.moved_time is not None
        and (before.alias is None or before.alias.moved_time is None)
    ):
        events.append(
            Event(
                Reason.ALIAS_MOVED,
                f"alias '{after.alias.name}' names version {after.alias.version}",
            )
        )
    return tuple(events)
