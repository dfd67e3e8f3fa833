"""The rollout reference's tables, through the product's analyser, beside the anchors' rules.

    python -m benchmarks.verdict --runs 200

`runs` is what our analyser gets in a cell (two or four times fewer in the largest tables, more for
the goals); rules in numpy get as many as the reference: 4,000 healthy, 1,000 others.
"""

from __future__ import annotations

import argparse

from benchmarks.verdict import tables


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    tables.run(parser.parse_args().runs)


if __name__ == "__main__":
    main()
