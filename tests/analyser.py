"""Rollouts as the analyser sees them: cumulative counters of two arms, scrape by scrape.

Nothing of the verdict is computed here: `core.rollout.analysis` is fed with scrapes and asked.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from linnet.api.model_deployment import Verdict
from linnet.core.evidence import Block
from linnet.core.rollout import analysis
from linnet.core.rollout.analysis import MetricRule, PodSample, Role, Rules, Scrape, State

START = datetime(2026, 11, 25, tzinfo=UTC)
INTERVAL = timedelta(seconds=10)
WARMUP = timedelta(seconds=30)


def rules(*, horizon: int = 180, false_rollback: float = 0.05) -> Rules:
    """The defaults of the product with one error rate."""
    return Rules(
        metrics=(MetricRule(name="errors", bad=("5xx",)),),
        false_rollback=false_rollback,
        false_promotion=0.05,
        interval=INTERVAL,
        warmup=WARMUP,
        horizon=horizon,
    )


def binomial(source: random.Random, n: int, p: float) -> int:
    """A draw of Binomial(n, p), by waiting times: cheap where p is small."""
    if p > 0.5:
        return n - binomial(source, n, 1 - p)
    if p == 0:
        return 0
    log_q, count, position = math.log1p(-p), 0, 0
    while True:
        position += int(math.log(1 - source.random()) / log_q) + 1
        if position > n:
            return count
        count += 1


@dataclass
class Rollout:
    """Two arms with cumulative counters, and the analyser's state beside them."""

    rules: Rules
    source: random.Random
    champion_bad: float = 0.01
    candidate_bad: float = 0.01
    warm_until: datetime | None = None
    now: datetime = START
    requests: dict[Role, int] = field(default_factory=lambda: dict.fromkeys(Role, 0))
    bad: dict[Role, int] = field(default_factory=lambda: dict.fromkeys(Role, 0))

    def __post_init__(self) -> None:
        self.state = analysis.start(self.rules, now=self.now)
        self.state = self._scraped()

    def sample(self, role: Role) -> PodSample:
        bad = self.bad[role]
        codes = {"200": self.requests[role] - bad, "500": bad}
        return PodSample(pod_uid=role.value, started="1", role=role, codes=codes)

    def _scraped(self) -> State:
        scrape = Scrape(
            time=self.now,
            samples=tuple(self.sample(role) for role in Role),
            living_pods=frozenset(role.value for role in Role),
        )
        return analysis.advance(self.state, scrape, self.rules, warm_until=self.warm_until)

    def change_weight(self, *, warmup: timedelta = timedelta()) -> None:
        """The route has other weights from now on."""
        self.state = analysis.change_weight(self.state)
        self.warm_until = self.now + warmup if warmup else None

    def serve(self, total: int, share: float, after: timedelta) -> Verdict:
        """One interval of traffic, one scrape, and what the analyser says of it."""
        n1 = binomial(self.source, total, share)
        n0 = total - n1
        k0 = binomial(self.source, n0, self.champion_bad)
        self.see(Block(n1, binomial(self.source, n1, self.candidate_bad), n0, k0), after)
        return analysis.judge(self.state, self.rules)

    def see(self, delta: Block, after: timedelta) -> None:
        """One scrape after these requests."""
        for role, count, bad in (
            (Role.CHAMPION, delta.n0, delta.k0),
            (Role.CANDIDATE, delta.n1, delta.k1),
        ):
            self.requests[role] += count
            self.bad[role] += bad
        self.now += after
        self.state = self._scraped()


def poisson(source: random.Random, mean: float) -> int:
    """A draw of Poisson(mean), which is large here: rounded normal, never negative."""
    return max(0, round(source.gauss(mean, math.sqrt(mean))))


def at_weight(rollout: Rollout, share: float, counts: Sequence[int]) -> Iterator[Verdict]:
    """Verdicts of the scrapes of one step without warm-up."""
    rollout.change_weight()
    for count in counts:
        yield rollout.serve(count, share, INTERVAL)


def clopper_pearson_upper(events: int, runs: int, *, confidence: float = 0.975) -> float:
    """One-sided upper bound of a rate, by bisection on the binomial's distribution function."""
    low, high = events / runs, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _cdf(events, runs, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _cdf(events: int, runs: int, p: float) -> float:
    if p in (0.0, 1.0):
        return 1.0 if p == 0.0 else float(events >= runs)
    return math.fsum(
        math.exp(
            math.lgamma(runs + 1)
            - math.lgamma(k + 1)
            - math.lgamma(runs - k + 1)
            + k * math.log(p)
            + (runs - k) * math.log1p(-p)
        )
        for k in range(events + 1)
    )
