"""The prediction log of a deployment as a table: what was asked, beside what turned out to be true.

The contract between those who write the log and those who read it, below the log's folder
`<uri>/<namespace>/<deployment>`:

    predictions/date=2026-11-28/hour=09/<shard>-<seq>.parquet   by event time, in UTC
        id, event_time, received_time, revision, version, kind, code, prediction, score, f_<column>…
    labels/date=2026-11-28/<shard>-<seq>.parquet                by the label's event time, in UTC
        id, label, event_time, received_time

A request may be in the log more than once, mirrored to a candidate or delivered again: it is one
row. Of several labels the one that was received last counts; a label is never of an earlier day
than its request. What was not answered with 200, and what has no label, is no row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from linnet_trainer import tables
from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal

FIELD = "data.predictionLog"
ARTIFACT = "prediction_log.json"
ID, LABEL, TIME = "id", "label", "event_time"
OURS = (ID, LABEL, TIME)
PREFIX = "f_"
"""Before the name of a request's column."""
_NEEDED = {"predictions": (ID, TIME, "code"), "labels": (ID, LABEL, "received_time")}


@dataclass(slots=True, kw_only=True)
class Counts:
    """Lines of the log in the window, and what became of them."""

    logged: int = 0
    failed: int = 0
    """Not answered with 200."""
    repeated: int = 0
    """Of a request that was counted before."""
    unlabelled: int = 0
    """Without a label so far; repetitions are not told apart here."""

    def document(self) -> dict[str, int]:
        """Render them for the run."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """The requests of a window with their labels; the interface is that of `tables.Opened`."""

    predictions: tables.Opened
    labels: pd.Series
    """The label that counts, by the request's id."""
    label_type: str
    counts: Counts = field(default_factory=Counts)

    @property
    def source(self) -> tables.Source:
        """Where the requests are."""
        return self.predictions.source

    @property
    def files(self) -> int:
        """Files with requests."""
        return self.predictions.files

    @property
    def names(self) -> tuple[str, ...]:
        """The request's columns, by their own names, and ours."""
        return (*map(_own, self._columns), *OURS)

    @property
    def types(self) -> dict[str, str]:
        """The columns' types in words."""
        logged = self.predictions.types
        told = {_own(name): logged[name] for name in self._columns}
        return told | {ID: logged[ID], LABEL: self.label_type, TIME: logged[TIME]}

    @property
    def nested(self) -> tuple[str, ...]:
        """Columns of nested types, which are not read."""
        return tuple(_own(name) for name in self.predictions.nested if name.startswith(PREFIX))

    @property
    def _columns(self) -> list[str]:
        return [name for name in self.predictions.names if name.startswith(PREFIX)]

    def batches(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Yield the labelled requests with these columns, as `tables.Opened.batches`.

        Raises:
            Refusal: requests were logged, and none of them has a label.
        """
        logged = {PREFIX + name for name in columns} & set(self._columns)
        taken = np.zeros(len(self.labels), dtype=bool)
        for frame in self.predictions.batches([*_NEEDED["predictions"], *sorted(logged)]):
            rows = self._labelled(frame, taken)
            if len(rows):
                yield rows.rename(columns=_own)[list(columns)]
        counts = self.counts
        if counts.unlabelled and not taken.any():
            raise Refusal(
                Reason.INVALID_DATA,
                f"`{FIELD}`: none of {counts.unlabelled} requests of the window has a label "
                f"({len(self.labels)} labels since the window's first day): labels come late, so "
                "look further back with `data.window`, or wait for them",
            )

    def _labelled(
        self, frame: pd.DataFrame, taken: np.ndarray[Any, np.dtype[np.bool_]]
    ) -> pd.DataFrame:
        """Return the rows that have a label and were not seen before; `taken` says which were."""
        counts = self.counts
        answered = frame[frame["code"] == 200]
        first = answered.drop_duplicates(ID)
        where = self.labels.index.get_indexer(first[ID])
        known, seen = where >= 0, taken[where]
        counts.logged += len(frame)
        counts.failed += len(frame) - len(answered)
        counts.repeated += len(answered) - len(first) + int((known & seen).sum())
        counts.unlabelled += int((~known).sum())
        fresh = known & ~seen
        taken[where[fresh]] = True
        return first[fresh].assign(**{LABEL: self.labels.array[where[fresh]]})


def open_joined(source: tables.Source) -> Joined:
    """Find the log's files below `source.uri` and read the labels; requests are read later.

    Raises:
        Refusal: there is no log, it breaks the contract, or nothing in it has a label.
        Unavailable: the store does not answer or refuses the credentials.
    """
    predictions = _open("predictions", source)
    asked = {_own(name) for name in predictions.names if name.startswith(PREFIX)}
    if clash := sorted(asked & set(OURS)):
        raise Refusal(
            Reason.INVALID_DATA,
            f"`{FIELD}`: the requests have a column '{clash[0]}', and the log calls one of its own "
            "so: bring these rows as `data.table`, under other names",
        )
    # Labels of any later day count, and so does one without a time.
    labels = _open("labels", replace(source, timestamp="", until=None))
    with tables.reading(labels.source):
        parts = [part.dropna(subset=[LABEL]) for part in labels.batches(_NEEDED["labels"])]
    if not sum(map(len, parts)):
        raise Refusal(Reason.INVALID_DATA, f"`{FIELD}`: {labels.source.uri} holds no label")
    told = pd.concat(parts, ignore_index=True)
    told = told.sort_values("received_time", kind="stable").drop_duplicates(ID, keep="last")
    return Joined(
        predictions=predictions,
        labels=told.set_index(ID)[LABEL],
        label_type=labels.types[LABEL],
    )


def _open(part: str, source: tables.Source) -> tables.Opened:
    """Open the files of one part of the log, those of days outside the window left out."""
    first = _day(source.start) if source.start else ""
    last = _day(source.until - timedelta.resolution) if source.until else ""

    def of_these_days(path: str) -> bool:
        found = re.search(r"/date=(\d{4}-\d{2}-\d{2})/", path)
        day = found[1] if found else ""
        return not day or (day >= first and (not last or day <= last))

    where = replace(
        source,
        uri=f"{source.uri.rstrip('/')}/{part}/",
        field=FIELD,
        timestamp_field=f"{FIELD}: {TIME}",
    )
    opened = tables.open_table(where, keep=of_these_days)
    if missing := [name for name in _NEEDED[part] if name not in opened.names]:
        raise Refusal(
            Reason.INVALID_DATA,
            f"`{FIELD}`: the files of {where.uri} have no column '{missing[0]}': that is no "
            f"prediction log. Columns: {', '.join(opened.names[:30])}",
        )
    return opened


def _day(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d")


def _own(name: str) -> str:
    """The name that a column of the log has in a request."""
    return name.removeprefix(PREFIX)
