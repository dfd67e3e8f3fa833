"""Training rows, holdout rows and folds: one axis keeps them apart, and copies of a row together.

By time, the holdout is the end of the window and no moment lies on both sides. By group and at
random, a stable hash of the group or of the whole row decides, so that every job which reads the
same rows gets the same holdout. Equal rows have equal hashes: they never lie on two sides.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
from sklearn import model_selection

from linnet_trainer.contract import Reason
from linnet_trainer.data import Rows
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import Axis, Recipe, Table, Unit, Validation, render_time

PURGED = 0.2
"""`purgeGroups` that would cost a greater share of the training rows is refused."""

Positions = np.ndarray[Any, np.dtype[np.intp]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Positions of training and holdout rows, in order of time where there is a time."""

    training: Positions
    holdout: Positions
    by: Axis
    start: datetime | None
    """With axis Time, the moment at which the holdout starts."""
    trained_until: datetime | None
    """No training row is of this moment or later; None without `data.timestamp`."""
    fraction: float
    """Share of the rows, or of the hash space, that the holdout takes."""
    purged: int = 0
    """Training rows that were left out because the holdout has rows of their group."""

    def facts(self, columns: list[str]) -> Mapping[str, Any]:
        """Return what another job needs to tell whether this model saw its holdout."""
        return {
            "by": str(self.by),
            "fraction": self.fraction,
            "key": hashlib.sha256("\0".join(sorted(columns)).encode()).hexdigest(),
        }


def hold_out(rows: Rows, recipe: Recipe) -> Split:
    """Split the rows into training and holdout.

    Raises:
        Refusal: one of both is empty, or a row lies on both sides.
    """
    validation, table = recipe.validation, recipe.table
    times = rows.frame[table.timestamp] if table.timestamp else None
    order = np.argsort(moments(times), kind="stable") if times is not None else None
    start: datetime | None = None
    if validation.by is Axis.TIME:
        assert times is not None
        start = _start(times, table, validation)
        held = (times >= pd.Timestamp(start)).to_numpy()
    else:
        held = _chance(rows, recipe) < (validation.fraction or 0.0)
    _require_both(held, validation, start)
    positions = order if order is not None else np.arange(len(rows))
    split = Split(
        training=positions[~held[positions]],
        holdout=positions[held[positions]],
        by=validation.by,
        start=start,
        trained_until=start or _after_last(times, ~held),
        fraction=validation.fraction or float(held.mean()),
    )
    if validation.purge_groups:
        split = _purge(split, rows.frame[table.groups])
    require_apart(rows, split)
    return split


def require_apart(rows: Rows, split: Split) -> None:
    """Refuse a split that has copies of one row on both sides."""
    copies = int(np.isin(rows.hashes[split.holdout], rows.hashes[split.training]).sum())
    if copies:
        raise Refusal(
            Reason.INVALID_DATA,
            f"{copies} of {len(split.holdout)} rows of the holdout are copies of training rows, "
            "equal in all columns or in `data.rowId`: the score would be of rows that the model "
            "has seen. Remove the copies from the table",
        )


def count_copies(rows: Rows) -> int:
    """Count the rows that are an earlier row once more, by what identifies rows."""
    return len(rows) - len(np.unique(rows.hashes))


def fold(
    rows: Rows,
    split: Split,
    target: np.ndarray[Any, Any],
    recipe: Recipe,
) -> list[tuple[Positions, Positions]]:
    """Return the folds inside the training part, as positions in `split.training`.

    `target` are the training rows' classes from 0 on, or numbers.

    Raises:
        Refusal: there are too few rows, groups or rows of a class for so many folds.
    """
    validation, table = recipe.validation, recipe.table
    folds = validation.folds
    if "Stratified" in validation.splitter:
        _require_members(target, folds)
    groups = rows.frame[table.groups].iloc[split.training] if table.groups else None
    try:
        if validation.splitter == "TimeSeriesSplit":
            times = moments(rows.frame[table.timestamp].iloc[split.training])
            found = _by_time(times, folds, validation.gap)
        elif "Group" in validation.splitter:
            assert groups is not None
            found = _by_group(validation.splitter, groups, target, folds, recipe.seed)
        else:
            hashes = rows.hashes[split.training]
            found = _by_row(validation.splitter, hashes, target, folds, recipe.seed)
    except ValueError as error:
        message = f"`validation.folds: {folds}` with {validation.splitter}: {error}"
        raise Refusal(Reason.INVALID_DATA, message) from error
    for number, (training, _) in enumerate(found, start=1):
        if len(np.unique(target[training])) < 2:
            raise Refusal(
                Reason.INVALID_DATA,
                f"`validation.folds: {folds}`: the training rows of fold {number} "
                f"({len(training)}) are all of one class or value: use fewer folds or another "
                "`validation.splitter`",
            )
    return found


class Within:
    """The split's own folds once more, inside the rows that something is fitted on.

    scikit-learn takes it for a splitter. The tables that it is given have the numbers of their rows
    as index, so that groups, times and copies are known wherever a fit takes a part of the rows.
    """

    def __init__(
        self,
        rows: Rows,
        split: Split,
        codes: np.ndarray[Any, Any],
        recipe: Recipe,
        *,
        covering: bool = False,
    ) -> None:
        self.rows = rows
        self.held = split
        self.codes = codes
        self.recipe = recipe
        self.covering = covering

    def cover(self) -> Within:
        """Return folds that test every row once; of a split by time, those are blocks of time."""
        return Within(self.rows, self.held, self.codes, self.recipe, covering=True)

    def __sklearn_clone__(self) -> Within:
        return self

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of folds."""
        return self.recipe.validation.folds

    def split(
        self, X: pd.DataFrame, y: Any = None, groups: Any = None
    ) -> list[tuple[Positions, Positions]]:
        """Return the folds inside the rows of a table, as positions in it.

        Raises:
            Refusal: as `fold`.
        """
        part = np.asarray(X.index)
        if self.covering and self.recipe.validation.splitter == "TimeSeriesSplit":
            times = moments(self.rows.frame[self.recipe.table.timestamp].iloc[part])
            return _blocks(times, self.recipe.validation.folds)
        held = replace(self.held, training=part)
        return fold(self.rows, held, self.codes[part], self.recipe)


def cluster(rows: Rows, split: Split, table: Table, unit: Unit) -> np.ndarray[Any, Any]:
    """Return the cluster of each holdout row: its day (UTC), its group, or itself."""
    frame = rows.frame.iloc[split.holdout]
    if unit is Unit.DAY:
        found = moments(frame[table.timestamp]).astype("datetime64[D]")
    elif unit is Unit.GROUP:
        found = pd.factorize(frame[table.groups], use_na_sentinel=False)[0]
    else:
        found = np.arange(len(frame))
    clusters: np.ndarray[Any, Any] = found
    return clusters


def identify(rows: Rows, split: Split, table: Table) -> str:
    """Return the digest of which rows are in the holdout, features apart where rows have more.

    Two jobs whose tables differ in features but hold out the same rows look at the same holdout.
    """
    columns = [table.target, table.timestamp, table.groups]
    frame = rows.frame.iloc[split.holdout][[name for name in columns if name]]
    if not table.row_id and (table.timestamp or table.groups):
        hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()
    else:
        hashes = rows.hashes[split.holdout]
    return hashlib.sha256(np.sort(hashes).tobytes()).hexdigest()


def moments(times: pd.Series) -> np.ndarray[Any, np.dtype[np.datetime64]]:
    """Return times of a zone as plain UTC moments: an array of objects would be slow."""
    plain: np.ndarray[Any, np.dtype[np.datetime64]] = times.to_numpy(dtype="datetime64[ns]")
    return plain


def _start(times: pd.Series, table: Table, validation: Validation) -> datetime:
    if validation.period is not None:
        # An open window ends with its last day: a holdout of days then has whole days.
        end: datetime = table.until or times.max().ceil("D").to_pydatetime()
        return end - validation.period
    ordered = np.sort(moments(times))
    first = min(math.ceil((1 - (validation.fraction or 0.0)) * len(ordered)), len(ordered) - 1)
    at = pd.Timestamp(ordered[first]).tz_localize("UTC").floor("us")
    # The rows of a day share its shocks: the holdout starts with a whole day, unless that would
    # make it much larger than asked for.
    day = at.floor("D")
    larger = int((ordered >= day.tz_localize(None).to_datetime64()).sum())
    moment: datetime = (day if larger <= 1.25 * (len(ordered) - first) else at).to_pydatetime()
    return moment


def _chance(rows: Rows, recipe: Recipe) -> np.ndarray[Any, np.dtype[np.float64]]:
    """A number in [0, 1) per row that depends on its group or content alone."""
    if recipe.validation.by is Axis.GROUP:
        groups = rows.frame[recipe.table.groups].astype(object)
        codes, values = pd.factorize(groups, use_na_sentinel=False)
        texts = np.array([str(value) for value in values], dtype=object)
        hashes = pd.util.hash_array(texts, categorize=False)[codes]
    else:
        hashes = rows.hashes
    # splitmix64: neighbouring hashes become independent of each other and of other uses.
    mixed = hashes.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    chance: np.ndarray[Any, np.dtype[np.float64]] = (mixed ^ (mixed >> np.uint64(31))) / 2.0**64
    return chance


def _purge(split: Split, groups: pd.Series) -> Split:
    """Leave out training rows of groups that the holdout has; missing groups are one group."""
    codes = pd.factorize(groups, use_na_sentinel=False)[0]
    shared = np.isin(codes[split.training], codes[split.holdout])
    if shared.mean() > PURGED:
        raise Refusal(
            Reason.INVALID_DATA,
            f"`validation.holdout.purgeGroups`: {shared.sum()} of {len(shared)} training rows are "
            f"of groups that the holdout has, more than {PURGED:.0%}: hold out `by: Group`, or "
            "remove it and compare by a gate's `unit: Group`",
        )
    return replace(split, training=split.training[~shared], purged=int(shared.sum()))


def _after_last(times: pd.Series | None, training: np.ndarray[Any, Any]) -> datetime | None:
    if times is None:
        return None
    last: datetime = times[training].max().ceil("s").to_pydatetime()
    return last + timedelta(seconds=1)


def _require_both(
    held: np.ndarray[Any, Any], validation: Validation, start: datetime | None
) -> None:
    if held.any() and not held.all():
        return
    where = f"it starts at {render_time(start)}" if start else f"by {validation.by}"
    side = "all rows" if held.all() else "no row"
    field = "period" if validation.period is not None else "fraction"
    raise Refusal(
        Reason.INVALID_DATA,
        f"`validation.holdout`: {side} of {len(held)} would be in the holdout ({where}): "
        f"change `holdout.{field}` or the window",
    )


def _require_members(target: np.ndarray[Any, Any], folds: int) -> None:
    fewest = int(np.bincount(target, minlength=2).min())
    if fewest < folds:
        raise Refusal(
            Reason.INVALID_DATA,
            f"`validation.folds: {folds}` needs at least {folds} training rows of each class; the "
            f"rarer class has {fewest}: use fewer folds, or leave rows of rare classes out",
        )


def _by_time(
    times: np.ndarray[Any, Any], folds: int, gap: timedelta
) -> list[tuple[Positions, Positions]]:
    """Folds of rows in order of time; a moment never lies on both sides of a fold.

    No training row lies within `gap` before the first row of its test.
    """
    found = []
    for training, test in model_selection.TimeSeriesSplit(n_splits=folds).split(times):
        earlier = training[times[training] < times[test[0]] - np.timedelta64(gap)]
        if gap and not len(earlier):
            raise ValueError(f"a `validation.gap` of {gap} leaves no row to train on: shorten it")
        found.append((earlier, test))
    return found


def _blocks(times: np.ndarray[Any, Any], folds: int) -> list[tuple[Positions, Positions]]:
    """Folds that test one stretch of time each, of about as many moments; no moment is cut."""
    moments, place = np.unique(times, return_inverse=True)
    if len(moments) < folds:
        raise Refusal(
            Reason.INVALID_DATA,
            f"`validation.folds: {folds}`: the training rows of a fold have only {len(moments)} "
            "different times: use fewer folds",
        )
    block = place * folds // len(moments)
    return [(np.flatnonzero(block != each), np.flatnonzero(block == each)) for each in range(folds)]


def _by_group(
    splitter: str, groups: pd.Series, target: np.ndarray[Any, Any], folds: int, seed: int
) -> list[tuple[Positions, Positions]]:
    codes, values = pd.factorize(groups, use_na_sentinel=False)
    if len(values) < folds:
        raise ValueError(f"the training rows have only {len(values)} groups")
    if splitter == "GroupKFold":
        made = model_selection.GroupKFold(folds, shuffle=True, random_state=seed)
    else:
        made = model_selection.StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
    return list(made.split(codes, target, groups=codes))


def _by_row(
    splitter: str,
    hashes: np.ndarray[Any, np.dtype[np.uint64]],
    target: np.ndarray[Any, Any],
    folds: int,
    seed: int,
) -> list[tuple[Positions, Positions]]:
    """Folds of distinct rows; copies of a row go where the first of them goes."""
    _, first, code = np.unique(hashes, return_index=True, return_inverse=True)
    made = (
        model_selection.KFold(folds, shuffle=True, random_state=seed)
        if splitter == "KFold"
        else model_selection.StratifiedKFold(folds, shuffle=True, random_state=seed)
    )
    found = []
    for _, test in made.split(first, target[first]):
        tested = np.isin(code, test)
        found.append((np.flatnonzero(~tested), np.flatnonzero(tested)))
    return found
