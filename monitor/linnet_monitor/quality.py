"""Fixed limits on what is missing, out of range or new: no rank, no statistics."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from linnet_monitor.reference import MISSING, ROWS_FOR_A_SHARE, Column, Reference
from linnet_monitor.spec import DataQuality
from linnet_monitor.window import Tally

SLACK = 0.05
"""Where the policy names no limit: the reference's own largest share of a day, and this more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One share of a column's values, from 0 to 1, and its limit."""

    column: str
    what: str
    share: float
    limit: float

    @property
    def breached(self) -> bool:
        return self.share > self.limit

    @property
    def ratio(self) -> float:
        """Share divided by limit, to find the worst."""
        return self.share / max(self.limit, 1e-9)


def known_texts(reference: Reference) -> dict[str, frozenset[str]]:
    """The texts that the reference knows: those of its bins and those of its sample."""
    return {
        column.name: frozenset(column.categories).union(reference.sample[column.name].dropna())
        for column in reference.columns
        if not column.is_number
    }


def shares(signal: DataQuality, reference: Reference, found: Tally) -> list[Share]:
    """Every share with its limit, the worst first."""
    every = [
        share for column in reference.columns for share in _shares(signal, reference, column, found)
    ]
    return sorted(every, key=lambda share: -share.ratio)


def _shares(
    signal: DataQuality, reference: Reference, column: Column, found: Tally
) -> Iterator[Share]:
    missing = float(found.counts[column.name][-MISSING])
    present = found.rows - missing
    yield Share(
        column=column.name,
        what="missing",
        share=missing / found.rows,
        limit=_limit(signal.missing, lambda: _largest_missing(column)),
    )
    if column.is_number:
        yield Share(
            column=column.name,
            what="out of the reference's range",
            share=found.outside[column.name] / max(present, 1),
            limit=_limit(signal.out_of_range, lambda: _largest_outside(reference, column)),
        )
    else:
        yield Share(
            column=column.name,
            what="of unknown categories",
            share=found.unknown[column.name] / max(present, 1),
            # What a day of the reference held is known, so its own share is 0.
            limit=_limit(signal.new_categories, lambda: 0.0),
        )


def _limit(given: float | None, largest: Any) -> float:
    return given if given is not None else min(1.0, largest() + SLACK)


def _largest_missing(column: Column) -> float:
    rows = column.counts.sum(axis=1)
    told = rows >= ROWS_FOR_A_SHARE
    if not told.any():
        return 0.0
    return float((column.counts[told, -MISSING] / rows[told]).max())


def _largest_outside(reference: Reference, column: Column) -> float:
    """By day of the sample: the holdout's days may lie outside the training rows' range."""
    values = reference.sample[column.name]
    outside = ((values < column.low) | (values > column.high)).to_numpy(dtype=np.float64)
    rows = np.bincount(reference.sample_days)
    found = np.bincount(reference.sample_days, weights=outside)
    told = rows >= ROWS_FOR_A_SHARE
    return float((found[told] / rows[told]).max()) if told.any() else 0.0
