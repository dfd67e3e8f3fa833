"""Requests: read, refused, due."""

from datetime import UTC, datetime, timedelta

import pytest
from linnet.api import requests
from linnet.api.requests import Malformed, Request, RequestVerb

TIME = datetime(2026, 11, 23, 10, tzinfo=UTC)


def request(verb: RequestVerb, revision: str | None = None) -> Request:
    return Request(verb=verb, revision=revision, time=TIME)


def test_a_request_is_read() -> None:
    read = requests.parse_request("promote=delays-v8-a01d2c3f@2026-11-23T10:00:00Z")

    assert read == request(RequestVerb.PROMOTE, "delays-v8-a01d2c3f")


def test_a_request_may_name_no_revision_and_another_zone() -> None:
    read = requests.parse_request("resume@2026-11-23T11:00:00+01:00")

    assert read == request(RequestVerb.RESUME)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "promote",
        "promote=@2026-11-23T10:00:00Z",
        "Promote@2026-11-23T10:00:00Z",
        "promote=Delays@2026-11-23T10:00:00Z",
        "promote @2026-11-23T10:00:00Z",
        "promote@now",
        "promote@2026-11-23T10:00:00Z ",
    ],
)
def test_what_has_another_form_is_malformed(text: str) -> None:
    read = requests.parse_request(text)

    assert isinstance(read, Malformed)
    assert read.message == (
        f"linnet.dev/request '{text}' must have the form <verb>[=<revision>]@<time>, such as "
        "resume@2026-11-23T10:00:00Z"
    )
    assert read.time is None


def test_a_day_that_does_not_exist_is_malformed() -> None:
    read = requests.parse_request("resume@2026-02-30T10:00:00Z")

    assert isinstance(read, Malformed)
    assert read.message.startswith("linnet.dev/request: ")


def test_an_unknown_verb_is_malformed_and_keeps_its_time_so_that_it_is_answered_once() -> None:
    read = requests.parse_request("restart@2026-11-23T10:00:00Z")

    assert isinstance(read, Malformed)
    assert (read.verb, read.time) == ("restart", TIME)
    assert read.message == (
        "linnet.dev/request has the verb 'restart', which must be one of promote, promote-full, "
        "abort, retry, resume, undo, check"
    )


@pytest.mark.parametrize(
    ("answered", "now", "due"),
    [
        (None, TIME, True),
        (TIME - timedelta(seconds=1), TIME, True),
        (TIME, TIME, False),
        (TIME + timedelta(hours=1), TIME + timedelta(hours=2), False),
        (None, TIME - timedelta(minutes=5), True),
        (None, TIME - timedelta(minutes=5, seconds=1), False),
        (None, TIME + timedelta(days=365), True),
    ],
)
def test_a_request_is_due_once_and_not_before_its_time(
    answered: datetime | None, now: datetime, due: bool
) -> None:
    assert request(RequestVerb.RESUME).is_due(answered, now) is due


@pytest.mark.parametrize(
    ("given", "kind", "refusal"),
    [
        (request(RequestVerb.ABORT, "a-v1-0"), "ModelDeployment", None),
        (request(RequestVerb.RESUME), "ModelDeployment", None),
        (
            request(RequestVerb.ABORT),
            "ModelDeployment",
            "the request 'abort' must name a revision: abort=<revision>@<time>",
        ),
        (
            request(RequestVerb.RESUME, "a-v1-0"),
            "ModelDeployment",
            "the request 'resume' must not name a revision",
        ),
        (
            request(RequestVerb.CHECK),
            "ModelDeployment",
            "ModelDeployment has no request 'check'; it has: promote, promote-full, abort, retry, "
            "resume, undo",
        ),
        (
            request(RequestVerb.CHECK),
            "DriftPolicy",
            "the request 'check' is not supported by this version of Linnet: upgrade",
        ),
        (
            request(RequestVerb.RESUME),
            "TrainingJob",
            "TrainingJob has no request 'resume'; it has: none",
        ),
    ],
)
def test_a_request_is_refused_with_the_reason(
    given: Request, kind: str, refusal: str | None
) -> None:
    assert requests.refusal(given, kind, live=1) == refusal
