"""The result document: its bounds, its names, what it refuses to say."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from linnet_trainer import contract
from linnet_trainer.contract import Exit, Gate, GateReason, Metric, Outcome, Reason, Result

PASSED = Result(
    spec_hash="a" * 64,
    job_uid="u",
    run_id="r",
    model_id="m-1",
    version="8",
    outcome=Outcome.PASSED,
    reason=Reason.COMPLETED,
    message="roc_auc 0.701 on 31 days",
    metrics=(Metric(name="roc_auc", value="0.7012"),),
    gates=(
        Gate(
            name="never-worse",
            passed=True,
            value="0.058",
            bound="0.004",
            n=31,
            reason=GateReason.NOT_WORSE_THAN_CHAMPION,
            message="not worse",
        ),
    ),
    rows=80193,
    trained_until="2013-03-01T00:00:00Z",
    content_digest="sha256:c",
    data_sha256="sha256:d",
)


def test_a_result_has_the_names_of_the_contract_and_comes_back_as_it_was() -> None:
    text = contract.render(PASSED)

    assert contract.parse(text) == PASSED
    assert json.loads(text) == {
        "v": 1,
        "specHash": "a" * 64,
        "jobUID": "u",
        "runID": "r",
        "modelID": "m-1",
        "version": "8",
        "outcome": "Passed",
        "reason": "Completed",
        "message": "roc_auc 0.701 on 31 days",
        "metrics": [{"name": "roc_auc", "value": "0.7012"}],
        "gates": [
            {
                "name": "never-worse",
                "passed": True,
                "value": "0.058",
                "bound": "0.004",
                "n": 31,
                "reason": "NotWorseThanChampion",
                "message": "not worse",
            }
        ],
        "rows": 80193,
        "trainedUntil": "2013-03-01T00:00:00Z",
        "contentDigest": "sha256:c",
        "dataSha256": "sha256:d",
    }


@pytest.mark.parametrize("letter", ["x", "ä", "試"])
def test_the_largest_result_fits_and_keeps_every_gate_and_identity(letter: str) -> None:
    gates = tuple(
        Gate(
            name="g" * 60 + f"{number:03d}",
            passed=False,
            value="-0.1234",
            bound="-0.5678",
            n=1000,
            reason=GateReason.CHAMPION_SAW_HOLDOUT,
            message=letter * 5000,
        )
        for number in range(contract.GATES)
    )
    metrics = tuple(Metric(name="m" * 30, value="0.1234") for _ in range(contract.METRICS))
    result = Result(
        spec_hash="a" * 64,
        job_uid="b" * 36,
        run_id="c" * 32,
        model_id="m-" + "d" * 32,
        outcome=Outcome.REFUSED,
        reason=Reason.GATE_REFUSED,
        message=letter * 5000,
        metrics=metrics,
        gates=gates,
        content_digest="sha256:" + "e" * 64,
        data_sha256="sha256:" + "f" * 64,
    )
    text = contract.render(result)
    read = contract.parse(text)

    assert len(text.encode()) <= contract.RESULT_BYTES
    assert read.message.endswith("…")
    assert [gate.name for gate in read.gates] == [gate.name for gate in gates]
    assert (read.run_id, read.model_id) == (result.run_id, result.model_id)


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"v": 2}', '{"v": 1, "outcome": "Passed"}', "Killed", "null"]
)
def test_what_is_no_result_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"result document|'v'|version"):
        contract.parse(text)


@pytest.mark.parametrize(
    ("outcome", "reason", "version"),
    [
        (Outcome.PASSED, Reason.GATE_REFUSED, ""),
        (Outcome.ERROR, Reason.COMPLETED, ""),
        (Outcome.ERROR, Reason.GATE_REFUSED, ""),
        (Outcome.REFUSED, Reason.GATE_REFUSED, "8"),
    ],
)
def test_a_result_that_contradicts_itself_cannot_be_made(
    outcome: Outcome, reason: Reason, version: str
) -> None:
    with pytest.raises(ValueError, match=r"belongs to|has a version"):
        Result(
            spec_hash="", job_uid="", outcome=outcome, reason=reason, message="", version=version
        )


def test_an_error_ends_the_job_and_a_refusal_is_a_result() -> None:
    def code(outcome: Outcome, reason: Reason) -> Exit:
        return Result(spec_hash="", job_uid="", outcome=outcome, reason=reason, message="").exit

    assert code(Outcome.PASSED, Reason.COMPLETED) == 0
    assert code(Outcome.REFUSED, Reason.GATE_REFUSED) == 0
    assert code(Outcome.ERROR, Reason.INVALID_DATA) == 2


def test_the_operator_imports_the_contract_without_anything_heavy() -> None:
    code = (
        "import sys; import linnet_trainer.contract; "
        "print(sorted({'numpy', 'pandas', 'sklearn', 'mlflow', 'pyarrow'} & set(sys.modules)))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert told.stdout.strip() == "[]"
