"""The definitions: current, structural, bounded; and what the transform refuses."""

import runpy
from pathlib import Path
from typing import Any

import pytest
import yaml
from linnet.api import schema
from linnet.api.shared import Json, Model, Resource

ROOT = Path(__file__).resolve().parents[3]
KINDS = pytest.mark.parametrize("kind", schema.KINDS, ids=lambda kind: kind.KIND)


def test_generated_files_are_current() -> None:
    generate = runpy.run_path(str(ROOT / "dev/generate.py"))

    stale = [path for path, text in generate["files"]() if path.read_text("utf-8") != text]

    assert stale == [], "run `python dev/generate.py`"


@KINDS
def test_a_definition_is_structural_bounded_and_described(kind: type[Resource]) -> None:
    assert schema.violations(schema.root(kind)) == ()


@KINDS
def test_a_definition_is_small_enough_for_the_api_server(kind: type[Resource]) -> None:
    text = (ROOT / f"crds/linnet.dev_{kind.PLURAL}.yaml").read_text(encoding="utf-8")

    assert yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)) == schema.definition(kind)
    assert len(text) < 512 * 1024  # etcd takes 1.5 MiB, managed fields included


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"title": "A"}, "spec: keys without a structural form: title"),
        ({"properties": {"a": {"description": "A."}}}, "spec.a: no type"),
        ({"properties": {"a": {"type": "boolean"}}}, "spec.a: no description"),
        (
            {"properties": {"a": {"description": "A.", "type": "string"}}},
            "spec.a: a string without maxLength",
        ),
        (
            {"properties": {"a": {"description": "A.", "type": "array"}}},
            "spec.a: a list without maxItems or items",
        ),
        (
            {"additionalProperties": {"type": "boolean"}},
            "spec: a map without maxProperties",
        ),
        (
            {"additionalProperties": {"type": "boolean"}, "maxProperties": 1, "properties": {}},
            "spec: both fields and a map",
        ),
        (
            {"properties": {"a": {"description": "A.", "type": "number"}}},
            "spec.a: a number that is not an integer",
        ),
        (
            {"properties": {"a": {"description": "A.", "type": "boolean", "default": None}}},
            "spec.a: a default of null",
        ),
        ({"required": ["a"]}, "spec: required fields that do not exist"),
    ],
)
def test_the_linter_names_what_is_wrong(change: Json, problem: str) -> None:
    spec = {"description": "A spec.", "type": "object"} | change

    assert problem in schema.violations({"properties": {"spec": spec}})


class Node(Model):
    """Contains itself."""

    child: "Node | None" = None
    """Another."""


class Pair(Model):
    """Two values in a tuple."""

    values: tuple[int, int] = (1, 2)
    """The values."""


class Either(Model):
    """One of two types."""

    value: int | str = 0
    """The value."""


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (Node, "Node contains itself"),
        (Pair, "tuple of fixed length"),
        (Either, r"only `T \| None` has a structural form"),
    ],
)
def test_what_has_no_structural_form_is_refused(model: type[Model], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        schema.structural(model)


def test_computed_defaults_stay_out_of_the_definition() -> None:
    hold = _field("ModelDeployment", "strategy", "steps")["items"]["properties"]["hold"]

    assert "default" not in hold
    assert all("default" not in field for field in hold["properties"].values())
    assert hold["properties"]["maxDuration"]["description"] == (
        "Longest time that evidence is waited for. Default: `10m`; `30m` for shadow."
    )


def test_a_default_is_written_as_a_person_would() -> None:
    assert _field("ModelDeployment", "strategy", "steps")["default"] == [
        {"weight": 5},
        {"weight": 25},
        {"weight": 50},
        {"weight": 100},
    ]
    assert _field("ModelDeployment", "analysis", "metrics")["default"] == [
        {"name": "errors", "errorRate": {}}
    ]
    assert _field("ModelDeployment", "server")["default"] == {}


def test_the_immutability_of_a_training_job_is_not_in_the_embedded_copy() -> None:
    own = [message for path, message in schema.rules(_root("TrainingJob")) if path == "spec"]
    embedded = [
        message
        for path, message in schema.rules(_root("DriftPolicy"))
        if path == "spec.retrain.template.spec"
    ]

    assert [m for m in own if m not in embedded] == [
        "spec is immutable except `suspend`, `activeDeadlineSeconds` and "
        "`ttlSecondsAfterFinished`: create another TrainingJob",
        "data.window.until 'CheckWindowEnd' is for the template of a DriftPolicy; write a time",
    ]
    assert [m for m in embedded if m not in own] == []


def test_marks_for_the_reference_never_reach_a_definition() -> None:
    for kind in schema.KINDS:
        assert schema.MARK not in str(schema.definition(kind))


def _root(kind: str) -> Json:
    return schema.root(next(each for each in schema.KINDS if kind == each.KIND))


def _field(kind: str, *path: str) -> Any:
    field = _root(kind)["properties"]["spec"]
    for name in path:
        field = field["properties"][name]
    return field
