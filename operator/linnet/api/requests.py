"""Requests: what a user asks for once, by the annotation `linnet.dev/request`.

The form is `<verb>[=<revision>]@<time>`. The time makes a request an event: one that is not newer
than the last that was answered is ignored, so a re-applied manifest replays nothing.
"""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from linnet.api.shared import TIME_PATTERN, parse_time
from linnet.api.support import LIVE_ISSUE

MAX_AHEAD: Final = timedelta(minutes=5)
"""A request from further ahead is ignored: a clock is wrong."""

_REQUEST: Final = re.compile(
    rf"(?P<verb>[a-z][a-z-]{{2,15}})(=(?P<revision>[a-z][-a-z0-9]{{0,62}}))?@(?P<time>{TIME_PATTERN})",
    re.ASCII,
)


class RequestVerb(StrEnum):
    """What can be asked for."""

    PROMOTE = "promote"
    PROMOTE_FULL = "promote-full"
    ABORT = "abort"
    RETRY = "retry"
    RESUME = "resume"
    UNDO = "undo"
    CHECK = "check"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerbRule:
    """Whether a verb names a revision of a kind, and the issue that makes it live."""

    names_revision: bool
    issue: int


VERBS: Final[dict[str, dict[RequestVerb, VerbRule]]] = {
    "TrainingJob": {},
    "ModelDeployment": {
        RequestVerb.PROMOTE: VerbRule(names_revision=True, issue=1),
        RequestVerb.PROMOTE_FULL: VerbRule(names_revision=True, issue=1),
        RequestVerb.ABORT: VerbRule(names_revision=True, issue=1),
        RequestVerb.RETRY: VerbRule(names_revision=True, issue=1),
        RequestVerb.RESUME: VerbRule(names_revision=False, issue=1),
        RequestVerb.UNDO: VerbRule(names_revision=True, issue=1),
    },
    "DriftPolicy": {
        RequestVerb.CHECK: VerbRule(names_revision=False, issue=2),
        RequestVerb.RESUME: VerbRule(names_revision=False, issue=2),
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that can be read; whether the kind knows its verb is told by `refusal`."""

    verb: RequestVerb
    revision: str | None
    time: datetime

    def is_due(self, answered: datetime | None, now: datetime) -> bool:
        """Return whether it is newer than the last answered one, and not of the future."""
        return is_due(self.time, answered=answered, now=now)


@dataclass(frozen=True, slots=True, kw_only=True)
class Malformed:
    """A request that cannot be read, with the sentence that says why.

    `time` is what could be read of it: with a time it is answered once, like any request.
    """

    text: str
    message: str
    verb: str = "unknown"
    time: datetime | None = None


def parse_request(text: str) -> Request | Malformed:
    """Read the value of the annotation."""
    match = _REQUEST.fullmatch(text)
    if match is None:
        return Malformed(
            text=text,
            message=(
                f"linnet.dev/request '{text[:128]}' must have the form <verb>[=<revision>]@<time>, "
                "such as resume@2026-11-23T10:00:00Z"
            ),
        )
    try:
        time = parse_time(match["time"])
    except ValueError as error:
        return Malformed(text=text, verb=match["verb"], message=f"linnet.dev/request: {error}")
    if match["verb"] not in tuple(RequestVerb):
        return Malformed(
            text=text,
            verb=match["verb"],
            time=time,
            message=(
                f"linnet.dev/request has the verb '{match['verb']}', which must be one of "
                + ", ".join(RequestVerb)
            ),
        )
    return Request(verb=RequestVerb(match["verb"]), revision=match["revision"], time=time)


def is_due(time: datetime, *, answered: datetime | None, now: datetime) -> bool:
    """Return whether a request of that time is to be answered now."""
    return (answered is None or time > answered) and time <= now + MAX_AHEAD


def refusal(request: Request, kind: str, live: int = LIVE_ISSUE) -> str | None:
    """Return why an object of that kind refuses the request whatever its state, or None."""
    rule = VERBS[kind].get(request.verb)
    if rule is None:
        known = ", ".join(VERBS[kind]) or "none"
        return f"{kind} has no request '{request.verb}'; it has: {known}"
    if rule.issue > live:
        return f"the request '{request.verb}' is not supported by this version of Linnet: upgrade"
    if rule.names_revision and request.revision is None:
        return (
            f"the request '{request.verb}' must name a revision: {request.verb}=<revision>@<time>"
        )
    if not rule.names_revision and request.revision is not None:
        return f"the request '{request.verb}' must not name a revision"
    return None
