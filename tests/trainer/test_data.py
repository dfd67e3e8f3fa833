"""Reading tables: formats, globs, windows, types."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from linnet_trainer import contract, data, recipe, tables
from linnet_trainer.data import Feature
from linnet_trainer.errors import Refusal, Unavailable

from trainer.test_recipe import document
from trainer.world import World


def job(uri: str, changes: dict[str, Any] | None = None) -> recipe.Recipe:
    given = document(changes)
    given["spec"]["data"]["table"]["uri"] = uri
    return recipe.parse(given, environ={})


def parts(world: World, table: pd.DataFrame, suffix: str) -> None:
    for number, month in enumerate((1, 2, 3), start=1):
        world.write(table[table["at"].dt.month == month], f"parts/2026-0{number}{suffix}")


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".csv.gz"])
def test_files_of_every_format_hold_the_same_rows(
    world: World, flights: pd.DataFrame, suffix: str
) -> None:
    parts(world, flights, suffix)
    wanted = f"file://{world.folder}/parts/2026-0[12]{suffix}"
    rows = data.read(job(wanted))
    features = data.choose(rows, np.arange(len(rows)), job(wanted)).features
    table = data.cast(rows.frame, features)

    assert rows.files == 2
    assert len(rows) == (flights["at"].dt.month < 3).sum()
    assert [(one.name, one.type) for one in features] == [
        ("x", "double"),
        ("wind", "double"),
        ("stops", "double"),
        ("carrier", "string"),
        ("plane", "string"),
    ]
    assert (
        table["wind"].isna().sum() == flights.loc[flights["at"].dt.month < 3, "wind"].isna().sum()
    )
    assert table["carrier"].isna().any()
    assert all(value is None or isinstance(value, str) for value in table["carrier"])
    assert str(table["stops"].dtype) == "float64"


def test_a_folder_means_all_parquet_files_below_it(world: World, flights: pd.DataFrame) -> None:
    parts(world, flights, ".parquet")
    (world.folder / "parts" / "notes.txt").write_text("not a table")

    assert len(data.read(job(f"file://{world.folder}/parts/"))) == len(flights)


def test_a_claim_is_read_where_the_operator_mounts_it(
    world: World, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contract, "PVC_DIR", str(world.folder))
    world.write(flights, "claim/some/table.parquet")

    assert len(data.read(job("pvc://claim/some/table.parquet"))) == len(flights)


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", None])
@pytest.mark.parametrize("suffix", [".parquet", ".csv"])
def test_a_window_takes_its_start_and_leaves_its_end(
    world: World, zone: str | None, suffix: str
) -> None:
    moments = pd.date_range("2026-01-01", periods=48, freq="h", tz="UTC")
    local = moments.tz_localize(None) if zone is None else moments.tz_convert(zone)
    uri = world.write(pd.DataFrame({"at": local, "late": True, "x": 1.0}), f"table{suffix}")
    window = {"from": "2026-01-01T05:00:00Z", "until": "2026-01-02T05:00:00+01:00"}
    rows = data.read(job(uri, {"data": {"window": window}}))

    assert list(rows.frame["at"]) == list(moments[5:28])


def test_listed_columns_are_all_that_stays_in_memory(world: World, flights: pd.DataFrame) -> None:
    spec = {"pipeline": {"columns": {"numeric": ["x"], "categorical": ["stops"]}}}
    given = job(world.write(flights), spec)
    rows = data.read(given, also=["wind", "unknown"])

    assert set(rows.frame) == {"at", "late", "x", "stops", "wind"}
    found = data.choose(rows, np.arange(len(rows)), given)
    assert found.features == (
        Feature(name="x", type="double", source="double"),
        Feature(name="stops", type="string", source="int64"),
    )
    assert set(data.cast(rows.frame, found.features)["stops"]) == {"0", "1", "2"}


def test_columns_that_cannot_be_features_are_left_out_and_named(world: World) -> None:
    count = 300
    table = pd.DataFrame(
        {
            "at": pd.date_range("2026-01-01", periods=count, freq="h", tz="UTC"),
            "late": [True, False] * (count // 2),
            "x": True,
            "name": [f"n{number}" for number in range(count)],
            "empty": pd.Series([None] * count, dtype="float64"),
            "when": pd.Timestamp("2026-01-01").as_unit("us"),
            "parts": [[1, 2]] * count,
        }
    )
    given = job(world.write(table))
    rows = data.read(given)
    found = data.choose(rows, np.arange(count), given)

    assert found.names == ["x"]
    assert found.left_out == {
        "name": "300 different texts, more than 255: list it as categorical or text to use it",
        "empty": "no value in the training rows",
        "when": "its type is timestamp[us]",
        "parts": "a nested column",
    }


def test_a_row_has_one_identity_in_every_file_and_encoding(world: World) -> None:
    plain = pa.table(
        {
            "at": pa.array([0, 1], pa.timestamp("us", tz="UTC")),
            "late": [True, False],
            "x": pa.array([1, 2], pa.int32()),
            "c": pa.array(["a", "b"]),
        }
    )
    coded = plain.set_column(3, "c", plain["c"].combine_chunks().dictionary_encode())
    missing = plain.set_column(2, "x", pa.array([None, 2], pa.int64()))
    for name, table in (("1", plain), ("2", coded), ("3", missing)):
        pq.write_table(table, world.folder / f"{name}.parquet")
    hashes = data.read(job(f"file://{world.folder}/?.parquet")).hashes

    assert hashes[1] == hashes[3] == hashes[5]
    assert hashes[0] == hashes[2] != hashes[4]


def test_the_digest_covers_every_row_and_name() -> None:
    frame = pd.DataFrame({"a": range(30000), "b": "x"})
    other = frame.copy()
    other.loc[29999, "a"] = 0

    assert data.digest(frame) == data.digest(frame.copy())
    assert data.digest(frame) != data.digest(other)
    assert data.digest(frame) != data.digest(frame.rename(columns={"b": "c"}))


@pytest.mark.parametrize(
    ("error", "becomes"),
    [
        (FileNotFoundError("x"), Refusal),
        (PermissionError("x"), Unavailable),
        (ConnectionRefusedError("x"), Unavailable),
        (TimeoutError("x"), Unavailable),
        (pa.ArrowInvalid("x"), Refusal),
        (ZeroDivisionError("x"), ZeroDivisionError),
    ],
)
def test_a_store_that_fails_is_told_from_a_table_that_is_wrong(
    error: Exception, becomes: type[Exception]
) -> None:
    with pytest.raises(becomes), tables.reading(tables.Source(uri="s3://bucket/table.parquet")):
        raise error


def test_a_store_that_does_not_answer_is_unavailable(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(Unavailable, match=r"the store of s3://data/t\.parquet does not answer"):
        data.read(job("s3://data/t.parquet"))
