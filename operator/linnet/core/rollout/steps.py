"""The steps of a rollout: computed defaults of holds, and which step comes next."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta

from linnet.api.model_deployment import (
    AdvanceWhen,
    ErrorRate,
    Metric,
    ModelDeploymentSpec,
    OnTimeout,
    Step,
    StepStatus,
)
from linnet.api.shared import parse_duration
from linnet.core.rollout.analysis import MetricRule, Rules

FULL = 100
DEFAULT_MINIMUM_REQUESTS = 200
DEFAULT_MAXIMUM = timedelta(minutes=10)
DEFAULT_FULL_HOLD = timedelta(seconds=60)
SHORTEST_HORIZON = 100


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

    def length(text: str | None, default: timedelta) -> timedelta:
        return parse_duration(text) if text is not None else default

    return HoldRule(
        minimum=length(
            hold.min_duration if hold else None, DEFAULT_FULL_HOLD if full else timedelta()
        ),
        maximum=length(hold.max_duration if hold else None, DEFAULT_MAXIMUM),
        requests=(
            hold.min_candidate_requests
            if hold and hold.min_candidate_requests is not None
            else DEFAULT_MINIMUM_REQUESTS
        ),
        advance_when=(hold.advance_when if hold else None) or AdvanceWhen.EVIDENCE_OR_TIMEOUT,
        on_timeout=(hold.on_timeout if hold else None) or OnTimeout.ADVANCE,
    )


def at_weight(spec: ModelDeploymentSpec, weight: int) -> Step | None:
    """The step of the spec with this weight."""
    return next((step for step in spec.strategy.steps if step.weight == weight), None)


def next_step(spec: ModelDeploymentSpec, weight: int) -> StepStatus | None:
    """The first step above this weight; None where the rollout is at 100 percent."""
    count = len(spec.strategy.steps)
    for index, step in enumerate(spec.strategy.steps, start=1):
        if step.weight is not None and step.weight > weight:
            return StepStatus(index=index, of=count, label=f"{index}/{count}", weight=step.weight)
    return None


def edited(spec: ModelDeploymentSpec, step: StepStatus) -> StepStatus | None:
    """Where a rollout goes whose step is no longer in the spec; None = it stays.

    It jumps to the first step above the current weight and never lowers a weight silently. Where
    only 100 percent is left it holds at the current weight for one full hold first.
    """
    weight = step.weight or 0
    if at_weight(spec, weight) is not None:
        return None
    following = next_step(spec, weight)
    return following if following is not None and following.weight != FULL else None


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
    )


def _metric(metric: Metric) -> MetricRule:
    rate = metric.error_rate or ErrorRate()
    return MetricRule(
        name=metric.name,
        bad=tuple(rate.bad),
        acceptable=float(rate.acceptable),
        tolerance=float(metric.tolerance or "1.1"),
        margin=float(metric.margin or "2"),
        importance=metric.importance,
    )
