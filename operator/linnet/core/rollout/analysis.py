"""From scraped counters to a verdict: blocks, processes and what is kept of them in status.

A pure fold: `State` and one `Scrape` give the next `State`; `judge` reads a verdict off a state.
The state is written with the resourceVersion that was read, so a replayed pass counts nothing
twice. Formulas are `core.evidence`'s; the rules are section 4 of the rollout reference.
"""

from __future__ import annotations

import base64
import json
import math
import struct
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from linnet_server import contract

from linnet.api.model_deployment import Verdict
from linnet.core import evidence, names
from linnet.core.evidence import EMPTY, Block, Mixture

FORMAT = 1
SMALL_TOLERANCE = 1.1
WARMING_INTERVAL = timedelta(seconds=2)
LOG_TIMEOUT_PAUSES_AT = math.log(10.0)
"""A step that times out with log E at or above this pauses instead of advancing."""
LOG_SPLIT_ALARM = math.log(1000.0)
QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99)
"""The champion's answer times that a `latencyHistogram` compares at."""
LEAST_TIMED = 100
"""Answers of the champion below which its quantiles are not known."""
BUCKETS = contract.PREDICTION_BUCKETS
AA_BLOCKS = 100
"""Scrapes of the champion alone that a precision is learnt from; fewer teach nothing."""


class Role(StrEnum):
    """What the operator assigns to a revision when it reads its pods' counters."""

    CHAMPION = "champion"
    CANDIDATE = "candidate"


class MetricKind(StrEnum):
    """How a metric's bad answers are told and judged (reference 4.5)."""

    ERROR_RATE = "errorRate"
    LATENCY = "latencyHistogram"
    DRIFT_BUCKETS = "driftBuckets"
    OBJECTIVE = "objective"
    GAUGE = "gaugePromQL"
    DISAGREEMENT = "disagreement"
    LABELLED = "labelledOutcome"
    PAIRED = "pairedOutcome"
    PAIRED_SCORE = "pairedScore"


TALLIED = frozenset(
    {MetricKind.GAUGE, MetricKind.DISAGREEMENT, MetricKind.PAIRED, MetricKind.PAIRED_SCORE}
)
"""Kinds of which only sums count: their evidence does not depend on the order of what was seen."""
TOLD = frozenset(
    {MetricKind.DISAGREEMENT, MetricKind.LABELLED, MetricKind.PAIRED, MetricKind.PAIRED_SCORE}
)
"""Kinds whose counters are of whoever has seen both answers, or an answer and its label."""
REMEMBERED_SERIES = 150
"""Series of one metric's queries whose last values are kept; beyond it only those seen last."""
EXACT = "Exact"
TOTAL, BAD, GAUGE = "total", "bad", "gauge"
"""What a query is for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispersion:
    """How far counters vary beyond chance, and where that is known from."""

    source: str = "Assumed"
    precision: float | None = evidence.ASSUMED_PRECISION
    """The tau of the arm label before its floor; None = none at all (the form Exact)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRule:
    """One metric as it is judged."""

    name: str
    kind: MetricKind = MetricKind.ERROR_RATE
    bad: tuple[str, ...] = ()
    """Codes that are bad, of `errorRate` and `objective`."""
    acceptable: float = 0.01
    tolerance: float = 1.1
    margin: float = 2.0
    importance: int = 1
    max_rate: float = 0.0
    """Of `objective` and `disagreement`: the share of bad answers that is allowed."""
    difference: float = 0.005
    """Of `pairedScore`: how much lower a score may be."""
    queries: Mapping[str, str] = field(default_factory=dict)
    """PromQL with `$revision`, by what it is for; empty where pods' own counters are read."""
    higher_is_worse: bool = True
    """Of `gaugePromQL`."""
    slower_than: int | None = None
    """Of `objective`: place of the latency edge above which an answer is bad too."""

    def floor(self, dispersion: Dispersion) -> float:
        """The constant c of the precision's floor (reference 4.4)."""
        if self.kind is MetricKind.LATENCY and dispersion.source == "Assumed":
            return 4.0
        return 3.0 if self.tolerance < SMALL_TOLERANCE else 2.0

    @property
    def is_guardrail(self) -> bool:
        """Whether it can show that a candidate is no worse."""
        return self.kind in (MetricKind.ERROR_RATE, MetricKind.LATENCY, MetricKind.LABELLED)

    @property
    def compares(self) -> bool:
        """Whether it sets both arms against each other, block by block."""
        return self.kind is not MetricKind.OBJECTIVE and self.kind not in TALLIED

    @property
    def learns(self) -> bool:
        """Whether the champion's pods can teach how noisy its counts are."""
        return self.compares and self.kind is not MetricKind.LABELLED and not self.queries


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What `spec.analysis` asks for, computed defaults filled in."""

    metrics: tuple[MetricRule, ...]
    false_rollback: float
    false_promotion: float
    interval: timedelta
    warmup: timedelta
    horizon: int
    """T of the change-point mixture; used when a rollout starts and frozen in its state."""
    dispersion: Dispersion = Dispersion()
    learns_at: float | None = None
    """Share at which the champion's pods are split to learn a precision; None where none is."""
    phases: int = 1
    """Kinds of traffic that are compared one after another, each with evidence of its own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSample:
    """Cumulative counters of one server process, of one kind of traffic."""

    pod_uid: str
    started: str
    """Process start time as its metrics page says: with the pod's uid the identity of a series."""
    role: Role
    codes: Mapping[str, int]
    latency: tuple[int, ...] = ()
    """Answers up to each of the contract's latency edges, and last all of them."""
    scores: tuple[int, ...] = ()
    """Predicted rows by bucket of their score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomeSample:
    """What one process has told of compared or labelled answers, since it started."""

    pod_uid: str
    started: str
    results: Mapping[Role, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    """Counts by result, by the contract's name of the metric, by arm."""
    differences: tuple[int, ...] = ()
    """Pairs by how much higher the champion's score is, in the contract's order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """One look at both arms; pods and metrics that did not answer are simply absent."""

    time: datetime
    samples: tuple[PodSample, ...]
    living_pods: frozenset[str]
    """Uids of all Pod objects: the series of others are pruned."""
    outcomes: tuple[OutcomeSample, ...] = ()
    answers: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By metric whose queries were all answered: values by `answer_key`."""


def answer_key(role: Role, purpose: str, series: str) -> str:
    """The key of one series that a query of one arm returned."""
    return f"{role.value}/{purpose}/{series}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Everything kept of one way in which answers can be bad."""

    a: tuple[float, ...] = (0.0,) * len(evidence.GRID)
    regression: Mixture
    mirror: Mixture | None = None
    """The same against smaller odds, of buckets: a score may become rarer too."""
    disaster: Mixture | None = None
    n: int = 0
    k: int = 0
    open: Block = EMPTY
    disaster_open: Block = EMPTY
    disaster_last: Block = EMPTY
    totals: Block = EMPTY
    warming: Block = EMPTY
    differences: tuple[int, ...] = ()
    """Of `pairedScore`: pairs by the difference of their scores."""

    @classmethod
    def start(cls, rule: MetricRule, horizon: int) -> Process:
        regression = Mixture.start(rule.tolerance, evidence.BETS, horizon)
        disaster = Mixture.start(evidence.DISASTER_TOLERANCE, evidence.DISASTER_BETS, horizon)
        return cls(
            regression=regression,
            mirror=regression if rule.kind is MetricKind.DRIFT_BUCKETS else None,
            disaster=disaster if rule.kind is MetricKind.ERROR_RATE else None,
        )

    def with_rule(self, rule: MetricRule, horizon: int) -> Process:
        """The same evidence under an edited tolerance: only the mixtures start anew."""
        if math.isclose(self.regression.psi0, rule.tolerance, rel_tol=1e-9):
            return self
        fresh = Mixture.start(rule.tolerance, evidence.BETS, horizon)
        return replace(self, regression=fresh, mirror=fresh if self.mirror is not None else None)

    def add(
        self, delta: Block, rule: MetricRule, dispersion: Dispersion, *, warming: bool
    ) -> Process:
        """One scrape's deltas of both arms; while warming they feed the disaster process only."""
        if rule.kind in TALLIED and not warming:
            return replace(self, totals=self.totals + delta)
        process = self._add_disaster(delta)
        if warming:
            return replace(process, warming=process.warming + delta)
        process = replace(process, totals=process.totals + delta, open=process.open + delta)
        return process._close(rule, dispersion) if process.open.closable else process

    def _close(self, rule: MetricRule, dispersion: Dispersion) -> Process:
        block, tau = self.open, dispersion.precision
        if tau is not None:
            tau = evidence.floored_precision(tau, block, floor=rule.floor(dispersion))
        gains = evidence.grid_gains(block, tau)
        return replace(
            self,
            a=tuple(old + gain for old, gain in zip(self.a, gains, strict=True)),
            regression=_bet(self.regression, block, tau),
            mirror=_bet(self.mirror, block.swapped, tau) if self.mirror is not None else None,
            n=self.n + block.n1,
            k=self.k + block.k1,
            open=EMPTY,
        )

    def add_differences(self, more: Sequence[int]) -> Process:
        """The differences of more pairs of scores."""
        before = self.differences or (0,) * len(more)
        return replace(self, differences=tuple(a + b for a, b in zip(before, more, strict=True)))

    def _add_disaster(self, delta: Block) -> Process:
        if self.disaster is None:
            return self
        block = self.disaster_open + delta
        if not block.closable:
            return replace(self, disaster_open=block)
        return replace(
            self,
            disaster=_bet(self.disaster, block, evidence.disaster_precision(block.share)),
            disaster_open=EMPTY,
            disaster_last=block,
        )

    @property
    def log_e(self) -> float:
        """Logarithm of the evidence of a change for the worse; for buckets, of any change."""
        if self.mirror is None:
            return self.regression.log_e
        return evidence.log_mean((self.regression.log_e, self.mirror.log_e))

    @property
    def log_disaster(self) -> float:
        """Logarithm of D; at most one while fewer than 10 % of the last block were bad.

        A champion that hardly ever fails makes small cold starts look large: real failures are not
        slowed by this rule.
        """
        if self.disaster is None:
            return 0.0
        last = self.disaster_last
        if last.k1 * 10 < last.n1:
            return min(self.disaster.log_e, 0.0)
        return self.disaster.log_e

    def discard_open(self) -> Process:
        """At a weight change: two shares in one block would confound it with a drifting base."""
        return replace(self, open=EMPTY, disaster_open=EMPTY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """What the champion alone has shown of how much one way to be bad varies (reference 4.4)."""

    likelihoods: tuple[float, ...] = (0.0,) * len(evidence.PRECISIONS)
    """Log likelihood of every precision that may be chosen, summed over the blocks."""
    blocks: int = 0

    def add(self, block: Block) -> Noise:
        """One A/A block, which needs requests on both sides; the first hundred count."""
        if self.blocks >= AA_BLOCKS or not (block.n1 and block.n0):
            return self
        more = evidence.precision_likelihoods(block)
        sums = tuple(old + new for old, new in zip(self.likelihoods, more, strict=True))
        return Noise(likelihoods=sums, blocks=self.blocks + 1)


def _bet(mixture: Mixture, block: Block, tau: float | None) -> Mixture:
    return mixture.add(evidence.block_gains(block, mixture.bets, mixture.psi0, tau))


Counters = tuple[int, ...]
"""All answers, and those that were bad in each way: cumulative, of one series and metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """The check that the arms get their shares (reference 4.7); it measures the gateway."""

    share: float | None = None
    """The candidate's configured share; None where none is checked."""
    n: int = 0
    k: int = 0
    log_before: float = 0.0
    """Logarithm of the product over earlier shares."""
    pods: str = ""
    """Which processes were read last, as a digest."""

    @property
    def log_e(self) -> float:
        """Logarithm of the evidence that the shares are not those configured."""
        if self.share is None or self.n == 0:
            return self.log_before
        return self.log_before + evidence.log_share_mismatch(self.n, self.k, self.share)

    @property
    def fires(self) -> bool:
        """Whether the arms do not get what was configured."""
        return self.log_e >= LOG_SPLIT_ALARM

    def at(self, share: float | None) -> Split:
        """The check at another share: what was found so far is kept as a factor."""
        if share == self.share:
            return self
        return Split(share=share, log_before=self.log_e, pods=self.pods)

    def add(self, delta: Block, pods: str) -> Split:
        """One scrape's requests, if it read the same processes as the scrape before.

        A pod that is gone takes its last requests with it, and one that did not answer tells them
        later: neither is the gateway's doing.
        """
        if self.share is None or pods != self.pods:
            return replace(self, pods=pods)
        return replace(self, n=self.n + delta.n1 + delta.n0, k=self.k + delta.n1)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The evidence of one rollout."""

    horizon: int
    since: datetime
    time: datetime | None = None
    """The last scrape; None before the baseline was taken."""
    processes: Mapping[str, Process] = field(default_factory=dict)
    """By metric, or by metric and place where one can be bad in several ways."""
    edges: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Places of the latency edges that a metric compares, frozen when it began."""
    noise: Mapping[str, Noise] = field(default_factory=dict)
    """By process, while precisions are learnt."""
    precisions: Mapping[str, float] = field(default_factory=dict)
    """By process, once they are learnt and frozen."""
    series: Mapping[str, Mapping[str, Counters]] = field(default_factory=dict)
    read: Mapping[Role, datetime] = field(default_factory=dict)
    """When each arm was last read."""
    queried: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """By metric: the last value of every series that its queries returned."""
    answered: Mapping[str, datetime] = field(default_factory=dict)
    """By metric: when all its queries were last answered."""
    earlier: tuple[float, ...] = ()
    """Logarithms of the evidence of phases that are over."""
    max_log_e: float = 0.0
    step_requests: int = 0
    """Candidate requests since the weight last changed, warming ones included."""
    split: Split = Split()
    drain: tuple[int, int] | None = None
    """While traffic returns: the candidate's counter and how often it was seen unchanged."""

    @property
    def started(self) -> bool:
        """The baseline is taken: from here on everything counts."""
        return self.time is not None

    def of(self, rule: MetricRule) -> tuple[Process, ...]:
        """The processes of a metric; none before it was read."""
        found = (self.processes.get(key) for key in _keys(rule, self.edges.get(rule.name, ())))
        return tuple(process for process in found if process is not None)


def start(rules: Rules, *, now: datetime) -> State:
    """The state of a new rollout, before its baseline."""
    return State(horizon=rules.horizon, since=now)


def advance(
    state: State,
    scrape: Scrape,
    rules: Rules,
    *,
    warm_until: datetime | None,
    share: float | None = None,
    learning: bool = False,
) -> State:
    """The state after one scrape.

    `warm_until` is the end of the warm-up after the last weight change or the last candidate pod
    that became ready; a scrape is warming when any part of what it counts lies before it. `share`
    is the candidate's share as a gateway was told it; None where nobody keeps one. `learning` says
    that the champion has all users still, so that its pods can be compared with each other.
    """
    warming = state.time is not None and warm_until is not None and state.time < warm_until
    processes: dict[str, Process] = {}
    edges = _edges(state, scrape, rules)
    for rule in rules.metrics:
        chosen = edges.get(rule.name, ())
        deltas = _deltas(state, scrape, rule, chosen)
        for key, delta in zip(_keys(rule, chosen), deltas, strict=True):
            process = state.processes.get(key) or Process.start(rule, state.horizon)
            process = process.with_rule(rule, state.horizon)
            if state.started:
                dispersion = _dispersion(state, rule, key, rules)
                process = process.add(delta, rule, dispersion, warming=warming)
                if rule.kind is MetricKind.PAIRED_SCORE and not warming:
                    process = process.add_differences(_told(state, scrape, rule))
            processes[key] = process
    requests = _deltas(state, scrape, REQUESTS, ())[0] if state.started else EMPTY
    split = state.split.at(share)
    read = {**state.read, **{sample.role: scrape.time for sample in scrape.samples}}
    after = replace(
        state,
        processes=processes,
        edges=edges,
        noise=_learned(state, scrape, rules, edges) if learning else state.noise,
        queried=_queried(state, scrape, rules),
        answered={**state.answered, **dict.fromkeys(scrape.answers, scrape.time)},
        time=scrape.time,
        read=read,
        series=_series(state, scrape, rules, edges),
        step_requests=state.step_requests + requests.n1,
        split=split.add(EMPTY if warming else requests, _pods(scrape)),
    )
    log_e = mean_log_e(after, rules)
    return replace(after, max_log_e=max(after.max_log_e, log_e))


def learn(state: State, scrape: Scrape, rules: Rules) -> State:
    """The state after a scrape before the baseline: the champion alone is looked at."""
    if rules.learns_at is None:
        return state
    champion = tuple(each for each in scrape.samples if each.role is Role.CHAMPION)
    scrape = replace(scrape, samples=champion)
    edges = _edges(state, scrape, rules)
    return replace(
        state,
        edges=edges,
        noise=_learned(state, scrape, rules, edges),
        series=_series(state, scrape, rules, edges),
        read={**state.read, Role.CHAMPION: scrape.time} if champion else state.read,
    )


def learns(state: State, rules: Rules) -> bool:
    """Whether there is a precision that more scrapes of the champion may still teach."""
    enough = bool(state.noise) and all(each.blocks >= AA_BLOCKS for each in state.noise.values())
    return rules.learns_at is not None and not enough


def freeze_precisions(state: State) -> State:
    """The state when weights begin: what was learnt stays as it is, what was not is assumed."""
    learned = {
        key: evidence.likeliest_precision(noise.likelihoods)
        for key, noise in state.noise.items()
        if noise.blocks >= AA_BLOCKS
    }
    return replace(state, noise={}, precisions={**state.precisions, **learned})


def _learned(
    state: State, scrape: Scrape, rules: Rules, edges: Mapping[str, Sequence[int]]
) -> dict[str, Noise]:
    """What is known of the champion's noise after one more A/A block of its pods.

    Pods are split, never requests: a random split of one stream is binomial by construction and
    always looks noiseless.
    """
    noise = dict(state.noise)
    if rules.learns_at is None or Role.CHAMPION not in state.read:
        return noise
    champion = [each for each in scrape.samples if each.role is Role.CHAMPION]
    fewer = _smaller_group({each.pod_uid for each in champion}, rules.learns_at, state.since)
    as_arms = tuple(
        replace(each, role=Role.CANDIDATE if each.pod_uid in fewer else Role.CHAMPION)
        for each in champion
    )
    for rule in rules.metrics:
        if not rule.learns:
            continue
        chosen = edges.get(rule.name, ())
        blocks = _deltas(state, replace(scrape, samples=as_arms), rule, chosen)
        for key, block in zip(_keys(rule, chosen), blocks, strict=True):
            noise[key] = noise.get(key, Noise()).add(block)
    return noise


def _smaller_group(pods: set[str], share: float, since: datetime) -> set[str]:
    """About this share of the pods, at random, and the same ones for the whole rollout."""
    shuffled = sorted(pods, key=lambda pod: names.digest({"pod": pod, "since": str(since)}))
    return set(shuffled[: min(max(round(share * len(pods)), 1), len(pods) - 1)])


def _dispersion(state: State, rule: MetricRule, key: str, rules: Rules) -> Dispersion:
    """How far the counts of one process vary: as learnt, else as the rules say."""
    if rule.kind is MetricKind.LABELLED:
        return Dispersion(source=EXACT, precision=None)
    learned = state.precisions.get(key)
    if learned is None or rules.learns_at is None:
        return rules.dispersion
    return Dispersion(source="Learned", precision=learned)


def dispersion_of(state: State, rule: MetricRule, place: int, rules: Rules) -> Dispersion:
    """The dispersion of one of a metric's processes, by its place in `State.of`."""
    return _dispersion(state, rule, _keys(rule, state.edges.get(rule.name, ()))[place], rules)


def change_weight(state: State) -> State:
    """The state when the weight changes: open blocks are dropped, evidence is kept."""
    processes = {name: process.discard_open() for name, process in state.processes.items()}
    return replace(state, processes=processes, step_requests=0)


def change_kind(state: State, rules: Rules) -> State:
    """The state when another kind of traffic is compared: what was found so far stays a part."""
    return State(
        horizon=state.horizon,
        since=state.since,
        edges=state.edges,
        noise=state.noise,
        precisions=state.precisions,
        earlier=(*state.earlier, _phase_log_e(state, rules)),
        max_log_e=state.max_log_e,
    )


def resume(state: State, rules: Rules) -> State:
    """The state after the request `resume`: what had fired without being a verdict starts anew."""
    processes = dict(state.processes)
    for rule in rules.metrics:
        if shared_incident(state, rule, rules):
            for key in _keys(rule, ()):
                processes[key] = replace(processes[key], totals=EMPTY)
    split = state.split
    if split.fires:
        split = Split(share=split.share, pods=split.pods)
    return replace(state, processes=processes, split=split)


def watch_drain(state: State, scrape: Scrape) -> State:
    """The state after a scrape while traffic returns: it feeds no process."""
    count = sum(
        sum(sample.codes.values()) for sample in scrape.samples if sample.role is Role.CANDIDATE
    )
    before, unchanged = state.drain or (-1, 0)
    return replace(state, time=scrape.time, drain=(count, unchanged + 1 if count == before else 0))


def _pods(scrape: Scrape) -> str:
    return names.digest({"series": sorted(_series_key(each) for each in scrape.samples)})[:8]


def _series_key(sample: PodSample | OutcomeSample) -> str:
    return f"{sample.pod_uid}/{sample.started}"


REQUESTS = MetricRule(name="", bad=())
"""All requests, whatever is measured of them: what shares and a step's least number are of."""


def _edges(state: State, scrape: Scrape, rules: Rules) -> dict[str, tuple[int, ...]]:
    """Places of the latency edges of every metric that has them, once they are known."""
    found = {
        rule.name: state.edges.get(rule.name) or _choose_edges(scrape)
        for rule in rules.metrics
        if rule.kind is MetricKind.LATENCY and not rule.queries
    }
    return {name: edges for name, edges in found.items() if edges}


def _keys(rule: MetricRule, edges: Sequence[int]) -> tuple[str, ...]:
    """Names of a metric's processes, one for each way in which its answers can be bad."""
    if rule.queries:
        return (rule.name,)
    match rule.kind:
        case MetricKind.OBJECTIVE:
            return (f"{rule.name}/errors", f"{rule.name}/slow")
        case MetricKind.LATENCY:
            return tuple(f"{rule.name}/{edge}" for edge in edges)
        case MetricKind.DRIFT_BUCKETS:
            return tuple(f"{rule.name}/{place}" for place in range(len(BUCKETS)))
        case _:
            return (rule.name,)


def _counters(sample: PodSample, rule: MetricRule, edges: Sequence[int]) -> Counters:
    codes, latency = sample.codes, sample.latency
    total = sum(codes.values())
    match rule.kind:
        case MetricKind.OBJECTIVE:
            return total, _bad(codes, rule), _slower(latency, rule.slower_than)
        case MetricKind.LATENCY:
            timed = latency[-1] if latency else 0
            return timed, *(_slower(latency, edge) for edge in edges)
        case MetricKind.DRIFT_BUCKETS:
            return sum(sample.scores), *(sample.scores or (0,) * len(BUCKETS))
        case _:
            return total, _bad(codes, rule)


def _outcomes(sample: OutcomeSample, rule: MetricRule) -> Counters:
    """A metric's counters of one process that has seen answers together, or with their labels."""

    def told(role: Role, metric: str) -> Mapping[str, int]:
        return sample.results.get(role, {}).get(metric, {})

    def counts(role: Role, metric: str) -> tuple[int, int]:
        found = told(role, metric)
        bad = found.get(contract.RESULT_BAD, 0)
        return bad + found.get(contract.RESULT_OK, 0), bad

    match rule.kind:
        case MetricKind.PAIRED_SCORE:
            return sample.differences or (0,) * len(contract.PAIR_DIFFERENCES)
        case MetricKind.PAIRED:
            pairs = told(Role.CANDIDATE, contract.OUTCOME_PAIRED)
            worse, better = contract.RESULT_CANDIDATE_ONLY, contract.RESULT_CHAMPION_ONLY
            return sum(pairs.values()), pairs.get(worse, 0), pairs.get(better, 0)
        case MetricKind.LABELLED:
            metric = contract.OUTCOME_LABELLED
            return *counts(Role.CANDIDATE, metric), *counts(Role.CHAMPION, metric)
        case _:
            return counts(Role.CANDIDATE, contract.OUTCOME_DISAGREEMENT)


def _bad(codes: Mapping[str, int], rule: MetricRule) -> int:
    return sum(count for code, count in codes.items() if contract.is_bad(code, rule.bad))


def _slower(latency: Sequence[int], edge: int | None) -> int:
    """Answers above an edge."""
    return latency[-1] - latency[edge] if latency and edge is not None else 0


def _choose_edges(scrape: Scrape) -> tuple[int, ...]:
    """Places of the edges nearest above the champion's quantiles, by all that its pods have seen.

    None while it has too few answers: a metric that cannot be judged yet waits.
    """
    seen = [sample.latency for sample in scrape.samples if sample.role is Role.CHAMPION]
    counts = [sum(column) for column in zip(*(each for each in seen if each), strict=True)]
    if not counts or counts[-1] < LEAST_TIMED:
        return ()
    last = len(counts) - 2
    return tuple(
        sorted({min(bisect_left(counts, share * counts[-1]), last) for share in QUANTILES})
    )


def _deltas(
    state: State, scrape: Scrape, rule: MetricRule, edges: Sequence[int]
) -> tuple[Block, ...]:
    """What both arms have answered since the last scrape: a block for each way to be bad."""
    if rule.queries:
        return (_asked(state, scrape, rule),)
    if rule.kind in TOLD:
        return (_told_block(rule, _told(state, scrape, rule)),)
    ways = len(_keys(rule, edges))
    sums = {role: [0] * (ways + 1) for role in Role}
    for sample in scrape.samples:
        more = _increase(state, _series_key(sample), rule, _counters(sample, rule, edges))
        for place, count in enumerate(more):
            sums[sample.role][place] += count
    (n1, *bad1), (n0, *bad0) = sums[Role.CANDIDATE], sums[Role.CHAMPION]
    return tuple(Block(n1, min(k1, n1), n0, min(k0, n0)) for k1, k0 in zip(bad1, bad0, strict=True))


def _increase(state: State, series: str, rule: MetricRule, now: Counters) -> Counters:
    """How far one series' counters have come since the last scrape.

    A series that appears after the baseline is a new process: it starts at zero. A metric that was
    added later is baselined where its series stands.
    """
    known = state.series.get(series)
    before = known.get(rule.name, now) if known is not None else (0,) * len(now)
    if len(before) != len(now):
        before = now
    return tuple(max(0, new - old) for new, old in zip(now, before, strict=True))


def _told(state: State, scrape: Scrape, rule: MetricRule) -> Counters:
    """What all processes together have told of a metric since the last scrape."""
    more = [
        _increase(state, _series_key(sample), rule, _outcomes(sample, rule))
        for sample in scrape.outcomes
    ]
    empty = _outcomes(OutcomeSample(pod_uid="", started=""), rule)
    return tuple(sum(column) for column in zip(empty, *more, strict=True))


def _told_block(rule: MetricRule, more: Counters) -> Block:
    """What was told as a table; pairs are of both arms."""
    match rule.kind:
        case MetricKind.LABELLED:
            return Block(*more)
        case MetricKind.PAIRED:
            pairs, worse, better = more
            return Block(pairs, worse, pairs, better)
        case MetricKind.PAIRED_SCORE:
            middle, pairs = len(more) // 2, sum(more)
            return Block(pairs, sum(more[middle + 1 :]), pairs, sum(more[:middle]))
        case _:
            answers, otherwise = more
            return Block(answers, otherwise, 0, 0)


def _asked(state: State, scrape: Scrape, rule: MetricRule) -> Block:
    """What a metric's queries say has happened since they were last answered.

    A value that went down is a new baseline: a sum goes down when one of its parts leaves, and
    then what is left of it is no count of new requests.
    """
    values = scrape.answers.get(rule.name, {})
    if rule.kind is MetricKind.GAUGE:
        return _worse_or_better(values, rule)
    known = state.queried.get(rule.name)
    if known is None:
        return EMPTY
    sums = dict.fromkeys((f"{role.value}/{what}" for role in Role for what in (TOTAL, BAD)), 0)
    for key, value in values.items():
        sums[key.rpartition("/")[0]] += max(0, int(value) - known.get(key, 0))
    n1, n0 = (sums[f"{role.value}/{TOTAL}"] for role in (Role.CANDIDATE, Role.CHAMPION))
    k1, k0 = (sums[f"{role.value}/{BAD}"] for role in (Role.CANDIDATE, Role.CHAMPION))
    return Block(n1, min(k1, n1), n0, min(k0, n0))


def _worse_or_better(values: Mapping[str, float], rule: MetricRule) -> Block:
    """One comparison of two figures; a tie, or a figure that is not there, says nothing."""
    by_role = {key.partition("/")[0]: value for key, value in values.items()}
    candidate, champion = by_role.get(Role.CANDIDATE), by_role.get(Role.CHAMPION)
    if candidate is None or champion is None or candidate == champion:
        return EMPTY
    worse = (candidate > champion) is rule.higher_is_worse
    return Block(1, int(worse), 1, int(not worse))


def _queried(state: State, scrape: Scrape, rules: Rules) -> dict[str, Mapping[str, int]]:
    """The last values of all series of queries: one that is away for a while is remembered.

    A gauge is no counter: of it only which arms had one is kept.
    """
    kept = dict(state.queried)
    for rule in rules.metrics:
        values = scrape.answers.get(rule.name)
        if values is not None and rule.queries:
            counts = rule.kind is not MetricKind.GAUGE
            seen = {key: int(value) if counts else 0 for key, value in values.items()}
            all_known = {**kept.get(rule.name, {}), **seen}
            kept[rule.name] = all_known if len(all_known) <= REMEMBERED_SERIES else seen
    return kept


def _series(
    state: State, scrape: Scrape, rules: Rules, edges: Mapping[str, Sequence[int]]
) -> dict[str, Mapping[str, Counters]]:
    kept = {
        key: counters
        for key, counters in state.series.items()
        if key.partition("/")[0] in scrape.living_pods
    }
    read = [rule for rule in rules.metrics if not rule.queries]
    own = [REQUESTS, *(rule for rule in read if rule.kind not in TOLD)]
    for sample in scrape.samples:
        kept[_series_key(sample)] = {
            rule.name: _counters(sample, rule, edges.get(rule.name, ())) for rule in own
        }
    told = [rule for rule in read if rule.kind in TOLD]
    for each in scrape.outcomes if told else ():
        key = _series_key(each)
        kept[key] = {**kept.get(key, {}), **{rule.name: _outcomes(each, rule) for rule in told}}
    return kept


# -- what the evidence says ----------------------------------------------------------------------


def log_objective(processes: Sequence[Process], rule: MetricRule, role: Role) -> float:
    """Logarithm of the evidence that one arm misses an objective.

    Errors and slow answers are counted apart, so that how many were both is not known: the larger
    count is a lower bound of those that were either, and evidence from it is valid.
    """
    totals = [process.totals for process in processes]
    if role is Role.CHAMPION:
        totals = [block.swapped for block in totals]
    worst = max(totals, key=lambda block: block.k1, default=EMPTY)
    return evidence.log_objective(worst.n1, worst.k1, rule.max_rate)


def shared_incident(state: State, rule: MetricRule, rules: Rules) -> bool:
    """Whether both arms miss an objective: the cause is not the candidate."""
    if rule.kind is not MetricKind.OBJECTIVE:
        return False
    bound = -math.log(rules.false_rollback)
    return all(log_objective(state.of(rule), rule, role) >= bound for role in Role)


def log_metric(state: State, rule: MetricRule, rules: Rules) -> float:
    """Logarithm of one metric's evidence against the candidate; a metric without data has none."""
    processes = state.of(rule)
    if not processes:
        return 0.0
    totals = processes[0].totals
    match rule.kind:
        case MetricKind.OBJECTIVE:
            missed = log_objective(processes, rule, Role.CANDIDATE)
            return min(missed, 0.0) if shared_incident(state, rule, rules) else missed
        case MetricKind.DISAGREEMENT:
            return evidence.log_objective(totals.n1, totals.k1, rule.max_rate)
        case MetricKind.GAUGE:
            return evidence.log_mcnemar(totals.k1, totals.k0)
        case MetricKind.PAIRED:
            return evidence.log_mcnemar(totals.k1, totals.k0, tolerance=rule.tolerance)
        case MetricKind.PAIRED_SCORE:
            return _log_scores(processes[0].differences, rule.difference)
        case _:
            return evidence.log_mean([process.log_e for process in processes])


def _log_scores(differences: Sequence[int], tolerance: float) -> float:
    """Logarithm of the evidence of pairs of scores, by how often each difference was seen."""
    sums = [0.0] * len(evidence.SCORE_BETS)
    for text, count in zip(contract.PAIR_DIFFERENCES, differences, strict=False):
        if count:
            gains = evidence.betting_gains(float(text), tolerance)
            sums = [old + count * gain for old, gain in zip(sums, gains, strict=True)]
    return evidence.log_mean(sums)


def mean_log_e(state: State, rules: Rules) -> float:
    """Logarithm of the mean of all e-values: rule 1 compares it with 1/alpha.

    Phases count alike, those to come as one: alpha bounds the whole rollout, whatever its phases.
    """
    to_come = max(0, rules.phases - len(state.earlier) - 1)
    return evidence.log_mean((*state.earlier, _phase_log_e(state, rules), *[0.0] * to_come))


def _phase_log_e(state: State, rules: Rules) -> float:
    parts: list[tuple[float, float]] = []
    for rule in rules.metrics:
        parts.append((rule.importance, log_metric(state, rule, rules)))
        if rule.kind is MetricKind.ERROR_RATE:
            log_d = max((process.log_disaster for process in state.of(rule)), default=0.0)
            parts.append((rule.importance * evidence.DISASTER_SHARE, log_d))
    return evidence.weighted_mean(parts)


def judge(state: State, rules: Rules) -> Verdict:
    """The verdict of the evidence alone; holds, times and requests are the planner's.

    A regression comes first: its evidence is conditional on the realised share, so it holds where
    shares are not as configured, and a dying candidate distorts its share.
    """
    if mean_log_e(state, rules) >= -math.log(rules.false_rollback):
        return Verdict.REGRESSION
    if state.split.fires:
        return Verdict.INVALID
    guardrails = [rule for rule in rules.metrics if rule.is_guardrail]
    if guardrails and all(
        log_good_enough(state, rule) >= -math.log(rules.false_promotion) for rule in guardrails
    ):
        return Verdict.NO_REGRESSION
    return Verdict.UNDECIDED


def log_good_enough(state: State, rule: MetricRule) -> float:
    """Logarithm of the evidence that the candidate is no worse in one metric than its margin."""
    processes = state.of(rule)
    if not processes or not rule.is_guardrail:
        return 0.0
    shown = min(evidence.log_no_regression(process.a, rule.margin) for process in processes)
    if rule.kind is not MetricKind.ERROR_RATE:
        return shown
    process = processes[0]
    return max(shown, evidence.log_acceptable(process.n, process.k, rule.acceptable))


def readable(state: State, rules: Rules, *, now: datetime) -> bool:
    """Each arm was read within three intervals (the condition `MetricsAvailable`)."""
    limit = _oldest(rules, now)
    pods = all(role in state.read and state.read[role] >= limit for role in Role)
    return pods and not unanswered(state, rules, now=now)


def unanswered(state: State, rules: Rules, *, now: datetime) -> tuple[str, ...]:
    """Names of the metrics whose queries were not answered within three intervals."""
    limit = _oldest(rules, now)
    return tuple(
        rule.name
        for rule in rules.metrics
        if rule.queries and not (rule.name in state.answered and state.answered[rule.name] >= limit)
    )


def unseen(state: State, rules: Rules) -> tuple[str, ...]:
    """Names of the metrics whose queries were answered, but never with anything of one arm."""
    return tuple(rule.name for rule in rules.metrics if rule.queries and _misses(state, rule))


def _misses(state: State, rule: MetricRule) -> bool:
    if rule.kind is MetricKind.GAUGE:
        found = {key.partition("/")[0] for key in state.queried.get(rule.name, ())}
        return not found.issuperset(Role)
    return any(
        min(total.n1, total.n0) == 0
        for total in (process.totals + process.warming for process in state.of(rule))
    )


def _oldest(rules: Rules, now: datetime) -> datetime:
    return now - 3 * max(rules.interval, WARMING_INTERVAL)


def scrape_interval(rules: Rules, *, warm_until: datetime | None, now: datetime) -> timedelta:
    """How long to wait between scrapes: shorter while warming."""
    if warm_until is not None and now < warm_until:
        return min(WARMING_INTERVAL, rules.interval)
    return rules.interval


def next_scrape(state: State, interval: timedelta, *, now: datetime) -> datetime:
    """When counters are read next: at once where a clock was put back behind the last time."""
    last = state.time
    return now if last is None or last > now else last + interval


# -- what lies in status -------------------------------------------------------------------------


def _pack(values: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}d", *values)).decode()


def _unpack(text: str) -> tuple[float, ...]:
    raw = base64.b64decode(text)
    return struct.unpack(f"<{len(raw) // 8}d", raw)


def _dump_block(block: Block) -> list[int]:
    return [block.n1, block.k1, block.n0, block.k0]


def _dump_mixture(mixture: Mixture) -> dict[str, Any]:
    return {"p": mixture.psi0, "t": mixture.blocks, "A": _pack(mixture.log_a)}


def _load_mixture(data: Mapping[str, Any], bets: Sequence[float], horizon: int) -> Mixture:
    empty = Mixture.start(data["p"], bets, horizon)
    return replace(empty, blocks=data["t"], log_a=_unpack(data["A"]))


def _dump_process(process: Process) -> dict[str, Any]:
    body = {
        "a": _pack(process.a),
        "E": _dump_mixture(process.regression),
        "g": [process.n, process.k],
        "o": _dump_block(process.open),
        "s": _dump_block(process.totals),
        "w": _dump_block(process.warming),
    }
    if process.differences:
        body["x"] = list(process.differences)
    if process.mirror is not None:
        body["M"] = _dump_mixture(process.mirror)
    if process.disaster is not None:
        body["D"] = _dump_mixture(process.disaster)
        body["do"] = _dump_block(process.disaster_open)
        body["dl"] = _dump_block(process.disaster_last)
    return body


_NONE = (0, 0, 0, 0)


def _load_process(data: Mapping[str, Any], horizon: int) -> Process:
    n, k = data["g"]

    def mixture(key: str, bets: Sequence[float]) -> Mixture | None:
        return _load_mixture(data[key], bets, horizon) if key in data else None

    return Process(
        a=_unpack(data["a"]),
        regression=_load_mixture(data["E"], evidence.BETS, horizon),
        mirror=mixture("M", evidence.BETS),
        disaster=mixture("D", evidence.DISASTER_BETS),
        n=n,
        k=k,
        open=Block(*data["o"]),
        disaster_open=Block(*data.get("do", _NONE)),
        disaster_last=Block(*data.get("dl", _NONE)),
        totals=Block(*data["s"]),
        warming=Block(*data["w"]),
        differences=tuple(data.get("x", ())),
    )


def _load_split(data: Sequence[Any] | None) -> Split:
    # A rollout that an older operator began has none.
    if data is None:
        return Split()
    share, n, k, log_before, pods = data
    return Split(share=share, n=n, k=k, log_before=log_before, pods=pods)


def dump(state: State) -> str:
    """Compact JSON for `status.analysis.state`, the format's number first."""
    body = {
        "T": state.horizon,
        "since": state.since.isoformat(),
        "time": state.time.isoformat() if state.time else None,
        "max": state.max_log_e,
        "e": list(state.earlier),
        "n": state.step_requests,
        "d": list(state.drain) if state.drain else None,
        "q": {name: list(edges) for name, edges in sorted(state.edges.items())},
        "N": {
            key: [noise.blocks, _pack(noise.likelihoods)]
            for key, noise in sorted(state.noise.items())
        },
        "P": dict(sorted(state.precisions.items())),
        "h": list(astuple(state.split)),
        "m": {name: _dump_process(process) for name, process in sorted(state.processes.items())},
        "c": {
            key: {name: list(found) for name, found in sorted(counters.items())}
            for key, counters in sorted(state.series.items())
        },
        "r": {role.value: time.isoformat() for role, time in sorted(state.read.items())},
        "Q": {name: dict(sorted(found.items())) for name, found in sorted(state.queried.items())},
        "R": {name: time.isoformat() for name, time in sorted(state.answered.items())},
    }
    return json.dumps([FORMAT, body], separators=(",", ":"))


@lru_cache(maxsize=64)
def load(text: str) -> State:
    """The state back from status; raises ValueError for a format that this version cannot read.

    A pass asks several times for the same text; a state is never changed, so one is shared.
    """
    version, body = json.loads(text)
    if version != FORMAT:
        raise ValueError(f"analysis state has format {version}, this version reads {FORMAT}")
    horizon = body["T"]
    return State(
        horizon=horizon,
        since=datetime.fromisoformat(body["since"]),
        time=datetime.fromisoformat(body["time"]) if body["time"] else None,
        max_log_e=body["max"],
        earlier=tuple(body.get("e", ())),
        step_requests=body["n"],
        drain=(body["d"][0], body["d"][1]) if body["d"] else None,
        edges={name: tuple(edges) for name, edges in body.get("q", {}).items()},
        noise={
            key: Noise(blocks=blocks, likelihoods=_unpack(packed))
            for key, (blocks, packed) in body.get("N", {}).items()
        },
        precisions=body.get("P", {}),
        split=_load_split(body.get("h")),
        processes={name: _load_process(data, horizon) for name, data in body["m"].items()},
        series={
            key: {name: tuple(found) for name, found in counters.items()}
            for key, counters in body["c"].items()
        },
        read={Role(role): datetime.fromisoformat(time) for role, time in body["r"].items()},
        queried=body.get("Q", {}),
        answered={name: datetime.fromisoformat(time) for name, time in body.get("R", {}).items()},
    )
