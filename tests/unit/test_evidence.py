"""The e-process reproduces the test vectors of the rollout reference, section 4.11."""

import math
from collections.abc import Sequence

import pytest
from linnet.core import evidence
from linnet.core.evidence import Block


def close(value: float, expected: float) -> None:
    assert value == pytest.approx(expected, rel=1e-9)


BLOCK = Block(20, 3, 80, 1)


def test_exact_evidence_of_one_block() -> None:
    close(evidence.exact(BLOCK, 2) - evidence.exact(BLOCK, 1), 1.356862273397)
    close(evidence.exact(BLOCK, 2) - evidence.exact(BLOCK, 1.1), 1.150049109885)


@pytest.mark.parametrize(("precision", "expected"), [(40, 1.037357212821), (5, 0.696877744890)])
def test_learned_evidence_of_one_block(precision: float, expected: float) -> None:
    close(evidence.block_gain(BLOCK, 2, 1.1, precision), expected)


SEQUENCE = (Block(20, 1, 380, 4), Block(21, 3, 379, 4), Block(19, 6, 381, 3))


@pytest.mark.parametrize(
    ("precision", "floor", "expected"),
    [
        (40, 0, (1.189184093, 7.120416804, 5267.170567920)),
        (5, 0, (1.296572705, 3.510663510, 50.139888678)),
        (5, 2, (1.189184093, 6.978837110, 5680.674042034)),
    ],
)
def test_regression_process(precision: float, floor: float, expected: tuple[float, ...]) -> None:
    process = evidence.Mixture.start(1.1, evidence.BETS, 540)
    for block, value in zip(SEQUENCE, expected, strict=True):
        tau = evidence.floored_precision(precision, block, floor=floor)
        process = process.add([evidence.block_gain(block, psi, 1.1, tau) for psi in process.bets])
        assert math.exp(process.log_e) == pytest.approx(value, rel=1e-9)


def disaster_process(blocks: tuple[Block, ...]) -> list[float]:
    process = evidence.Mixture.start(evidence.DISASTER_TOLERANCE, evidence.DISASTER_BETS, 540)
    values = []
    for block in blocks:
        tau = evidence.disaster_precision(block.share)
        gains = [evidence.block_gain(block, psi, process.psi0, tau) for psi in process.bets]
        process = process.add(gains)
        values.append(process.log_e)
    return values


DISASTER = (Block(20, 20, 80, 1), Block(20, 20, 80, 1), Block(20, 20, 80, 0))


def test_disaster_process() -> None:
    values = [math.exp(value) for value in disaster_process(DISASTER)]
    assert values == pytest.approx([4.055437741, 31.068141647, 682.802785852], rel=1e-9)


def test_weighted_mean_of_errors_and_disaster() -> None:
    means = [
        math.exp(evidence.weighted_mean([(1.0, 0.0), (evidence.DISASTER_SHARE, value)]))
        for value in disaster_process(DISASTER)
    ]
    assert means == pytest.approx([1.277767067, 3.733467422, 62.982071441], rel=1e-9)


def test_no_regression_process() -> None:
    sums = [0.0] * len(evidence.GRID)
    for block in (Block(100, 1, 400, 4), Block(100, 0, 400, 5), Block(100, 1, 400, 3)):
        gains = evidence.grid_gains(block, 40)
        sums = [old + gain for old, gain in zip(sums, gains, strict=True)]
    close(math.exp(evidence.log_no_regression(sums, 2.0)), 3.034190625)


@pytest.mark.parametrize(
    ("p0", "n", "k", "expected"),
    [
        (0.01, 326, 0, 20.097746837),
        (0.01, 660, 1, 20.058404183),
        (0.01, 400, 3, 0.099401086),
        (0.02, 200, 1, 2.517562806),
    ],
)
def test_acceptable_process(p0: float, n: int, k: int, expected: float) -> None:
    assert math.exp(evidence.log_acceptable(n, k, p0)) == pytest.approx(expected, rel=2e-9)


@pytest.mark.parametrize(
    ("b", "c", "expected"), [(9, 2, 6.129311080), (11, 0, 147.884402881), (10, 0, 86.415779834)]
)
def test_mcnemar_process_on_pairs(b: int, c: int, expected: float) -> None:
    close(math.exp(evidence.log_mcnemar(b, c)), expected)


def test_betting_process_on_scores() -> None:
    sums = [0.0] * len(evidence.SCORE_BETS)
    for difference in (0.10, 0.0, 0.25, 0.15):
        gains = evidence.betting_gains(difference, 0.005)
        sums = [old + gain for old, gain in zip(sums, gains, strict=True)]
    close(math.exp(evidence.log_mean(sums)), 1.160247361)


def test_a_difference_of_scores_outside_its_bounds_is_refused() -> None:
    with pytest.raises(ValueError, match="between -1 and 1"):
        evidence.betting_gains(1.5, 0.005)


def test_objective_process() -> None:
    close(math.exp(evidence.log_objective(200, 9, 0.02)), 4.272874165)


@pytest.mark.parametrize(
    ("k", "expected"), [(200, 0.300314638), (250, 236.630952439), (140, 21404.406002190)]
)
def test_share_mismatch_process(k: int, expected: float) -> None:
    assert math.exp(evidence.log_share_mismatch(1000, k, 0.2)) == pytest.approx(expected, rel=3e-9)


def test_a_share_of_nothing_or_everything_cannot_be_checked() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        evidence.log_share_mismatch(10, 5, 1.0)


NOISY = (
    Block(200, 2, 800, 8),
    Block(200, 9, 800, 3),
    Block(200, 0, 800, 12),
    Block(200, 7, 800, 5),
)
QUIET = (
    Block(2000, 20, 8000, 80),
    Block(2000, 22, 8000, 78),
    Block(2000, 18, 8000, 83),
    Block(2000, 21, 8000, 79),
)


def chosen(blocks: Sequence[Block]) -> float:
    """The precision that these A/A blocks teach."""
    likelihoods = zip(*map(evidence.precision_likelihoods, blocks), strict=True)
    return evidence.likeliest_precision([sum(column) for column in likelihoods])


def test_precision_is_small_where_champion_pods_differ_and_large_where_they_do_not() -> None:
    assert chosen(NOISY * 4) == 5
    assert chosen(QUIET * 10) == 1280


def test_precision_is_assumed_where_no_block_tells_anything() -> None:
    assert chosen([Block(200, 1, 800, 0)] * 10) == evidence.ASSUMED_PRECISION


def test_the_expected_exact_evidence_is_one_at_the_null_odds_ratio() -> None:
    for n1, n0, k in ((3, 4, 2), (5, 9, 6), (8, 8, 3)):
        for psi0, psi in ((1.0, 2.0), (1.1, 3.0), (0.8, 1.5)):
            tables = [Block(n1, k1, n0, k - k1) for k1 in range(max(0, k - n0), min(n1, k) + 1)]
            probabilities = [math.comb(n1, t.k1) * math.comb(n0, t.k0) * psi0**t.k1 for t in tables]
            total = sum(probabilities)
            mean = sum(
                p / total * math.exp(evidence.exact(t, psi) - evidence.exact(t, psi0))
                for p, t in zip(probabilities, tables, strict=True)
            )
            close(mean, 1.0)


def test_the_grid_has_41_odds_ratios_and_their_reciprocals() -> None:
    assert len(evidence.GRID) == 41
    for psi in evidence.GRID:
        assert evidence.GRID[evidence.grid_index(1 / psi)] == pytest.approx(1 / psi)


def test_the_interval_covers_everything_before_any_evidence() -> None:
    assert evidence.interval([0.0] * 41) == (evidence.GRID[0], evidence.GRID[-1])


def test_impossible_blocks_are_refused() -> None:
    with pytest.raises(ValueError, match="impossible block"):
        Block(3, 4, 1, 0)


def test_a_process_without_a_bet_above_its_tolerance_never_speaks() -> None:
    process = evidence.Mixture.start(30.0, evidence.BETS, 100).add([])
    assert process.log_e == 0.0


@pytest.mark.parametrize("one", [-math.inf, -700.0, -1.3, 0.0, 2.7, 40.0])
@pytest.mark.parametrize("other", [-math.inf, -0.2, 0.0, 12.5])
def test_the_sum_of_two_is_the_sum_of_any_number(one: float, other: float) -> None:
    assert evidence.log_add(one, other) == evidence.log_sum_exp((one, other))
    assert evidence.log_add(other, one) == evidence.log_sum_exp((one, other))


@pytest.mark.parametrize("precision", [None, 5.0, 40.0])
def test_bets_are_judged_together_as_one_by_one(precision: float | None) -> None:
    together = evidence.block_gains(BLOCK, evidence.BETS, 1.1, precision)
    alone = [evidence.block_gain(BLOCK, psi, 1.1, precision) for psi in evidence.BETS]
    assert list(together) == alone
