"""Reproduce cells of the rollout reference's section 6 through the real analyser.

Each cell: N requests at a weight in 100 scrapes, base rate 1 %, the product's Assumed setting
(GRID bets, T = 540, alpha .05, precision 5 with its floor). Prints a table: false rollbacks, and
for regressions to 2 % and 5 % the share found, the median number of requests and of candidate
requests until then.

    .venv/bin/python benchmarks/verdict/reproduce.py --runs 200
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from analyser import Rollout, at_weight, clopper_pearson_upper, rules
from linnet.api.model_deployment import Verdict
from linnet.core.rollout.analysis import Role

SCRAPES = 100


def detection(seed: int, *, share: float, total: int, bad: float) -> tuple[int, int] | None:
    """Requests, and candidate requests, until the rollback; None where there is none."""
    rollout = Rollout(rules(horizon=540), random.Random(seed), candidate_bad=bad)
    count = total // SCRAPES
    for index, verdict in enumerate(at_weight(rollout, share, [count] * SCRAPES), start=1):
        if verdict is Verdict.REGRESSION:
            return index * count, rollout.requests[Role.CANDIDATE]
    return None


def cell(runs: int, *, share: float, total: int, bad: float) -> str:
    found = [detection(20261122 + n, share=share, total=total, bad=bad) for n in range(runs)]
    hits = [each for each in found if each is not None]
    if bad == 0.01:
        return (
            f"{100 * len(hits) / runs:.1f} (≤ {100 * clopper_pearson_upper(len(hits), runs):.1f})"
        )
    if not hits:
        return "0"
    median = statistics.median(requests for requests, _ in hits)
    exposed = statistics.median(candidate for _, candidate in hits)
    return f"{100 * len(hits) / runs:.0f}@{median:,.0f} ({exposed:,.0f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--requests", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--weights", type=float, nargs="+", default=[0.05, 0.2, 0.5])
    given = parser.parse_args()
    print("| weight / requests | false % | 1 → 2 % | 1 → 5 % |\n|---|---|---|---|")
    for share in given.weights:
        for total in given.requests:
            cells = (cell(given.runs, share=share, total=total, bad=b) for b in (0.01, 0.02, 0.05))
            print(f"| {share:.0%} / {total:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
