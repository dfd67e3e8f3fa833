"""Back to the previous champion: from probation, by `undo`, or because it is wanted again.

The previous champion has held 100 % before and its pods are still there, so it takes all traffic
at once; the alias follows as it does for a first revision, when it has held for the usual time.
"""

from __future__ import annotations

from datetime import datetime

from linnet.api.model_deployment import DecidedBy, DecisionVerb, ModelDeploymentStatus, Verdict
from linnet.api.reasons import Reason
from linnet.core.plan import Finding
from linnet.core.rollout import (
    analysis,
    facts,
    holdback,
    judgement,
    policy,
    records,
    steps,
    traffic,
)
from linnet.core.rollout.state import Observation

Status = ModelDeploymentStatus
_BY = {
    Reason.FIRST_REVISION_STARTING: DecidedBy.FIRST_REVISION,
    Reason.UNDONE: DecidedBy.REQUEST,
    Reason.SUPERSEDING: DecidedBy.REVERT,
    Reason.REGRESSION: DecidedBy.VERDICT,
}


def decided_by(status: Status) -> tuple[DecidedBy, str]:
    """Who or what gave the champion all traffic without a rollout, and in which words."""
    decision = status.decision
    if decision is None:
        return DecidedBy.FIRST_REVISION, ""
    return _BY.get(Reason(decision.reason), DecidedBy.PROBATION), decision.message


def is_ready(seen: Observation, status: Status) -> bool:
    """Whether the previous champion can take all traffic now: none of its pods was taken away."""
    view = seen.revisions.get(status.previous.revision) if status.previous is not None else None
    return view is not None and 0 < view.replicas <= len(view.ready_pods)


def _go_back(
    seen: Observation, status: Status, finding: Finding, now: datetime, *, reject: bool
) -> Status:
    champion, previous = status.champion, status.previous
    if champion is None or previous is None:
        return status
    message = f"{finding.message}; version {previous.version} takes all traffic back"
    kept = status.rejected
    if reject:
        kept = records.rejected(seen, status, champion, finding, message, now)
    final = status.analysis
    shared = records.update(status, history=holdback.history(status, "it took all back", now))
    return records.update(
        status,
        champion=previous.model_copy(update={"since": None}),
        previous=champion,
        holdback=None,
        rejected=kept,
        history=records.closed(shared, champion.revision, now),
        analysis=final.model_copy(update={"state": None}) if final is not None else None,
        decision=records.decision(
            DecisionVerb.START, previous.revision, finding.reason, message, now, performed=True
        ),
    )


def from_probation(seen: Observation, status: Status, now: datetime) -> Status:
    """A champion on trial that regresses, misses an objective or cannot serve goes back."""
    champion = status.champion
    if champion is None or not facts.on_trial(seen, status, now=now):
        return status
    if not is_ready(seen, status):
        return status
    view, state = seen.revisions.get(champion.revision), facts.state_of(status)
    finding = policy.unhealthy(view, now=now) if view is not None else None
    rules = steps.rules(seen.spec)
    if finding is None and state is not None:
        if analysis.judge(state, rules) is not Verdict.REGRESSION:
            return status
        compares = traffic.held_back(status) > 0
        reason = Reason.REGRESSION if compares else Reason.OBJECTIVE_MISSED
        message = judgement.regression_sentence(status.analysis)
        finding = Finding(reason, f"on probation, {message}")
    return _go_back(seen, status, finding, now, reject=True) if finding is not None else status


def when_wanted_again(seen: Observation, status: Status, now: datetime) -> Status:
    """The previous champion is asked for again and still ready: a revert in Git is quick."""
    wish, previous = facts.wish_of(seen), status.previous
    if wish is None or previous is None or status.candidate is not None:
        return status
    if facts.revision_of(seen, wish)[0] != previous.revision or not is_ready(seen, status):
        return status
    if facts.rejection_of(seen, status, wish) is not None:
        return status
    message = f"version {wish.version}, the previous champion, is asked for again"
    return _go_back(seen, status, Finding(Reason.SUPERSEDING, message), now, reject=False)


def undo(seen: Observation, status: Status, revision: str | None, now: datetime) -> Status | str:
    """The status after the request `undo`, or why it is refused."""
    champion, previous = status.champion, status.previous
    if champion is None or champion.revision != revision:
        known = champion.revision if champion is not None else "none"
        return f"the champion is {known}, not {revision}: `undo` names the champion to be undone"
    if status.candidate is not None:
        return "a rollout runs: request `abort`, or wait for its end"
    if previous is None or not is_ready(seen, status):
        version = f"version {previous.version}" if previous is not None else "the previous version"
        return f"{version} no longer runs: ask for it by `spec.model`, and it is rolled out"
    finding = Finding(Reason.UNDONE, f"undo of version {champion.version} was requested")
    return _go_back(seen, status, finding, now, reject=True)


def end_probation(seen: Observation, status: Status, now: datetime) -> Status:
    """Drop the evidence of a probation that is over."""
    found = status.analysis
    if status.candidate is not None or found is None or not found.state:
        return status
    if facts.on_trial(seen, status, now=now):
        return status
    return records.update(status, analysis=found.model_copy(update={"state": None}))
