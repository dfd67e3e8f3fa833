"""The rules of Argo Rollouts, Flagger, Kayenta and Iter8, and two naive tests, re-implemented.

As the rollout reference describes them (sections 6 and 8). Each rule takes a world and gives, for
every run, the scrape whose requests made it roll back, or -1: shape [runs].
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from scipy.special import betainc, betaln
from scipy.stats import norm, rankdata

from benchmarks.verdict.worlds import World

Rule = Callable[[World], Any]

KAYENTA_CONFIDENCE = 0.98
KAYENTA_TOLERANCE = 0.25
"""Of the Hodges-Lehmann estimate: what the lower confidence limit must exceed."""
NAIVE_LEVEL = 0.99


def _intervals(counts: Any, looks: int) -> Any:
    """Sums over equal stretches of scrapes: [runs, looks]."""
    return counts.reshape(len(counts), looks, -1).sum(axis=2)


def _ends(world: World, looks: int) -> Any:
    """The last scrape of each stretch."""
    each = world.n1.shape[1] // looks
    return np.arange(1, looks + 1) * each - 1


def _first(fires: Any, at: Any) -> Any:
    """The scrape of the first look that fires; -1 where none does."""
    return np.where(fires.any(axis=1), at[fires.argmax(axis=1)], -1)


def failure_limit(failed: Any, *, limit: int) -> Any:
    """Whether more measurements than `limit` have failed, after each: [runs, looks]."""
    return np.cumsum(failed, axis=1) > limit


def threshold(world: World, *, rate: float, looks: int = 5, limit: int = 1) -> Any:
    """Argo Rollouts: an interval fails when the candidate's own error rate is above a constant.

    By default the second of five that fails ends it; one without requests does not fail. Its
    documentation's example asks for 95 % success and tolerates three failures (`looks=20`).
    """
    n1, k1 = _intervals(world.n1, looks), _intervals(world.k1, looks)
    return _first(failure_limit(k1 > rate * n1, limit=limit), _ends(world, looks))


def ratio(world: World, *, limit: float, looks: int = 5) -> Any:
    """A ratio rule: an interval fails when the candidate's rate is `limit` times the champion's."""
    n1, k1 = _intervals(world.n1, looks), _intervals(world.k1, looks)
    n0, k0 = _intervals(world.n0, looks), _intervals(world.k0, looks)
    return _first(failure_limit(k1 * n0 > limit * k0 * n1, limit=1), _ends(world, looks))


def flagger(world: World, *, success: float = 0.99, fails: int = 10, passes: int = 10) -> Any:
    """Flagger's example: ten failed checks roll back, ten passed ones promote, whichever is first.

    Failed checks never decay. Twenty ticks decide every run.
    """
    looks = fails + passes
    n1, k1 = _intervals(world.n1, looks), _intervals(world.k1, looks)
    failed = n1 - k1 < success * n1
    undecided = np.cumsum(~failed, axis=1) < passes
    fires = failure_limit(failed, limit=fails - 1) & undecided
    return _first(fires, _ends(world, looks))


def iter8(world: World, *, rate: float = 0.015) -> Any:
    """Iter8 v2: one assessment at the end, of the candidate's mean against a limit."""
    failed = world.k1.sum(axis=1) > rate * world.n1.sum(axis=1)
    return np.where(failed, world.n1.shape[1] - 1, -1)


def kayenta_high(experiment: Any, control: Any) -> bool:
    """Kayenta's Mann-Whitney classifier: whether one metric of the experiment is High.

    High: the lower limit of the 98 % interval of the shift is above a quarter of the
    Hodges-Lehmann estimate. The statistic falls with the shift, so this asks whether it is still
    significant (normal, corrected for ties and continuity, as R's `wilcox.test`) right above that
    shift: at the shift itself equal rates would count as ties, which the limit does not exceed.
    """
    if len(experiment) == 0 or len(control) == 0 or np.array_equal(experiment, control):
        return False
    estimate = np.median(np.subtract.outer(experiment, control))
    x = experiment - KAYENTA_TOLERANCE * abs(estimate) - 1e-9
    n, m = len(x), len(control)
    pooled = np.concatenate([x, control])
    distance = rankdata(pooled)[:n].sum() - n * (n + 1) / 2 - n * m / 2
    _, ties = np.unique(pooled, return_counts=True)
    spread = n * m / 12 * (n + m + 1 - (ties**3 - ties).sum() / ((n + m) * (n + m - 1)))
    if spread <= 0:
        return False
    statistic = (distance - np.sign(distance) * 0.5) / np.sqrt(spread)
    return bool(statistic > norm.ppf(0.5 + KAYENTA_CONFIDENCE / 2))


def kayenta(world: World, *, looks: int = 5) -> Any:
    """Kayenta's judge on the error rates of all scrapes so far, without those of no requests."""
    found = np.full(world.runs, -1)
    with np.errstate(invalid="ignore", divide="ignore"):
        candidate, champion = world.k1 / world.n1, world.k0 / world.n0
    for run in range(world.runs):
        for end in _ends(world, looks):
            x, y = candidate[run, : end + 1], champion[run, : end + 1]
            if kayenta_high(x[~np.isnan(x)], y[~np.isnan(y)]):
                found[run] = end
                break
    return found


def probability_worse(n1: Any, k1: Any, n0: Any, k0: Any, *, nodes: int = 48) -> Any:
    """P(candidate's rate > champion's) for uniform priors, by Gauss-Legendre quadrature.

    The integral runs over the candidate's posterior, within eight deviations of its mean.
    """
    points, weights = np.polynomial.legendre.leggauss(nodes)
    a, b = k1[..., None] + 1.0, n1[..., None] - k1[..., None] + 1.0
    mean = a / (a + b)
    deviation = np.sqrt(mean * (1 - mean) / (a + b + 1))
    low = np.maximum(mean - 8 * deviation, 0.0)
    high = np.minimum(mean + 8 * deviation, 1.0)
    x = low + (high - low) * (points + 1) / 2
    log_density = (a - 1) * np.log(x) + (b - 1) * np.log1p(-x) - betaln(a, b)
    below = betainc(k0[..., None] + 1.0, n0[..., None] - k0[..., None] + 1.0, x)
    return (np.exp(log_density) * below * weights).sum(axis=-1) * (high - low)[..., 0] / 2


def naive_bayes(world: World, *, looks: int = 20) -> Any:
    """A posterior probability that is looked at again and again as if it were the first time."""
    tables = [_looked_at(counts, looks) for counts in (world.n1, world.k1, world.n0, world.k0)]
    return _first(probability_worse(*tables) > NAIVE_LEVEL, _ends(world, looks))


def naive_z(world: World, *, looks: int = 20) -> Any:
    """A pooled z test of two shares, one-sided, that is looked at again and again."""
    n1, k1, n0, k0 = (
        _looked_at(counts, looks) for counts in (world.n1, world.k1, world.n0, world.k0)
    )
    pooled = (k1 + k0) / (n1 + n0)
    with np.errstate(invalid="ignore", divide="ignore"):
        z = (k1 / n1 - k0 / n0) / np.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n0))
    return _first(np.nan_to_num(z) > norm.ppf(NAIVE_LEVEL), _ends(world, looks))


def _looked_at(counts: Any, looks: int) -> Any:
    return np.cumsum(_intervals(counts, looks), axis=1)


RULES: dict[str, Rule] = {
    "a1 > 1.0 %": partial(threshold, rate=0.01),
    "a1 > 1.5 %": partial(threshold, rate=0.015),
    "a1 > 2.0 %": partial(threshold, rate=0.02),
    "a2 Flagger": flagger,
    "a3 Argo docs": partial(threshold, rate=0.05, looks=20, limit=3),
    "a4 ratio 1.5": partial(ratio, limit=1.5),
    "a5 Iter8": iter8,
    "b1 Kayenta": kayenta,
    "b3 Bayes": naive_bayes,
    "b4 z": naive_z,
}
SLOW = frozenset({"b1 Kayenta", "b3 Bayes"})
"""Rules that are shown fewer runs."""
