"""Requests by annotation, as every kind answers them: once per time that they carry."""

from __future__ import annotations

from datetime import datetime

from linnet.api import requests
from linnet.api.requests import Malformed, Request
from linnet.api.shared import RequestOutcome, RequestStatus, cut, format_time, parse_time

MESSAGE = 1024


def due(
    annotation: str, kind: str, *, last: RequestStatus | None, now: datetime
) -> Request | RequestStatus | None:
    """The request that is to be acted upon now, or the answer to one that is refused unseen.

    None where nothing is asked, or what is asked was answered before.
    """
    if not annotation:
        return None
    asked = requests.parse_request(annotation)
    answered = parse_time(last.time) if last is not None else None
    if isinstance(asked, Malformed):
        return _malformed(asked, last, answered, now)
    if not requests.is_due(asked.time, answered=answered, now=now):
        return None
    refusal = requests.refusal(asked, kind)
    return answer(asked, RequestOutcome.REFUSED, refusal) if refusal is not None else asked


def answer(asked: Request, outcome: RequestOutcome, message: str) -> RequestStatus:
    """What status says of a request."""
    return RequestStatus(
        verb=asked.verb.value,
        revision=asked.revision,
        time=format_time(asked.time),
        outcome=outcome,
        message=message,
    )


def _malformed(
    asked: Malformed, last: RequestStatus | None, answered: datetime | None, now: datetime
) -> RequestStatus | None:
    if asked.time is None:
        # Without a time nothing tells a repetition from a new request: it is answered once.
        if last is not None and last.message == cut(asked.message, MESSAGE):
            return None
    elif not requests.is_due(asked.time, answered=answered, now=now):
        return None
    return RequestStatus(
        verb=cut(asked.verb or asked.text, 64),
        time=format_time(asked.time or now),
        outcome=RequestOutcome.REFUSED,
        message=asked.message,
    )
