"""DriftPolicies: a drift is found, leads to a new champion, and the reference moves along."""

from __future__ import annotations

from .stage import beside
from .world import World, condition, says


@beside
def test_a_drift_is_found_and_leads_to_a_new_champion(world: World) -> None:
    place = world.place("drift")
    first = place.serving()["status"]["champion"]["version"]
    traffic = place.traffic()
    place.apply(place.drift_policy())
    place.has_condition("DriftPolicy", "drift", "Ready", "Unknown", "WaitingForFirstCheck")

    answer = place.request("check", name="drift", kind="DriftPolicy")
    assert answer["outcome"] == "Done", answer
    obj = place.has_condition(
        "DriftPolicy", "drift", "Drifted", "True", "FeatureDrift", "differs most", seconds=240
    )
    status = obj["status"]
    assert {each["column"] for each in status["columns"][:2]} == {"x3", "x4"}, status["columns"]
    assert float(status["lastCheck"]["score"]) > 1
    assert status["lastCheck"]["rows"] == 7 * 50
    assert status["reference"]["version"] == first
    for reason in ("CheckStarted", "CheckDone", "DriftFound", "RetrainingStarted"):
        place.has_event("drift", reason)

    name = status["retrain"]["lastJob"] if "retrain" in status else ""
    name = name or place.until(
        "DriftPolicy", "drift", "a retraining is recorded",
        lambda each: each["status"].get("retrain", {}).get("lastJob"),
    )["status"]["retrain"]["lastJob"]  # fmt: skip
    job = place.is_complete(name)
    assert job["status"]["cause"]["driftPolicy"] == "drift"
    assert job["status"]["cause"]["reportURL"] == status["lastCheck"]["reportURL"]
    second = job["status"]["version"]
    place.is_champion(second)
    place.has_event("drift", "RetrainingEnded")
    traffic.has_no_failure()

    # Compared with the model that was trained on such rows, the same week is nothing unusual.
    place.request("check", name="drift", kind="DriftPolicy")

    def moved(each: dict[str, object]) -> bool:
        reference = each["status"].get("reference", {})  # type: ignore[attr-defined]
        return bool(reference.get("version") == second)

    obj = place.until("DriftPolicy", "drift", "the reference moves along", moved, seconds=240)
    assert says(obj, "Drifted", "False", "WithinThreshold"), condition(obj, "Drifted")
    assert len(place.all("TrainingJob")) == 1, place.explain()


@beside
def test_what_a_check_lacks_is_named(world: World) -> None:
    place = world.place("checks")
    place.apply(place.drift_policy("early", retrain=None))
    place.has_condition(
        "DriftPolicy", "early", "Ready", "False", "DeploymentNotFound",
        "`spec.modelDeploymentRef` names 'serve'",
    )  # fmt: skip
    place.serving()
    failures = {
        "other": ("other.parquet", "at", "TooFewSamples", "`window.minSamples` asks for 100000"),
        "none": ("none.parquet", "at", "SourceUnavailable", "source.table.uri: no file matches"),
        "time": ("live.parquet", "when", "SchemaMismatch", "`source.table.timestamp` names 'when'"),
    }
    for name, (table, timestamp, reason, words) in failures.items():
        source = {"table": {"uri": world.table(table), "timestamp": timestamp}}
        changes = {"minSamples": 100_000} if reason == "TooFewSamples" else {}
        policy = place.drift_policy(
            name, source=source, retrain=None, window={"until": "NewestEvent", **changes}
        )
        place.apply(policy)
        place.request("check", name=name, kind="DriftPolicy")
        place.has_condition("DriftPolicy", name, "Ready", "False", reason, words, seconds=240)
    place.apply(place.drift_policy("cron", schedule="61 * * * *", retrain=None))
    place.has_condition(
        "DriftPolicy", "cron", "Stalled", "True", "InvalidSchedule", "`spec.schedule` '61 * * * *'"
    )
    assert place.all("TrainingJob") == []
