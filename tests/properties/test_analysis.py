"""Evidence survives restarts, replays and outages, and does not depend on how it was looked at."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest
from analyser import INTERVAL, START, rules
from hypothesis import given, settings
from hypothesis import strategies as st
from linnet.core import evidence
from linnet.core.evidence import Block
from linnet.core.rollout import analysis
from linnet.core.rollout.analysis import PodSample, Role, Rules, Scrape, State

RULES = rules()

counts = st.tuples(st.integers(0, 60), st.floats(0, 1)).map(lambda c: (c[0], int(c[0] * c[1])))
ticks = st.lists(st.tuples(counts, counts), min_size=1, max_size=12)
Tick = tuple[tuple[int, int], tuple[int, int]]


def sample(role: Role, total: int, bad: int, *, pod: str = "", started: str = "1") -> PodSample:
    codes = {"200": total - bad, "500": bad}
    return PodSample(pod_uid=pod or role.value, started=started, role=role, codes=codes)


def scrape(number: int, *samples: PodSample, living: frozenset[str] | None = None) -> Scrape:
    pods = frozenset(each.pod_uid for each in samples)
    return Scrape(time=START + number * INTERVAL, samples=samples, living_pods=living or pods)


def scrapes(story: list[Tick]) -> list[Scrape]:
    """Cumulative counters after each tick, the baseline first."""
    totals = [0, 0, 0, 0]
    found = [scrape(0, sample(Role.CHAMPION, 0, 0), sample(Role.CANDIDATE, 0, 0))]
    for number, ((n0, k0), (n1, k1)) in enumerate(story, start=1):
        totals = [a + b for a, b in zip(totals, (n0, k0, n1, k1), strict=True)]
        found.append(
            scrape(
                number,
                sample(Role.CHAMPION, totals[0], totals[1]),
                sample(Role.CANDIDATE, totals[2], totals[3]),
            )
        )
    return found


def after(state: State, seen: list[Scrape], *, given_rules: Rules = RULES) -> State:
    for each in seen:
        state = analysis.advance(state, each, given_rules, warm_until=None)
    return state


def fresh() -> State:
    return analysis.start(RULES, now=START)


@settings(max_examples=40, deadline=None)
@given(ticks, st.integers(0, 12))
def test_a_restart_at_any_scrape_changes_nothing(story: list[Tick], at: int) -> None:
    seen = scrapes(story)
    kept = analysis.load(analysis.dump(after(fresh(), seen[:at])))
    assert after(kept, seen[at:]) == after(fresh(), seen)


@settings(max_examples=40, deadline=None)
@given(ticks)
def test_a_state_is_read_back_as_it_was_written(story: list[Tick]) -> None:
    state = after(fresh(), scrapes(story))
    text = analysis.dump(state)
    assert analysis.load(text) == state
    assert analysis.dump(analysis.load(text)) == text
    assert len(text) < 6000


@settings(max_examples=30, deadline=None)
@given(ticks, st.integers(1, 12))
def test_a_replayed_scrape_counts_once(story: list[Tick], at: int) -> None:
    seen = scrapes(story)
    at = min(at, len(seen) - 1)
    twice = [*seen[: at + 1], seen[at], *seen[at + 1 :]]
    once = after(fresh(), seen)
    assert after(fresh(), twice).processes == once.processes
    assert after(fresh(), twice).step_requests == once.step_requests


@settings(max_examples=30, deadline=None)
@given(ticks)
def test_an_outage_becomes_one_larger_block(story: list[Tick]) -> None:
    seen = scrapes(story)
    whole = after(fresh(), seen).processes["errors"]
    outage = after(fresh(), [seen[0], seen[-1]]).processes["errors"]
    assert outage.totals == whole.totals
    # All that differs is where blocks are closed.
    assert (outage.n + outage.open.n1, outage.k + outage.open.k1) == (
        whole.n + whole.open.n1,
        whole.k + whole.open.k1,
    )
    assert outage.regression.blocks <= max(1, whole.regression.blocks)


@settings(max_examples=30, deadline=None)
@given(ticks)
def test_scrapes_that_time_out_change_nothing_in_the_end(story: list[Tick]) -> None:
    seen = scrapes(story)
    silent = replace(seen[0], samples=())
    lived = [
        each
        for pair in ((s, replace(silent, time=s.time, living_pods=s.living_pods)) for s in seen)
        for each in pair
    ]
    assert after(fresh(), lived).processes == after(fresh(), seen).processes


def test_a_restarted_process_starts_at_zero_and_loses_nothing_that_was_read() -> None:
    seen = [
        scrape(0, sample(Role.CHAMPION, 0, 0), sample(Role.CANDIDATE, 0, 0)),
        scrape(1, sample(Role.CHAMPION, 100, 1), sample(Role.CANDIDATE, 50, 5)),
        scrape(2, sample(Role.CHAMPION, 200, 2), sample(Role.CANDIDATE, 20, 4, started="2")),
    ]
    process = after(fresh(), seen).processes["errors"]
    assert process.totals == Block(70, 9, 200, 2)


def test_what_was_counted_before_the_baseline_is_no_evidence() -> None:
    seen = [
        scrape(0, sample(Role.CHAMPION, 9000, 900), sample(Role.CANDIDATE, 40, 40)),
        scrape(1, sample(Role.CHAMPION, 9100, 901), sample(Role.CANDIDATE, 60, 40)),
    ]
    assert after(fresh(), seen).processes["errors"].totals == Block(20, 0, 100, 1)


def test_a_new_pod_counts_from_zero_and_a_vanished_one_is_forgotten() -> None:
    both = (sample(Role.CHAMPION, 100, 0), sample(Role.CANDIDATE, 100, 0))
    more = sample(Role.CANDIDATE, 30, 3, pod="new")
    state = after(fresh(), [scrape(0, *both), scrape(1, *both, more)])
    assert state.processes["errors"].totals == Block(30, 3, 0, 0)
    assert set(state.series) == {"champion/1", "candidate/1", "new/1"}
    gone = after(state, [scrape(2, *both)])
    assert set(gone.series) == {"champion/1", "candidate/1"}


def test_a_pod_that_does_not_answer_keeps_its_series() -> None:
    both = (sample(Role.CHAMPION, 100, 0), sample(Role.CANDIDATE, 100, 0))
    living = frozenset({"champion", "candidate"})
    state = after(fresh(), [scrape(0, *both), scrape(1, both[0], living=living)])
    later = after(state, [scrape(2, both[0], sample(Role.CANDIDATE, 140, 2))])
    assert later.processes["errors"].totals == Block(40, 2, 0, 0)


def test_a_counter_that_went_backwards_counts_nothing() -> None:
    seen = [
        scrape(0, sample(Role.CHAMPION, 100, 10), sample(Role.CANDIDATE, 100, 10)),
        scrape(1, sample(Role.CHAMPION, 50, 5), sample(Role.CANDIDATE, 120, 10)),
    ]
    assert after(fresh(), seen).processes["errors"].totals == Block(20, 0, 0, 0)


def test_while_warming_only_the_disaster_process_listens() -> None:
    seen = scrapes([((900, 9), (100, 60))])
    state = analysis.advance(fresh(), seen[0], RULES, warm_until=None)
    warm = analysis.advance(state, seen[1], RULES, warm_until=START + timedelta(seconds=30))
    process = warm.processes["errors"]
    assert process.regression.blocks == 0
    assert process.totals == evidence.EMPTY
    assert process.warming == Block(100, 60, 900, 9)
    assert process.disaster.blocks == 1
    assert warm.step_requests == 100


def test_a_scrape_that_began_before_the_end_of_the_warm_up_is_warming() -> None:
    seen = scrapes([((900, 9), (100, 1))])
    state = analysis.advance(fresh(), seen[0], RULES, warm_until=None)
    just_before = START + timedelta(seconds=1)
    assert analysis.advance(state, seen[1], RULES, warm_until=just_before).processes[
        "errors"
    ].warming == Block(100, 1, 900, 9)
    assert (
        analysis.advance(state, seen[1], RULES, warm_until=START).processes["errors"].warming
        == evidence.EMPTY
    )


def test_a_block_never_spans_a_weight_change() -> None:
    seen = scrapes([((4, 0), (4, 4)), ((900, 9), (100, 1))])
    open_block = after(fresh(), seen[:2])
    assert open_block.processes["errors"].open == Block(4, 4, 4, 0)
    moved = analysis.change_weight(open_block)
    assert moved.processes["errors"].open == evidence.EMPTY
    assert moved.step_requests == 0
    later = after(moved, seen[2:])
    assert (later.processes["errors"].n, later.processes["errors"].k) == (100, 1)
    # What it showed is still reported.
    assert later.processes["errors"].totals == Block(104, 5, 904, 9)


def test_an_edited_tolerance_starts_its_own_mixture_anew_and_keeps_the_grid() -> None:
    seen = scrapes([((900, 9), (100, 30)), ((900, 9), (100, 30))])
    before = after(fresh(), seen[:2])
    edited = replace(RULES, metrics=(replace(RULES.metrics[0], tolerance=1.25),))
    later = after(before, seen[2:], given_rules=edited)
    process = later.processes["errors"]
    assert process.regression.psi0 == 1.25
    assert process.regression.blocks == 1
    assert process.n == 200


def test_a_metric_that_is_added_later_is_baselined_where_its_series_stand() -> None:
    seen = scrapes([((900, 9), (100, 30)), ((900, 9), (100, 30))])
    before = after(fresh(), seen[:2])
    other = replace(RULES.metrics[0], name="server", bad=("500",))
    edited = replace(RULES, metrics=(*RULES.metrics, other))
    later = after(before, seen[2:], given_rules=edited)
    assert later.processes["server"].totals == evidence.EMPTY
    assert later.processes["errors"].totals == Block(200, 60, 1800, 18)


def test_the_largest_evidence_is_remembered() -> None:
    bad = [((900, 9), (100, 5))]
    good = [((900, 9), (100, 0))] * 5
    state = after(fresh(), scrapes([*bad, *good]))
    assert state.max_log_e > analysis.mean_log_e(state, RULES)


@pytest.mark.parametrize("bad", ["7", '[2,{"T":1}]', "no json"])
def test_a_state_of_another_format_is_refused(bad: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        analysis.load(bad)


blocks = st.builds(
    lambda n1, n0, p1, p0: Block(n1, int(n1 * p1), n0, int(n0 * p0)),
    st.integers(5, 400),
    st.integers(5, 400),
    st.floats(0, 1),
    st.floats(0, 1),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(blocks, min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_blocks_does_not_matter_to_what_has_no_change_point(
    given_blocks: list[Block], random: object
) -> None:
    shuffled = list(given_blocks)
    random.shuffle(shuffled)  # type: ignore[attr-defined]

    def sums(order: list[Block]) -> list[float]:
        gains = [evidence.grid_gains(block, 40) for block in order]
        return [math.fsum(column) for column in zip(*gains, strict=True)]

    assert sums(shuffled) == pytest.approx(sums(given_blocks), abs=1e-9)
    low, high = evidence.interval(sums(given_blocks))
    assert low <= high


@settings(max_examples=60, deadline=None)
@given(blocks, st.sampled_from(evidence.BETS))
def test_more_bad_requests_of_the_candidate_are_never_less_evidence(
    block: Block, psi: float
) -> None:
    k = block.k1 + block.k0
    moved = [
        Block(block.n1, k1, block.n0, k - k1)
        for k1 in range(max(0, k - block.n0), min(block.n1, k) + 1)
    ]
    for measure in (
        lambda b: evidence.block_gain(b, psi, 1.1, 40),
        lambda b: evidence.exact(b, psi) - evidence.exact(b, 1.1),
    ):
        gains = [measure(each) for each in moved]
        assert all(a <= b + 1e-9 for a, b in pairwise(gains))


@settings(max_examples=40, deadline=None)
@given(st.lists(blocks, max_size=8))
def test_a_mixture_never_falls_below_what_it_has_not_bet_yet(given_blocks: list[Block]) -> None:
    process = evidence.Mixture.start(1.1, evidence.BETS, 100)
    for block in given_blocks:
        gains = [evidence.block_gain(block, psi, 1.1, 40) for psi in process.bets]
        process = process.add(gains)
    assert process.log_e >= math.log(process.unspent) - 1e-12
    spent = math.fsum(process.prior(t) for t in range(1, process.blocks + 1))
    assert process.unspent + spent == pytest.approx(1)
