"""The document of a check: bounded, and read back as it was written."""

import json
from dataclasses import replace

import pytest
from linnet_monitor import contract
from linnet_monitor.contract import Check, Column, Outcome, Reason, Reference, Signal, Window

FULL = Check(
    spec_hash="a" * 64,
    policy_uid="b" * 36,
    slot="2026-11-26T06:00:00Z",
    outcome=Outcome.DRIFTED,
    reason=Reason.FEATURE_DRIFT,
    message="é" * 700,
    run_id="c" * 32,
    report_url="http://mlflow/" + "d" * 200,
    window=Window(start="2026-11-19T00:00:00Z", until="2026-11-26T00:00:00Z"),
    rows=6214,
    new_samples=80000,
    reference=Reference(version="12", digest="sha256:" + "e" * 64, windows=84),
    score="1.234",
    rank=1,
    p_value="0.0118",
    signals=tuple(
        Signal(name=f"signal-{place}", breached=place == 0, statistic="1", message="words " * 60)
        for place in range(contract.SIGNALS)
    ),
    columns=tuple(
        Column(
            column=f"a-column-with-a-long-name-{place}", signal="features", method="Wasserstein",
            statistic="1.234", threshold="0.456", n_reference=80000, n_current=6214,
        )
        for place in range(contract.COLUMNS)
    ),
)  # fmt: skip


def test_the_largest_document_is_cut_and_keeps_what_decides() -> None:
    text = contract.render(FULL)
    assert len(text.encode()) <= contract.RESULT_BYTES
    found = contract.parse(text)
    assert [each.name for each in found.signals] == [each.name for each in FULL.signals]
    assert replace(found, signals=(), columns=(), message="", outcome=Outcome.WITHIN,
                   reason=Reason.WITHIN_THRESHOLD) == replace(
        FULL, signals=(), columns=(), message="", outcome=Outcome.WITHIN,
        reason=Reason.WITHIN_THRESHOLD,
    )  # fmt: skip


def test_a_small_document_comes_back_whole() -> None:
    small = replace(FULL, message="short", signals=FULL.signals[:1], columns=FULL.columns[:2])
    small = replace(small, signals=(replace(small.signals[0], message="x"),))
    assert contract.parse(contract.render(small)) == small


@pytest.mark.parametrize(
    "change",
    [
        {"outcome": "Within"},
        {"reason": "NoData"},
        {"v": 2},
        {"outcome": "Perhaps"},
        {"signals": [{"name": "x"}]},
        {"policyUID": None},
    ],
)
def test_a_document_that_contradicts_itself_is_refused(change: dict[str, object]) -> None:
    document = {**json.loads(contract.render(FULL)), **change}
    document = {key: value for key, value in document.items() if value is not None}
    with pytest.raises(ValueError, match="no check document"):
        contract.parse(json.dumps(document))


@pytest.mark.parametrize("text", ["", "Traceback", "[]", "{}", "null"])
def test_what_is_no_document_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no check document"):
        contract.parse(text)
