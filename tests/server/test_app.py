"""The two protocols, through a real socket, with a stub behind them."""

from collections.abc import Sequence
from typing import Any

import pytest
from linnet_server.batching import Predictions

from server.harness import (
    CARRIER,
    DISTANCE,
    GOOD,
    HOLIDAY,
    TEMP,
    Answer,
    Stub,
    run,
    serving,
    split,
)

INFER = "/v2/models/delays/infer"


def ask(body: Any, *headers: str, path: str = "/invocations", model: Stub | None = None) -> Answer:
    answers: list[Answer] = []

    async def scenario() -> None:
        async with serving(model) as served:
            answers.append(await served.ask("POST", path, body, *headers))

    run(scenario)
    return answers[0]


def tensor(name: str, datatype: str, *data: Any, shape: list[int] | None = None) -> dict[str, Any]:
    return {"name": name, "shape": shape or [len(data)], "datatype": datatype, "data": list(data)}


def infer(**fields: Any) -> dict[str, Any]:
    inputs = [tensor("distance", "FP64", 900.0, 100), tensor("carrier", "BYTES", "UA", "AA")]
    return {"inputs": inputs, **fields}


@pytest.mark.parametrize(
    "body",
    [
        split([900.0, 20.0, "UA"], [100, None, "AA"]),
        {"dataframe_records": [{"distance": 900, "carrier": "UA"}, {"distance": 1, "carrier": ""}]},
        {"inputs": {"distance": [900, 100], "carrier": ["UA", "AA"]}},
        {"inputs": {"distance": [[900], [100]], "carrier": [["UA"], ["AA"]]}},
        {"inputs": [{"distance": 900, "carrier": "UA"}, {"distance": 1, "carrier": "AA"}]},
        {"instances": [{"distance": 900, "carrier": "UA"}, {"distance": 1, "carrier": "AA"}]},
    ],
)
def test_invocations_answers_labels_for_each_form(body: Any) -> None:
    answer = ask(body)
    assert (answer.status, answer.json) == (200, {"predictions": [True, False]})


@pytest.mark.parametrize("name", ["inputs", "instances"])
def test_invocations_takes_bare_rows_of_numbers(name: str) -> None:
    answer = ask({name: [[900, 1], [100, None]]}, model=Stub(DISTANCE, TEMP))
    assert answer.json == {"predictions": [True, False]}


def test_invocations_answers_probabilities_when_asked() -> None:
    answer = ask({**split([900.0, 20.0, "UA"]), "params": {"output": "probability"}})
    assert answer.json == {"predictions": [[pytest.approx(0.1), 0.9]]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "the request has no body"),
        (b"{", "the body is not understood: Input data was truncated"),
        (b"[]", "the body is not understood: Expected `object`, got `array`"),
        (
            {},
            "the body must have exactly one of `dataframe_split`, `dataframe_records`, "
            "`inputs`, `instances`",
        ),
        (
            {"inputs": [], "instances": []},
            "the body must have exactly one of `dataframe_split`, `dataframe_records`, "
            "`inputs`, `instances`",
        ),
        (
            {"dataframe_split": {"data": [[1]]}},
            "`dataframe_split` must have the lists `columns` and `data`",
        ),
        ({"dataframe_records": 7}, "`dataframe_records` must be a list of rows"),
        (
            {"dataframe_records": [[1]]},
            "row 0 must be an object with a value for each column",
        ),
        ({"inputs": {"distance": 1}}, "`inputs` must have a list of values for each column"),
        ({"inputs": []}, "the request has no rows"),
        (
            {**GOOD, "params": {"output": "score"}},
            '`params.output` must be one of label, probability, not "score"',
        ),
    ],
)
def test_invocations_says_what_it_does_not_understand(body: Any, message: str) -> None:
    answer = ask(body)
    assert (answer.status, answer.error) == (400, message)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "content-type: text/csv",
            "content-type 'text/csv' is not supported: send application/json",
        ),
        ("content-encoding: gzip", "content-encoding 'gzip' is not supported"),
    ],
)
def test_other_content_is_not_understood(header: str, message: str) -> None:
    for path in ("/invocations", INFER):
        answer = ask(b"1,2", header, path=path)
        assert (answer.status, answer.error) == (400, message)


def test_infer_takes_one_input_a_column_and_answers_labels_and_probabilities() -> None:
    answer = ask(infer(id="r-1"), path=INFER)
    assert answer.status == 200
    assert answer.json == {
        "model_name": "delays",
        "model_version": "7",
        "id": "r-1",
        "outputs": [
            {"name": "label", "datatype": "BOOL", "shape": [2], "data": [True, False]},
            {
                "name": "probability",
                "datatype": "FP64",
                "shape": [2, 2],
                "parameters": {"classes": [False, True]},
                "data": [pytest.approx(0.1), 0.9, 0.9, 0.1],
            },
        ],
    }


def test_infer_is_served_under_the_version_too() -> None:
    assert ask(infer(), path="/v2/models/delays/versions/7/infer").status == 200


def test_infer_answers_the_outputs_that_are_asked_for() -> None:
    answer = ask(infer(outputs=[{"name": "probability"}]), path=INFER)
    assert [output["name"] for output in answer.json["outputs"]] == ["probability"]


@pytest.mark.parametrize(
    "matrix",
    [
        tensor("x", "FP64", 900, 1, 100, None, shape=[2, 2]),
        tensor("x", "FP32", [900, 1], [100, None], shape=[2, 2]),
        tensor("x", "INT64", 900, 1, 100, 2, shape=[2, 2]),
    ],
)
def test_infer_takes_one_matrix_where_all_columns_are_numbers(matrix: Any) -> None:
    answer = ask({"inputs": [matrix]}, path=INFER, model=Stub(DISTANCE, TEMP))
    assert answer.json["outputs"][0]["data"] == [True, False]


def test_infer_takes_booleans_and_columns_of_shape_n_1() -> None:
    body = {
        "parameters": {"content_type": "pd"},
        "inputs": [
            tensor("holiday", "BOOL", True, shape=[1, 1]),
            {
                **tensor("carrier", "BYTES", "UA", shape=[1, 1]),
                "parameters": {"content_type": "str"},
            },
        ],
    }
    answer = ask(body, path=INFER, model=Stub(HOLIDAY, CARRIER))
    assert answer.status == 200


DISTANCES = tensor("distance", "FP64", 1.0)


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, {}, "the body is not understood: Object missing required field `inputs`"),
        (400, {"inputs": []}, "`inputs` must not be empty"),
        (
            400,
            {"inputs": [{"name": 1, "shape": [1], "datatype": "FP64", "data": [1]}]},
            "the body is not understood: Expected `str`, got `int` - at `$.inputs[0].name`",
        ),
        (
            400,
            {"inputs": [DISTANCES, tensor("carrier", "TEXT", "UA")]},
            "input 'carrier' has no known datatype: 'TEXT'",
        ),
        (
            400,
            {"inputs": [DISTANCES, DISTANCES]},
            "column 'distance' is given twice",
        ),
        (
            400,
            {"inputs": [DISTANCES, tensor("carrier", "BYTES", "UA", shape=[2])]},
            "input 'carrier' has shape [2], but 1 values",
        ),
        (
            400,
            {"inputs": [DISTANCES, tensor("carrier", "BYTES", "UA", shape=[1, 1, 1])]},
            "input 'carrier' has shape [1, 1, 1]; a column has [rows] or [rows, 1]",
        ),
        (
            400,
            {"inputs": [DISTANCES, tensor("carrier", "BYTES", "UA", "AA")]},
            "all columns must have the same number of rows",
        ),
        (
            400,
            infer(outputs=[{"name": "score"}]),
            "there is no output 'score'; the model has label, probability",
        ),
        (
            400,
            infer(id="a\r\nb"),
            "`id` must be 1 to 256 printable ASCII characters without spaces",
        ),
        (
            422,
            {"inputs": [DISTANCES, tensor("carrier", "FP64", 1.0)]},
            "column 'carrier' must have datatype BYTES, not FP64",
        ),
        (
            422,
            {"inputs": [tensor("distance", "BYTES", "1"), tensor("carrier", "BYTES", "UA")]},
            "column 'distance' must have datatype FP64, not BYTES",
        ),
        (422, {"inputs": [DISTANCES]}, "column 'carrier' is missing"),
        (
            422,
            {"inputs": [DISTANCES, tensor("carrier", "BYTES", None)]},
            "row 0, column 'carrier': null is not allowed",
        ),
        (
            422,
            {"inputs": [tensor("x", "FP64", 1.0, 2.0, shape=[1, 2])]},
            "rows without column names are accepted only where all columns are numbers: "
            "send the columns by name",
        ),
    ],
)
def test_infer_says_what_is_wrong(status: int, body: Any, message: str) -> None:
    answer = ask(body, path=INFER)
    assert (answer.status, answer.error) == (status, message)


def test_binary_tensors_are_not_understood() -> None:
    answer = ask(b"{}", "inference-header-content-length: 2", path=INFER)
    assert (answer.status, answer.error) == (400, "binary tensors are not supported: send JSON")


@pytest.mark.parametrize(
    ("body_id", "headers", "expected"),
    [
        ("body", ["ce-id: event", "x-request-id: proxy"], "body"),
        (None, ["ce-id: event", "x-request-id: proxy"], "event"),
        (None, ["x-request-id: proxy"], "proxy"),
        ("", ["x-request-id: proxy"], "proxy"),
        (None, ["ce-id: not safe", "x-request-id: proxy"], "proxy"),
    ],
)
def test_the_request_id_is_the_first_that_is_given(
    body_id: str | None, headers: list[str], expected: str
) -> None:
    answer = ask(infer() if body_id is None else infer(id=body_id), *headers, path=INFER)
    assert answer.json["id"] == expected
    assert answer.headers["x-request-id"] == expected


def test_a_request_without_an_id_gets_one_that_header_and_body_agree_on() -> None:
    answer = ask(infer(), path=INFER)
    assert len(answer.json["id"]) == 32
    assert answer.headers["x-request-id"] == answer.json["id"]


def test_a_refused_request_keeps_the_id_of_its_body() -> None:
    answer = ask({"id": "mine", "inputs": [DISTANCES]}, "x-request-id: proxy", path=INFER)
    assert (answer.status, answer.headers["x-request-id"]) == (422, "mine")


def test_another_model_or_version_is_not_found_and_says_what_is_here() -> None:
    answer = ask(infer(), path="/v2/models/delays/versions/8/infer")
    assert answer.status == 404
    assert answer.error == (
        "'/v2/models/delays/versions/8/infer' is not served here; "
        "this server has version 7 of 'delays'"
    )


def column(name: str, datatype: str, *, nullable: bool) -> dict[str, Any]:
    return {
        "name": name,
        "datatype": datatype,
        "shape": [-1, 1],
        "parameters": {"nullable": nullable},
    }


def test_health_and_metadata_answer_and_are_not_counted() -> None:
    async def scenario() -> None:
        async with serving() as served:
            expected: dict[str, Any] = {
                "/v2": {"name": "linnet-server", "version": "0", "extensions": []},
                "/v2/health/live": {"live": True},
                "/v2/health/ready": {"ready": True},
                "/v2/models/delays/ready": {"name": "delays", "ready": True},
                "/v2/models/delays/versions/7/ready?x=1": {"name": "delays", "ready": True},
                "/v2/models/delays": {
                    "name": "delays",
                    "versions": ["7"],
                    "platform": "sklearn",
                    "inputs": [
                        column("distance", "FP64", nullable=False),
                        column("temp", "FP64", nullable=True),
                        column("carrier", "BYTES", nullable=False),
                    ],
                    "outputs": [
                        {"name": "label", "datatype": "BOOL", "shape": [-1]},
                        {"name": "probability", "datatype": "FP64", "shape": [-1, 2]},
                    ],
                },
            }
            for path, document in expected.items():
                answer = await served.ask("GET", path)
                assert (answer.status, answer.json) == (200, document)
            for path, body in {"/ping": b"\n", "/health": b"\n", "/version": b"0"}.items():
                answer = await served.ask("GET", path)
                assert (answer.status, answer.body) == (200, body)
            answer = await served.ask("GET", "/invocations")
            assert (answer.status, answer.error) == (405, "'/invocations' takes POST")
            answer = await served.ask("POST", "/v2", {})
            assert (answer.status, answer.error) == (405, "'/v2' takes GET")
            answer = await served.ask("DELETE", "/nowhere")
            assert (answer.status, answer.error) == (404, "there is no '/nowhere'")
            assert served.counters._requests == {}

    run(scenario)


def test_health_says_not_ready_while_draining() -> None:
    async def scenario() -> None:
        async with serving() as served:
            served.app.ready = False
            for path in ("/v2/health/ready", "/v2/models/delays/ready", "/ping"):
                assert (await served.ask("GET", path)).status == 503
            # What still arrives is answered.
            assert (await served.ask("POST", "/invocations", GOOD)).status == 200

    run(scenario)


class Regression(Stub):
    task = "Regression"
    has_probabilities = False

    def predict(self, rows: Sequence[Sequence[Any]]) -> Predictions:
        return Predictions([row[0] * 2 for row in rows], None)


def test_a_regression_answers_predictions() -> None:
    body = {"inputs": [tensor("distance", "FP64", 1.5)]}
    assert ask(body, path=INFER, model=Regression(DISTANCE)).json["outputs"] == [
        {"name": "prediction", "datatype": "FP64", "shape": [1], "data": [3.0]}
    ]
    answer = ask(split([1.5], columns=["distance"]), model=Regression(DISTANCE))
    assert answer.json == {"predictions": [3.0]}


def test_a_model_that_fails_is_a_500_that_says_so() -> None:
    answer = ask(split([1.0, 1.0, "explode"]))
    assert (answer.status, answer.error) == (500, "the model failed: ValueError: this row explodes")
