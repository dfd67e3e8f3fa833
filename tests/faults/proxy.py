"""A proxy in front of a real API server that misbehaves as it is told.

The operator is pointed at it by a kubeconfig without credentials; the proxy has those of the real
one. It answers with a code, delays, drops the answer after the server has committed, resets, tells
an older list, and lets watches fall silent, end, repeat, reorder, skip or fail. Everything that
passes is recorded, so that a test can say which writes there were.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse, ClientSession, ClientTimeout, TCPConnector, web
from kubernetes import client, config

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
HOP = frozenset(
    {"host", "authorization", "connection", "content-length", "transfer-encoding",
     "content-encoding", "accept-encoding"}
)  # fmt: skip
SILENCE = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One request as the API server would see it."""

    method: str
    plural: str
    name: str
    subresource: str
    namespace: str
    watch: bool

    @property
    def is_write(self) -> bool:
        """Whether it changes an object that a scenario is about: no Lease, no Event."""
        return self.method in WRITES and self.plural not in ("leases", "events")

    @property
    def is_list(self) -> bool:
        return self.method == "GET" and not self.name and not self.watch


Match = Callable[[Seen], bool]
Lines = AsyncIterator[bytes]


@dataclass(kw_only=True)
class Fault:
    """What goes wrong: with which requests, and how often (-1: always)."""

    match: Match
    times: int = -1

    def applies(self, seen: Seen) -> bool:
        """Whether it strikes now; counts down."""
        if self.times == 0 or not self.match(seen):
            return False
        self.times -= 1 if self.times > 0 else 0
        return True


@dataclass(kw_only=True)
class Answer(Fault):
    """An error in place of the server's answer; the server never sees the request."""

    code: int
    retry_after: int = 0


@dataclass(kw_only=True)
class Delay(Fault):
    """The request waits before it is passed on."""

    seconds: float


@dataclass(kw_only=True)
class Reset(Fault):
    """The connection breaks before the server sees the request."""


@dataclass(kw_only=True)
class DropAnswer(Fault):
    """The server commits, and the connection breaks before it has said so."""


@dataclass(kw_only=True)
class Older(Fault):
    """A list is the one that was told first, for a kind: a server that has fallen behind."""


@dataclass(kw_only=True)
class Stream(Fault):
    """A watch whose lines go through `change`."""

    change: Callable[[Lines], Lines]


@dataclass(kw_only=True)
class Proxy:
    """Listens on loopback and forwards to the API server of a kubeconfig."""

    kubeconfig: str
    faults: list[Fault] = field(default_factory=list)
    seen: list[tuple[Seen, int]] = field(default_factory=list)
    """Every request with the code that was answered; 0 where the connection was broken."""
    created: list[str] = field(default_factory=list)
    """`plural/name` of everything that the server has made for the operator."""
    after_write: Callable[[int], None] = lambda count: None
    """Called with the number of committed writes, before the answer is passed on."""
    port: int = 0

    def __post_init__(self) -> None:
        settings = client.Configuration()
        config.load_kube_config(config_file=self.kubeconfig, client_configuration=settings)
        self._target = settings.host
        self._tls = ssl.create_default_context(cafile=settings.ssl_ca_cert)
        self._headers: dict[str, str] = {}
        if settings.cert_file:
            self._tls.load_cert_chain(settings.cert_file, settings.key_file)
        elif settings.api_key:
            self._headers["Authorization"] = next(iter(settings.api_key.values()))
        self._first_lists: dict[str, bytes] = {}
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    # -- life -------------------------------------------------------------------------------------

    def __enter__(self) -> Proxy:
        self._thread.start()
        assert self._ready.wait(10), "the proxy did not start"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    def write_kubeconfig(self, path: Path) -> str:
        """A kubeconfig that points here."""
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "p", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}],
            "users": [{"name": "p", "user": {}}],
            "contexts": [{"name": "p", "context": {"cluster": "p", "user": "p"}}],
            "current-context": "p",
        }
        path.write_text(json.dumps(document))
        return str(path)

    def _serve(self) -> None:
        asyncio.run(self._run())

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        connector = TCPConnector(ssl=self._tls, limit=0)
        timeout = ClientTimeout(total=None, connect=10)
        async with ClientSession(
            connector=connector, timeout=timeout, auto_decompress=False, headers=self._headers
        ) as self._session:
            app = web.Application(client_max_size=64 * 1024 * 1024)
            app.router.add_route("*", "/{path:.*}", self._handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            site = web.TCPSite(runner, "127.0.0.1", self.port)
            await site.start()
            self.port = runner.addresses[0][1]
            self._ready.set()
            await self._stop.wait()
            await runner.cleanup()

    # -- what a test asks --------------------------------------------------------------------------

    @property
    def writes(self) -> list[Seen]:
        """The writes that the server has taken."""
        return [seen for seen, code in list(self.seen) if seen.is_write and code < 300]

    def count(self, match: Match) -> int:
        """Requests that match, however they ended."""
        return sum(match(seen) for seen, _ in list(self.seen))

    # -- requests ----------------------------------------------------------------------------------

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        seen = parse(request.method, request.path, request.query)
        fault = next((each for each in list(self.faults) if each.applies(seen)), None)
        if isinstance(fault, Answer):
            self.seen.append((seen, fault.code))
            return _status(fault)
        if isinstance(fault, Reset):
            return self._break(request, seen)
        if isinstance(fault, Delay):
            await asyncio.sleep(fault.seconds)
        if isinstance(fault, Older) and seen.is_list and request.path in self._first_lists:
            self.seen.append((seen, 200))
            return web.Response(
                body=self._first_lists[request.path], content_type="application/json"
            )
        if seen.watch:
            change = fault.change if isinstance(fault, Stream) else None
            return await self._watch(request, seen, change)
        return await self._pass_on(request, seen, dropped=isinstance(fault, DropAnswer))

    def _break(self, request: web.Request, seen: Seen) -> web.Response:
        self.seen.append((seen, 0))
        if request.transport is not None:
            request.transport.close()
        return web.Response()

    def _ask(self, request: web.Request, body: bytes | None) -> Any:
        headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP}
        url = f"{self._target}{request.rel_url}"
        return self._session.request(request.method, url, headers=headers, data=body)

    async def _pass_on(
        self, request: web.Request, seen: Seen, *, dropped: bool
    ) -> web.StreamResponse:
        body = await request.read()
        async with self._ask(request, body or None) as answer:
            content = await answer.read()
            self.seen.append((seen, answer.status))
            if seen.is_list and answer.status == 200:
                self._first_lists.setdefault(request.path, content)
            if answer.status == 201 and seen.is_write:
                self.created.append(f"{seen.plural}/{json.loads(content)['metadata']['name']}")
            if seen.is_write and answer.status < 300:
                self.after_write(len(self.writes))
            if dropped:
                if request.transport is not None:
                    request.transport.close()
                return web.Response()
            return web.Response(status=answer.status, body=content, headers=_kept(answer))

    async def _watch(
        self, request: web.Request, seen: Seen, change: Callable[[Lines], Lines] | None
    ) -> web.StreamResponse:
        async with self._ask(request, None) as answer:
            self.seen.append((seen, answer.status))
            response = web.StreamResponse(status=answer.status, headers=_kept(answer))
            await response.prepare(request)
            lines = _lines(answer)
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                async for line in change(lines) if change is not None else lines:
                    await response.write(line)
            return response


def parse(method: str, path: str, query: Mapping[str, str]) -> Seen:
    """Read what a path of the API names."""
    parts = [part for part in path.split("/") if part]
    parts = parts[2:] if parts[:1] == ["api"] else parts[3:]
    namespace = ""
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    plural, name, subresource = (*parts, "", "", "")[:3]
    return Seen(
        method=method,
        plural=plural,
        name=name,
        subresource=subresource,
        namespace=namespace,
        watch=query.get("watch") in ("1", "true"),
    )


def _kept(answer: ClientResponse) -> dict[str, str]:
    return {key: value for key, value in answer.headers.items() if key.lower() not in HOP}


async def _lines(answer: ClientResponse) -> Lines:
    """The events of a watch, one line each."""
    rest = b""
    async for chunk in answer.content.iter_any():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line + b"\n"


def _status(fault: Answer) -> web.Response:
    reasons = {403: "Forbidden", 404: "NotFound", 409: "Conflict", 410: "Expired",
               422: "Invalid", 429: "TooManyRequests"}  # fmt: skip
    document = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "reason": reasons.get(fault.code, "InternalError"),
        "message": f"the proxy was told to answer {fault.code}",
        "code": fault.code,
    }
    headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after else {}
    return web.json_response(document, status=fault.code, headers=headers)


# -- what a watch may do ---------------------------------------------------------------------------


async def silent(lines: Lines) -> Lines:
    """Nothing comes any more, no bookmark either, and the connection stays."""
    await asyncio.sleep(SILENCE)
    async for line in lines:
        yield line


async def ended(lines: Lines) -> Lines:
    """The stream ends at once, as a server's time-out does."""
    return
    yield b""


async def twice(lines: Lines) -> Lines:
    """Every event comes twice."""
    async for line in lines:
        yield line
        yield line


def swapped(size: int = 4) -> Callable[[Lines], Lines]:
    """Events come in groups, each in reverse."""

    async def change(lines: Lines) -> Lines:
        held: list[bytes] = []
        async for line in lines:
            held.append(line)
            if len(held) == size:
                for each in reversed(held):
                    yield each
                held = []

    return change


def skipping(every: int = 2) -> Callable[[Lines], Lines]:
    """Every n-th event alone comes through: intermediate states are never seen."""

    async def change(lines: Lines) -> Lines:
        place = 0
        async for line in lines:
            place += 1
            if place % every == 0:
                yield line

    return change


def failing(code: int, *, after: int = 0) -> Callable[[Lines], Lines]:
    """An ERROR event in the stream after so many events."""

    async def change(lines: Lines) -> Lines:
        place = 0
        if after:
            async for line in lines:
                yield line
                place += 1
                if place >= after:
                    break
        reason = "Expired" if code == 410 else "InternalError"
        status = {"kind": "Status", "code": code, "reason": reason, "message": "told to fail"}
        yield json.dumps({"type": "ERROR", "object": status}).encode() + b"\n"

    return change
