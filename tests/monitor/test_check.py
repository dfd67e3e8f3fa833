"""A check from spec.json to the document: real files, a real model, a registry in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from linnet_monitor import contract
from linnet_monitor.contract import Exit, Outcome, Reason
from trainer.world import World, make_table, merge

from monitor.conftest import Checks, described


def test_rows_of_the_same_kind_are_within(checks: Checks) -> None:
    code, found = checks.run(checks.write(checks.live()))
    assert code is Exit.RESULT
    assert (found.outcome, found.reason) == (Outcome.WITHIN, Reason.WITHIN_THRESHOLD), found.message
    assert found.rows == 7 * 60
    assert found.reference.version == checks.model["version"]
    assert found.reference.windows == 60 - 6
    assert float(found.score) <= 1
    assert float(found.p_value) > 0.05
    assert {each.name: each.breached for each in found.signals} == {
        "features": False, "scores": False, "quality": False,
    }  # fmt: skip
    assert {each.column for each in found.columns} == {"x", "wind", "stops", "carrier", "score"}
    assert found.new_samples == 600
    assert checks.artifacts(found.run_id) == ["report.html", "report.json", "result.json"]
    assert found.report_url.endswith(f"/runs/{found.run_id}/artifacts/report.html")
    [score] = checks.world.client.get_metric_history(found.run_id, "score")
    assert pd.Timestamp(score.timestamp, unit="ms", tz="UTC") == pd.Timestamp(found.window.until)
    run = checks.world.client.get_run(found.run_id)
    assert run.data.metrics["score"] == pytest.approx(float(found.score), rel=1e-3)
    assert {"drift.x", "evidently.x", "evidently.carrier", "missing.wind"} <= set(run.data.metrics)
    assert contract.parse(run.data.tags[contract.TAG_RESULT]) == found
    assert run.info.status == "FINISHED"


def test_free_text_is_read_by_the_model_and_not_counted(
    trained: tuple[World, dict[str, str]], tmp_path: Path
) -> None:
    world, _ = trained
    columns = {"numeric": ["x", "wind"], "text": ["note"]}
    changes = {"model": {"name": "noted"}, "pipeline": {"columns": columns}}
    _, result = world.run(world.write(noted(make_table(rows_a_day=60))), changes, job="noted")
    model = described(world, "noted", result.version)
    checks = Checks(world=world, folder=tmp_path, model=model)

    _, found = checks.run(checks.write(noted(checks.live())))
    _, lacking = checks.run(checks.write(checks.live()), slot="07:00")

    assert found.outcome is Outcome.WITHIN, found.message
    assert {each.column for each in found.columns} == {"x", "wind", "score"}
    assert "lacks 'note', which version 1 reads" in lacking.message


def noted(table: pd.DataFrame) -> pd.DataFrame:
    """Texts of which no two are equal."""
    words = np.where(table["late"], "waiting", "boarding")
    both = zip(words, table["at"], strict=True)
    return table.assign(note=[f"{word} since {at}" for word, at in both])


DRIFTS: dict[str, tuple[Any, Reason, str]] = {
    "a number moves": (
        lambda t: t.assign(x=t["x"] + 1.0), Reason.FEATURE_DRIFT, "'x' differs most, Wasserstein",
    ),
    "a category grows": (
        lambda t: t.assign(carrier=np.where(t["x"] > -0.5, "AA", t["carrier"])),
        Reason.FEATURE_DRIFT, "'carrier' differs most, JensenShannon",
    ),
    "values go missing": (
        lambda t: t.assign(wind=t["wind"].where(np.arange(len(t)) % 4 > 0)),
        Reason.QUALITY_BREACH, "of 'wind' is missing, limit",
    ),
    "a new category": (
        lambda t: t.assign(carrier=t["carrier"].where(np.arange(len(t)) % 9 > 0, "ZZ")),
        Reason.QUALITY_BREACH, "of 'carrier' is of unknown categories, limit 5.0%",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DRIFTS)
def test_what_drifts_is_named(checks: Checks, name: str) -> None:
    change, reason, words = DRIFTS[name]
    code, found = checks.run(checks.write(change(checks.live())))
    assert code is Exit.RESULT
    assert found.outcome is Outcome.DRIFTED, found.message
    assert words in found.message
    if reason is Reason.QUALITY_BREACH:
        assert any(each.breached for each in found.signals if each.name == "quality")
    else:
        assert found.reason is reason
        assert float(found.score) > 1
        worst = found.columns[0]
        assert float(worst.statistic) > float(worst.threshold)


def test_scores_drift_where_inputs_are_not_looked_at(checks: Checks) -> None:
    table = checks.live().assign(x=lambda t: t["x"] + 1.5)
    signals = [{"name": "scores", "predictionDrift": {}}]
    _, found = checks.run(checks.write(table), {"signals": signals})
    assert (found.outcome, found.reason) == (Outcome.DRIFTED, Reason.PREDICTION_DRIFT)
    assert "the score differs most" in found.message


@pytest.mark.parametrize("method", ["KS", "PSI", "JensenShannon", "Wasserstein"])
def test_every_method_finds_a_plain_drift_and_no_other(checks: Checks, method: str) -> None:
    drift = {"numericMethod": method, "categoricalMethod": "ChiSquare"}
    signals = [{"name": "features", "dataDrift": drift}]
    _, within = checks.run(checks.write(checks.live()), {"signals": signals})
    assert within.outcome is Outcome.WITHIN, within.message
    moved = checks.live().assign(x=lambda t: t["x"] + 1.0)
    _, found = checks.run(checks.write(moved), {"signals": signals}, slot="07:00")
    assert found.reason is Reason.FEATURE_DRIFT
    assert {each.method for each in found.columns} == {method, "ChiSquare"}


def test_permuted_days_are_used_only_by_name(checks: Checks) -> None:
    method = {"alarm": {"method": "DayPermutation"}}
    _, within = checks.run(checks.write(checks.live()), method)
    assert within.outcome is Outcome.WITHIN, within.message
    assert within.reference.windows == 999


def test_the_window_is_of_whole_days(checks: Checks) -> None:
    table = checks.live()
    cut = table[table["at"] < pd.Timestamp("2026-06-10T15:00Z")]
    _, found = checks.run(checks.write(cut))
    assert found.window.until == "2026-06-10T00:00:00Z", "the newest day is not over"
    assert found.window.start == "2026-06-03T00:00:00Z"
    late = {"window": {"timeZone": "America/New_York"}}
    _, found = checks.run(checks.write(table), late, slot="07:00")
    assert found.window.until == "2026-06-10T04:00:00Z", "22:13 UTC is 18:13 in New York"
    now = {"window": {"until": "2026-06-09T06:00:00Z"}}
    _, found = checks.run(checks.write(table), now, slot="08:00")
    assert found.window.until == "2026-06-09T00:00:00Z"


def test_too_few_rows_are_not_judged(checks: Checks) -> None:
    code, found = checks.run(checks.write(checks.live()), {"window": {"minSamples": 500}})
    assert code is Exit.RESULT
    assert (found.outcome, found.reason) == (Outcome.TOO_FEW_SAMPLES, Reason.TOO_FEW_SAMPLES)
    assert "has 420 rows" in found.message
    assert "`window.minSamples` asks for 500" in found.message


def test_no_row_in_the_window_is_no_data(checks: Checks) -> None:
    uri = checks.write(checks.live())
    _, found = checks.run(uri, {"window": {"until": "2027-01-01T00:00:00Z"}})
    assert (found.outcome, found.reason) == (Outcome.TOO_FEW_SAMPLES, Reason.NO_DATA)
    _, found = checks.run(checks.write(checks.live().head(0), "empty.parquet"), slot="07:00")
    assert found.reason is Reason.NO_DATA


def test_a_short_history_is_not_stretched(checks: Checks) -> None:
    changes = {"alarm": {"falseAlarmProbability": "0.01"}}
    code, found = checks.run(checks.write(checks.live()), changes)
    assert code is Exit.RESULT
    assert found.outcome is Outcome.INSUFFICIENT_REFERENCE
    assert "60 days" in found.message
    assert "needs 105" in found.message
    assert found.run_id, "what was not judged is found in the registry too"


def test_fixed_limits_need_no_history(checks: Checks) -> None:
    signals = [{"name": "quality", "dataQuality": {}}]
    changes = {"alarm": {"falseAlarmProbability": "0.01"}, "signals": signals}
    _, found = checks.run(checks.write(checks.live()), changes)
    assert found.outcome is Outcome.WITHIN, found.message
    assert (found.score, found.rank) == ("", 0)


def test_days_of_the_reference_in_the_window_are_not_used(checks: Checks) -> None:
    inside = {"window": {"until": "2026-02-01T12:00:00Z"}}
    uri = checks.write(make_table(rows_a_day=60))
    _, found = checks.run(uri, inside)
    assert found.outcome is Outcome.WITHIN, found.message
    assert found.reference.windows == 54 - 13
    # 49 windows are needed, and the 54 of the history would do.
    _, found = checks.run(uri, merge(inside, {"alarm": {"falseAlarmProbability": "0.02"}}))
    assert found.outcome is Outcome.INSUFFICIENT_REFERENCE
    assert "41 windows of 7 days can be compared" in found.message


def test_permuted_days_need_more_days_than_a_window_has(checks: Checks) -> None:
    changes = {"alarm": {"method": "DayPermutation"}, "window": {"lookback": "1440h"}}
    _, found = checks.run(checks.write(checks.live(days=61)), changes)
    assert found.outcome is Outcome.INSUFFICIENT_REFERENCE, found.message


FAILURES: dict[str, tuple[Any, Any, Reason, str]] = {
    "a column is gone": (
        lambda t: t.drop(columns="wind"), {}, Reason.SCHEMA_MISMATCH, "lacks 'wind', which version",
    ),
    "a column has another type": (
        lambda t: t.assign(x="far"), {}, Reason.SCHEMA_MISMATCH, "column 'x' must hold numbers",
    ),
    "no such timestamp": (
        lambda t: t, {"source": {"table": {"timestamp": "time"}}}, Reason.SCHEMA_MISMATCH,
        "`source.table.timestamp` names 'time'",
    ),
    "a column that the model does not read": (
        lambda t: t, {"signals": [{"name": "f", "dataDrift": {"columns": ["height"]}}]},
        Reason.SCHEMA_MISMATCH, "signal 'f' names 'height'",
    ),
    "a digest that is not the registry's": (
        lambda t: t, {"model": {"digest": "sha256:00"}}, Reason.REFERENCE_MISSING,
        "the registry's tag says sha256:00",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FAILURES)
def test_what_a_person_must_mend_is_named(checks: Checks, name: str) -> None:
    change, changes, reason, words = FAILURES[name]
    code, found = checks.run(checks.write(change(checks.live())), changes)
    assert code is Exit.ERROR
    assert (found.outcome, found.reason) == (Outcome.ERROR, reason), found.message
    assert words in found.message


def test_a_table_that_is_missing_is_named(checks: Checks) -> None:
    code, found = checks.run(f"file://{checks.folder}/none.parquet")
    assert code is Exit.ERROR
    assert found.reason is Reason.SOURCE_UNAVAILABLE
    assert "source.table.uri: no file matches" in found.message


def test_a_version_without_a_profile_is_named(checks: Checks, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    model = {"model": {"artifactURI": f"file://{tmp_path}/elsewhere", "digest": ""}}
    code, found = checks.run(checks.write(checks.live()), model)
    assert code is Exit.ERROR
    assert found.reason is Reason.REFERENCE_MISSING
    assert "Linnet did not train it" in found.message


def test_a_version_trained_without_times_is_named(checks: Checks) -> None:
    world = checks.world
    table = world.write(make_table(days=5, rows_a_day=60).drop(columns="at"), "timeless.parquet")
    changes = {"model": {"name": "timeless"}, "data": {"timestamp": None}}
    _, result = world.run(table, changes, job="job-timeless")
    assert result.version, result.message
    source = world.client.get_model_version_download_uri("timeless", result.version)
    model = {"name": "timeless", "version": result.version, "artifactURI": source, "digest": ""}
    code, found = checks.run(checks.write(checks.live()), {"model": model})
    assert code is Exit.ERROR
    assert found.reason is Reason.REFERENCE_MISSING
    assert "was trained without `data.timestamp`" in found.message


def test_a_restarted_pod_writes_the_same_document_again(checks: Checks) -> None:
    uri = checks.write(checks.live())
    _, first = checks.run(uri)
    Path(uri.removeprefix("file://")).unlink()
    _, second = checks.run(uri)
    assert second == first


def test_a_spec_that_cannot_be_read_is_an_error(checks: Checks) -> None:
    code, found = checks.run("file:///x", {"window": {"lookback": "36h"}})
    assert code is Exit.ERROR
    assert "whole days" in found.message


def test_a_registry_that_is_down_asks_for_another_try(
    checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    code, found = checks.run(checks.write(checks.live()))
    assert code is Exit.RETRY
    assert found.reason is Reason.SOURCE_UNAVAILABLE
    assert "does not answer" in found.message
