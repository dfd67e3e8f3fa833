"""The rollout reference's tables, through the product's analyser, beside the anchors' rules.

    python -m benchmarks.verdict --runs 120

`runs` is what our analyser gets in a cell (two or four times fewer in the largest tables, more for
the goals); rules in numpy get as many as the reference: 4,000 healthy, 1,000 others.
"""

from __future__ import annotations

import argparse

from benchmarks.verdict import tables


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=120)
    parser.add_argument("--tables", nargs="+", choices=tables.NAMES, default=tables.NAMES)
    given = parser.parse_args()
    tables.run(given.runs, given.tables)


if __name__ == "__main__":
    main()
