"""A real Feast repository: features as of each row's time, told, and refused if they changed."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from linnet_trainer import data
from linnet_trainer.contract import Exit, GateReason, Reason
from linnet_trainer.errors import Refusal

from trainer import feasting
from trainer.test_recipe import parse
from trainer.world import World

NAMES = ["wind", "gusts", "sky"]


@pytest.fixture(scope="module")
def table() -> pd.DataFrame:
    return feasting.weather()


@pytest.fixture(scope="module")
def flights(table: pd.DataFrame) -> pd.DataFrame:
    return feasting.entities(table)


@pytest.fixture(scope="module")
def repository(table: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> str:
    return feasting.make_repository(tmp_path_factory.mktemp("feast"), table)


def asked(repository: str, entities: str, *, service: str = "delays_v1", **more: Any) -> Any:
    feast = {"repoUri": repository, "featureService": service, "entities": {"uri": entities}}
    return {"data": {"table": None, "feast": feast, **more}}


def read(repository: str, entities: str, **more: Any) -> data.Rows:
    return data.read(parse(asked(repository, entities, **more)))


def test_every_row_has_what_was_known_at_its_time(
    world: World, table: pd.DataFrame, flights: pd.DataFrame, repository: str
) -> None:
    # In no order, twice the same row, an airport that nobody observes.
    strange = flights.head(1).assign(airport="SFO")
    rows = pd.concat([flights, flights.head(3), strange]).sample(frac=1, random_state=1)
    rows = rows.reset_index(drop=True)
    found = read(repository, world.write(rows))

    expected = feasting.as_of(rows, table)
    assert found.frame["airport"].tolist() == rows["airport"].tolist()
    pd.testing.assert_frame_equal(
        found.frame[NAMES].astype({"gusts": "float64"}).fillna({"sky": "unknown"}),
        expected.fillna({"sky": "unknown"}),
        check_dtype=False,
    )
    assert found.frame["gusts"].dtype == pd.Int64Dtype()
    assert found.frame["wind"].isna().sum() == expected["wind"].isna().sum() > 0
    assert found.types["wind"] == "Float64 of weather"


def test_a_window_and_many_batches_give_the_same_rows(
    world: World,
    flights: pd.DataFrame,
    repository: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    uri = world.write(flights)
    window = {"from": "2026-01-10T00:00:00Z", "until": "2026-02-10T00:00:00Z"}
    whole = read(repository, uri, window=window)
    monkeypatch.setattr("linnet_trainer.tables.BATCH_ROWS", 100)
    parts = read(repository, uri, window=window)

    assert len(whole) == flights["at"].between("2026-01-10", "2026-02-10", "left").sum()
    pd.testing.assert_frame_equal(whole.frame, parts.frame)
    assert whole.hashes.tolist() == parts.hashes.tolist()


def test_values_have_the_declared_type_as_an_online_store_has(
    world: World, table: pd.DataFrame, flights: pd.DataFrame, tmp_path: Path
) -> None:
    from feast.types import Float32

    repository = feasting.make_repository(tmp_path / "repo", table, wind=Float32)
    found = read(repository, world.write(flights))

    expected = feasting.as_of(flights, table)["wind"].astype("float32")
    assert found.frame["wind"].dtype == "float32"
    assert found.frame["wind"].equals(expected)


def test_views_without_a_ttl_and_with_keys_of_other_names_are_joined_beside_each_other(
    world: World,
    table: pd.DataFrame,
    flights: pd.DataFrame,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("linnet_trainer.feature_store.ROWS_WITHOUT_TTL", 500)
    folder = tmp_path / "repo"
    repository = feasting.make_repository(folder, table)
    planes = pd.DataFrame(
        {"plane": [1, 2, 3], "since": feasting.START, "age": [4, None, 20], "tags": [["a"]] * 3}
    )
    feasting.add_planes(folder, planes)
    rows = flights.assign(plane_number=flights.index % 4)
    found = read(repository, world.write(rows), service="both_v1")

    ages = rows["plane_number"].map({1: 4.0, 3: 20.0})
    assert found.frame["age"].astype("float64").equals(ages)
    assert found.frame["wind"].equals(feasting.as_of(flights, table)["wind"])
    assert found.ignored == ("tags",)
    assert found.features is not None
    assert found.features.found == {"weather": 1.0, "planes": 0.5}
    assert found.features.keys == ["airport", "plane_number"]


def test_a_training_tells_where_its_features_come_from(
    world: World, flights: pd.DataFrame, repository: str
) -> None:
    code, result = world.run("", asked(repository, world.write(flights)))

    assert (code, result.version) == (Exit.RESULT, "1"), result.message
    run = world.client.get_run(result.run_id)
    assert run.data.params["data.feast.featureService"] == "delays_v1"
    assert run.data.tags["feast.project"] == "flights"
    assert run.data.tags["feast.feature_views"] == "weather"
    assert run.data.tags["feast.feature_refs"] == "weather:wind,weather:gusts,weather:sky"
    told = json.loads(artifact(world, result.run_id, "feast_features.json"))
    assert told["views"][0]["features"][0] == {
        "name": "wind", "type": "Float64", "description": "the wind"
    }  # fmt: skip
    assert told["views"][0]["ttlSeconds"] == 10800
    tags = world.client.get_model_version("delays", "1").tags
    assert tags["linnet.dev/feature-service"] == "delays_v1"
    assert tags["linnet.dev/feature-set-sha256"] == told["sha256"]
    card = artifact(world, result.run_id, "model-card.md")
    assert (
        f"| Feature store | yes: Feast, project `flights` of `{repository}`, feature service "
        "`delays_v1`: for late flights; views `weather` (3 features)" in card
    )
    assert (
        "yes: features are joined as they were known at `at` (`weather`: ttl 3:00:00, known from "
        "`published` on, found for 100.0% of the rows)" in card
    )
    assert "3 of 5 features are described in the feature store" in card
    assert "| wind | double | " in card
    assert "Float64 of weather | the wind |" in card


def artifact(world: World, run_id: str, path: str) -> str:
    return Path(world.client.download_artifacts(run_id, path)).read_text()


GATE = {
    "gates": [
        {"name": "good-enough", "metric": "roc_auc", "minimum": "0.60"},
        {"name": "same-features", "featureSet": {}},
    ]
}


def test_a_service_that_changed_under_its_name_is_refused(
    world: World, table: pd.DataFrame, flights: pd.DataFrame, tmp_path: Path
) -> None:
    folder = tmp_path / "repo"
    repository = feasting.make_repository(folder, table)
    uri = world.write(flights)
    spec = asked(repository, uri) | GATE
    _, first = world.run("", spec, job="first")
    assert first.gates[1].reason is GateReason.NO_CHAMPION
    world.crown(first.version)

    _, again = world.run("", spec, job="again")
    assert again.gates[1].message == (
        "feature service 'delays_v1' is what version 1 was trained on"
    )

    feasting.apply(folder, ttl=timedelta(hours=1), columns=("wind", "gusts"))
    _, changed = world.run("", spec, job="changed")
    assert (changed.reason, changed.version) == (Reason.GATE_REFUSED, "")
    assert changed.gates[1].message == (
        "feature service 'delays_v1' changed under its name since version 1: `ttlSeconds` of view "
        "'weather' is 3600.0, was 10800.0; feature 'weather:sky' is gone. Give the changed set a "
        "name of its own and use that in `data.feast.featureService`"
    )

    feasting.apply(folder, ttl=timedelta(hours=1), service="delays_v2")
    _, renamed = world.run("", asked(repository, uri, service="delays_v2") | GATE, job="v2")
    assert renamed.gates[1].message == (
        "'delays_v2' is another set: version 1 used the feature service 'delays_v1'"
    )
    assert renamed.version == "3"


def without(column: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda flights: flights.drop(columns=column)


BAD: dict[str, tuple[dict[str, Any], Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "no repository": (
        {"repository": "file:///nowhere"},
        without("x"),
        "data.feast.repoUri: file:///nowhere/feature_store.yaml does not exist",
    ),
    "no service": (
        {"service": "delays_v9"},
        without("x"),
        "has no feature service 'delays_v9'; it has delays_v1",
    ),
    "no key": (
        {},
        without("airport"),
        "has no column 'airport', which names the entity of feature view 'weather'. Columns: at, x",
    ),
    "no time": (
        {},
        without("at"),
        "`data.timestamp` names 'at', which is no column of",
    ),
    "a row without a time": (
        {},
        lambda flights: flights.assign(at=flights["at"].where(flights.index != 5)),
        "`data.timestamp`: 1 of 1200 rows have no value in 'at', and features are looked up as of "
        "that time: leave those rows out of the entity table",
    ),
    "keys that nobody knows": (
        {},
        lambda flights: flights.assign(airport="SFO"),
        "`data.feast.featureService`: none of 1200 rows found a value in feature view 'weather': "
        "either no entity ('airport') is known to",
    ),
    "times without values": (
        {},
        lambda flights: flights.assign(at=flights["at"] + pd.Timedelta("365d")),
        "or every value is older than its ttl of 3:00:00. Compare the keys and times",
    ),
    "keys of another type": (
        {},
        lambda flights: flights.assign(airport=range(len(flights))),
        "`data.feast.featureService`: ",
    ),
    "a column that is a feature too": (
        {},
        lambda flights: flights.assign(wind=1.0),
        "has the column 'wind', which is a feature of 'delays_v1' too: rename it",
    ),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_what_does_not_fit_is_refused_with_what_to_do(
    case: tuple[dict[str, Any], Callable[[pd.DataFrame], pd.DataFrame], str],
    world: World,
    flights: pd.DataFrame,
    repository: str,
) -> None:
    changes, make, told = case
    spec = asked(
        changes.get("repository", repository),
        world.write(make(flights)),
        service=changes.get("service", "delays_v1"),
    )
    with pytest.raises(Refusal) as caught:
        data.read(parse(spec))

    assert caught.value.reason is Reason.INVALID_DATA
    assert told in caught.value.message


def test_the_store_that_feast_takes_by_default_gives_the_same_values(
    world: World, table: pd.DataFrame, flights: pd.DataFrame, tmp_path: Path
) -> None:
    repository = feasting.make_repository(tmp_path / "repo", table, offline="dask")
    rows = pd.concat([flights, flights.head(2).assign(airport="SFO")], ignore_index=True)
    found = read(repository, world.write(rows))

    assert found.frame["wind"].equals(feasting.as_of(rows, table)["wind"])


def test_a_store_that_loses_rows_is_refused(
    world: World, flights: pd.DataFrame, repository: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from feast import FeatureStore

    def fewer(store: Any, entity_df: pd.DataFrame, **asked: Any) -> Any:
        return real(store, entity_df=entity_df.iloc[2:], **asked)

    real = FeatureStore.get_historical_features
    monkeypatch.setattr(FeatureStore, "get_historical_features", fewer)
    with pytest.raises(Refusal, match=r"the offline store 'duckdb' lost 2 of 1200 rows"):
        read(repository, world.write(flights))


def test_a_join_without_enough_memory_says_what_helps(
    world: World,
    flights: pd.DataFrame,
    repository: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    limit = tmp_path / "memory.max"
    limit.write_text(str(2 * 2**20))
    monkeypatch.setattr("linnet_trainer.feature_store._MEMORY", limit)
    with pytest.raises(Refusal, match=r"more memory \(`template\.resources`\) or the views a ttl"):
        read(repository, world.write(flights))


def test_gate_and_source_need_what_they_ask_for() -> None:
    feast = asked("file:///r", "file:///e.parquet")
    with pytest.raises(Refusal, match=r"`data\.feast` needs `data\.timestamp`"):
        parse(asked("file:///r", "file:///e.parquet", timestamp=None))
    with pytest.raises(Refusal, match=r"`featureSet` needs `data\.feast`"):
        parse(GATE)
    assert parse(feast | GATE).gates[1].feature_set
