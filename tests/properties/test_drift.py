"""A DriftPolicy checks every slot once and trains anew once a drift, wherever the operator dies."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from drift_stories import CASES, always, begin, retrain
from drifting import DAY, POLICY, RETRAINING, TEMPLATE, Drift
from linnet.ports import Unavailable
from simulation import NAMESPACE

HOUR = 3600


@pytest.mark.parametrize("name", CASES)
def test_some_days_end_as_they_should(name: str) -> None:
    case = CASES[name]
    world = begin(case)
    world.run(case.days * 86_400)
    assert world.condition("Ready") == case.ready
    assert world.condition("Drifted") == case.drifted
    assert world.condition("Retraining") == case.retraining
    assert len(world.checked) == case.checks
    assert len(world.retrained) == case.retrained


def test_a_day_without_drift_writes_what_its_check_writes() -> None:
    world = Drift(spec={**POLICY, "schedule": "0 * * * *"})
    world.run(2 * HOUR + 600)
    before, checked = world.writes, len(world.checked)
    world.run(24 * HOUR)
    made = len(world.checked) - checked
    # Slot and result are recorded, ConfigMap and Job made, the oldest of each deleted, and what
    # follows the passing of a slot is told.
    assert made == 24
    assert (world.writes - before) / made <= 7
    quiet = world.writes
    world.run(HOUR // 2)
    assert world.writes == quiet


def test_a_slot_missed_in_an_outage_is_caught_up_once() -> None:
    world = Drift()
    world.run(HOUR)
    world.now += 3 * DAY  # nobody was there at three slots
    world.run(HOUR)
    assert len(world.checked) == 1
    assert world.status["lastScheduleTime"] == "2026-11-28T06:00:00Z"


def test_a_slot_missed_for_too_long_is_told_and_left_out() -> None:
    world = Drift(spec={**POLICY, "startingDeadlineSeconds": 600})
    world.run(HOUR)
    world.now += 1 * DAY
    world.run(HOUR)
    assert world.checked == []
    assert world.condition("Ready") == ("False", "CheckLate")
    world.run(24 * HOUR)
    assert len(world.checked) == 1
    assert world.condition("Ready") == ("True", "Monitoring")


def test_a_registry_that_is_down_delays_the_check_and_loses_nothing() -> None:
    world = Drift()
    world.registry.down = True
    world.run(23 * HOUR)
    assert world.checked == []
    assert world.condition("Ready") == ("False", "SourceUnavailable")
    world.registry.down = False
    world.run(HOUR)
    assert len(world.checked) == 1
    assert world.condition("Ready") == ("True", "Monitoring")


def test_an_api_server_that_is_away_for_ten_minutes_loses_nothing() -> None:
    world = Drift(spec={**POLICY, "schedule": "*/20 * * * *"})
    world.run(HOUR)
    before = len(world.checked)
    for verb, kind in (("create", "Job"), ("create", "ConfigMap"), ("status", "DriftPolicy")):
        world.cluster.fail(verb, kind, Unavailable("connection refused"))
    world.run(600)
    world.cluster.mend()
    world.run(3 * HOUR)
    assert len(world.checked) - before in (9, 10)
    assert world.condition("Ready") == ("True", "Monitoring")


def test_a_check_that_is_asked_for_runs_now_and_once() -> None:
    world = Drift()
    world.ask("check")
    world.run(600)
    assert world.status["request"]["outcome"] == "Done"
    assert len(world.checked) == 1
    world.run(600)
    assert len(world.checked) == 1


def test_a_check_asked_for_beside_another_waits_for_it() -> None:
    world = Drift(check_seconds=300)
    world.ask("check")
    world.run(60)
    world.ask("check")
    world.run(60)
    assert world.status["request"]["outcome"] == "Pending"
    world.run(900)
    assert world.status["request"]["outcome"] == "Done"
    assert len(world.checked) == 2


def test_replace_ends_the_check_that_runs() -> None:
    world = Drift(
        spec={**POLICY, "schedule": "*/5 * * * *", "concurrencyPolicy": "Replace"},
        check_seconds=100_000,
    )
    world.run(1200)
    assert len(world.of_kind("Job")) == 1
    assert len(world.checked) > 1


def test_a_check_that_outlasts_its_slot_is_told() -> None:
    world = Drift(spec={**POLICY, "schedule": "*/5 * * * *"}, check_seconds=100_000)
    world.run(1200)
    assert len(world.checked) == 1
    assert world.condition("Ready") == ("False", "CheckLate")


def test_a_suspended_policy_starts_nothing_and_catches_up_once() -> None:
    world = Drift(spec={**POLICY, "suspend": True})
    world.run(30 * HOUR)
    assert world.checked == []
    assert world.condition("Ready") == ("False", "Suspended")
    world.edit(lambda obj: obj["spec"].update({"suspend": False}))
    world.run(HOUR)
    assert len(world.checked) == 1


def test_resume_lets_failed_retraining_go_on() -> None:
    world = Drift(
        spec=retrain(cooldown="1h"),
        outcome=always("Drifted"),
        trained=lambda number: "Refused" if number < 2 else "Passed",
    )
    world.run(6 * 86_400)
    assert world.condition("Stalled") == ("True", "RetrainingFailed")
    world.ask("resume")
    world.run(HOUR)
    assert world.condition("Stalled") == ("", "")
    assert len(world.retrained) == 3


def test_a_retraining_that_a_person_deletes_is_not_made_again() -> None:
    world = Drift(
        spec=retrain(when={"breaches": 1, "of": 1}),
        outcome=always("Drifted"),
        trained=lambda number: "Running",
    )
    world.run(23 * HOUR)
    [name] = world.retrained
    world.cluster.remove("TrainingJob", NAMESPACE, name)
    world.run(HOUR // 2)
    assert world.of_kind("TrainingJob") == []
    assert world.status["retrain"]["lastOutcome"] == "Deleted"


def test_breaches_against_the_last_champion_do_not_count() -> None:
    world = Drift(spec=RETRAINING, outcome=always("Drifted"))
    world.run(23 * HOUR)
    world.registry.add_version("2")
    world.serve("2", since=world.now - timedelta(days=3))
    world.run(24 * HOUR)
    assert [each["outcome"] for each in world.status["checks"]] == ["Drifted"]
    assert world.condition("Retraining") == ("False", "WaitingForBreaches")


def test_the_retraining_carries_its_cause_and_absolute_times() -> None:
    world = Drift(spec=retrain(when={"breaches": 1, "of": 1}), outcome=always("Drifted"))
    world.run(23 * HOUR)
    [name] = world.retrained
    made = world.cluster.objects["TrainingJob", NAMESPACE, name]
    assert made["spec"]["data"]["window"] == {
        "from": "2026-08-28T00:00:00Z",
        "until": "2026-11-26T00:00:00Z",
    }
    cause = made["metadata"]["annotations"]["linnet.dev/cause"]
    assert '"reportURL": "http://mlflow/report"' in cause
    assert name.startswith("delays-20261126-")


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"schedule": "61 * * * *"}, "InvalidSchedule", "`spec.schedule` '61 * * * *'"),
        ({"timeZone": "Mars/Base"}, "InvalidSchedule", "`spec.timeZone` 'Mars/Base'"),
        (
            {"retrain": {"template": {"spec": {**TEMPLATE["spec"], "model": {"name": "other"}}}}},
            "ModelMismatch",
            "must be the same",
        ),
        (
            {
                "retrain": {
                    "template": {
                        "spec": {**TEMPLATE["spec"], "model": {"name": "delays", "alias": "x"}}
                    }
                }
            },
            "AliasMismatch",
            "follows 'challenger'",
        ),
    ],
)
def test_what_a_person_must_mend_is_named(change: dict[str, Any], reason: str, words: str) -> None:
    world = Drift(spec={**POLICY, **change})
    world.run(600)
    assert world.condition("Stalled") == ("True", reason)
    assert words in world.message("Stalled")
    world.edit(lambda obj: obj.update({"spec": POLICY}))
    world.run(24 * HOUR)
    assert world.condition("Stalled") == ("", "")
    assert world.condition("Ready") == ("True", "Monitoring")


def test_what_a_check_is_to_do_comes_back_when_somebody_deletes_it() -> None:
    world = Drift(check_seconds=100_000)
    world.ask("check")
    world.run(600)
    [name] = world.of_kind("ConfigMap")
    world.cluster.remove("ConfigMap", NAMESPACE, name)
    world.run(HOUR)
    assert world.of_kind("ConfigMap") == [name]
    assert len(world.checked) == 1
