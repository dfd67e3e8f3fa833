"""The adapter against a real HTTP server that speaks Prometheus's API, well and badly."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
from aiohttp import web
from linnet.adapters.prometheus import Prometheus
from linnet.ports import Rejected, Unavailable

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def vector(*series: tuple[dict[str, str], str]) -> dict[str, object]:
    result = [{"metric": labels, "value": [1763971200.123, value]} for labels, value in series]
    return {"status": "success", "data": {"resultType": "vector", "result": result}}


async def asked(handler: Handler, text: str = "up", *, path: str = "", user: str = "") -> object:
    """What the adapter makes of a server's answer; an exception is returned."""
    app = web.Application()
    app.router.add_post(f"{path}/api/v1/query", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    prometheus = Prometheus(
        f"http://{user}127.0.0.1:{port}{path}/", timeout=timedelta(seconds=0.5), concurrency=2
    )
    outcomes: list[str] = []
    prometheus.count = outcomes.append
    try:
        found: object = await prometheus.query(text)
        assert outcomes == ["ok"]
    except (Unavailable, Rejected) as error:
        assert outcomes == ["failed"]
        found = error
    finally:
        await prometheus.close()
        await runner.cleanup()
    return found


def answer(body: object, status: int = 200) -> Handler:
    async def handler(request: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    return handler


def test_a_vector_is_values_by_labels_whatever_their_order() -> None:
    body = vector(({"b": "2", "a": "1"}, "12"), ({}, "3.5"))
    assert asyncio.run(asked(answer(body))) == {'{"a":"1","b":"2"}': 12.0, "{}": 3.5}


def test_nothing_and_a_scalar_are_answers_too() -> None:
    assert asyncio.run(asked(answer(vector()))) == {}
    scalar = {"status": "success", "data": {"resultType": "scalar", "result": [1.0, "7"]}}
    assert asyncio.run(asked(answer(scalar))) == {"": 7.0}


def test_values_that_are_no_numbers_are_left_out() -> None:
    body = vector(({"a": "1"}, "NaN"), ({"a": "2"}, "+Inf"), ({"a": "3"}, "1"))
    assert asyncio.run(asked(answer(body))) == {'{"a":"3"}': 1.0}


def test_the_query_goes_whole_to_the_path_with_the_password() -> None:
    seen: list[tuple[str, str | None]] = []

    async def handler(request: web.Request) -> web.Response:
        seen.append((str((await request.post())["query"]), request.headers.get("Authorization")))
        return web.json_response(vector())

    text = 'sum(a{b=~"c|d&e=f+g"})' + " " * 3000
    asyncio.run(asked(handler, text, path="/prometheus", user="me:secret@"))
    password = "Basic " + base64.b64encode(b"me:secret").decode()
    assert seen == [(text, password)]


@pytest.mark.parametrize(
    ("body", "status", "kind", "words"),
    [
        ({"status": "error", "errorType": "bad_data", "error": "1:3: parse error"}, 400, Rejected,
         "Prometheus refuses the query: 1:3: parse error"),
        ({"status": "error", "errorType": "execution", "error": "many-to-many"}, 422, Rejected,
         "Prometheus refuses the query: many-to-many"),
        ({"status": "error", "errorType": "timeout", "error": "query timed out"}, 503, Unavailable,
         "Prometheus answers HTTP 503: query timed out"),
        ({"message": "no such page"}, 404, Unavailable,
         "does not answer as Prometheus (HTTP 404)"),
        (["not", "an", "object"], 200, Unavailable, "does not answer as Prometheus (HTTP 200)"),
        ({"status": "success", "data": {"resultType": "matrix", "result": []}}, 200, Rejected,
         "must return an instant vector, it returns a matrix"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_told_apart(
    body: object, status: int, kind: type[Exception], words: str
) -> None:
    error = asyncio.run(asked(answer(body, status)))
    assert isinstance(error, kind)
    assert words in str(error)


def test_a_slow_or_closed_server_is_unavailable() -> None:
    async def slow(request: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.json_response(vector())

    error = asyncio.run(asked(slow))
    assert isinstance(error, Unavailable)
    assert "did not answer in time" in str(error)

    async def nobody() -> object:
        prometheus = Prometheus("http://127.0.0.1:9", timeout=timedelta(seconds=0.5), concurrency=1)
        try:
            return await prometheus.query("up")
        except Unavailable as error:
            return error
        finally:
            await prometheus.close()

    assert "cannot be reached" in str(asyncio.run(nobody()))


def test_an_answer_without_end_is_cut_off() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(200):
            await response.write(b" " * 65536)
        return response

    error = asyncio.run(asked(endless))
    assert isinstance(error, Rejected)
    assert "returns too much" in str(error)
