"""All tables of the benchmark, in their order, and the goals."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.verdict import nine_cells, other_processes, ours, real_time, stresses, worlds
from benchmarks.verdict.bench import DEFAULT, PRODUCT, Bench
from benchmarks.verdict.comparing import Outcome, percent
from benchmarks.verdict.ours import Setting
from tests.analyser import clopper_pearson_upper


def goals(bench: Bench) -> None:
    """What was asked for, and what came out."""
    print("\n## Goals\n")
    for name, horizon in ((PRODUCT, ours.LONG), (DEFAULT, ours.DEFAULT)):
        setting, runs = Setting(horizon=horizon), 8 * bench.runs
        world = worlds.cell(worlds.random(3), runs, share=0.2, total=10_000, candidate=0.05)
        found = Outcome.of(world, ours.found(world, setting))
        world = worlds.cell(worlds.random(13), runs, share=0.2, total=10_000)
        false = Outcome.of(world, ours.found(world, setting))
        error = float(found.exposed.std()) / math.sqrt(runs)
        print(
            f"- 20 %/10k, {name}: 1 → 5 % costs {found.exposed.mean():.0f} ± {error:.0f} candidate "
            f"requests on average (at most 260), {percent(found.share)} % found; healthy: "
            f"{false.hits} of {runs} rolled back, {percent(false.share)} % (at most 1 %; 97.5 % "
            f"bound {percent(100 * clopper_pearson_upper(false.hits, runs))} %)"
        )
    for rate, budget in ((100, "within the warm-up; simulated 24 (34)"), (10, "at most 15 beyond")):
        world = worlds.broken(
            worlds.random(14, rate), 4 * bench.runs, share=0.05, rate=rate, candidate=1.0
        )
        ends = ours.found(world, Setting())
        exposed = Outcome.of(world, ends).exposed
        warm = int((np.cumsum(world.seconds) <= worlds.WARMUP).sum())
        beyond = np.maximum(exposed - world.n1[:, :warm].sum(axis=1), 0)
        late_runs = float((ends >= warm).mean())
        print(
            f"- every request fails, 5 % of {rate}/s ({budget}): candidate requests median "
            f"{np.median(exposed):.0f}, 95 % {np.quantile(exposed, 0.95):.0f}; beyond the warm-up "
            f"in {percent(100 * late_runs)} % of runs, by median {np.median(beyond):.0f}, 95 % "
            f"{np.quantile(beyond, 0.95):.0f}, at most {beyond.max()}; more than 15 in "
            f"{percent(100 * float((beyond > 15).mean()))} %"
        )


TABLES: tuple[Callable[[Bench], None], ...] = (
    nine_cells.all_rules, nine_cells.nine_cells, nine_cells.why, nine_cells.exact,
    stresses.stress, stresses.late, stresses.ramp, stresses.assumed, stresses.learned,
    real_time.floor, real_time.chosen,
    other_processes.promotion, other_processes.srm, other_processes.pairs, other_processes.scores,
    goals,
)  # fmt: skip
NAMES = tuple(table.__name__ for table in TABLES)


def run(runs: int, names: Sequence[str] = NAMES) -> None:
    """Print tables; how long each took goes to standard error."""
    bench = Bench(runs=runs)
    for table in TABLES:
        if table.__name__ not in names:
            continue
        began = time.process_time()
        table(bench)
        seconds = time.process_time() - began
        print(f"{table.__name__}: {seconds:.0f} s of CPU", file=sys.stderr, flush=True)
    print("\n## What differs\n")
    print(bench.sheet.summary())
