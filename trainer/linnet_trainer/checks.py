"""The standing checks: what is made sure of in every job, whether or not a gate asks for it.

A check that fails refuses, like a gate. It is let go by name only, by a waiver with a reason, which
is recorded beside what the check found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from linnet_trainer import evaluate, leakage
from linnet_trainer.contract import Check, Gate, GateReason
from linnet_trainer.gates import figure
from linnet_trainer.recipe import Axis, GateSpec, Recipe

RARE = 0.2
"""Below this share of the rarer class (of more classes, less in proportion) some gate must refuse a
model that ignores its inputs."""

MEMBERS = 10
"""So many holdout rows, of each class, are the least on which anything is measured."""

SAME = 1e-9
"""Two fits of one recipe may differ so much in a metric, for the order of floating-point sums."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What a check or gate says, and the numbers that it rests on."""

    gate: Gate
    numbers: Mapping[str, Any] = field(default_factory=dict)


def settle(check: Check, finding: Finding, waivers: Mapping[str, str]) -> Finding:
    """Let a refusal go where the spec waives the check; the finding stays in the message."""
    reason = waivers.get(check)
    if reason is None or finding.gate.passed:
        return finding
    gate = replace(
        finding.gate,
        passed=True,
        reason=GateReason.WAIVED,
        message=f"waived ({reason}): {finding.gate.message}",
    )
    return replace(finding, gate=gate)


def _judged(
    check: Check,
    message: str,
    *,
    passed: bool,
    value: str,
    bound: str,
    n: int,
    numbers: Mapping[str, Any] | None = None,
) -> Finding:
    """What a standing check found; `n` counts what it looked at."""
    gate = Gate(
        name=check,
        passed=passed,
        value=value,
        bound=bound,
        n=n,
        reason=GateReason.CHECK_PASSED if passed else GateReason.CHECK_FAILED,
        message=message,
    )
    return Finding(gate=gate, numbers=numbers or {})


def leaks(signs: leakage.Signs) -> Finding:
    """Judge what was found of the target, of the future or of training rows in the wrong place."""
    highest = max(signs.alone.values(), default=0.0)
    leading = max(signs.alone, key=lambda name: signs.alone[name], default="")
    passed = not signs.sentences
    message = (
        f"no column alone comes near the target (most: '{leading}', {highest:.3f}), "
        "no time lies after the event, no row lies on both sides"
        if passed
        else f"{'; '.join(signs.sentences)}. Take it out (`pipeline.columns`), or waive the check "
        "`Leakage` with a reason"
    )
    return _judged(
        Check.LEAKAGE,
        message,
        passed=passed,
        value=figure(highest),
        bound=figure(leakage.GIVEN_AWAY),
        n=len(signs.alone),
        numbers={"alone": dict(signs.alone), "copies": signs.copies},
    )


def imbalance(
    recipe: Recipe,
    training: np.ndarray[Any, Any],
    holdout: np.ndarray[Any, Any],
    classes: Sequence[Any],
) -> Finding:
    """Where a class is rare, some `minimum` must refuse a model that always says the most common.

    `training` and `holdout` are the classes of the rows, from 0 on.
    """
    count = len(classes)
    shares = np.bincount(training, minlength=count) / len(training)
    rarest, common = int(shares.argmin()), int(shares.argmax())
    probability = np.full(len(holdout), shares[1]) if count == 2 else [shares] * len(holdout)
    constant = evaluate.Answers(
        probability=np.asarray(probability), label=np.full(len(holdout), common)
    )
    minima = [gate for gate in recipe.gates if gate.minimum]
    reached = {gate.name: evaluate.score(gate.metric, constant, holdout) for gate in minima}
    refusing = [gate.name for gate in minima if not reached[gate.name] >= float(gate.minimum)]
    share, bound = float(shares[rarest]), RARE * 2 / count
    rarer, other = ("rarer", "other") if count == 2 else ("rarest", "most common")
    told = f"{share:.1%} of the training rows are of the {rarer} class, {classes[rarest]}"
    passed = share >= bound or bool(refusing)
    if passed and share < bound:
        told += f"; gate '{refusing[0]}' would refuse a model that always says the {other}"
    elif not passed:
        shown = ", ".join(
            f"'{gate.name}' ({gate.metric} {reached[gate.name]:.3f}, minimum {gate.minimum})"
            for gate in minima
        )
        why = f"it passes {shown}" if minima else "there is no gate with a `minimum`"
        better = "roc_auc, average_precision" if count == 2 else "roc_auc_ovr, f1_macro"
        told += (
            f"; a model that always says {classes[common]} is not refused: {why}. Add a gate "
            f"with a `minimum` of {better} or balanced_accuracy, or waive the "
            "check `Imbalance` with a reason"
        )
    return _judged(
        Check.IMBALANCE,
        told,
        passed=passed,
        value=figure(share),
        bound=figure(bound),
        n=len(training),
        numbers={"shares": shares.tolist(), "constantAnswer": reached},
    )


def validation_set(recipe: Recipe, holdout: np.ndarray[Any, Any], classes: int) -> Finding:
    """The holdout must be able to tell something: enough rows of each class, on an honest axis.

    `holdout` are the classes of its rows, from 0 on; with 0 `classes` they are numbers.
    """
    validation, table = recipe.validation, recipe.table
    problems = []
    fewest = int(np.bincount(holdout, minlength=classes).min()) if classes else len(holdout)
    if fewest < MEMBERS:
        rare = f" of the {'rarer' if classes == 2 else 'rarest'} class" if classes else ""
        problems.append(
            f"the holdout has {fewest} rows{rare} and must have at least {MEMBERS}: "
            "make `validation.holdout` larger"
        )
    shares_luck = next((name for name in (table.groups, table.timestamp) if name), "")
    if validation.by is Axis.RANDOM and shares_luck:
        problems.append(
            f"`validation.holdout.by: Random` puts rows of one '{shares_luck}' on both sides: use "
            f"{'Group' if table.groups else 'Time'}"
        )
    grouped = "StratifiedGroupKFold" if classes else "GroupKFold"
    if validation.by is not Axis.RANDOM and validation.splitter in ("KFold", "StratifiedKFold"):
        problems.append(
            f"`validation.splitter: {validation.splitter}` mixes rows that the holdout by "
            f"{validation.by} keeps apart: use "
            f"{'TimeSeriesSplit' if validation.by is Axis.TIME else grouped}"
        )
    passed = not problems
    message = (
        f"{len(holdout)} rows held out by {validation.by}"
        f"{f', at least {fewest} of each class' if classes else ''}; folds by {validation.splitter}"
        if passed
        else "; ".join(problems) + "; or waive the check `ValidationSet` with a reason"
    )
    return _judged(
        Check.VALIDATION_SET,
        message,
        passed=passed,
        value=str(fewest),
        bound=str(MEMBERS),
        n=len(holdout),
    )


def _schema_name(spec: GateSpec | None) -> str:
    """The spec's own `schema` gate tunes the standing check, which then has its name."""
    return spec.name if spec is not None else Check.SCHEMA


def schema(
    spec: GateSpec | None,
    ours: Sequence[Mapping[str, Any]],
    theirs: Sequence[Mapping[str, Any]],
    version: str,
) -> Finding:
    """Compare the columns with the champion's: who sends what it takes must not be refused.

    A column is `{name, type, nullable}`. Fewer columns, and columns that may now be missing, are
    compatible; one that must now be sent widens the inputs; another type is incompatible.
    """
    allowed = (spec.new_columns if spec is not None else None) or ()
    before = {column["name"]: column for column in theirs}
    now = {column["name"]: column for column in ours}
    changed = [
        f"{name} is {column['type']}, was {before[name]['type']}"
        for name, column in now.items()
        if name in before and column["type"] != before[name]["type"]
    ]
    required = [
        name
        for name, column in now.items()
        if not column["nullable"] and (name not in before or before[name]["nullable"])
    ]
    wider = [name for name in required if name not in allowed]
    fewer = [name for name in before if name not in now]
    if changed:
        reason = GateReason.CHECK_FAILED
        message = (
            f"types differ from version {version}: {', '.join(changed)}; name the column in "
            "`pipeline.columns` with its former type, or waive the check `Schema` with a reason"
        )
    elif wider:
        reason = GateReason.WIDENED
        message = (
            f"requests that version {version} answers would be refused: {', '.join(wider)} must be "
            "sent and have a value. If clients do, list them in a gate's `schema.allowNewColumns`"
        )
    else:
        reason = GateReason.CHECK_PASSED
        new = [name for name in now if name not in before]
        more = f", new: {', '.join(new)}" if new else ""
        less = f", no longer asked for: {', '.join(fewer)}" if fewer else ""
        message = f"every request that version {version} takes is taken{more}{less}"
    return Finding(
        gate=Gate(
            name=_schema_name(spec),
            passed=reason is GateReason.CHECK_PASSED,
            value=str(len(changed) + len(wider)),
            bound="0",
            n=len(now),
            reason=reason,
            message=message,
        ),
        numbers={"changed": changed, "required": required, "allowed": list(allowed), "gone": fewer},
    )


def without_champion(spec: GateSpec | None) -> Finding:
    """There are no columns to compare with: the first model sets them."""
    return Finding(
        gate=Gate(
            name=_schema_name(spec),
            passed=True,
            reason=GateReason.CHECK_PASSED,
            message="no champion whose columns these could be compared with",
        )
    )


def unknown_schema(spec: GateSpec | None, version: str, obstacle: str) -> Finding:
    """Nobody can say what the champion takes."""
    return Finding(
        gate=Gate(
            name=_schema_name(spec),
            passed=False,
            reason=GateReason.CHECK_FAILED,
            message=f"the columns of version {version} are not known: {obstacle}. Waive the check "
            "`Schema` with a reason",
        )
    )


def reproducible(
    first: Mapping[str, float],
    digest: str,
    again: Callable[[], tuple[Mapping[str, float], str, float]],
) -> Finding:
    """Fit a second time with the same data, seed and versions, and compare the metrics.

    `again` fits and returns the metrics, the content digest, and the seconds that the fit took.
    """
    second, content, seconds = again()
    apart = {name: abs(first[name] - second.get(name, np.nan)) for name in first}
    differing = [name for name, distance in apart.items() if not distance <= SAME]
    passed = not differing
    same = "the same fitted values" if content == digest else "other fitted values"
    if passed:
        message = f"a second fit gives the same metrics and {same}; it took {seconds:.1f} s"
    else:
        shown = ", ".join(f"{name} {first[name]:.4f} and {second[name]:.4f}" for name in differing)
        message = (
            f"two fits with the same data and seed differ: {shown}. Give the estimator a "
            "`random_state`, or waive the check `Reproducible` with a reason"
        )
    return _judged(
        Check.REPRODUCIBLE,
        message,
        passed=passed,
        value=figure(max(apart.values(), default=0.0)),
        bound=f"{SAME:g}",
        n=2,
        numbers={"seconds": seconds, "sameContent": content == digest, "second": dict(second)},
    )


def not_repeated(reason: str) -> Finding:
    """The second fit was waived, so its cost is not paid."""
    return Finding(
        gate=Gate(
            name=Check.REPRODUCIBLE,
            passed=True,
            reason=GateReason.WAIVED,
            message=f"waived ({reason}): no second fit was made",
        )
    )
