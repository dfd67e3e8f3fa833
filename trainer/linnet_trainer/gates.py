"""The gates: what a model must be able to do before it becomes a version.

A comparison with the champion is a non-inferiority test over clusters, never rows: rows of one day
or group share their luck. The standard error is the delete-one-cluster jackknife of the difference,
the bound Student's t with one degree of freedom less than clusters (reference/ml.md, section 12).
Looks at one holdout share a total alpha: look j uses alpha / (j (j + 1)), which sums to alpha.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.stats

from linnet_trainer.contract import Gate, GateReason
from linnet_trainer.recipe import MINIMUM_CLUSTERS, GateSpec, Unit

BLOCKS = 200
"""More clusters than this are merged into so many blocks of whole clusters."""

_UNITS = {Unit.DAY: "days", Unit.GROUP: "groups", Unit.ROW: "rows"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Challenger minus champion, with the standard error over clusters."""

    estimate: float
    error: float
    clusters: int
    freedom: int


def jackknife(
    measure: Callable[[np.ndarray[Any, Any]], float], clusters: np.ndarray[Any, Any]
) -> Difference:
    """Estimate a difference and its standard error by leaving out one cluster at a time.

    `measure` takes the numbers of the rows that stay and returns the difference on them;
    `clusters` names each row's cluster.
    """
    blocks, clusters_seen = _blocks(clusters)
    rows = np.arange(len(clusters))
    left_out = np.array([measure(rows[blocks != block]) for block in range(blocks.max() + 1)])
    return _difference(measure(rows), left_out, clusters_seen)


def jackknife_mean(values: np.ndarray[Any, Any], clusters: np.ndarray[Any, Any]) -> Difference:
    """Estimate the mean of one difference per row as `jackknife` does, from sums of clusters."""
    blocks, clusters_seen = _blocks(clusters)
    sums, counts = np.bincount(blocks, weights=values), np.bincount(blocks)
    left_out = (values.sum() - sums) / (len(values) - counts)
    return _difference(float(values.mean()), left_out, clusters_seen)


def _blocks(clusters: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], int]:
    """Number the blocks that are left out, per row; return them and how many clusters there are."""
    names, codes = np.unique(clusters, return_inverse=True)
    if len(names) <= BLOCKS:
        return codes, len(names)
    # Whole clusters are dealt out in a fixed random order: a delete-a-group jackknife.
    return np.random.default_rng(0).permutation(len(names))[codes] % BLOCKS, len(names)


def _difference(estimate: float, left_out: np.ndarray[Any, Any], clusters: int) -> Difference:
    count = len(left_out)
    spread = ((left_out - left_out.mean()) ** 2).sum()
    return Difference(
        estimate=estimate,
        error=math.sqrt((count - 1) / count * spread),
        clusters=clusters,
        freedom=count - 1,
    )


def quantile(*, confidence: float, look: int, freedom: int) -> float:
    """Return how many standard errors below the estimate look `look` puts its bound."""
    alpha = (1 - confidence) / (look * (look + 1))
    return float(scipy.stats.t.ppf(1 - alpha, freedom))


def judge_minimum(spec: GateSpec, value: float, *, rows: int) -> Gate:
    """Judge an estimate on the holdout against a minimum."""
    passed = value >= float(spec.minimum)
    sign = "at least" if passed else "below"
    return Gate(
        name=spec.name,
        passed=passed,
        value=figure(value),
        bound=spec.minimum,
        n=rows,
        reason=GateReason.AT_LEAST_MINIMUM if passed else GateReason.BELOW_THRESHOLD,
        message=f"{spec.metric} {value:.3f} is {sign} the minimum {spec.minimum}",
    )


def judge_difference(spec: GateSpec, found: Difference, *, look: int, version: str) -> Gate:
    """Judge whether the challenger is not worse than the champion by more than the margin."""
    times = quantile(confidence=spec.confidence, look=look, freedom=max(found.freedom, 1))
    bound = found.estimate - times * found.error
    if found.clusters < MINIMUM_CLUSTERS:
        return Gate(
            name=spec.name,
            passed=False,
            value="" if math.isnan(found.estimate) else figure(found.estimate),
            n=found.clusters,
            reason=GateReason.UNCLEAR,
            message=_too_few(spec, found, times),
        )
    if math.isnan(found.estimate) or math.isnan(found.error):
        return refuse(
            spec,
            GateReason.CHECK_FAILED,
            f"{spec.metric} is not defined on the holdout without one of its clusters",
        )
    passed = bound > -spec.margin
    return Gate(
        name=spec.name,
        passed=passed,
        value=figure(found.estimate),
        bound=figure(bound),
        n=found.clusters,
        reason=_reason(spec, found, passed),
        message=_sentence(spec, found, bound, times, look=look, version=version),
    )


def pass_without_champion(spec: GateSpec, alias: str, model: str) -> Gate:
    """Let a model pass because there is no champion to compare it with."""
    where = f"model '{model}' has no alias '{alias}'" if alias else "`model.championAlias` is empty"
    return Gate(
        name=spec.name,
        passed=True,
        reason=GateReason.NO_CHAMPION,
        message=f"no champion to compare with: {where}",
    )


def refuse(spec: GateSpec, reason: GateReason, message: str) -> Gate:
    """Refuse without a figure."""
    return Gate(name=spec.name, passed=False, reason=reason, message=message)


def figure(value: float) -> str:
    """Write a metric or a difference for the result document, to four decimals."""
    return f"{value:.4f}"


def _reason(spec: GateSpec, found: Difference, passed: bool) -> GateReason:
    if passed:
        return GateReason.NOT_WORSE_THAN_CHAMPION
    if found.estimate <= -spec.margin:
        return GateReason.WORSE_THAN_CHAMPION
    return GateReason.UNCLEAR


def _too_few(spec: GateSpec, found: Difference, times: float) -> str:
    units = _UNITS[spec.unit]
    told = (
        f"the holdout has {found.clusters} {units} and must have at least {MINIMUM_CLUSTERS}: make "
        "`validation.holdout` larger"
    )
    if math.isnan(found.error):
        return told
    return (
        f"{told}; standard error {found.error:.3f} over {found.clusters} {units} resolves a margin "
        f"of {times * found.error:.3f}"
    )


def _sentence(
    spec: GateSpec, found: Difference, bound: float, times: float, *, look: int, version: str
) -> str:
    margin = f"{spec.margin:g}"
    if bound > -spec.margin:
        return (
            f"not worse than version {version} by more than {margin}: {found.estimate:+.3f}, "
            f"at least {bound:+.3f} (look {look})"
        )
    if found.estimate <= -spec.margin:
        return (
            f"{spec.metric} is worse than version {version}'s by more than {margin}: "
            f"{found.estimate:+.3f}, standard error {found.error:.3f} over {found.clusters} "
            f"{_UNITS[spec.unit]} (look {look})"
        )
    half = times * found.error
    needed = math.ceil(found.clusters * (half / (found.estimate + spec.margin)) ** 2)
    return (
        f"unclear against version {version}: {spec.metric} {found.estimate:+.3f}, at least "
        f"{bound:+.3f}, which is not above -{margin} (look {look}); standard error "
        f"{found.error:.3f} over {found.clusters} {_UNITS[spec.unit]} resolves a margin of "
        f"{half:.3f}; {margin} needs about {needed} {_UNITS[spec.unit]}"
    )
