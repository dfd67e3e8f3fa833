"""Beside the regression process: promotion on evidence, and the check of shares."""

from __future__ import annotations

from typing import Any

import numpy as np
from linnet.api.model_deployment import Verdict
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
