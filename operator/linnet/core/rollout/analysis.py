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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Any

from linnet_server import contract

from linnet.api.model_deployment import Verdict
from linnet.core import evidence
from linnet.core.evidence import EMPTY, Block, Mixture

FORMAT = 1
SMALL_TOLERANCE = 1.1
WARMING_INTERVAL = timedelta(seconds=2)
LOG_TIMEOUT_PAUSES_AT = math.log(10.0)
"""A step that times out with log E at or above this pauses instead of advancing."""


class Role(StrEnum):
    """What the operator assigns to a revision when it reads its pods' counters."""

    CHAMPION = "champion"
    CANDIDATE = "candidate"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRule:
    """One `errorRate` metric as it is judged."""

    name: str
    bad: tuple[str, ...]
    acceptable: float = 0.01
    tolerance: float = 1.1
    margin: float = 2.0
    importance: int = 1

    @property
    def floor(self) -> float:
        """The constant c of the precision's floor."""
        return 3.0 if self.tolerance < SMALL_TOLERANCE else 2.0


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


@dataclass(frozen=True, slots=True, kw_only=True)
class PodSample:
    """Cumulative weighted requests by code of one server process."""

    pod_uid: str
    started: str
    """Process start time as its metrics page says: with the pod's uid the identity of a series."""
    role: Role
    codes: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrape:
    """One look at both arms; pods that did not answer are simply absent."""

    time: datetime
    samples: tuple[PodSample, ...]
    living_pods: frozenset[str]
    """Uids of all Pod objects: the series of others are pruned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """Everything kept of one metric."""

    a: tuple[float, ...] = (0.0,) * len(evidence.GRID)
    regression: Mixture
    disaster: Mixture
    n: int = 0
    k: int = 0
    open: Block = EMPTY
    disaster_open: Block = EMPTY
    disaster_last: Block = EMPTY
    totals: Block = EMPTY
    warming: Block = EMPTY

    @classmethod
    def start(cls, rule: MetricRule, horizon: int) -> Process:
        return cls(
            regression=Mixture.start(rule.tolerance, evidence.BETS, horizon),
            disaster=Mixture.start(evidence.DISASTER_TOLERANCE, evidence.DISASTER_BETS, horizon),
        )

    def with_rule(self, rule: MetricRule, horizon: int) -> Process:
        """The same evidence under an edited tolerance: only the mixture starts anew."""
        if math.isclose(self.regression.psi0, rule.tolerance, rel_tol=1e-9):
            return self
        return replace(self, regression=Mixture.start(rule.tolerance, evidence.BETS, horizon))

    def add(self, delta: Block, rule: MetricRule, *, warming: bool) -> Process:
        """One scrape's deltas of both arms; while warming they feed the disaster process only."""
        process = self._add_disaster(delta)
        if warming:
            return replace(process, warming=process.warming + delta)
        process = replace(process, totals=process.totals + delta, open=process.open + delta)
        return process._close(rule) if process.open.closable else process

    def _close(self, rule: MetricRule) -> Process:
        block = self.open
        tau = evidence.floored_precision(evidence.ASSUMED_PRECISION, block, floor=rule.floor)
        psi0 = self.regression.psi0
        regression = self.regression.add(
            [evidence.block_gain(block, psi, psi0, tau) for psi in self.regression.bets]
        )
        gains = evidence.grid_gains(block, tau)
        return replace(
            self,
            a=tuple(old + gain for old, gain in zip(self.a, gains, strict=True)),
            regression=regression,
            n=self.n + block.n1,
            k=self.k + block.k1,
            open=EMPTY,
        )

    def _add_disaster(self, delta: Block) -> Process:
        block = self.disaster_open + delta
        if not block.closable:
            return replace(self, disaster_open=block)
        tau = evidence.disaster_precision(block.share)
        psi0 = self.disaster.psi0
        gains = [evidence.block_gain(block, psi, psi0, tau) for psi in self.disaster.bets]
        return replace(
            self,
            disaster=self.disaster.add(gains),
            disaster_open=EMPTY,
            disaster_last=block,
        )

    @property
    def log_disaster(self) -> float:
        """Logarithm of D; at most one while fewer than 10 % of the last block were bad.

        A champion that hardly ever fails makes small cold starts look large: real failures are not
        slowed by this rule.
        """
        last = self.disaster_last
        if last.k1 * 10 < last.n1:
            return min(self.disaster.log_e, 0.0)
        return self.disaster.log_e

    def discard_open(self) -> Process:
        """At a weight change: two shares in one block would confound it with a drifting base."""
        return replace(self, open=EMPTY, disaster_open=EMPTY)


Counters = tuple[int, int]
"""(total, bad), cumulative, of one series and metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The evidence of one rollout."""

    horizon: int
    since: datetime
    time: datetime | None = None
    """The last scrape; None before the baseline was taken."""
    processes: Mapping[str, Process] = field(default_factory=dict)
    series: Mapping[str, Mapping[str, Counters]] = field(default_factory=dict)
    read: Mapping[Role, datetime] = field(default_factory=dict)
    """When each arm was last read."""
    max_log_e: float = 0.0
    step_requests: int = 0
    """Candidate requests since the weight last changed, warming ones included."""
    drain: tuple[int, int] | None = None
    """While traffic returns: the candidate's counter and how often it was seen unchanged."""

    @property
    def started(self) -> bool:
        """The baseline is taken: from here on everything counts."""
        return self.time is not None


def start(rules: Rules, *, now: datetime) -> State:
    """The state of a new rollout, before its baseline."""
    return State(horizon=rules.horizon, since=now)


def advance(state: State, scrape: Scrape, rules: Rules, *, warm_until: datetime | None) -> State:
    """The state after one scrape.

    `warm_until` is the end of the warm-up after the last weight change or the last candidate pod
    that became ready; a scrape is warming when any part of what it counts lies before it.
    """
    warming = state.time is not None and warm_until is not None and state.time < warm_until
    processes: dict[str, Process] = {}
    requests = 0
    for rule in rules.metrics:
        process = state.processes.get(rule.name) or Process.start(rule, state.horizon)
        process = process.with_rule(rule, state.horizon)
        if state.started:
            delta = _delta(state, scrape, rule)
            requests = max(requests, delta.n1)
            process = process.add(delta, rule, warming=warming)
        processes[rule.name] = process
    read = {**state.read, **{sample.role: scrape.time for sample in scrape.samples}}
    after = replace(
        state,
        processes=processes,
        time=scrape.time,
        read=read,
        series=_series(state, scrape, rules),
        step_requests=state.step_requests + requests,
    )
    log_e = mean_log_e(after, rules)
    return replace(after, max_log_e=max(after.max_log_e, log_e))


def change_weight(state: State) -> State:
    """The state when the weight changes: open blocks are dropped, evidence is kept."""
    processes = {name: process.discard_open() for name, process in state.processes.items()}
    return replace(state, processes=processes, step_requests=0)


def watch_drain(state: State, scrape: Scrape) -> State:
    """The state after a scrape while traffic returns: it feeds no process."""
    count = sum(
        sum(sample.codes.values()) for sample in scrape.samples if sample.role is Role.CANDIDATE
    )
    before, unchanged = state.drain or (-1, 0)
    return replace(state, time=scrape.time, drain=(count, unchanged + 1 if count == before else 0))


def _key(sample: PodSample) -> str:
    return f"{sample.pod_uid}/{sample.started}"


def _counters(sample: PodSample, rule: MetricRule) -> Counters:
    total = sum(sample.codes.values())
    bad = sum(count for code, count in sample.codes.items() if contract.is_bad(code, rule.bad))
    return total, bad


def _delta(state: State, scrape: Scrape, rule: MetricRule) -> Block:
    sums = {Role.CHAMPION: [0, 0], Role.CANDIDATE: [0, 0]}
    for sample in scrape.samples:
        total, bad = _counters(sample, rule)
        # A series that appears after the baseline is a new process: it starts at zero.
        # A metric that was added later is baselined where its series stands.
        known = state.series.get(_key(sample))
        before = known.get(rule.name, (total, bad)) if known is not None else (0, 0)
        sums[sample.role][0] += max(0, total - before[0])
        sums[sample.role][1] += max(0, bad - before[1])
    (n0, k0), (n1, k1) = sums[Role.CHAMPION], sums[Role.CANDIDATE]
    return Block(n1, min(k1, n1), n0, min(k0, n0))


def _series(state: State, scrape: Scrape, rules: Rules) -> dict[str, Mapping[str, Counters]]:
    kept = {
        key: counters
        for key, counters in state.series.items()
        if key.partition("/")[0] in scrape.living_pods
    }
    for sample in scrape.samples:
        kept[_key(sample)] = {rule.name: _counters(sample, rule) for rule in rules.metrics}
    return kept


def mean_log_e(state: State, rules: Rules) -> float:
    """Logarithm of the weighted mean of all e-values: rule 1 compares it with 1/alpha."""
    parts: list[tuple[float, float]] = []
    for rule in rules.metrics:
        process = state.processes.get(rule.name)
        log_e, log_d = (process.regression.log_e, process.log_disaster) if process else (0.0, 0.0)
        parts.append((rule.importance, log_e))
        parts.append((rule.importance * evidence.DISASTER_SHARE, log_d))
    return evidence.weighted_mean(parts)


def judge(state: State, rules: Rules) -> Verdict:
    """The verdict of the evidence alone; holds, times and requests are the planner's."""
    if mean_log_e(state, rules) >= -math.log(rules.false_rollback):
        return Verdict.REGRESSION
    if all(_good_enough(state, rule, rules) for rule in rules.metrics):
        return Verdict.NO_REGRESSION
    return Verdict.UNDECIDED


def _good_enough(state: State, rule: MetricRule, rules: Rules) -> bool:
    process = state.processes.get(rule.name)
    if process is None:
        return False
    bound = -math.log(rules.false_promotion)
    return (
        evidence.log_no_regression(process.a, rule.margin) >= bound
        or evidence.log_acceptable(process.n, process.k, rule.acceptable) >= bound
    )


def readable(state: State, rules: Rules, *, now: datetime) -> bool:
    """Each arm was read within three intervals (the condition `MetricsAvailable`)."""
    limit = now - 3 * max(rules.interval, WARMING_INTERVAL)
    return all(role in state.read and state.read[role] >= limit for role in Role)


def scrape_interval(rules: Rules, *, warm_until: datetime | None, now: datetime) -> timedelta:
    """How long to wait between scrapes: shorter while warming."""
    if warm_until is not None and now < warm_until:
        return min(WARMING_INTERVAL, rules.interval)
    return rules.interval


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
    return {
        "a": _pack(process.a),
        "E": _dump_mixture(process.regression),
        "D": _dump_mixture(process.disaster),
        "g": [process.n, process.k],
        "o": _dump_block(process.open),
        "do": _dump_block(process.disaster_open),
        "dl": _dump_block(process.disaster_last),
        "s": _dump_block(process.totals),
        "w": _dump_block(process.warming),
    }


def _load_process(data: Mapping[str, Any], horizon: int) -> Process:
    n, k = data["g"]
    return Process(
        a=_unpack(data["a"]),
        regression=_load_mixture(data["E"], evidence.BETS, horizon),
        disaster=_load_mixture(data["D"], evidence.DISASTER_BETS, horizon),
        n=n,
        k=k,
        open=Block(*data["o"]),
        disaster_open=Block(*data["do"]),
        disaster_last=Block(*data["dl"]),
        totals=Block(*data["s"]),
        warming=Block(*data["w"]),
    )


def dump(state: State) -> str:
    """Compact JSON for `status.analysis.state`, the format's number first."""
    body = {
        "T": state.horizon,
        "since": state.since.isoformat(),
        "time": state.time.isoformat() if state.time else None,
        "max": state.max_log_e,
        "n": state.step_requests,
        "d": list(state.drain) if state.drain else None,
        "m": {name: _dump_process(process) for name, process in sorted(state.processes.items())},
        "c": {
            key: {name: list(pair) for name, pair in sorted(counters.items())}
            for key, counters in sorted(state.series.items())
        },
        "r": {role.value: time.isoformat() for role, time in sorted(state.read.items())},
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
        step_requests=body["n"],
        drain=(body["d"][0], body["d"][1]) if body["d"] else None,
        processes={name: _load_process(data, horizon) for name, data in body["m"].items()},
        series={
            key: {name: (pair[0], pair[1]) for name, pair in counters.items()}
            for key, counters in body["c"].items()
        },
        read={Role(role): datetime.fromisoformat(time) for role, time in body["r"].items()},
    )
