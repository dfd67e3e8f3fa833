"""What the tables share: their print, the rules on a world, and what was compared.

Every cell is `ours [reference]`, with ≠ where the two differ (comparing.py). Found: `% found @
median requests of both arms (mean candidate requests)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

from benchmarks.verdict import anchors, ours, reference, worlds
from benchmarks.verdict.comparing import Outcome, Sheet
from benchmarks.verdict.ours import Setting
from benchmarks.verdict.worlds import World

ANCHOR_NULLS, ANCHOR_FOUND = 4000, 1000
SIMULATED = ("c8 .01", "c8 .05")
PRODUCT = "Linnet, T 540"
DEFAULT = "Linnet, T 180"
CELLS = tuple(product(reference.WEIGHTS, reference.REQUESTS))
BADS = (worlds.BASE, 0.015, 0.02, 0.05)
SIZES = (10_000, 100_000)


@dataclass
class Bench:
    """How many runs our analyser gets, and what was compared so far."""

    runs: int
    sheet: Sheet = field(default_factory=Sheet)
    cells: dict[tuple[str, float, int, float], Outcome] = field(default_factory=dict)
    """By rule, weight, requests and the candidate's rate."""

    def head(self, title: str, *columns: str) -> None:
        """The beginning of a table."""
        self.sheet.table = title.split(":")[0]
        print(f"\n## {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)

    def row(self, *cells: str) -> None:
        """One more row."""
        print(f"| {' | '.join(cells)} |", flush=True)


def simulated(bench: Bench, world: World, pilot: World) -> dict[str, Any]:
    """c8 of the reference: our analyser with the bets, the tau and the T of the simulation."""
    setting = Setting(horizon=ours.SIMULATED)
    with ours.altered(bets=1.1, disaster=False, floor=0.0):
        ends = ours.found_at(
            world.first(bench.runs), setting, (0.01, 0.05), pilot=pilot.first(bench.runs)
        )
    return dict(zip(SIMULATED, ends, strict=True))


def shown(bench: Bench, world: World, names: Sequence[str]) -> dict[str, Outcome]:
    """What anchors do on a world; slow ones on its first runs."""
    found = {}
    for name in names:
        part = world.first(bench.runs if name in anchors.SLOW else world.runs)
        found[name] = Outcome.of(part, anchors.RULES[name](part))
    return found
