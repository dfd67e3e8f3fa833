"""Conditions: when a time moves, what stays, what goes."""

from datetime import UTC, datetime

from linnet.api import conditions
from linnet.api.conditions import Condition, Status

EARLIER = "2026-11-23T10:00:00Z"
NOW = datetime(2026, 11, 23, 11, tzinfo=UTC)


def make(type: str, status: Status, reason: str = "Serving", time: str = EARLIER) -> Condition:
    return Condition(type=type, status=status, reason=reason, message="", last_transition_time=time)


def test_the_time_moves_when_the_status_moves() -> None:
    old = [make("Ready", Status.FALSE)]

    (merged,) = conditions.merge(old, [make("Ready", Status.TRUE)], NOW)

    assert merged.last_transition_time == "2026-11-23T11:00:00Z"


def test_the_time_stays_when_only_reason_and_message_move() -> None:
    old = [make("Ready", Status.FALSE, "Preparing")]

    (merged,) = conditions.merge(old, [make("Ready", Status.FALSE, "CanaryInProgress")], NOW)

    assert merged.last_transition_time == EARLIER
    assert merged.reason == "CanaryInProgress"


def test_a_new_condition_begins_now_whatever_time_it_came_with() -> None:
    (merged,) = conditions.merge([], [make("Ready", Status.UNKNOWN)], NOW)

    assert merged.last_transition_time == "2026-11-23T11:00:00Z"


def test_a_condition_that_no_longer_holds_is_gone_and_starts_anew_when_it_comes_back() -> None:
    old = [make("Stalled", Status.TRUE)]

    without = conditions.merge(old, [], NOW)
    (again,) = conditions.merge(without, [make("Stalled", Status.TRUE)], NOW)

    assert without == ()
    assert again.last_transition_time == "2026-11-23T11:00:00Z"


def test_merging_twice_changes_nothing() -> None:
    new = [make("Ready", Status.TRUE), make("Available", Status.TRUE)]
    once = conditions.merge([], new, NOW)

    assert conditions.merge(once, new, NOW.replace(hour=12)) == once


def test_a_condition_is_found_by_its_type() -> None:
    ready = make("Ready", Status.TRUE)

    assert conditions.get([ready], "Ready") is ready
    assert conditions.get([ready], "Available") is None


def test_a_long_message_is_cut_and_not_refused() -> None:
    condition = Condition(type="Ready", status=Status.TRUE, reason="Serving", message="a" * 2000)

    assert len(condition.message) == 1024
    assert condition.message.endswith("…")
