"""The verdict's arithmetic: e-processes on blocks of two-by-two tables, and nothing else.

A scrape gives deltas of two cumulative counters per arm; `Block`s are closed from them (see
`rollout.analysis`), each block gives log evidence against "the candidate's odds ratio is at most
psi0", and products over blocks stay valid however often one looks (Ville's inequality).
Source of every formula: Linnet's rollout reference, section 4. Everything is kept in logarithms.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

_ABOVE_ONE = (
    1.05, 1.1, 1.15, 1.2, 1.25, 1.3, 1.4, 1.5, 1.75, 2.0,
    2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
)  # fmt: skip
GRID: tuple[float, ...] = (*(1 / psi for psi in reversed(_ABOVE_ONE)), 1.0, *_ABOVE_ONE)
"""41 odds ratios; tolerances, margins and bets lie on it."""

BETS: tuple[float, ...] = (1.4, 1.75, 2.0, 3.0, 5.0, 10.0, 30.0)
DISASTER_BETS: tuple[float, ...] = (15.0, 20.0, 30.0)
DISASTER_TOLERANCE = 10.0
DISASTER_SHARE = 0.1
"""Weight of the disaster process beside its metric's weight of one."""
ASSUMED_PRECISION = 5.0
MINIMUM_BLOCK = 5
"""Requests that each arm must have before a block is closed."""
PAIR_BETS = (0.55, 0.6, 0.65, 0.7, 0.8, 0.9)
"""Shares of discordant pairs against the candidate that McNemar's process bets on."""
SCORE_BETS = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Stakes of the process on pairs of scores."""
SHARE_PRIOR = 100.0
PRECISIONS = (
    5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0, 2560.0, 1e4, 1e5, 1e6,
)  # fmt: skip
"""What a precision is chosen from."""

_LOG_ZERO = -math.inf


@dataclass(frozen=True, slots=True)
class Block:
    """One two-by-two table: requests `n` and bad ones `k` of candidate (1) and champion (0)."""

    n1: int
    k1: int
    n0: int
    k0: int

    def __post_init__(self) -> None:
        if not (0 <= self.k1 <= self.n1 and 0 <= self.k0 <= self.n0):
            raise ValueError(f"impossible block: {self}")

    @property
    def share(self) -> float:
        """Realised share of the candidate, in (0, 1) for a block with requests on both arms."""
        return self.n1 / (self.n1 + self.n0)

    def __add__(self, other: Block) -> Block:
        return Block(self.n1 + other.n1, self.k1 + other.k1, self.n0 + other.n0, self.k0 + other.k0)

    @property
    def swapped(self) -> Block:
        """The same table with the arms exchanged: its odds ratio is the inverse."""
        return Block(self.n0, self.k0, self.n1, self.k1)

    @property
    def closable(self) -> bool:
        """Both arms have enough requests for the block to count."""
        return self.n1 >= MINIMUM_BLOCK and self.n0 >= MINIMUM_BLOCK


EMPTY = Block(0, 0, 0, 0)


def log_sum_exp(values: Iterable[float]) -> float:
    """Logarithm of a sum given by logarithms; minus infinity for nothing."""
    items = list(values)
    top = max(items, default=_LOG_ZERO)
    if top == _LOG_ZERO:
        return _LOG_ZERO
    return top + math.log(math.fsum(math.exp(value - top) for value in items))


def log_add(one: float, other: float) -> float:
    """`log_sum_exp` of two: to the last digit the same, in a fraction of the time."""
    low, top = (one, other) if one < other else (other, one)
    return top if low == _LOG_ZERO else top + math.log(1.0 + math.exp(low - top))


def floored_precision(precision: float, block: Block, *, floor: float) -> float:
    """Precision that a block uses: below `floor / min(w, 1 - w)` the form is not conservative."""
    share = block.share
    return max(precision, floor / min(share, 1 - share))


def learned(block: Block, psi: float, precision: float) -> float:
    """Beta-binomial log likelihood of the arm labels of bad requests at odds ratio `psi`.

    `precision` is the tau of the arm label, after its floor. Only differences between two odds
    ratios mean something; the binomial coefficient cancels and is left out.
    """
    (likelihood,) = _learned_at(block, (psi,), precision)
    return likelihood


def _learned_at(block: Block, odds: Sequence[float], precision: float) -> list[float]:
    # The innermost loop of a scrape: what does not depend on the odds ratio is taken out of it.
    share, k1, k0 = block.share, block.k1, block.k0
    lgamma = math.lgamma
    of_all, of_none = lgamma(k1 + k0 + precision), lgamma(precision)
    found = []
    for psi in odds:
        q = share * psi / (share * psi + 1 - share)
        a, b = precision * q, precision * (1 - q)
        found.append(lgamma(k1 + a) + lgamma(k0 + b) - of_all - lgamma(a) - lgamma(b) + of_none)
    return found


def exact(block: Block, psi: float) -> float:
    """Conditional (Fisher) log likelihood at odds ratio `psi`, up to a constant."""
    n1, n0, k = block.n1, block.n0, block.k1 + block.k0
    low, high = max(0, k - n0), min(n1, k)
    mode = _tilted_mode(n1, n0, k, psi, low, high)
    total = _tilted_sum(n1, n0, k, psi, mode, low, high)
    log_weight = (
        _log_choose(n1, mode) + _log_choose(n0, k - mode) - _log_choose(n1 + n0, k)
    ) + mode * math.log(psi)
    return block.k1 * math.log(psi) - (log_weight + math.log(total))


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def _tilted_mode(n1: int, n0: int, k: int, psi: float, low: int, high: int) -> int:
    # The ratio t(j+1)/t(j) falls in j; the mode is where it crosses one.
    while low < high:
        middle = (low + high) // 2
        ratio = psi * (n1 - middle) * (k - middle) / ((middle + 1) * (n0 - k + middle + 1))
        if ratio > 1:
            low = middle + 1
        else:
            high = middle
    return low


def _tilted_sum(n1: int, n0: int, k: int, psi: float, mode: int, low: int, high: int) -> float:
    """Sum of the tilted weights relative to the mode's, outwards until nothing is added."""
    total, term = 1.0, 1.0
    for j in range(mode, high):
        term *= psi * (n1 - j) * (k - j) / ((j + 1) * (n0 - k + j + 1))
        total += term
        if term < 1e-17 * total:
            break
    term = 1.0
    for j in range(mode, low, -1):
        term *= j * (n0 - k + j) / (psi * (n1 - j + 1) * (k - j + 1))
        total += term
        if term < 1e-17 * total:
            break
    return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """The change-point mixture over bets: a regression process against "odds ratio <= psi0".

    `horizon` is T, the number of blocks that may start a change point; it is frozen when the
    rollout starts. `log_a` holds one logarithm per bet above `psi0`, minus infinity at first.
    """

    psi0: float
    bets: tuple[float, ...]
    horizon: int
    blocks: int = 0
    log_a: tuple[float, ...] = ()

    @classmethod
    def start(cls, psi0: float, bets: Sequence[float], horizon: int) -> Mixture:
        above = tuple(psi for psi in bets if psi > psi0)
        return cls(psi0=psi0, bets=above, horizon=horizon, log_a=(_LOG_ZERO,) * len(above))

    def prior(self, t: int) -> float:
        """Prior mass of a change at block `t` (from 1): half on the first, half on the rest."""
        if t == 1:
            return 0.5
        return 0.5 / (self.horizon - 1) if t <= self.horizon else 0.0

    @property
    def unspent(self) -> float:
        """Prior mass of changes that have not happened yet."""
        if self.blocks == 0:
            return 1.0
        later = max(0, self.horizon - self.blocks)
        return 0.5 * later / (self.horizon - 1)

    def add(self, log_evidence: Sequence[float]) -> Mixture:
        """The process after one more block; one log evidence per bet, against `psi0`."""
        t = self.blocks + 1
        prior = self.prior(t)
        log_prior = math.log(prior) if prior > 0 else _LOG_ZERO
        log_a = tuple(
            log_add(old, log_prior) + gain
            for old, gain in zip(self.log_a, log_evidence, strict=True)
        )
        return replace(self, blocks=t, log_a=log_a)

    @property
    def log_e(self) -> float:
        """Logarithm of E: how much the data speak for a regression; 0 before any block."""
        # Without a bet above psi0 the process can never speak: E stays one.
        if not self.bets:
            return 0.0
        mean = log_sum_exp(self.log_a) - math.log(len(self.bets))
        unspent = math.log(self.unspent) if self.unspent > 0 else _LOG_ZERO
        return log_add(mean, unspent)


def block_gain(block: Block, psi: float, psi0: float, precision: float | None) -> float:
    """Log evidence of one block for `psi` against `psi0`; a block without bad requests has none.

    `precision` is the tau of the form Learned, after its floor; None takes the form Exact.
    """
    (gain,) = block_gains(block, (psi,), psi0, precision)
    return gain


def block_gains(
    block: Block, bets: Sequence[float], psi0: float, precision: float | None
) -> tuple[float, ...]:
    """Log evidence of one block for each of several bets: `psi0` is looked at once for all."""
    if block.k1 + block.k0 == 0:
        return (0.0,) * len(bets)
    if precision is None:
        at_psi0 = exact(block, psi0)
        return tuple(exact(block, psi) - at_psi0 for psi in bets)
    at_psi0 = learned(block, psi0, precision)
    return tuple(value - at_psi0 for value in _learned_at(block, bets, precision))


def grid_gains(block: Block, precision: float | None) -> tuple[float, ...]:
    """Log evidence of one block at every odds ratio of `GRID`, against 1."""
    return block_gains(block, GRID, 1.0, precision)


@lru_cache(maxsize=256)
def grid_index(psi: float) -> int:
    """Position of an odds ratio on `GRID`; raises ValueError where it does not lie on it."""
    for index, value in enumerate(GRID):
        if math.isclose(value, psi, rel_tol=1e-9):
            return index
    raise ValueError(f"odds ratio {psi} does not lie on the grid")


def log_no_regression(a: Sequence[float], margin: float) -> float:
    """Logarithm of F: evidence against "odds ratio >= margin", from the grid's sums `a`."""
    at_margin = a[grid_index(margin)]
    return log_sum_exp(a[grid_index(psi)] - at_margin for psi in (1.0, 0.8)) - math.log(2)


def _log_one_sample(n: int, k: int, p0: float, bets: Sequence[float]) -> float:
    """Logarithm of the mean over odds ratios of `psi^k / (1 - p0 + p0 psi)^n`, with `0^0 = 1`."""

    def log_term(psi: float) -> float:
        log_psi = math.log(psi) if psi > 0 else _LOG_ZERO
        gain = k * log_psi if k > 0 else 0.0
        return gain - n * math.log1p(-p0 + p0 * psi)

    return log_sum_exp(log_term(psi) for psi in bets) - math.log(len(bets))


def log_acceptable(n: int, k: int, p0: float) -> float:
    """Logarithm of G: evidence against "the candidate's own error rate >= p0" (one sample)."""
    return _log_one_sample(n, k, p0, (0.0, 0.2))


def log_objective(n: int, k: int, p0: float) -> float:
    """Logarithm of the evidence against "the arm's own rate <= p0" (reference 4.5, `objective`).

    The same process judges `disagreement`, with `p0` the largest rate that is accepted.
    """
    return _log_one_sample(n, k, p0, BETS)


def log_mcnemar(b: int, c: int, *, tolerance: float = 1.0) -> float:
    """Logarithm of the evidence of pairs that the candidate is worse (reference 4.5, McNemar).

    Of the pairs where one of two is wrong, `b` are the candidate's and `c` the champion's; their
    order does not matter. `tolerance` is the odds of b against c up to which it is no worse (ours;
    the reference's formula is that of 1).
    """
    q0 = tolerance / (1 + tolerance)
    bets = [q for q in PAIR_BETS if q > q0]
    if not bets:
        return 0.0
    terms = (b * math.log(q / q0) + c * math.log((1 - q) / (1 - q0)) for q in bets)
    return log_sum_exp(terms) - math.log(len(bets))


def betting_gains(difference: float, tolerance: float) -> tuple[float, ...]:
    """Log gain of each bet of `SCORE_BETS` on one pair of scores (reference 4.5, `pairedScore`).

    `difference` is the champion's score less the candidate's, in [-1, 1]; E is the mean over bets
    of the exponentials of their sums (`log_mean`).
    """
    if not -1 <= difference <= 1:
        raise ValueError(f"a difference of scores lies between -1 and 1, {difference} does not")
    scaled = (difference - tolerance) / (1 + tolerance)
    return tuple(math.log1p(bet * scaled) for bet in SCORE_BETS)


def log_mean(logs: Sequence[float]) -> float:
    """Logarithm of the plain mean of what is given by logarithms."""
    return log_sum_exp(logs) - math.log(len(logs))


def log_share_mismatch(n: int, k: int, share: float) -> float:
    """Logarithm of the evidence that `k` of `n` requests is not a share of `share` (reference 4.7).

    A Beta prior of weight 100 around the configured share; it measures the gateway, not the model.
    """
    if not 0 < share < 1:
        raise ValueError(f"only a share between 0 and 1 can be checked, not {share}")
    a, b = SHARE_PRIOR * share, SHARE_PRIOR * (1 - share)
    likelihood = k * math.log(share) + (n - k) * math.log1p(-share)
    return _log_beta(a + k, b + n - k) - _log_beta(a, b) - likelihood


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def precision_likelihoods(block: Block) -> tuple[float, ...]:
    """Log likelihoods of one A/A block at each of `PRECISIONS`, without the floor (reference 4.4).

    A block with at most one bad request says nothing of a precision.
    """
    if block.k1 + block.k0 <= 1:
        return (0.0,) * len(PRECISIONS)
    return tuple(learned(block, 1.0, tau) for tau in PRECISIONS)


def likeliest_precision(likelihoods: Sequence[float]) -> float:
    """The smallest of `PRECISIONS` whose summed log likelihood is within 2 of the best."""
    best = max(likelihoods)
    pairs = zip(PRECISIONS, likelihoods, strict=True)
    return next(tau for tau, value in pairs if value >= best - 2)


def interval(a: Sequence[float]) -> tuple[float, float]:
    """Anytime-valid 95 % interval of the odds ratio: the smallest and largest not excluded."""
    total = log_sum_exp(a) - math.log(len(GRID))
    kept = [psi for psi, at_psi in zip(GRID, a, strict=True) if total - at_psi < math.log(20)]
    # The mean cannot exceed twenty times every one of its members: something is always kept.
    return min(kept), max(kept)


def odds_ratio(champion: tuple[int, int], candidate: tuple[int, int]) -> float | None:
    """Plain odds ratio of (bad, total) pairs; None while a cell of the table is empty."""
    (k0, n0), (k1, n1) = champion, candidate
    if 0 in (k0, n0 - k0, k1, n1 - k1):
        return None
    return (k1 / (n1 - k1)) / (k0 / (n0 - k0))


def disaster_precision(share: float) -> float:
    """Precision of the disaster process: never learnt, at least 40."""
    return max(40.0, 1 / share)


def weighted_mean(parts: Iterable[tuple[float, float]]) -> float:
    """Logarithm of the mean of e-values given as (weight, log e); one under any dependence."""
    items = list(parts)
    total = sum(weight for weight, _ in items)
    return log_sum_exp(math.log(weight / total) + log_e for weight, log_e in items)
