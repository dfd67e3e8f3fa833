"""Cron expressions in a time zone: the next slot, and the newest that has passed."""

from datetime import UTC, datetime, timedelta

import pytest
from linnet.core.drift.schedule import Schedule

NOON = datetime(2026, 11, 26, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("expression", "zone", "following", "latest"),
    [
        ("0 6 * * *", "Etc/UTC", "2026-11-27T06:00", "2026-11-26T06:00"),
        ("@daily", "Etc/UTC", "2026-11-27T00:00", "2026-11-26T00:00"),
        ("@hourly", "Etc/UTC", "2026-11-26T13:00", "2026-11-26T12:00"),
        ("30 6 * * *", "America/New_York", "2026-11-27T11:30", "2026-11-26T11:30"),
        ("*/5 * * * *", "Etc/UTC", "2026-11-26T12:05", "2026-11-26T12:00"),
        ("0 0 29 2 *", "Etc/UTC", "2028-02-29T00:00", None),
    ],
)
def test_slots(expression: str, zone: str, following: str, latest: str | None) -> None:
    schedule = Schedule(expression, zone)
    found = schedule.following(NOON), schedule.latest(after=NOON - 2 * DAY, until=NOON)
    expected = [
        datetime.fromisoformat(text).replace(tzinfo=UTC) if text else None
        for text in (following, latest)
    ]
    assert list(found) == expected


def test_a_slot_is_found_once() -> None:
    schedule = Schedule("0 6 * * *", "Etc/UTC")
    slot = datetime(2026, 11, 26, 6, 0, tzinfo=UTC)
    assert schedule.latest(after=slot - DAY, until=slot) == slot
    assert schedule.latest(after=slot, until=slot + timedelta(hours=23)) is None


@pytest.mark.parametrize(
    ("expression", "zone", "words"),
    [
        ("61 * * * *", "Etc/UTC", "`spec.schedule` '61 * * * *' cannot be read: Bad minute"),
        ("0 6 * *", "Etc/UTC", "it has not five fields"),
        ("0 0 6 * * *", "Etc/UTC", "it has not five fields"),
        ("@often", "Etc/UTC", "or a word such as @daily"),
        ("0 6 * * *", "Mars/Base", "`spec.timeZone` 'Mars/Base' must be a zone"),
    ],
)
def test_what_cannot_be_read_is_told(expression: str, zone: str, words: str) -> None:
    with pytest.raises(ValueError, match="must be") as refused:
        Schedule(expression, zone)
    assert words in str(refused.value)
