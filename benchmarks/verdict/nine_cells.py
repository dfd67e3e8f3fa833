"""Three weights, three numbers of requests: every rule, healthy and with three regressions.

`why` goes from the rule that the reference simulated to the product, one change at a time.
"""

from __future__ import annotations

from itertools import product
from typing import Any

from linnet.core.rollout.analysis import Dispersion

from benchmarks.verdict import anchors, ours, reference, worlds
from benchmarks.verdict.bench import (
    ANCHOR_FOUND,
    ANCHOR_NULLS,
    BADS,
    CELLS,
    PRODUCT,
    SIMULATED,
    Bench,
    shown,
    simulated,
)
from benchmarks.verdict.comparing import Outcome
from benchmarks.verdict.ours import Setting


def judge_nine_cells(bench: Bench) -> None:
    """All rules on all nine cells, once: what the next two tables print."""
    if bench.cells:
        return
    for (place, (share, total)), (bad_place, bad) in product(enumerate(CELLS), enumerate(BADS)):
        runs = ANCHOR_NULLS if bad == worlds.BASE else ANCHOR_FOUND
        key = (place, bad_place)
        world = worlds.cell(worlds.random(1, *key), runs, share=share, total=total, candidate=bad)
        pilot = worlds.cell(worlds.random(2, *key), bench.runs, share=share, total=total)
        outcomes = shown(bench, world, tuple(anchors.RULES)) if bad != 0.015 else {}
        part = world.first(bench.runs)
        for name, ends in simulated(bench, world, pilot).items():
            outcomes[name] = Outcome.of(part, ends)
        outcomes[PRODUCT] = Outcome.of(part, ours.found(part, Setting()))
        for name, outcome in outcomes.items():
            bench.cells[name, share, total, bad] = outcome


def all_rules(bench: Bench) -> None:
    """20 % weight, base 1 %."""
    judge_nine_cells(bench)
    wanted = ((worlds.BASE, 10_000), (worlds.BASE, 100_000), (0.02, 10_000), (0.02, 100_000),
              (0.05, 10_000))  # fmt: skip
    bench.head(
        "All rules at 20 % weight, base 1 %", "rule", "false % 10k", "false % 100k",
        "2 %, 10k", "2 %, 100k", "5 %, 10k",
    )  # fmt: skip
    for name in (*anchors.RULES, *SIMULATED, PRODUCT):
        cells = [name]
        for place, (bad, total) in enumerate(wanted):
            outcome = bench.cells[name, 0.2, total, bad]
            at = CELLS.index((0.2, total))
            label = f"{name}, {total:,}, {bad}"
            if bad == worlds.BASE:
                given = reference.NINE_FALSE.get(name, ("",) * 9)[at]
                text = bench.sheet.share(outcome, given, runs=reference.NULL_RUNS, name=label)
            else:
                given = reference.AT_20.get(name, ("",) * 3)[place - 2]
                given = reference.NINE_FOUND.get((bad, name), ("",) * 9)[at] or given
                text = bench.sheet.found(outcome, given, runs=reference.FOUND_RUNS, name=label)
            cells.append(text)
        bench.row(*cells)


def nine_cells(bench: Bench) -> None:
    """False rollbacks and detections in all cells."""
    judge_nine_cells(bench)
    columns = [f"{share:.0%}/{total // 1000}k" for share, total in CELLS]
    bench.head("All nine cells: false rollbacks, %", "rule", *columns)
    for name in (*anchors.RULES, *SIMULATED, PRODUCT):
        given = reference.NINE_FALSE.get(name, ("",) * 9)
        bench.row(name, *(
            bench.sheet.share(
                bench.cells[name, share, total, worlds.BASE], text,
                runs=reference.NULL_RUNS, name=f"{name}, {share:.0%}/{total:,}",
            )
            for (share, total), text in zip(CELLS, given, strict=True)
        ))  # fmt: skip
    for bad in BADS[1:]:
        bench.head(f"All nine cells: 1 → {100 * bad:g} %", "rule", *columns)
        for name in (*anchors.RULES, *SIMULATED, PRODUCT):
            if (name, *CELLS[0], bad) not in bench.cells:
                continue
            given = reference.NINE_FOUND.get((bad, name), ("",) * 9)
            bench.row(name, *(
                bench.sheet.found(
                    bench.cells[name, share, total, bad], text,
                    runs=reference.FOUND_RUNS, name=f"{name}, {share:.0%}/{total:,}",
                )
                for (share, total), text in zip(CELLS, given, strict=True)
            ))  # fmt: skip


WHY: tuple[tuple[str, dict[str, Any], Setting, bool], ...] = (
    ("as simulated", {"bets": 1.1, "disaster": False, "floor": 0.0}, Setting(horizon=100), True),
    ("+ tau Assumed, its floor", {"bets": 1.1, "disaster": False}, Setting(horizon=100), False),
    ("+ bets on the grid", {"disaster": False}, Setting(horizon=100), False),
    ("+ the disaster process's share", {}, Setting(horizon=100), False),
    ("+ T 180 (default steps)", {}, Setting(horizon=180), False),
    ("+ T 540 (three steps of 30 min)", {}, Setting(horizon=540), False),
)  # fmt: skip


def why(bench: Bench) -> None:
    """From the simulated rule to the product's, one change at a time, on the same runs."""
    cells = ((0.2, 10_000), (0.05, 100_000), (0.2, 100_000), (0.5, 100_000))
    bench.head(
        "Why the product is not c8: one change at a time, 1 → 2 %", "setting",
        *(f"{share:.0%}/{total:,}" for share, total in cells),
    )  # fmt: skip
    for name, changes, setting, learnt in WHY:
        texts = []
        for share, total in cells:
            at = CELLS.index((share, total))
            key = (at, BADS.index(0.02))
            world = worlds.cell(
                worlds.random(1, *key), ANCHOR_FOUND, share=share, total=total, candidate=0.02
            ).first(bench.runs)
            pilot = worlds.cell(worlds.random(2, *key), bench.runs, share=share, total=total)
            with ours.altered(**changes):
                ends = ours.found(world, setting, pilot=pilot if learnt else None)
            given = reference.NINE_FOUND[0.02, "c8 .05"][at] if learnt else ""
            texts.append(
                bench.sheet.found(
                    Outcome.of(world, ends), given, runs=reference.FOUND_RUNS, name=name
                )
            )
        bench.row(name, *texts)


def exact(bench: Bench) -> None:
    """The form Exact (c3 of the reference): tolerance 1, the simulation's bets and T."""
    columns = [f"{share:.0%}/{total // 1000}k" for share, total in CELLS]
    bench.head("Exact, nine cells: false %, then 1 → 2 and 5 %", "rule", *columns)
    setting = Setting(
        horizon=ours.SIMULATED, dispersion=Dispersion(source="Fixed", precision=None), tolerance=1.0
    )
    for bad in (worlds.BASE, 0.02, 0.05):
        rows: dict[str, list[str]] = {"c3 .01": [], "c3 .05": []}
        for place, (share, total) in enumerate(CELLS):
            world = worlds.cell(
                worlds.random(1, place, BADS.index(bad)), max(1, bench.runs // 4), share=share,
                total=total, candidate=bad,
            )  # fmt: skip
            with ours.altered(bets=1.0, disaster=False):
                found = ours.found_at(world, setting, (0.01, 0.05))
            for name, ends in zip(rows, found, strict=True):
                outcome = Outcome.of(world, ends)
                text = reference.EXACT[bad, name][place]
                label = f"{name}, {share:.0%}/{total:,}, {100 * bad:g} %"
                rows[name].append(
                    bench.sheet.share(outcome, text, runs=reference.NULL_RUNS, name=label)
                    if bad == worlds.BASE
                    else bench.sheet.found(outcome, text, runs=reference.FOUND_RUNS, name=label)
                )
        for name, texts in rows.items():
            bench.row(f"{name}, {100 * bad:g} %", *texts)
