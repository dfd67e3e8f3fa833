"""A TrainingJob makes one Job, one version and one alias move, wherever the operator dies."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
from linnet_trainer import contract
from simulation import NAMESPACE, TRAINING, Attempt, TrainingSimulation

Deed = Callable[[TrainingSimulation], object]


@dataclass(frozen=True, kw_only=True)
class Case:
    """A training and what the world looks like before it."""

    attempts: tuple[Attempt, ...] = (Attempt(),)
    spec: dict[str, Any] | None = None
    before: Deed = lambda s: None
    complete: tuple[str, str]
    version: str | None = None
    alias: str | None = None


def registered(*versions: str, alias: str) -> Deed:
    def deed(s: TrainingSimulation) -> None:
        for version in versions:
            s.registry.add_version(version)
        s.registry.aliases["challenger"] = alias

    return deed


CUSTOM: dict[str, Any] = {
    **{key: value for key, value in TRAINING.items() if key != "pipeline"},
    "custom": {},
    "template": {"image": "me/trainer:1"},
}
"""A program of the user's; the one of the simulation answers the gate and no standing check."""
WAIVERS = [{"check": check.value, "reason": "not of this story"} for check in contract.Check]


CASES: dict[str, Case] = {
    "a training that passes": Case(complete=("True", "Completed"), version="1", alias="1"),
    "a training after others": Case(
        before=registered("1", "2", alias="1"),
        complete=("True", "Completed"),
        version="3",
        alias="3",
    ),
    "a program of the user's that answers all that is asked": Case(
        spec={**CUSTOM, "waivers": WAIVERS},
        complete=("True", "Completed"),
        version="1",
        alias="1",
    ),
    "a program of the user's that leaves checks out": Case(
        spec=CUSTOM, complete=("False", "InvalidResult")
    ),
    "a search over pods": Case(
        spec={
            **TRAINING,
            "search": {
                "parallelism": 2,
                "parameters": [{"name": "C", "int": {"min": 1, "max": 9}}],
            },
        },
        complete=("True", "Completed"),
        version="1",
        alias="1",
    ),
    "a training without an alias": Case(
        spec={**TRAINING, "model": {"name": "delays", "alias": ""}},
        complete=("True", "Completed"),
        version="1",
    ),
    "a gate that refuses": Case(
        attempts=(Attempt(outcome="Refused"),), complete=("False", "GateRefused")
    ),
    "an error that another try does not mend": Case(
        attempts=(Attempt(outcome="Error"),), complete=("False", "InvalidData")
    ),
    "a crash and a second try": Case(
        attempts=(Attempt(outcome="Crash", seconds=5), Attempt()),
        complete=("True", "Completed"),
        version="1",
        alias="1",
    ),
    "crashes until no try is left": Case(
        attempts=(Attempt(outcome="Crash", seconds=5),), complete=("False", "RetriesExhausted")
    ),
    "too little memory": Case(
        attempts=(Attempt(outcome="OutOfMemory", seconds=5),), complete=("False", "OutOfMemory")
    ),
    "a lost termination message": Case(
        attempts=(Attempt(message_lost=True),),
        complete=("True", "Completed"),
        version="1",
        alias="1",
    ),
    "a lost run tag": Case(
        attempts=(Attempt(tag_lost=True),), complete=("True", "Completed"), version="1", alias="1"
    ),
    "a deadline": Case(
        attempts=(Attempt(seconds=500),),
        spec={**TRAINING, "activeDeadlineSeconds": 60},
        complete=("False", "DeadlineExceeded"),
    ),
}


def begin(case: Case) -> TrainingSimulation:
    simulation = TrainingSimulation(spec=case.spec or TRAINING, attempts=case.attempts)
    case.before(simulation)
    return simulation


def finish(simulation: TrainingSimulation) -> None:
    assert simulation.run(400, lambda s: s.done), simulation.message("Complete")
    simulation.run(20)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_a_training_ends_as_it_must_and_is_silent_then(case: Case) -> None:
    simulation = begin(case)
    finish(simulation)
    facts = simulation.facts()
    assert facts["complete"] == case.complete
    assert facts["version"] == case.version
    assert facts["aliases"].get("challenger") == case.alias
    assert facts["jobs"] == 1
    assert len(facts["alias writes"]) == (1 if case.alias else 0)
    simulation.stays_silent()


@pytest.mark.parametrize("lost", [False, True], ids=["crash", "answer lost"])
@pytest.mark.parametrize(
    "name",
    [
        "a training that passes",
        "a gate that refuses",
        "a deadline",
        "a program of the user's that answers all that is asked",
    ],
)
def test_a_crash_or_a_lost_answer_after_any_write_changes_no_end(name: str, lost: bool) -> None:
    expected = begin(CASES[name])
    finish(expected)
    for after in range(expected.writes):
        simulation = begin(CASES[name])
        if lost:
            simulation.cluster.lose_after = after
        else:
            simulation.cluster.crash_after = after
        finish(simulation)
        # An alias write whose answer was lost is repeated; nothing else is.
        one = {**simulation.facts(), "alias writes": simulation.facts()["alias writes"][:1]}
        assert one == expected.facts()
        simulation.stays_silent()


def test_a_version_is_created_once_even_when_a_pod_dies_after_it() -> None:
    simulation = TrainingSimulation(
        spec=TRAINING, attempts=(Attempt(seconds=5, message_lost=True, tag_lost=True), Attempt())
    )
    # The first pod registers, and is gone before anybody reads what it said.
    assert simulation.run(60, lambda s: bool(s.registry.versions))
    assert sorted(simulation.registry.versions) == ["1"]
    finish(simulation)
    assert sorted(simulation.registry.versions) == ["1"]


def test_the_alias_never_moves_backwards() -> None:
    simulation = begin(Case(complete=("True", "Completed")))
    assert simulation.run(20, lambda s: s.condition("Complete")[1] == "Training")
    for version in ("1", "2"):
        simulation.registry.add_version(version, **{contract.TAG_JOB_UID: f"other-{version}"})
    simulation.registry.versions["1"][contract.TAG_JOB_UID] = simulation.object["metadata"]["uid"]
    simulation.registry.aliases["challenger"] = "2"
    finish(simulation)
    assert simulation.facts()["version"] == "1"
    assert simulation.registry.aliases == {"challenger": "2"}
    assert simulation.condition("Promoted") == ("False", "NewerVersionHoldsAlias")
    assert simulation.message("Promoted") == (
        "alias 'challenger' names version 2, which is newer than 1"
    )
    assert simulation.condition("Complete") == ("True", "Completed")
    simulation.stays_silent()


def test_an_alias_that_was_left_to_a_newer_version_is_never_taken_later() -> None:
    simulation = begin(Case(before=registered("1", "2", alias="2"), complete=("True", "")))
    simulation.registry.versions["1"][contract.TAG_JOB_UID] = simulation.object["metadata"]["uid"]
    finish(simulation)
    assert simulation.condition("Promoted") == ("False", "NewerVersionHoldsAlias")
    # A person goes back further; that is theirs to decide.
    del simulation.registry.aliases["challenger"]
    simulation.run(300)
    assert simulation.registry.aliases == {}


def test_an_alias_that_moved_on_between_write_and_answer_is_not_taken_back() -> None:
    simulation = begin(Case(complete=("True", "Completed")))

    def overtake(s: TrainingSimulation) -> None:
        if s.registry.aliases.get("challenger") == "1" and "2" not in s.registry.versions:
            s.registry.add_version("2")
            s.registry.aliases["challenger"] = "2"

    simulation.invariants.append(overtake)
    assert simulation.run(400, lambda s: s.done)
    simulation.run(60)
    assert simulation.registry.aliases == {"challenger": "2"}
    assert simulation.facts()["alias writes"] == ["alias challenger=1"]


def test_a_moved_alias_is_not_written_again_when_somebody_moves_it() -> None:
    simulation = begin(CASES["a training after others"])
    finish(simulation)
    simulation.registry.aliases["challenger"] = "1"
    simulation.run(300)
    assert simulation.registry.aliases["challenger"] == "1"


def test_a_finished_run_is_adopted_before_one_is_started() -> None:
    first = begin(CASES["a training that passes"])
    finish(first)
    # The same manifest in another cluster, or after a restore without status.
    second = TrainingSimulation(spec=TRAINING)
    second.registry.runs = list(first.registry.runs)
    second.registry.versions = dict(first.registry.versions)
    finish(second)
    assert second.jobs_seen == set()
    assert second.status["version"] == "1"
    assert second.condition("Complete") == ("True", "Completed")
    assert sorted(second.registry.versions) == ["1"]


def test_a_lost_status_is_restored_without_a_second_training() -> None:
    simulation = begin(CASES["a training that passes"])
    finish(simulation)
    expected = simulation.facts()
    simulation.edit(lambda obj: obj.pop("status"))
    simulation.start()
    finish(simulation)
    restored = simulation.facts()
    assert restored["jobs"] == 1
    assert {**restored, "alias writes": []} == {**expected, "alias writes": []}


def test_a_late_result_of_another_recipe_is_ignored() -> None:
    first = begin(CASES["a training that passes"])
    finish(first)
    other = {**TRAINING, "pipeline": {**TRAINING["pipeline"], "columns": {"numeric": ["age"]}}}
    second = TrainingSimulation(spec=other)
    second.registry.runs = list(first.registry.runs)
    second.registry.versions = {"1": {}}
    finish(second)
    assert len(second.jobs_seen) == 1
    assert second.status["version"] == "2"


def test_a_result_with_the_hash_of_another_spec_in_the_pod_is_no_result() -> None:
    simulation = begin(CASES["a training that passes"])
    document = simulation.document
    simulation.document = lambda *args, **more: replace(  # type: ignore[method-assign]
        document(*args, **more), spec_hash="0" * 64
    )
    finish(simulation)
    assert simulation.condition("Complete") == ("False", "TrainerFailed")
    assert simulation.message("Complete") == (
        "the trainer ended without a result: see the log of its pod"
    )
    assert simulation.registry.aliases == {}


def test_a_version_that_a_program_only_claims_moves_no_alias() -> None:
    simulation = begin(Case(spec={**CUSTOM, "waivers": WAIVERS}, complete=("False", "")))
    simulation._register = lambda uid: "7"  # type: ignore[method-assign]
    finish(simulation)
    assert simulation.condition("Complete") == ("False", "InvalidResult")
    assert simulation.message("Complete") == (
        "the result names version 7 of 'delays', which the registry does not have: create the "
        "version before the result is written. Version 7 was not taken, no alias was moved to it"
    )
    assert simulation.registry.aliases == {}
    simulation.stays_silent()


def test_a_claim_waits_for_a_registry_that_is_down() -> None:
    simulation = begin(Case(spec={**CUSTOM, "waivers": WAIVERS}, complete=("True", "")))
    assert simulation.run(60, lambda s: bool(s.registry.versions))
    simulation.registry.down = True
    simulation.run(60)
    assert not simulation.done
    simulation.registry.down = False
    finish(simulation)
    assert simulation.status["version"] == "1"


def test_a_suspended_training_starts_no_pod_and_goes_on_when_resumed() -> None:
    simulation = TrainingSimulation(spec={**TRAINING, "suspend": True})
    simulation.run(120)
    assert simulation.pods_started == 0
    assert simulation.condition("Suspended") == ("True", "Suspended")
    assert simulation.condition("Complete") == ("False", "Suspended")
    before = simulation.writes
    simulation.run(300)
    assert simulation.writes == before
    simulation.edit(lambda obj: obj["spec"].update(suspend=False))
    finish(simulation)
    assert simulation.condition("Complete") == ("True", "Completed")
    assert simulation.condition("Suspended") == ("", "")
    assert simulation.facts()["jobs"] == 1


def test_a_running_training_can_be_suspended_and_starts_anew() -> None:
    simulation = begin(CASES["a training that passes"])
    assert simulation.run(30, lambda s: s.pods_started == 1)
    simulation.edit(lambda obj: obj["spec"].update(suspend=True))
    simulation.run(60)
    assert simulation.condition("Suspended") == ("True", "Suspended")
    assert simulation.of_kind("Pod") == []
    simulation.edit(lambda obj: obj["spec"].update(suspend=False))
    finish(simulation)
    assert simulation.facts()["jobs"] == 1
    assert simulation.facts()["version"] == "1"


def test_the_job_that_its_ttl_removes_changes_nothing() -> None:
    simulation = begin(Case(spec={**TRAINING, "ttlSecondsAfterFinished": 60}, complete=("", "")))
    finish(simulation)
    expected = simulation.facts()
    assert simulation.run(200, lambda s: not s.of_kind("Job"))
    simulation.stays_silent()
    assert simulation.facts() == expected


def test_a_job_that_ended_and_vanished_while_nobody_looked_is_not_repeated() -> None:
    simulation = begin(Case(spec={**TRAINING, "ttlSecondsAfterFinished": 0}, complete=("", "")))
    assert simulation.run(30, lambda s: s.pods_started == 1)
    # The operator is away for as long as the training takes.
    for _ in range(60):
        simulation.now += simulation.now.resolution * 1_000_000
        simulation.cluster.now = simulation.now
        simulation.tick(1.0)
    assert simulation.of_kind("Job") == []
    simulation.start()
    finish(simulation)
    assert simulation.facts()["jobs"] == 1
    assert simulation.facts()["version"] == "1"
    assert simulation.registry.aliases == {"challenger": "1"}


def test_a_vanished_job_waits_for_the_registry_before_it_is_made_again() -> None:
    simulation = begin(CASES["a training that passes"])
    assert simulation.run(20, lambda s: s.pods_started == 1)
    simulation.registry.down = True
    simulation.cluster.remove("Job", NAMESPACE, simulation.of_kind("Job")[0])
    simulation.run(120)
    assert simulation.of_kind("Job") == []
    simulation.registry.down = False
    finish(simulation)
    assert simulation.facts()["jobs"] == 2


def test_a_registry_that_is_down_delays_the_start_and_says_so() -> None:
    simulation = begin(CASES["a training that passes"])
    simulation.registry.down = True
    simulation.run(120)
    assert simulation.condition("Complete") == ("False", "RegistryUnavailable")
    assert simulation.of_kind("Job") == []
    simulation.registry.down = False
    finish(simulation)
    assert simulation.registry.aliases == {"challenger": "1"}


def test_a_registry_that_is_down_at_the_end_loses_no_training() -> None:
    simulation = begin(CASES["a lost termination message"])
    assert simulation.run(60, lambda s: bool(s.registry.versions))
    simulation.registry.down = True
    simulation.run(300)
    assert "result" not in simulation.status
    simulation.registry.down = False
    finish(simulation)
    assert simulation.condition("Complete") == ("True", "Completed")


def test_the_run_of_a_failed_training_is_closed_once() -> None:
    simulation = begin(CASES["a deadline"])
    finish(simulation)
    assert [run.status for run in simulation.registry.runs] == ["KILLED"]
    assert sum(write.startswith("close") for write in simulation.registry.writes) == 1


def test_a_field_that_is_not_live_trains_nothing_and_a_good_spec_goes_on() -> None:
    log = {"predictionLog": {"modelDeploymentRef": {"name": "delays"}}}
    simulation = TrainingSimulation(spec={**TRAINING, "data": log})
    simulation.run(60)
    assert simulation.condition("Stalled") == ("True", "NotYetSupported")
    assert simulation.condition("Complete") == ("False", "NotYetSupported")
    assert simulation.message("Stalled") == (
        "spec.data.predictionLog is not supported by this version of Linnet: remove it or upgrade"
    )
    assert simulation.of_kind("Job") == []
    # The spec is immutable, so this stands for an object that is made anew under the same name.
    simulation.edit(lambda obj: obj["spec"].update(data=TRAINING["data"]))
    finish(simulation)
    assert simulation.condition("Stalled") == ("", "")
    assert simulation.condition("Complete") == ("True", "Completed")
