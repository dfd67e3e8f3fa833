"""HTTP over real sockets: what clients and gateways do, and what the server owes them."""

import asyncio

import pytest
from linnet_server.protocol import Limits

from server.harness import GOOD, Served, Stub, Wire, request, run, serving, split, until


def small(**changes: float) -> Limits:
    return Limits(**{"body": 1000, "linger": 0.3, **changes})  # type: ignore[arg-type]


def test_a_connection_is_kept_for_the_next_request() -> None:
    async def scenario() -> None:
        async with serving() as served:
            wire = await served.connect()
            for _ in range(3):
                answer = await wire.ask("POST", "/invocations", GOOD)
                assert answer.status == 200
                assert "connection" not in answer.headers
            await wire.close()

    run(scenario)


def test_every_answer_names_version_revision_and_request() -> None:
    async def scenario() -> None:
        async with serving() as served:
            for method, path, body, status in [
                ("POST", "/invocations", GOOD, 200),
                ("POST", "/invocations", b"{", 400),
                ("POST", "/invocations", split([None, 1.0, "UA"]), 422),
                ("GET", "/nowhere", None, 404),
                ("GET", "/invocations", None, 405),
                ("GET", "/v2/health/ready", None, 200),
            ]:
                answer = await served.ask(method, path, body)
                assert answer.status == status
                assert answer.headers["x-linnet-model-version"] == "7"
                assert answer.headers["x-linnet-revision"] == "delays-v7-0a1b2c3d"
                assert len(answer.headers["x-request-id"]) == 32

    run(scenario)


def test_a_chunked_body_is_put_together() -> None:
    async def scenario() -> None:
        async with serving() as served:
            body = request("", "", GOOD).split(b"\r\n\r\n")[1]
            wire = await served.connect()
            head = request("POST", "/invocations", None, "transfer-encoding: chunked")
            await wire.send(head)
            for part in (body[:10], body[10:11], body[11:]):
                await wire.send(b"%x\r\n%s\r\n" % (len(part), part))
                await asyncio.sleep(0.01)
            await wire.send(b"0\r\nx-trailer: 1\r\n\r\n")
            assert (await wire.answer()).json == {"predictions": [False]}
            await wire.close()

    run(scenario)


def test_a_request_may_arrive_byte_by_byte() -> None:
    async def scenario() -> None:
        async with serving() as served:
            wire = await served.connect()
            for byte in request("POST", "/invocations", GOOD):
                await wire.send(bytes([byte]))
            assert (await wire.answer()).status == 200
            await wire.close()

    run(scenario)


def test_pipelined_requests_are_answered_in_order() -> None:
    async def scenario() -> None:
        async with serving(Stub(seconds=0.02)) as served:
            wire = await served.connect()
            await wire.send(
                request("POST", "/invocations", GOOD, "x-request-id: first"),
                # Refused at once, yet answered after the one that the model still works on.
                request("POST", "/invocations", split([None, None, "UA"]), "x-request-id: second"),
                request("GET", "/v2/health/live", None, "x-request-id: third"),
                request("POST", "/invocations", GOOD, "x-request-id: fourth"),
            )
            answers = [await wire.answer() for _ in range(4)]
            assert [(a.headers["x-request-id"], a.status) for a in answers] == [
                ("first", 200),
                ("second", 422),
                ("third", 200),
                ("fourth", 200),
            ]
            await wire.close()

    run(scenario)


def test_more_pipelined_requests_than_the_bound_are_all_answered() -> None:
    async def scenario() -> None:
        async with serving(Stub(seconds=0.005), limits=Limits(pipelined=4)) as served:
            wire = await served.connect()
            await wire.send(request("POST", "/invocations", GOOD) * 100)
            for _ in range(100):
                assert (await wire.answer()).status == 200
            await wire.close()

    run(scenario)


def test_a_client_that_expects_continue_is_told_to_go_on() -> None:
    async def scenario() -> None:
        async with serving() as served:
            wire = await served.connect()
            head, body = request("POST", "/invocations", GOOD, "expect: 100-continue").split(
                b"\r\n\r\n"
            )
            await wire.send(head + b"\r\n\r\n")
            assert (await wire.answer()).status == 100
            await wire.send(body)
            assert (await wire.answer()).status == 200
            await wire.close()

    run(scenario)


def test_a_client_that_expects_continue_hears_of_a_body_that_is_too_long_before_sending() -> None:
    async def scenario() -> None:
        async with serving(limits=small()) as served:
            wire = await served.connect()
            await wire.send(
                request(
                    "POST", "/invocations", None, "content-length: 1001", "expect: 100-continue"
                )
            )
            answer = await wire.answer()
            assert (answer.status, answer.error) == (413, "the body must be at most 1000 bytes")
            assert answer.headers["connection"] == "close"
            assert await wire.at_end()
            await wire.close()

    run(scenario)


def test_continue_waits_for_the_answers_before_it() -> None:
    async def scenario() -> None:
        async with serving(Stub(seconds=0.05)) as served:
            wire = await served.connect()
            head, body = request("POST", "/invocations", GOOD, "expect: 100-continue").split(
                b"\r\n\r\n"
            )
            await wire.send(request("POST", "/invocations", GOOD) + head + b"\r\n\r\n")
            assert (await wire.answer()).status == 200
            assert (await wire.answer()).status == 100
            await wire.send(body)
            assert (await wire.answer()).status == 200
            await wire.close()

    run(scenario)


def test_an_unknown_expectation_is_refused() -> None:
    async def scenario() -> None:
        async with serving(limits=small()) as served:
            answer = await served.ask("POST", "/invocations", GOOD, "expect: miracles")
            assert answer.status == 417
            assert answer.error == "the only expectation that can be met is '100-continue'"

    run(scenario)


def test_head_is_answered_without_a_body() -> None:
    async def scenario() -> None:
        async with serving() as served:
            wire = await served.connect()
            await wire.send(request("HEAD", "/v2"))
            answer = await wire.answer(head_only=True)
            assert answer.status == 200
            assert int(answer.headers["content-length"]) > 0
            # The next answer begins where the head ended.
            assert (await wire.ask("GET", "/v2")).status == 200
            await wire.close()

    run(scenario)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_the_limit_is_answered_with_413_and_not_kept(chunked: bool) -> None:
    async def scenario() -> None:
        async with serving(limits=small()) as served:
            wire = await served.connect()
            if chunked:
                await wire.send(request("POST", "/invocations", None, "transfer-encoding: chunked"))
                await wire.send(*[b"200\r\n" + b"x" * 512 + b"\r\n"] * 3)
            else:
                await wire.send(request("POST", "/invocations", b"x" * 3000))
            answer = await wire.answer()
            assert (answer.status, answer.error) == (413, "the body must be at most 1000 bytes")
            assert await wire.at_end()
            assert served.count("413") == 1
            await wire.close()

    run(scenario)


def test_a_sender_that_does_not_stop_at_413_is_dropped() -> None:
    async def scenario() -> None:
        async with serving(limits=small(linger=20.0)) as served:
            wire = await served.connect()
            await wire.send(request("POST", "/invocations", None, "content-length: 100000000"))
            # Reset or broken pipe, as the kernel likes.
            with pytest.raises(OSError, match=r"."):
                await _send_for_ever(wire, b"x" * 65536)
            await until(lambda: not served.site.connections)
            await wire.close()

    run(scenario)


def test_what_is_not_http_is_answered_with_400() -> None:
    async def scenario() -> None:
        async with serving(limits=small()) as served:
            wire = await served.connect()
            await wire.send(b"\x16\x03\x01\x02\x00\x01\x00")
            answer = await wire.answer()
            assert answer.status == 400
            assert answer.error.startswith("the request is not HTTP/1.1: ")
            assert await wire.at_end()
            await wire.close()

    run(scenario)


def test_a_broken_chunk_is_a_400_of_the_request_that_it_belongs_to() -> None:
    async def scenario() -> None:
        async with serving(limits=small()) as served:
            wire = await served.connect()
            await wire.send(
                request("POST", "/invocations", None, "transfer-encoding: chunked"), b"zz\r\n"
            )
            assert (await wire.answer()).status == 400
            assert served.count("400") == 1
            assert served.counters.in_flight == 0
            await wire.close()

    run(scenario)


def test_a_head_beyond_the_limit_is_answered_with_431() -> None:
    async def scenario() -> None:
        async with serving(limits=small(head=2000)) as served:
            wire = await served.connect()
            await wire.send(b"GET /v2 HTTP/1.1\r\nx-long: " + b"x" * 4000)
            assert (await wire.answer()).status == 431
            await wire.close()

    run(scenario)


def test_a_slow_head_and_a_slow_body_time_out() -> None:
    async def scenario() -> None:
        async with serving(limits=small(head_time=0.2, receive=0.3)) as served:
            slow_head, slow_body = await served.connect(), await served.connect()
            await slow_head.send(b"POST /invocations HT")
            await slow_body.send(request("POST", "/invocations", None, "content-length: 10"), b"{")
            answer = await slow_head.answer()
            assert (answer.status, answer.error) == (
                408,
                "the request head must arrive within 0.2 s",
            )
            answer = await slow_body.answer()
            assert (answer.status, answer.error) == (408, "the request must arrive within 0.3 s")
            # Only the second was known to be a prediction.
            assert served.count("timeout") == 1
            for wire in (slow_head, slow_body):
                await wire.close()

    run(scenario)


def test_an_idle_connection_is_closed_after_its_time() -> None:
    async def scenario() -> None:
        async with serving(limits=small(idle=0.2)) as served:
            wire = await served.connect()
            assert (await wire.ask("GET", "/v2")).status == 200
            assert await wire.at_end()
            await wire.close()

    run(scenario)


def test_a_client_that_says_close_gets_its_answer_and_the_end() -> None:
    async def scenario() -> None:
        async with serving(Stub(seconds=0.02)) as served:
            wire = await served.connect()
            answer = await wire.ask("POST", "/invocations", GOOD, "connection: close")
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await wire.at_end()
            await wire.close()

    run(scenario)


def test_http_1_0_is_answered_and_closed_unless_it_asks_to_be_kept() -> None:
    async def scenario() -> None:
        async with serving() as served:
            wire = await served.connect()
            answer = await wire.ask(
                "POST", "/invocations", GOOD, "connection: keep-alive", version="1.0"
            )
            assert (answer.status, answer.headers["connection"]) == (200, "keep-alive")
            answer = await wire.ask("POST", "/invocations", GOOD, version="1.0")
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            assert await wire.at_end()
            await wire.close()

    run(scenario)


def test_an_offer_to_upgrade_is_declined() -> None:
    async def scenario() -> None:
        async with serving() as served:
            wire = await served.connect()
            answer = await wire.ask(
                "GET", "/v2", None, "connection: upgrade, http2-settings", "upgrade: h2c"
            )
            assert answer.status == 200
            assert (await wire.ask("GET", "/v2")).status == 200
            await wire.close()

    run(scenario)


async def _send_for_ever(wire: Wire, data: bytes) -> None:
    async with asyncio.timeout(8):
        while True:
            await wire.send(data)
            await asyncio.sleep(0)


async def _leave(served: Served, wire: Wire) -> None:
    await wire.send(request("POST", "/invocations", GOOD))
    await until(lambda: served.counters.in_flight > 0)
    wire.writer.transport.abort()


def test_a_client_that_goes_away_is_counted_as_reset_and_its_rows_are_not_predicted() -> None:
    async def scenario() -> None:
        async with serving(Stub(seconds=0.2)) as served:
            busy, gone = await served.connect(), await served.connect()
            await busy.send(request("POST", "/invocations", GOOD))
            await until(lambda: served.model.calls == [1])
            await _leave(served, gone)
            await until(lambda: served.count("reset") == 1)
            assert (await busy.answer()).status == 200
            await asyncio.sleep(0.05)
            assert served.model.calls == [1]
            assert served.count("200") == 1
            assert served.counters.in_flight == 0
            await busy.close()

    run(scenario)


def test_a_client_that_goes_away_while_sending_is_counted_as_reset() -> None:
    async def scenario() -> None:
        async with serving() as served:
            wire = await served.connect()
            await wire.send(request("POST", "/invocations", None, "content-length: 100"), b"{")
            await until(lambda: served.counters.in_flight == 1)
            await wire.close()
            await until(lambda: served.count("reset") == 1)
            assert served.counters.in_flight == 0

    run(scenario)


def test_a_client_that_does_not_read_stops_being_read() -> None:
    async def scenario() -> None:
        async with serving(limits=Limits(stuck=0.5)) as served:
            wire = await served.connect()
            wire.writer.transport.set_write_buffer_limits(high=1024)
            big = request("GET", "/v2/models/delays") * 500
            wire.writer.transport.pause_reading()
            with pytest.raises(OSError, match=r"."):
                await _send_for_ever(wire, big)
            # It was dropped once it had not read for the time that it has.
            await until(lambda: not served.site.connections)
            wire.writer.transport.abort()

    run(scenario)


def test_while_draining_the_last_answer_of_a_connection_closes_it() -> None:
    async def scenario() -> None:
        async with serving(Stub(seconds=0.02)) as served:
            wire = await served.connect()
            assert (await wire.ask("POST", "/invocations", GOOD)).status == 200
            served.site.draining = True
            await wire.send(request("POST", "/invocations", GOOD) * 3)
            answers = [await wire.answer() for _ in range(3)]
            assert [answer.status for answer in answers] == [200, 200, 200]
            assert [answer.headers.get("connection") for answer in answers] == [None, None, "close"]
            assert await wire.at_end()
            await wire.close()

    run(scenario)


def test_while_draining_a_request_that_has_begun_to_arrive_is_answered() -> None:
    async def scenario() -> None:
        async with serving(Stub(seconds=0.05)) as served:
            wire = await served.connect()
            second = request("POST", "/invocations", GOOD)
            await wire.send(request("POST", "/invocations", GOOD) + second[:20])
            served.site.draining = True
            assert "connection" not in (await wire.answer()).headers
            served.site.close_idle()
            await wire.send(second[20:])
            answer = await wire.answer()
            assert (answer.status, answer.headers["connection"]) == (200, "close")
            await wire.close()

    run(scenario)
