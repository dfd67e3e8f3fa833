"""The data dictionary: what it holds, which columns must stand in it, and what it gives away."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from linnet_trainer import dictionary
from linnet_trainer.contract import Exit, GateReason, Reason
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import GateSpec

from trainer.world import World

COLUMNS = ["at", "late", "x", "wind", "stops", "carrier", "plane"]
SPEC = GateSpec(name="every-column", documented=True)


def described(*names: str, **later: str) -> pd.DataFrame:
    """A dictionary of these columns; `later` says when some are known."""
    return pd.DataFrame(
        {
            "column": names,
            "description": [f"what {name} is" for name in names],
            "known": [later.get(name, "") for name in names],
        }
    )


def asked(uri: str, *, gate: bool = True) -> dict[str, Any]:
    gates: list[Any] = [{"name": "good-enough", "metric": "roc_auc", "minimum": "0.60"}]
    more = [{"name": "every-column", "documented": {}}] if gate else []
    return {"data": {"dictionary": {"uri": uri}}, "gates": gates + more}


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_dictionary_is_read_from_either_format(world: World, suffix: str) -> None:
    table = described("x", "wind", "late", late="AfterEvent", x="BeforeEvent")
    table.loc[1, "description"] = None
    found = dictionary.read(world.write(table, f"dictionary.{suffix}"))

    assert found.descriptions == {"x": "what x is", "late": "what late is"}
    assert found.later == {"late"}


def test_without_the_column_known_everything_is_known_before(world: World) -> None:
    uri = world.write(described("x").drop(columns="known"), "dictionary.csv")

    assert dictionary.read(uri).later == frozenset()


BAD: dict[str, tuple[pd.DataFrame, str]] = {
    "another table": (
        pd.DataFrame({"name": ["x"], "description": ["y"]}),
        "has no column 'column'; a dictionary has 'column', 'description' and, if need be, "
        "'known'. Columns: name, description",
    ),
    "a column twice": (described("x", "x"), "has 'x' twice: a column has one row"),
    "a word that is none": (
        described("x", x="Later"),
        "says 'Later' in the column 'known' of 'x': write BeforeEvent or AfterEvent",
    ),
    "the data itself": (
        described(*(f"c{number}" for number in range(10_001))),
        "has more than 10000 rows: a dictionary has one per column",
    ),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_what_is_no_dictionary_is_refused_by_its_field(
    case: tuple[pd.DataFrame, str], world: World
) -> None:
    table, told = case
    uri = world.write(table, "dictionary.csv")
    with pytest.raises(Refusal) as caught:
        dictionary.read(uri)

    assert caught.value.reason is Reason.INVALID_DATA
    assert caught.value.message == f"`data.dictionary.uri`: {uri} {told}"


def test_the_gate_names_the_columns_without_a_description() -> None:
    found = dictionary.Dictionary(uri="s3://d.csv", descriptions={"x": "of x"})

    assert dictionary.judge(SPEC, found, ["x"]).gate.message == (
        "all 1 columns in use are described in s3://d.csv"
    )
    gate = dictionary.judge(SPEC, found, ["x", "wind", "late"]).gate
    assert (gate.passed, gate.reason, gate.value, gate.n) == (
        False,
        GateReason.CHECK_FAILED,
        "2",
        3,
    )
    assert gate.message == (
        "2 of 3 columns in use have no description in s3://d.csv: late, wind. Describe them, or "
        "take them out (`pipeline.columns`)"
    )


def test_a_job_keeps_the_dictionary_and_its_card_has_the_descriptions(
    world: World, flights: pd.DataFrame
) -> None:
    uri = world.write(described(*COLUMNS, "unused", late="AfterEvent"), "dictionary.csv")
    _, result = world.run(world.write(flights), asked(uri))

    assert result.version == "1", result.message
    assert result.gates[1].message == f"all 7 columns in use are described in {uri}"
    kept = json.loads(
        Path(world.client.download_artifacts(result.run_id, "dictionary.json")).read_text()
    )
    assert kept["knownAfterEvent"] == ["late"]
    card = Path(world.client.download_artifacts(result.run_id, "model-card.md")).read_text()
    assert "| x | double | no | double | what x is |" in card
    assert "5 of 5 features are described in the data dictionary" in card


def test_a_column_that_is_missing_in_the_dictionary_refuses_unless_it_is_dropped(
    world: World, flights: pd.DataFrame
) -> None:
    uri = world.write(described(*COLUMNS[:-1]), "dictionary.csv")
    table = world.write(flights)
    code, refused = world.run(table, asked(uri), job="all")
    assert (code, refused.reason, refused.version) == (Exit.RESULT, Reason.GATE_REFUSED, "")
    assert f"1 of 7 columns in use have no description in {uri}: plane" in refused.message

    dropped = {**asked(uri), "pipeline": {"columns": {"drop": ["plane"]}}}
    assert world.run(table, dropped, job="dropped")[1].version == "1"


def test_a_feature_that_is_known_only_after_the_event_is_a_leak_whatever_the_gates(
    world: World, flights: pd.DataFrame
) -> None:
    uri = world.write(described("wind", "late", wind="AfterEvent", late="AfterEvent"), "d.csv")
    _, result = world.run(world.write(flights), asked(uri, gate=False))

    leak = next(gate for gate in result.gates if gate.name == "Leakage")
    assert leak.message.startswith(
        "'wind' is known only after the event, says the data dictionary. Take it out"
    )
    assert result.version == ""


def test_a_gate_without_a_dictionary_says_what_it_needs(
    world: World, flights: pd.DataFrame
) -> None:
    spec = {"gates": [{"name": "every-column", "documented": {}}]}
    code, result = world.run(world.write(flights), spec)

    assert code is Exit.ERROR
    assert result.message == (
        "gates 'every-column': `documented` needs `data.dictionary`: say where it lies"
    )
