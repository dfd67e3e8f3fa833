"""What the verdict promises, by Monte Carlo through the real analyser (rollout reference, 7).

Seeds are fixed: these tests say that the code computes what the reference promises, and do not
roll the dice again on every run.
"""

import random
from datetime import timedelta

from analyser import (
    INTERVAL,
    WARMUP,
    Rollout,
    at_weight,
    clopper_pearson_upper,
    poisson,
    rules,
)
from linnet.api.model_deployment import Verdict
from linnet.core.rollout.analysis import WARMING_INTERVAL, Role

RAMP = (0.05, 0.25, 0.5)


def quantile(values: list[int], share: float) -> int:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def rolled_back(rollout: Rollout, *, scrapes: int, per_scrape: int) -> bool:
    return any(
        verdict is Verdict.REGRESSION
        for share in RAMP
        for verdict in at_weight(rollout, share, [per_scrape] * scrapes)
    )


def test_a_healthy_candidate_is_rolled_back_more_seldom_than_alpha() -> None:
    runs, limit = 2000, rules()
    # The numbers of requests of a service of 10, 100 and 300 requests a second.
    falsely = sum(
        rolled_back(
            Rollout(limit, random.Random(20261122 + run)),
            scrapes=10,
            per_scrape=(100, 1000, 3000)[run % 3],
        )
        for run in range(runs)
    )
    assert clopper_pearson_upper(falsely, runs) < limit.false_rollback + 0.005


def detection(run: int, *, candidate_bad: float) -> int | None:
    """Requests of both arms until the rollback: 10,000 at 20 % in 100 scrapes (section 6)."""
    rollout = Rollout(rules(horizon=540), random.Random(run), candidate_bad=candidate_bad)
    for index, verdict in enumerate(at_weight(rollout, 0.2, [100] * 100), start=1):
        if verdict is Verdict.REGRESSION:
            return index * 100
    return None


def test_a_regression_from_one_to_five_percent_is_found_as_fast_as_the_reference_says() -> None:
    found = [detection(run, candidate_bad=0.05) for run in range(200)]
    times = [time for time in found if time is not None]
    assert len(times) >= 198
    assert 0.75 * 1100 <= quantile(times, 0.5) <= 1.25 * 1100


def broken_requests(run: int) -> int:
    """Candidate requests until a candidate that fails them all is rolled back, 5 % of 100/s."""
    source = random.Random(run)
    rollout = Rollout(rules(), source, candidate_bad=1.0)
    rollout.change_weight(warmup=WARMUP)
    while True:
        count = poisson(source, 100 * WARMING_INTERVAL.total_seconds())
        if rollout.serve(count, 0.05, WARMING_INTERVAL) is Verdict.REGRESSION:
            return rollout.requests[Role.CANDIDATE]


def test_a_candidate_that_fails_everything_is_stopped_after_a_few_dozen_requests() -> None:
    requests = [broken_requests(run) for run in range(1000)]
    assert quantile(requests, 0.5) < 30
    assert quantile(requests, 0.95) < 40


def broken_after_warmup(run: int) -> int:
    """The same without the disaster process: counted from the end of the warm-up."""
    source = random.Random(run)
    rollout = Rollout(rules(), source, candidate_bad=1.0)
    rollout.change_weight()
    while True:
        if rollout.serve(poisson(source, 100), 0.05, timedelta(seconds=1)) is Verdict.REGRESSION:
            return rollout.requests[Role.CANDIDATE]


def test_without_a_warm_up_fewer_than_a_dozen_requests_are_lost() -> None:
    assert quantile([broken_after_warmup(run) for run in range(200)], 0.5) <= 12


def survives_cold_start(run: int) -> bool:
    """A candidate that fails 10 % for its first 30 s at 5 % of 100/s, and is healthy then."""
    source = random.Random(run)
    rollout = Rollout(rules(), source, candidate_bad=0.1)
    rollout.change_weight(warmup=WARMUP)
    verdicts = [rollout.serve(poisson(source, 200), 0.05, WARMING_INTERVAL) for _ in range(15)]
    rollout.candidate_bad = 0.01
    verdicts += [rollout.serve(poisson(source, 1000), 0.05, INTERVAL) for _ in range(6)]
    return Verdict.REGRESSION not in verdicts


def test_a_cold_start_is_no_regression() -> None:
    # The reference found 3 of 10,000.
    assert sum(not survives_cold_start(run) for run in range(300)) <= 2


def promotes(run: int, *, candidate_bad: float) -> bool:
    rollout = Rollout(rules(), random.Random(run), candidate_bad=candidate_bad)
    return any(verdict is Verdict.NO_REGRESSION for verdict in at_weight(rollout, 0.5, [1000] * 14))


def test_a_faultless_candidate_beside_a_faultless_champion_is_good_enough_soon() -> None:
    rollout = Rollout(rules(), random.Random(1), champion_bad=0.0, candidate_bad=0.0)
    verdicts = list(at_weight(rollout, 0.5, [100] * 10))
    # 326 clean candidate requests, reference 4.3.
    assert verdicts.index(Verdict.NO_REGRESSION) == 6


def test_a_candidate_at_the_margin_is_promoted_more_seldom_than_beta() -> None:
    runs = 200
    # Twice the odds of a champion of 1 %, which is above `acceptable` too.
    promoted = sum(promotes(run, candidate_bad=0.02) for run in range(runs))
    assert clopper_pearson_upper(promoted, runs) < 0.05 + 0.03


def test_most_healthy_candidates_are_promoted_on_evidence() -> None:
    assert sum(promotes(run, candidate_bad=0.01) for run in range(40)) >= 20
