"""How noisy a champion is, learnt from its own pods before the first weight."""

import random
from datetime import datetime, timedelta

import pytest
from analyser import START, binomial
from linnet.core import evidence
from linnet.core.rollout import analysis
from linnet.core.rollout.analysis import MetricRule, PodSample, Role, Rules, Scrape, State

RULES = Rules(
    metrics=(MetricRule(name="errors", bad=("5xx",)),),
    false_rollback=0.05,
    false_promotion=0.05,
    interval=timedelta(seconds=10),
    warmup=timedelta(seconds=30),
    horizon=180,
    learns_at=0.25,
    phases=2,
)


class Champion:
    """Cumulative counters of a champion's pods whose error rate varies from scrape to scrape."""

    def __init__(self, *, pods: int, variation: float, seed: int = 1) -> None:
        self.source = random.Random(seed)
        self.variation = variation
        self.counts = {f"pod-{index}": [0, 0] for index in range(pods)}

    def serve(self, requests: int) -> None:
        for counts in self.counts.values():
            rate = 0.02 * max(0.0, self.source.gauss(1, self.variation))
            counts[0] += requests
            counts[1] += binomial(self.source, requests, rate)

    def scrape(self, time: datetime) -> Scrape:
        samples = tuple(
            PodSample(
                pod_uid=pod,
                started="1",
                role=Role.CHAMPION,
                codes={"200": total - bad, "500": bad},
            )
            for pod, (total, bad) in self.counts.items()
        )
        return Scrape(time=time, samples=samples, living_pods=frozenset(self.counts))


def taught(*, pods: int, variation: float, scrapes: int) -> State:
    """A champion is watched for so many scrapes while its candidate gets ready."""
    champion, state = Champion(pods=pods, variation=variation), analysis.start(RULES, now=START)
    champion.serve(10_000)
    for index in range(scrapes + 1):
        state = analysis.learn(state, champion.scrape(START + index * RULES.interval), RULES)
        champion.serve(500)
    return analysis.load(analysis.dump(state))


def test_pods_that_differ_teach_a_small_precision_and_pods_that_do_not_a_large_one() -> None:
    quiet = analysis.freeze_precisions(taught(pods=8, variation=0.0, scrapes=100))
    noisy = analysis.freeze_precisions(taught(pods=8, variation=1.5, scrapes=100))
    assert quiet.precisions["errors"] >= 160
    assert noisy.precisions["errors"] <= 40


def test_the_first_hundred_scrapes_count_and_no_more() -> None:
    hundred = taught(pods=4, variation=1.0, scrapes=100)
    more = taught(pods=4, variation=1.0, scrapes=150)
    assert hundred.noise["errors"].blocks == 100
    assert more.noise == hundred.noise
    assert not analysis.learns(more, RULES)


@pytest.mark.parametrize(("pods", "scrapes"), [(4, 99), (1, 200), (0, 200)])
def test_fewer_scrapes_or_one_pod_teach_nothing(pods: int, scrapes: int) -> None:
    frozen = analysis.freeze_precisions(taught(pods=pods, variation=1.0, scrapes=scrapes))
    assert frozen.precisions == {}
    rule = RULES.metrics[0]
    assumed = analysis.dispersion_of(frozen, rule, 0, RULES)
    assert (assumed.source, assumed.precision) == ("Assumed", evidence.ASSUMED_PRECISION)


def test_a_champions_past_is_no_lesson() -> None:
    state = taught(pods=4, variation=0.0, scrapes=0)
    assert all(noise.blocks == 0 for noise in state.noise.values())


def test_what_was_learnt_is_kept_through_every_kind_of_traffic() -> None:
    state = taught(pods=8, variation=0.0, scrapes=100)
    frozen = analysis.freeze_precisions(analysis.change_kind(state, RULES))
    assert frozen.precisions == analysis.freeze_precisions(state).precisions
    again = analysis.load(analysis.dump(analysis.change_kind(frozen, RULES)))
    assert again.precisions == frozen.precisions


@pytest.mark.parametrize(
    ("share", "pods", "fewer"),
    [(0.25, 8, 2), (0.05, 4, 1), (0.5, 3, 2), (0.9, 2, 1), (0.25, 2, 1)],
)
def test_pods_are_split_roughly_as_the_traffic_will_be(share: float, pods: int, fewer: int) -> None:
    names = {f"pod-{index}" for index in range(pods)}
    group = analysis._smaller_group(names, share, START)
    assert len(group) == fewer
    assert group == analysis._smaller_group(names, share, START)
