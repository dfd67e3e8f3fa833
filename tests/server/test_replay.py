"""The demo's traffic: paced, one row a request, every answer counted."""

import asyncio
import importlib.util
import json
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from server.conftest import Running, flights, free_base

SCRIPT = Path(__file__).parents[2] / "examples" / "demo" / "replay.py"


@pytest.fixture(scope="module")
def replay() -> Any:
    """Return the script as a module."""
    spec = importlib.util.spec_from_file_location("demo_replay", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["demo_replay"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return a table whose weather is missing in some rows, with columns of other kinds."""
    rows = flights(34)
    rows["late"] = rows["distance"] > 1000
    rows["sched_dep"] = pd.date_range("2013-04-01", periods=34, freq="h", tz="UTC")
    rows.to_parquet(tmp_path / "part-1.parquet")
    return tmp_path / "part-*.parquet"


def start(table: Path, url: str, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, str(SCRIPT), "--table", str(table), "--url", url, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def lines_of(process: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    output, _ = process.communicate(timeout=60)
    return [json.loads(line) for line in output.splitlines()]


def test_rows_are_sent_at_the_rate_and_counted_by_version_and_code(
    replay: Any, start_stub: Callable[..., Running], table: Path
) -> None:
    running = start_stub().wait_until_ready()
    url = f"http://127.0.0.1:{running.base}/v2/models/delays/infer"
    chosen = replay.parse_arguments(
        ["--table", str(table), "--url", url, "--rate", "50", "--max-requests", "60", "--port", "0"]
    )
    bodies = replay.read_bodies(chosen)
    assert len(bodies) == 34
    began = time.monotonic()
    made = asyncio.run(_run(replay, chosen, bodies))
    assert 1.1 < time.monotonic() - began < 6
    totals = made.totals()
    assert totals["answers"] == {"7": {"200": 60}}
    assert totals["sent"] == 60
    first, last = totals["answered"]["7"]
    assert 1.1 < last - first < 6
    assert (totals["lost"], totals["refused"], totals["timeouts"]) == (0, 0, 0)


async def _run(replay: Any, chosen: Any, bodies: list[bytes]) -> Any:
    made = replay.Replay(chosen, bodies)
    await made.run()
    return made


def test_missing_values_are_null_and_every_column_is_sent(replay: Any, table: Path) -> None:
    chosen = replay.parse_arguments(["--table", str(table), "--url", "http://h/invocations"])
    bodies = [json.loads(body)["dataframe_split"] for body in replay.read_bodies(chosen)]
    assert bodies[0]["columns"] == ["distance", "temp", "carrier", "late", "sched_dep"]
    temps = [body["data"][0][1] for body in bodies]
    assert temps.count(None) == 2
    assert {type(body["data"][0][3]) for body in bodies} == {bool}
    assert all(body["data"][0][4].startswith("2013-04-0") for body in bodies)
    chosen = replay.parse_arguments(
        ["--table", str(table), "--url", "http://h/v2/models/m/infer", "--exclude", "late,temp"]
    )
    inputs = json.loads(replay.read_bodies(chosen)[0])["inputs"]
    assert [(tensor["name"], tensor["datatype"]) for tensor in inputs] == [
        ("distance", "FP64"),
        ("carrier", "BYTES"),
        ("sched_dep", "BYTES"),
    ]


def test_the_process_reports_each_second_serves_its_totals_and_ends_on_sigterm(
    start_stub: Callable[..., Running], table: Path
) -> None:
    running = start_stub().wait_until_ready()
    port = free_base()
    process = start(
        table,
        f"http://127.0.0.1:{running.base}/invocations",
        "--host",
        "delays.example.com",
        "--port",
        str(port),
        "--rate",
        "30",
    )
    totals = _totals(port)
    while totals["sent"] < 30:
        time.sleep(0.05)
        totals = _totals(port)
    process.send_signal(signal.SIGTERM)
    *seconds, final = lines_of(process)
    assert process.returncode == 0
    assert final["final"] is True
    assert sum(second["sent"] for second in seconds) == final["sent"] >= 30
    assert final["answers"] == {"7": {"200": final["sent"]}}
    assert list(seconds[0]) == ["time", "sent", "answers", "lost", "refused", "timeouts"]


def _totals(port: int) -> Any:
    deadline = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/totals", timeout=5) as answer:
                return json.load(answer)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def test_requests_without_an_answer_are_told_apart(replay: Any) -> None:
    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        # Until the client has given up.
        await reader.read()
        writer.close()

    async def drop(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
        writer.close()

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(
            b"HTTP/1.1 422 No\r\nx-linnet-model-version: 8\r\ntransfer-encoding: chunked\r\n\r\n"
            b"4\r\nnope\r\n0\r\n\r\n"
        )
        writer.close()

    arguments = ["--max-requests", "3", "--rate", "100", "--timeout", "0.3", "--port", "0"]

    async def scenario() -> None:
        cases = ((hang, "timeouts"), (drop, "lost"), (refuse, "answers"), (None, "refused"))
        for handler, expected in cases:
            port = 9
            server = None
            if handler is not None:
                server = await asyncio.start_server(handler, "127.0.0.1", 0)
                port = server.sockets[0].getsockname()[1]
            chosen = replay.parse_arguments(
                ["--table", "t", "--url", f"http://127.0.0.1:{port}/invocations", *arguments]
            )
            totals = (await _run(replay, chosen, [b"{}"])).totals()
            assert totals["sent"] == 3
            if expected == "answers":
                assert totals["answers"] == {"8": {"422": 3}}
                assert totals["errors"] == {"8": {"422": "nope"}}
            else:
                assert totals[expected] == 3
                assert totals["answers"] == {}
            if server is not None:
                server.close()
        # The last connections end in a later turn of the loop.
        await asyncio.sleep(0.1)

    asyncio.run(scenario())


def test_a_table_that_is_not_there_is_said(tmp_path: Path) -> None:
    process = start(tmp_path / "none.parquet", "http://h/invocations", "--port", "0")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.strip() == f"there is no table at {tmp_path / 'none.parquet'}"
