"""Signs of leakage: each is found where it was planted, and not where rows are honest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from linnet_trainer import leakage
from linnet_trainer.contract import Exit, GateReason
from linnet_trainer.data import Feature, Rows
from linnet_trainer.recipe import Axis
from linnet_trainer.split import Split

from trainer.world import World, make_table


def with_later_time(table: pd.DataFrame) -> pd.DataFrame:
    later = table["at"] + pd.to_timedelta(np.where(table["x"] > 0, 3600, -3600), unit="s")
    return table.assign(stops_time=later)


def with_epoch(table: pd.DataFrame) -> pd.DataFrame:
    seconds = (table["at"] - pd.Timestamp(0, tz="UTC")) / pd.Timedelta("1s")
    return table.assign(arrived=seconds + 1800 + 600 * table["x"])


def encoded(by: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table.assign(rate=table.groupby(by)["late"].transform("mean"))


PLANTED: list[tuple[str, Callable[[pd.DataFrame], pd.DataFrame], str]] = [
    (
        "a copy of the target in other words",
        lambda table: table.assign(outcome=table["late"].map({True: "refund", False: "none"})),
        "'outcome' alone gives the target away (AUC 1.000)",
    ),
    (
        "a number that is there only for one class",
        lambda table: table.assign(fee=table["x"].where(table["late"])),
        "'fee' alone gives the target away (AUC 1.000)",
    ),
    (
        "the target's mean per plane over all rows",
        encoded("plane"),
        "'rate' is the target's own mean per category, taken over all rows: encode inside the "
        "folds",
    ),
    (
        "a column whose own time lies after the event",
        with_later_time,
        "'stops' was known only after the event in ",
    ),
    (
        "a number that is a later time",
        with_epoch,
        "'arrived' is a time (s since 1970) that lies after the event in 1",
    ),
]


@pytest.mark.parametrize(
    ("plant", "told"), [each[1:] for each in PLANTED], ids=[each[0] for each in PLANTED]
)
def test_a_planted_leak_refuses_and_is_named(
    world: World, flights: pd.DataFrame, plant: Callable[[pd.DataFrame], pd.DataFrame], told: str
) -> None:
    code, result = world.run(world.write(plant(flights)))

    gate = next(gate for gate in result.gates if gate.name == "Leakage")
    assert (code, gate.passed, gate.reason) == (Exit.RESULT, False, GateReason.CHECK_FAILED)
    assert told in gate.message
    assert result.message.startswith("check 'Leakage' refused: '")
    assert result.version == ""
    assert all(gate.name != "Reproducible" for gate in result.gates), "nothing is fitted in vain"


def test_a_leak_is_let_go_with_a_reason_that_run_and_card_repeat(
    world: World, flights: pd.DataFrame
) -> None:
    table = flights.assign(outcome=flights["late"].map({True: "refund", False: "none"}))
    reason = "the refund is decided before departure"
    _, result = world.run(world.write(table), {"waivers": [{"check": "Leakage", "reason": reason}]})

    gate = next(gate for gate in result.gates if gate.name == "Leakage")
    assert (gate.passed, gate.reason, result.version) == (True, GateReason.WAIVED, "1")
    assert gate.message.startswith(f"waived ({reason}): 'outcome' alone gives the target away")
    run = world.client.get_run(result.run_id)
    assert run.data.params["waiver.Leakage"] == reason
    assert f"check 'Leakage' waived ({reason})" in result.message


def test_the_honest_table_has_no_sign_and_says_the_nearest_column(
    world: World, flights: pd.DataFrame
) -> None:
    _, result = world.run(world.write(flights))

    gate = next(gate for gate in result.gates if gate.name == "Leakage")
    assert (gate.passed, gate.reason, gate.n) == (True, GateReason.CHECK_PASSED, 5)
    assert "most: 'wind', 0.7" in gate.message


def rates(seed: int, *, categories: int, rows: int) -> tuple[Any, Any, Any]:
    """Classes, a category per row, and each category's true rate."""
    random = np.random.default_rng(seed)
    truth = random.uniform(0.1, 0.6, categories)
    category = random.integers(0, categories, rows)
    return (random.random(rows) < truth[category]).astype(int), category, truth


@pytest.mark.parametrize("smoothing", [0, 5, 20])
@pytest.mark.parametrize("categories", [12, 100])
def test_means_of_these_very_labels_are_recognised_smoothed_or_not(
    categories: int, smoothing: int
) -> None:
    y, category, _ = rates(1, categories=categories, rows=20_000)
    counts = np.bincount(category)
    sums = np.bincount(category, weights=y)
    means = (sums + smoothing * y.mean()) / (counts + smoothing)

    assert leakage.is_encoded(means[category], y)


def test_honest_rates_are_almost_never_taken_for_these_labels() -> None:
    taken = 0
    for seed in range(300):
        y, category, truth = rates(seed, categories=12, rows=20_000)
        taken += leakage.is_encoded(truth[category], y)

    assert taken == 0


def test_means_of_these_very_numbers_are_recognised_and_honest_ones_are_not() -> None:
    taken = 0
    for seed in range(100):
        random = np.random.default_rng(seed)
        truth, spread = random.normal(size=40), random.uniform(0.1, 3, 40)
        category = random.integers(0, 40, 4000)
        y = truth[category] + spread[category] * random.standard_t(5, size=4000)
        means = np.bincount(category, weights=y) / np.bincount(category)
        assert leakage.is_encoded(means[category], y)
        taken += leakage.is_encoded(truth[category], y)

    assert taken == 0


def signs_of(table: pd.DataFrame, target: Any) -> leakage.Signs:
    features = tuple(Feature(name=name, type="double", source="double") for name in table)
    hashes = np.arange(len(table), dtype=np.uint64)
    rows = Rows(frame=table, hashes=hashes, names=tuple(table), types={}, files=1)
    positions = np.arange(len(table))
    held = Split(
        training=positions[:-100],
        holdout=positions[-100:],
        by=Axis.RANDOM,
        start=None,
        trained_until=None,
        fraction=0.25,
    )
    return leakage.look_for(rows, table, features, target, held, times=None, seed=0)


def test_a_number_that_is_given_away_is_named_by_its_r2() -> None:
    random = np.random.default_rng(0)
    y = random.normal(size=3000)
    table = pd.DataFrame({"honest": y + random.normal(size=3000), "told": 2 * y + 1})

    assert signs_of(table, y).sentences == (
        f"'told' alone gives the target away (R² {signs_of(table, y).alone['told']:.3f})",
    )


def test_a_class_too_rare_for_a_sample_is_looked_at_and_one_of_two_rows_is_left_out() -> None:
    random = np.random.default_rng(0)
    target = np.zeros(60_000, dtype=np.int64)
    target[random.choice(59_000, 40, replace=False)] = 1
    table = pd.DataFrame({"told": target + random.normal(scale=0.01, size=60_000)})
    target[[7, 70]] = 2

    assert len(signs_of(table, target).sentences) == 1


def test_means_of_other_folds_are_honest() -> None:
    y, category, _ = rates(3, categories=40, rows=20_000)
    fold = np.arange(len(y)) % 5
    values = np.empty(len(y))
    for each in range(5):
        other = fold != each
        sums = np.bincount(category[other], weights=y[other], minlength=40)
        means = sums / np.bincount(category[other], minlength=40)
        values[fold == each] = means[category[fold == each]]

    assert not leakage.is_encoded(values, y)


def test_columns_of_few_values_or_of_one_row_each_cannot_be_told_encoded() -> None:
    y = make_table()["late"].to_numpy().astype(int)

    assert not leakage.is_encoded(np.arange(len(y)) % 7.0, y)
    assert not leakage.is_encoded(np.random.default_rng(0).normal(size=len(y)), y)


def test_a_row_on_both_sides_is_a_sign() -> None:
    """No splitter of ours makes such a split; the check does not rely on that."""
    table = make_table(days=20)
    features = (Feature(name="x", type="double", source="double"),)
    hashes = np.arange(len(table), dtype=np.uint64)
    hashes[-3:] = hashes[:3]
    rows = Rows(frame=table, hashes=hashes, names=("x",), types={"x": "double"}, files=1)
    positions = np.arange(len(table))
    held = Split(
        training=positions[:300],
        holdout=positions[300:],
        by=Axis.RANDOM,
        start=None,
        trained_until=None,
        fraction=0.25,
    )
    signs = leakage.look_for(
        rows,
        table[["x"]],
        features,
        table["late"].to_numpy().astype(int),
        held,
        times=None,
        seed=0,
    )

    assert signs.sentences == ("3 rows of the holdout equal training rows in all columns",)
    assert signs.copies == 3
