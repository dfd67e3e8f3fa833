"""The window: which whole days it has, and what its rows count up to, batch by batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
from linnet_trainer import evaluate, tables

from linnet_monitor import reference as references
from linnet_monitor.distances import Counts
from linnet_monitor.reference import MISSING, SCORE, Reference

SAMPLE = 20_000
"""Rows that are kept for the report; Evidently's time and memory grow with them."""
SCORE_BINS = 20
LAST_HOUR = 23
"""The newest event's own day is whole where the event lies in its last hour."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Whole days: from a moment on, and before another."""

    start: datetime
    until: datetime

    @property
    def dates(self) -> frozenset[date]:
        """The days of UTC that it touches: in other zones its days lie across two of them."""
        first = self.start.astimezone(UTC).date()
        last = (self.until.astimezone(UTC) - timedelta(microseconds=1)).date()
        return frozenset(first + timedelta(days=each) for each in range((last - first).days + 1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """What the source holds, by its times alone."""

    newest: datetime | None
    new: int
    """Rows since the version was trained."""


@dataclass(kw_only=True)
class Tally:
    """What the window's rows counted up to; nothing grows with their number but the counters."""

    rows: int
    counts: dict[str, Counts]
    """By column, shape [bins]; the last bin counts missing values."""
    outside: dict[str, int]
    """Numbers outside the reference's range, by column."""
    beyond: dict[str, float]
    """Sum of the distances of numbers from the reference's range, by column."""
    unknown: dict[str, int]
    """Texts that the reference does not know, by column."""
    scores: Counts
    """Shape [20]."""
    sample: pd.DataFrame
    """At most 20,000 rows: the model's inputs, and the score as `linnet_score`."""


def extent(opened: tables.Opened, since: datetime | None) -> Extent:
    """Read the times of all rows."""
    name = opened.source.timestamp
    newest, new = None, 0
    with tables.reading(opened.source):
        for frame in opened.batches([name]):
            times = frame[name].dropna()
            if not len(times):
                continue
            last = times.max()
            newest = last if newest is None else max(newest, last)
            new += int((times >= pd.Timestamp(since)).sum()) if since is not None else len(times)
    return Extent(newest=newest.to_pydatetime() if newest is not None else None, new=new)


def span(until: datetime | None, newest: datetime | None, *, days: int, zone: ZoneInfo) -> Span:
    """The last `days` whole days before a moment, or up to the newest event.

    Days begin at midnight of `zone`, on days of 23 or 25 hours too.
    """
    if until is not None:
        last = until.astimezone(zone).date()
    else:
        assert newest is not None
        local = newest.astimezone(zone)
        last = local.date() + timedelta(days=int(local.hour >= LAST_HOUR))
    first = last - timedelta(days=days)
    start, end = (datetime.combine(day, time(), tzinfo=zone) for day in (first, last))
    return Span(start=start.astimezone(UTC), until=end.astimezone(UTC))


def tally(
    opened: tables.Opened,
    reference: Reference,
    *,
    known: dict[str, frozenset[str]],
    scored: bool,
    seed: int = 0,
) -> Tally:
    """Count the window's rows.

    Args:
        opened: the table, its window set.
        reference: bins and model.
        known: the texts of each column of categories that count as known.
        scored: whether the model answers every row.
        seed: decides which rows are kept.

    Raises:
        Refusal: a value has the wrong type.
    """
    found = Tally(
        rows=0,
        counts={column.name: np.zeros(column.bins) for column in reference.columns},
        outside={column.name: 0 for column in reference.columns if column.is_number},
        beyond={column.name: 0.0 for column in reference.columns if column.is_number},
        unknown={column.name: 0 for column in reference.columns if not column.is_number},
        scores=np.zeros(SCORE_BINS),
        sample=pd.DataFrame(),
    )
    random = np.random.default_rng(seed)
    names = [feature.name for feature in reference.features]
    time_name = opened.source.timestamp
    keys: Any = np.empty(0)
    with tables.reading(opened.source):
        for frame in opened.batches(sorted({*names, time_name})):
            frame = frame[frame[time_name].notna()]
            if not len(frame):
                continue
            rows = references.inputs(reference, frame)
            _count(found, reference, rows, known)
            if scored:
                rows = rows.assign(**{SCORE: _score(found, reference, rows)})
            keys = _keep(found, rows, keys, random.random(len(rows)))
    return found


def _count(
    found: Tally, reference: Reference, rows: pd.DataFrame, known: dict[str, frozenset[str]]
) -> None:
    found.rows += len(rows)
    for column in reference.columns:
        values = rows[column.name]
        codes = column.codes(values)
        found.counts[column.name] += np.bincount(codes, minlength=column.bins)
        if column.is_number:
            numbers = values.to_numpy(dtype=np.float64)
            beyond = np.abs(numbers - np.clip(numbers, column.low, column.high))
            found.outside[column.name] += int((beyond > 0).sum())
            found.beyond[column.name] += float(np.nansum(beyond))
        else:
            rare = values[codes == column.bins - MISSING - 1]
            found.unknown[column.name] += int((~rare.isin(known[column.name])).sum())


def _score(found: Tally, reference: Reference, rows: pd.DataFrame) -> Any:
    score = evaluate.signal(evaluate.answer(reference.model, rows, reference.classes))
    places = np.minimum((score * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)
    found.scores += np.bincount(places, minlength=SCORE_BINS)
    return score


def _keep(found: Tally, rows: pd.DataFrame, keys: Any, drawn: Any) -> Any:
    """Keep the rows with the smallest random keys: a sample of all that have come."""
    both = np.concatenate((keys, drawn))
    joined = pd.concat([found.sample, rows], ignore_index=True) if len(keys) else rows
    if len(both) > SAMPLE:
        chosen = np.sort(np.argpartition(both, SAMPLE)[:SAMPLE])
        both, joined = both[chosen], joined.iloc[chosen].reset_index(drop=True)
    found.sample = joined
    return both


def missing_columns(names: Sequence[str], reference: Reference) -> list[str]:
    """Inputs of the model that a table lacks."""
    return [feature.name for feature in reference.features if feature.name not in names]
