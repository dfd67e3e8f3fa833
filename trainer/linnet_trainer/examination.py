"""Everything that a fitted model is asked before it may become a version: gates, then checks.

The gates come in the order of the spec, the standing checks after them. `Schema` stands under the
name of the spec's own `schema` gate where there is one. The second fit of `Reproducible` is made
last, and only for a model that nothing else refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from linnet_trainer import (
    champion,
    checks,
    contract,
    data,
    dictionary,
    evaluate,
    gates,
    leakage,
    limits,
    split,
)
from linnet_trainer.checks import Finding
from linnet_trainer.contract import Check, Gate, GateReason, Reason
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import GateSpec, Limited, Recipe
from linnet_trainer.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A fitted model with the rows, answers and scores that speak for it or against it."""

    recipe: Recipe
    rows: data.Rows
    held: split.Split
    facts: Mapping[str, Any]
    """How the holdout was chosen."""
    target: Target
    features: Sequence[data.Feature]
    table: pd.DataFrame
    """The features of all rows."""
    times: pd.Series | None
    dictionary: dictionary.Dictionary
    answers: evaluate.Given
    """The model's answers for the holdout."""
    scores: Mapping[str, float]
    training_scores: Mapping[str, float]
    rival: champion.Rival | None
    look: int
    folder: Path
    """The artifact, as it was uploaded."""
    content: str
    again: Callable[[], tuple[Mapping[str, float], str, float]]
    """Fit once more; return the holdout's metrics, the content digest, and the seconds it took."""


def also_read(recipe: Recipe) -> list[str]:
    """Return columns that are no features and are looked at, where the table has them."""
    compared = [gate.limit.column for gate in recipe.gates if gate.limit and gate.limit.column]
    columns = recipe.steps.columns
    return [*compared, *leakage.clocks(columns.listed)]


def require_columns(recipe: Recipe, rows: data.Rows) -> None:
    """Refuse a gate that names a column which the table lacks, before anything is fitted."""
    for gate in recipe.gates:
        if gate.limit and gate.limit.column and gate.limit.column not in rows.frame:
            raise Refusal(
                Reason.INVALID_DATA,
                f"gates '{gate.name}': `fairness.column` names '{gate.limit.column}', which is no "
                f"column of {recipe.table.uri}",
            )


def examine(case: Case) -> tuple[Finding, ...]:
    """Ask everything; return what was found, gates first.

    Raises:
        Refusal: the metric of a gate does not fit the task.
    """
    found = [*(_asked(spec, case) for spec in case.recipe.gates), *_standing(case)]
    if all(finding.gate.passed for finding in found):
        found.append(_repeated(case))
    return tuple(found)


def shown(found: Sequence[Finding]) -> tuple[Gate, ...]:
    """Return the gates that the result has room for: of too many, the last that passed are left
    to the run."""
    kept = [finding.gate for finding in found]
    while len(kept) > contract.GATES:
        passed = [at for at, gate in enumerate(kept) if gate.passed]
        kept.pop(passed[-1] if passed else -1)
    return tuple(kept)


def render(found: Sequence[Finding]) -> str:
    """Render all findings with their numbers as JSON, for the run."""
    return json.dumps(
        [{**asdict(finding.gate), "numbers": finding.numbers} for finding in found],
        indent=1,
        ensure_ascii=False,
        default=str,
    )


def figures(found: Sequence[Finding]) -> dict[str, float]:
    """Return the findings that are one number, as metrics of the run: `gate_<name>`."""
    values: dict[str, float] = {}
    for finding in found:
        try:
            values[f"gate_{finding.gate.name}"] = float(finding.gate.value.removesuffix("ms"))
        except ValueError:
            continue
    return values


def _asked(spec: GateSpec, case: Case) -> Finding:
    if spec.new_columns is not None:
        return checks.settle(Check.SCHEMA, _schema(spec, case), case.recipe.waivers)
    if spec.feature_set:
        assert case.rows.features is not None
        return Finding(gate=champion.judge_features(spec, case.rival, case.rows.features))
    if spec.documented:
        return dictionary.judge(spec, case.dictionary, list(case.rows.frame))
    if spec.limit is not None:
        return _limited(spec, case)
    return Finding(gate=_measured(spec, case))


def _limited(spec: GateSpec, case: Case) -> Finding:
    assert spec.limit is not None
    if spec.limit.of is Limited.OVERFIT:
        return limits.overfit(spec, case.training_scores, case.scores)
    if spec.limit.of is Limited.LATENCY:
        return limits.latency(spec, case.folder)
    if spec.limit.of is Limited.SIZE:
        return limits.size(spec, case.folder)
    values = case.rows.frame[spec.limit.column].iloc[case.held.holdout]
    return limits.fairness(spec, values, case.answers, case.target.codes[case.held.holdout])


def _measured(spec: GateSpec, case: Case) -> Gate:
    if spec.champion:
        return champion.judge(
            spec,
            case.rival,
            recipe=case.recipe,
            rows=case.rows,
            held=case.held,
            facts=case.facts,
            target=case.target,
            answers=case.answers,
            look=max(case.look, 1),
        )
    if spec.metric not in case.scores:
        return gates.refuse(
            spec, GateReason.CHECK_FAILED, f"{spec.metric} is not defined on the holdout"
        )
    return gates.judge_minimum(spec, case.scores[spec.metric], rows=len(case.held.holdout))


def _standing(case: Case) -> Iterator[Finding]:
    recipe, held, codes = case.recipe, case.held, case.target.codes
    signs = leakage.look_for(
        case.rows,
        case.table,
        case.features,
        codes,
        held,
        times=case.times,
        seed=recipe.seed,
        later=case.dictionary.later,
    )
    classes = case.target.classes
    found = {Check.LEAKAGE: checks.leaks(signs)}
    if classes:
        found[Check.IMBALANCE] = checks.imbalance(
            recipe, codes[held.training], codes[held.holdout], classes
        )
    found[Check.VALIDATION_SET] = checks.validation_set(recipe, codes[held.holdout], len(classes))
    if all(gate.new_columns is None for gate in recipe.gates):
        found[Check.SCHEMA] = _schema(None, case)
    for check, finding in found.items():
        yield checks.settle(check, finding, recipe.waivers)


def _schema(spec: GateSpec | None, case: Case) -> Finding:
    rival = case.rival
    if rival is None:
        return checks.without_champion(spec)
    theirs = rival.document.get("columns")
    if not theirs:
        return checks.unknown_schema(spec, rival.version, rival.obstacle or "it has no manifest")
    training = case.table.iloc[case.held.training]
    ours = [
        {
            "name": feature.name,
            "type": feature.type,
            "nullable": bool(training[feature.name].isna().any()),
        }
        for feature in case.features
    ]
    return checks.schema(spec, ours, theirs, rival.version)


def _repeated(case: Case) -> Finding:
    reason = case.recipe.waivers.get(Check.REPRODUCIBLE)
    if reason is not None:
        return checks.not_repeated(reason)
    return checks.reproducible(case.scores, case.content, case.again)
