"""Our verdict on a world: the product's analyser, fed with counters scrape by scrape.

Nothing of the verdict is computed here. `Setting`s are what a user can ask for; `Altered` ones take
back, one at a time, what the product does otherwise than the simulation of the reference.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import numpy as np
from linnet.api.model_deployment import Verdict
from linnet.core import evidence
from linnet.core.evidence import Block
from linnet.core.rollout import analysis
from linnet.core.rollout.analysis import Dispersion, MetricRule, Rules, State

from benchmarks.verdict.worlds import World
from tests.analyser import Rollout, rules

LONG, DEFAULT, SIMULATED = 540, 180, 100
"""T of three steps of 30 min, of the default steps, and of the simulation."""
SIMULATED_BETS = (1.25, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
"""In units of the tolerance."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What `spec.analysis` asks for, with one error rate."""

    horizon: int = LONG
    false_rollback: float = 0.05
    dispersion: Dispersion = field(default_factory=Dispersion)
    tolerance: float = 1.1
    margin: float = 2.0
    acceptable: float = 0.01

    @property
    def rules(self) -> Rules:
        """The same as the analyser reads it."""
        standard = rules(horizon=self.horizon, false_rollback=self.false_rollback)
        (metric,) = standard.metrics
        metric = replace(
            metric, tolerance=self.tolerance, margin=self.margin, acceptable=self.acceptable
        )
        return replace(standard, metrics=(metric,), dispersion=self.dispersion)


def fixed(precision: float) -> Dispersion:
    """A tau that somebody has set."""
    return Dispersion(source="Fixed", precision=precision)


def found(
    world: World,
    setting: Setting,
    *,
    verdict: Verdict = Verdict.REGRESSION,
    pilot: World | None = None,
) -> Any:
    """The scrape of every run after which the analyser says so, or -1: shape [runs].

    `pilot` is the A/A traffic of the same runs that a learnt tau is taken from.
    """
    (ends,) = found_at(world, setting, (setting.false_rollback,), verdict=verdict, pilot=pilot)
    return ends


def found_at(
    world: World,
    setting: Setting,
    levels: Sequence[float],
    *,
    verdict: Verdict = Verdict.REGRESSION,
    pilot: World | None = None,
) -> list[Any]:
    """The same for several probabilities of a false rollback, from one pass over the counters."""
    ends = np.full((len(levels), world.runs), -1)
    for run in range(world.runs):
        given = setting.rules
        if pilot is not None:
            tau = _precision(_blocks(pilot, run))
            given = replace(given, dispersion=Dispersion(source="Learned", precision=tau))
        pending = {
            place: replace(given, false_rollback=level) for place, level in enumerate(levels)
        }
        for scrape, state in enumerate(_states(world, run, given)):
            for place, asked in list(pending.items()):
                if analysis.judge(state, asked) is verdict:
                    ends[place, run] = scrape
                    del pending[place]
            if not pending:
                break
    return list(ends)


def learned(pilot: World) -> list[float]:
    """The tau that each run's A/A traffic teaches, before its floor."""
    return [_precision(_blocks(pilot, run)) for run in range(pilot.runs)]


def _blocks(world: World, run: int) -> list[Block]:
    tables = (world.n1[run], world.k1[run], world.n0[run], world.k0[run])
    rows = zip(*(column.tolist() for column in tables), strict=True)
    return [Block(*row) for row in rows if row[0] and row[2]]


def _precision(blocks: Sequence[Block]) -> float:
    """What the analyser learns from these A/A blocks."""
    told = [evidence.precision_likelihoods(block) for block in blocks]
    return evidence.likeliest_precision([sum(each) for each in zip(*told, strict=True)])


def _states(world: World, run: int, given: Rules) -> Iterator[State]:
    # The draws are the world's: the rollout's own source is not used.
    rollout = Rollout(given, random.Random(0))
    tables = (world.n1[run], world.k1[run], world.n0[run], world.k0[run])
    rows = zip(*(column.tolist() for column in tables), world.seconds.tolist(), strict=True)
    for place, (n1, k1, n0, k0, seconds) in enumerate(rows):
        if place in world.starts:
            rollout.change_weight(warmup=timedelta(seconds=world.warmup))
        rollout.see(Block(n1, k1, n0, k0), timedelta(seconds=seconds))
        yield rollout.state


@contextmanager
def altered(
    *, bets: float | None = None, disaster: bool = True, floor: float | None = None
) -> Iterator[None]:
    """The analyser with the simulation's bets, without the disaster process, or with another floor.

    `bets` is the tolerance that the simulation's bets are multiples of. For explanations only: none
    of it can be asked for.
    """
    with ExitStack() as stack:
        if bets is not None:
            multiples = tuple(bets * psi for psi in SIMULATED_BETS)
            stack.enter_context(patch.object(evidence, "BETS", multiples))
        if not disaster:
            stack.enter_context(patch.object(evidence, "DISASTER_SHARE", 1e-12))
        if floor is not None:
            stack.enter_context(patch.object(MetricRule, "floor", lambda *_: floor))
        yield
