"""Why a step is held, what ends it, and that every hold ends."""

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import CANDIDATE, NOW, evidence_state, midway, model, spec
from linnet.api.model_deployment import DecisionVerb, StepStatus
from linnet.api.reasons import Reason
from linnet.core.rollout import holds, planner
from linnet.core.rollout.holds import HoldView
from linnet.core.rollout.state import Observation, TrafficView

LONG = timedelta(minutes=11)


def with_hold(**hold: Any) -> Any:
    return spec(strategy={"steps": [{"weight": 5, "hold": hold}, {"weight": 100}]})


EVIDENCE = with_hold(advanceWhen="Evidence")
PAUSING = with_hold(onTimeout="Pause")
SLOW = with_hold(minDuration="5m")
ALARMED = evidence_state(spec(), log_e=math.log(16))

CASES: dict[str, tuple[Observation, Reason | None, bool, bool]] = {
    "no evidence yet": (midway(), Reason.HOLDING_FOR_EVIDENCE, False, False),
    "good evidence advances": (
        midway(state=evidence_state(spec(), good=True)), None, True, False,
    ),
    "good evidence of too few requests waits": (
        midway(state=evidence_state(spec(), good=True, requests=199)),
        Reason.HOLDING_FOR_EVIDENCE, False, False,
    ),
    "good evidence before the shortest time waits": (
        midway(given=SLOW, state=evidence_state(SLOW, good=True)),
        Reason.HOLDING_FOR_EVIDENCE, False, False,
    ),
    "the longest time advances without evidence": (midway(held=LONG), None, True, False),
    "the longest time with suspicion pauses": (
        midway(held=LONG, state=ALARMED), Reason.TIMEOUT, False, True,
    ),
    "the longest time pauses where it is asked for": (
        midway(held=LONG, given=PAUSING, state=evidence_state(PAUSING)),
        Reason.TIMEOUT, False, True,
    ),
    "the longest time with too few requests waits for traffic": (
        midway(held=LONG, state=evidence_state(spec(), requests=3)),
        Reason.LOW_TRAFFIC, False, False,
    ),
    "with `advanceWhen: Evidence` no time is the longest": (
        midway(held=timedelta(days=3), given=EVIDENCE, state=evidence_state(EVIDENCE)),
        Reason.HOLDING_FOR_EVIDENCE, False, False,
    ),
    "with `advanceWhen: Evidence` good evidence advances": (
        midway(given=EVIDENCE, state=evidence_state(EVIDENCE, good=True)), None, True, False,
    ),
    "counters that were read long ago hold": (
        midway(held=LONG, state=evidence_state(spec(), read=timedelta(seconds=31))),
        Reason.METRICS_UNAVAILABLE, False, False,
    ),
    "a route that is not programmed holds": (
        midway(held=LONG, traffic=TrafficView(exists=True)),
        Reason.ROUTE_NOT_PROGRAMMED, False, False,
    ),
    "a decision on its way holds": (
        midway(held=LONG, performed=False), Reason.ROUTE_NOT_PROGRAMMED, False, False,
    ),
    "a pause by spec holds": (
        midway(held=LONG, given=spec(paused=True)), Reason.MANUAL_PAUSE, False, False,
    ),
    "a pause by time-out holds": (
        midway(held=LONG, paused=True), Reason.TIMEOUT, False, False,
    ),
    "a wish that cannot serve holds": (
        midway(held=LONG, model=model(challenger="2", champion="1", clusters="2")),
        Reason.NOT_SERVABLE, False, False,
    ),
    "a wish that is gone holds": (
        midway(held=LONG, model=model(champion="1")), Reason.MODEL_NOT_FOUND, False, False,
    ),
    "100 % is held for its shortest time": (
        midway(weight=100, held=timedelta(seconds=30)), Reason.STEP_ADVANCED, False, False,
    ),
    "100 % ends after its shortest time": (midway(weight=100), None, True, False),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_holds(case: tuple[Observation, Reason | None, bool, bool]) -> None:
    seen, why, advances, pauses = case
    view = holds.hold(seen, seen.status, now=NOW)
    assert isinstance(view, HoldView)
    assert (view.why, view.advance, view.pause) == (why, advances, pauses)


def test_while_traffic_returns_nothing_is_held() -> None:
    seen = midway(verb=DecisionVerb.ROLL_BACK, performed=False)
    assert holds.hold(seen, seen.status, now=NOW) is None


def test_sentences_say_what_is_missing() -> None:
    def says(seen: Observation) -> str:
        view = holds.hold(seen, seen.status, now=NOW)
        assert view is not None
        return view.message

    assert says(CASES["no evidence yet"][0]) == (
        "1000 candidate requests in this step, 200 are needed; held for 600 s at most"
    )
    assert says(CASES["with `advanceWhen: Evidence` no time is the longest"][0]) == (
        "1000 candidate requests in this step, 200 are needed; held until the evidence suffices"
    )
    assert says(CASES["the longest time with too few requests waits for traffic"][0]) == (
        "3 of 200 candidate requests in this step"
    )
    assert says(CASES["a pause by time-out holds"][0]) == (
        "the step timed out: request `resume` or `promote` ends the pause"
    )
    assert says(CASES["100 % is held for its shortest time"][0]) == (
        "100 % is held until 2026-11-25T12:00:30Z"
    )


HELD = {name: case[0] for name, case in CASES.items() if case[1] is not None}


def decided(seen: Observation) -> Any:
    return planner.record(seen, NOW)


@pytest.mark.parametrize("seen", HELD.values(), ids=HELD)
def test_every_hold_has_exits(seen: Observation) -> None:
    """In each of them an abort, a regression and another wish end the rollout."""
    assert seen.status.candidate is not None
    aborted = decided(replace(seen, request_annotation=f"abort={CANDIDATE}@2026-11-25T11:59:00Z"))
    assert aborted.decision.verb is DecisionVerb.ROLL_BACK
    assert aborted.rejected[0].reason == "Aborted"

    regressed = midway(
        given=seen.spec, state=evidence_state(seen.spec, log_e=math.log(1e6))
    ).status.analysis
    bad = decided(replace(seen, status=seen.status.model_copy(update={"analysis": regressed})))
    assert bad.decision.verb is DecisionVerb.ROLL_BACK
    assert bad.decision.reason == "Regression"

    back = decided(replace(seen, model=model(challenger="1", champion="1")))
    assert back.decision.verb is DecisionVerb.WITHDRAW
    assert back.rejected == ()


@pytest.mark.parametrize(
    ("name", "cured"),
    [
        ("counters that were read long ago hold", {"state": evidence_state(spec())}),
        ("a route that is not programmed holds", {}),
        ("a decision on its way holds", {}),
        ("a pause by spec holds", {}),
        ("a wish that is gone holds", {}),
        (
            "the longest time with too few requests waits for traffic",
            {"state": evidence_state(spec(), requests=200)},
        ),
    ],
)
def test_a_hold_by_a_cause_ends_with_its_cause(name: str, cured: dict[str, Any]) -> None:
    seen = midway(held=LONG, **cured)
    after = decided(seen)
    assert CASES[name][1] is not None
    assert after.decision.verb is DecisionVerb.ADVANCE
    assert after.step.weight == 25


@pytest.mark.parametrize("verb", ["resume", f"promote={CANDIDATE}"])
def test_a_pause_by_time_out_ends_on_request(verb: str) -> None:
    seen = midway(held=LONG, paused=True, request_annotation=f"{verb}@2026-11-25T11:59:00Z")
    after = decided(seen)
    assert isinstance(after.step, StepStatus)
    assert not after.step.paused
    assert after.request.outcome == "Done"
    assert after.step.weight == (5 if verb == "resume" else 25)
