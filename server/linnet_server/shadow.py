"""Copies of answered requests for a candidate, and whether it answers as this server did.

The operator says in a file who gets copies and of which share; the file is read again and again,
since a champion that begins or ends to send copies must not be restarted for it. Nothing here is on
a request's path: what was answered is queued within bounds, sent by few tasks, and what does not
fit is dropped and counted.
"""

import asyncio
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from linnet_server import contract, logs
from linnet_server.counters import Counters
from linnet_server.protocol import Request

if TYPE_CHECKING:
    import aiohttp

MOST_BYTES: Final = 8 * 1024 * 1024
"""Bodies that wait or are on their way."""
MOST_COPIES: Final = 256
SENDERS: Final = 4
TIMEOUT_SECONDS: Final = 10.0
POLL_SECONDS: Final = 1.0
LARGEST_ANSWER: Final = 8 * 1024 * 1024
_PASSED_ON: Final = (
    b"content-type",
    b"content-encoding",
    b"inference-header-content-length",
    b"ce-time",
)
"""Headers that the server itself reads; what else a client sends is nobody's business."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Who gets copies: a revision at an address, and of how many percent of the requests."""

    revision: str
    url: str
    percent: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Copy:
    """One request as it is sent again, and what was answered to the user."""

    target: Target
    path: bytes
    headers: dict[str, str]
    body: bytes
    labels: Sequence[Any] | None
    """Predicted classes by row; None where nothing can be compared."""


class Shadow:
    """The copies of one server process."""

    def __init__(self, *, file: Path, revision: str, counters: Counters) -> None:
        self.target: Target | None = None
        """Who gets copies now, as the file last said."""
        self._file = file
        self._revision = revision
        self._counters = counters
        self._copies: deque[Copy] = deque()
        self._sending = 0
        self._bytes = 0
        self._arrived = asyncio.Event()
        self._read = b""
        self._tasks: list[asyncio.Task[None]] = []

    def offer(self, request: Request, labels: Sequence[Any] | None) -> None:
        """Take a copy of a request that was answered, if it falls into the sample."""
        target = self.target
        if target is None or random.random() * 100 >= target.percent:
            return
        size = len(request.body)
        if len(self._copies) + self._sending >= MOST_COPIES or self._bytes + size > MOST_BYTES:
            self._counters.copied(target.revision, contract.COPY_DROPPED)
            return
        headers = {
            name.decode("latin-1"): request.headers[name].decode("latin-1")
            for name in _PASSED_ON
            if name in request.headers
        }
        headers[contract.HEADER_REQUEST_ID] = request.id or request.proposed_id()
        self._bytes += size
        self._copies.append(
            Copy(
                target=target,
                path=request.target,
                headers=headers,
                body=request.body,
                labels=labels,
            )
        )
        self._arrived.set()

    async def run(self) -> None:
        """Follow the file until cancelled."""
        try:
            while True:
                self._follow()
                if self.target is not None and not self._tasks:
                    await self._start()
                await asyncio.sleep(POLL_SECONDS)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def _follow(self) -> None:
        """Do what the file says now; without a file nobody gets copies."""
        try:
            raw = self._file.read_bytes()
        except OSError:
            raw = b""
        if raw == self._read:
            return
        self._read = raw
        try:
            self.target = parse(raw, revision=self._revision) if raw else None
        except ValueError as error:
            self.target = None
            logs.warning("the file that says who gets copies is not understood", reason=str(error))
        if self.target is not None:
            logs.info("copies begin", to=self.target.revision, percent=self.target.percent)
        else:
            self._bytes -= sum(len(copy.body) for copy in self._copies)
            self._copies.clear()

    async def _start(self) -> None:
        # The client's libraries are loaded by those who need them, off the loop.
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, _import_client)
        self._tasks = [asyncio.create_task(self._send_all()) for _ in range(SENDERS)]

    async def _send_all(self) -> None:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
            while True:
                while not self._copies:
                    self._arrived.clear()
                    await self._arrived.wait()
                copy = self._copies.popleft()
                self._sending += 1
                try:
                    outcome = await self._send(copy, session)
                except Exception as error:
                    # A candidate's fault must never end the champion's copies.
                    outcome = contract.COPY_FAILED
                    logs.failure("a copy failed", reason=f"{type(error).__name__}: {error}"[:300])
                finally:
                    self._sending -= 1
                    self._bytes -= len(copy.body)
                self._counters.copied(copy.target.revision, outcome)

    async def _send(self, copy: Copy, session: "aiohttp.ClientSession") -> str:
        """Send one copy, compare the answers, and say what became of it."""
        body = copy.body if copy.labels is None else asking_for_labels(copy.body)
        url = copy.target.url + copy.path.decode("latin-1")
        async with session.post(
            url, data=body, headers=copy.headers, allow_redirects=False
        ) as response:
            raw = await response.content.read(LARGEST_ANSWER)
            status = response.status
        if copy.labels is None or status != 200:
            return contract.COPY_ANSWERED
        theirs = labels_of(raw)
        if theirs is None or len(theirs) != len(copy.labels):
            return contract.COPY_ANSWERED
        # Rows of one request are alike: one of them, drawn at random, is one observation.
        row = random.randrange(len(theirs))
        self._counters.compared(copy.target.revision, agrees=theirs[row] == copy.labels[row])
        return contract.COPY_COMPARED


def _import_client() -> None:
    import aiohttp  # noqa: F401 - loaded here, in a thread


def parse(raw: bytes, *, revision: str) -> Target | None:
    """Read the operator's file; None where it speaks to another revision.

    Raises ValueError where it is not understood.
    """
    try:
        document = orjson.loads(raw)
        if document["from"] != revision:
            return None
        target = Target(
            revision=str(document["to"]),
            url=str(document["url"]).rstrip("/"),
            percent=int(document["percent"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not 1 <= target.percent <= 100 or not target.url.startswith("http://"):
        raise ValueError(f"`percent` or `url` is out of bounds: {target}")
    return target


def asking_for_labels(body: bytes) -> bytes:
    """The body without the wish for certain outputs: labels are among all of them."""
    if b'"outputs"' not in body and b'"params"' not in body:
        return body
    document = orjson.loads(body)
    document.pop("outputs", None)
    document.pop("params", None)
    return orjson.dumps(document)


def labels_of(raw: bytes) -> list[Any] | None:
    """The predicted classes by row in an answer of either protocol; None where there are none."""
    try:
        document = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    found = document.get("predictions")
    for output in document.get("outputs") or ():
        if isinstance(output, dict) and output.get("name") == "label":
            found = output.get("data")
    return found if isinstance(found, list) and found else None
