"""What to do next about one ModelDeployment: `decide`, from one observation and a clock reading.

The safety argument. What is remembered are facts: champion, candidate, step, decision, evidence,
rejections. A pass either records new facts and performs nothing, or performs what the recorded
facts ask for; so a crash can never act on a decision that was not remembered, and a replayed pass
counts no evidence twice (its status write carries the resourceVersion that was read). Every action
follows from facts and observation alone, absolute and repeatable, so any prefix of the list may be
the last thing that happened.

The invariant, held at every prefix: *the weights sum to 100, the champion can serve alone, and the
alias names a version that held 100 %*. Therefore a revision gets weight only after its pods are
ready; on failure traffic returns first; a revision's pods are removed only after the data plane
was seen without it; the alias moves last.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from linnet.api.model_deployment import (
    Arm,
    CandidateArm,
    DecidedBy,
    Decision,
    DecisionVerb,
    HistoryEntry,
    MirroredBy,
    ModelDeploymentStatus,
    StepKind,
    StepStatus,
    Verdict,
)
from linnet.api.reasons import Reason
from linnet.api.requests import Request, RequestVerb
from linnet.api.shared import (
    RequestOutcome,
    RequestStatus,
    format_time,
    parse_time,
)
from linnet.core import admission, answers, names
from linnet.core.plan import Event, Finding, Plan
from linnet.core.rollout import (
    analysis,
    facts,
    holdback,
    holds,
    inputs,
    judgement,
    policy,
    records,
    returns,
    steps,
    traffic,
    work,
)
from linnet.core.rollout.analysis import Role, Scrape, State
from linnet.core.rollout.state import Observation, RevisionView

Status = ModelDeploymentStatus
Transition = Callable[[Observation, Status, datetime], Status]

DRAIN_LIMIT = timedelta(seconds=60)
DRAIN_INTERVAL = timedelta(seconds=1)
POLL = timedelta(seconds=5)
"""How soon to look again while something that sends no event is waited for."""

FACTS = (
    "champion",
    "candidate",
    "previous",
    "holdback",
    "step",
    "decision",
    "analysis",
    "rejected",
    "history",
    "request",
    "inputs",
)
"""The fields of status that are recorded before they are acted upon."""


def decide(seen: Observation, *, now: datetime) -> Plan[Status]:
    """What to record, or what to perform, and when to look again."""
    finding = _refusal(seen)
    if finding is not None:
        return _stand_still(seen, finding, now)
    status = record(seen, now)
    view = judgement.judge(seen, status, now=now)
    if _facts(status) != _facts(seen.status):
        return Plan(
            status=view.status,
            records=True,
            conditions=view.conditions,
            events=_events(seen.status, status),
        )
    return Plan(
        status=view.status,
        actions=work.actions(seen, status, now=now),
        conditions=view.conditions,
        requeue_after=_requeue(seen, status, now),
    )


def _refusal(seen: Observation) -> Finding | None:
    return (
        admission.finding(seen)
        or policy.queries_are_raw_and_per_revision(seen.spec)
        or policy.clients_can_be_kept(seen)
    )


def _facts(status: Status) -> tuple[object, ...]:
    return tuple(getattr(status, name) for name in FACTS)


def _stand_still(seen: Observation, finding: Finding, now: datetime) -> Plan[Status]:
    """Change nothing, say why: what serves goes on."""
    view = judgement.judge(seen, seen.status, now=now, stalled=finding)
    return Plan(status=view.status, conditions=view.conditions)


# -- facts ---------------------------------------------------------------------------------------


def record(seen: Observation, now: datetime) -> Status:
    """The facts after this observation: evidence first, then the first transition that applies."""
    status = _count(seen, seen.status, now)
    for transition in TRANSITIONS:
        after = transition(seen, status, now)
        if after is not status:
            return after
    return status


def scrape_is_due(seen: Observation, *, now: datetime) -> bool:
    """Whether this pass reads counters: the interval is over, every recorded decision performed."""
    status = seen.status
    state = facts.state_of(status)
    if state is None or _refusal(seen) is not None:
        return False
    if status.candidate is None:
        on_trial = facts.on_trial(seen, status, now=now) and traffic.in_place(seen, status)
        return on_trial and now >= _next_on_trial(seen, state, now)
    if traffic.returning(status):
        return seen.traffic.observed and now >= analysis.next_scrape(state, DRAIN_INTERVAL, now=now)
    if status.step is None:
        ready = _candidate_has_all_pods(seen, status)
        return not state.started and (ready or _next_lesson_is_due(seen, state, now))
    if not traffic.in_place(seen, status):
        return False
    rules = steps.rules(seen.spec)
    interval = analysis.scrape_interval(rules, warm_until=facts.warm_until(seen, status), now=now)
    return now >= analysis.next_scrape(state, interval, now=now)


def _candidate_has_all_pods(seen: Observation, status: Status) -> bool:
    candidate = status.candidate
    revision = seen.revisions.get(candidate.revision) if candidate is not None else None
    return revision is not None and _has_all_pods(seen, status, revision)


def _next_lesson_is_due(seen: Observation, state: State, now: datetime) -> bool:
    """Whether the champion is read to learn its noise while the candidate gets ready."""
    rules, champion = steps.rules(seen.spec), seen.status.champion
    view = seen.revisions.get(champion.revision) if champion is not None else None
    if view is None or len(view.ready_pods) < 2:
        return False
    last = state.read.get(Role.CHAMPION)
    return analysis.learns(state, rules) and (last is None or now >= last + rules.interval)


def _next_on_trial(seen: Observation, state: State, now: datetime) -> datetime:
    """When a champion on trial is read next."""
    warm_until = facts.warm_until(seen, seen.status)
    rules = steps.rules(seen.spec)
    interval = analysis.scrape_interval(rules, warm_until=warm_until, now=now)
    return analysis.next_scrape(state, interval, now=now)


def _count(seen: Observation, status: Status, now: datetime) -> Status:
    state = facts.state_of(status)
    if seen.samples is None or state is None:
        return status
    living = frozenset(pod.uid for view in seen.revisions.values() for pod in view.pods)
    scrape = Scrape(
        time=now,
        samples=seen.samples,
        living_pods=living | {pod.uid for pod in seen.collectors},
        outcomes=seen.outcomes,
        answers=seen.answers,
    )
    if traffic.returning(status):
        return records.with_state(seen, status, analysis.watch_drain(state, scrape), now)
    rules, step = steps.rules(seen.spec), status.step
    both = {sample.role for sample in scrape.samples} == set(Role) and all(
        rule.name in scrape.answers for rule in rules.metrics if rule.queries
    )
    waits = step is None and status.candidate is not None
    if not state.started and not (both and (not waits or _candidate_has_all_pods(seen, status))):
        # The baseline wants both arms and all queries: else a past would count as evidence.
        lesson = analysis.learn(state, scrape, rules) if waits else state
        return status if lesson == state else records.with_state(seen, status, lesson, now)
    after = analysis.advance(
        state,
        scrape,
        rules,
        warm_until=facts.warm_until(seen, status),
        share=traffic.kept_share(seen, status),
        learning=waits or (step is not None and step.kind is StepKind.SHADOW),
    )
    return records.with_state(seen, status, after, now)


def answer_request(seen: Observation, status: Status, now: datetime) -> Status:
    """Answer the annotation `linnet.dev/request`, once per time that it carries."""
    asked = answers.due(seen.request_annotation, "ModelDeployment", last=status.request, now=now)
    if asked is None:
        return status
    if isinstance(asked, RequestStatus):
        return records.update(status, request=asked)
    return REQUESTS[asked.verb](seen, status, asked, now)


def _answer(status: Status, asked: Request, outcome: RequestOutcome, message: str) -> Status:
    return records.update(status, request=answers.answer(asked, outcome, message))


def _is_candidate(status: Status, asked: Request) -> str | None:
    """Why a request does not name the candidate, or None."""
    if status.candidate is None or traffic.returning(status):
        return "no rollout runs"
    if status.candidate.revision != asked.revision:
        return f"the candidate is {status.candidate.revision}, not {asked.revision}"
    return None


def _promote(seen: Observation, status: Status, asked: Request, now: datetime) -> Status:
    following = steps.following(seen.spec, status.step)
    words = f"goes on to {_told(following)}" if following is not None else ""
    return _go_on(seen, status, asked, following, words, now)


def _promote_full(seen: Observation, status: Status, asked: Request, now: datetime) -> Status:
    last = steps.next_step(seen.spec, steps.FULL - 1)
    return _go_on(seen, status, asked, last, "the weight goes to 100 %", now)


def _go_on(
    seen: Observation,
    status: Status,
    asked: Request,
    following: StepStatus | None,
    words: str,
    now: datetime,
) -> Status:
    """Go to a step by request, unless the request does not fit."""
    problem = _is_candidate(status, asked)
    if problem is None and status.step is None:
        problem = "the candidate is not ready yet"
    if problem is None and status.step is not None and status.step.weight == steps.FULL:
        problem = "the candidate already has 100 %"
    if problem is not None or following is None:
        return _answer(status, asked, RequestOutcome.REFUSED, problem or "no further step")
    why = f"{asked.verb.value} was requested"
    moved = _go_to(seen, status, following, Reason.REQUEST_DONE, why, now)
    return _answer(moved, asked, RequestOutcome.DONE, words)


def _abort(seen: Observation, status: Status, asked: Request, now: datetime) -> Status:
    problem = _is_candidate(status, asked)
    if problem is not None:
        return _answer(status, asked, RequestOutcome.REFUSED, problem)
    finding = Finding(Reason.ABORTED, "abort was requested")
    rolled = _roll_back(seen, status, finding, DecidedBy.REQUEST, now)
    return _answer(rolled, asked, RequestOutcome.DONE, "the candidate is rolled back and rejected")


def _retry(seen: Observation, status: Status, asked: Request, now: datetime) -> Status:
    kept = tuple(entry for entry in status.rejected if entry.revision != asked.revision)
    if len(kept) == len(status.rejected):
        known = ", ".join(entry.revision for entry in status.rejected) or "none"
        return _answer(
            status,
            asked,
            RequestOutcome.REFUSED,
            f"revision {asked.revision} is not rejected; rejected are: {known}",
        )
    forgotten = records.update(status, rejected=kept)
    return _answer(forgotten, asked, RequestOutcome.DONE, "the rejection is forgotten")


def _resume(seen: Observation, status: Status, asked: Request, now: datetime) -> Status:
    step, state = status.step, facts.state_of(status)
    resumed = status
    if state is not None and (step is not None or traffic.held_back(status)):
        rules = steps.rules(seen.spec)
        fresh = analysis.resume(state, rules)
        resumed = resumed if fresh == state else records.with_state(seen, resumed, fresh, now)
    if step is not None and step.paused:
        held = step.model_copy(update={"paused": False, "since": format_time(now)})
        resumed = records.update(resumed, step=held)
    if resumed is status:
        return _answer(status, asked, RequestOutcome.DONE, "nothing waited for `resume`")
    return _answer(resumed, asked, RequestOutcome.DONE, "the step is held once more")


def _undo(seen: Observation, status: Status, asked: Request, now: datetime) -> Status:
    after = returns.undo(seen, status, asked.revision, now)
    if isinstance(after, str):
        return _answer(status, asked, RequestOutcome.REFUSED, after)
    return _answer(after, asked, RequestOutcome.DONE, "the previous champion takes its place")


REQUESTS: dict[RequestVerb, Callable[[Observation, Status, Request, datetime], Status]] = {
    RequestVerb.PROMOTE: _promote,
    RequestVerb.PROMOTE_FULL: _promote_full,
    RequestVerb.UNDO: _undo,
    RequestVerb.ABORT: _abort,
    RequestVerb.RETRY: _retry,
    RequestVerb.RESUME: _resume,
}


def adopt_champion(seen: Observation, status: Status, now: datetime) -> Status:
    """Name the first champion: the version under championAlias, else the wish."""
    if seen.model is None:
        return status
    wish = facts.wish_of(seen)
    if status.champion is None:
        alias = seen.spec.model.champion_alias
        known = seen.model.versions.get(seen.model.aliases.get(alias, "")) if alias else None
        chosen = known if known is not None and not known.not_servable else wish
        if chosen is None:
            return status
        return _begin_serving(_restored(seen, status), records.arm_of(seen, chosen), now)
    # A first revision that has never served is no champion to return to: the wish replaces it.
    if status.champion.since is None and wish is not None and status.previous is None:
        arm = records.arm_of(seen, wish)
        if arm.revision != status.champion.revision and status.candidate is None:
            return _begin_serving(status, arm, now)
    return status


def _begin_serving(status: Status, arm: Arm, now: datetime) -> Status:
    decision = records.decision(
        DecisionVerb.START,
        arm.revision,
        Reason.FIRST_REVISION_STARTING,
        f"version {arm.version} is the first revision: it takes all traffic once it is ready",
        now,
        performed=True,
    )
    return records.update(status, champion=arm, decision=decision)


def _restored(seen: Observation, status: Status) -> Status:
    """Rejections that a lost status held, back from ControllerRevisions and version tags."""
    if status.rejected:
        return status
    return records.update(status, rejected=work.remembered_rejections(seen)[: records.REJECTIONS])


def start_of_champion(seen: Observation, status: Status, now: datetime) -> Status:
    """Remember since when a first champion serves."""
    champion = status.champion
    if champion is None or champion.since is not None:
        return status
    revision = seen.revisions.get(champion.revision)
    serving = (
        revision is not None
        and len(revision.ready_pods) > 0
        and seen.traffic.programmed
        and traffic.in_place(seen, status)
    )
    if not serving:
        return status
    by, message = returns.decided_by(status)
    return records.update(
        status,
        champion=champion.model_copy(update={"since": format_time(now)}),
        history=records.began(champion, status.history, by, message, now),
    )


def promote_first(seen: Observation, status: Status, now: datetime) -> Status:
    """Give a first champion its alias once it has held 100 % for as long as the last step asks."""
    champion, decision = status.champion, status.decision
    if champion is None or champion.since is None or decision is None:
        return status
    if decision.verb is not DecisionVerb.START or status.candidate is not None:
        return status
    hold = steps.hold_of(seen.spec.strategy.steps[-1])
    if now < parse_time(champion.since) + hold.minimum or not holds.is_available(seen, champion):
        return status
    message = f"version {champion.version} has held 100 %"
    return records.update(
        status,
        decision=records.decision(
            DecisionVerb.PROMOTE, champion.revision, Reason(decision.reason), message, now
        ),
    )


def finish_promotion(seen: Observation, status: Status, now: datetime) -> Status:
    """Note that a promotion is performed: the alias is ours, or not ours to write."""
    decision = status.decision
    if decision is None or decision.verb is not DecisionVerb.PROMOTE or decision.performed:
        return status
    if work.alias_to_write(seen, status) is not None or (
        seen.model is None and seen.spec.model.champion_alias
    ):
        return status
    return records.update(status, decision=decision.model_copy(update={"performed": True}))


def finish_return(seen: Observation, status: Status, now: datetime) -> Status:
    """End a rollback or withdrawal once the data plane was seen without the candidate."""
    decision = status.decision
    if decision is None or not traffic.returning(status):
        return status
    state = facts.state_of(status)
    never_served = status.step is None
    drained = (state is not None and state.drain is not None and state.drain[1] > 0) or (
        now >= parse_time(decision.time) + DRAIN_LIMIT
    )
    back = seen.traffic.observed and traffic.in_place(seen, status)
    if not (never_served or (back and drained)):
        return status
    final = status.analysis
    if final is not None:
        # The numbers stay to be read, the machinery goes.
        final = final.model_copy(update={"state": None})
    return records.update(
        status,
        candidate=None,
        step=None,
        analysis=final,
        inputs=None,
        decision=decision.model_copy(update={"performed": True}),
    )


def withdraw(seen: Observation, status: Status, now: datetime) -> Status:
    """Take a candidate back that is no longer asked for; it is not rejected."""
    wish = facts.wish_of(seen)
    if status.candidate is None or traffic.returning(status) or wish is None:
        return status
    if status.champion is None:
        return status
    wanted, _ = facts.revision_of(seen, wish)
    if wanted == status.candidate.revision:
        return status
    if wanted == status.champion.revision:
        reason, message = (
            Reason.CANDIDATE_WITHDRAWN,
            f"version {wish.version}, the champion, is asked for",
        )
    else:
        reason = Reason.SUPERSEDING
        message = f"version {wish.version} ({wanted}) is asked for instead"
    decision = records.decision(
        DecisionVerb.WITHDRAW, status.candidate.revision, reason, message, now
    )
    return records.update(
        status, decision=decision, history=_tried(status, DecidedBy.REVERT, message, now)
    )


def _tried(
    status: Status, decided_by: DecidedBy, message: str, now: datetime
) -> tuple[HistoryEntry, ...]:
    """History with an entry for a candidate that did not become champion."""
    candidate, step = status.candidate, status.step
    if candidate is None or step is None:
        return status.history
    share = (candidate.since, step.weight or 0)
    return records.ended(candidate, status.history, share, decided_by, message, now)


def choose_candidate(seen: Observation, status: Status, now: datetime) -> Status:
    """Begin a rollout of the wish when it is neither the champion nor rejected."""
    wish, champion, decision = facts.wish_of(seen), status.champion, status.decision
    if wish is None or champion is None or champion.since is None or decision is None:
        return status
    promoted = decision.performed and decision.verb is not DecisionVerb.START
    if status.candidate is not None or not promoted or facts.on_trial(seen, status, now=now):
        return status
    arm = records.arm_of(seen, wish)
    if arm.revision == champion.revision or facts.rejection_of(seen, status, wish) is not None:
        return status
    rollout_id = names.digest({"revision": arm.revision, "time": format_time(now)})[:12]
    candidate = CandidateArm(
        **{**arm.model_dump(), "since": format_time(now)}, rollout_id=rollout_id
    )
    message = f"version {arm.version} is asked for; version {champion.version} serves"
    state = analysis.start(steps.rules(seen.spec), now=now)
    started = records.update(
        status,
        candidate=candidate,
        holdback=None,
        step=None,
        inputs=None,
        decision=records.decision(
            DecisionVerb.START,
            arm.revision,
            Reason.CANDIDATE_FOUND,
            message,
            now,
            performed=True,
        ),
    )
    return records.with_state(seen, started, state, now)


def compare_inputs(seen: Observation, status: Status, now: datetime) -> Status:
    """Record how the candidate's inputs differ from the champion's, before it has traffic."""
    if status.candidate is None or status.champion is None or status.inputs is not None:
        return status
    compared = inputs.compare(
        seen.columns.get(status.champion.revision), seen.columns.get(status.candidate.revision)
    )
    return status if compared is None else records.update(status, inputs=compared)


def roll_back_on_evidence(seen: Observation, status: Status, now: datetime) -> Status:
    """Rule 1: a regression returns all traffic, whatever else is the case."""
    state = facts.state_of(status)
    if status.candidate is None or status.step is None or state is None:
        return status
    if traffic.returning(status):
        return status
    if analysis.judge(state, steps.rules(seen.spec)) is not Verdict.REGRESSION:
        return status
    message = judgement.regression_sentence(status.analysis)
    finding = Finding(Reason.REGRESSION, message)
    return _roll_back(seen, status, finding, DecidedBy.VERDICT, now)


def roll_back_unhealthy(seen: Observation, status: Status, now: datetime) -> Status:
    """A candidate that cannot serve goes back at once while the champion is healthy."""
    candidate, champion = status.candidate, status.champion
    if candidate is None or champion is None or traffic.returning(status):
        return status
    revision = seen.revisions.get(candidate.revision)
    if revision is None or not holds.is_available(seen, champion):
        return status
    if status.step is None:
        finding = policy.own_fault(revision, now=now)
    else:
        finding = policy.unhealthy(revision, now=now)
    if finding is None:
        return status
    return _roll_back(seen, status, finding, DecidedBy.VERDICT, now)


def _roll_back(
    seen: Observation, status: Status, finding: Finding, decided_by: DecidedBy, now: datetime
) -> Status:
    """Decide to return: decision, rejection and history in one record."""
    candidate, champion = status.candidate, status.champion
    if candidate is None or champion is None:
        return status
    message = f"{finding.message}; traffic returned to version {champion.version}"
    return records.update(
        status,
        decision=records.decision(
            DecisionVerb.ROLL_BACK, candidate.revision, finding.reason, message, now
        ),
        rejected=records.rejected(seen, status, candidate, finding, message, now),
        history=_tried(status, decided_by, message, now),
    )


def begin_steps(seen: Observation, status: Status, now: datetime) -> Status:
    """Give a ready candidate its first weight."""
    candidate, state = status.candidate, facts.state_of(status)
    if candidate is None or status.step is not None or traffic.returning(status):
        return status
    if seen.spec.paused or state is None or not state.started or facts.wish_of(seen) is None:
        return status
    if not _candidate_has_all_pods(seen, status):
        return status
    if seen.spec.route is None and work.others_have_pods(seen, status):
        # One Service over both arms would send users to whatever else still runs.
        return status
    if seen.spec.strategy.require_compatible_inputs and inputs.block(status.inputs):
        return status
    first = steps.following(seen.spec, None)
    if first is None:
        return status
    return _go_to(seen, status, first, Reason.STEP_ADVANCED, "the candidate is ready", now)


def _has_all_pods(seen: Observation, status: Status, revision: RevisionView) -> bool:
    return len(revision.ready_pods) >= work.candidate_pods(seen, status)


def _go_to(
    seen: Observation, status: Status, step: StepStatus, reason: Reason, why: str, now: datetime
) -> Status:
    """Record the next step; its hold begins when the data plane was seen with its weight."""
    candidate, state = status.candidate, facts.state_of(status)
    if candidate is None:
        return status
    if step.kind is StepKind.SHADOW:
        step = step.model_copy(update={"mirrored_by": traffic.mirrored_by(seen.spec)})
    message = f"{_told(step)} (step {step.label}): {why}"
    moved = records.update(
        status,
        step=step,
        decision=records.decision(DecisionVerb.ADVANCE, candidate.revision, reason, message, now),
    )
    if state is None:
        return moved
    rules, before = steps.rules(seen.spec), status.step
    if before is None and step.kind is StepKind.COHORT:
        # The baseline is of weighted requests.
        after = analysis.start(rules, now=state.since)
    elif before is None or before.kind is step.kind:
        after = analysis.change_weight(state)
    else:
        after = analysis.change_kind(state, rules)
    if step.kind is StepKind.WEIGHT:
        after = analysis.freeze_precisions(after)
    return records.with_state(seen, moved, after, now)


def _told(step: StepStatus) -> str:
    """What a step does, in words."""
    words = {StepKind.SHADOW: "copies of requests", StepKind.COHORT: "a cohort"}
    return words.get(step.kind, f"weight {step.weight} %")


def copy_by_champion(seen: Observation, status: Status, now: datetime) -> Status:
    """Have the champion's server send copies where a gateway refuses to, or drops what is needed.

    What a gateway can do is told by its conditions on our route, and only by them.
    """
    step = status.step
    if step is None or step.kind is not StepKind.SHADOW or traffic.returning(status):
        return status
    if step.mirrored_by is MirroredBy.CHAMPION:
        return status
    wanted = traffic.mirrored_by(seen.spec) is MirroredBy.CHAMPION
    if not wanted and not traffic.mirror_is_refused(seen):
        return status
    return records.update(status, step=step.model_copy(update={"mirrored_by": MirroredBy.CHAMPION}))


def finish_advance(seen: Observation, status: Status, now: datetime) -> Status:
    """Begin a step's hold once every gateway reports its weight."""
    decision, step = status.decision, status.step
    if decision is None or step is None or decision.performed:
        return status
    if decision.verb is not DecisionVerb.ADVANCE or not seen.traffic.programmed:
        return status
    if not traffic.in_place(seen, status):
        return status
    return records.update(
        status,
        decision=decision.model_copy(update={"performed": True}),
        step=step.model_copy(update={"since": format_time(now)}),
    )


def advance(seen: Observation, status: Status, now: datetime) -> Status:
    """End the hold of a step: the next weight, the promotion, or a recorded pause."""
    step = status.step
    if step is None or traffic.returning(status):
        return status
    moved = steps.edited(seen.spec, step)
    if moved is not None and not seen.spec.paused:
        return _go_to(seen, status, moved, Reason.STEP_ADVANCED, "the steps were edited", now)
    view = holds.hold(seen, status, now=now)
    if view is None:
        return status
    if view.pause:
        return records.update(status, step=step.model_copy(update={"paused": True}))
    if not view.advance:
        return status
    following = steps.following(seen.spec, step)
    if following is not None:
        return _go_to(seen, status, following, Reason.STEP_ADVANCED, view.message, now)
    return _promoted(seen, status, now)


def _promoted(seen: Observation, status: Status, now: datetime) -> Status:
    """The candidate becomes champion: it has held 100 %."""
    candidate, champion = status.candidate, status.champion
    if candidate is None or champion is None:
        return status
    since = format_time(now)
    message = judgement.promotion_sentence(candidate, status.analysis)
    history = records.closed(status, champion.revision, now)
    final, held = status.analysis, holdback.begin(seen, status)
    goes_on = held is not None or seen.spec.strategy.probation is not None
    arm = Arm(**{**candidate.model_dump(exclude={"rollout_id"}), "since": since})
    promoted = records.update(
        status,
        champion=arm,
        candidate=None,
        previous=champion,
        holdback=held,
        step=None,
        inputs=None,
        analysis=final.model_copy(update={} if goes_on else {"state": None}) if final else None,
        decision=records.decision(
            DecisionVerb.PROMOTE, candidate.revision, Reason.ROLLOUT_COMPLETE, message, now
        ),
        history=records.began(arm, history, DecidedBy.VERDICT, message, now),
    )
    state = facts.state_of(promoted)
    if held is None or state is None:
        return promoted
    return records.with_state(seen, promoted, analysis.change_weight(state), now)


TRANSITIONS: Sequence[Transition] = (
    finish_return,
    answer_request,  # abort beats everything that follows
    roll_back_on_evidence,
    roll_back_unhealthy,
    returns.from_probation,
    returns.when_wanted_again,
    adopt_champion,
    start_of_champion,
    finish_promotion,
    promote_first,
    withdraw,
    compare_inputs,
    copy_by_champion,
    finish_advance,
    begin_steps,
    advance,
    holdback.end,
    holdback.start,
    returns.end_probation,
    choose_candidate,
)
"""In this order, one a pass; each returns the status it was given when it does not apply."""


# -- time and events -----------------------------------------------------------------------------


def _requeue(seen: Observation, status: Status, now: datetime) -> timedelta | None:
    """When to look again without an event; None where only events can change something."""
    state = facts.state_of(status)
    if status.candidate is not None and state is not None:
        if traffic.returning(status):
            return DRAIN_INTERVAL
        if status.step is None:
            return POLL if not state.started else DRAIN_INTERVAL
        interval = analysis.scrape_interval(
            steps.rules(seen.spec), warm_until=facts.warm_until(seen, status), now=now
        )
        due = analysis.next_scrape(state, interval, now=now)
        return max(due - now, timedelta(milliseconds=100))
    if facts.on_trial(seen, status, now=now):
        return _next_trial(seen, status, state, now)
    return work.next_cleanup(seen, status, now=now) or _next_promotion(seen, status, now)


def _next_trial(seen: Observation, status: Status, state: State | None, now: datetime) -> timedelta:
    """When to look again at a champion on trial: at its next scrape, or when a part of it ends."""
    ends = (facts.probation_ends(seen, status), facts.holdback_ends(seen, status))
    due = [each for each in ends if each is not None and now < each]
    if state is not None and traffic.in_place(seen, status):
        due.append(_next_on_trial(seen, state, now))
    return max(min(due) - now, timedelta(milliseconds=100)) if due else POLL


def _next_promotion(seen: Observation, status: Status, now: datetime) -> timedelta | None:
    champion, decision = status.champion, status.decision
    if champion is None or decision is None:
        return None
    if champion.since is None or not decision.performed:
        return POLL
    if decision.verb is DecisionVerb.START:
        hold = steps.hold_of(seen.spec.strategy.steps[-1])
        left = parse_time(champion.since) + hold.minimum - now
        return max(left, timedelta(seconds=1))
    return None


def _events(before: Status, after: Status) -> tuple[Event, ...]:
    """What happened between two records, beside the transitions of conditions."""
    events: list[Event] = []
    decision = after.decision
    if decision is not None and decision != before.decision:
        events.extend(_decision_events(before, decision))
    if after.request is not None and after.request != before.request:
        done = after.request.outcome is RequestOutcome.DONE
        events.append(
            Event(
                Reason.REQUEST_DONE if done else Reason.REQUEST_REFUSED,
                f"{after.request.verb}: {after.request.message}",
                warning=not done,
            )
        )
    if _evidence_ended(before, after):
        events.append(Event(Reason.PROBATION_ENDED, "the old champion is taken away"))
    if before.candidate is None and after.candidate is not None:
        events.append(Event(Reason.ROLLOUT_STARTED, f"rollout {after.candidate.rollout_id}"))
    return tuple(events)


def _evidence_ended(before: Status, after: Status) -> bool:
    """Whether a probation went by: its evidence is dropped and nothing was decided."""
    states = [
        status.analysis is not None and bool(status.analysis.state) for status in (before, after)
    ]
    return states == [True, False] and before.decision == after.decision


RETURNS = (
    Reason.UNDONE,
    Reason.SUPERSEDING,
    Reason.OBJECTIVE_MISSED,
    Reason.REGRESSION,
    Reason.CANDIDATE_UNHEALTHY,
)
"""Why all traffic goes back to the previous champion at once."""


def _decision_events(before: Status, decision: Decision) -> list[Event]:
    verb, message = decision.verb, decision.message
    fresh = (
        before.decision is None
        or before.decision.time != decision.time
        or (before.decision.verb is not verb)
    )
    if fresh:
        back = decision.reason in {reason.value for reason in RETURNS}
        reason = {
            DecisionVerb.START: Reason.ROLL_BACK_DECIDED if back else Reason.CANDIDATE_FOUND,
            DecisionVerb.ADVANCE: Reason.STEP_ADVANCED,
            DecisionVerb.PROMOTE: Reason.PROMOTED,
            DecisionVerb.ROLL_BACK: Reason.ROLL_BACK_DECIDED,
            DecisionVerb.WITHDRAW: Reason.CANDIDATE_WITHDRAWN,
        }[verb]
        events = [Event(reason, message, warning=reason is Reason.ROLL_BACK_DECIDED)]
        if verb is DecisionVerb.ROLL_BACK and before.step is None:
            events.append(Event(Reason.CANDIDATE_REJECTED, message, warning=True))
        return events
    # What a rollback or a promotion came to is told by the conditions Ready and Promoted.
    if decision.performed and verb is DecisionVerb.ADVANCE:
        return [Event(Reason.WEIGHT_SET, message)]
    return []
