"""Traffic of two arms, scrape by scrape: what every rule of the benchmark is shown.

The set-ups of the rollout reference, section 6. A world holds many runs of one set-up; the same
runs are shown to all rules.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

SCRAPES = 100
"""Scrapes of a cell, with an equal number of requests each."""
BASE = 0.01
"""The champion's share of bad answers, unless said otherwise."""
WARMUP = 30.0
STEP_SCRAPES = 180
"""Scrapes of a step of half an hour."""
RAMP = (0.05, 0.25, 0.5)
"""The default steps."""


@dataclass(frozen=True)
class World:
    """Counts [runs, scrapes]: requests `n` and bad ones `k` of candidate (1) and champion (0).

    `starts` holds the scrapes at which a weight begins, `seconds` how long each scrape lasts, and
    `warmup` the seconds after a new weight that are not judged (0: none).
    """

    n1: Any
    k1: Any
    n0: Any
    k0: Any
    seconds: Any
    starts: tuple[int, ...] = (0,)
    warmup: float = 0.0

    @property
    def runs(self) -> int:
        """How many runs it holds."""
        return len(self.n1)

    def first(self, runs: int) -> World:
        """Its first runs alone."""
        return World(
            n1=self.n1[:runs],
            k1=self.k1[:runs],
            n0=self.n0[:runs],
            k0=self.k0[:runs],
            seconds=self.seconds,
            starts=self.starts,
            warmup=self.warmup,
        )


def random(*key: int) -> np.random.Generator:
    """A source of its own for each cell, so that cells do not depend on what ran before."""
    return np.random.default_rng((20261122, *key))


def _world(source: Any, n1: Any, n0: Any, p1: Any, p0: Any, seconds: Any, **more: Any) -> World:
    """Bad answers drawn for given requests; rates broadcast to [runs, scrapes]."""
    return World(
        n1=n1,
        k1=source.binomial(n1, np.minimum(p1, 1.0)),
        n0=n0,
        k0=source.binomial(n0, np.minimum(p0, 1.0)),
        seconds=seconds,
        **more,
    )


def cell(
    source: Any,
    runs: int,
    *,
    share: Any,
    total: int,
    candidate: Any = BASE,
    champion: Any = BASE,
    starts: tuple[int, ...] = (0,),
) -> World:
    """`total` requests in 100 equal scrapes; rates are numbers or arrays of [runs, scrapes]."""
    count = total // SCRAPES
    n1 = source.binomial(count, np.broadcast_to(share, (runs, SCRAPES)))
    seconds = np.full(SCRAPES, 10.0)
    return _world(source, n1, count - n1, candidate, champion, seconds, starts=starts)


def noise(source: Any, shape: tuple[int, ...], cv: float) -> Any:
    """Factors with mean one and this coefficient of variation: one for each scrape of an arm."""
    return source.gamma(1 / cv**2, cv**2, shape) if cv else np.ones(shape)


def pods(source: Any, runs: int, sd: float) -> Any:
    """Factors that an arm keeps for a whole run, lognormal with this standard deviation.

    Only the candidate gets one: so the figures of the reference for other rules come out (with one
    for each arm, the ratio rule at sd .2 rolls back 14 % of 100k, not 6).
    """
    return pod_effects(source, runs, 1, sd)


def pod_pairs(
    source: Any, runs: int, *, share: float, total: int, pods_each: int, sd: float, candidate: float
) -> tuple[World, World]:
    """Both arms of as many pods, each pod with an effect of its own; and the champion's pods split.

    The first world is the rollout, whose arms keep their pods' effects. The second is the A/A
    traffic before it: the same pods of the champion, divided about as `share` says.
    """
    theirs = pod_effects(source, runs, pods_each, sd)
    ours = pod_effects(source, runs, pods_each, sd)
    fewer = min(max(round(share * pods_each), 1), pods_each - 1)
    shape = (runs, SCRAPES)
    rollout = cell(
        source,
        runs,
        share=share,
        total=total,
        candidate=np.broadcast_to(candidate * ours.mean(axis=1, keepdims=True), shape),
        champion=np.broadcast_to(BASE * theirs.mean(axis=1, keepdims=True), shape),
    )
    pilot = cell(
        source,
        runs,
        share=fewer / pods_each,
        total=total,
        candidate=np.broadcast_to(BASE * theirs[:, :fewer].mean(axis=1, keepdims=True), shape),
        champion=np.broadcast_to(BASE * theirs[:, fewer:].mean(axis=1, keepdims=True), shape),
    )
    return rollout, pilot


def pod_effects(source: Any, runs: int, count: int, sd: float) -> Any:
    """Factors that pods keep for a whole run, lognormal with this standard deviation."""
    return np.exp(source.normal(0.0, sd, (runs, count)))


def noisy(
    source: Any, runs: int, *, share: float, total: int, cv: float = 0.0, sd: float = 0.0
) -> World:
    """Healthy, with noise of each scrape of an arm (`cv`), or an effect of the candidate's pods."""
    shape = (runs, SCRAPES)
    candidate = BASE * noise(source, shape, cv) * pods(source, runs, sd)
    champion = BASE * noise(source, shape, cv)
    return cell(source, runs, share=share, total=total, candidate=candidate, champion=champion)


def incident(source: Any, runs: int, *, share: float, total: int) -> World:
    """Healthy, while both arms answer 8 % badly for a tenth of the run, at any time of it."""
    begin = source.integers(0, SCRAPES - SCRAPES // 10 + 1, (runs, 1))
    after = np.arange(SCRAPES) - begin
    rate = np.where((after >= 0) & (after < SCRAPES // 10), 0.08, BASE)
    return cell(source, runs, share=share, total=total, candidate=rate, champion=rate)


def drifting_ramp(source: Any, runs: int, *, total: int) -> World:
    """Healthy, ramped over 5, 20 and 50 % while the rate of both arms drifts from .5 to 3 %."""
    rate = np.linspace(0.005, 0.03, SCRAPES)
    share, starts = _shares((0.05, 0.2, 0.5), (20, 30, 50))
    return cell(
        source, runs, share=share, total=total, candidate=rate, champion=rate, starts=starts
    )


def cold(source: Any, runs: int, *, share: float, total: int) -> World:
    """Healthy, but for a candidate that answers 10 % badly in the first 3 % of the run."""
    rate = np.full(SCRAPES, BASE)
    rate[:3] = 0.1
    return cell(source, runs, share=share, total=total, candidate=rate)


LATE = 60
"""Scrape at which a late regression begins."""


def late(source: Any, runs: int, *, share: float, total: int, candidate: float) -> World:
    """A regression from 60 % of the run on."""
    rate = np.full(SCRAPES, BASE)
    rate[LATE:] = candidate
    return cell(source, runs, share=share, total=total, candidate=rate)


def ramp(source: Any, runs: int, *, total: int, candidate: float) -> World:
    """5, 20, 50 % for 20, 30, 50 scrapes."""
    share, starts = _shares((0.05, 0.2, 0.5), (20, 30, 50))
    return cell(source, runs, share=share, total=total, candidate=candidate, starts=starts)


def _shares(weights: Sequence[float], scrapes: Sequence[int]) -> tuple[Any, tuple[int, ...]]:
    return np.repeat(weights, scrapes), tuple(np.cumsum((0, *scrapes[:-1])).tolist())


def broken(source: Any, runs: int, *, share: float, rate: float, candidate: float) -> World:
    """Real time: `rate` requests a second, a warm-up with a scrape every 2 s, then every 10 s."""
    seconds = np.concatenate([np.full(15, 2.0), np.full(STEP_SCRAPES - 3, 10.0)])
    return _timed(source, runs, share, rate * seconds, candidate, BASE, seconds, warmup=WARMUP)


def steps(
    source: Any,
    runs: int,
    *,
    weights: Sequence[float],
    rate: float,
    candidate: float | None = None,
    base: float = BASE,
    cv: float = 0.0,
    sd: float = 0.0,
) -> World:
    """Real time, without a warm-up: steps of half an hour, scraped every 10 s."""
    count = STEP_SCRAPES * len(weights)
    share, starts = _shares(weights, [STEP_SCRAPES] * len(weights))
    shape = (runs, count)
    p1 = (candidate or base) * noise(source, shape, cv) * pods(source, runs, sd)
    p0 = base * noise(source, shape, cv)
    seconds = np.full(count, 10.0)
    return _timed(source, runs, share, rate * seconds, p1, p0, seconds, starts=starts)


def _timed(
    source: Any, runs: int, share: Any, means: Any, p1: Any, p0: Any, seconds: Any, **more: Any
) -> World:
    """Poisson arrivals: those of the arms are independent."""
    shape = (runs, len(seconds))
    n1 = source.poisson(np.broadcast_to(means * share, shape))
    n0 = source.poisson(np.broadcast_to(means * (1 - np.asarray(share)), shape))
    return _world(source, n1, n0, p1, p0, seconds, **more)
