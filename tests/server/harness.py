"""A server inside the test's own loop, and a client that counts what it does not get."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import uvloop
from linnet_server.app import App
from linnet_server.batching import Batcher, Predictions
from linnet_server.counters import Counters
from linnet_server.features import Features
from linnet_server.manifests import Column
from linnet_server.protocol import Connection, Limits, Site
from linnet_server.shadow import Shadow

REVISION = "delays-v7-0a1b2c3d"
DISTANCE = Column(name="distance", type="double", nullable=False)
TEMP = Column(name="temp", type="double", nullable=True)
CARRIER = Column(name="carrier", type="string", nullable=False)
HOLIDAY = Column(name="holiday", type="boolean", nullable=False)


class Stub:
    """A model that answers at once, or after `seconds`, and notes the size of each call."""

    format = "Skops"
    provenance = "Verified"
    task = "Classification"
    classes = (False, True)
    positive = 1
    has_probabilities = True

    def __init__(self, *columns: Column, seconds: float = 0.0) -> None:
        self.columns = columns or (DISTANCE, TEMP, CARRIER)
        self.seconds = seconds
        self.calls: list[int] = []

    def predict(self, rows: Sequence[Sequence[Any]]) -> Predictions:
        self.calls.append(len(rows))
        time.sleep(self.seconds)
        if any("explode" in row for row in rows):
            raise ValueError("this row explodes")
        scores = [min(1.0, (row[0] or 0.0) / 1000) for row in rows]
        return Predictions([score > 0.5 for score in scores], [[1 - s, s] for s in scores])


@dataclass
class Answer:
    """One answer as it came over the wire."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def error(self) -> str:
        return str(self.json["error"])


class Wire:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, *parts: bytes) -> None:
        for part in parts:
            self.writer.write(part)
        await self.writer.drain()

    async def answer(self, *, head_only: bool = False) -> Answer:
        """Read one answer; raise EOFError where the connection ends before it."""
        async with asyncio.timeout(10):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            status = int(head[0].split(" ")[1])
            length = 0 if head_only else int(headers.get("content-length", "0"))
            return Answer(status, headers, await self.reader.readexactly(length))

    async def at_end(self) -> bool:
        """Tell whether the server ends the connection without another byte."""
        async with asyncio.timeout(10):
            try:
                return await self.reader.read(1) == b""
            except ConnectionResetError:
                return True

    async def ask(self, *arguments: Any, **options: Any) -> Answer:
        await self.send(request(*arguments, **options))
        return await self.answer()

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


def request(
    method: str,
    path: str,
    body: Any = None,
    *headers: str,
    version: str = "1.1",
) -> bytes:
    """Return a request; a body that is not bytes is sent as JSON."""
    payload = b"" if body is None else body if isinstance(body, bytes) else orjson.dumps(body)
    lines = [f"{method} {path} HTTP/{version}", "host: test", *headers]
    if body is not None:
        lines.append(f"content-length: {len(payload)}")
    return "\r\n".join([*lines, "", ""]).encode() + payload


def split(*rows: list[Any], columns: Sequence[str] = ("distance", "temp", "carrier")) -> Any:
    return {"dataframe_split": {"columns": list(columns), "data": list(rows)}}


GOOD = split([500.0, 20.0, "UA"])


@dataclass
class Served:
    """A running site and what lies behind it."""

    site: Site
    app: App
    model: Any
    counters: Counters
    port: int

    async def connect(self) -> Wire:
        return Wire(*await asyncio.open_connection("127.0.0.1", self.port))

    async def ask(self, *arguments: Any, **options: Any) -> Answer:
        """Send one request on a connection of its own."""
        wire = await self.connect()
        try:
            return await wire.ask(*arguments, **options)
        finally:
            await wire.close()

    def count(self, code: str, kind: str = "weighted") -> int:
        return self.counters._requests.get((kind, code), 0)


@contextlib.asynccontextmanager
async def serving(
    model: Any = None,
    *,
    limits: Limits | None = None,
    kind: str = "weighted",
    shadow_file: Path | None = None,
    features: Features | None = None,
) -> AsyncIterator[Served]:
    """Serve a model on a free port of this loop."""
    model = model or Stub()
    loop = asyncio.get_running_loop()
    counters = Counters(model="delays", version="7", revision=REVISION)
    shadow = None
    if shadow_file is not None:
        shadow = Shadow(file=shadow_file, revision=REVISION, counters=counters)
    with ThreadPoolExecutor(1) as executor:
        app = App(
            model,
            name="delays",
            version="7",
            counters=counters,
            batcher=Batcher(model, executor),
            server_version="0",
            shadow=shadow,
            features=features,
        )
        site = Site(
            kind=kind,
            application=app,
            observer=counters,
            limits=limits or Limits(),
            version="7",
            revision=REVISION,
        )
        listener = await loop.create_server(lambda: Connection(site), "127.0.0.1", 0)
        sweeper = asyncio.create_task(_sweep(site))
        following = asyncio.create_task(shadow.run()) if shadow is not None else None
        try:
            yield Served(site, app, model, counters, listener.sockets[0].getsockname()[1])
        finally:
            sweeper.cancel()
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            listener.close()
            site.abort()
            await asyncio.sleep(0.01)


async def _sweep(site: Site) -> None:
    while True:
        await asyncio.sleep(0.05)
        site.sweep(time.monotonic())


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """Run one scenario on uvloop; one that hangs fails after 30 s."""

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await scenario()

    uvloop.run(bounded())


async def until(condition: Callable[[], bool]) -> None:
    """Wait until `condition` holds; fail after 5 s."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 - the condition is somebody else's state
            await asyncio.sleep(0.01)
