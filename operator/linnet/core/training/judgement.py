"""What is said of a TrainingJob: its conditions. `Complete` is the one summary."""

from __future__ import annotations

from linnet.api import conditions as kinds
from linnet.api.conditions import Condition
from linnet.api.conditions import Status as Truth
from linnet.api.reasons import Reason
from linnet.api.training_job import GateStatus, Result, ResultOutcome, TrainingJobStatus
from linnet.core import statements
from linnet.core.training.state import Observation

Status = TrainingJobStatus

_say = statements.say


def conditions(seen: Observation, status: Status) -> tuple[Condition, ...]:
    """All conditions of this pass, without their transition times."""
    found = (
        _complete(seen, status),
        _failed(status),
        _suspended(seen, status),
        _registered(status),
        _promoted(seen, status),
        _stalled(seen, status),
    )
    return statements.judged_from(seen.generation, found)


def newer_holder(seen: Observation, version: str) -> str | None:
    """The successor of this version that the alias names already: it never moves backwards."""
    held = seen.model.aliases.get(seen.spec.model.alias) if seen.model is not None else None
    return held if held is not None and int(held) > int(version) else None


def yielded(status: Status) -> bool:
    """Whether the alias was left to a newer version, for good: what moves it later is not ours."""
    return status.alias is not None and status.alias.version != status.version


def _complete(seen: Observation, status: Status) -> Condition:
    def say(truth: Truth, reason: Reason | str, message: str) -> Condition:
        return _say(kinds.COMPLETE, truth, reason, message)

    result = status.result
    if result is None:
        return say(Truth.FALSE, *_working(seen, status))
    if result.outcome is not ResultOutcome.PASSED:
        return say(Truth.FALSE, result.reason, result.message)
    promoted = _promoted(seen, status)
    if promoted.status is Truth.UNKNOWN:
        return say(Truth.FALSE, Reason.REGISTERING, promoted.message)
    return say(Truth.TRUE, Reason.COMPLETED, result.message)


def _working(seen: Observation, status: Status) -> tuple[Reason, str]:
    """What an unfinished job does."""
    if status.job_name is None and seen.registry_error:
        return Reason.REGISTRY_UNAVAILABLE, (
            f"the registry does not answer, training starts when it does: {seen.registry_error}"
        )
    if seen.spec.suspend:
        return Reason.SUSPENDED, "`spec.suspend` is true"
    last = seen.pods[-1] if seen.pods else None
    # Of a search over pods some may wait while others try.
    runs = any(pod.phase == "Running" for pod in seen.pods)
    if last is None or (last.phase == "Pending" and not runs):
        why = f": {last.waiting}" if last is not None and last.waiting else ""
        return Reason.QUEUED, f"the trainer's pod waits{why}"
    progress = status.progress
    text = (
        f"{progress.stage.value}: {progress.message or ''}" if progress is not None else "started"
    )
    return Reason.TRAINING, text.rstrip(": ")


def _failed(status: Status) -> Condition | None:
    result = status.result
    if result is None or result.outcome is ResultOutcome.PASSED:
        return None
    return _say(kinds.FAILED, Truth.TRUE, result.reason, result.message)


def _suspended(seen: Observation, status: Status) -> Condition | None:
    running = any(pod.phase in ("Pending", "Running") for pod in seen.pods)
    if not seen.spec.suspend or running or status.result is not None:
        return None
    return _say(kinds.SUSPENDED, Truth.TRUE, Reason.SUSPENDED, "no pod runs")


def _refusal(result: Result) -> GateStatus | None:
    return next((gate for gate in result.gates or () if not gate.passed), None)


def _registered(status: Status) -> Condition:
    result = status.result
    if result is None:
        return _say(kinds.REGISTERED, Truth.UNKNOWN, Reason.NOT_REACHED, "not trained yet")
    if status.version is not None:
        return _say(
            kinds.REGISTERED, Truth.TRUE, Reason.VERSION_CREATED,
            f"version {status.version} is registered",
        )  # fmt: skip
    gate = _refusal(result)
    if gate is not None:
        return _say(
            kinds.REGISTERED, Truth.FALSE, gate.reason or Reason.CHECK_FAILED,
            gate.message or result.message,
        )  # fmt: skip
    return _say(kinds.REGISTERED, Truth.FALSE, Reason.NOT_REACHED, result.message)


def _promoted(seen: Observation, status: Status) -> Condition:
    alias, result = seen.spec.model.alias, status.result

    def say(truth: Truth, reason: Reason | str, message: str) -> Condition:
        return _say(kinds.PROMOTED, truth, reason, message)

    if result is None:
        return say(Truth.UNKNOWN, Reason.NOT_REACHED, "not trained yet")
    if status.version is None:
        gate = _refusal(result)
        reason = (gate.reason if gate is not None else None) or Reason.NOT_REACHED
        return say(Truth.FALSE, reason, (gate.message if gate else None) or result.message)
    if not alias:
        return say(Truth.FALSE, Reason.ALIAS_NOT_ASKED, "`spec.model.alias` is empty")
    if status.alias is not None and yielded(status):
        return say(
            Truth.FALSE, Reason.NEWER_VERSION_HOLDS_ALIAS,
            f"alias '{alias}' names version {status.alias.version}, which is newer than "
            f"{status.version}",
        )  # fmt: skip
    if status.alias is not None and status.alias.moved_time is not None:
        return say(
            Truth.TRUE, _why_promoted(result), f"alias '{alias}' was moved to version "
            f"{status.version}",
        )  # fmt: skip
    waiting = f": {seen.registry_error}" if seen.registry_error else ""
    return say(
        Truth.UNKNOWN, Reason.REGISTRY_UNAVAILABLE if waiting else Reason.NOT_REACHED,
        f"alias '{alias}' moves to version {status.version} next{waiting}",
    )  # fmt: skip


def _why_promoted(result: Result) -> str:
    compared = [
        gate.reason
        for gate in result.gates or ()
        if gate.reason in (Reason.NOT_WORSE_THAN_CHAMPION.value, Reason.NO_CHAMPION.value)
    ]
    return compared[0] if compared and compared[0] else Reason.ALIAS_SET.value


def _stalled(seen: Observation, status: Status) -> Condition | None:
    if seen.problems:
        child, message = next(iter(sorted(seen.problems.items())))
        return _say(
            kinds.STALLED, Truth.TRUE, Reason.INVALID_TEMPLATE,
            f"the API server refuses {child}: {message}. Correct `spec.template`",
        )  # fmt: skip
    failed = _failed(status)
    if failed is None:
        return None
    return failed.model_copy(update={"type": kinds.STALLED})
