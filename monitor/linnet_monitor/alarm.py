"""The alarm: a window is ranked among all windows of its length in the reference's history.

Rows of one day are not independent, and days in a row are not either. So nothing is assumed of
rows: the statistic of a window is compared with that of every window of as many days that the
model's own data had. Each column's distance is divided by its mean over the windows that do not
overlap this one (roots of quadratic distances, so that no column dominates by its method), the
largest of the columns counts, and the window's rank is its p-value:
p = (1 + windows with at least this statistic) / (windows + 1). Windows that cannot be compared, for
want of rows or of another window that they do not overlap, are not among them.

Source: ours; measured levels in docs/explanation/drift.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np

from linnet_monitor.distances import Counts

Distance = Callable[[Counts, Counts], Counts]
DRAWS = 999
"""Random sets of days, with `method: DayPermutation`."""
TINY = 1e-9
"""A scale of a column that never moved: whatever moves it stands out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One column, or the scores: the reference by day, and the window that is judged."""

    name: str
    history: Counts
    """Counts of shape [days, bins]; a day without a row is zero."""
    window: Counts
    """Counts of shape [bins]."""
    distance: Distance
    power: float = 1.0
    """Distances are compared after this power: 0.5 for those that are quadratic."""
    beyond: float = 0.0
    """Distance of the window's values from the reference's range, where bins cannot tell it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What one series contributes."""

    name: str
    statistic: float
    """The distance."""
    scale: float
    """Mean of the history's windows, after the power."""
    power: float

    @property
    def scaled(self) -> float:
        """The statistic in units of what is usual."""
        return float(self.statistic**self.power / max(self.scale, TINY))

    def bound(self, threshold: float) -> float:
        """The distance at which `scaled` reaches a threshold."""
        return float((threshold * self.scale) ** (1 / self.power))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Where the window stands among those of the history."""

    parts: tuple[Part, ...]
    """Largest first."""
    windows: int
    above: int
    """Windows of the history with at least this statistic."""
    threshold: float
    """In units of `Part.scaled`: beyond it is an alarm."""

    @property
    def statistic(self) -> float:
        """The largest of the parts."""
        return self.parts[0].scaled if self.parts else 0.0

    @property
    def p_value(self) -> float:
        return (1 + self.above) / (self.windows + 1)

    @property
    def resolves(self) -> bool:
        """Whether the history has enough windows for any window to be an alarm."""
        return math.isfinite(self.threshold)

    @property
    def rank(self) -> int:
        """1 is the largest among the windows and this one."""
        return 1 + self.above

    @property
    def score(self) -> float:
        """Statistic divided by threshold: above 1 exactly where there is an alarm."""
        return self.statistic / max(self.threshold, TINY)

    @property
    def alarm(self) -> bool:
        return self.statistic > self.threshold


def windows(days: int, length: int) -> int:
    """Number of sliding windows of `length` days in `days` days."""
    return max(0, days - length + 1)


def days_needed(length: int, alpha: float) -> int:
    """Days of history from which a window of `length` days can be an alarm at level `alpha`.

    With fewer than three lengths less one day, windows in the middle overlap all others: nothing
    says what distance is usual there.
    """
    return max(math.ceil(1 / alpha - 1 - 1e-9) + length - 1, 3 * length - 1)


def rank(
    series: Sequence[Series],
    *,
    dates: Sequence[date],
    length: int,
    alpha: float,
    touched: AbstractSet[date] = frozenset(),
    permute: int | None = None,
) -> Ranking:
    """Rank the window that the series carry.

    Args:
        series: at least one; histories of the same days.
        dates: the histories' days, in order and without gaps.
        length: days of a window.
        alpha: probability of a false alarm.
        touched: days that the window has rows of; where they are in the history they are not used.
        permute: seed of random sets of days instead of sliding windows (`DayPermutation`).
    """
    days = np.arange(len(dates))
    inside = np.array([day in touched for day in dates])
    if permute is None:
        starts = np.arange(windows(len(dates), length))
        member = (days >= starts[:, None]) & (days < starts[:, None] + length)
        apart = np.abs(starts[:, None] - starts[None, :]) >= length
    else:
        member = _draws(len(dates), length, seed=permute)
        apart = ~np.eye(len(member), dtype=bool)
    alone = ~(member & inside).any(axis=1)
    scaled, comparable, parts = [], [], []
    for one in series:
        distances, mine = _distances(one, member, inside)
        valid = np.isfinite(distances)
        usable = np.where(valid, distances, 0.0) ** one.power
        beside = apart & valid
        scaled.append(usable / np.maximum(_mean(usable, beside), TINY))
        comparable.append(valid & beside.any(axis=1))
        chosen = valid & alone
        scale = float(usable[chosen].mean()) if chosen.any() else 0.0
        parts.append(Part(name=one.name, statistic=mine, scale=scale, power=one.power))
    history = np.max(np.where(comparable, scaled, 0.0), axis=0)
    history = history[alone & np.any(comparable, axis=0)]
    parts.sort(key=lambda part: -part.scaled)
    largest = parts[0].scaled
    place = math.floor(alpha * (len(history) + 1) + 1e-9)
    threshold = float(np.sort(history)[::-1][place - 1]) if 0 < place <= len(history) else math.inf
    return Ranking(
        parts=tuple(parts),
        windows=len(history),
        above=int((history >= largest).sum()),
        threshold=threshold,
    )


def _distances(one: Series, member: Any, inside: Any) -> tuple[Counts, float]:
    """Distances of the history's windows (NaN without rows), and of the one that is judged."""
    sums = member.astype(np.float64) @ one.history
    rest = one.history.sum(axis=0) - sums
    distances = one.distance(sums, rest)
    empty = (sums.sum(axis=1) == 0) | (rest.sum(axis=1) == 0)
    reference = one.history[~inside].sum(axis=0)
    mine = one.distance(one.window[None, :], reference[None, :])
    judged = one.window.sum() > 0 and reference.sum() > 0
    return np.where(empty, np.nan, distances), float(mine[0]) + one.beyond if judged else 0.0


def _mean(values: Counts, mask: Any) -> Counts:
    """Row means of `values` over `mask` of shape [n, n]; 0 where a row has none."""
    count = mask.sum(axis=1)
    return np.asarray(np.divide(mask @ values, count, out=np.zeros(len(values)), where=count > 0))


def _draws(days: int, length: int, *, seed: int) -> Any:
    random = np.random.default_rng(seed)
    member = np.zeros((DRAWS if days > length else 0, days), dtype=bool)
    for row in member:
        row[random.choice(days, length, replace=False)] = True
    return member


def calendar(counts: Mapping[str, Sequence[int]], dates: Sequence[date]) -> Counts:
    """Counts by day as [days, bins], with zero rows for days that have none."""
    bins = len(next(iter(counts.values())))
    table = np.zeros((len(dates), bins))
    places = {day.isoformat(): place for place, day in enumerate(dates)}
    for day, row in counts.items():
        table[places[day]] = row
    return table
