"""The standing check for leakage: what a model could know at training and never when it serves.

Four signs can be seen in a table: a column that gives the target away alone, a column that is the
target's mean per category of these very rows, a column whose own time lies after the event, and
rows that lie on both sides of the split. A fifth is told by the data dictionary: a column that is
known only after the event. Each is found with its number, or not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import scipy.stats
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import TargetEncoder
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from linnet_trainer.data import Feature, Rows
from linnet_trainer.split import Split, moments

GIVEN_AWAY = 0.99
"""A column that reaches this AUC alone (this R² of a number) is taken for the answer itself."""

ROWS = 20_000
"""So many training rows, chosen by the seed, are enough to see a column give the target away."""

RARE = 500
"""A class with fewer of those rows gets so many, where the table has them."""

FOLDS = 3

TOO_GOOD = 1e-4
"""How rarely chance alone would bring a column's values so near to the target's means."""

GROUPS, MEMBERS = 8, 10
"""The values of an encoded column that can be judged: so many, each on so many rows."""

SUFFIXES = ("_time", "_at", "_timestamp")
"""`<column><suffix>` holds the time at which the column became known, where there is one."""

_EPOCHS = {"s": 1, "ms": 1_000, "us": 1_000_000}
_YEAR = np.timedelta64(366, "D")


@dataclass(frozen=True, slots=True, kw_only=True)
class Signs:
    """What was found: a sentence for every sign, and what every column is worth alone."""

    sentences: tuple[str, ...]
    alone: Mapping[str, float]
    copies: int
    """Rows of the table that are equal to an earlier one in all columns."""


def clocks(names: Sequence[str]) -> list[str]:
    """Return the columns that may say when these columns became known."""
    return [f"{name}{suffix}" for name in names for suffix in SUFFIXES]


def look_for(
    rows: Rows,
    table: pd.DataFrame,
    features: Sequence[Feature],
    target: np.ndarray[Any, Any],
    held: Split,
    *,
    times: pd.Series | None,
    seed: int,
    later: Collection[str] = (),
) -> Signs:
    """Look for all signs.

    Args:
        rows: the rows as they were read.
        table: their features, as the model takes them.
        features: what they are.
        target: the class per row from 0 on, or the number to predict.
        held: training and holdout rows.
        times: when each row's event was, if the table says it.
        seed: decides which rows are looked at where there are many.
        later: columns that are known only after the event, as the data dictionary says.
    """
    part = _sample(held.training, target, seed)
    alone = dict(_alone(table.iloc[part], features, target[part], seed))
    numbers = np.issubdtype(target.dtype, np.floating)
    worth = "R²" if numbers else "AUC"
    sentences = [
        f"'{name}' alone gives the target away ({worth} {score:.3f})"
        for name, score in alone.items()
        if score >= GIVEN_AWAY
    ]
    sentences += [
        f"'{feature.name}' is known only after the event, says the data dictionary"
        for feature in features
        if feature.name in later
    ]
    # A mean per category is told of two classes or of numbers.
    rated = numbers or len(np.unique(target)) == 2
    for feature in features:
        if feature.type != "double" or not rated:
            continue
        values = table[feature.name].to_numpy()
        scopes = (("all rows", slice(None)), ("the training rows", held.training))
        for scope, positions in scopes:
            if is_encoded(values[positions], target[positions]):
                sentences.append(
                    f"'{feature.name}' is the target's own mean per category, taken over {scope}: "
                    "encode inside the folds"
                )
                break
    if times is not None:
        for feature in features:
            sentences += _known_later(rows.frame, table, feature, times)
    if twice := int(np.isin(rows.hashes[held.holdout], rows.hashes[held.training]).sum()):
        sentences.append(f"{twice} rows of the holdout equal training rows in all columns")
    copies = len(rows) - len(np.unique(rows.hashes))
    return Signs(sentences=tuple(sentences), alone=alone, copies=copies)


def is_encoded(values: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> bool:
    """Say whether a column is the target's mean per category of these rows, smoothed or not.

    An honest rate differs from the mean of the rows at hand by their luck: over the values of the
    column, the squared distances from the best line, in units of that luck, are chi-square. Where
    they are much too small the column was made from these very labels. The luck is that of the
    whole for classes, and of each category by itself for numbers, whose spread may differ.
    """
    known = np.isfinite(values)
    names, codes, counts = np.unique(values[known], return_inverse=True, return_counts=True)
    large = counts >= MEMBERS
    if large.sum() < GROUPS or counts[large].sum() < 0.5 * len(values):
        return False
    means = np.bincount(codes, weights=target[known]) / counts
    if np.issubdtype(target.dtype, np.floating):
        apart = (target[known] - means[codes]) ** 2
        luck = np.bincount(codes, weights=apart) / np.maximum(counts - 1, 1)
        # A category whose rows are all the same has no luck to measure by.
        large &= luck > 0
        if large.sum() < GROUPS:
            return False
    else:
        overall = float(np.average(means[large], weights=counts[large]))
        luck = np.full(len(means), overall * (1 - overall))
    names, means, counts, luck = names[large], means[large], counts[large], luck[large]
    if not luck.all() or np.ptp(means) == 0:
        return False
    slope, offset = np.polyfit(names, means, 1, w=np.sqrt(counts / luck))
    distance = float((counts / luck * (means - slope * names - offset) ** 2).sum())
    return float(scipy.stats.chi2.cdf(distance, len(names) - 2)) < TOO_GOOD


def _sample(
    positions: np.ndarray[Any, Any], target: np.ndarray[Any, Any], seed: int
) -> np.ndarray[Any, Any]:
    """Some of the rows, and more of a class that would be too rare among them to be judged."""
    if len(positions) <= ROWS:
        return positions
    random = np.random.default_rng(seed)
    chosen: np.ndarray[Any, Any] = random.choice(positions, ROWS, replace=False)
    if np.issubdtype(target.dtype, np.floating):
        return chosen
    counts = np.bincount(target[chosen], minlength=int(target.max()) + 1)
    for code in np.flatnonzero(counts < RARE):
        rows = positions[target[positions] == code]
        some = random.choice(rows, min(RARE, len(rows)), replace=False)
        chosen = np.union1d(chosen, some)
    return chosen


def _alone(
    table: pd.DataFrame, features: Sequence[Feature], target: np.ndarray[Any, Any], seed: int
) -> Iterator[tuple[str, float]]:
    """What each column is worth alone, on rows that a small model of it was not fitted on."""
    numbers = np.issubdtype(target.dtype, np.floating)
    if not numbers:
        # Classes with fewer rows than folds say nothing; the others are judged without them.
        seen = np.bincount(target)[target] >= FOLDS
        table, target = table[seen], np.unique(target[seen], return_inverse=True)[1]
        if len(np.unique(target)) < 2:
            return
    # A number is told by steps, and too few of them would hide a plain copy of it.
    leaves = 128 if numbers else 16
    options = {"max_leaf_nodes": leaves, "min_samples_leaf": 2, "random_state": seed}
    for feature in features:
        column = table[[feature.name]]
        small: Any = (
            DecisionTreeRegressor(**options) if numbers else DecisionTreeClassifier(**options)
        )
        if feature.type == "string":
            column = column.fillna("")
            small = make_pipeline(
                TargetEncoder(cv=KFold(FOLDS, shuffle=True, random_state=seed)), small
            )
        if numbers:
            cut: Any = KFold(FOLDS, shuffle=True, random_state=seed)
            answers = cross_val_predict(small, column, target, cv=cut)
            yield feature.name, float(r2_score(target, answers))
            continue
        cut = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        answers = cross_val_predict(small, column, target, cv=cut, method="predict_proba")
        answers = answers[:, 1] if answers.shape[1] == 2 else answers
        yield feature.name, float(roc_auc_score(target, answers, multi_class="ovr"))


def _known_later(
    frame: pd.DataFrame, table: pd.DataFrame, feature: Feature, times: pd.Series
) -> Iterator[str]:
    """Say that a column became known after the event, by its own time or by one beside it."""
    event = moments(times)
    for name in clocks([feature.name]):
        if name in frame and pd.api.types.is_datetime64_any_dtype(frame[name].dtype):
            later = moments(frame[name]) > event
            if later.any():
                yield (
                    f"'{feature.name}' was known only after the event in {int(later.sum())} of "
                    f"{len(later)} rows, says '{name}'"
                )
    if feature.type != "double":
        return
    values = table[feature.name].to_numpy()
    known = np.isfinite(values)
    for unit, factor in _EPOCHS.items():
        seen = values[known]
        low, high = (
            (edge - np.datetime64(0, "ns")) / np.timedelta64(1, "s") * factor
            for edge in (event.min() - _YEAR, event.max() + _YEAR)
        )
        if not len(seen) or np.mean((seen >= low) & (seen <= high)) < 0.99:
            continue
        begun = (event[known] - np.datetime64(0, "ns")) / np.timedelta64(1, "s") * factor
        later = seen > begun
        if later.any():
            yield (
                f"'{feature.name}' is a time ({unit} since 1970) that lies after the event in "
                f"{int(later.sum())} of {len(values)} rows"
            )
