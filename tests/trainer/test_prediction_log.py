"""Requests of a prediction log with their labels: what a training reads of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from linnet_trainer import data, prediction_log, recipe
from linnet_trainer.contract import Outcome, Reason
from linnet_trainer.errors import Refusal

from trainer.test_recipe import document
from trainer.world import World

START = datetime(2026, 3, 1, tzinfo=UTC)


class Log:
    """A prediction log as the collector writes it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.uri = f"file://{world.folder}/log/prod/delays"

    def requests(self, frame: pd.DataFrame, *, shard: str = "0", **changes: Any) -> None:
        """Write requests, by day and hour; columns without our names are the request's."""
        known = {"received_time": frame["event_time"], "revision": "delays-v1", "version": "1"}
        known |= {"kind": "champion", "code": 200, "prediction": 0, "score": 0.5} | changes
        own = ("id", "event_time")
        frame = frame.rename(columns={name: f"f_{name}" for name in frame if name not in own})
        self._write("predictions", frame.assign(**known), "date=%Y-%m-%d/hour=%H", shard)

    def labels(self, frame: pd.DataFrame, *, after: str = "2h", shard: str = "0") -> None:
        """Write labels that were received some time after their event."""
        received = frame["event_time"] + pd.Timedelta(after)
        self._write("labels", frame.assign(received_time=received), "date=%Y-%m-%d", shard)

    def _write(self, part: str, frame: pd.DataFrame, folder: str, shard: str) -> None:
        for where, rows in frame.groupby(frame["event_time"].dt.strftime(folder)):
            self.world.write(rows, f"log/prod/delays/{part}/{where}/{shard}-1.parquet")

    def changes(self, **data: Any) -> dict[str, Any]:
        """What a spec on this log has in place of a table."""
        where = {"modelDeploymentRef": {"name": "delays"}, "uri": self.uri}
        names = ("table", "target", "timestamp")
        return {"data": {**dict.fromkeys(names), "predictionLog": where, **data}}

    def recipe(self, **data: Any) -> recipe.Recipe:
        """A job on this log."""
        return recipe.parse(document(self.changes(**data)), environ={})


@pytest.fixture
def log(world: World) -> Log:
    return Log(world)


def made(count: int = 200, *, every: str = "3h") -> pd.DataFrame:
    """Requests of several days, with the label that each will have."""
    rng = np.random.default_rng(3)
    return pd.DataFrame(
        {
            "id": [f"r{number}" for number in range(count)],
            "event_time": pd.date_range(START, periods=count, freq=every),
            "x": rng.normal(size=count),
            "carrier": rng.choice(["AA", "UA"], size=count),
            "label": rng.integers(0, 2, size=count),
        }
    )


def test_a_request_is_a_row_with_its_label(log: Log) -> None:
    told = made()
    log.requests(told.drop(columns="label"))
    log.labels(told[["id", "label", "event_time"]].sample(frac=1, random_state=0))

    rows = data.read(log.recipe())
    frame = rows.frame.sort_values("event_time").reset_index(drop=True)
    assert frame["id"].tolist() == told["id"].tolist()
    assert frame["label"].tolist() == told["label"].tolist()
    assert frame["x"].tolist() == told["x"].tolist()
    features = data.choose(rows, np.arange(len(rows)), log.recipe()).features
    assert [each.name for each in features] == ["x", "carrier"], "what the server said is no input"
    assert rows.log is not None
    assert rows.log.document() == {"logged": 200, "failed": 0, "repeated": 0, "unlabelled": 0}


def test_repeated_failed_and_unlabelled_requests_are_no_rows(log: Log) -> None:
    told = made(8, every="1h")
    asked = told.drop(columns="label")
    log.requests(asked)
    log.requests(asked.iloc[:3], shard="1", kind="shadow", version="2")
    log.requests(asked.iloc[[4]].assign(id="failed"), shard="2", code=503)
    log.labels(told[["id", "label", "event_time"]].iloc[:6])

    rows = data.read(log.recipe())
    assert sorted(rows.frame["id"]) == ["r0", "r1", "r2", "r3", "r4", "r5"]
    assert rows.log is not None
    assert rows.log.document() == {"logged": 12, "failed": 1, "repeated": 3, "unlabelled": 2}


def test_the_label_that_was_received_last_counts(log: Log) -> None:
    told = made(4)
    log.requests(told.drop(columns="label"))
    labels = told[["id", "label", "event_time"]]
    log.labels(labels, after="5h")
    log.labels(labels.assign(label=1 - labels["label"]), after="9h", shard="1")
    log.labels(labels, after="1h", shard="2")

    frame = data.read(log.recipe()).frame.sort_values("id")
    assert frame["label"].tolist() == (1 - told["label"]).tolist()


def test_a_window_goes_by_the_time_of_the_request_and_takes_labels_from_after_it(log: Log) -> None:
    told = made()
    log.requests(told.drop(columns="label"))
    late = told[["id", "label", "event_time"]].assign(
        event_time=told["event_time"] + pd.Timedelta("3d")
    )
    log.labels(late)

    window = {"from": "2026-03-03T12:00:00Z", "until": "2026-03-05T00:00:00Z"}
    rows = data.read(log.recipe(window=window))
    times = told["event_time"]
    inside = (times >= window["from"]) & (times < window["until"])
    assert sorted(rows.frame["id"]) == sorted(told["id"][inside])
    assert rows.files == 2 * 8, "hours of other days are not opened"


def test_what_breaks_the_contract_is_told(log: Log) -> None:
    def refusal(**changes: Any) -> str:
        with pytest.raises(Refusal) as raised:
            data.read(log.recipe(**changes))
        assert raised.value.reason is Reason.INVALID_DATA
        return str(raised.value)

    assert "data.predictionLog: no file matches" in refusal()
    told = made(10)
    asked = told.drop(columns="label")
    log.requests(asked)
    assert "/labels/" in refusal()
    unknown = told[["id", "event_time"]].assign(label=pd.Series(pd.NA, told.index, dtype="Int64"))
    log.labels(unknown)
    assert "/labels/ holds no label" in refusal()
    log.labels(told[["id", "label", "event_time"]].assign(id="another"))
    assert "none of 10 requests of the window has a label (1 labels" in refusal()
    away = {"from": "2027-01-01T00:00:00Z"}
    assert "`data.window` from 2027-01-01T00:00:00Z" in refusal(window=away)
    log.requests(asked.assign(label=1), shard="1")
    assert "the requests have a column 'label'" in refusal()


@pytest.mark.parametrize("field", ["target", "timestamp", "rowId"])
def test_the_log_has_its_own_names(log: Log, field: str) -> None:
    with pytest.raises(Refusal, match=f"`data.{field}` must be absent"):
        log.recipe(**{field: "x"})


def test_a_training_on_a_log_makes_a_version(log: Log, world: World) -> None:
    told = made(600, every="1h")
    noise = np.random.default_rng(4).normal(size=len(told))
    told["label"] = (told["x"] + noise > 0).astype(int)
    log.requests(told.drop(columns="label"))
    log.labels(told[["id", "label", "event_time"]])

    _, result = world.run("", log.changes())
    assert result.outcome is Outcome.PASSED, result.message
    (run,) = world.runs()
    told = world.client.download_artifacts(run.info.run_id, prediction_log.ARTIFACT)
    assert json.loads(Path(told).read_text()) == {
        "logged": 600, "failed": 0, "repeated": 0, "unlabelled": 0,
    }  # fmt: skip
    assert run.data.params["data.predictionLog.uri"] == log.uri
