"""When a check is due: cron expressions in a time zone, read by cronsim."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

_WORDS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = 5
_ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)


class Schedule:
    """A cron expression of five fields, or a word such as @daily, in a time zone.

    Raises ValueError, with a sentence for the user, where it cannot be read.
    """

    def __init__(self, expression: str, time_zone: str) -> None:
        try:
            self._zone = ZoneInfo(time_zone)
        except (KeyError, ValueError, OSError) as error:
            raise ValueError(
                f"`spec.timeZone` '{time_zone}' must be a zone of the IANA database, such as "
                "Europe/Berlin"
            ) from error
        self._expression = _WORDS.get(expression.strip(), expression)
        try:
            if len(self._expression.split()) != _FIELDS:
                raise CronSimError("it has not five fields")
            CronSim(self._expression, _ANY_TIME)
        except CronSimError as error:
            raise ValueError(
                f"`spec.schedule` '{expression}' cannot be read: {error}. It must be five cron "
                "fields such as '0 6 * * *', or a word such as @daily"
            ) from error

    def following(self, time: datetime) -> datetime | None:
        """The first slot after a time; None where there is none within decades."""
        return self._step(time, reverse=False)

    def latest(self, *, after: datetime, until: datetime) -> datetime | None:
        """The newest slot later than `after` and not later than `until`."""
        # Going back starts before its moment, so it starts from the slot that is still to come.
        first = self.following(until)
        found = self._step(first, reverse=True) if first is not None else None
        return found if found is not None and after < found <= until else None

    def _step(self, time: datetime, *, reverse: bool) -> datetime | None:
        slots = CronSim(self._expression, time.astimezone(self._zone), reverse=reverse)
        found = next(slots, None)
        return found.astimezone(UTC) if found is not None else None
