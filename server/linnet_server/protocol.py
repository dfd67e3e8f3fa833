"""HTTP/1.1 for one listener: bytes to requests, answers to bytes, in order and within bounds.

An application gets a `Request` when its head is complete (`opened`) and again when its body is
(`complete`), and answers it now or later. Everything that protects the process lives here: limits
of head and body, time-outs, back-pressure, pipelining, gone clients, the close that loses nothing.
Times are `monotonic`'s: uvloop's own clock counts whole milliseconds, more than a fast model needs.
"""

import asyncio
import os
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final, Protocol, cast

import httptools
import orjson

from linnet_server import contract

JSON: Final = b"application/json"

REASONS: Final[dict[int, bytes]] = {
    200: b"OK",
    400: b"Bad Request",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    417: b"Expectation Failed",
    422: b"Unprocessable Content",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    503: b"Service Unavailable",
}

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_SAFE_ID: Final = re.compile(r"[\x21-\x7e]{1,256}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds of one connection; times in seconds.

    Attributes:
        body: longest body in bytes.
        idle: how long a connection may rest between requests. Longer than the hour after which
            Envoy drops an idle connection: whoever closes first must be the one who sends.
        receive: how long a whole request may take to arrive.
    """

    body: int = contract.DEFAULT_MAX_REQUEST_BYTES
    head: int = 64 * 1024
    head_time: float = 10.0
    receive: float = 60.0
    idle: float = 3900.0
    stuck: float = 60.0
    linger: float = 2.0
    pipelined: int = 32


class Observer(Protocol):
    """Who counts inference requests."""

    in_flight: int

    def answered(self, kind: str, code: str, seconds: float) -> None:
        """An answer was written."""
        ...

    def unanswered(self, kind: str, code: str) -> None:
        """The client went away before."""
        ...


class Application(Protocol):
    """Who answers requests."""

    def opened(self, request: "Request") -> None:
        """Look at a request whose head is complete; set `counted` if it counts."""
        ...

    def complete(self, request: "Request") -> None:
        """Answer the request, now or later."""
        ...


class Request:
    """One request and, later, its answer."""

    __slots__ = (
        "_connection",
        "answered",
        "body",
        "code",
        "content_type",
        "counted",
        "gone",
        "headers",
        "id",
        "keep_alive",
        "method",
        "payload",
        "started",
        "status",
        "target",
    )

    def __init__(self, connection: "Connection", started: float) -> None:
        self._connection = connection
        self.started = started
        self.method = b""
        self.target = b""
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.keep_alive = True
        self.counted = False
        """Whether this is an inference request, which the counters see."""
        self.id = ""
        """The id to return, where the application has found one."""
        self.gone: Callable[[], None] | None = None
        """Called once if the client goes away before the answer."""
        self.answered = False
        self.status = 0
        self.code = ""
        self.payload = b""
        self.content_type = JSON

    @property
    def kind(self) -> str:
        """The kind of the port that it arrived at."""
        return self._connection.site.kind

    def proposed_id(self) -> str:
        """Return the id that the client's headers propose, else a new one."""
        return proposed_id(self.headers) or new_id()

    def answer(self, status: int, payload: bytes, content_type: bytes = JSON) -> None:
        """Give the answer; a second one, or one for a client that is gone, is dropped."""
        if self.answered:
            return
        self.answered = True
        self.status = status
        self.payload = payload
        self.content_type = content_type
        self._connection.flush()

    def fail(self, status: int, message: str) -> None:
        """Answer with `{"error": message}`."""
        self.answer(status, orjson.dumps({"error": message}))


class Site:
    """A listener's kind, application and connections."""

    def __init__(
        self,
        *,
        kind: str,
        application: Application,
        observer: Observer,
        limits: Limits,
        version: str,
        revision: str,
    ) -> None:
        self.kind = kind
        self.application = application
        self.observer = observer
        self.limits = limits
        self.draining = False
        """Once set, every answer closes its connection."""
        self.connections: set[Connection] = set()
        # Header values are latin-1 on the wire; what is not is a broken setting, shown as such.
        self.identity = (
            f"{contract.HEADER_MODEL_VERSION}: {version}\r\n"
            f"{contract.HEADER_REVISION}: {revision}\r\n"
        ).encode("latin-1", "replace")

    def sweep(self, now: float) -> None:
        """Enforce the time-outs; called about twice a second."""
        for connection in list(self.connections):
            connection.check(now)

    def close_idle(self) -> None:
        """Close the connections on which nothing is happening."""
        for connection in list(self.connections):
            connection.close_if_idle()

    def abort(self) -> None:
        """Drop whatever is left."""
        for connection in list(self.connections):
            connection.abort()


class Connection(asyncio.Protocol):
    """One client's connection."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self._limits = site.limits
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._pending: deque[Request] = deque()
        self._current: Request | None = None
        self._head_open = False
        self._head_bytes = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._continue_for: Request | None = None
        self._discarding = False
        self._discarded = 0
        self._feeding = False
        self._reading = True
        self._stuck_since: float | None = None
        self._since = monotonic()
        """When this connection began to rest, or to linger."""

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop and asyncio set TCP_NODELAY on every TCP transport themselves.
        self._transport = cast(asyncio.Transport, transport)
        self.site.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.site.connections.discard(self)
        self._transport = None
        self._discarding = True
        while self._pending:
            self._lose(self._pending.popleft())

    def _lose(self, request: Request) -> None:
        request.answered = True
        if request.counted:
            self.site.observer.in_flight -= 1
            self.site.observer.unanswered(self.site.kind, contract.CODE_RESET)
        if request.gone is not None:
            request.gone()
            request.gone = None

    def eof_received(self) -> bool:
        # A client that closed its side waits for nothing: gateways end a request that way.
        return False

    def pause_writing(self) -> None:
        self._stuck_since = monotonic()
        self._pace()

    def resume_writing(self) -> None:
        self._stuck_since = None
        self._pace()

    def data_received(self, data: bytes) -> None:
        if self._discarding:
            self._discarded += len(data)
            if self._discarded > 4 * self._limits.body + self._limits.head:
                self.abort()
            return
        if self._current is None or self._head_open:
            self._head_bytes += len(data)
        # Answers wait until all that arrived is parsed: one of them may close the connection.
        self._feeding = True
        try:
            self._feed(data)
            if self._head_open and self._head_bytes > self._limits.head:
                self._refuse(431, f"the request head must be at most {self._limits.head} bytes")
        except httptools.HttpParserError as error:
            self._refuse(400, f"the request is not HTTP/1.1: {error}")
        self._feeding = False
        self.flush()

    def _feed(self, data: bytes) -> None:
        while True:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as upgrade:
                # An offer to change the protocol is declined by going on with this one.
                data = data[upgrade.args[0] :]
                self._parser = httptools.HttpRequestParser(self)
                if data:
                    continue
            return

    # What the parser calls. It must not be left by an exception.

    def on_message_begin(self) -> None:
        if self._discarding:
            return
        self._head_open = True
        self._current = Request(self, monotonic())

    def on_url(self, url: bytes) -> None:
        if self._current is not None:
            self._current.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers, which come after the body, are not looked at.
        if self._current is not None and self._head_open:
            self._current.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        request = self._current
        self._head_open = False
        self._head_bytes = 0
        if self._discarding or request is None:
            return
        request.method = self._parser.get_method()
        request.keep_alive = self._parser.should_keep_alive()
        self._parts = []
        self._size = 0
        self._pending.append(request)
        self.site.application.opened(request)
        if request.counted:
            self.site.observer.in_flight += 1
        headers = request.headers
        try:
            length = int(headers.get(b"content-length", b"0"))
        except ValueError:
            length = 0
        if length > self._limits.body:
            self._refuse(413, self._too_large())
            return
        expected = headers.get(b"expect")
        if expected is None or self._parser.get_http_version() != "1.1":
            return
        if expected.lower() != b"100-continue":
            self._refuse(417, "the only expectation that can be met is '100-continue'")
            return
        self._continue_for = request
        self._continue()

    def on_body(self, part: bytes) -> None:
        if self._discarding:
            return
        self._size += len(part)
        if self._size > self._limits.body:
            self._refuse(413, self._too_large())
            return
        self._continue_for = None
        self._parts.append(part)

    def on_message_complete(self) -> None:
        request = self._current
        if self._discarding or request is None:
            return
        self._current = None
        self._continue_for = None
        parts = self._parts
        request.body = parts[0] if len(parts) == 1 else b"".join(parts)
        self._parts = []
        try:
            self.site.application.complete(request)
        except Exception as error:
            # The parser swallows exceptions' origin, and an answer is owed in any case.
            request.fail(500, f"the server failed: {type(error).__name__}: {error}")

    def _too_large(self) -> str:
        return f"the body must be at most {self._limits.body} bytes"

    # Answers.

    def _refuse(self, status: int, message: str) -> None:
        """Answer what cannot be read to its end, after the answers before it, and hang up."""
        request = self._current
        self._current = None
        self._parts = []
        self._head_open = False
        self._discarding = True
        if request is None:
            request = Request(self, monotonic())
        if request not in self._pending:
            self._pending.append(request)
        request.keep_alive = False
        if status == 408:
            request.code = contract.CODE_TIMEOUT
        request.fail(status, message)

    def flush(self) -> None:
        """Write the answers whose turn has come."""
        transport = self._transport
        if transport is None or self._feeding:
            return
        pending = self._pending
        written = False
        while pending and pending[0].answered:
            request = pending.popleft()
            close = not request.keep_alive or (
                # The last answer of a draining server: nothing that arrived waits behind it.
                self.site.draining and not pending and self._current is None
            )
            self._write(transport, request, close=close)
            written = True
            if close:
                self._hang_up(transport)
                break
        if written:
            self._since = monotonic()
            self._continue()
        self._pace()

    def _write(self, transport: asyncio.Transport, request: Request, *, close: bool) -> None:
        status = request.status
        payload = request.payload
        request_id = request.id or request.proposed_id()
        head = b"".join(
            (
                b"HTTP/1.1 %d %s\r\n" % (status, REASONS.get(status, b"Unknown")),
                self.site.identity,
                b"x-request-id: %s\r\n" % request_id.encode("ascii"),
                b"content-type: %s\r\ncontent-length: %d\r\n"
                % (request.content_type, len(payload)),
                b"connection: close\r\n\r\n" if close else _persistent(self._parser),
            )
        )
        if request.method == b"HEAD":
            transport.write(head)
        else:
            transport.write(head + payload)
        if request.counted:
            observer = self.site.observer
            observer.in_flight -= 1
            observer.answered(
                self.site.kind,
                request.code or str(status),
                monotonic() - request.started,
            )
        request.gone = None

    def _hang_up(self, transport: asyncio.Transport) -> None:
        """End our side and read on for a moment: a reset would take the answer with it."""
        self._discarding = True
        self._since = monotonic()
        while self._pending:
            self._lose(self._pending.popleft())
        if not transport.is_closing():
            transport.write_eof()

    def _continue(self) -> None:
        request = self._continue_for
        if request is None or not self._pending or self._pending[0] is not request:
            return
        self._continue_for = None
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(CONTINUE)

    def _pace(self) -> None:
        """Read on only while the client reads and the queue of its requests is short."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        wanted = (
            self._stuck_since is None and len(self._pending) < self._limits.pipelined
        ) or self._discarding
        if wanted is not self._reading:
            self._reading = wanted
            if wanted:
                transport.resume_reading()
            else:
                transport.pause_reading()

    # Time and drain.

    def check(self, now: float) -> None:
        """Enforce the time-outs of this connection."""
        limits = self._limits
        current = self._current
        if self._stuck_since is not None and now - self._stuck_since > limits.stuck:
            self.abort()
        elif self._discarding:
            if not self._pending and now - self._since > limits.linger:
                self.abort()
        elif current is not None:
            if self._head_open:
                if now - current.started > limits.head_time:
                    self._refuse(408, f"the request head must arrive within {limits.head_time:g} s")
            elif now - current.started > limits.receive and self._reading:
                self._refuse(408, f"the request must arrive within {limits.receive:g} s")
        elif not self._pending and now - self._since > limits.idle:
            self.close_if_idle()

    def close_if_idle(self) -> None:
        """Close, unless a request is being received or answered."""
        if self._transport is None or self._pending or self._current is not None:
            return
        if not self._discarding:
            self._hang_up(self._transport)

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()


def _persistent(parser: Any) -> bytes:
    # A client of HTTP/1.0 that asked to keep the connection wants to be told.
    return b"\r\n" if parser.get_http_version() != "1.0" else b"connection: keep-alive\r\n\r\n"


def proposed_id(headers: dict[bytes, bytes]) -> str:
    """Return the id that the headers propose, an empty text if they propose none that is safe."""
    for name in (b"ce-id", b"x-request-id"):
        value = headers.get(name)
        if value is not None:
            text = value.decode("latin-1")
            if is_safe_id(text):
                return text
    return ""


def is_safe_id(text: str) -> bool:
    """Tell whether `text` can stand in a header: 1 to 256 printable ASCII characters, no space."""
    return _SAFE_ID.fullmatch(text) is not None


def new_id() -> str:
    """Return an id that no other request has."""
    return os.urandom(16).hex()
