"""Durations, times and quantities: text to value and back."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from linnet.api import shared


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("0s", timedelta()),
        ("50ms", timedelta(milliseconds=50)),
        ("90m", timedelta(hours=1, minutes=30)),
        ("1h30m", timedelta(hours=1, minutes=30)),
        ("1m500ms", timedelta(minutes=1, milliseconds=500)),
        ("2160h", timedelta(days=90)),
    ],
)
def test_a_duration_is_the_sum_of_its_parts(text: str, length: timedelta) -> None:
    assert shared.parse_duration(text) == length


@pytest.mark.parametrize("text", ["", "5", "1d", "1.5h", "-1s", "1h ", "1234567s", "h"])
def test_what_go_or_the_api_would_refuse_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="must be a duration such as 30s, 10m or 168h"):
        shared.parse_duration(text)


@given(st.timedeltas(min_value=timedelta(), max_value=timedelta(days=3650)))
def test_a_formatted_duration_is_parsed_to_the_same_milliseconds(length: timedelta) -> None:
    whole = length - length % timedelta(milliseconds=1)
    assert shared.parse_duration(shared.format_duration(length)) == whole


def test_durations_are_written_without_zero_parts() -> None:
    assert shared.format_duration(timedelta()) == "0s"
    assert shared.format_duration(timedelta(hours=168)) == "168h"
    assert shared.format_duration(timedelta(minutes=61, milliseconds=5)) == "1h1m5ms"
    with pytest.raises(ValueError, match="must not be negative"):
        shared.format_duration(timedelta(seconds=-1))


def test_times_are_aware_and_in_utc() -> None:
    expected = datetime(2013, 1, 1, 5, tzinfo=UTC)
    assert shared.parse_time("2013-01-01T00:00:00-05:00") == expected
    assert shared.parse_time("2013-01-01T05:00:00Z").tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    ["2013-02-30T00:00:00Z", "2013-01-01", "2013-01-01T00:00:00", "2013-01-01T00:00:00.1Z", "now"],
)
def test_a_day_that_does_not_exist_or_another_form_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match=r"must be|day"):
        shared.parse_time(text)


def test_times_are_written_in_utc_with_whole_seconds() -> None:
    zone = timezone(timedelta(hours=2))
    time = datetime(2026, 11, 23, 12, 0, 0, 999_999, tzinfo=zone)
    assert shared.format_time(time) == "2026-11-23T10:00:00Z"
    with pytest.raises(ValueError, match="aware"):
        shared.format_time(datetime(2026, 11, 23))


def test_quantities_count_bytes() -> None:
    assert shared.parse_quantity("10") == 10
    assert shared.parse_quantity("10Mi") == 10 * 1024 * 1024
    with pytest.raises(ValueError, match="must be a quantity such as"):
        shared.parse_quantity("10M")


def test_a_text_that_is_cut_says_so() -> None:
    assert shared.cut("abc", 3) == "abc"
    assert shared.cut("abcd", 3) == "ab…"
