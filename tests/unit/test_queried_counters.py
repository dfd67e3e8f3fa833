"""Counters that queries return, scrape by scrape, as the analyser takes them."""

import math
from collections.abc import Mapping
from datetime import timedelta

import pytest
from analyser import START
from linnet.core import evidence
from linnet.core.evidence import Block
from linnet.core.rollout import analysis
from linnet.core.rollout.analysis import (
    BAD,
    GAUGE,
    TOTAL,
    MetricKind,
    MetricRule,
    PodSample,
    Role,
    Rules,
    Scrape,
    State,
    answer_key,
)

QUERIES = {TOTAL: "a", BAD: "b"}
Answer = Mapping[tuple[Role, str, str], float]
CHAMPION, CANDIDATE = Role.CHAMPION, Role.CANDIDATE


def rules(kind: MetricKind = MetricKind.ERROR_RATE, **given: object) -> Rules:
    rule = MetricRule(name="asked", kind=kind, **{"queries": QUERIES, **given})  # type: ignore[arg-type]
    return Rules(
        metrics=(rule,),
        false_rollback=0.05,
        false_promotion=0.05,
        interval=timedelta(seconds=10),
        warmup=timedelta(),
        horizon=180,
    )


def told(given: Rules, *answers: Answer | None) -> State:
    """The state after these answers, one a scrape; None = the queries were not answered."""
    state = analysis.start(given, now=START)
    pods = tuple(PodSample(pod_uid=role, started="1", role=role, codes={}) for role in Role)
    for index, answer in enumerate(answers):
        values = {answer_key(*key): value for key, value in (answer or {}).items()}
        scrape = Scrape(
            time=START + index * given.interval,
            samples=pods,
            living_pods=frozenset(Role),
            answers={"asked": values} if answer is not None else {},
        )
        state = analysis.advance(state, scrape, given, warm_until=None)
        state = analysis.load(analysis.dump(state))
    return state


def counted(*answers: Answer | None) -> Block:
    return told(rules(), *answers).processes["asked"].totals


def both(total: float, bad: float, *, series: str = "x") -> Answer:
    return {
        (role, purpose, series): value
        for role in Role
        for purpose, value in ((TOTAL, total), (BAD, bad))
    }


def test_the_first_answer_is_the_baseline() -> None:
    assert counted(both(1000, 100)) == evidence.EMPTY
    assert counted(both(1000, 100), both(1010, 103)) == Block(10, 3, 10, 3)


def test_a_series_that_appears_later_starts_at_zero() -> None:
    later = {**both(1000, 100), (CANDIDATE, TOTAL, "y"): 20.0, (CANDIDATE, BAD, "y"): 4.0}
    assert counted(both(1000, 100), later) == Block(20, 4, 0, 0)


def test_a_value_that_went_down_is_a_new_baseline_and_no_count() -> None:
    assert counted(both(1000, 100), both(600, 50)) == evidence.EMPTY
    assert counted(both(1000, 100), both(600, 50), both(610, 51)) == Block(10, 1, 10, 1)


def test_an_outage_is_one_larger_delta() -> None:
    assert counted(both(1000, 100), None, None, both(1300, 130)) == Block(300, 30, 300, 30)
    assert counted(None, None, both(1000, 100), both(1010, 101)) == Block(10, 1, 10, 1)


def test_a_series_that_was_away_goes_on_where_it_was() -> None:
    assert counted(both(1000, 100), {}, both(1010, 101)) == Block(10, 1, 10, 1)


def test_what_lies_in_status_of_series_that_come_and_go_is_bounded() -> None:
    most = analysis.REMEMBERED_SERIES // 4
    old = {(CANDIDATE, TOTAL, f"old-{index}"): 1.0 for index in range(2 * most)}
    new = {(CANDIDATE, TOTAL, f"new-{index}"): 1.0 for index in range(2 * most)}
    kept = told(rules(), old, new).queried["asked"]
    assert len(kept) == 4 * most
    last = told(rules(), old, new, both(1, 0)).queried["asked"]
    assert len(last) == 4
    assert all("/x" in key for key in last)


def test_bad_answers_are_never_more_than_answers() -> None:
    assert counted(both(1000, 100), both(1005, 120)) == Block(5, 5, 5, 5)


def test_a_metric_without_answers_is_missed_after_three_intervals() -> None:
    given = rules()
    state = told(given, both(1, 0), None, None)
    assert analysis.readable(state, given, now=START + timedelta(seconds=30))
    late = START + timedelta(seconds=31)
    assert analysis.unanswered(state, given, now=late) == ("asked",)
    assert not analysis.readable(state, given, now=late)


@pytest.mark.parametrize(
    ("kind", "options"),
    [(MetricKind.LATENCY, {}), (MetricKind.OBJECTIVE, {"max_rate": 0.01, "slower_than": 3})],
)
def test_queries_take_the_place_of_edges_and_limits(
    kind: MetricKind, options: dict[str, object]
) -> None:
    given = rules(kind, **options)
    state = told(given, both(0, 0), {**both(50, 0), (CANDIDATE, BAD, "x"): 25.0})
    (process,) = state.of(given.metrics[0])
    assert process.totals == Block(50, 25, 50, 0)
    assert analysis.log_metric(state, given.metrics[0], given) > 3


def figures(candidate: float, champion: float) -> Answer:
    return {(CANDIDATE, GAUGE, "x"): candidate, (CHAMPION, GAUGE, "x"): champion}


@pytest.mark.parametrize(("higher_is_worse", "worse"), [(True, 11), (False, 0)])
def test_a_figure_counts_by_its_sign_alone_and_ties_are_dropped(
    higher_is_worse: bool, worse: int
) -> None:
    given = rules(MetricKind.GAUGE, queries={GAUGE: "q"}, higher_is_worse=higher_is_worse)
    state = told(given, *[figures(9, 1)] * 12, *[figures(5, 5)] * 3, {})
    assert state.processes["asked"].totals == Block(11, worse, 11, 11 - worse)
    expected = evidence.log_mcnemar(worse, 11 - worse)
    assert analysis.log_metric(state, given.metrics[0], given) == expected


def test_eleven_worse_figures_suffice_at_one_percent_and_eight_at_five() -> None:
    assert evidence.log_mcnemar(11, 0) >= -math.log(0.01) > evidence.log_mcnemar(10, 0)
    assert evidence.log_mcnemar(8, 0) >= -math.log(0.05) > evidence.log_mcnemar(7, 0)
