"""Rules 2 to 6 of the verdict: why a step is held, and when its hold is over.

Messages carry no elapsed time: they would change in every pass, and every change is a write.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from linnet.api.model_deployment import (
    AdvanceWhen,
    Arm,
    Decision,
    ModelDeploymentStatus,
    OnTimeout,
    Verdict,
)
from linnet.api.reasons import Reason
from linnet.api.shared import format_time, parse_time
from linnet.core.rollout import analysis, facts, policy, steps, traffic
from linnet.core.rollout.analysis import State
from linnet.core.rollout.state import Observation

Status = ModelDeploymentStatus

USUAL_DELAY = timedelta(seconds=15)
"""How long a gateway may take to report a new weight before that is worth a word."""


def is_available(seen: Observation, arm: Arm | None) -> bool:
    """Whether at least one pod of an arm is ready."""
    view = seen.revisions.get(arm.revision) if arm is not None else None
    return view is not None and len(view.ready_pods) > 0


@dataclass(frozen=True, slots=True)
class HoldView:
    """Where a step's hold stands: `why` holds it, or it is over."""

    why: Reason | None
    message: str
    advance: bool = False
    pause: bool = False


def hold(seen: Observation, status: Status, *, now: datetime) -> HoldView | None:
    """Rules 2 to 6 of the verdict for the present step; None while no step is held."""
    step, state, decision = status.step, facts.state_of(status), status.decision
    if step is None or state is None or traffic.returning(status):
        return None
    if step.since is None or (decision is not None and not decision.performed):
        return _on_its_way(seen, decision, now)
    if not seen.traffic.programmed:
        return HoldView(Reason.ROUTE_NOT_PROGRAMMED, seen.traffic.message)
    if seen.spec.paused:
        return HoldView(Reason.MANUAL_PAUSE, "`spec.paused` is true")
    if step.paused:
        return HoldView(
            Reason.TIMEOUT, "the step timed out: request `resume` or `promote` ends the pause"
        )
    if facts.asked_of(seen) is None:
        return HoldView(Reason.MODEL_NOT_FOUND, "the version asked for is gone: nothing advances")
    if facts.wish_of(seen) is None:
        return HoldView(
            Reason.NOT_SERVABLE, "the version asked for cannot be served: nothing advances"
        )
    rule = steps.hold_of(steps.present(seen.spec, step))
    held = now - parse_time(step.since)
    if step.weight == steps.FULL:
        until = format_time(parse_time(step.since) + rule.minimum)
        over = held >= rule.minimum and is_available(seen, status.candidate)
        return HoldView(
            None if over else Reason.STEP_ADVANCED, f"100 % is held until {until}", advance=over
        )
    return _weighted_hold(seen, status, state, rule, held, now)


def _on_its_way(seen: Observation, decision: Decision | None, now: datetime) -> HoldView:
    """A new weight that no gateway reports yet: usual for a moment, a hold when it lasts."""
    fresh = decision is not None and now < parse_time(decision.time) + USUAL_DELAY
    refused = seen.traffic.reason not in (Reason.WAITING, Reason.PROGRAMMED)
    if fresh and not refused:
        return HoldView(Reason.STEP_ADVANCED, "a new weight is on its way to the gateways")
    return HoldView(Reason.ROUTE_NOT_PROGRAMMED, seen.traffic.message)


def _copies_can_come(seen: Observation, status: Status) -> bool:
    """Whether somebody sends the copies that the present step needs, if it needs any."""
    champion = status.champion
    if champion is None or traffic.extras(seen.spec, status).replay is None:
        return True
    view = seen.revisions.get(champion.revision)
    return view is None or policy.can_send_copies(view)


def _weighted_hold(
    seen: Observation,
    status: Status,
    state: State,
    rule: steps.HoldRule,
    held: timedelta,
    now: datetime,
) -> HoldView:
    rules = steps.rules(seen.spec)
    missing = missing_sentence(seen, status, state, rules, now=now)
    if missing:
        return HoldView(Reason.METRICS_UNAVAILABLE, missing)
    if state.split.fires:
        return HoldView(Reason.SAMPLE_RATIO_MISMATCH, split_sentence(state))
    shared = [rule.name for rule in rules.metrics if analysis.shared_incident(state, rule, rules)]
    if shared:
        return HoldView(
            Reason.SHARED_INCIDENT,
            f"both versions miss {', '.join(shared)}: when it is over, request `resume`",
        )
    if not _copies_can_come(seen, status):
        return HoldView(
            Reason.LOW_TRAFFIC,
            "the champion's pods were made by an earlier version of Linnet and send no copies of "
            "requests: request `promote` to go on without a shadow",
        )
    if rule.advance_when is AdvanceWhen.REQUEST:
        return HoldView(
            Reason.MANUAL_PAUSE, "`hold.advanceWhen` is Request: request `promote` to go on"
        )
    enough = state.step_requests >= rule.requests
    waits_for_evidence = rule.advance_when is AdvanceWhen.EVIDENCE
    timed_out = held >= rule.maximum and not waits_for_evidence
    if held >= rule.minimum and enough:
        if analysis.judge(state, rules) is Verdict.NO_REGRESSION:
            return HoldView(None, "no regression", advance=True)
        if timed_out:
            return _timed_out(state, rules, rule)
    if timed_out and not enough:
        return HoldView(
            Reason.LOW_TRAFFIC,
            f"{state.step_requests} of {rule.requests} candidate requests in this step",
        )
    most = f"for {round(rule.maximum.total_seconds())} s at most"
    return HoldView(
        Reason.HOLDING_FOR_EVIDENCE,
        f"{state.step_requests} candidate requests in this step, {rule.requests} are needed; "
        f"held {'until the evidence suffices' if waits_for_evidence else most}",
    )


def missing_sentence(
    seen: Observation, status: Status, state: State, rules: analysis.Rules, *, now: datetime
) -> str:
    """What is missing to compare both arms, and why where that is known; empty if nothing is."""
    if analysis.readable(state, rules, now=now):
        return _unseen_sentence(seen, status, state, rules)
    missing = analysis.unanswered(state, rules, now=now)
    if not missing:
        return "no counters of one arm for three intervals"
    told = f" ({query_sentence(seen)})" if seen.query_problems else ""
    return f"no answer to the queries of {', '.join(missing)} for three intervals{told}"


def _unseen_sentence(seen: Observation, status: Status, state: State, rules: analysis.Rules) -> str:
    """A query that finds nothing after the pods answered enough is a wrong query, not evidence.

    Before there were users' requests it may find nothing, and copies need not be counted by it.
    """
    step = status.step
    if step is None or step.weight == 0:
        return ""
    if state.step_requests < steps.hold_of(steps.present(seen.spec, step)).requests:
        return ""
    names = analysis.unseen(state, rules)
    if not names:
        return ""
    return (
        f"the queries of {', '.join(names)} have found nothing of one version, whose pods do "
        "answer requests: look whether Prometheus knows their series by `$revision`"
    )


def query_sentence(seen: Observation) -> str:
    """What is wrong with the first of the metrics whose queries are not answered."""
    name, problem = min(seen.query_problems.items())
    return f"metric '{name}': {problem}"


def split_sentence(state: State) -> str:
    """What is wrong with the shares, and what to do."""
    split = state.split
    return (
        f"the candidate had {split.k} of {split.n} requests instead of "
        f"{100 * (split.share or 0):g} %: look at the gateway, then request `resume`"
    )


def _timed_out(state: State, rules: analysis.Rules, rule: steps.HoldRule) -> HoldView:
    suspicious = analysis.mean_log_e(state, rules) >= analysis.LOG_TIMEOUT_PAUSES_AT
    if rule.on_timeout is OnTimeout.ADVANCE and not suspicious:
        return HoldView(None, "the time is over without evidence of a regression", advance=True)
    return HoldView(Reason.TIMEOUT, "the step timed out", pause=True)
