"""The table that is trained on: 16 numbers and 4 texts, a target of two classes, 90 days."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

NUMBERS = [f"n{place}" for place in range(16)]
TEXTS = [f"c{place}" for place in range(4)]
TARGET, TIME = "late", "at"
DAYS = 90
PARAMETERS: dict[str, dict[str, object]] = {
    "HistGradientBoostingClassifier": {"early_stopping": False}
}
"""Of estimators. With early stopping the trainer fits twice: it finds the number of rounds on rows
of the split's own axis, then fits on all; scikit-learn keeps a random tenth away and fits once."""


def write(rows: int, path: Path) -> None:
    """Write a table of so many rows; a few of its columns tell the target."""
    random = np.random.default_rng(rows)
    moments = np.sort(random.integers(0, DAYS * 86_400, rows))
    table = pd.DataFrame({name: random.normal(size=rows) for name in NUMBERS})
    for name in TEXTS:
        table[name] = random.choice(np.array(list("abcdefgh"), dtype=object), rows)
    odds = table["n0"] - 0.7 * table["n1"] * table["n2"] + (table["c0"] < "d") - 0.5
    table[TARGET] = random.random(rows) < 1 / (1 + np.exp(-odds))
    table[TIME] = pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(moments, unit="s")
    table.to_parquet(path, index=False)
