"""What must hold of a TrainingJob before anything is made, and how an ended Job is read."""

from __future__ import annotations

from linnet_trainer import contract

from linnet.api.reasons import Reason
from linnet.core import jobs, pods
from linnet.core.plan import Finding
from linnet.core.training import custom, resources
from linnet.core.training.state import Observation


def document(seen: Observation, full_hash: str, *, adopt: bool = False) -> contract.Result | None:
    """The result document of this job: a pod's termination message, else the run's tag.

    A document of another spec is never taken; one of another object with this name and this spec
    only where a finished run is adopted.
    """
    parse = contract.parse if seen.spec.custom is None else custom.parse
    for text in jobs.results(seen.pods, seen.run):
        try:
            found = parse(text)
        except ValueError:
            continue
        if found.spec_hash == full_hash and (adopt or found.job_uid == seen.uid):
            return found
    return None


def doubt(seen: Observation, found: contract.Result) -> Finding | None:
    """Why a result does not count; that of Linnet's own trainer does."""
    return custom.doubt(seen, found) if seen.spec.custom is not None else None


def failure(seen: Observation) -> Finding:
    """Why a Job that is over left no document."""
    failed = jobs.condition(seen.job, "Failed") if seen.job is not None else None
    why = failed["reason"] if failed is not None else ""
    last = seen.pods[-1] if seen.pods else None
    words = jobs.last_words(seen.pods)
    said = f": {words}" if words else ""
    if why == "DeadlineExceeded":
        return Finding(
            Reason.DEADLINE_EXCEEDED,
            f"the training ran longer than {seen.spec.active_deadline_seconds} s: raise "
            "`spec.activeDeadlineSeconds` in a new TrainingJob, or give it less to do",
        )
    if last is not None and last.out_of_memory:
        return Finding(
            Reason.OUT_OF_MEMORY,
            f"pod {last.name} needed more memory than its limit{_memory_limit(seen)}: raise "
            "`spec.template.resources.limits.memory` in a new TrainingJob, or give it "
            "fewer rows",
        )
    if why == "BackoffLimitExceeded":
        count = "1 pod" if len(seen.pods) == 1 else f"{len(seen.pods) or 'all'} pods"
        return Finding(Reason.RETRIES_EXHAUSTED, f"{count} failed{said}")
    if seen.spec.custom is not None:
        return custom.unreadable(seen)
    if not why:
        return Finding(
            Reason.TRAINER_FAILED, "the trainer ended without a result: see the log of its pod"
        )
    return Finding(Reason.TRAINER_FAILED, f"the trainer failed{said or ': see the log of its pod'}")


def _memory_limit(seen: Observation) -> str:
    """` of 2Gi`; empty where the namespace's LimitRange set it."""
    asked = pods.resources(seen.spec.template, resources.DEFAULT_RESOURCES)
    limit = asked.get("limits", {}).get("memory")
    return f" of {limit}" if limit else ""
