"""Reading `spec.json`: computed defaults, and what this version refuses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from linnet_trainer import recipe
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import Axis, Unit

from trainer.world import BASE, merge


def document(changes: dict[str, Any] | None = None) -> dict[str, Any]:
    spec = merge(merge(BASE, {"data": {"table": {"uri": "file:///t.parquet"}}}), changes or {})
    return {
        "v": 1,
        "specHash": "h",
        "namespace": "team",
        "name": "job",
        "jobUID": "u",
        "created": "2026-06-01T00:00:00Z",
        "spec": spec,
    }


def parse(changes: dict[str, Any] | None = None) -> recipe.Recipe:
    return recipe.parse(document(changes), environ={})


COMPARE = {"gates": [{"name": "g", "metric": "f1", "notWorseThan": "Champion"}]}


@pytest.mark.parametrize(
    ("data", "splitter", "axis", "unit"),
    [
        ({}, "TimeSeriesSplit", Axis.TIME, Unit.DAY),
        ({"groups": "plane"}, "TimeSeriesSplit", Axis.TIME, Unit.DAY),
        (
            {"groups": "plane", "timestamp": None},
            "StratifiedGroupKFold",
            Axis.GROUP,
            Unit.GROUP,
        ),
    ],
)
def test_time_comes_before_groups_in_every_computed_default(
    data: dict[str, Any], splitter: str, axis: Axis, unit: Unit
) -> None:
    found = parse({"data": data, **COMPARE})

    assert (found.validation.splitter, found.validation.by) == (splitter, axis)
    assert (found.gates[0].unit, found.gates[0].margin) == (unit, 0.02)
    assert found.chosen["validation.splitter"] == splitter
    assert found.chosen["experiment"] == found.experiment == "team/delays"


def test_without_time_and_groups_rows_are_drawn_and_the_unit_must_be_written_out() -> None:
    found = parse({"data": {"timestamp": None}})

    assert (found.validation.splitter, found.validation.by) == ("StratifiedKFold", Axis.RANDOM)
    with pytest.raises(Refusal, match="or `unit: Row` written out"):
        parse({"data": {"timestamp": None}, **COMPARE})


def test_a_regression_has_no_classes_to_stratify_by_and_no_margin_without_a_unit() -> None:
    rows = {"task": "Regression", "data": {"timestamp": None}}
    mae = {"metric": "neg_mean_absolute_error", "notWorseThan": "Champion", "unit": "Row"}

    assert parse(rows).validation.splitter == "KFold"
    assert parse({**rows, "data": {"timestamp": None, "groups": "p"}}).validation.splitter == (
        "GroupKFold"
    )
    with pytest.raises(Refusal, match="`task: Regression` has none: use KFold"):
        parse({**rows, "validation": {"splitter": "StratifiedKFold"}})
    with pytest.raises(Refusal, match="in units of `late`, so `margin` has no default"):
        parse({**rows, "gates": [{"name": "g", **mae}]})
    assert parse({**rows, "gates": [{"name": "g", **mae, "margin": "1.5"}]}).gates[0].margin == 1.5
    assert parse({**rows, "gates": [{"name": "g", **mae, "metric": "r2"}]}).gates[0].margin == 0.02


SPACE = {"parameters": [{"name": "C", "logUniform": {"min": "0.1", "max": "9"}}]}


@pytest.mark.parametrize(
    ("changes", "searched"),
    [
        ({"search": SPACE}, "roc_auc"),
        ({"search": {**SPACE, "metric": "f1"}}, "f1"),
        ({"search": SPACE, "gates": [{"name": "s", "size": {"maximum": "1Mi"}}]}, "r2"),
    ],
)
def test_a_search_follows_its_own_metric_then_the_gates_then_the_targets(
    changes: dict[str, Any], searched: str
) -> None:
    found = parse(changes).led_by("r2").search

    assert found is not None
    assert found.metric == searched


def test_what_the_operator_has_filled_in_stands() -> None:
    found = parse(
        {
            "experiment": "flights/delays",
            "model": {"championAlias": ""},
            "validation": {
                "splitter": "KFold",
                "folds": 3,
                "holdout": {"by": "Time", "period": "744h"},
            },
        }
    )

    assert found.champion_alias == ""
    assert found.validation.period == timedelta(days=31)
    assert found.validation.fraction is None
    assert found.chosen == {}


def test_a_lookback_counts_back_from_the_creation_of_the_job() -> None:
    found = parse({"data": {"window": {"lookback": "48h"}}})

    assert found.table.until == datetime(2026, 6, 1, tzinfo=UTC)
    assert found.table.start == datetime(2026, 5, 30, tzinfo=UTC)


def test_identity_comes_from_the_environment_where_the_file_lacks_it() -> None:
    given = {"v": 1, "spec": document()["spec"]}
    names = {
        "LINNET_NAMESPACE": "team",
        "LINNET_NAME": "job",
        "LINNET_JOB_UID": "u",
        "LINNET_SPEC_HASH": "h",
    }
    found = recipe.parse(given, environ=names)

    assert (found.namespace, found.name, found.job_uid, found.spec_hash) == (
        "team",
        "job",
        "u",
        "h",
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"task": "Ranking"}, "`task: Ranking` is not supported"),
        ({"search": {"parameters": []}}, "`search.parameters` is empty"),
        (
            {"task": "Regression", "data": {"positiveClass": "true"}},
            "`data.positiveClass` is for `task: Classification`",
        ),
        ({"validation": {"holdout": {"purgeGroups": True}}}, "purgeGroups` needs `data.groups`"),
        ({"validation": {"splitter": "KFold", "gap": "24h"}}, "use TimeSeriesSplit, or remove"),
        ({"gates": [{"name": "g", "beauty": {"minimum": "1"}}]}, "spec.gates 'g'"),
        ({"data": {"timestamp": None}, "validation": {"splitter": "TimeSeriesSplit"}}, "timestamp"),
        ({"validation": {"splitter": "GroupKFold"}}, "data.groups"),
        ({"model": None}, "KeyError 'model'"),
    ],
)
def test_what_this_version_does_not_do_is_refused_by_name(
    changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(Refusal) as caught:
        parse(changes)

    assert told in caught.value.message


@pytest.mark.parametrize(
    ("text", "seconds"), [("744h", 2678400), ("1h30m", 5400), ("90s", 90), ("1500ms", 1.5)]
)
def test_durations_are_sums_of_parts(text: str, seconds: float) -> None:
    assert recipe.parse_duration(text) == timedelta(seconds=seconds)
