"""What a run tells people: its parameters, the result's sentence, the model card."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

from linnet_trainer import manifest
from linnet_trainer.contract import METRICS, Gate, GateReason, Metric, Outcome, Reason, Result
from linnet_trainer.gates import figure
from linnet_trainer.recipe import Check, GateSpec, Recipe, render_time


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found while training; the result and the card are written from it."""

    rows: int
    training: int
    holdout: int
    span: str
    """The holdout in words, such as `31 days`."""
    holdout_from: str
    copies: int
    positive_training: float
    positive_holdout: float
    left_out: Mapping[str, str]
    columns: Sequence[Mapping[str, Any]]
    folds: Sequence[Mapping[str, float]]
    scores: Mapping[str, float]
    training_scores: Mapping[str, float]
    warnings: Sequence[str]
    run_id: str
    model_id: str
    content_digest: str
    data_sha256: str
    trained_until: str
    holdout_sha256: str
    look: int


def params(recipe: Recipe) -> dict[str, str]:
    """Return the recipe as MLflow parameters; a retry returns the same."""
    steps, validation, table = recipe.steps, recipe.validation, recipe.table
    found = {
        "model": recipe.model,
        "data.table.uri": table.uri,
        "data.target": table.target,
        "data.timestamp": table.timestamp,
        "data.groups": table.groups,
        "data.window.from": render_time(table.start) if table.start else "",
        "data.window.until": render_time(table.until) if table.until else "",
        "seed": str(recipe.seed),
        "pipeline.imputer": steps.imputer,
        "pipeline.scaler": steps.scaler,
        "pipeline.encoder": steps.encoder,
        "pipeline.estimator": steps.estimator,
        "pipeline.balance": steps.balance,
        "validation.splitter": validation.splitter,
        "validation.folds": str(validation.folds),
        "validation.holdout.by": str(validation.by),
        "validation.holdout.fraction": str(validation.fraction or ""),
        "validation.holdout.period": str(validation.period or ""),
        **{
            f"estimator.{name}": json.dumps(value)
            for name, value in sorted(steps.parameters.items())
        },
    }
    found |= {f"gate.{gate.name}": _asked(gate) for gate in recipe.gates}
    found |= {f"waiver.{check}": reason for check, reason in recipe.waivers.items()}
    return {key: value for key, value in found.items() if value}


def _asked(gate: GateSpec) -> str:
    if gate.new_columns is not None:
        return f"no new required columns but {', '.join(gate.new_columns) or 'none'}"
    if gate.limit is not None:
        of = " ".join(filter(None, (gate.metric, gate.limit.of, gate.limit.column)))
        return f"{of} at most {gate.limit.told}"
    if gate.champion:
        return (
            f"{gate.metric} not worse than the champion by {gate.margin:g}, confidence "
            f"{gate.confidence:g}, unit {gate.unit}"
        )
    return f"{gate.metric} at least {gate.minimum}"


@functools.cache
def environment() -> str:
    """Return the installed distributions and their versions as JSON."""
    given = (each.metadata for each in metadata.distributions())
    found = {each["Name"]: each["Version"] for each in given}
    document = {"libraries": manifest.libraries(), "distributions": dict(sorted(found.items()))}
    return json.dumps(document, indent=1)


def make_result(recipe: Recipe, facts: Facts, gates: Sequence[Gate]) -> Result:
    """Make the result of a run whose gates were judged; without a version yet."""
    passed = all(gate.passed for gate in gates)
    return Result(
        spec_hash=recipe.spec_hash,
        job_uid=recipe.job_uid,
        run_id=facts.run_id,
        model_id=facts.model_id,
        outcome=Outcome.PASSED if passed else Outcome.REFUSED,
        reason=Reason.COMPLETED if passed else Reason.GATE_REFUSED,
        message=_message(recipe, facts, gates),
        metrics=tuple(
            Metric(name=name, value=figure(value))
            for name, value in list(facts.scores.items())[:METRICS]
        ),
        gates=tuple(gates),
        rows=facts.rows,
        trained_until=facts.trained_until,
        content_digest=facts.content_digest,
        data_sha256=facts.data_sha256,
    )


def card(recipe: Recipe, facts: Facts, gates: Sequence[Gate], result: Result) -> str:
    """Write the model card: the checklist of good practice, each line with its evidence."""
    validation, table = recipe.validation, recipe.table
    fold_metric = recipe.metrics[0]
    per_fold = ", ".join(f"{fold[fold_metric]:.3f}" for fold in facts.folds if fold_metric in fold)
    lines = [
        f"# {recipe.model}",
        "",
        f"{result.outcome}: {result.message}",
        "",
        f"Trained by TrainingJob `{recipe.namespace}/{recipe.name}`, run `{facts.run_id}`, logged "
        f"model `{facts.model_id}`. Intended use: predict `{table.target}` of rows like those of "
        f"`{table.uri}`. It was measured on the holdout described here, and on nothing else.",
        "",
        "## Checklist",
        "",
        "| question | evidence |",
        "| --- | --- |",
    ]
    answers = {
        "Data validated": f"{facts.rows} rows; every column of the spec is there, the target has "
        "two classes and no missing value",
        "Splits right": f"holdout by {validation.by}: {facts.holdout} rows ({facts.span}"
        + (f" from {facts.holdout_from}" if facts.holdout_from else "")
        + f"), {facts.training} for training; folds by {validation.splitter}; digest "
        f"`{facts.holdout_sha256[:16]}`",
        "No leakage": "no row of the holdout is a copy of a training row; "
        f"{facts.copies} rows of the table are copies of others; timestamp, groups and target are "
        "no features; preprocessing was fitted on training rows only",
        "Experiment tracked": f"MLflow run `{facts.run_id}` in experiment '{recipe.experiment}'",
        "Cross-validated": f"{len(facts.folds)} folds, {fold_metric}: {per_fold}",
        "Performance on the holdout": ", ".join(
            f"{name} {value:.3f}" for name, value in facts.scores.items()
        ),
        "Overfitting": ", ".join(
            f"{name} {value:.3f} on training rows" for name, value in facts.training_scores.items()
        ),
        "Searched": "not searched: the parameters are the spec's",
        "Reproducible": f"seed {recipe.seed}; data `{facts.data_sha256[:23]}`; fitted model "
        f"`{facts.content_digest[:23]}`; library versions in `environment.json`",
        "Versioned": "registered, if the gates passed, with signature, manifest and samples",
        "Monitored": "`linnet/profile.json` and `profile.parquet` lie with the model",
        "Feature pipeline documented": f"one scikit-learn Pipeline: imputer {recipe.steps.imputer},"
        f" scaler {recipe.steps.scaler}, encoder {recipe.steps.encoder}, "
        f"{recipe.steps.estimator}; columns below",
        "Plots": "none are drawn: `linnet/profile.json` holds the counts to draw them from",
    }
    lines += [f"| {question} | {_cell(told)} |" for question, told in answers.items()]
    lines += ["", "## Gates", "", "| gate | passed | finding |", "| --- | --- | --- |"]
    lines += [
        f"| {gate.name} | {'yes' if gate.passed else 'no'} | {gate.reason}: {_cell(gate.message)} |"
        for gate in gates
    ]
    if facts.look:
        lines += ["", f"Look {facts.look} at this holdout."]
    if any(gate.champion and gate.unit == "Row" for gate in recipe.gates):
        lines += ["", "That rows are independent (`unit: Row`) is the claim of the spec's author."]
    lines += ["", "## Columns", "", "| column | type | nullable | in the table |"]
    lines += ["| --- | --- | --- | --- |"]
    lines += [
        f"| {_cell(column['name'])} | {column['type']} | "
        f"{'yes' if column['nullable'] else 'no'} | {column['source']} |"
        for column in facts.columns
    ]
    if facts.left_out:
        lines += ["", "Left out: " + "; ".join(f"`{k}` ({v})" for k, v in facts.left_out.items())]
    if recipe.chosen:
        lines += [
            "",
            "Computed defaults: " + "; ".join(f"{k} = {v}" for k, v in recipe.chosen.items()),
        ]
    lines += [
        "",
        "## Classes",
        "",
        f"Share of the positive class: {facts.positive_training:.3f} in training, "
        f"{facts.positive_holdout:.3f} in the holdout.",
    ]
    if facts.warnings:
        lines += ["", "## Warnings of the estimator", ""]
        lines += [f"- {warning}" for warning in facts.warnings]
    return "\n".join(lines) + "\n"


def _message(recipe: Recipe, facts: Facts, gates: Sequence[Gate]) -> str:
    refused = [gate for gate in gates if not gate.passed]
    if refused:
        return "; ".join(
            f"{'check' if gate.name in set(Check) else 'gate'} '{gate.name}' refused: "
            f"{gate.message}"
            for gate in refused
        )
    name = recipe.metrics[0]
    parts = [f"{name} {facts.scores[name]:.3f} on {facts.span}"]
    asked = {spec.name: spec for spec in recipe.gates}
    for gate in gates:
        if gate.reason is GateReason.AT_LEAST_MINIMUM:
            parts.append(f"{asked[gate.name].metric} at least {gate.bound}")
        elif gate.name in asked:
            parts.append(gate.message)
        elif gate.reason is GateReason.WAIVED:
            parts.append(f"check '{gate.name}' {gate.message}")
    return "; ".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
