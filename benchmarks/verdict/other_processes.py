"""Beside the regression process: promotion on evidence, the check of shares, pairs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from linnet.api.model_deployment import Verdict
from linnet.core import evidence
from linnet.core.rollout.analysis import Dispersion, Split

from benchmarks.verdict import ours, reference, worlds
from benchmarks.verdict.bench import ANCHOR_FOUND, Bench
from benchmarks.verdict.comparing import Outcome
from benchmarks.verdict.ours import Setting
from benchmarks.verdict.worlds import World


def promotion(bench: Bench) -> None:
    """The no-regression process alone: healthy candidates, and one exactly at the margin."""
    bench.head(
        "Promotion by F, Exact: healthy promoted % @ requests; wrongly at the margin, %",
        "base, margin", "5 %", "20 %", "50 %",
    )  # fmt: skip
    runs = max(1, bench.runs // 4)
    for place, ((base, margin), given) in enumerate(reference.PROMOTION.items()):
        setting = Setting(
            dispersion=Dispersion(source="Fixed", precision=None), margin=margin, acceptable=1e-9
        )
        texts = []
        for column, (share, text) in enumerate(zip(reference.WEIGHTS, given, strict=True)):
            odds = margin * base / (1 - base)
            cell = []
            for bad, part in zip((base, odds / (1 + odds)), text.split(";"), strict=True):
                world = worlds.cell(
                    worlds.random(12, place, column, int(bad == base)), runs, share=share,
                    total=100_000, candidate=bad, champion=base,
                )  # fmt: skip
                ends = ours.found(world, setting, verdict=Verdict.NO_REGRESSION)
                outcome = Outcome.of(world, ends)
                label = f"{base}, {margin}, {share:.0%}"
                cell.append(
                    bench.sheet.found(outcome, part.strip(), runs=1000, name=label)
                    if bad == base
                    else bench.sheet.share(outcome, part.strip(), runs=1000, name=label)
                )
            texts.append("; ".join(cell))
        bench.row(f"{base:.0%}, {margin}", *texts)


SHARES = (1.0, 0.9, 0.7, 0.0)


def srm(bench: Bench) -> None:
    """The check of shares: the right one, and .9, .7 and 0 of it."""
    bench.head(
        "Sample-ratio mismatch, 10k requests: found % @ requests", "weight",
        *("right share" if factor == 1 else f"× {factor:g}" for factor in SHARES),
    )  # fmt: skip
    for place, ((share, total), given) in enumerate(reference.SRM.items()):
        texts = []
        for column, (factor, text) in enumerate(zip(SHARES, given, strict=True)):
            world = worlds.cell(
                worlds.random(15, place, column), ANCHOR_FOUND, share=share * factor, total=total
            )
            outcome = Outcome.of(world, _mismatches(world, share))
            texts.append(
                bench.sheet.found(outcome, text, runs=4000, name=f"{share:.0%} × {factor}")
            )
        bench.row(f"{share:.0%}", *texts)


def _mismatches(world: World, share: float) -> Any:
    """The scrape at which the product's check fires, or -1."""
    ends = np.full(world.runs, -1)
    n1, n = np.cumsum(world.n1, axis=1), np.cumsum(world.n1 + world.n0, axis=1)
    for run in range(world.runs):
        for scrape in range(n.shape[1]):
            if Split(share=share, n=int(n[run, scrape]), k=int(n1[run, scrape])).fires:
                ends[run] = scrape
                break
    return ends


def pairs(bench: Bench) -> None:
    """McNemar on mirrored requests: 3.5 % against 3.5 % of pairs, then 5 % against 2 %."""
    bench.head(
        "Shadow pairs, McNemar, alpha .01: false %, found % @ requests that were mirrored from",
        "mirrored", "healthy", "worse",
    )  # fmt: skip
    for place, ((share, total), given) in enumerate(reference.PAIRS.items()):
        texts = []
        for column, ((b, c), text) in enumerate(
            zip(((0.035, 0.035), (0.05, 0.02)), given, strict=True)
        ):
            source = worlds.random(16, place, column)
            count = source.binomial(total // worlds.SCRAPES, share, (ANCHOR_FOUND, worlds.SCRAPES))
            split = source.multinomial(count, (b, c, 1 - b - c)).cumsum(axis=1)
            ends = _first(
                evidence.log_mcnemar, split[..., 0].tolist(), split[..., 1].tolist(), level=0.01
            )
            requests = np.full_like(count, total // worlds.SCRAPES)
            world = World(
                n1=count, k1=count, n0=requests - count, k0=count, seconds=np.ones(worlds.SCRAPES)
            )
            outcome, label = Outcome.of(world, ends), f"{share:.0%} of {total:,}, {b:g} : {c:g}"
            texts.append(
                bench.sheet.found(outcome, text, runs=reference.STRESS_RUNS, name=label)
                if b > c
                else bench.sheet.share(outcome, text, runs=reference.STRESS_RUNS, name=label)
            )
        bench.row(f"{share:.0%} of {total:,}", *texts)


def _first(log_e: Callable[[int, int], float], *columns: list[list[int]], level: float) -> Any:
    """The first scrape of every run at which the evidence reaches 1/level, or -1."""
    bound = -math.log(level)
    return np.array(
        [
            next((place for place, row in enumerate(run) if log_e(*row) >= bound), -1)
            for run in (zip(*each, strict=True) for each in zip(*columns, strict=True))
        ]
    )


SCORE_PAIRS, SCORE_SPREAD, SCORE_TOLERANCE = 10_000, 0.15, 0.005


def scores(bench: Bench) -> None:
    """Pairs of scores, looked at after each: found by the candidate's loss."""
    bench.head(
        "Score pairs (sd .15, tolerance .005, at most 10k), betting, alpha .01: found % @ pairs",
        *(f"loss {loss:g}" for loss in reference.SCORES),
    )  # fmt: skip
    runs, texts = max(1, bench.runs // 2), []
    for place, (loss, text) in enumerate(reference.SCORES.items()):
        source = worlds.random(17, place)
        drawn = np.clip(source.normal(loss, SCORE_SPREAD, (runs, SCORE_PAIRS)), -1, 1)
        ends = np.array([_betting_ends(run) for run in drawn.tolist()])
        one = np.ones((runs, SCORE_PAIRS), dtype=int)
        world = World(n1=one, k1=0 * one, n0=0 * one, k0=0 * one, seconds=one[0])
        texts.append(
            bench.sheet.found(
                Outcome.of(world, ends), text, runs=reference.FOUND_RUNS, name=f"loss {loss:g}"
            )
        )
    bench.row(*texts)


def _betting_ends(differences: list[float]) -> int:
    sums, bound = [0.0] * len(evidence.SCORE_BETS), math.log(100)
    for place, difference in enumerate(differences):
        gains = evidence.betting_gains(difference, SCORE_TOLERANCE)
        sums = [old + gain for old, gain in zip(sums, gains, strict=True)]
        # The mean of five is at most the largest: only then it is worth its logarithm.
        if max(sums) >= bound and evidence.log_mean(sums) >= bound:
            return place
    return -1
