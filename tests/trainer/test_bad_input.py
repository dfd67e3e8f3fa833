"""What a user can get wrong: each gives a reason and a sentence that names the field."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pytest
from linnet_trainer.contract import TAG_RESULT, Exit, Outcome, Reason, parse

from trainer.world import World

TABLE = "{folder}/table.parquet"


@dataclass(frozen=True)
class Case:
    name: str
    reason: Reason
    told: str
    given: dict[str, Any] = field(default_factory=dict)
    uri: str = f"file://{TABLE}"
    change: Any = None


def one_class(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(late=False)


def no_rows(table: pd.DataFrame) -> pd.DataFrame:
    return table.iloc[:0]


def no_label(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(late=table["late"].astype("boolean").where(table["x"] > -2))


def infinite(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(x=table["x"].where(table["x"] < 2, float("inf")))


def late_class(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(late=table["late"] & (table["at"] >= pd.Timestamp("2026-02-25", tz="UTC")))


def early_class(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(late=table["late"] & (table["at"] < pd.Timestamp("2026-01-25", tz="UTC")))


def estimator(name: str, parameters: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"pipeline": {"estimator": {"class": name, "parameters": parameters or {}, **more}}}


CASES = [
    Case(
        "a table that is not there",
        Reason.INVALID_DATA,
        "data.table.uri: no file matches file://{folder}/tabel.parquet; beside it there is "
        "table.parquet",
        uri="file://{folder}/tabel.parquet",
    ),
    Case(
        "a file that is no table",
        Reason.INVALID_DATA,
        "data.table.uri: file://{folder}/broken.parquet cannot be read as a table",
        uri="file://{folder}/broken.parquet",
    ),
    Case(
        "a file of another kind",
        Reason.INVALID_DATA,
        "'notes.txt' must end in '.parquet', '.csv' or '.csv.gz'",
        uri="file://{folder}/notes.txt",
    ),
    Case("an empty table", Reason.INVALID_DATA, "table.parquet has no rows", change=no_rows),
    Case(
        "an empty window",
        Reason.INVALID_DATA,
        "`data.window` from 2030-01-01T00:00:00Z until the end holds no row of",
        given={"data": {"window": {"from": "2030-01-01T00:00:00Z"}}},
    ),
    Case(
        "a target that is no column",
        Reason.INVALID_DATA,
        "`data.target` names 'lat', which is no column of file://{folder}/table.parquet. Did you "
        "mean 'late' or 'at'? Columns: at, late, x, wind, stops, carrier, plane",
        given={"data": {"target": "lat"}},
    ),
    Case(
        "a feature that is no column",
        Reason.INVALID_DATA,
        "`pipeline.columns.numeric` names 'winds', which is no column",
        given={"pipeline": {"columns": {"numeric": ["winds"]}}},
    ),
    Case(
        "a text among the numbers",
        Reason.INVALID_DATA,
        "`pipeline.columns.numeric` names 'carrier', whose type is string: numbers and booleans "
        "are numeric",
        given={"pipeline": {"columns": {"numeric": ["carrier"]}}},
    ),
    Case(
        "a timestamp that holds numbers",
        Reason.INVALID_DATA,
        "`data.timestamp` names 'x', which holds numbers, not times",
        given={"data": {"timestamp": "x"}},
    ),
    Case(
        "a timestamp that holds words",
        Reason.INVALID_DATA,
        "`data.timestamp` names 'plane', which holds no times",
        given={"data": {"timestamp": "plane"}},
    ),
    Case(
        "a target with one class",
        Reason.INVALID_DATA,
        "`data.target`: all 1200 rows have late = False; a classifier needs rows of both classes. "
        "Check the column and the window",
        change=one_class,
    ),
    Case(
        "a target that is a number",
        Reason.TARGET_NOT_SUPPORTED,
        "`data.target`: 'x' has 1200 different values",
        given={"data": {"target": "x"}},
    ),
    Case(
        "a text to be predicted as a number",
        Reason.TARGET_NOT_SUPPORTED,
        "`data.target`: 'plane' is of type object and `task: Regression` predicts numbers",
        given={
            "task": "Regression",
            "data": {"target": "plane"},
            "pipeline": {"estimator": {"class": "Ridge"}},
        },
    ),
    Case(
        "a metric of two classes for a number",
        Reason.TRAINER_FAILED,
        "`gates[].metric`: scorer 'roc_auc' does not fit a regression: ",
        given={
            "task": "Regression",
            "data": {"target": "x"},
            "pipeline": {"estimator": {"class": "Ridge"}},
        },
    ),
    Case(
        "a target with missing values",
        Reason.INVALID_DATA,
        "rows have no value in 'late': leave those rows out of the table",
        change=no_label,
    ),
    Case(
        "a holdout with one class",
        Reason.INVALID_DATA,
        "`validation.holdout`: all 240 rows of the holdout have late = False",
        change=early_class,
    ),
    Case(
        "a training part with one class",
        Reason.INVALID_DATA,
        "`validation.holdout`: all 960 rows of the training part have late = False",
        change=late_class,
    ),
    Case(
        "an infinite number",
        Reason.INVALID_DATA,
        "column 'x' holds infinite numbers: write them as missing values",
        change=infinite,
    ),
    Case(
        "missing numbers that nobody fills in",
        Reason.INVALID_DATA,
        "`pipeline.preprocess.imputer: None`: wind have missing values and LogisticRegression",
        given={"pipeline": {"preprocess": {"imputer": "None"}}},
    ),
    Case(
        "an estimator that does not exist",
        Reason.UNKNOWN_ESTIMATOR,
        "`pipeline.estimator.class`: scikit-learn has no classifier 'LogisticRegresion'. Did you "
        "mean 'LogisticRegression'",
        given=estimator("LogisticRegresion"),
    ),
    Case(
        "a regressor",
        Reason.UNKNOWN_ESTIMATOR,
        "scikit-learn has no classifier 'LinearRegression'",
        given=estimator("LinearRegression"),
    ),
    Case(
        "an estimator of another library",
        Reason.UNKNOWN_ESTIMATOR,
        "there is no classifier 'catboost.CatBoostClassifier'; dotted names are",
        given=estimator("catboost.CatBoostClassifier"),
    ),
    Case(
        "an estimator without probabilities",
        Reason.UNKNOWN_ESTIMATOR,
        "LinearSVC gives no probabilities",
        given=estimator("LinearSVC"),
    ),
    Case(
        "an estimator that needs another one",
        Reason.UNKNOWN_ESTIMATOR,
        "`pipeline.estimator.parameters`: VotingClassifier: ",
        given=estimator("VotingClassifier"),
    ),
    Case(
        "a parameter that does not exist",
        Reason.UNKNOWN_ESTIMATOR,
        "`pipeline.estimator.parameters`: LogisticRegression has no parameter 'max_iters'. Did you "
        "mean 'max_iter'",
        given=estimator("LogisticRegression", {"max_iters": 5}),
    ),
    Case(
        "a parameter with a wrong value",
        Reason.UNKNOWN_ESTIMATOR,
        "`pipeline.estimator.parameters`: LogisticRegression: The 'C' parameter",
        given=estimator("LogisticRegression", {"C": "large"}),
    ),
    Case(
        "parameters that do not go together",
        Reason.TRAINER_FAILED,
        "LogisticRegression could not be fitted; check `pipeline.estimator.parameters`",
        given=estimator("LogisticRegression", {"solver": "lbfgs", "penalty": "l1"}),
    ),
    Case(
        "a balance that the estimator does not know",
        Reason.UNKNOWN_ESTIMATOR,
        "`pipeline.estimator.balance: ClassWeight`: GaussianNB has no parameter 'class_weight'",
        given=estimator("GaussianNB", balance="ClassWeight"),
    ),
    Case(
        "a metric that does not exist",
        Reason.TRAINER_FAILED,
        "`gates[].metric`: scikit-learn has no scorer 'roc_acu'. Did you mean 'roc_auc'",
        given={"gates": [{"name": "g", "metric": "roc_acu", "minimum": "0.5"}]},
    ),
    Case(
        "more folds than rows of a class",
        Reason.INVALID_DATA,
        "`validation.folds: 20` with GroupKFold: the training rows have only 3 groups",
        given={
            "data": {"groups": "stops"},
            "validation": {"splitter": "GroupKFold", "folds": 20},
        },
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_bad_input_is_an_error_that_says_what_to_do(
    world: World, flights: pd.DataFrame, case: Case
) -> None:
    world.write(case.change(flights) if case.change else flights)
    (world.folder / "broken.parquet").write_text("no table")
    (world.folder / "notes.txt").write_text("no table")
    code, result = world.run(case.uri.format(folder=world.folder), case.given)

    assert case.told.format(folder=world.folder) in result.message
    assert (code, result.outcome, result.reason) == (Exit.ERROR, Outcome.ERROR, case.reason)
    run = world.client.get_run(result.run_id)
    assert run.info.status == "FAILED"
    assert parse(run.data.tags[TAG_RESULT]) == result
    assert world.versions() == []


def test_a_spec_that_cannot_be_read_is_an_error_without_a_run(world: World) -> None:
    code, result = world.run("file:///t.parquet", {"task": "Ranking"})

    assert (code, result.reason, result.run_id) == (Exit.ERROR, Reason.TARGET_NOT_SUPPORTED, "")
