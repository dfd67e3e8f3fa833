"""The models: names, defaults, and tolerance towards newer and older objects."""

from pathlib import Path
from typing import Any

import pydantic
import pytest
import yaml
from linnet.api import labels, schema
from linnet.api.model_deployment import (
    AnalysisStatus,
    CandidateArm,
    HistoryEntry,
    ModelDeployment,
    ModelDeploymentSpec,
    Step,
)
from linnet.api.training_job import HoldoutBy, Result, ResultOutcome, TrainingJob, Window

ROOT = Path(__file__).resolve().parents[3]
FULL = list(
    yaml.safe_load_all(
        (ROOT / "tests/cluster/test_crds_manifests.yaml").read_text(encoding="utf-8")
    )
)
KINDS = {kind.KIND: kind for kind in schema.KINDS}


def deployment(spec: dict[str, Any]) -> ModelDeploymentSpec:
    return ModelDeploymentSpec.model_validate({"model": {"name": "delays"}, **spec})


@pytest.mark.parametrize("made", FULL, ids=lambda m: f"{m['kind']}-{len(m['spec'])}")
def test_a_manifest_comes_back_as_it_was_written(made: dict[str, Any]) -> None:
    """Every field of the specification's manifests has a field in the models, of that name."""
    model: Any = KINDS[made["kind"]].model_validate(made)

    assert _missing(made["spec"], model.spec.manifest(), "spec") == []


def _missing(written: Any, read: Any, path: str) -> list[str]:
    if isinstance(written, dict):
        return [
            problem
            for key, value in written.items()
            for problem in _missing(value, (read or {}).get(key), f"{path}.{key}")
        ]
    if isinstance(written, list):
        assert len(written) == len(read), path
        return [
            problem
            for index, (value, other) in enumerate(zip(written, read, strict=True))
            for problem in _missing(value, other, f"{path}[{index}]")
        ]
    return [] if written == read else [f"{path}: {written!r} became {read!r}"]


def test_an_older_operator_survives_a_newer_field() -> None:
    spec = deployment({"sharding": {"by": "region"}})

    assert spec.server.replicas == 2


def test_what_a_newer_definition_would_refuse_is_refused_by_the_model_too() -> None:
    with pytest.raises(pydantic.ValidationError, match="replicas"):
        deployment({"server": {"replicas": 0}})


def test_a_day_that_passes_the_pattern_and_does_not_exist_is_refused() -> None:
    with pytest.raises(pydantic.ValidationError, match="day"):
        Window.model_validate({"from": "2013-02-30T00:00:00Z"})


def test_models_are_made_by_the_names_of_python_and_written_by_those_of_the_api() -> None:
    entry = HistoryEntry(
        version="7", revision="a-v7-0", max_weight=25, from_="2026-11-23T10:00:00Z"
    )

    assert entry.manifest() == {
        "version": "7",
        "revision": "a-v7-0",
        "from": "2026-11-23T10:00:00Z",
        "maxWeight": 25,
    }


def test_capitals_of_the_api_are_kept() -> None:
    arm = CandidateArm(version="8", revision="a-v8-0", rollout_id="x")
    analysis = AnalysisStatus(max_e="3", p_value="0.3")

    assert arm.manifest()["rolloutID"] == "x"
    assert analysis.manifest() == {
        "verdict": "Undecided",
        "maxE": "3",
        "pValue": "0.3",
        "metrics": [],
    }


def test_a_result_document_is_read_as_the_trainer_writes_it() -> None:
    result = Result.model_validate(
        {
            "v": 1,
            "specHash": "abc",
            "jobUID": "uid",
            "runID": "run",
            "modelID": "m-1",
            "version": "8",
            "outcome": "Passed",
            "reason": "Completed",
            "message": "roc_auc 0.701",
            "metrics": [{"name": "roc_auc", "value": "0.7012"}],
            "gates": [{"name": "a", "passed": True, "value": "0.058", "bound": "0.004", "n": 31}],
            "rows": 80193,
            "trainedUntil": "2013-03-01T00:00:00Z",
            "contentDigest": "sha256:1",
            "dataSha256": "sha256:2",
        }
    )

    assert result.outcome is ResultOutcome.PASSED
    assert (result.run_id, result.model_id, result.data_sha256) == ("run", "m-1", "sha256:2")


def test_models_are_values() -> None:
    assert Step(weight=5) == Step(weight=5)
    assert hash(Step(weight=5)) == hash(Step(weight=5))
    with pytest.raises(pydantic.ValidationError, match="frozen"):
        Step(weight=5).weight = 6  # type: ignore[misc]


def test_enumerations_of_ours_are_compared_by_identity() -> None:
    job = TrainingJob.model_validate(FULL[1])

    assert job.spec.validation.holdout.by is HoldoutBy.TIME


def test_a_quantity_may_be_written_as_an_integer() -> None:
    spec = deployment({"server": {"template": {"resources": {"limits": {"cpu": 1}}}}})

    assert spec.server.template.resources is not None
    assert spec.server.template.resources.limits == {"cpu": "1"}


def test_an_object_without_status_has_an_empty_one() -> None:
    made = ModelDeployment.model_validate(
        {"metadata": {"name": "a", "uid": "u", "generation": 3}, "spec": {"model": {"name": "m"}}}
    )

    assert made.metadata.generation == 3
    assert made.status.conditions == ()
    assert made.status.champion is None


def test_a_status_field_manager_carries_the_install() -> None:
    assert labels.status_field_manager("ops/linnet-operator") == "linnet-status-ops-linnet-operator"
    assert len(labels.status_field_manager("a" * 200)) == 128
