"""The demo's live traffic: real rows against the gateway, one row a request, every answer counted.

An open loop: requests leave at the rate asked for, whatever the answers do, on kept connections and
with a bound on how many wait. Once a second one JSON line says what came back by model version and
status; `GET :8090/totals` and the last line say it for the whole run. Nothing is sent twice: a
request without an answer is counted as lost, refused or timed out.

    python replay.py --table s3://data/flights/planes/2013-04.parquet \\
        --url http://gateway/invocations --host delays.example.com --rate 25
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import signal
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

CA_FILE = "/etc/linnet/credentials/ca.crt"
REST_SECONDS = 30.0
"""A connection that rested longer is not used again: the other side may be closing it."""
LONGEST_HEAD = 64 * 1024


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", required=True, help="Parquet file or pattern: s3, file")
    parser.add_argument("--url", required=True, help="http URL of /invocations or of a V2 infer")
    parser.add_argument("--host", default="", help="Host header; the URL's host by default")
    parser.add_argument("--rate", type=float, default=25.0, help="requests a second")
    parser.add_argument("--concurrency", type=int, default=64, help="most requests in flight")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds for an answer")
    parser.add_argument("--max-requests", type=int, default=0, help="0: no bound")
    parser.add_argument("--max-seconds", type=float, default=0.0, help="0: no bound")
    parser.add_argument("--exclude", default="", help="columns not to send, comma-separated")
    parser.add_argument("--rows", type=int, default=20000, help="most rows kept in memory")
    parser.add_argument("--seed", type=int, default=0, help="of the order of the rows")
    parser.add_argument("--port", type=int, default=8090, help="of /totals; 0: none")
    chosen = parser.parse_args(arguments)
    if not 0 < chosen.rate <= 1000:
        parser.error("--rate must be above 0 and at most 1000")
    if not 1 <= chosen.concurrency <= 1000:
        parser.error("--concurrency must be from 1 to 1000")
    if urlsplit(chosen.url).scheme != "http":
        parser.error("--url must begin with http://")
    return chosen


def read_bodies(chosen: argparse.Namespace) -> list[bytes]:
    """Return one request body for each row of the table, in a random but repeatable order."""
    if os.path.isfile(CA_FILE):
        for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "AWS_CA_BUNDLE"):
            os.environ[name] = CA_FILE
    import fsspec
    import pyarrow
    import pyarrow.parquet

    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("MLFLOW_S3_ENDPOINT_URL")
    options: dict[str, Any] = {}
    if chosen.table.startswith("s3://") and endpoint:
        options = {
            "endpoint_url": endpoint,
            "client_kwargs": {"region_name": os.environ.get("AWS_REGION") or "us-east-1"},
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        }
    files, pattern = fsspec.core.url_to_fs(chosen.table, **options)
    paths = sorted(files.glob(pattern))
    if not paths:
        raise SystemExit(f"there is no table at {chosen.table}")
    tables = []
    for path in paths:
        with files.open(path, "rb") as file:
            tables.append(pyarrow.parquet.read_table(file))
    table = pyarrow.concat_tables(tables, promote_options="default")
    excluded = {name.strip() for name in chosen.exclude.split(",") if name.strip()}
    table = table.select([name for name in table.column_names if name not in excluded])
    order = list(range(table.num_rows))
    random.Random(chosen.seed).shuffle(order)
    table = table.take(order[: chosen.rows])
    names = table.column_names
    columns = [[plain(value) for value in column.to_pylist()] for column in table.columns]
    if urlsplit(chosen.url).path.endswith("/infer"):
        types = [datatype_of(str(kind)) for kind in table.schema.types]
        bodies = [render_infer(names, types, row) for row in zip(*columns, strict=True)]
    else:
        bodies = [render_split(names, row) for row in zip(*columns, strict=True)]
    if not bodies:
        raise SystemExit(f"the table at {chosen.table} has no rows")
    return bodies


def plain(value: Any) -> Any:
    """Return what JSON can hold: null where a value is missing, times as text."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return None if value != value else value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def render_split(names: Sequence[str], row: Sequence[Any]) -> bytes:
    """Return a body for MLflow's `/invocations`."""
    return json.dumps({"dataframe_split": {"columns": list(names), "data": [list(row)]}}).encode()


def render_infer(names: Sequence[str], types: Sequence[str], row: Sequence[Any]) -> bytes:
    """Return a body for the Open Inference Protocol, one input a column."""
    inputs = [
        {"name": name, "shape": [1, 1], "datatype": datatype, "data": [value]}
        for name, datatype, value in zip(names, types, row, strict=True)
    ]
    return json.dumps({"inputs": inputs}).encode()


def datatype_of(kind: str) -> str:
    """Return the protocol's datatype for an Arrow type."""
    if kind == "bool":
        return "BOOL"
    number = kind.startswith(("int", "uint", "float", "double", "halffloat", "decimal"))
    return "FP64" if number else "BYTES"


@dataclass
class Tally:
    """What came back, for a second or for the whole run."""

    sent: int = 0
    lost: int = 0
    """The connection ended before the answer did."""
    refused: int = 0
    """No connection could be made."""
    timeouts: int = 0
    answers: dict[str, Counter[str]] = field(default_factory=dict)

    def answered(self, version: str, code: str) -> None:
        """Count one answer."""
        self.answers.setdefault(version, Counter())[code] += 1

    def document(self) -> dict[str, Any]:
        """Return the counts for JSON."""
        return {
            "sent": self.sent,
            "answers": {
                version: dict(sorted(codes.items()))
                for version, codes in sorted(self.answers.items())
            },
            "lost": self.lost,
            "refused": self.refused,
            "timeouts": self.timeouts,
        }


class Link:
    """One kept connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.used = time.monotonic()

    @property
    def usable(self) -> bool:
        """Whether a request may be sent on it."""
        resting = time.monotonic() - self.used
        return resting < REST_SECONDS and not self.reader.at_eof() and not self.writer.is_closing()


class Replay:
    """The traffic of one run."""

    def __init__(self, chosen: argparse.Namespace, bodies: list[bytes]) -> None:
        self._chosen = chosen
        self._bodies = bodies
        parts = urlsplit(chosen.url)
        self._address = (parts.hostname or "", parts.port or 80)
        host = chosen.host or parts.netloc
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._head = (
            f"POST {path} HTTP/1.1\r\nhost: {host}\r\n"
            "content-type: application/json\r\nuser-agent: linnet-demo-replay\r\n"
        ).encode()
        self._links: list[Link] = []
        self._second = Tally()
        self._totals = Tally()
        self._errors: dict[str, dict[str, str]] = {}
        self._answered: dict[str, tuple[float, float]] = {}
        self._began = time.time()
        self._free = asyncio.Semaphore(chosen.concurrency)
        self._stop = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Send until a bound is reached or SIGTERM arrives, then wait for what is in flight."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        server = None
        if self._chosen.port:
            server = await asyncio.start_server(self._serve_totals, None, self._chosen.port)
        reporter = asyncio.create_task(self._report())
        await self._send_all()
        if self._tasks:
            await asyncio.wait(self._tasks)
        reporter.cancel()
        if self._second.sent or self._second.answers:
            self._print_second()
        say({"time": now(), "final": True, **self.totals()})
        if server is not None:
            server.close()
        for link in self._links:
            link.writer.close()
            with contextlib.suppress(OSError):
                await link.writer.wait_closed()

    def totals(self) -> dict[str, Any]:
        """Return the counts of the run, and of each version its first and last answer in seconds
        since 1970, and the first error text of each status.
        """
        return {
            "seconds": round(time.time() - self._began, 1),
            "in_flight": len(self._tasks),
            **self._totals.document(),
            "answered": self._answered,
            "errors": self._errors,
        }

    async def _send_all(self) -> None:
        chosen = self._chosen
        loop = asyncio.get_running_loop()
        began = due = loop.time()
        number = 0
        while not self._stop.is_set():
            if chosen.max_requests and number >= chosen.max_requests:
                return
            if chosen.max_seconds and loop.time() - began >= chosen.max_seconds:
                return
            wait = due - loop.time()
            if wait > 0:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stop.wait(), wait)
                    return
            await self._free.acquire()
            task = asyncio.create_task(self._send(self._bodies[number % len(self._bodies)]))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            number += 1
            # A loop that fell behind by more than a second goes on from now: no bursts.
            due = max(due + 1 / chosen.rate, loop.time() - 1.0)

    async def _send(self, body: bytes) -> None:
        tallies = (self._second, self._totals)
        for tally in tallies:
            tally.sent += 1
        link: Link | None = None
        try:
            async with asyncio.timeout(self._chosen.timeout):
                link = await self._link()
                if link is None:
                    self._count("refused")
                    return
                link.writer.write(self._head + b"content-length: %d\r\n\r\n" % len(body) + body)
                code, headers, answer = await read_answer(link.reader)
        except TimeoutError:
            self._count("timeouts")
            self._drop(link)
        except (OSError, EOFError, ValueError, LookupError, asyncio.LimitOverrunError):
            self._count("lost")
            self._drop(link)
        else:
            version = headers.get("x-linnet-model-version", "none")
            for tally in (self._second, self._totals):
                tally.answered(version, code)
            moment = time.time()
            self._answered[version] = (self._answered.get(version, (moment,))[0], moment)
            if code != "200":
                texts = self._errors.setdefault(version, {})
                texts.setdefault(code, answer[:300].decode("utf-8", "replace"))
            if headers.get("connection", "").lower() == "close":
                self._drop(link)
            else:
                link.used = time.monotonic()
                self._links.append(link)
        finally:
            self._free.release()

    async def _link(self) -> Link | None:
        while self._links:
            link = self._links.pop()
            if link.usable:
                return link
            self._drop(link)
        try:
            reader, writer = await asyncio.open_connection(*self._address, limit=LONGEST_HEAD)
        except OSError:
            return None
        transport_socket = writer.get_extra_info("socket")
        transport_socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return Link(reader, writer)

    def _drop(self, link: Link | None) -> None:
        if link is not None:
            link.writer.close()

    def _count(self, name: str) -> None:
        for tally in (self._second, self._totals):
            setattr(tally, name, getattr(tally, name) + 1)

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(1.0 - time.time() % 1.0)
            self._print_second()

    def _print_second(self) -> None:
        second, self._second = self._second, Tally()
        say({"time": now(), **second.document()})

    async def _serve_totals(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            async with asyncio.timeout(5):
                head = await reader.readuntil(b"\r\n\r\n")
                found = head.split(b" ", 2)[1] in (b"/totals", b"/healthz")
                body = json.dumps(self.totals() if found else {"error": "try /totals"}).encode()
                writer.write(
                    b"HTTP/1.1 %s\r\ncontent-type: application/json\r\n"
                    b"content-length: %d\r\nconnection: close\r\n\r\n"
                    % (b"200 OK" if found else b"404 Not Found", len(body))
                    + body
                )
                await writer.drain()
        except (OSError, EOFError, IndexError, TimeoutError, asyncio.LimitOverrunError):
            # Whoever asked went away or did not speak HTTP; the traffic goes on.
            return
        finally:
            writer.close()


async def read_answer(reader: asyncio.StreamReader) -> tuple[str, dict[str, str], bytes]:
    """Read one answer; return status, headers in lower case, and body.

    Raises EOFError (of which IncompleteReadError is one) where the connection ends before it.
    """
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        code = head[0].split(" ", 2)[1]
        headers = {}
        for line in head[1:]:
            name, _, value = line.partition(":")
            headers[name.strip().lower()] = value.strip()
        if code != "100":
            break
    if headers.get("transfer-encoding", "").lower() == "chunked":
        parts = []
        while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
            parts.append(await reader.readexactly(size))
            await reader.readexactly(2)
        while await reader.readuntil(b"\r\n") != b"\r\n":
            pass
        return code, headers, b"".join(parts)
    return code, headers, await reader.readexactly(int(headers.get("content-length", "0")))


def say(document: dict[str, Any]) -> None:
    """Write one JSON line."""
    print(json.dumps(document), flush=True)


def now() -> str:
    """Return the time in UTC to the millisecond."""
    moment = time.time()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{seconds}.{int(moment % 1 * 1000):03d}Z"


def main() -> None:
    """Run as the command line says."""
    chosen = parse_arguments()
    bodies = read_bodies(chosen)
    print(f"replaying {len(bodies)} rows to {chosen.url}", file=sys.stderr, flush=True)

    async def run() -> None:
        await Replay(chosen, bodies).run()

    asyncio.run(run())


if __name__ == "__main__":
    main()
