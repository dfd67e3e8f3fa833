"""Natural batching: what waits goes together, and one bad row hurts nobody else."""

import asyncio

from server.harness import GOOD, Stub, request, run, serving, split, until


def test_what_arrives_during_a_call_goes_into_the_next_one_together() -> None:
    async def scenario() -> None:
        async with serving(Stub(seconds=0.2)) as served:
            first = await served.connect()
            await first.send(request("POST", "/invocations", GOOD))
            await until(lambda: served.model.calls == [1])
            others = [await served.connect() for _ in range(5)]
            for at, wire in enumerate(others):
                await wire.send(request("POST", "/invocations", split([at * 200.0, 1.0, "UA"])))
            answers = [await wire.answer() for wire in (first, *others)]
            assert served.model.calls == [1, 5]
            assert [answer.json["predictions"] for answer in answers] == [
                [False],
                [False],
                [False],
                [False],
                [True],
                [True],
            ]
            for wire in (first, *others):
                await wire.close()

    run(scenario)


def test_one_bad_row_fails_its_own_request_alone() -> None:
    async def scenario() -> None:
        async with serving(Stub(seconds=0.1)) as served:
            first = await served.connect()
            await first.send(request("POST", "/invocations", GOOD))
            await until(lambda: served.model.calls == [1])
            rows = [[900.0, 1.0, "UA"], [900.0, 1.0, "explode"], [100.0, 1.0, "UA"]]
            others = [await served.connect() for _ in rows]
            for wire, row in zip(others, rows, strict=True):
                await wire.send(request("POST", "/invocations", split(row)))
            answers = [await wire.answer() for wire in others]
            assert [answer.status for answer in answers] == [200, 500, 200]
            assert answers[0].json == {"predictions": [True]}
            assert answers[2].json == {"predictions": [False]}
            assert served.model.calls == [1, 3, 1, 1, 1]
            await first.close()
            for wire in others:
                await wire.close()

    run(scenario)


def test_requests_with_their_columns_in_another_order_share_a_batch() -> None:
    async def scenario() -> None:
        async with serving(Stub(seconds=0.1)) as served:
            wires = [await served.connect() for _ in range(3)]
            await wires[0].send(request("POST", "/invocations", GOOD))
            await until(lambda: served.model.calls == [1])
            reordered = split(["UA", 900], columns=["carrier", "distance"])
            await wires[1].send(request("POST", "/invocations", reordered))
            await wires[2].send(request("POST", "/invocations", split([100.0, 1.0, "UA"])))
            answers = [await wire.answer() for wire in wires]
            assert served.model.calls == [1, 2]
            assert [answer.json["predictions"] for answer in answers[1:]] == [[True], [False]]
            for wire in wires:
                await wire.close()

    run(scenario)


def test_a_batch_is_bounded_and_a_longer_request_goes_alone() -> None:
    async def scenario() -> None:
        async with serving(Stub(seconds=0.1)) as served:
            wires = [await served.connect() for _ in range(4)]
            await wires[0].send(request("POST", "/invocations", GOOD))
            await until(lambda: served.model.calls == [1])
            row = [1.0, 1.0, "UA"]
            for wire, count in zip(wires[1:], (300, 300, 1000), strict=True):
                await wire.send(request("POST", "/invocations", split(*[row] * count)))
            for wire in wires:
                assert (await wire.answer()).status == 200
            assert served.model.calls == [1, 300, 300, 1000]
            for wire in wires:
                await wire.close()

    run(scenario)


def test_probes_are_answered_while_the_model_works() -> None:
    async def scenario() -> None:
        async with serving(Stub(seconds=0.5)) as served:
            busy = await served.connect()
            await busy.send(request("POST", "/invocations", GOOD))
            await until(lambda: served.model.calls == [1])
            began = asyncio.get_running_loop().time()
            assert (await served.ask("GET", "/v2/health/ready")).status == 200
            assert asyncio.get_running_loop().time() - began < 0.4
            assert (await busy.answer()).status == 200
            await busy.close()

    run(scenario)
