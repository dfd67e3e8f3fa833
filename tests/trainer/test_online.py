"""Features while serving: a real Feast repository with an online store, beside its offline one."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from linnet_trainer import data, online
from linnet_trainer.contract import ENV_FEATURES, ENV_TERMINATION_LOG, FeaturesExit
from linnet_trainer.errors import Refusal
from linnet_trainer.online import Away, Features, Unfit
from linnet_trainer.recipe import FeastSource

from trainer import feasting
from trainer.test_feature_store import asked
from trainer.test_recipe import parse
from trainer.world import World

NAMES = ["wind", "gusts", "sky"]
KEYS = (*feasting.AIRPORTS, "SFO")
MOMENTS = [feasting.START + pd.Timedelta(text) for text in ("49h", "52h55m", "55h10m", "9d")]
"""Beside others: just after a value became known, and after one airport fell silent."""


def weather() -> pd.DataFrame:
    """Ten days of it; one airport is silent from the third day on."""
    table = feasting.weather(days=10)
    silent = (table["airport"] == "LGA") & (table["observed"] > feasting.START + timedelta(days=2))
    return table[~silent].reset_index(drop=True)


def source(repository: str, service: str = "delays_v1") -> FeastSource:
    return FeastSource(repo=repository, service=service, field=online.FIELD)


def materialize(folder: Path, moment: pd.Timestamp) -> None:
    """What a team's job does every few minutes; it sees what is known by then."""
    store = feasting.apply(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store.materialize(feasting.START.to_pydatetime(), moment.to_pydatetime())


def as_trained(world: World, repository: str, moment: pd.Timestamp) -> pd.DataFrame:
    """The features that a training joins to one row of each airport at a moment."""
    rows = pd.DataFrame({"at": moment, "airport": list(KEYS), "x": 0.0, "late": [True, False] * 2})
    return data.read(parse(asked(repository, world.write(rows)))).frame[NAMES]


def without_missing(values: Sequence[Any]) -> list[Any]:
    return [None if pd.isna(value) else value for value in values]


@pytest.mark.parametrize("moment", MOMENTS)
def test_what_is_served_is_what_a_training_joins_to_a_row_of_this_moment(
    world: World, tmp_path: Path, moment: pd.Timestamp
) -> None:
    table = weather()
    repository = feasting.make_repository(tmp_path / "feast", table)
    trained = as_trained(world, repository, moment)

    known = table[table["published"] <= moment]
    feasting.write(known, tmp_path / "feast" / "weather.parquet")
    materialize(tmp_path / "feast", moment)
    features = online.open_features(source(repository), keys=["airport"])
    served = Features(store=features.store, now=moment.timestamp).read({"airport": KEYS})

    assert served == {name: without_missing(trained[name]) for name in NAMES}
    assert served["wind"][KEYS.index("SFO")] is None
    assert served["wind"][KEYS.index("EWR")] is not None
    assert {type(value) for value in served["gusts"] if value is not None} == {int}
    silent = moment > feasting.START + timedelta(days=2) + feasting.TTL
    assert (served["wind"][KEYS.index("LGA")] is None) == silent


def test_a_null_names_nobody_and_another_type_is_refused(tmp_path: Path) -> None:
    repository = feasting.make_repository(tmp_path / "feast", weather())
    materialize(tmp_path / "feast", MOMENTS[0])
    features = online.open_features(source(repository), keys=["airport"])
    features = Features(store=features.store, now=MOMENTS[0].timestamp)
    read = features.read({"airport": [None, "EWR", None]})
    assert [value is None for value in read["wind"]] == [True, False, True]
    assert features.read({"airport": [None]})["wind"] == [None]
    with pytest.raises(Unfit, match="column 'airport' names an entity and must hold string"):
        features.read({"airport": ["EWR", 7]})


def test_a_store_that_does_not_answer_is_told_by_its_view(tmp_path: Path) -> None:
    repository = feasting.make_repository(tmp_path / "feast", weather())
    features = online.open_features(source(repository), keys=["airport"])
    (tmp_path / "feast" / "online.db").write_bytes(b"this is no database, however long it is" * 99)
    with pytest.raises(Away, match="the online store of feature view 'weather' does not answer"):
        features.read({"airport": ["EWR"]})


@pytest.mark.parametrize(
    ("keys", "service", "said"),
    [
        (["origin"], "delays_v1", "`features.feast.entityKeys` must be airport: these name"),
        (["airport"], "delays_v9", "`features.feast.featureService`: .*no feature service"),
    ],
)
def test_what_does_not_fit_names_the_field(
    tmp_path: Path, keys: list[str], service: str, said: str
) -> None:
    repository = feasting.make_repository(tmp_path / "feast", weather())
    with pytest.raises(Refusal, match=said):
        online.open_features(source(repository, service), keys=keys)


def test_a_repository_that_is_missing_ends_the_process_for_good(tmp_path: Path) -> None:
    log = tmp_path / "message"
    told = (
        f'{{"repoUri": "file://{tmp_path}/none", "featureService": "s", "entityKeys": ["k"], '
        '"port": 1, "timeoutSeconds": 1}'
    )
    environ = {ENV_FEATURES: told, ENV_TERMINATION_LOG: str(log)}
    assert online.main(environ) is FeaturesExit.INVALID
    assert log.read_text().startswith("features.feast.repoUri: ")


def test_views_with_keys_of_their_own_are_read_each_by_its_own(tmp_path: Path) -> None:
    folder, moment = tmp_path / "feast", MOMENTS[0]
    repository = feasting.make_repository(folder, weather())
    materialize(folder, moment)
    planes = pd.DataFrame({"plane": [7, 8], "age": [3, None], "since": feasting.START})
    feasting.add_planes(folder, planes.astype({"age": "Int64"}).assign(tags=[["a"], ["b"]]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from feast import FeatureStore

        FeatureStore(repo_path=str(folder)).materialize(
            feasting.START.to_pydatetime() - timedelta(days=1), moment.to_pydatetime()
        )
    features = online.open_features(source(repository, "both_v1"), keys=["airport", "plane_number"])
    features = Features(store=features.store, now=moment.timestamp)
    read: dict[str, Any] = features.read(
        {"airport": ["EWR", None, "JFK"], "plane_number": [7, 8, None]}
    )
    assert [value is None for value in read["wind"]] == [False, True, False]
    assert read["age"] == [3, None, None]
    assert "tags" not in read, "no training reads lists"
    with pytest.raises(Unfit, match="column 'plane_number' names an entity and must hold int64"):
        features.read({"airport": ["EWR"], "plane_number": ["seven"]})
