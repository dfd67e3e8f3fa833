"""A champion that sends copies to a real candidate, and what it makes of the answers."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from linnet_server import shadow
from linnet_server.batching import Predictions
from linnet_server.shadow import Target, asking_for_labels, labels_of, parse

from server.conftest import Running
from server.harness import REVISION, Served, Stub, run, serving, split, until

CANDIDATE = "delays-v8-a01d2c3f"
COLUMNS = ("distance", "temp", "carrier")


class Other(Stub):
    """A candidate that answers otherwise above 400 instead of 500."""

    def predict(self, rows: Sequence[Sequence[Any]]) -> Predictions:
        scores = [min(1.0, (row[0] or 0.0) / 800) for row in rows]
        if any("explode" in row for row in rows):
            raise ValueError("this row explodes")
        return Predictions([score > 0.5 for score in scores], [[1 - s, s] for s in scores])


class Number(Stub):
    """A model that predicts numbers."""

    task = "Regression"
    has_probabilities = False
    classes = ()

    def predict(self, rows: Sequence[Sequence[Any]]) -> Predictions:
        return Predictions([float(row[0]) for row in rows], None)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(shadow, "POLL_SECONDS", 0.02)
    return tmp_path / "shadow.json"


def tell(file: Path, port: int, *, percent: int = 100, source: str = REVISION) -> None:
    """Say who gets copies, as the kubelet brings a new version of a file: at once and whole."""
    document = {
        "from": source,
        "to": CANDIDATE,
        "url": f"http://127.0.0.1:{port}",
        "percent": percent,
    }
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(document))
    os.replace(fresh, file)


def forget(file: Path, text: str = "") -> None:
    """Take the file away, or leave something in its place that nobody understands."""
    file.write_text(text) if text else file.unlink()


def outcomes(champion: Served) -> dict[str, int]:
    return dict(champion.counters._copies.get(CANDIDATE, {}))


def compared(champion: Served) -> tuple[int, int]:
    """Answers that were otherwise, and answers that were alike."""
    otherwise, alike = champion.counters._compared.get(CANDIDATE, (0, 0))
    return otherwise, alike


def together(
    file: Path,
    scenario: Callable[[Served, Served], Awaitable[None]],
    *,
    champion_model: Any = None,
    candidate_model: Any = None,
    percent: int = 100,
) -> None:
    """Run a scenario with a champion that has been told of a candidate."""

    async def both() -> None:
        async with (
            serving(candidate_model or Other(), kind="mirrored") as candidate,
            serving(champion_model, shadow_file=file) as champion,
        ):
            tell(file, candidate.port, percent=percent)
            shade = champion.app._shadow
            assert shade is not None
            await until(lambda: shade.target is not None)
            await scenario(champion, candidate)

    run(both)


async def sent(champion: Served, count: int) -> None:
    await until(lambda: sum(outcomes(champion).values()) >= count)


def v2(*distances: float, outputs: list[str] | None = None) -> dict[str, Any]:
    count = len(distances)
    body: dict[str, Any] = {
        "inputs": [
            {"name": "distance", "shape": [count], "datatype": "FP64", "data": list(distances)},
            {"name": "temp", "shape": [count], "datatype": "FP64", "data": [20.0] * count},
            {"name": "carrier", "shape": [count], "datatype": "BYTES", "data": ["UA"] * count},
        ]
    }
    if outputs is not None:
        body["outputs"] = [{"name": name} for name in outputs]
    return body


def test_answers_of_both_protocols_are_compared_class_by_class(file: Path) -> None:
    async def scenario(champion: Served, candidate: Served) -> None:
        path = "/v2/models/delays/infer"
        for distance in (100.0, 450.0, 900.0):
            invocation = await champion.ask("POST", "/invocations", split([distance, 20.0, "UA"]))
            infer = await champion.ask("POST", path, v2(distance))
            assert (invocation.status, infer.status) == (200, 200)
        await sent(champion, 6)
        assert outcomes(champion) == {"compared": 6}
        assert compared(champion) == (2, 4)
        assert candidate.count("200", "mirrored") == 6

    together(file, scenario)


def test_answers_without_classes_are_asked_for_them_in_the_copy(file: Path) -> None:
    async def scenario(champion: Served, candidate: Served) -> None:
        path = "/v2/models/delays/infer"
        answer = await champion.ask("POST", path, v2(450.0, outputs=["probability"]))
        assert [output["name"] for output in answer.json["outputs"]] == ["probability"]
        body = {**split([450.0, 20.0, "UA"]), "params": {"output": "probability"}}
        answer = await champion.ask("POST", "/invocations", body)
        assert answer.json["predictions"] == [[0.55, 0.45]]
        await sent(champion, 2)
        assert compared(champion) == (2, 0)

    together(file, scenario)


def test_of_several_rows_one_is_compared(file: Path) -> None:
    async def scenario(champion: Served, candidate: Served) -> None:
        rows = [[100.0, 20.0, "UA"], [450.0, 20.0, "UA"]]
        for _ in range(60):
            await champion.ask("POST", "/invocations", split(*rows))
        await sent(champion, 60)
        otherwise, alike = compared(champion)
        assert otherwise + alike == outcomes(champion)["compared"] == 60
        assert 10 <= otherwise <= 50

    together(file, scenario)


def test_what_users_got_wrong_is_sent_too_and_not_compared(file: Path) -> None:
    async def scenario(champion: Served, candidate: Served) -> None:
        for body, status in (
            (b"no json", 400),
            (split(["far", 20.0, "UA"]), 422),
            (split([100.0, 20.0, "explode"]), 500),
        ):
            answer = await champion.ask("POST", "/invocations", body)
            assert answer.status == status
        await sent(champion, 3)
        assert outcomes(champion) == {"answered": 3}
        assert [candidate.count(code, "mirrored") for code in ("400", "422", "500")] == [1, 1, 1]

    together(file, scenario)


def test_numbers_are_sent_and_not_compared(file: Path) -> None:
    async def scenario(champion: Served, candidate: Served) -> None:
        await champion.ask("POST", "/invocations", split([100.0, 20.0, "UA"]))
        await sent(champion, 1)
        assert outcomes(champion) == {"answered": 1}

    together(file, scenario, champion_model=Number(), candidate_model=Number())


def test_both_legs_have_one_id_and_no_header_of_the_client_but_what_is_read(file: Path) -> None:
    seen: list[dict[bytes, bytes]] = []

    async def scenario(champion: Served, candidate: Served) -> None:
        opened = candidate.app.opened

        def note(request: Any) -> None:
            seen.append(dict(request.headers))
            opened(request)

        candidate.app.opened = note  # type: ignore[method-assign]
        await champion.ask(
            "POST",
            "/invocations",
            split([100.0, 20.0, "UA"]),
            "x-request-id: abc",
            "authorization: Bearer secret",
            "cookie: a=b",
            "content-type: application/json",
        )
        await sent(champion, 1)
        (headers,) = seen
        assert headers[b"x-request-id"] == b"abc"
        assert headers[b"content-type"] == b"application/json"
        assert not {b"authorization", b"cookie"} & headers.keys()

    together(file, scenario)


def test_a_share_is_a_sample(file: Path) -> None:
    async def scenario(champion: Served, candidate: Served) -> None:
        wire = await champion.connect()
        for _ in range(400):
            await wire.ask("POST", "/invocations", split([100.0, 20.0, "UA"]))
        await wire.close()
        await asyncio.sleep(0.3)
        assert 60 <= sum(outcomes(champion).values()) <= 140

    together(file, scenario, percent=25)


def test_copies_begin_change_and_end_as_the_file_says_without_a_restart(file: Path) -> None:
    async def scenario() -> None:
        async with (
            serving(Other(), kind="mirrored") as candidate,
            serving(shadow_file=file) as champion,
        ):
            shade = champion.app._shadow
            assert shade is not None
            body = split([100.0, 20.0, "UA"])
            await champion.ask("POST", "/invocations", body)
            tell(file, candidate.port, source="delays-v6-00000000")
            await asyncio.sleep(0.1)
            assert shade.target is None, "another revision is spoken to"
            tell(file, candidate.port)
            await until(lambda: shade.target is not None)
            await champion.ask("POST", "/invocations", body)
            await sent(champion, 1)
            forget(file)
            await until(lambda: shade.target is None)
            await champion.ask("POST", "/invocations", body)
            forget(file, "{")
            await asyncio.sleep(0.1)
            await champion.ask("POST", "/invocations", body)
            assert outcomes(champion) == {"compared": 1}

    run(scenario)


def test_a_candidate_that_is_away_costs_users_nothing_and_is_counted(file: Path) -> None:
    async def scenario() -> None:
        async with serving(shadow_file=file) as champion:
            shade = champion.app._shadow
            assert shade is not None
            tell(file, 9)
            await until(lambda: shade.target is not None)
            answer = await champion.ask("POST", "/invocations", split([100.0, 20.0, "UA"]))
            assert answer.status == 200
            await sent(champion, 1)
            assert outcomes(champion) == {"failed": 1}

    run(scenario)


async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take everything and never answer."""
    await reader.read()
    writer.close()


def test_what_does_not_fit_is_dropped_counted_and_delays_nobody(file: Path) -> None:
    async def scenario() -> None:
        deaf = await asyncio.start_server(silent, "127.0.0.1", 0)
        async with serving(shadow_file=file) as champion:
            shade = champion.app._shadow
            assert shade is not None
            tell(file, deaf.sockets[0].getsockname()[1])
            await until(lambda: shade.target is not None)
            wire = await champion.connect()
            began = time.monotonic()
            for _ in range(shadow.MOST_COPIES + 50):
                await wire.ask("POST", "/invocations", split([100.0, 20.0, "UA"]))
            assert time.monotonic() - began < 10
            await wire.close()
            assert outcomes(champion) == {"dropped": 50}
            assert len(shade._copies) + shade._sending == shadow.MOST_COPIES
            forget(file)
            await until(lambda: not shade._copies)
            assert shade._bytes < 4096
        deaf.close()
        await asyncio.sleep(0.05)

    run(scenario)


def test_bodies_that_wait_are_bounded_by_their_bytes(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "MOST_BYTES", 10)

    async def scenario(champion: Served, candidate: Served) -> None:
        await champion.ask("POST", "/invocations", split([100.0, 20.0, "UA"]))
        await sent(champion, 1)
        assert outcomes(champion) == {"dropped": 1}

    together(file, scenario)


def test_only_weighted_requests_are_copied(file: Path) -> None:
    async def scenario() -> None:
        async with (
            serving(Other(), kind="mirrored") as candidate,
            serving(kind="direct", shadow_file=file) as champion,
        ):
            tell(file, candidate.port)
            shade = champion.app._shadow
            assert shade is not None
            await until(lambda: shade.target is not None)
            await champion.ask("POST", "/invocations", split([100.0, 20.0, "UA"]))
            await champion.ask("GET", "/v2/health/ready")
            await asyncio.sleep(0.1)
            assert outcomes(champion) == {}

    run(scenario)


def test_the_page_tells_results_by_revision_of_the_last_candidates(file: Path) -> None:
    async def scenario(champion: Served, candidate: Served) -> None:
        for distance in (100.0, 450.0):
            await champion.ask("POST", "/invocations", split([distance, 20.0, "UA"]))
        await sent(champion, 2)
        page = champion.counters.render().decode()
        common = f'revision="{CANDIDATE}",metric="disagreement"'
        assert f'linnet_outcomes_total{{{common},result="bad"}} 1\n' in page
        assert f'linnet_outcomes_total{{{common},result="ok"}} 1\n' in page
        assert f'linnet_copies_total{{revision="{CANDIDATE}",outcome="compared"}} 2\n' in page
        for number in range(8):
            champion.counters.copied(f"delays-v{number}", "failed")
        assert CANDIDATE not in champion.counters.render().decode()

    together(file, scenario)


def test_a_real_process_follows_the_file(start_stub: Callable[..., Running], file: Path) -> None:
    candidate = start_stub(LINNET_REVISION=CANDIDATE, LINNET_MODEL_VERSION="8")
    candidate.wait_until_ready()
    champion = start_stub(LINNET_SHADOW_FILE=str(file)).wait_until_ready()
    tell(file, candidate.base + 2)
    body = json.dumps(split([450.0, 20.0, "UA"])).encode()

    async def ask() -> str:
        for _ in range(100):
            reader, writer = await asyncio.open_connection("127.0.0.1", champion.base)
            head = f"POST /invocations HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(head.encode() + body)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
            await asyncio.sleep(0.1)
            page = champion.get(1, "/metrics")[1].decode()
            if 'metric="disagreement",result="ok"' in page:
                return page
        raise AssertionError("nothing was compared")

    assert f'linnet_outcomes_total{{revision="{CANDIDATE}"' in asyncio.run(ask())
    assert 'kind="mirrored",code="200"' in candidate.get(1, "/metrics")[1].decode()
    champion.end()
    assert champion.process.returncode == 0


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"from": REVISION, "to": "b", "url": "http://b-mirror.team.svc/", "percent": 5},
         Target(revision="b", url="http://b-mirror.team.svc", percent=5)),
        ({"from": "c", "to": "b", "url": "http://b-mirror.team.svc", "percent": 5}, None),
    ],
)  # fmt: skip
def test_the_file_speaks_to_one_revision(document: Any, expected: Target | None) -> None:
    assert parse(json.dumps(document).encode(), revision=REVISION) == expected


@pytest.mark.parametrize(
    "text",
    ["", "[]", "1", "{}", json.dumps({"from": REVISION}),
     json.dumps({"from": REVISION, "to": "b", "url": "http://b", "percent": 0}),
     json.dumps({"from": REVISION, "to": "b", "url": "ftp://b", "percent": 5})],
)  # fmt: skip
def test_a_file_that_is_not_understood_is_told(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse(text.encode(), revision=REVISION)


def test_only_a_wish_for_outputs_is_taken_out_of_a_body() -> None:
    body = json.dumps({"inputs": [1], "outputs": [2], "params": {"a": 1}, "id": "x"}).encode()
    assert json.loads(asking_for_labels(body)) == {"inputs": [1], "id": "x"}
    assert asking_for_labels(b'{"inputs":  [1]}') == b'{"inputs":  [1]}'


@pytest.mark.parametrize(
    ("answer", "labels"),
    [
        ('{"predictions": [true, false]}', [True, False]),
        ('{"outputs": [{"name": "probability", "data": [0.1]}, {"name": "label", "data": ["a"]}]}',
         ["a"]),
        ('{"outputs": [{"name": "prediction", "data": [1.5]}]}', None),
        ('{"predictions": []}', None),
        ('{"error": "no"}', None),
        ("[1]", None),
        ("<html>", None),
    ],
)  # fmt: skip
def test_classes_are_found_in_answers_of_both_protocols(answer: str, labels: Any) -> None:
    assert labels_of(answer.encode()) == labels
