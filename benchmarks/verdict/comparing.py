"""What a rule did on a world, and whether that is what the reference says.

Two numbers differ when they are further apart than two standard errors of their difference, what
rounding in print hides, and, for requests at detection, one scrape.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.verdict.worlds import World

LEAST_HITS = 20
"""Detections below which their median says too little to be compared."""
_CELL = re.compile(
    r"(?P<share>[\d.]+)?(?:@(?P<at>[\d.]+k?))?(?: ?\((?P<exposed>[\d.]+k?)\))?$"
)  # fmt: skip


@dataclass(frozen=True)
class Number:
    """A printed number and half of its last printed digit."""

    value: float
    rounding: float

    @classmethod
    def read(cls, text: str) -> Number:
        """From `.5`, `590`, `5.9k`; zeros at the end of whole numbers are taken as rounded."""
        digits, thousands = text.removesuffix("k"), 1000.0 if text.endswith("k") else 1.0
        if "." in digits:
            unit = 10.0 ** -len(digits.partition(".")[2])
        else:
            unit = 10.0 ** (len(digits) - len(digits.rstrip("0"))) if float(digits) else 1.0
        return cls(float(digits) * thousands, unit * thousands / 2)


@dataclass(frozen=True)
class Outcome:
    """What one rule did in all runs of one world; arrays of shape [runs]."""

    ends: Any
    requests: Any
    """Of both arms until the rollback, or of the whole run."""
    exposed: Any
    """Candidate requests until the rollback, or of the whole run."""
    scrape: float
    """Requests of one scrape."""

    @classmethod
    def of(cls, world: World, ends: Any) -> Outcome:
        """From the scrapes at which the runs of a world ended; -1: they did not."""
        world = world.first(len(ends))
        rows, last = np.arange(len(ends)), np.where(ends < 0, world.n1.shape[1] - 1, ends)
        candidate = np.cumsum(world.n1, axis=1)[rows, last]
        total = np.cumsum(world.n1 + world.n0, axis=1)[rows, last]
        scrape = float((world.n1 + world.n0).mean())
        return cls(ends=ends, requests=total, exposed=candidate, scrape=scrape)

    @property
    def runs(self) -> int:
        """Of the world."""
        return len(self.ends)

    @property
    def hits(self) -> int:
        """Runs that ended in a rollback."""
        return int((self.ends >= 0).sum())

    @property
    def share(self) -> float:
        """Of runs that ended in a rollback, %."""
        return 100 * self.hits / self.runs

    @property
    def at(self) -> Any:
        """Requests of both arms at every rollback."""
        return self.requests[self.ends >= 0]


def error_of_share(hits: int, runs: int) -> float:
    """Standard error of a share, in points; one event is added on both sides, for small counts."""
    p = (hits + 1) / (runs + 2)
    return 100 * math.sqrt(p * (1 - p) / runs)


def error_of_quantile(values: Any, share: float) -> float:
    """Standard error of a quantile: half the distance of the ranks one deviation around it."""
    ordered, n = np.sort(values), len(values)
    rank, deviation = share * n, math.sqrt(n * share * (1 - share))
    low = ordered[max(0, math.floor(rank - deviation))]
    high = ordered[min(n - 1, math.ceil(rank + deviation))]
    return float(high - low) / 2


def differ(ours: float, error: float, theirs: Number, their_error: float, step: float = 0) -> bool:
    """Whether two numbers with standard errors differ by more than chance, print and one step."""
    return abs(ours - theirs.value) > 2 * math.hypot(error, their_error) + theirs.rounding + step


@dataclass
class Sheet:
    """Cells written so far: how many could be compared, and which differ."""

    compared: int = 0
    differing: list[str] = field(default_factory=list)
    table: str = ""

    def note(self, different: bool, cell: str) -> str:
        """The mark of a cell that was compared."""
        self.compared += 1
        if different:
            self.differing.append(f"{self.table}: {cell}")
        return "≠" if different else ""

    def share(self, outcome: Outcome, reference: str, *, runs: int, name: str) -> str:
        """A cell of false rollbacks: ours, and the reference's in brackets."""
        text = percent(outcome.share)
        if not reference:
            return text
        written = f"{text} [{reference}]"
        return written + self.note(_shares(outcome, reference, runs), f"{name}: {written}")

    def found(self, outcome: Outcome, reference: str, *, runs: int, name: str) -> str:
        """A cell `found % @ median requests (mean candidate requests)`."""
        text = percent(outcome.share)
        if outcome.hits:
            text += f"@{short(float(np.median(outcome.at)))}"
        text += f" ({short(float(outcome.exposed.mean()))})"
        if not reference:
            return text
        parts = _CELL.match(reference)
        if parts is None:
            raise ValueError(f"a reference cell that does not read as one: {reference!r}")
        different = bool(parts["share"]) and _shares(outcome, parts["share"], runs)
        if parts["at"] and outcome.hits >= LEAST_HITS:
            different |= _medians(outcome, Number.read(parts["at"]), runs)
        if parts["exposed"]:
            error = float(outcome.exposed.std()) / math.sqrt(outcome.runs)
            their_error = error * math.sqrt(outcome.runs / runs)
            mean = float(outcome.exposed.mean())
            different |= differ(mean, error, Number.read(parts["exposed"]), their_error)
        written = f"{text} [{reference}]"
        return written + self.note(different, f"{name}: {written}")

    def summary(self) -> str:
        """How many cells differ, beside how many would by chance alone."""
        lines = [
            f"{len(self.differing)} of {self.compared} compared cells differ (≠); a twentieth of "
            "comparisons are two standard errors apart by chance:"
        ]
        return "\n".join([*lines, *(f"- {each}" for each in self.differing)])


def _shares(outcome: Outcome, reference: str, runs: int) -> bool:
    theirs = Number.read(reference)
    their_error = error_of_share(round(theirs.value * runs / 100), runs)
    return differ(outcome.share, error_of_share(outcome.hits, outcome.runs), theirs, their_error)


def _medians(outcome: Outcome, theirs: Number, runs: int) -> bool:
    error = error_of_quantile(outcome.at, 0.5)
    their_error = error * math.sqrt(outcome.runs / runs)
    return differ(float(np.median(outcome.at)), error, theirs, their_error, outcome.scrape)


def percent(value: float) -> str:
    """`.5`, `7.4`, `52`, as the reference prints percentages."""
    if value >= 10 or value == 0:
        return f"{value:.0f}"
    return f"{value:.1f}".removeprefix("0") if value >= 0.05 else f"{value:.2f}".removeprefix("0")


def short(value: float) -> str:
    """`590`, `5.9k`, `14k`."""
    if value < 1000:
        return f"{value:.0f}"
    return f"{value / 1000:.1f}k" if value < 9950 else f"{value / 1000:.0f}k"
