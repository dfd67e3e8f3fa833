"""Standing checks and limits: real jobs that pass them, are refused by them, or waive them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from linnet_trainer import checks, contract, examination
from linnet_trainer.contract import Gate, GateReason, Outcome, Result
from linnet_trainer.recipe import GateSpec

from trainer.world import World


def gate_of(result: Result, name: str) -> Gate:
    return next(gate for gate in result.gates if gate.name == name)


def numbers(world: World, result: Result, name: str) -> Any:
    path = world.client.download_artifacts(result.run_id, "gates.json")
    findings = json.loads(Path(path).read_text())
    return next(each["numbers"] for each in findings if each["name"] == name)


def rare(table: pd.DataFrame) -> pd.DataFrame:
    """About one late row in ten."""
    return table.assign(late=table["late"] & (np.arange(len(table)) % 4 == 0))


def test_every_job_is_checked_and_says_so_after_its_own_gates(
    world: World, flights: pd.DataFrame
) -> None:
    _, result = world.run(world.write(flights))

    assert [(gate.name, gate.passed, str(gate.reason)) for gate in result.gates] == [
        ("good-enough", True, "AtLeastMinimum"),
        ("Leakage", True, "CheckPassed"),
        ("Imbalance", True, "CheckPassed"),
        ("ValidationSet", True, "CheckPassed"),
        ("Schema", True, "CheckPassed"),
        ("Reproducible", True, "CheckPassed"),
    ]
    again = numbers(world, result, "Reproducible")
    assert again["sameContent"]
    assert again["seconds"] > 0
    assert "the same fitted values; it took " in gate_of(result, "Reproducible").message
    run = world.client.get_run(result.run_id)
    assert run.data.metrics["gate_Leakage"] == pytest.approx(
        max(numbers(world, result, "Leakage")["alone"].values()), abs=1e-4
    )


def test_a_gate_that_a_constant_answer_passes_is_no_gate_where_a_class_is_rare(
    world: World, flights: pd.DataFrame
) -> None:
    uri = world.write(rare(flights))
    blind = {"gates": [{"name": "good", "metric": "accuracy", "minimum": "0.80"}]}
    _, refused = world.run(uri, blind, job="blind")
    seeing = {"gates": [*blind["gates"], {"name": "r", "metric": "roc_auc", "minimum": "0.6"}]}
    _, passed = world.run(uri, seeing, job="seeing")
    waived = {**blind, "waivers": [{"check": "Imbalance", "reason": "costs are symmetric"}]}
    _, let_go = world.run(uri, waived, job="waived")

    gate = gate_of(refused, "Imbalance")
    assert (refused.outcome, gate.reason) == (Outcome.REFUSED, GateReason.CHECK_FAILED)
    assert "a model that always says False is not refused: it passes 'good' (accuracy 0." in (
        gate.message
    )
    assert passed.outcome is Outcome.PASSED
    assert "gate 'r' would refuse" in gate_of(passed, "Imbalance").message
    assert gate_of(let_go, "Imbalance").reason is GateReason.WAIVED


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        (
            {"validation": {"splitter": "KFold"}},
            "`validation.splitter: KFold` mixes rows that the holdout by Time keeps apart",
        ),
        (
            {"validation": {"holdout": {"by": "Random"}}},
            "`validation.holdout.by: Random` puts rows of one 'at' on both sides: use Time",
        ),
    ],
)
def test_a_validation_that_cannot_be_trusted_refuses(
    world: World, flights: pd.DataFrame, changes: dict[str, Any], told: str
) -> None:
    _, result = world.run(world.write(flights), changes)

    gate = gate_of(result, "ValidationSet")
    assert (gate.passed, gate.reason) == (False, GateReason.CHECK_FAILED)
    assert told in gate.message


def test_a_holdout_with_a_handful_of_one_class_refuses(world: World, flights: pd.DataFrame) -> None:
    late = flights["late"] & ((np.arange(len(flights)) < 900) | (np.arange(len(flights)) > 1185))
    _, result = world.run(world.write(flights.assign(late=late)))

    gate = gate_of(result, "ValidationSet")
    assert not gate.passed
    assert "rows of the rarer class and must have at least 10" in gate.message


def test_a_model_that_must_be_sent_more_than_the_champion_is_widened(
    world: World, flights: pd.DataFrame
) -> None:
    uri = world.write(flights)
    narrow = {"pipeline": {"columns": {"numeric": ["x"], "categorical": ["carrier"]}}}
    wide = {"pipeline": {"columns": {"numeric": ["x", "wind", "stops"]}}}
    _, first = world.run(uri, narrow, job="narrow")
    world.crown(first.version)
    _, refused = world.run(uri, wide, job="wide")
    allowed = {
        "gates": [
            {"name": "good-enough", "metric": "roc_auc", "minimum": "0.60"},
            {"name": "columns", "schema": {"allowNewColumns": ["stops"]}},
        ]
    }
    _, passed = world.run(uri, {**wide, **allowed}, job="allowed")

    gate = gate_of(refused, "Schema")
    assert (gate.passed, gate.reason) == (False, GateReason.WIDENED)
    assert "stops must be sent and have a value" in gate.message, "wind may be missing, carrier go"
    assert passed.outcome is Outcome.PASSED
    assert [gate.name for gate in passed.gates][:2] == ["good-enough", "columns"]
    assert "Schema" not in [gate.name for gate in passed.gates], "it stands under the gate's name"
    assert "new: wind, stops, no longer asked for: carrier" in gate_of(passed, "columns").message


COLUMN = {"name": "a", "type": "double", "nullable": False}
SCHEMAS: list[tuple[str, list[dict[str, Any]], list[dict[str, Any]], GateReason]] = [
    ("the same columns", [COLUMN], [COLUMN], GateReason.CHECK_PASSED),
    ("fewer columns", [], [COLUMN], GateReason.CHECK_PASSED),
    ("a newly optional column", [COLUMN | {"nullable": True}], [COLUMN], GateReason.CHECK_PASSED),
    ("a new optional column", [COLUMN | {"nullable": True}], [], GateReason.CHECK_PASSED),
    ("a new required column", [COLUMN], [], GateReason.WIDENED),
    ("a newly required column", [COLUMN], [COLUMN | {"nullable": True}], GateReason.WIDENED),
    ("another type", [COLUMN], [COLUMN | {"type": "string"}], GateReason.CHECK_FAILED),
]


@pytest.mark.parametrize(
    ("ours", "theirs", "reason"), [each[1:] for each in SCHEMAS], ids=[each[0] for each in SCHEMAS]
)
def test_columns_are_compared_by_who_would_be_refused(
    ours: list[dict[str, Any]], theirs: list[dict[str, Any]], reason: GateReason
) -> None:
    assert checks.schema(None, ours, theirs, "7").gate.reason is reason


def test_a_listed_column_may_be_new_but_not_of_another_type() -> None:
    spec = GateSpec(name="columns", new_columns=("a",))
    text = [COLUMN | {"type": "string"}]

    assert checks.schema(spec, [COLUMN], [], "7").gate.passed
    assert checks.schema(spec, [COLUMN], text, "7").gate.message.startswith(
        "types differ from version 7: a is double, was string; "
    )


def test_an_estimator_without_a_seed_is_not_reproducible_unless_waived(
    world: World, flights: pd.DataFrame
) -> None:
    uri = world.write(flights)
    forest = {
        "pipeline": {
            "estimator": {
                "class": "RandomForestClassifier",
                "parameters": {"random_state": None, "n_estimators": 5},
            }
        }
    }
    _, refused = world.run(uri, forest, job="chance")
    waived = {**forest, "waivers": [{"check": "Reproducible", "reason": "a trial of chance"}]}
    _, passed = world.run(uri, waived, job="waived")

    gate = gate_of(refused, "Reproducible")
    assert (gate.passed, gate.reason) == (False, GateReason.CHECK_FAILED)
    assert gate.message.startswith("two fits with the same data and seed differ: roc_auc 0.")
    assert gate_of(passed, "Reproducible").message == (
        "waived (a trial of chance): no second fit was made"
    )


def limit(name: str, **gate: Any) -> dict[str, Any]:
    return {
        "gates": [
            {"name": "good-enough", "metric": "roc_auc", "minimum": "0.60"},
            {"name": name, **gate},
        ]
    }


def test_a_model_that_knows_its_training_rows_by_heart_overfits(
    world: World, flights: pd.DataFrame
) -> None:
    gate = limit("by-heart", metric="roc_auc", overfit={"maxDrop": "0.05"})
    forest = {"pipeline": {"estimator": {"class": "RandomForestClassifier"}}}
    uri = world.write(flights)
    _, refused = world.run(uri, {**gate, **forest}, job="forest")
    _, passed = world.run(uri, gate, job="linear")

    found = gate_of(refused, "by-heart")
    told = numbers(world, refused, "by-heart")
    assert (found.passed, found.reason, found.bound) == (False, GateReason.ABOVE_LIMIT, "0.05")
    assert float(found.value) == pytest.approx(told["training"] - told["holdout"], abs=1e-4)
    assert told["training"] == pytest.approx(1.0, abs=1e-3)
    assert gate_of(passed, "by-heart").reason is GateReason.WITHIN_LIMIT


def test_a_model_that_serves_one_group_worse_is_refused_and_names_both(
    world: World, flights: pd.DataFrame
) -> None:
    random = np.random.default_rng(2)
    poor = flights["carrier"].eq("UA").to_numpy()
    table = flights.assign(
        late=np.where(poor, random.random(len(flights)) < 0.4, flights["late"]).astype(bool)
    )
    gate = limit("fair", metric="roc_auc", fairness={"column": "carrier", "maxDifference": "0.10"})
    without = {**gate, "pipeline": {"columns": {"numeric": ["x", "wind"]}}}
    _, result = world.run(world.write(table), without)

    found = gate_of(result, "fair")
    told = numbers(world, result, "fair")
    assert (found.passed, found.reason, found.n) == (False, GateReason.ABOVE_LIMIT, 3)
    assert min(told["scores"], key=lambda name: told["scores"][name]) == "UA"
    assert "for UA: 0." in found.message
    assert "not compared, too few rows: missing" in found.message


@pytest.mark.parametrize(
    ("column", "told"),
    [("carriers", "names 'carriers', which is no column of"), ("x", "240 different values")],
)
def test_a_column_that_cannot_be_compared_is_named(
    world: World, flights: pd.DataFrame, column: str, told: str
) -> None:
    gate = limit("fair", metric="roc_auc", fairness={"column": column, "maxDifference": "0.10"})
    _, result = world.run(world.write(flights), gate)

    assert result.outcome is not Outcome.PASSED
    assert told in result.message


def test_a_slow_and_a_large_model_are_refused_with_figures(
    world: World, flights: pd.DataFrame
) -> None:
    gates = [
        {"name": "good-enough", "metric": "roc_auc", "minimum": "0.60"},
        {"name": "fast", "latency": {"maximum": "1ms"}},
        {"name": "small", "size": {"maximum": "8Ki"}},
        {"name": "roomy", "size": {"maximum": "10Mi"}},
        {"name": "patient", "latency": {"maximum": "10s"}},
    ]
    forest = {"class": "RandomForestClassifier", "parameters": {"n_estimators": 50}}
    _, result = world.run(world.write(flights), {"gates": gates, "pipeline": {"estimator": forest}})

    assert [gate.passed for gate in result.gates[:5]] == [True, False, False, True, True]
    assert gate_of(result, "fast").value.endswith("ms")
    assert gate_of(result, "fast").message.startswith("one row takes ")
    sizes = numbers(world, result, "small")["bytes"]
    folder = Path(
        world.client.get_logged_model(result.model_id).artifact_location.removeprefix("file://")
    )
    assert int(gate_of(result, "small").value) == sum(sizes.values())
    assert sizes["model.skops"] == (folder / "model.skops").stat().st_size


def test_a_result_has_room_for_what_refused_before_what_passed() -> None:
    def finding(name: str, *, passed: bool) -> checks.Finding:
        reason = GateReason.AT_LEAST_MINIMUM if passed else GateReason.CHECK_FAILED
        return checks.Finding(gate=Gate(name=name, passed=passed, reason=reason))

    found = [finding(f"g{number}", passed=True) for number in range(16)]
    found += [finding("Leakage", passed=False), finding("Schema", passed=True)]
    kept = [gate.name for gate in examination.shown(found)]

    assert len(kept) == contract.GATES
    assert kept == [*(f"g{number}" for number in range(15)), "Leakage"]
