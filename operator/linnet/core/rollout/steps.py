"""The steps of a rollout: computed defaults of holds, and which step comes next."""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from datetime import timedelta

from linnet_server import contract

from linnet.api.model_deployment import (
    AdvanceWhen,
    DispersionMode,
    ErrorRate,
    Metric,
    ModelDeploymentSpec,
    OnTimeout,
    PairedScore,
    Step,
    StepKind,
    StepStatus,
)
from linnet.api.model_deployment import Dispersion as Given
from linnet.api.shared import parse_duration
from linnet.core.rollout.analysis import (
    BAD,
    EXACT,
    GAUGE,
    TOTAL,
    Dispersion,
    MetricKind,
    MetricRule,
    Rules,
)

FULL = 100
DEFAULT_MINIMUM_REQUESTS = 200
DEFAULT_MAXIMUM = timedelta(minutes=10)
DEFAULT_SHADOW = timedelta(minutes=30)
DEFAULT_FULL_HOLD = timedelta(seconds=60)
SHORTEST_HORIZON = 100
DEFAULT_MARGINS = {
    MetricKind.ERROR_RATE: "2",
    MetricKind.LATENCY: "1.5",
    MetricKind.LABELLED: "1.25",
}
DEFAULT_TOLERANCES = {MetricKind.LABELLED: "1", MetricKind.PAIRED: "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldRule:
    """A step's hold with its defaults filled in."""

    minimum: timedelta
    maximum: timedelta
    requests: int
    advance_when: AdvanceWhen
    on_timeout: OnTimeout


def hold_of(step: Step | None) -> HoldRule:
    """The hold of a step; the defaults alone where the step is no longer in the spec."""
    hold = step.hold if step is not None else None
    full = step is not None and step.weight == FULL
    kind = kind_of(step) if step is not None else StepKind.WEIGHT
    longest = DEFAULT_SHADOW if kind is StepKind.SHADOW else DEFAULT_MAXIMUM
    sticky = step is not None and step.sticky is not None
    chosen = kind is StepKind.COHORT or sticky
    ends = AdvanceWhen.REQUEST if chosen else AdvanceWhen.EVIDENCE_OR_TIMEOUT

    def length(text: str | None, default: timedelta) -> timedelta:
        return parse_duration(text) if text is not None else default

    return HoldRule(
        minimum=length(
            hold.min_duration if hold else None, DEFAULT_FULL_HOLD if full else timedelta()
        ),
        maximum=length(hold.max_duration if hold else None, longest),
        requests=(
            hold.min_candidate_requests
            if hold and hold.min_candidate_requests is not None
            else DEFAULT_MINIMUM_REQUESTS
        ),
        advance_when=(hold.advance_when if hold else None) or ends,
        on_timeout=(hold.on_timeout if hold else None) or OnTimeout.ADVANCE,
    )


def kind_of(step: Step) -> StepKind:
    """What a step does."""
    if step.shadow is not None:
        return StepKind.SHADOW
    return StepKind.COHORT if step.cohort is not None else StepKind.WEIGHT


def at_weight(spec: ModelDeploymentSpec, weight: int) -> Step | None:
    """The step of the spec with this weight."""
    return next((step for step in spec.strategy.steps if step.weight == weight), None)


def present(spec: ModelDeploymentSpec, step: StepStatus) -> Step | None:
    """The step of the spec that a rollout stands at; None where it was edited away.

    A weight is found by itself, a step without one by its place.
    """
    if step.kind is StepKind.WEIGHT:
        return at_weight(spec, step.weight or 0)
    given = spec.strategy.steps
    found = given[step.index - 1] if step.index <= len(given) else None
    return found if found is not None and kind_of(found) is step.kind else None


def following(spec: ModelDeploymentSpec, step: StepStatus | None) -> StepStatus | None:
    """The step after this one, the first for None; None where the rollout is at 100 percent."""
    if step is not None and step.kind is StepKind.WEIGHT:
        return next_step(spec, step.weight or 0)
    given, index = spec.strategy.steps, step.index if step is not None else 0
    if index >= len(given):
        return next_step(spec, 0)
    return _status_of(given[index], index + 1, len(given))


def _status_of(step: Step, index: int, count: int) -> StepStatus:
    label = f"{index}/{count}"
    return StepStatus(index=index, of=count, label=label, kind=kind_of(step), weight=step.weight)


def next_step(spec: ModelDeploymentSpec, weight: int) -> StepStatus | None:
    """The first step above this weight; None where the rollout is at 100 percent."""
    count = len(spec.strategy.steps)
    for index, step in enumerate(spec.strategy.steps, start=1):
        if step.weight is not None and step.weight > weight:
            return _status_of(step, index, count)
    return None


def edited(spec: ModelDeploymentSpec, step: StepStatus) -> StepStatus | None:
    """Where a rollout goes whose step is no longer in the spec; None = it stays.

    It jumps to the first step above the current weight and never lowers a weight silently. Where
    only 100 percent is left it holds at the current weight for one full hold first.
    """
    if present(spec, step) is not None:
        return None
    if step.kind is not StepKind.WEIGHT:
        return next_step(spec, 0)
    after = next_step(spec, step.weight or 0)
    return after if after is not None and after.weight != FULL else None


def rules(spec: ModelDeploymentSpec) -> Rules:
    """What `spec.analysis` asks for, computed defaults filled in."""
    analysis = spec.analysis
    interval = parse_duration(analysis.interval)
    ramp = sum(
        (
            hold_of(step).maximum
            for step in spec.strategy.steps
            if step.weight is not None and step.weight < FULL
        ),
        timedelta(),
    )
    return Rules(
        metrics=tuple(_metric(metric) for metric in analysis.metrics),
        false_rollback=float(analysis.false_rollback_probability),
        false_promotion=float(analysis.false_promotion_probability),
        interval=interval,
        warmup=parse_duration(analysis.warmup),
        horizon=max(SHORTEST_HORIZON, math.ceil(ramp / interval)),
        dispersion=_dispersion(analysis.dispersion),
        learns_at=_learns_at(spec),
        phases=len({kind_of(step) for step in spec.strategy.steps}),
    )


def _metric(metric: Metric) -> MetricRule:
    kind = _kind(metric)
    rate, objective = metric.error_rate, metric.objective
    limit = objective.slower_than if objective is not None else None
    gauge, disagreement, pairs = metric.gauge_prom_ql, metric.disagreement, metric.paired_score
    share = objective or disagreement
    return MetricRule(
        name=metric.name,
        kind=kind,
        bad=tuple(rate.bad) if rate is not None else contract.DEFAULT_BAD_CODES,
        acceptable=float(rate.acceptable if rate is not None else ErrorRate().acceptable),
        tolerance=float(metric.tolerance or DEFAULT_TOLERANCES.get(kind, "1.1")),
        margin=float(metric.margin or DEFAULT_MARGINS.get(kind, "2")),
        importance=metric.importance,
        max_rate=float(share.max_rate) if share is not None else 0.0,
        slower_than=_edge(parse_duration(limit)) if limit is not None else None,
        difference=float((pairs or PairedScore()).tolerance),
        queries=queries(metric),
        higher_is_worse=gauge is None or gauge.higher_is == "Worse",
    )


def compares_answers(spec: ModelDeploymentSpec) -> bool:
    """Whether a metric needs both answers to one request, which no gateway keeps."""
    return any(metric.disagreement is not None for metric in spec.analysis.metrics)


def queries(metric: Metric) -> dict[str, str]:
    """PromQL of a metric by what it is for; nothing where pods' own counters are read."""
    if metric.gauge_prom_ql is not None:
        return {GAUGE: metric.gauge_prom_ql.query}
    source = metric.source.prom_ql if metric.source is not None else None
    return {TOTAL: source.total, BAD: source.bad} if source is not None else {}


def _kind(metric: Metric) -> MetricKind:
    given = {
        MetricKind.LATENCY: metric.latency_histogram,
        MetricKind.DRIFT_BUCKETS: metric.drift_buckets,
        MetricKind.OBJECTIVE: metric.objective,
        MetricKind.GAUGE: metric.gauge_prom_ql,
        MetricKind.DISAGREEMENT: metric.disagreement,
        MetricKind.LABELLED: metric.labelled_outcome,
        MetricKind.PAIRED: metric.paired_outcome,
        MetricKind.PAIRED_SCORE: metric.paired_score,
    }
    return next((kind for kind, value in given.items() if value is not None), MetricKind.ERROR_RATE)


def _edge(limit: timedelta) -> int:
    """Place of the first edge at or above a limit: what lies above it is slower in any case."""
    edges = contract.LATENCY_EDGES
    return min(bisect_left(edges, limit.total_seconds()), len(edges) - 1)


def _dispersion(given: Given) -> Dispersion:
    match given.mode:
        case DispersionMode.EXACT:
            return Dispersion(source=EXACT, precision=None)
        case DispersionMode.FIXED:
            return Dispersion(source="Fixed", precision=float(given.precision or 0))
        case DispersionMode.LEARNED:
            return Dispersion()


def _learns_at(spec: ModelDeploymentSpec) -> float | None:
    """Share at which the champion's pods are split to learn how noisy they are.

    A ramp takes what was learnt at its middle weight. Only a shadow step leaves the time to learn.
    """
    learned = spec.analysis.dispersion.mode is DispersionMode.LEARNED
    if not learned or all(step.shadow is None for step in spec.strategy.steps):
        return None
    weights = [step.weight for step in spec.strategy.steps if step.weight not in (None, FULL)]
    return (weights[(len(weights) - 1) // 2] or 0) / 100 if weights else 0.5
