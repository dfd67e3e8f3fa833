"""A server asks the sidecar of the trainer's package; the store behind it is a table here."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

import pytest
import uvicorn
from linnet_server.contract import ExitCode
from linnet_server.features import Features, Mismatch, check
from linnet_trainer import contract, online
from linnet_trainer.contract import FeaturesExit
from linnet_trainer.lineage import Column, FeatureSet, View
from server.harness import CARRIER, DISTANCE, TEMP, Answer, Served, Stub, run, serving, split

SET = FeatureSet(
    project="flights",
    repo="s3://data/feast",
    service="delays_v1",
    views=(
        View(
            name="weather",
            keys=("origin",),
            columns=(Column(name="temp", type="Float64"), Column(name="wind", type="Float64")),
            ttl=timedelta(hours=3),
            source="s3://data/weather.parquet",
            timestamp="observed",
        ),
        View(
            name="routes",
            keys=("origin", "dest"),
            columns=(Column(name="distance", type="Float64"),),
            ttl=None,
            source="s3://data/routes.parquet",
            timestamp="since",
        ),
    ),
)
TEMPERATURES = {"EWR": 40.0, "JFK": 50.0}


class Table:
    """Reads as `online.Features`: the temperature of an airport, and one distance."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.away = False
        self.asked: list[Mapping[str, Sequence[Any]]] = []

    def document(self) -> dict[str, Any]:
        return SET.document()

    def read(self, keys: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        self.asked.append(keys)
        time.sleep(self.seconds)
        if self.away:
            raise online.Away("the online store of feature view 'weather' does not answer: no")
        if any(isinstance(origin, int) for origin in keys["origin"]):
            raise online.Unfit("column 'origin' names an entity and must hold string: 7")
        return {
            "temp": [TEMPERATURES.get(origin) for origin in keys["origin"]],
            "wind": [None for _ in keys["origin"]],
            "distance": [700.0 if origin in TEMPERATURES else None for origin in keys["origin"]],
        }


@pytest.fixture
def table() -> Table:
    return Table()


@contextlib.contextmanager
def sidecar(table: Table, *, timeout: float = 5.0) -> Iterator[str]:
    """Serve the table as the sidecar does, on a free port; the address."""
    app = online.make_app(cast(online.Features, table), timeout=timeout)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}{contract.PATH_FEATURES}"
    finally:
        server.should_exit = True
        thread.join(10)


def ask(table: Table, *bodies: Any, timeout: float = 5.0, path: str = "/invocations") -> Any:
    """Send requests to a server whose features the table has; answers, and the server."""
    answers: list[Answer] = []
    served: list[Served] = []

    async def scenario() -> None:
        with sidecar(table) as url:
            features = Features(url=url, timeout=timeout)
            await features.open()
            model = Stub(DISTANCE, TEMP, CARRIER)
            async with serving(model, features=features) as found:
                served.append(found)
                answers.extend([await found.ask("POST", path, body) for body in bodies])
            await features.close()

    run(scenario)
    return answers, served[0]


KEYS = ["origin", "dest", "carrier"]


def test_what_a_request_leaves_out_is_looked_up_in_every_form(table: Table) -> None:
    rows = [["EWR", "ORD", "UA"], ["JFK", "LAX", "B6"]]
    records = [dict(zip(KEYS, row, strict=True)) for row in rows]
    columns = {name: [row[at] for row in rows] for at, name in enumerate(KEYS)}
    tensors = [
        {"name": name, "shape": [2], "datatype": "BYTES", "data": cells}
        for name, cells in columns.items()
    ]
    answers, served = ask(
        table, split(*rows, columns=KEYS), {"dataframe_records": records}, {"inputs": columns}
    )
    assert [answer.json for answer in answers] == [{"predictions": [True, True]}] * 3
    (answer,), _ = ask(table, {"inputs": tensors}, path="/v2/models/delays/infer")
    assert answer.json["outputs"][0]["data"] == [True, True]
    assert table.asked == [{"origin": ["EWR", "JFK"], "dest": ["ORD", "LAX"]}] * 4
    assert served.counters._unknown == {}, "keys are known, whether or not the model has them"


def test_what_a_request_has_stays_and_is_not_asked_for(table: Table) -> None:
    whole = split([900.0, 1.0, "UA"])
    partly = split(["EWR", 100.0, "UA"], columns=["origin", "distance", "carrier"])
    answers, _ = ask(table, whole, partly)
    assert [answer.json for answer in answers] == [
        {"predictions": [True]},
        {"predictions": [False]},
    ]
    assert table.asked == [{"origin": ["EWR"], "dest": [None]}], "of routes nothing is asked"


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        (
            split(["ORD", "UA"], columns=["dest", "carrier"]),
            422,
            "column 'origin' is missing: it names the entity of feature view 'weather' and "
            "'routes'",
        ),
        (
            split([7, "ORD", "UA"], columns=KEYS),
            422,
            "column 'origin' names an entity and must hold string: 7",
        ),
        (
            split(["EWR", "ORD", "UA"], ["SFO", "ORD", "UA"], columns=KEYS),
            422,
            "row 1, column 'distance': feature view 'routes' has no value for this entity that is "
            "young enough, and the model was trained without missing ones",
        ),
        (split(["EWR", "ORD"], columns=["origin", "dest"]), 422, "column 'carrier' is missing"),
        (split(["EWR", "ORD"], columns=KEYS), 400, "row 0 must be a list of 3 values"),
        ({"inputs": [[1.0, 2.0]]}, 422, "features are looked up by name: send the columns by name"),
    ],
)
def test_what_is_wrong_is_told(table: Table, body: Any, status: int, said: str) -> None:
    (answer,), served = ask(table, body)
    assert (answer.status, answer.error) == (status, said)
    assert served.count(str(status)) == 1


def test_a_store_that_is_away_or_slow_is_503_and_the_view_is_named(table: Table) -> None:
    body = split(["EWR", "ORD", "UA"], columns=KEYS)
    table.away = True
    (answer,), _ = ask(table, body)
    assert answer.status == 503
    assert answer.error == "the online store of feature view 'weather' does not answer: no"
    table.away, table.seconds = False, 0.5
    (answer, again), _ = ask(table, body, body, timeout=0.05)
    late = "feature view 'weather' and 'routes' did not answer within 50 ms"
    assert (answer.status, answer.error) == (again.status, again.error) == (503, late)


def test_nobody_waits_behind_a_look_up_that_nobody_waits_for(table: Table) -> None:
    """Requests queue behind a slow store; those whose time is over are not read at all."""
    table.seconds = 0.3
    bodies = [split(["EWR", "ORD", "UA"], columns=KEYS)] * 4

    async def scenario() -> None:
        with sidecar(table, timeout=0.05) as url:
            features = Features(url=url, timeout=0.05)
            await features.open()
            async with serving(Stub(DISTANCE, TEMP, CARRIER), features=features) as found:
                for body in bodies:
                    assert (await found.ask("POST", "/invocations", body)).status == 503
            await features.close()

    run(scenario)
    assert len(table.asked) < len(bodies)


def test_a_sidecar_that_goes_away_is_503(table: Table) -> None:
    async def scenario() -> None:
        with sidecar(table) as url:
            features = Features(url=url, timeout=1)
            await features.open()
        async with serving(Stub(DISTANCE, TEMP, CARRIER), features=features) as found:
            body = split(["EWR", "ORD", "UA"], columns=KEYS)
            answer = await found.ask("POST", "/invocations", body)
        await features.close()
        assert answer.status == 503
        assert "'weather' and 'routes' cannot be read, its sidecar does not answer" in answer.error

    run(scenario)


def test_a_model_of_another_service_or_of_none_of_these_features_is_refused(table: Table) -> None:
    async def scenario() -> None:
        with sidecar(table) as url:
            features = Features(url=url, timeout=1)
            await features.open()
            await features.close()
        assert features.set.digest == SET.digest
        check(features.set, trained_service="delays_v1", columns=["temp", "x"])
        check(features.set, trained_service="", columns=["temp", "x"])
        with pytest.raises(
            Mismatch, match=r"trained on feature service 'delays_v0', and `features"
        ):
            check(features.set, trained_service="delays_v0", columns=["temp"])
        with pytest.raises(Mismatch, match="no column of feature service 'delays_v1'"):
            check(features.set, trained_service="", columns=["x"])

    run(scenario)


def test_both_sides_end_with_the_same_numbers() -> None:
    assert FeaturesExit.INVALID == ExitCode.FEATURES_INVALID
    assert FeaturesExit.UNAVAILABLE == ExitCode.STORE_UNAVAILABLE
