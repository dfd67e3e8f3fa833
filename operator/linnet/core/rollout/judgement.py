"""What is said of a ModelDeployment: status fields, conditions and the sentences people read.

Nothing here decides anything: it renders facts and observation. `Ready` is the one summary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from linnet_server import contract

from linnet.api import conditions as kinds
from linnet.api import labels
from linnet.api.conditions import Condition
from linnet.api.conditions import Status as Truth
from linnet.api.model_deployment import (
    AnalysisStatus,
    Arm,
    ArmCounts,
    DecisionVerb,
    MetricStatus,
    MirroredBy,
    ModelDeploymentStatus,
    OddsRatio,
    Replicas,
    StepKind,
    StepStatus,
    TrafficStatus,
    Verdict,
    Wish,
)
from linnet.api.reasons import Reason
from linnet.api.shared import format_time, parse_duration, parse_time
from linnet.core import evidence, statements
from linnet.core.evidence import Block
from linnet.core.plan import Finding
from linnet.core.rollout import analysis, facts, holds, inputs, policy, steps, traffic
from linnet.core.rollout.analysis import (
    Dispersion,
    MetricKind,
    MetricRule,
    Process,
    Rules,
    State,
)
from linnet.core.rollout.state import Observation

Status = ModelDeploymentStatus

_say = statements.say
_LARGEST = 1e12
MOST_SHARES = 3
"""What `status.traffic` may hold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The status to write, conditions without their transition times beside it."""

    status: Status
    conditions: tuple[Condition, ...]


def judge(
    seen: Observation, status: Status, *, now: datetime, stalled: Finding | None = None
) -> View:
    """Render everything that is reported."""
    status = status.model_copy(
        update={
            "observed_generation": seen.generation,
            "operator": seen.identity,
            "wish": _wish(seen, status),
            "traffic": _traffic(seen, status),
            "weight": _weight(seen, status),
            "url": _url(seen),
            "step": _step(seen, status, now),
            "replicas": _replicas(seen, status),
        }
    )
    if stalled is not None:
        before = seen.status.conditions
        said = statements.stalled("ModelDeployment", before, stalled, seen.generation)
        return View(status=status, conditions=said)
    found = (
        _ready(seen, status, now),
        _available(seen, status),
        _progressing(seen, status, now),
        _resolved(seen),
        _programmed(seen, status),
        _metrics(seen, status, now),
        _analysis(status),
        _split(seen, status),
        _inputs(status),
        _promoted(seen, status),
        _stalled(seen, status, now),
    )
    return View(status=status, conditions=statements.judged_from(seen.generation, found))


# -- fields of status ----------------------------------------------------------------------------


def _wish(seen: Observation, status: Status) -> Wish | None:
    version = facts.wish_of(seen)
    if version is None:
        return None if seen.model is not None or seen.model_missing else status.wish
    return Wish(version=version.version, revision=facts.revision_of(seen, version)[0])


def _traffic(seen: Observation, status: Status) -> tuple[TrafficStatus, ...]:
    """As programmed, never as asked: while a new route is not programmed the old entry stays."""
    if not seen.traffic.programmed:
        return status.traffic
    versions = {name: view.version for name, view in seen.revisions.items()}
    for arm in (status.champion, status.candidate):
        if arm is not None:
            versions[arm.revision] = arm.version
    shares = [
        (revision, weight)
        for revision, weight in sorted(seen.traffic.weights.items())
        if revision in versions and weight > 0
    ]
    told = sorted(shares, key=lambda share: -share[1])[:MOST_SHARES]
    weighted = tuple(
        TrafficStatus(revision=revision, version=versions[revision], weight=weight)
        for revision, weight in shares
        if (revision, weight) in told
    )
    sent = seen.traffic.mirror or seen.traffic.replay
    if sent is None or sent[0] not in versions:
        return weighted
    revision, percent = sent
    copies = TrafficStatus(
        revision=revision, version=versions[revision], weight=0, mirror_percent=percent
    )
    return (*weighted, copies)


def _weight(seen: Observation, status: Status) -> int | None:
    """The candidate's programmed share while a rollout runs."""
    if status.candidate is None:
        return None
    return next(
        (
            entry.weight
            for entry in _traffic(seen, status)
            if entry.revision == status.candidate.revision
        ),
        0,
    )


def _url(seen: Observation) -> str | None:
    route = seen.spec.route
    if route is None:
        return f"http://{seen.name}.{seen.namespace}.svc"
    if not route.hostnames:
        return None
    return f"http://{route.hostnames[0]}{route.path_prefix.rstrip('/')}"


def _step(seen: Observation, status: Status, now: datetime) -> StepStatus | None:
    step = status.step
    if step is None:
        return None
    view = holds.hold(seen, status, now=now)
    holding = view.why.value if view is not None and view.why is not None else None
    if holding == step.holding:
        return step
    since = format_time(now) if holding is not None else None
    return step.model_copy(update={"holding": holding, "holding_since": since})


def _replicas(seen: Observation, status: Status) -> Replicas | None:
    def count(arm: Arm | None) -> tuple[int | None, int | None]:
        view = seen.revisions.get(arm.revision) if arm is not None else None
        return (view.replicas, len(view.ready_pods)) if view is not None else (None, None)

    champion, champion_ready = count(status.champion)
    candidate, candidate_ready = count(status.candidate)
    found = Replicas(
        champion=champion,
        champion_ready=champion_ready,
        candidate=candidate,
        candidate_ready=candidate_ready,
    )
    # An empty object in an applied status comes out as null, which the schema refuses.
    return found if found != Replicas() else None


# -- numbers of the analysis ---------------------------------------------------------------------


def number(log_value: float) -> str:
    """An e-value as text: three significant digits, bounded."""
    if log_value > math.log(_LARGEST):
        return f"{_LARGEST:.0e}"
    value = math.exp(log_value)
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"


def analysis_status(state: State, rules: Rules, *, now: datetime) -> AnalysisStatus:
    """Everything that status tells of the evidence, its state included."""
    return AnalysisStatus(
        verdict=analysis.judge(state, rules),
        e=number(analysis.mean_log_e(state, rules)),
        max_e=number(state.max_log_e),
        rollback_at=f"{1 / rules.false_rollback:.3g}",
        p_value=f"{min(1.0, math.exp(-state.max_log_e)):.2g}",
        blocks=max((p.regression.blocks for p in state.processes.values()), default=0),
        since=format_time(state.since),
        time=format_time(state.time) if state.time is not None else None,
        metrics=tuple(_metric(state, rule, rules) for rule in rules.metrics if state.of(rule)),
        state=analysis.dump(state),
    )


def _metric(state: State, rule: MetricRule, rules: Rules) -> MetricStatus:
    """One metric, told by the way to be bad in which its evidence is greatest."""
    processes = state.of(rule)
    judged = rule.compares
    place = max(
        range(len(processes)),
        key=lambda at: processes[at].log_e if judged else processes[at].totals.k1,
    )
    loudest = processes[place]
    totals, warming = loudest.totals, loudest.warming
    dispersion = analysis.dispersion_of(state, rule, place, rules)
    return MetricStatus(
        name=rule.name,
        kind=rule.kind.value,
        bad_is=_bad_is(rule, state.edges.get(rule.name, ()), place),
        champion=(
            ArmCounts(bad=totals.k0, total=totals.n0)
            if rule.kind is not MetricKind.DISAGREEMENT
            else None
        ),
        candidate=ArmCounts(bad=totals.k1, total=totals.n1),
        warming=ArmCounts(bad=warming.k1, total=warming.n1),
        odds_ratio=_odds_ratio(loudest) if judged else None,
        e=number(analysis.log_metric(state, rule, rules)),
        no_regression=(
            number(analysis.log_good_enough(state, rule)) if rule.is_guardrail else None
        ),
        disaster=number(loudest.log_disaster) if loudest.disaster is not None else None,
        precision=_precision(dispersion) if judged else None,
        dispersion=dispersion.source if judged else None,
    )


def _precision(dispersion: Dispersion) -> str | None:
    tau = dispersion.precision
    return f"{tau:g}" if tau is not None else None


def _odds_ratio(process: Process) -> OddsRatio:
    totals = process.totals
    estimate = evidence.odds_ratio((totals.k0, totals.n0), (totals.k1, totals.n1))
    low, high = evidence.interval(process.a)
    return OddsRatio(
        estimate=f"{estimate:.3g}" if estimate is not None else None,
        low="≤ .033" if low == evidence.GRID[0] else f"{low:.3g}",
        high="≥ 30" if high == evidence.GRID[-1] else f"{high:.3g}",
    )


def _bad_is(rule: MetricRule, edges: Sequence[int], place: int) -> str:
    """What the counted answers were, in words that follow 'were'."""
    match rule.kind:
        case MetricKind.LATENCY if edges:
            return f"slower than {_edge(edges[place])}"
        case MetricKind.DRIFT_BUCKETS:
            low = float(analysis.BUCKETS[place])
            return f"scored from {low:.2f} to {low + 1 / len(analysis.BUCKETS):.2f}"
        case MetricKind.OBJECTIVE if place == 1:
            return f"slower than {_edge(rule.slower_than or 0)}"
        case MetricKind.DISAGREEMENT:
            return "not answered as by the champion"
        case MetricKind.GAUGE:
            return "worse than the other's"
        case MetricKind.LABELLED | MetricKind.PAIRED:
            return "answered wrong"
        case MetricKind.PAIRED_SCORE:
            return "scored lower than the other's"
    return "bad"


def _edge(place: int) -> str:
    return f"{1000 * contract.LATENCY_EDGES[place]:.3g} ms"


def loudest(status: AnalysisStatus) -> MetricStatus:
    """The metric whose evidence is greatest."""
    return max(status.metrics, key=lambda m: max(float(m.e or 0), float(m.disaster or 0)))


def regression_sentence(status: AnalysisStatus | None) -> str:
    """Why the candidate is rolled back, with the numbers of its loudest metric."""
    if status is None or not status.metrics:
        return "the candidate regressed"
    metric = loudest(status)
    return (
        f"regression: {_counts(metric)}; E {status.e} must stay below {status.rollback_at}"
        f"{_ratio(metric)}"
    )


def promotion_sentence(candidate: Arm, status: AnalysisStatus | None) -> str:
    """What a promotion rests on."""
    if status is None or not status.metrics:
        return f"version {candidate.version} has held 100 %"
    return f"version {candidate.version} has held 100 %: {_counts(status.metrics[0])}; E {status.e}"


def _counts(metric: MetricStatus) -> str:
    def total(counts: ArmCounts | None, more: ArmCounts | None = None) -> str:
        block = Block(0, 0, 0, 0)
        for each in (counts, more):
            if each is not None:
                block = block + Block(each.total, each.bad, 0, 0)
        return f"{block.k1} of {block.n1}"

    unit = "readings" if metric.kind == MetricKind.GAUGE else "requests"
    champion = f", {total(metric.champion)} champion {unit}" if metric.champion is not None else ""
    return (
        f"{metric.name} {total(metric.candidate, metric.warming)} candidate {unit}{champion} "
        f"were {metric.bad_is or 'bad'}"
    )


def _ratio(metric: MetricStatus) -> str:
    ratio = metric.odds_ratio
    if ratio is None or ratio.estimate is None:
        return ""
    return f" (odds ratio {ratio.estimate}, from {ratio.low} to {ratio.high})"


# -- conditions ----------------------------------------------------------------------------------


def _ready(seen: Observation, status: Status, now: datetime) -> Condition:
    def no(reason: Reason | str, message: str) -> Condition:
        return _say(kinds.READY, Truth.FALSE, reason, message)

    champion, candidate = status.champion, status.candidate
    if candidate is not None:
        return no(*_rollout_reason(seen, status))
    wish = facts.wish_of(seen)
    if wish is None:
        if seen.model is None and not seen.model_missing:
            return no(Reason.REGISTRY_UNAVAILABLE, _registry_message(seen))
        return no(*_unresolved(seen))
    if champion is None:
        return no(Reason.PREPARING, "the first revision is being made")
    rejection = facts.rejection_of(seen, status, wish)
    wanted = facts.revision_of(seen, wish)[0]
    if wanted != champion.revision and rejection is not None:
        return no(*_rejected_reason(seen, status, wish.version, rejection))
    view = seen.revisions.get(champion.revision)
    if champion.since is None:
        return no(Reason.PREPARING, _preparing_message(seen, champion))
    if view is None or not view.ready_pods:
        return no(Reason.NO_HEALTHY_REPLICAS, f"no pod of version {champion.version} is ready")
    ends = facts.probation_ends(seen, status)
    if wanted != champion.revision:
        waits = f" when the probation ends at {format_time(ends)}" if ends and now < ends else ""
        return no(Reason.PREPARING, f"version {wish.version} is asked for and comes next{waits}")
    held = traffic.held_back(status)
    if held and status.previous is not None:
        until = facts.holdback_ends(seen, status)
        words = f" until {format_time(until)}" if until is not None else ""
        return _say(
            kinds.READY,
            Truth.TRUE,
            Reason.PROBATION,
            f"version {champion.version} serves {100 - held} % of the requests; {held} % are held "
            f"back with version {status.previous.version}{words}",
        )
    if ends is not None and now < ends and status.previous is not None:
        return _say(
            kinds.READY,
            Truth.TRUE,
            Reason.PROBATION,
            f"version {champion.version} serves all traffic; version {status.previous.version} is "
            f"kept ready until {format_time(ends)}",
        )
    return _say(
        kinds.READY,
        Truth.TRUE,
        Reason.SERVING,
        f"version {champion.version} serves all traffic",
    )


def _rejected_reason(
    seen: Observation, status: Status, version: str, rejection: object
) -> tuple[Reason, str]:
    entry = next(each for each in status.rejected if each is rejection)
    command = (
        f"kubectl annotate mdep/{seen.name} -n {seen.namespace} --overwrite "
        f"linnet.dev/request=retry={entry.revision}@$(date -u +%Y-%m-%dT%H:%M:%SZ)"
    )
    if entry.version != version:
        return Reason.SAME_CONTENT_AS_REJECTED, (
            f"version {version} has the same content as version {entry.version}, which was "
            f"rejected: {entry.message}. To try it again: {command}"
        )
    told = {reason.value: reason for reason in (Reason.CANDIDATE_UNHEALTHY, Reason.UNDONE)}
    return (
        told.get(entry.reason, Reason.ROLLED_BACK),
        f"{entry.message}. To try it again: {command}",
    )


def _rollout_reason(seen: Observation, status: Status) -> tuple[Reason, str]:
    candidate, step, decision = status.candidate, status.step, status.decision
    version = candidate.version if candidate is not None else ""
    if decision is not None and traffic.returning(status):
        if decision.verb is DecisionVerb.ROLL_BACK:
            return Reason.ROLLING_BACK, decision.message
        return Reason.SUPERSEDING, decision.message
    if step is None:
        return Reason.PREPARING, (
            _preparing_message(seen, candidate) if candidate is not None else "preparing"
        )
    if seen.spec.paused or step.paused:
        return Reason.PAUSED, f"version {version} is held at {step.weight or 0} %"
    if step.kind is StepKind.SHADOW:
        return Reason.SHADOWING, (
            f"version {version} gets copies of requests (step {step.label}){_sender(step)}; "
            f"{_evidence_message(status)}"
        )
    if step.kind is StepKind.COHORT:
        return Reason.CANARY_IN_PROGRESS, (
            f"version {version} answers its cohort (step {step.label}); {_evidence_message(status)}"
        )
    return Reason.CANARY_IN_PROGRESS, (
        f"version {version} takes {step.weight} % (step {step.label}); {_evidence_message(status)}"
    )


def _sender(step: StepStatus) -> str:
    """Who sends copies, where it is not the gateway."""
    by_champion = step.mirrored_by is MirroredBy.CHAMPION
    return ", sent by the champion's server" if by_champion else ""


def _evidence_message(status: Status) -> str:
    found = status.analysis
    if found is None or not found.metrics:
        return "no evidence yet"
    return f"{_counts(loudest(found))}; E {found.e}, rollback at {found.rollback_at}"


def _preparing_message(seen: Observation, arm: Arm) -> str:
    view = seen.revisions.get(arm.revision)
    if view is None:
        return f"revision {arm.revision} is being made"
    wanted = max(view.replicas, 1)
    return (
        f"{len(view.ready_pods)} of {wanted} pods of version {arm.version} are ready"
        f"{policy.stuck(view.pods)}"
    )


def _registry_message(seen: Observation) -> str:
    return f"the registry does not answer: {seen.registry_error or 'not asked yet'}"


_STAGES = ("Production", "Staging", "Archived")
"""What MLflow had before aliases, and tutorials still write."""


def _unresolved(seen: Observation) -> tuple[Reason, str]:
    """Why spec asks for no version that could serve, and what to do."""
    version = facts.asked_of(seen)
    if version is None:
        return Reason.MODEL_NOT_FOUND, _not_found_message(seen)
    field = "version" if seen.spec.model.version is not None else "alias"
    return Reason.NOT_SERVABLE, (
        f"version {version.version} of model '{seen.spec.model.name}' cannot be served: "
        f"{version.not_servable}. Name another model or version (`spec.model.{field}`)"
    )


def _not_found_message(seen: Observation) -> str:
    model = seen.spec.model
    if seen.model is None:
        return (
            f"the registry has no model '{model.name}': register one, or correct `spec.model.name`"
        )
    if model.version is not None:
        known = ", ".join(sorted(seen.model.versions, key=int)[-5:]) or "none"
        return (
            f"model '{model.name}' has no version '{model.version}' (it has: {known}): correct "
            "`spec.model.version`"
        )
    known = ", ".join(sorted(seen.model.aliases)) or "none"
    alias = model.alias or facts.DEFAULT_ALIAS
    return (
        f"model '{model.name}' has no alias '{alias}' (it has: {known}): "
        "set it, or correct `spec.model.alias`"
        + ("; stages are not followed, an alias takes their place" if alias in _STAGES else "")
    )


def _available(seen: Observation, status: Status) -> Condition:
    champion = status.champion
    view = seen.revisions.get(champion.revision) if champion is not None else None
    if champion is None or (champion.since is None and (view is None or not view.ready_pods)):
        waits = policy.waits_for(view) if view is not None else None
        message = waits.message if waits is not None else "nothing serves yet"
        return _say(kinds.AVAILABLE, Truth.FALSE, Reason.FIRST_REVISION_STARTING, message)
    serving = [
        each
        for arm in (champion, status.candidate)
        if arm is not None and (each := seen.revisions.get(arm.revision)) is not None
    ]
    ready = sum(len(each.ready_pods) for each in serving)
    if ready == 0:
        return _say(kinds.AVAILABLE, Truth.FALSE, Reason.NO_HEALTHY_REPLICAS, "no pod is ready")
    return _say(kinds.AVAILABLE, Truth.TRUE, Reason.MINIMUM_REPLICAS, _pods(ready))


def _pods(count: int) -> str:
    return "1 pod is ready" if count == 1 else f"{count} pods are ready"


def _progressing(seen: Observation, status: Status, now: datetime) -> Condition:
    arm = status.candidate or status.champion
    if arm is None:
        return _say(kinds.PROGRESSING, Truth.UNKNOWN, Reason.NOT_JUDGED_YET, "nothing to do yet")
    preparing = (status.candidate is not None and status.step is None) or (
        status.candidate is None and arm.since is None
    )
    if preparing and not traffic.returning(status):
        return _preparation(seen, status, arm, now)
    view = holds.hold(seen, status, now=now)
    if view is None or view.why is None:
        decision = status.decision
        message = decision.message if decision is not None else "no rollout runs"
        return _say(kinds.PROGRESSING, Truth.TRUE, Reason.ROLLOUT_COMPLETE, message)
    stuck = view.why not in (Reason.HOLDING_FOR_EVIDENCE, Reason.STEP_ADVANCED)
    return _say(
        kinds.PROGRESSING,
        Truth.FALSE if stuck else Truth.TRUE,
        view.why,
        view.message,
    )


def _preparation(seen: Observation, status: Status, arm: Arm, now: datetime) -> Condition:
    view = seen.revisions.get(arm.revision)
    finding = policy.waits_for(view) if view is not None else None
    if finding is None and view is not None and status.candidate is None:
        # The first revision is never rejected: what is wrong with it is said and tried again.
        finding = policy.own_fault(view, now=now)
    started = _started(status)
    deadline = parse_duration(seen.spec.strategy.progress_deadline)
    if started is not None and now - started > deadline:
        why = finding.message if finding is not None else _preparing_message(seen, arm)
        return _say(
            kinds.PROGRESSING,
            Truth.FALSE,
            Reason.PROGRESS_DEADLINE_EXCEEDED,
            f"not ready for {seen.spec.strategy.progress_deadline}, still trying: {why}",
        )
    if finding is not None:
        return _say(kinds.PROGRESSING, Truth.FALSE, finding.reason, finding.message)
    if status.candidate is not None and seen.spec.paused:
        return _say(kinds.PROGRESSING, Truth.FALSE, Reason.MANUAL_PAUSE, "`spec.paused` is true")
    if status.candidate is not None and seen.query_problems:
        return _say(
            kinds.PROGRESSING, Truth.FALSE, Reason.METRICS_UNAVAILABLE,
            f"version {arm.version} gets no weight: {holds.query_sentence(seen)}",
        )  # fmt: skip
    blocked = seen.spec.strategy.require_compatible_inputs and inputs.differ(status.inputs)
    if status.candidate is not None and blocked and status.inputs is not None:
        return _say(
            kinds.PROGRESSING,
            Truth.FALSE,
            Reason.INCOMPATIBLE_INPUTS,
            f"`strategy.requireCompatibleInputs` holds version {arm.version}: it "
            f"{inputs.sentence(status.inputs)}",
        )
    return _say(kinds.PROGRESSING, Truth.TRUE, Reason.PREPARING, _preparing_message(seen, arm))


def _started(status: Status) -> datetime | None:
    decision = status.decision
    if decision is None or decision.verb is not DecisionVerb.START:
        return None
    return parse_time(decision.time)


def _resolved(seen: Observation) -> Condition:
    version = facts.wish_of(seen)
    if seen.model is None and not seen.model_missing:
        return _say(
            kinds.MODEL_RESOLVED, Truth.UNKNOWN, Reason.REGISTRY_UNAVAILABLE,
            _registry_message(seen),
        )  # fmt: skip
    if version is None:
        return _say(kinds.MODEL_RESOLVED, Truth.FALSE, *_unresolved(seen))
    name = f"version {version.version} of model '{seen.spec.model.name}'"
    if seen.registry_error:
        return _say(
            kinds.MODEL_RESOLVED, Truth.TRUE, Reason.RESOLVED,
            f"{name}, as last read: {_registry_message(seen)}",
        )  # fmt: skip
    if not version.digest:
        return _say(
            kinds.MODEL_RESOLVED, Truth.TRUE, Reason.UNVERIFIED,
            f"{name} has no manifest digest: Linnet did not train it. The tag "
            f"`{labels.VERSION_CONTENT}` adopts it",
        )  # fmt: skip
    return _say(kinds.MODEL_RESOLVED, Truth.TRUE, Reason.RESOLVED, name)


def _programmed(seen: Observation, status: Status) -> Condition:
    view = seen.traffic
    ok = view.programmed and traffic.in_place(seen, status)
    if ok:
        return _say(kinds.TRAFFIC_PROGRAMMED, Truth.TRUE, view.reason, view.message)
    reason = view.reason if not view.programmed else Reason.WAITING
    message = view.message if not view.programmed else "new weights are on their way"
    unknown = reason is Reason.WAITING
    return _say(
        kinds.TRAFFIC_PROGRAMMED, Truth.UNKNOWN if unknown else Truth.FALSE, reason, message
    )


def _is_compared(status: Status) -> bool:
    """Whether two versions are compared now: in a step, or by what is held back after it."""
    in_step = status.candidate is not None and status.step is not None
    return in_step or traffic.held_back(status) > 0


def _metrics(seen: Observation, status: Status, now: datetime) -> Condition:
    state = facts.state_of(status)
    if not _is_compared(status) or state is None:
        return _say(kinds.METRICS_AVAILABLE, Truth.TRUE, Reason.NOT_NEEDED, "no step is analysed")
    missing = holds.missing_sentence(seen, status, state, steps.rules(seen.spec), now=now)
    if not missing:
        return _say(kinds.METRICS_AVAILABLE, Truth.TRUE, Reason.SCRAPED, "both arms are read")
    return _say(
        kinds.METRICS_AVAILABLE, Truth.FALSE, Reason.METRICS_UNAVAILABLE,
        f"{missing}: the weight is held",
    )  # fmt: skip


def _split(seen: Observation, status: Status) -> Condition:
    state = facts.state_of(status)
    if state is None or traffic.kept_share(seen, status) is None:
        return _say(kinds.SPLIT_AS_CONFIGURED, Truth.TRUE, Reason.NOT_NEEDED, "no share is checked")
    if state.split.fires:
        return _say(
            kinds.SPLIT_AS_CONFIGURED, Truth.FALSE, Reason.SAMPLE_RATIO_MISMATCH,
            holds.split_sentence(state),
        )  # fmt: skip
    if state.split.n == 0:
        return _say(
            kinds.SPLIT_AS_CONFIGURED, Truth.UNKNOWN, Reason.NOT_JUDGED_YET,
            "no request was counted at this share yet",
        )  # fmt: skip
    return _say(
        kinds.SPLIT_AS_CONFIGURED, Truth.TRUE, Reason.AS_CONFIGURED,
        "the shares of requests are as configured",
    )  # fmt: skip


def _analysis(status: Status) -> Condition:
    found = status.analysis
    if not _is_compared(status) or found is None:
        return _say(kinds.ANALYSIS_SATISFIED, Truth.TRUE, Reason.NOT_NEEDED, "no step is analysed")
    bad = found.verdict in (Verdict.REGRESSION, Verdict.INVALID)
    return _say(
        kinds.ANALYSIS_SATISFIED,
        Truth.FALSE if bad else Truth.TRUE,
        str(found.verdict),
        _evidence_message(status),
    )


def _inputs(status: Status) -> Condition:
    found = status.inputs
    if status.candidate is None or found is None:
        return _say(
            kinds.INPUTS_COMPATIBLE, Truth.TRUE if status.candidate is None else Truth.UNKNOWN,
            Reason.NOT_COMPARABLE if status.candidate is not None else Reason.SAME_INPUTS,
            "no candidate" if status.candidate is None else "the candidate's inputs are not known",
        )  # fmt: skip
    if inputs.differ(found):
        return _say(
            kinds.INPUTS_COMPATIBLE, Truth.FALSE, Reason.INPUTS_DIFFER,
            f"version {status.candidate.version} {inputs.sentence(found)}",
        )  # fmt: skip
    return _say(kinds.INPUTS_COMPATIBLE, Truth.TRUE, Reason.SAME_INPUTS, inputs.sentence(found))


def _promoted(seen: Observation, status: Status) -> Condition:
    champion, decision, alias = status.champion, status.decision, seen.spec.model.champion_alias

    def say(truth: Truth, reason: Reason, message: str) -> Condition:
        return _say(kinds.PROMOTED, truth, reason, message)

    if not alias:
        return say(Truth.FALSE, Reason.NOT_WRITTEN, "`spec.model.championAlias` is empty")
    if seen.alias_owner:
        return say(
            Truth.FALSE,
            Reason.CHAMPION_ALIAS_TAKEN,
            f"ModelDeployment {seen.alias_owner} is older and writes the alias '{alias}'",
        )
    if champion is None or decision is None:
        return say(Truth.UNKNOWN, Reason.NOT_REACHED, "no champion yet")
    if seen.model is None:
        return say(Truth.UNKNOWN, Reason.REGISTRY_UNAVAILABLE, _registry_message(seen))
    names = seen.model.aliases.get(alias)
    if names == champion.version:
        return say(Truth.TRUE, Reason.ALIAS_SET, f"alias '{alias}' names version {names}")
    pending = decision.verb is DecisionVerb.START and status.candidate is None
    writing = decision.verb is DecisionVerb.PROMOTE and not decision.performed
    if pending or writing:
        reason = Reason.REGISTRY_UNAVAILABLE if seen.registry_error else Reason.NOT_REACHED
        return say(Truth.UNKNOWN, reason, f"alias '{alias}' follows when 100 % was held")
    return say(
        Truth.FALSE,
        Reason.CHAMPION_ALIAS_MOVED,
        f"alias '{alias}' names version {names or 'nothing'}, version {champion.version} is "
        "champion: somebody moved it; it is not written again before the next promotion",
    )


def _stalled(seen: Observation, status: Status, now: datetime) -> Condition | None:
    if seen.problems:
        child, message = next(iter(sorted(seen.problems.items())))
        return _say(
            kinds.STALLED,
            Truth.TRUE,
            Reason.INVALID_TEMPLATE,
            f"the API server refuses {child}: {message}. Correct `spec.server.template`",
        )
    if seen.route_change_waits:
        return _say(
            kinds.STALLED,
            Truth.TRUE,
            Reason.ROLLOUT_IN_PROGRESS,
            "`spec.route` may be added or removed while no rollout runs: the change waits for "
            "the end of this one",
        )
    ready = _ready(seen, status, now)
    sticky = (
        Reason.ROLLED_BACK,
        Reason.UNDONE,
        Reason.CANDIDATE_UNHEALTHY,
        Reason.SAME_CONTENT_AS_REJECTED,
    )
    if ready.reason not in {reason.value for reason in sticky}:
        return None
    reason = (
        Reason.SAME_CONTENT_AS_REJECTED
        if ready.reason == Reason.SAME_CONTENT_AS_REJECTED.value
        else Reason.ROLLED_BACK
    )
    return _say(kinds.STALLED, Truth.TRUE, reason, ready.message)
