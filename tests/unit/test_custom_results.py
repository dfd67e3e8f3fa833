"""What a program of the user's may claim (`spec.custom`), and what is said of what it left out."""

import json
from dataclasses import replace
from typing import Any

import pytest
from builders import NOW
from linnet.api.training_job import TrainingJobSpec, TrainingJobStatus
from linnet.core.jobs import PodView
from linnet.core.plan import CreateObject, Plan
from linnet.core.registry import ModelView, RunView, VersionView
from linnet.core.training import planner, resources
from linnet.core.training.state import Observation
from linnet_trainer import contract
from simulation import TRAINING
from training_builders import begun, observation

SPEC: dict[str, Any] = {
    **{key: value for key, value in TRAINING.items() if key != "pipeline"},
    "custom": {"command": ["python"], "args": ["/code/train.py"]},
    "template": {"image": "me/trainer:1"},
    "gates": [
        {"name": "minimum", "metric": "roc_auc", "minimum": "0.6"},
        {"name": "never-worse", "metric": "roc_auc", "notWorseThan": "Champion", "unit": "Row"},
    ],
}
BASE = observation(SPEC)
HASH = resources.spec_hash(BASE)
NAMED = begun(BASE)
COMPLETE = {
    "metadata": {"name": NAMED.job_name},
    "spec": {
        "suspend": False,
        "activeDeadlineSeconds": BASE.spec.active_deadline_seconds,
        "ttlSecondsAfterFinished": BASE.spec.ttl_seconds_after_finished,
    },
    "status": {"conditions": [{"type": "Complete", "status": "True", "reason": ""}]},
}
STOPPED = {
    **COMPLETE,
    "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "PodFailurePolicy"}]},
}
OURS = {"linnet.dev/job-uid": "uid-job"}
MODEL = ModelView(
    name="delays",
    versions={
        "2": VersionView(version="2", artifact_uri="", tags={"linnet.dev/job-uid": "other"}),
        "3": VersionView(version="3", artifact_uri="", tags=OURS),
    },
)


def gate(name: str, reason: str = "CheckPassed", *, passed: bool = True, **more: Any) -> Any:
    return {"name": name, "passed": passed, "reason": reason, **more}


MINIMUM = gate("minimum", "AtLeastMinimum", value="0.7", bound="0.6")
NEVER_WORSE = gate("never-worse", "NotWorseThanChampion", value="0.01", bound="-0.005", n=31)
STANDING = [
    gate(name) for name in ("Leakage", "Imbalance", "ValidationSet", "Schema", "Reproducible")
]
DOCUMENT: dict[str, Any] = {
    "v": 1,
    "specHash": HASH,
    "jobUID": "uid-job",
    "runID": "r",
    "version": "3",
    "outcome": "Passed",
    "reason": "Completed",
    "message": "roc_auc 0.7",
    "metrics": [{"name": "roc_auc", "value": "0.7"}],
    "gates": [MINIMUM, NEVER_WORSE, *STANDING],
}


def write(**changes: Any) -> str:
    """The document with these changes, None taking a field away."""
    made = {key: value for key, value in (DOCUMENT | changes).items() if value is not None}
    return json.dumps(made)


def decided(text: str, **changes: Any) -> Plan[TrainingJobStatus]:
    """What is decided about an ended job whose run has this text for a result."""
    run = RunView(
        run_id="r",
        experiment_id="1",
        status="FINISHED",
        tags={contract.TAG_RESULT: text} if text else {},
    )
    given = {"status": NAMED, "job": COMPLETE, "run": run, "model": MODEL, "model_read": True}
    return planner.decide(replace(BASE, **{**given, **changes}), now=NOW)


def told(plan: Plan[TrainingJobStatus]) -> tuple[str, str]:
    result = plan.status.result
    assert result is not None
    return result.reason, result.message


def test_a_result_that_answers_everything_counts() -> None:
    plan = decided(write())

    assert told(plan) == ("Completed", "roc_auc 0.7")
    assert (plan.records, plan.status.version) == (True, "3")
    assert [each.name for each in plan.status.gates or ()][:2] == ["minimum", "never-worse"]


KEPT = ". Version 3 was not taken, no alias was moved to it"
ASKED = (
    ": answer each by its name in `gates`, or let a standing check go in `spec.waivers` with a "
    "reason"
)
REFUSED = {"outcome": "Refused", "reason": "GateRefused", "version": None}
DOUBTS: dict[str, tuple[dict[str, Any], str]] = {
    "a gate is left out": (
        {"gates": [MINIMUM, *STANDING]},
        f"the result leaves out gate 'never-worse' of `spec.gates`{ASKED}{KEPT}",
    ),
    "gates and checks are left out": (
        {"gates": [STANDING[0]]},
        "the result leaves out gates 'minimum', 'never-worse' of `spec.gates` and the standing "
        "checks 'Imbalance', 'ValidationSet', 'Schema', 'Reproducible'"
        f"{ASKED}{KEPT}",
    ),
    "a refused model answers too": (
        {**REFUSED, "gates": [gate("minimum", "BelowThreshold", passed=False), *STANDING[:4]]},
        f"the result leaves out gate 'never-worse' of `spec.gates`{ASKED}",
    ),
    "a gate refused and the outcome did not": (
        {"gates": [gate("minimum", "BelowThreshold", passed=False), NEVER_WORSE, *STANDING]},
        f"`outcome` is 'Passed', and gate 'minimum' refused: it must be 'Refused'{KEPT}",
    ),
    "the outcome refused and no gate did": (
        REFUSED,
        "`outcome` is 'Refused', and every gate passed: it must be 'Passed'",
    ),
    "a check that the spec does not waive": (
        {"gates": [MINIMUM, NEVER_WORSE, gate("Leakage", "Waived"), *STANDING[1:]]},
        f"gate 'Leakage' says 'Waived', and `spec.waivers` has no such check{KEPT}",
    ),
    "a figure below the minimum": (
        {"gates": [{**MINIMUM, "value": "0.59"}, NEVER_WORSE, *STANDING]},
        "gate 'minimum' says that it passed, and its `value` is '0.59' and must be a number >= "
        f"0.6{KEPT}",
    ),
    "no figure": (
        {"gates": [gate("minimum", "AtLeastMinimum"), NEVER_WORSE, *STANDING]},
        "gate 'minimum' says that it passed, and its `value` is '' and must be a number >= "
        f"0.6{KEPT}",
    ),
    "a bound below the margin": (
        {"gates": [MINIMUM, {**NEVER_WORSE, "bound": "-0.02"}, *STANDING]},
        "gate 'never-worse' says that it passed, and its `bound` is '-0.02' and must be a number "
        f"> -0.02{KEPT}",
    ),
    "no version": (
        {"version": None},
        "`outcome` is 'Passed' and `version` is missing: register the model, then name it",
    ),
    "a version that is not there": (
        {"version": "9"},
        "the result names version 9 of 'delays', which the registry does not have: create the "
        "version before the result is written. Version 9 was not taken, no alias was moved to it",
    ),
    "a version of another job": (
        {"version": "2"},
        "version 2 of 'delays' has the tag 'linnet.dev/job-uid' 'other', which is not this job's: "
        "create a version with 'uid-job'. Version 2 was not taken, no alias was moved to it",
    ),
}


@pytest.mark.parametrize("case", DOUBTS.values(), ids=DOUBTS)
def test_what_does_not_hold_ends_the_job_without_a_version(
    case: tuple[dict[str, Any], str],
) -> None:
    changes, message = case
    plan = decided(write(**changes))

    assert told(plan) == ("InvalidResult", message)
    assert plan.status.version is None
    conditions = {each.type: (each.status, each.reason) for each in plan.conditions}
    assert conditions["Failed"] == conditions["Stalled"] == ("True", "InvalidResult")
    assert conditions["Complete"] == ("False", "InvalidResult")


def lacking(field: str) -> str:
    return write(**{field: None})


FAULTS: dict[str, tuple[str, str]] = {
    "no JSON": ('{"v": 1, ', "Invalid JSON: EOF while parsing a value at line 1 column 9"),
    "too big": (
        write(message="x" * 4000),
        f"it has {len(write(message='x' * 4000))} bytes and must have at most 3584: shorten the "
        "messages of the gates",
    ),
    "a missing field": (lacking("outcome"), "`outcome`: Field required"),
    "a missing field of a gate": (
        write(gates=[{"name": "minimum", "reason": "AtLeastMinimum"}]),
        "`gates[0].passed`: Field required",
    ),
    "a gate without a reason": (
        write(gates=[{"name": "minimum", "passed": True}]),
        "no result document: it lacks 'reason'",
    ),
    "a number where a text must stand": (
        write(metrics=[{"name": "roc_auc", "value": 0.7}]),
        "`metrics[0].value`: Input should be a valid string",
    ),
    "a text where yes or no must stand": (
        write(gates=[gate("minimum", passed="no")]),  # type: ignore[arg-type]
        "`gates[0].passed`: Input should be a valid boolean",
    ),
    "one gate twice": (
        write(gates=[MINIMUM, MINIMUM]), "`gates` has 'minimum' twice: a name stands once",
    ),
    "a word that is no reason": (
        write(gates=[gate("minimum", "Fine")]), "'Fine' is not a valid GateReason",
    ),
    "another recipe": (
        write(specHash="0" * 64), "`specHash` and `jobUID` must be those of spec.json",
    ),
    "another object": (
        write(jobUID="other"), "`specHash` and `jobUID` must be those of spec.json",
    ),
}  # fmt: skip


@pytest.mark.parametrize("job", [COMPLETE, STOPPED], ids=["ended", "gave up"])
@pytest.mark.parametrize("case", FAULTS.values(), ids=FAULTS)
def test_a_document_that_cannot_be_read_is_told_with_its_field(
    case: tuple[str, str], job: Any
) -> None:
    text, fault = case
    assert told(decided(text, job=job)) == (
        "InvalidResult",
        f"the result document cannot be read: {fault}. Correct what the image of "
        "`template.image` writes",
    )


def test_a_program_that_leaves_no_document_is_told_with_its_last_words() -> None:
    pod = PodView(
        name="p", created=NOW, phase="Failed", exit_code=2, message="Traceback\nKeyError: 'x'\n"
    )
    assert told(decided("", job=STOPPED, pods=(pod,))) == (
        "InvalidResult",
        "the image of `template.image` ended without a result document (KeyError: 'x'): it must "
        "set the tag 'linnet.dev/result' of a run with this job's tags, or write the document to "
        "/dev/termination-log",
    )


def test_a_whole_document_beside_a_cut_one_counts() -> None:
    pod = PodView(name="p", created=NOW, phase="Succeeded", exit_code=0, message=write()[:99])

    assert told(decided(write(), pods=(pod,)))[0] == "Completed"


def test_its_own_error_is_passed_on() -> None:
    text = write(outcome="Error", reason="InvalidData", message="no rows", version=None, gates=None)
    assert told(decided(text, job=STOPPED)) == ("InvalidData", "no rows")


def test_a_claimed_version_waits_for_the_registry() -> None:
    plan = decided(write(), model=None, model_read=False, registry_error="down")

    assert (plan.records, plan.status.result) == (False, None)


def with_spec(**changes: Any) -> Observation:
    return replace(BASE, spec=TrainingJobSpec.model_validate({**SPEC, **changes}))


def answered(seen: Observation, *gates: Any, **changes: Any) -> tuple[str, str]:
    full_hash = resources.spec_hash(seen)
    text = write(specHash=full_hash, gates=list(gates))
    status = NAMED.model_copy(update={"spec_hash": full_hash})
    return told(decided(text, spec=seen.spec, status=status, **changes))


def test_a_waived_check_needs_no_answer() -> None:
    waivers = [{"check": "Leakage", "reason": "looked at by hand"}]
    seen = with_spec(waivers=waivers)

    assert answered(seen, MINIMUM, NEVER_WORSE, *STANDING[1:])[0] == "Completed"
    waived = gate("Leakage", "Waived")
    assert answered(seen, MINIMUM, NEVER_WORSE, waived, *STANDING[1:])[0] == "Completed"


def test_a_regression_has_no_imbalance_and_a_schema_gate_stands_for_its_check() -> None:
    seen = with_spec(
        task="Regression",
        gates=[SPEC["gates"][0], {"name": "columns", "schema": {"allowNewColumns": ["wind"]}}],
    )
    checks = [each for each in STANDING if each["name"] not in ("Imbalance", "Schema")]

    assert answered(seen, MINIMUM, gate("columns"), *checks)[0] == "Completed"
    assert "gate 'columns' of `spec.gates`" in answered(seen, MINIMUM, *checks)[1]


def test_of_clusters_only_the_second_fit_is_asked() -> None:
    seen = with_spec(
        task="Clustering", data={"table": {"uri": "s3://data/a.csv"}}, gates=[SPEC["gates"][0]]
    )
    assert answered(seen, MINIMUM, gate("Reproducible"))[0] == "Completed"
    assert "the standing check 'Reproducible'" in answered(seen, MINIMUM)[1]


def test_no_champion_is_no_excuse_where_there_is_one() -> None:
    absent = gate("never-worse", "NoChampion")
    gates = [MINIMUM, absent, *STANDING]

    assert answered(BASE, *gates)[0] == "Completed"
    crowned = replace(MODEL, aliases={"champion": "2"})
    assert answered(BASE, *gates, model=crowned)[1] == (
        "gate 'never-worse' says that it passed, and its reason is 'NoChampion', although alias "
        f"'champion' names version 2{KEPT}"
    )


LIMITS: dict[str, tuple[dict[str, Any], str, str]] = {
    "overfit": ({"metric": "roc_auc", "overfit": {"maxDrop": "0.05"}}, "0.05", "0.051"),
    "fairness": (
        {"metric": "roc_auc", "fairness": {"column": "a", "maxDifference": "0.1"}}, "0.1", "0.2",
    ),
    "latency": ({"latency": {"maximum": "5ms"}}, "4.9ms", "5.1ms"),
    "size": ({"size": {"maximum": "1Ki"}}, "1024", "1025"),
}  # fmt: skip


@pytest.mark.parametrize("case", LIMITS.values(), ids=LIMITS)
def test_a_limit_holds_for_the_figure(case: tuple[dict[str, Any], str, str]) -> None:
    asked, within, above = case
    seen = with_spec(gates=[{"name": "limit", **asked}])

    def says(value: str) -> str:
        return answered(seen, gate("limit", "WithinLimit", value=value), *STANDING)[0]

    assert (says(within), says(above), says("")) == ("Completed", "InvalidResult", "InvalidResult")


def test_the_container_runs_what_the_spec_names() -> None:
    def container(seen: Observation) -> Any:
        return resources.make_job(seen, HASH)["spec"]["template"]["spec"]["containers"][0]

    made = container(BASE)
    assert (made["image"], made["command"], made["args"]) == (
        "me/trainer:1",
        ["python"],
        ["/code/train.py"],
    )
    bare = container(with_spec(custom={}))
    assert "command" not in bare
    assert "args" not in bare


def test_another_image_is_another_recipe() -> None:
    other = with_spec(template={"image": "me/trainer:2"})

    assert resources.spec_hash(other) != HASH
    assert resources.rendered_spec(BASE)["custom"]["image"] == "me/trainer:1"


def test_only_a_believed_result_of_an_older_object_is_adopted() -> None:
    older = replace(MODEL, versions={"3": VersionView(version="3", artifact_uri="", tags=OURS)})
    plan = decided(write(), status=TrainingJobStatus(), job=None, uid="newer", model=older)
    assert (plan.status.version, plan.status.job_name) == ("3", None)

    plan = decided(
        write(gates=STANDING), status=TrainingJobStatus(), job=None, uid="newer", model=older
    )
    assert plan.status.result is None
    assert plan.status.job_name == NAMED.job_name, "it is trained anew"
    made = decided("", status=plan.status, job=None).actions
    assert any(isinstance(action, CreateObject) for action in made)
