"""Compared and labelled answers, as the analyser takes them from whoever has seen them."""

import math
from collections.abc import Mapping
from datetime import timedelta

import pytest
from analyser import START
from linnet.core import evidence
from linnet.core.evidence import Block
from linnet.core.rollout import analysis
from linnet.core.rollout.analysis import (
    MetricKind,
    MetricRule,
    OutcomeSample,
    PodSample,
    Role,
    Rules,
    Scrape,
    State,
)
from linnet_server.contract import PAIR_DIFFERENCES

CHAMPION, CANDIDATE = Role.CHAMPION, Role.CANDIDATE
Results = Mapping[Role, Mapping[str, Mapping[str, int]]]


def rules(kind: MetricKind, **given: object) -> Rules:
    return Rules(
        metrics=(MetricRule(name="told", kind=kind, **given),),  # type: ignore[arg-type]
        false_rollback=0.05,
        false_promotion=0.05,
        interval=timedelta(seconds=10),
        warmup=timedelta(),
        horizon=180,
    )


def sample(results: Results | None = None, *, started: str = "1", pod: str = "log", **given: int):  # type: ignore[no-untyped-def]
    differences = tuple(given.get(name, 0) for name in PAIR_DIFFERENCES) if given else ()
    return OutcomeSample(
        pod_uid=pod, started=started, results=results or {}, differences=differences
    )


def told(given: Rules, *scrapes: tuple[OutcomeSample, ...], living: tuple[str, ...] = ()) -> State:
    """The state after these scrapes, the first of which is the baseline."""
    state = analysis.start(given, now=START)
    pods = tuple(PodSample(pod_uid=role, started="1", role=role, codes={}) for role in Role)
    for index, outcomes in enumerate(scrapes):
        scrape = Scrape(
            time=START + index * given.interval,
            samples=pods,
            living_pods=frozenset((*Role, "log", "log-1", *living)),
            outcomes=outcomes,
        )
        state = analysis.advance(state, scrape, given, warm_until=None)
        state = analysis.load(analysis.dump(state))
    return state


def disagreement(otherwise: int, alike: int) -> Results:
    return {CANDIDATE: {"disagreement": {"bad": otherwise, "ok": alike}}}


def test_answers_are_counted_from_the_baseline_on_and_by_a_new_process_from_zero() -> None:
    given = rules(MetricKind.DISAGREEMENT, max_rate=0.02)
    state = told(
        given,
        (sample(disagreement(50, 950)),),
        (sample(disagreement(59, 1141)),),
        (sample(disagreement(2, 8), started="2"), sample(disagreement(1, 9), pod="log-1")),
        (),
        (sample(disagreement(2, 8), started="2"),),
    )
    (process,) = state.of(given.metrics[0])
    assert process.totals == Block(200 + 20, 9 + 3, 0, 0)


def test_disagreement_is_judged_by_the_test_vector_of_the_objective() -> None:
    given = rules(MetricKind.DISAGREEMENT, max_rate=0.02)
    state = told(given, (sample(),), (sample(disagreement(9, 191)),))
    log_e = analysis.log_metric(state, given.metrics[0], given)
    assert math.exp(log_e) == pytest.approx(4.272874165, rel=1e-9)


def paired(worse: int, better: int, both: int = 0, neither: int = 0) -> Results:
    counts = {
        "candidate_only": worse, "champion_only": better, "both": both, "neither": neither,
    }  # fmt: skip
    return {CANDIDATE: {"paired": counts}}


@pytest.mark.parametrize(
    ("worse", "better", "expected"),
    [(9, 2, 6.129311080), (11, 0, 147.884402881), (10, 0, 86.415779834)],
)
def test_pairs_are_judged_by_mcnemars_test_vectors(
    worse: int, better: int, expected: float
) -> None:
    given = rules(MetricKind.PAIRED, tolerance=1.0)
    state = told(given, (sample(),), (sample(paired(worse, better, both=5, neither=80)),))
    (process,) = state.of(given.metrics[0])
    assert process.totals == Block(85 + worse + better, worse, 85 + worse + better, better)
    log_e = analysis.log_metric(state, given.metrics[0], given)
    assert math.exp(log_e) == pytest.approx(expected, rel=1e-9)


def test_a_tolerance_of_pairs_is_an_odds_ratio_that_is_allowed() -> None:
    assert evidence.log_mcnemar(60, 40, tolerance=1.5) < evidence.log_mcnemar(60, 40)
    # At the tolerance itself the evidence is one in the mean: summed over all of ten pairs.
    q0 = 1.5 / 2.5
    mean = sum(
        math.comb(10, b) * q0**b * (1 - q0) ** (10 - b)
        * math.exp(evidence.log_mcnemar(b, 10 - b, tolerance=1.5))
        for b in range(11)
    )  # fmt: skip
    assert mean == pytest.approx(1.0, rel=1e-12)
    assert evidence.log_mcnemar(100, 0, tolerance=30.0) == 0.0


def test_pairs_of_scores_are_judged_by_the_betting_vector() -> None:
    given = rules(MetricKind.PAIRED_SCORE, difference=0.005)
    counts = {"0.10": 1, "0.00": 1, "0.25": 1, "0.15": 1}
    state = told(given, (sample(),), (sample(**counts),))
    (process,) = state.of(given.metrics[0])
    assert process.totals == Block(4, 3, 4, 0)
    log_e = analysis.log_metric(state, given.metrics[0], given)
    assert math.exp(log_e) == pytest.approx(1.160247361, rel=1e-9)


def test_an_edited_difference_is_judged_on_what_was_counted() -> None:
    given = rules(MetricKind.PAIRED_SCORE, difference=0.005)
    state = told(given, (sample(),), (sample(**{"0.10": 200}),))
    edited = rules(MetricKind.PAIRED_SCORE, difference=0.2)
    assert analysis.log_metric(state, given.metrics[0], given) > 3
    assert analysis.log_metric(state, edited.metrics[0], edited) < 0


def labelled(candidate: tuple[int, int], champion: tuple[int, int]) -> Results:
    return {
        role: {"labelled": {"bad": bad, "ok": total - bad}}
        for role, (bad, total) in ((CANDIDATE, candidate), (CHAMPION, champion))
    }


def test_labelled_answers_are_compared_exactly_block_by_block() -> None:
    given = rules(MetricKind.LABELLED, tolerance=1.0, margin=1.25)
    state = told(given, (sample(),), (sample(labelled((3, 20), (1, 80))),))
    (process,) = state.of(given.metrics[0])
    assert process.totals == Block(20, 3, 80, 1)
    at_two = process.a[evidence.grid_index(2.0)]
    assert at_two == pytest.approx(1.356862273397, rel=1e-9)
    dispersion = analysis.dispersion_of(state, given.metrics[0], 0, given)
    assert (dispersion.source, dispersion.precision) == ("Exact", None)
    assert given.metrics[0].is_guardrail


def test_labels_that_come_late_are_counted_when_they_come() -> None:
    given = rules(MetricKind.LABELLED, tolerance=1.0)
    early, late = labelled((0, 4), (0, 40)), labelled((9, 60), (3, 100))
    state = told(given, (sample(),), (sample(early),), (), (), (sample(late),))
    assert state.processes["told"].totals == Block(60, 9, 100, 3)


@pytest.mark.parametrize("kind", sorted(analysis.TOLD))
def test_nothing_told_is_no_evidence(kind: MetricKind) -> None:
    given = rules(kind, max_rate=0.1)
    state = told(given, (), (), (sample(),), (sample(),))
    assert analysis.log_metric(state, given.metrics[0], given) == pytest.approx(0.0)
    assert analysis.judge(state, given).value == "Undecided"
