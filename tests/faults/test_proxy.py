"""The proxy itself, in front of a small API server in this process: each fault is what it says."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from . import proxy
from .proxy import Answer, Delay, DropAnswer, Fault, Older, Proxy, Reset, Seen, Stream

MAPS = "/api/v1/namespaces/team/configmaps"
EVENTS = [
    {"type": kind, "object": {"metadata": {"name": name, "resourceVersion": str(number)}}}
    for number, (kind, name) in enumerate(
        [("ADDED", "a"), ("ADDED", "b"), ("BOOKMARK", ""), ("DELETED", "a"), ("ADDED", "c")]
    )
]


class Server:
    """Remembers names that were posted; a watch tells EVENTS and then stays open."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.asked: list[str] = []
        self.port = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _run(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application()
        app.router.add_get(MAPS, self._read)
        app.router.add_post(MAPS, self._make)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        self.port = runner.addresses[0][1]
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _read(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(f"{request.method} {request.rel_url}")
        if request.query.get("watch") != "1":
            return web.json_response({"items": self.names})
        response = web.StreamResponse()
        await response.prepare(request)
        for event in EVENTS:
            await response.write(json.dumps(event).encode() + b"\n")
        await self._stop.wait()
        return response

    async def _make(self, request: web.Request) -> web.Response:
        self.asked.append(f"{request.method} {request.rel_url}")
        name = (await request.json())["metadata"]["name"]
        if name in self.names:
            return web.json_response({"reason": "AlreadyExists"}, status=409)
        self.names.append(name)
        return web.json_response({"metadata": {"name": name}}, status=201)


class Client:
    """What an operator would ask, one connection per request."""

    def __init__(self, port: int) -> None:
        self._port = port

    def ask(
        self, method: str, path: str, body: Any = None
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=5)
        connection.request(method, path, json.dumps(body) if body is not None else None)
        return connection, connection.getresponse()

    def get(self, path: str = MAPS) -> Any:
        connection, answer = self.ask("GET", path)
        found = json.loads(answer.read())
        connection.close()
        return found

    def make(self, name: str) -> int:
        connection, answer = self.ask("POST", MAPS, {"metadata": {"name": name}})
        answer.read()
        connection.close()
        return answer.status

    def watch(self, *, seconds: float = 0.6) -> list[str]:
        """What a watch tells within a time: `TYPE name`, and `END` where it was ended."""
        connection, answer = self.ask("GET", f"{MAPS}?watch=1")
        assert connection.sock is not None
        connection.sock.settimeout(seconds)
        told = []
        with contextlib.suppress(TimeoutError):
            while line := answer.readline():
                event = json.loads(line)
                name = event["object"].get("metadata", {}).get("name", "")
                told.append(f"{event['type']} {name or event['object'].get('code', '')}".strip())
            told.append("END")
        answer.close()
        connection.close()
        return told


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as found:
        yield found


@pytest.fixture
def front(server: Server, tmp_path: Path) -> Iterator[Proxy]:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [
                    {"name": "x", "cluster": {"server": f"http://127.0.0.1:{server.port}"}}
                ],
                "users": [{"name": "x", "user": {"token": "secret"}}],
                "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
                "current-context": "x",
            }
        )
    )
    with Proxy(kubeconfig=str(kubeconfig)) as found:
        yield found


@pytest.fixture
def client(front: Proxy) -> Client:
    return Client(front.port)


def is_write(seen: Seen) -> bool:
    return seen.is_write


def is_watch(seen: Seen) -> bool:
    return seen.watch


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/api/v1/pods", ("pods", "", "", "")),
        ("GET", "/api/v1/namespaces/team", ("namespaces", "team", "", "")),
        ("GET", f"{MAPS}/a", ("configmaps", "a", "", "team")),
        (
            "PATCH",
            "/apis/linnet.dev/v1alpha1/namespaces/team/trainingjobs/x/status",
            ("trainingjobs", "x", "status", "team"),
        ),
    ],
)
def test_a_path_is_read(method: str, path: str, expected: tuple[str, str, str, str]) -> None:
    seen = proxy.parse(method, path, {})
    assert (seen.plural, seen.name, seen.subresource, seen.namespace) == expected


@pytest.mark.parametrize(
    ("method", "plural", "counts"),
    [("POST", "jobs", True), ("GET", "jobs", False), ("PUT", "leases", False)],
)
def test_leases_and_events_are_no_writes_of_a_story(method: str, plural: str, counts: bool) -> None:
    assert proxy.parse(method, f"/apis/x/v1/namespaces/n/{plural}/a", {}).is_write is counts


def test_what_passes_is_recorded(front: Proxy, client: Client) -> None:
    counts: list[int] = []
    front.after_write = counts.append
    assert client.make("a") == 201
    assert client.make("a") == 409
    assert client.get() == {"items": ["a"]}
    assert [(seen.method, code) for seen, code in front.seen] == [
        ("POST", 201),
        ("POST", 409),
        ("GET", 200),
    ]
    assert len(front.writes) == 1
    assert front.created == ["configmaps/a"]
    assert counts == [1]


def test_an_answer_is_given_in_the_servers_place(
    server: Server, front: Proxy, client: Client
) -> None:
    front.faults.append(Answer(match=is_write, code=429, times=1, retry_after=3))
    connection, answer = client.ask("POST", MAPS, {"metadata": {"name": "a"}})
    status = json.loads(answer.read())
    connection.close()
    assert (answer.status, answer.headers["Retry-After"]) == (429, "3")
    assert (status["kind"], status["code"], status["reason"]) == ("Status", 429, "TooManyRequests")
    assert server.names == []
    assert client.make("a") == 201, "a fault that was counted is over"


def test_a_request_is_delayed(front: Proxy, client: Client) -> None:
    front.faults.append(Delay(match=is_write, seconds=0.3, times=1))
    began = time.monotonic()
    assert client.make("a") == 201
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(("fault", "committed"), [(Reset, []), (DropAnswer, ["a"])])
def test_a_connection_breaks_before_or_after_the_commit(
    server: Server, front: Proxy, client: Client, fault: type[Fault], committed: list[str]
) -> None:
    front.faults.append(fault(match=is_write, times=1))
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        client.make("a")
    assert server.names == committed


@pytest.mark.parametrize(("back", "expected"), [(None, []), (0, ["a", "b"]), (1, ["a"]), (9, [])])
def test_reads_come_from_the_past(
    front: Proxy, client: Client, back: int | None, expected: list[str]
) -> None:
    client.get()
    client.make("a")
    client.get()
    client.get()
    client.make("b")
    client.get()
    front.faults.append(Older(match=lambda seen: seen.is_list, times=1, back=back))
    assert client.get() == {"items": expected}
    assert client.get() == {"items": ["a", "b"]}


ALL = ["ADDED a", "ADDED b", "BOOKMARK", "DELETED a", "ADDED c"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (None, ALL),
        (proxy.silent, []),
        (proxy.bookmarks_only, ["BOOKMARK"]),
        (proxy.ended, ["END"]),
        (proxy.twice, [each for each in ALL for _ in range(2)]),
        (proxy.swapped(2), ["ADDED b", "ADDED a", "DELETED a", "BOOKMARK"]),
        (proxy.skipping(2), ["ADDED b", "DELETED a"]),
        (proxy.failing(410), ["ERROR 410", "END"]),
        (proxy.failing(500, after=2), ["ADDED a", "ADDED b", "ERROR 500", "END"]),
        (proxy.late(0.2), ALL),
        (proxy.late(5), []),
    ],
    ids=lambda value: getattr(value, "__qualname__", None),
)
def test_a_watch_misbehaves(
    front: Proxy,
    client: Client,
    change: Callable[[proxy.Lines], proxy.Lines] | None,
    told: list[str],
) -> None:
    if change is not None:
        front.faults.append(Stream(match=is_watch, change=change))
    assert client.watch() == told


def test_a_watch_is_held_until_it_is_let_go(front: Proxy, client: Client) -> None:
    until = threading.Event()
    front.faults.append(Stream(match=is_watch, change=proxy.held(until)))
    assert client.watch(seconds=0.3) == []
    until.set()
    assert client.watch() == ALL


def test_open_watches_are_cut(front: Proxy, client: Client) -> None:
    timer = threading.Timer(0.3, front.cut_watches)
    timer.start()
    assert client.watch(seconds=3) == [*ALL, "END"]
    timer.join()


def test_a_kubeconfig_points_here_without_credentials(front: Proxy, tmp_path: Path) -> None:
    text = (tmp_path / "out").read_text() if front.write_kubeconfig(tmp_path / "out") else ""
    assert f"http://127.0.0.1:{front.port}" in text
    assert "secret" not in text
