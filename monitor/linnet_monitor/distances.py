"""How much two distributions on the same bins differ; each as Evidently defines it on raw values.

All functions take counts of shape [n, bins] for n windows and for what each is compared with, and
return n distances, at least 0; a window without a row has distance 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Counts = np.ndarray[Any, np.dtype[np.float64]]
EMPTY = 1e-4
"""Share that PSI puts into an empty bin, as Evidently does."""


def wasserstein(window: Counts, rest: Counts, *, places: Counts, spread: float) -> Counts:
    """Earth mover's distance of values at `places` [bins], in units of `spread` (a deviation)."""
    ahead = np.cumsum(_shares(window) - _shares(rest), axis=1)[:, :-1]
    return np.asarray((np.abs(ahead) * np.diff(places)).sum(axis=1) / max(spread, 1e-12))


def kolmogorov_smirnov(window: Counts, rest: Counts) -> Counts:
    """Largest difference of the two cumulative shares, from 0 to 1."""
    ahead = np.cumsum(_shares(window) - _shares(rest), axis=1)
    return np.asarray(np.abs(ahead).max(axis=1))


def population_stability(window: Counts, rest: Counts) -> Counts:
    """Population stability index (PSI)."""
    ours, theirs = (np.maximum(_shares(each), EMPTY) for each in (window, rest))
    return np.asarray(((ours - theirs) * np.log(ours / theirs)).sum(axis=1))


def jensen_shannon(window: Counts, rest: Counts) -> Counts:
    """Square root of the Jensen-Shannon divergence with natural logarithms, from 0 to 0.83."""
    ours, theirs = _shares(window), _shares(rest)
    middle = (ours + theirs) / 2
    divergence = (_relative_entropy(ours, middle) + _relative_entropy(theirs, middle)) / 2
    return np.asarray(np.sqrt(np.maximum(divergence, 0)))


def chi_square(window: Counts, rest: Counts) -> Counts:
    """Two-sample chi-square statistic per row (phi squared), so that sizes cancel."""
    ours, theirs = window.sum(axis=1, keepdims=True), rest.sum(axis=1, keepdims=True)
    ratio = np.sqrt(np.maximum(theirs, 1) / np.maximum(ours, 1))
    both = window + rest
    terms = np.divide(
        (window * ratio - rest / ratio) ** 2, both, out=np.zeros_like(both), where=both > 0
    )
    return np.asarray(terms.sum(axis=1) / np.maximum(ours + theirs, 1)[:, 0])


UNORDERED: dict[str, Callable[[Counts, Counts], Counts]] = {
    "KS": kolmogorov_smirnov,
    "PSI": population_stability,
    "JensenShannon": jensen_shannon,
    "ChiSquare": chi_square,
}
"""Methods that need no places of the bins; the names are the policy's."""
QUADRATIC = frozenset({"PSI", "ChiSquare"})
"""Methods whose distance grows with the square of a difference: their roots are comparable."""
EVIDENTLY = {
    "Wasserstein": "wasserstein",
    "KS": "ks",
    "PSI": "psi",
    "JensenShannon": "jensenshannon",
    "ChiSquare": "chisquare",
}
"""The same methods under Evidently's names."""


def _shares(counts: Counts) -> Counts:
    total = counts.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(counts, total, out=np.zeros_like(counts), where=total > 0))


def _relative_entropy(shares: Counts, middle: Counts) -> Counts:
    ratio = np.divide(shares, middle, out=np.ones_like(shares), where=middle > 0)
    logs = np.log(ratio, out=np.zeros_like(ratio), where=ratio > 0)
    return np.asarray((shares * logs).sum(axis=1))
