"""From a client's values to rows, and what is said about those that do not fit."""

from typing import Any

import pytest
from linnet_server.columns import Inputs, NotUnderstood, Unfit

from server.harness import CARRIER, DISTANCE, HOLIDAY, TEMP

INPUTS = Inputs([DISTANCE, TEMP, CARRIER, HOLIDAY])
NUMBERS = Inputs([DISTANCE, TEMP])
NAMES = ["distance", "temp", "carrier", "holiday"]
GOOD = [500.0, 20.0, "UA", False]


def test_columns_are_matched_by_name_in_any_order() -> None:
    mapped = INPUTS.from_rows(["holiday", "carrier", "distance", "temp"], [[True, "UA", 1.5, 2.5]])
    assert mapped.rows == [[1.5, 2.5, "UA", True]]


def test_integers_are_accepted_for_doubles() -> None:
    (row,) = INPUTS.from_rows(NAMES, [[500, -3, "UA", True]]).rows
    assert row == [500.0, -3.0, "UA", True]
    assert [type(value) for value in row[:2]] == [float, float]


def test_null_is_a_missing_value_where_the_column_is_nullable() -> None:
    assert INPUTS.from_rows(NAMES, [[1.0, None, "UA", False]]).rows == [[1.0, None, "UA", False]]


def test_a_nullable_column_may_be_absent() -> None:
    names = ["distance", "carrier", "holiday"]
    assert INPUTS.from_rows(names, [[1.0, "UA", False]]).rows == [[1.0, None, "UA", False]]


def test_unknown_columns_are_ignored_and_named() -> None:
    mapped = INPUTS.from_rows([*NAMES, "late", "tail"], [[*GOOD, True, None]])
    assert mapped.rows == [GOOD]
    assert mapped.unknown == ("late", "tail")


def test_the_clients_rows_are_not_changed() -> None:
    rows = [[500, None, "UA", False]]
    INPUTS.from_rows(NAMES, rows)
    assert rows == [[500, None, "UA", False]]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([None, 1.0, "UA", True], "row 1, column 'distance': null is not allowed"),
        ([1.0, 1.0, None, True], "row 1, column 'carrier': null is not allowed"),
        (["1", 1.0, "UA", True], "row 1, column 'distance': must be a number, not a string"),
        ([True, 1.0, "UA", True], "row 1, column 'distance': must be a number, not true"),
        ([[1], 1.0, "UA", True], "row 1, column 'distance': must be a number, not a list"),
        ([{}, 1.0, "UA", True], "row 1, column 'distance': must be a number, not an object"),
        ([1.0, "x", "UA", True], "row 1, column 'temp': must be a number, not a string"),
        ([1.0, 1.0, 7, True], "row 1, column 'carrier': must be a string, not a number"),
        ([1.0, 1.0, "UA", 1], "row 1, column 'holiday': must be true or false, not a number"),
        ([10**400, 1.0, "UA", True], "row 1, column 'distance': must be a finite number"),
        ([float("inf"), 1.0, "UA", True], "row 1, column 'distance': must be a finite number"),
    ],
)
def test_a_value_that_does_not_fit_is_named_by_row_and_column(row: list[Any], message: str) -> None:
    with pytest.raises(Unfit) as caught:
        INPUTS.from_rows(NAMES, [GOOD, row])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["distance", "temp", "holiday"], "column 'carrier' is missing"),
        (["temp"], "columns 'distance', 'carrier', 'holiday' are missing"),
    ],
)
def test_missing_columns_are_named(names: list[str], message: str) -> None:
    with pytest.raises(Unfit) as caught:
        INPUTS.from_rows(names, [[1.0] * len(names)])
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("names", "rows", "message"),
    [
        (NAMES, [], "the request has no rows"),
        (NAMES, [GOOD, [1.0]], "row 1 has 1 values for 4 columns"),
        (NAMES, [7], "row 0 must be a list of values"),
        (["temp", "temp"], [[1.0, 2.0]], "column 'temp' is given twice"),
        ([1, 2], [[1.0, 2.0]], "column names must be strings"),
        ([["a"]], [[1.0]], "column names must be strings"),
    ],
)
def test_a_table_that_is_none_is_not_understood(
    names: list[Any], rows: list[Any], message: str
) -> None:
    with pytest.raises(NotUnderstood) as caught:
        INPUTS.from_rows(names, rows)
    assert str(caught.value) == message


def test_records_may_have_their_names_in_any_order_and_leave_out_nullable_ones() -> None:
    mapped = INPUTS.from_records(
        [
            {"carrier": "UA", "distance": 1, "holiday": False, "temp": 3.0},
            {"holiday": True, "distance": 2.0, "carrier": "AA", "late": True},
        ]
    )
    assert mapped.rows == [[1.0, 3.0, "UA", False], [2.0, None, "AA", True]]
    assert mapped.unknown == ("late",)


def test_a_record_without_a_needed_column_is_named_by_its_row() -> None:
    with pytest.raises(Unfit, match=r"^row 1, column 'carrier': the value is missing$"):
        INPUTS.from_records(
            [
                {"distance": 1, "carrier": "UA", "holiday": True},
                {"distance": 1, "holiday": True},
            ]
        )


def test_columns_of_different_lengths_are_not_understood() -> None:
    with pytest.raises(NotUnderstood, match=r"^all columns must have the same number of rows$"):
        NUMBERS.from_columns({"distance": [1.0, 2.0], "temp": [1.0]})


def test_bare_rows_are_taken_where_all_columns_are_numbers() -> None:
    assert NUMBERS.from_tensor([[1, 2.0], [3.0, None]]).rows == [[1.0, 2.0], [3.0, None]]


def test_bare_rows_are_refused_where_a_column_is_no_number() -> None:
    with pytest.raises(Unfit) as caught:
        INPUTS.from_tensor([GOOD])
    assert str(caught.value) == (
        "rows without column names are accepted only where all columns are numbers: "
        "send the columns by name"
    )


def test_bare_rows_must_be_as_wide_as_the_model() -> None:
    with pytest.raises(Unfit, match=r"^row 0 has 3 values; the model has 2 columns$"):
        NUMBERS.from_tensor([[1.0, 2.0, 3.0]])


def test_orders_of_names_are_remembered_within_a_bound() -> None:
    inputs = Inputs([DISTANCE, TEMP])
    for number in range(1000):
        inputs.from_rows(["distance", f"extra{number}"], [[1.0, 2.0]])
    assert len(inputs._layouts) <= 256
