"""Splits: one axis keeps training and holdout apart, and copies of a row together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pandas as pd
import pytest
from linnet_trainer import data, recipe, split
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import Unit

from trainer.test_data import job

FOLDS = ["KFold", "StratifiedKFold", "GroupKFold", "StratifiedGroupKFold", "TimeSeriesSplit"]


def rows_of(frame: pd.DataFrame) -> data.Rows:
    return data.Rows(
        frame=frame,
        hashes=pd.util.hash_pandas_object(frame, index=False).to_numpy(),
        names=tuple(frame),
        types=dict.fromkeys(frame, ""),
        files=1,
    )


def spec(changes: dict[str, Any]) -> recipe.Recipe:
    return job("file:///t.parquet", {"data": {"groups": "plane"}, **changes})


def holding(holdout: dict[str, Any]) -> recipe.Recipe:
    return spec({"validation": {"holdout": holdout}})


def test_by_time_the_holdout_is_later_than_every_training_row(flights: pd.DataFrame) -> None:
    shuffled = flights.sample(frac=1, random_state=1, ignore_index=True)
    held = split.hold_out(rows_of(shuffled), holding({"by": "Time", "fraction": "0.3"}))
    times = shuffled["at"]

    assert times.iloc[held.training].is_monotonic_increasing
    assert times.iloc[held.training].max() < times.iloc[held.holdout].min()
    assert held.start == held.trained_until == datetime(2026, 2, 12, tzinfo=UTC)
    assert len(held.holdout) == 360, "18 whole days"


def test_a_period_is_the_end_of_the_window(flights: pd.DataFrame) -> None:
    given = spec(
        {
            "data": {"groups": "plane", "window": {"until": "2026-03-05T00:00:00Z"}},
            "validation": {"holdout": {"period": "240h"}},
        }
    )
    held = split.hold_out(rows_of(flights), given)

    assert held.start == datetime(2026, 2, 23, tzinfo=UTC)


def test_a_moment_is_never_on_both_sides() -> None:
    frame = pd.DataFrame(
        {
            "at": pd.to_datetime([0] * 50 + [1] * 50, unit="h", utc=True),
            "late": [True, False] * 50,
            "plane": range(100),
        }
    )
    held = split.hold_out(rows_of(frame), holding({"fraction": "0.2"}))

    assert len(held.holdout) == 50


def test_by_group_no_group_is_on_both_sides_and_the_choice_is_stable(flights: pd.DataFrame) -> None:
    given = holding({"by": "Group", "fraction": "0.3"})
    held = split.hold_out(rows_of(flights), given)
    planes = flights["plane"]
    chosen = set(planes.iloc[held.holdout])
    fewer = flights.drop(columns="wind").sample(frac=0.5, random_state=2, ignore_index=True)
    again = split.hold_out(rows_of(fewer), given)

    assert not chosen & set(planes.iloc[held.training])
    assert set(fewer["plane"].iloc[again.holdout]) <= chosen
    assert held.trained_until is not None
    assert held.trained_until > flights["at"].iloc[held.training].max().to_pydatetime()


def test_a_larger_share_holds_every_row_of_a_smaller_one(flights: pd.DataFrame) -> None:
    def chosen(fraction: str) -> set[int]:
        given = holding({"by": "Random", "fraction": fraction})
        return set(split.hold_out(rows_of(flights), given).holdout.tolist())

    assert chosen("0.1") < chosen("0.2") < chosen("0.5")
    assert 400 < len(chosen("0.4")) < 560, "of 1200"


def test_copies_of_a_row_stay_together_in_holdout_and_folds() -> None:
    random = np.random.default_rng(3)
    frame = pd.DataFrame(
        {
            "at": pd.Timestamp("2026-01-01", tz="UTC"),
            "late": random.random(400) < 0.5,
            "plane": random.integers(0, 60, 400).astype(str),
        }
    )
    rows = rows_of(frame)
    given = spec({"validation": {"splitter": "StratifiedKFold", "holdout": {"by": "Random"}}})
    held = split.hold_out(rows, given)
    codes = frame["late"].to_numpy(dtype=np.int64)[held.training]
    hashes = rows.hashes[held.training]

    assert split.count_copies(rows) > 250
    for training, test in split.fold(rows, held, codes, given):
        assert not np.isin(hashes[test], hashes[training]).any()


def test_copies_across_the_split_are_refused(flights: pd.DataFrame) -> None:
    rows = rows_of(pd.concat([flights, flights.iloc[:3]], ignore_index=True))
    held = split.hold_out(rows, holding({"by": "Time"}))
    leaking = replace(held, holdout=np.append(held.holdout, [1200, 1201]), training=np.arange(100))

    with pytest.raises(Refusal, match="2 of 242 rows of the holdout are copies of training rows"):
        split.require_apart(rows, leaking)


@pytest.mark.parametrize("splitter", FOLDS)
def test_folds_honour_their_axis_and_test_no_row_twice(
    flights: pd.DataFrame, splitter: str
) -> None:
    rows = rows_of(flights)
    given = spec({"validation": {"splitter": splitter, "folds": 4}})
    held = split.hold_out(rows, given)
    part = flights.iloc[held.training]
    codes = part["late"].to_numpy(dtype=np.int64)
    folds = split.fold(rows, held, codes, given)
    tested = np.concatenate([test for _, test in folds])

    assert len(folds) == 4
    assert len(tested) == len(set(tested))
    for training, test in folds:
        assert not set(training) & set(test)
        if splitter == "TimeSeriesSplit":
            assert part["at"].iloc[training].max() < part["at"].iloc[test].min()
        else:
            assert len(training) + len(test) == len(part)
        if "Group" in splitter:
            assert not set(part["plane"].iloc[training]) & set(part["plane"].iloc[test])
        if "Stratified" in splitter:
            assert codes[test].mean() == pytest.approx(codes.mean(), abs=0.06)


def test_a_fold_by_time_leaves_out_rows_of_the_moment_at_which_its_test_starts() -> None:
    frame = pd.DataFrame(
        {
            "at": pd.to_datetime(np.repeat(np.arange(10), 7), unit="h", utc=True),
            "late": [True, False] * 35,
            "plane": "N",
        }
    )
    rows = rows_of(frame)
    given = spec({"validation": {"folds": 3, "holdout": {"fraction": "0.1"}}})
    held = split.hold_out(rows, given)
    times = frame["at"].iloc[held.training]
    codes = frame["late"].to_numpy(dtype=np.int64)[held.training]
    for training, test in split.fold(rows, held, codes, given):
        assert times.iloc[training].max() < times.iloc[test].min()


@pytest.mark.parametrize("gap", ["30m", "24h"])
def test_a_gap_is_left_out_in_time_before_the_test_of_every_fold(
    flights: pd.DataFrame, gap: str
) -> None:
    rows, given = rows_of(flights), spec({"validation": {"folds": 4, "gap": gap}})
    held = split.hold_out(rows, given)
    times = flights["at"].iloc[held.training]
    codes = flights["late"].to_numpy(dtype=np.int64)[held.training]
    plain = split.fold(rows, held, codes, spec({"validation": {"folds": 4}}))
    folds = split.fold(rows, held, codes, given)

    for (training, test), (_, same) in zip(folds, plain, strict=True):
        assert times.iloc[training].max() < times.iloc[test].min() - pd.Timedelta(gap)
        assert test.tolist() == same.tolist(), "the gap is taken from the training rows"


def test_a_gap_that_leaves_no_row_to_train_on_is_refused(flights: pd.DataFrame) -> None:
    rows, given = rows_of(flights), spec({"validation": {"folds": 4, "gap": "2400h"}})
    held = split.hold_out(rows, given)
    with pytest.raises(Refusal, match="leaves no row to train on: shorten it"):
        split.fold(rows, held, np.arange(len(held.training)) % 2, given)


def purging(by: str) -> recipe.Recipe:
    return spec({"validation": {"holdout": {"by": by, "fraction": "0.2", "purgeGroups": True}}})


def test_purged_groups_lie_on_one_side_and_are_counted() -> None:
    frame = pd.DataFrame(
        {
            "at": pd.Timestamp("2026-01-01", tz="UTC") + pd.to_timedelta(range(240), unit="h"),
            "late": [True, False] * 120,
            "plane": [f"N{number // 13}" for number in range(240)],
        }
    )
    rows = rows_of(frame)
    held = split.hold_out(rows, purging("Time"))
    plain = split.hold_out(rows, holding({"by": "Time", "fraction": "0.2"}))
    planes = frame["plane"]

    assert not set(planes.iloc[held.training]) & set(planes.iloc[held.holdout])
    assert held.holdout.tolist() == plain.holdout.tolist()
    assert held.purged == len(plain.training) - len(held.training) > 0


def test_a_purge_that_takes_most_of_the_rows_is_refused(flights: pd.DataFrame) -> None:
    with pytest.raises(Refusal) as caught:
        split.hold_out(rows_of(flights), purging("Time"))

    assert "960 of 960 training rows are of groups that the holdout has, more than 20%" in (
        caught.value.message
    )


@pytest.mark.parametrize(("unit", "clusters"), [(Unit.DAY, 12), (Unit.GROUP, 40), (Unit.ROW, 240)])
def test_clusters_are_days_groups_or_rows_of_the_holdout(
    flights: pd.DataFrame, unit: Unit, clusters: int
) -> None:
    rows, given = rows_of(flights), spec({})
    found = split.cluster(rows, split.hold_out(rows, given), given.table, unit)

    assert len(found) == 240
    assert len(np.unique(found)) == clusters


def test_a_holdout_is_known_again_under_other_features_and_in_another_order(
    flights: pd.DataFrame,
) -> None:
    given = spec({})

    def identity(frame: pd.DataFrame) -> str:
        rows = rows_of(frame)
        return split.identify(rows, split.hold_out(rows, given), given.table)

    plain = identity(flights)
    assert identity(flights.drop(columns=["x", "wind"])) == plain
    assert identity(flights.sample(frac=1, random_state=4, ignore_index=True)) == plain
    assert identity(flights.iloc[:-1]) != plain


def test_a_holdout_of_everything_is_refused(flights: pd.DataFrame) -> None:
    with pytest.raises(Refusal) as caught:
        split.hold_out(rows_of(flights), holding({"period": "2400h"}))

    assert caught.value.message == (
        "`validation.holdout`: all rows of 1200 would be in the holdout (it starts at "
        "2025-11-22T00:00:00Z): change `holdout.period` or the window"
    )
