"""What is decided about one TrainingJob, and what is said of it, by tables."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import NOW
from linnet.api.reasons import Reason
from linnet.api.training_job import AliasStatus, TrainingJobSpec, TrainingJobStatus
from linnet.core.jobs import PodView
from linnet.core.plan import ApplyObject, CloseRun, CreateObject, PatchObject, Plan, SetAlias
from linnet.core.registry import ModelView, RunView, VersionView
from linnet.core.training import planner, policy, resources
from linnet.core.training.state import Observation
from linnet_trainer import contract
from simulation import TRAINING
from training_builders import begun, observation

BASE = observation(TRAINING)
HASH = resources.spec_hash(BASE)
NAMED = begun(BASE)


def document(**changes: Any) -> contract.Result:
    values: dict[str, Any] = {
        "spec_hash": HASH,
        "job_uid": "uid-job",
        "outcome": contract.Outcome.PASSED,
        "reason": contract.Reason.COMPLETED,
        "message": "the gates passed",
        "version": "3",
        "run_id": "r",
    }
    return contract.Result(**{**values, **changes})


def ended_pod(code: int | None = 0, text: str = "", **changes: Any) -> PodView:
    return PodView(
        name="pod", created=NOW, phase="Succeeded", exit_code=code, message=text, **changes
    )


def run_with(text: str = "", status: str = "FINISHED", **tags: str) -> RunView:
    given = {contract.TAG_RESULT: text} if text else {}
    return RunView(run_id="r", experiment_id="1", status=status, tags={**given, **tags})


def job(kind: str = "", reason: str = "", **spec: Any) -> Any:
    conditions = [{"type": kind, "status": "True", "reason": reason}] if kind else []
    live = {
        "suspend": False,
        "activeDeadlineSeconds": 600,
        "ttlSecondsAfterFinished": BASE.spec.ttl_seconds_after_finished,
        **spec,
    }
    name = NAMED.job_name
    return {"metadata": {"name": name}, "spec": live, "status": {"conditions": conditions}}


def decided(**changes: Any) -> Plan[TrainingJobStatus]:
    return planner.decide(replace(BASE, **changes), now=NOW)


def finished(**changes: Any) -> TrainingJobStatus:
    """Status after a passed result was recorded."""
    plan = decided(
        status=NAMED, job=job("Complete"), pods=(ended_pod(0, contract.render(document())),)
    )
    return plan.status.model_copy(update=changes)


def test_the_job_is_named_before_it_is_made() -> None:
    plan = decided()
    assert plan.records
    assert plan.actions == ()
    assert plan.status.job_name == NAMED.job_name
    assert [event.note for event in plan.events] == [f"Job {NAMED.job_name} is made"]


def test_the_recipe_lies_there_before_the_job_starts() -> None:
    plan = decided(status=NAMED)
    assert [type(action) for action in plan.actions] == [ApplyObject, CreateObject]
    assert not plan.records


def test_a_registry_that_is_down_starts_nothing() -> None:
    plan = decided(registry_error="connection refused")
    assert (plan.records, plan.actions) == (False, ())
    assert plan.conditions[0].message == (
        "the registry does not answer, training starts when it does: connection refused"
    )
    assert plan.requeue_after == planner.RETRY


PASSED = contract.render(document())
RESULTS: dict[str, tuple[dict[str, Any], tuple[str, str] | None]] = {
    "a termination message": (
        {"job": job("Complete"), "pods": (ended_pod(0, PASSED),)}, ("Completed", "3"),
    ),
    "a run's tag": (
        {"job": job("Complete"), "pods": (ended_pod(),), "run": run_with(PASSED)},
        ("Completed", "3"),
    ),
    "a run's tag beside a cut message": (
        {"job": job("Complete"), "pods": (ended_pod(0, PASSED[:50]),), "run": run_with(PASSED)},
        ("Completed", "3"),
    ),
    "a run's tag without a Job": ({"run": run_with(PASSED)}, ("Completed", "3")),
    "a refusal": (
        {
            "job": job("Complete"),
            "run": run_with(
                contract.render(
                    document(
                        outcome=contract.Outcome.REFUSED,
                        reason=contract.Reason.GATE_REFUSED,
                        version="",
                    )
                )
            ),
        },
        ("GateRefused", ""),
    ),
    "a document of another recipe": (
        {"job": job("Complete"), "run": run_with(contract.render(document(spec_hash="0" * 64)))},
        ("TrainerFailed", ""),
    ),
    "a document of another object": (
        {"job": job("Complete"), "run": run_with(contract.render(document(job_uid="other")))},
        ("TrainerFailed", ""),
    ),
    "no document, registry down": (
        {"job": job("Complete"), "registry_error": "down"}, None,
    ),
    "a running job": ({"job": job()}, None),
    "a deadline": ({"job": job("Failed", "DeadlineExceeded")}, ("DeadlineExceeded", "")),
    "out of memory": (
        {
            "job": job("Failed", "BackoffLimitExceeded"),
            "pods": (ended_pod(137, out_of_memory=True),),
        },
        ("OutOfMemory", ""),
    ),
    "no try left": (
        {"job": job("Failed", "BackoffLimitExceeded"), "pods": (ended_pod(1, "x\nwhy\n"),)},
        ("RetriesExhausted", ""),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", RESULTS.values(), ids=RESULTS)
def test_results(case: tuple[dict[str, Any], tuple[str, str] | None]) -> None:
    changes, expected = case
    plan = decided(status=NAMED, **changes)
    result = plan.status.result
    assert (result and (result.reason, result.version or "")) == expected
    assert plan.records is (expected is not None)


def test_a_pod_out_of_memory_says_which_limit_it_met() -> None:
    pods = (ended_pod(137, out_of_memory=True),)
    plan = decided(status=NAMED, job=job("Failed", "BackoffLimitExceeded"), pods=pods)

    assert plan.status.result is not None
    assert "its limit of 2Gi: raise `spec.template.resources.limits.memory`" in (
        plan.status.result.message
    )


def test_a_finished_run_of_an_older_object_is_adopted_before_a_job_is_named() -> None:
    plan = decided(run=run_with(contract.render(document(job_uid="older"))))
    assert plan.records
    assert (plan.status.version, plan.status.job_name) == ("3", None)


def test_after_the_result_nothing_is_made_again() -> None:
    plan = decided(status=finished(), model_read=False)
    assert not any(isinstance(a, ApplyObject | CreateObject) for a in plan.actions)


def model(**aliases: str) -> ModelView:
    versions = {v: VersionView(version=v, artifact_uri="") for v in ("2", "3", "4")}
    return ModelView(name="delays", aliases=aliases, versions=versions)


DECIDED = AliasStatus(name="challenger", version="3")
MOVED = AliasStatus(name="challenger", version="3", moved_time="2026-11-25T12:00:00Z")
YIELDED = AliasStatus(name="challenger", version="4")
ALIASES: dict[str, tuple[AliasStatus | None, ModelView, AliasStatus | None, bool]] = {
    "no alias yet is decided": (None, model(), DECIDED, False),
    "an older one is decided": (None, model(challenger="2"), DECIDED, False),
    "a newer one is left": (None, model(challenger="4"), YIELDED, False),
    "a decision is performed": (DECIDED, model(challenger="2"), DECIDED, True),
    "a move that is seen is recorded": (DECIDED, model(challenger="3"), MOVED, False),
    "a newer one after the decision is left": (DECIDED, model(challenger="4"), YIELDED, False),
    "a moved alias is never written again": (MOVED, model(challenger="2"), MOVED, False),
    "an alias that was left is never taken": (YIELDED, model(challenger="2"), YIELDED, False),
}


@pytest.mark.parametrize("case", ALIASES.values(), ids=ALIASES)
def test_the_alias(case: tuple[AliasStatus | None, ModelView, AliasStatus | None, bool]) -> None:
    before, seen, after, writes = case
    plan = decided(status=finished(alias=before), model=seen, model_read=True)
    assert plan.status.alias == after
    assert plan.records is (before != after)
    assert any(isinstance(action, SetAlias) for action in plan.actions) is writes


def test_an_alias_that_is_not_asked_for_is_not_moved() -> None:
    spec = TrainingJobSpec.model_validate({**TRAINING, "model": {"name": "delays", "alias": ""}})
    plan = decided(spec=spec, status=finished(), model=model(), model_read=True)
    assert (plan.records, plan.actions, plan.status.alias) == (False, (), None)


def test_the_open_run_of_a_failed_training_is_closed() -> None:
    failed = decided(status=NAMED, job=job("Failed", "DeadlineExceeded")).status
    plan = decided(status=failed, run=run_with(status="RUNNING"))
    assert plan.actions == (CloseRun(run_id="r"),)
    assert decided(status=failed, run=run_with(status="KILLED")).actions == ()


CHANGES: dict[str, tuple[dict[str, Any], Any, dict[str, Any], str]] = {
    "nothing": ({}, job(), {}, ""),
    "suspend": ({"suspend": True}, job(), {"suspend": True}, ""),
    "suspend belongs to the queue": ({"suspend": True}, job(), {}, "queue"),
    "a deadline": (
        {"activeDeadlineSeconds": 900}, job(), {"activeDeadlineSeconds": 900}, "",
    ),
    "a deadline of an ended job": ({"activeDeadlineSeconds": 900}, job("Complete"), {}, ""),
    "a time to live": (
        {"ttlSecondsAfterFinished": 5}, job("Complete"), {"ttlSecondsAfterFinished": 5}, "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CHANGES.values(), ids=CHANGES)
def test_only_three_fields_of_a_job_are_ever_changed(
    case: tuple[dict[str, Any], Any, dict[str, Any], str],
) -> None:
    changed, live, patch, queue = case
    spec = TrainingJobSpec.model_validate({**TRAINING, **changed})
    assert resources.spec_hash(replace(BASE, spec=spec)) == HASH
    seen = replace(BASE, spec=spec, status=NAMED, job=live, queue=queue)
    patches = [a.patch for a in planner.actions(seen, NAMED) if isinstance(a, PatchObject)]
    assert patches == ([{"spec": patch}] if patch else [])


def test_one_recipe_of_two_objects_is_two_jobs_that_take_no_result_of_each_other() -> None:
    other = replace(BASE, name="delays-again", uid="uid-other")
    assert resources.spec_hash(other) == HASH

    named = planner.decide(other, now=NOW).status
    assert named.job_name == f"delays-again-train-{HASH[:8]}" != NAMED.job_name
    found = made(replace(other, status=named))
    assert found["Job"]["metadata"]["name"] == named.job_name
    assert variables(found["Job"])["LINNET_JOB_UID"]["value"] == "uid-other"
    # What the first one left is the newest run under that hash, and still not this one's.
    pods = (ended_pod(0, PASSED),)
    plan = planner.decide(
        replace(other, status=named, job=job("Complete"), pods=pods, run=run_with(PASSED)), now=NOW
    )
    assert plan.status.result is not None
    assert plan.status.result.reason == "TrainerFailed"


def test_another_recipe_is_another_job() -> None:
    other = TrainingJobSpec.model_validate(
        {**TRAINING, "data": {**TRAINING["data"], "target": "cancelled"}}
    )
    assert resources.spec_hash(replace(BASE, spec=other)) != HASH


def test_sentences_of_failures() -> None:
    def says(**changes: Any) -> str:
        return policy.failure(replace(BASE, **changes)).message

    assert says(job=job("Failed", "DeadlineExceeded")) == (
        "the training ran longer than 600 s: raise `spec.activeDeadlineSeconds` in a new "
        "TrainingJob, or give it less to do"
    )
    assert says(job=job("Failed", "BackoffLimitExceeded"), pods=(ended_pod(1, "x\nwhy"),)) == (
        "1 pod failed: why"
    )
    assert says(job=job("Failed", "PodFailurePolicy")) == (
        "the trainer failed: see the log of its pod"
    )
    assert says(job=job("Complete")) == (
        "the trainer ended without a result: see the log of its pod"
    )


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"invalid": "`spec.data`: wrong"}, ("InvalidSpec", "`spec.data`: wrong")),
        (
            {"model_allowed": False},
            (
                "ModelNotAllowed",
                "namespace 'team' may not use the model 'delays' (`spec.model.name`): use an "
                "allowed name, or ask whoever runs the operator to extend LINNET_MODEL_PREFIXES",
            ),
        ),
        (
            {"foreign": "Job delays-train"},
            (
                "NameTaken",
                "Job delays-train exists and is not ours: delete or rename it, or give this "
                "object another name",
            ),
        ),
    ],
)
def test_what_must_be_mended_first_stops_everything(
    changes: dict[str, Any], expected: tuple[str, str]
) -> None:
    plan = decided(**changes)
    assert (plan.records, plan.actions) == (False, ())
    conditions = {each.type: each for each in plan.conditions}
    assert (conditions["Stalled"].reason, conditions["Stalled"].message) == expected
    assert conditions["Complete"].status == "False"


def test_a_refused_child_is_named() -> None:
    plan = decided(status=NAMED, problems={"Job j": "quota"})
    stalled = next(each for each in plan.conditions if each.type == "Stalled")
    assert stalled.reason == Reason.INVALID_TEMPLATE
    assert stalled.message == "the API server refuses Job j: quota. Correct `spec.template`"


def test_an_impossible_observation_is_refused() -> None:
    with pytest.raises(ValueError, match="has not been read"):
        replace(BASE, model_read=True, registry_error="down")


def test_progress_that_cannot_be_read_stops_nothing() -> None:
    seen = run_with(status="RUNNING", **{contract.TAG_PROGRESS: "{nonsense"})
    plan = decided(status=NAMED, job=job(), run=seen, created=NOW - timedelta(hours=1))
    assert plan.status.progress is None
    assert plan.status.run is not None


def test_a_search_is_told_as_the_run_tells_it_and_stays_when_the_run_cannot_be_read() -> None:
    best = {"number": 2, "value": "0.71", "parameters": [{"name": "C", "value": "0.3"}]}
    told = {"completed": 3, "running": 1, "failed": 0, "of": 20, "best": best}
    progress = {"stage": "Searching", "percent": 26, "message": "3 of 20", "remainingSeconds": 90}
    tags = {contract.TAG_SEARCH: json.dumps(told), contract.TAG_PROGRESS: json.dumps(progress)}
    plan = decided(status=NAMED, job=job(), run=run_with(status="RUNNING", **tags))
    assert plan.status.search is not None
    assert plan.status.search.model_dump(mode="json", by_alias=True) == told
    assert plan.status.progress is not None
    assert plan.status.progress.remaining_seconds == 90

    broken = run_with(status="RUNNING", **{contract.TAG_SEARCH: "{"})
    assert decided(status=plan.status, job=job(), run=broken).status.search == plan.status.search


SEARCH: dict[str, Any] = {"parameters": [{"name": "C", "int": {"min": 1, "max": 9}}]}


def searching(**search: Any) -> Observation:
    spec = TrainingJobSpec.model_validate({**TRAINING, "search": {**SEARCH, **search}})
    seen = replace(BASE, spec=spec)
    found = resources.spec_hash(seen)
    return replace(
        seen, status=TrainingJobStatus(spec_hash=found, job_name=f"delays-train-{found[:8]}")
    )


def made(seen: Observation) -> dict[str, Any]:
    """The children that are made, by kind."""
    actions = planner.decide(seen, now=NOW).actions
    manifests = [a.manifest for a in actions if isinstance(a, ApplyObject | CreateObject)]
    return {manifest["kind"]: manifest for manifest in manifests}


def variables(job: Any) -> dict[str, Any]:
    return {each["name"]: each for each in job["spec"]["template"]["spec"]["containers"][0]["env"]}


def test_the_pods_of_a_search_find_the_first_one_by_a_headless_service() -> None:
    seen = searching(parallelism=3)
    found, name = made(seen), seen.status.job_name
    assert list(found) == ["ConfigMap", "Service", "Job"], "the name is there before the pods ask"
    service, job = found["Service"], found["Job"]["spec"]
    assert service["metadata"]["name"] == name
    assert service["metadata"]["ownerReferences"][0]["uid"] == "uid-job"
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"] is True
    assert service["spec"]["selector"] == {"batch.kubernetes.io/job-name": name}
    assert [each["port"] for each in service["spec"]["ports"]] == [8092]
    assert (job["completionMode"], job["completions"], job["parallelism"]) == ("Indexed", 3, 3)
    assert job["template"]["spec"]["subdomain"] == name
    assert variables(found["Job"])["LINNET_STUDY_URL"]["value"] == (
        f"grpc://{name}-0.{name}.team.svc:8092"
    )
    assert "Service" not in made(replace(seen, service=service))


def test_a_search_in_one_pod_needs_no_service() -> None:
    found = made(searching())
    assert list(found) == ["ConfigMap", "Job"]
    assert found["Job"]["spec"]["completions"] == 1
    assert "subdomain" not in found["Job"]["spec"]["template"]["spec"]
    assert "LINNET_STUDY_URL" not in variables(found["Job"])


def test_a_search_on_ray_has_one_pod_however_many_trials_run_at_once() -> None:
    found = made(searching(engine="RayTune", ray={"address": "head:6379"}, parallelism=4))
    assert list(found) == ["ConfigMap", "Job"]
    assert found["Job"]["spec"]["completions"] == 1
    document = json.loads(found["ConfigMap"]["data"]["spec.json"])
    assert document["spec"]["search"]["parallelism"] == 4


def test_the_url_of_a_database_is_a_key_that_only_the_pods_read() -> None:
    storage = {"secretRef": {"name": "studies"}}
    found = made(searching(parallelism=2, storage=storage))
    assert list(found) == ["ConfigMap", "Job"]
    assert variables(found["Job"])["LINNET_STUDY_URL"] == {
        "name": "LINNET_STUDY_URL",
        "valueFrom": {"secretKeyRef": {"name": "studies", "key": "url"}},
    }


def test_a_search_trains_while_one_of_its_pods_waits() -> None:
    def pod(name: str, phase: str) -> PodView:
        return PodView(name=name, created=NOW, phase=phase)

    def says(*pods: PodView) -> str:
        plan = planner.decide(replace(searching(parallelism=2), job=job(), pods=pods), now=NOW)
        return plan.conditions[0].reason

    assert says(pod("a", "Running"), pod("b", "Pending")) == "Training"
    assert says(pod("a", "Pending"), pod("b", "Pending")) == "Queued"
    assert says(pod("a", "Failed"), pod("b", "Pending")) == "Queued"


def test_the_claims_of_what_is_read_are_mounted_once_each() -> None:
    def claims(table: str, dictionary: str, repository: str = "") -> tuple[list[str], list[str]]:
        feast = {"repoUri": repository, "featureService": "f", "entities": {"uri": table}}
        source = {"feast": feast, "timestamp": "at"} if repository else {"table": {"uri": table}}
        data = {**source, "target": "late", "dictionary": {"uri": dictionary}}
        spec = TrainingJobSpec.model_validate({**TRAINING, "data": data})
        pod = resources.make_job(replace(BASE, spec=spec), HASH)["spec"]["template"]["spec"]
        mounts = {each["name"]: each["mountPath"] for each in pod["containers"][0]["volumeMounts"]}
        volumes = [each for each in pod["volumes"] if "persistentVolumeClaim" in each]
        return (
            [each["persistentVolumeClaim"]["claimName"] for each in volumes],
            [mounts[each["name"]] for each in volumes],
        )

    folder = "/var/run/linnet/pvc"
    assert claims("pvc://a/x.csv", "pvc://b/d.csv") == (["a", "b"], [f"{folder}/a", f"{folder}/b"])
    assert claims("pvc://a/x.csv", "pvc://a/d.csv") == (["a"], [f"{folder}/a"])
    assert claims("s3://a/x.csv", "pvc://b/d.csv") == (["b"], [f"{folder}/b"])
    assert claims("pvc://a/x.csv", "s3://b/d.csv", "pvc://c/repo")[0] == ["c", "a"]


def test_the_code_of_a_module_is_one_file_that_may_be_absent() -> None:
    code = {"configMapName": "code", "key": "delays.py", "entry": "build"}
    given = {key: value for key, value in TRAINING.items() if key != "pipeline"} | {"module": code}
    seen = replace(BASE, spec=TrainingJobSpec.model_validate(given))
    job = resources.make_job(seen, HASH)["spec"]["template"]["spec"]
    items = [{"key": "delays.py", "path": "module.py"}]
    assert {
        "name": "module", "configMap": {"name": "code", "items": items, "optional": True},
    } in job["volumes"]  # fmt: skip
    mount = {"name": "module", "mountPath": "/etc/linnet/module", "readOnly": True}
    assert mount in job["containers"][0]["volumeMounts"]
