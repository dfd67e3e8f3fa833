"""What a run tells people: its parameters, the result's sentence, the model card."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import pandas as pd

from linnet_trainer import lineage, manifest, prediction_log
from linnet_trainer.card import Section
from linnet_trainer.contract import (
    METRICS,
    Check,
    Gate,
    GateReason,
    Metric,
    Outcome,
    Reason,
    Result,
)
from linnet_trainer.data import Feature
from linnet_trainer.gates import figure
from linnet_trainer.lineage import FeatureSet
from linnet_trainer.recipe import GateSpec, Recipe, Steps, Table, Task, render_time
from linnet_trainer.search import Search


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What was found while training; the result and the card are written from it."""

    rows: int
    training: int
    holdout: int
    purged: int
    """Training rows that were left out for their group."""
    span: str
    """The holdout in words, such as `31 days`."""
    holdout_from: str
    copies: int
    target: str
    """How the target lies in training and holdout, in words."""
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
    features: FeatureSet | None
    """What came from a feature store, if anything did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """Another run of the model, to set this one beside."""

    title: str
    params: Mapping[str, str]
    metrics: Mapping[str, float]
    rows: str
    data: str


def params(recipe: Recipe) -> dict[str, str]:
    """Return the recipe as MLflow parameters; a retry returns the same."""
    steps, validation, table = recipe.steps, recipe.validation, recipe.table
    found = {
        "model": recipe.model,
        "task": recipe.task,
        **_source(table),
        "data.target": table.target,
        "data.timestamp": table.timestamp,
        "data.groups": table.groups,
        "data.positiveClass": table.positive,
        "data.weight": table.weight,
        "data.rowId": table.row_id,
        "data.dictionary.uri": table.dictionary,
        "data.window.from": render_time(table.start) if table.start else "",
        "data.window.until": render_time(table.until) if table.until else "",
        "seed": str(recipe.seed),
        **_pipeline(steps),
        "validation.splitter": validation.splitter,
        "validation.folds": str(validation.folds),
        "validation.gap": str(validation.gap or ""),
        "validation.holdout.purgeGroups": "true" if validation.purge_groups else "",
        "validation.holdout.by": "" if recipe.task is Task.CLUSTERING else str(validation.by),
        "validation.holdout.fraction": str(validation.fraction or ""),
        "validation.holdout.period": str(validation.period or ""),
        **{
            f"estimator.{name}": json.dumps(value)
            for name, value in sorted(steps.parameters.items())
        },
    }
    found |= _searched(recipe.search) if recipe.search is not None else {}
    found |= {f"gate.{gate.name}": _asked(gate) for gate in recipe.gates}
    found |= {f"waiver.{check}": reason for check, reason in recipe.waivers.items()}
    return {key: value for key, value in found.items() if value}


def _source(table: Table) -> dict[str, str]:
    if table.log:
        return {f"{prediction_log.FIELD}.uri": table.uri}
    if table.feast is None:
        return {"data.table.uri": table.uri}
    return {
        "data.feast.repoUri": table.feast.repo,
        "data.feast.featureService": table.feast.service,
        "data.feast.entities.uri": table.uri,
    }


def _pipeline(steps: Steps) -> dict[str, str]:
    module = steps.module
    if module is not None:
        return {
            "module.configMapName": module.config_map,
            "module.key": module.key,
            "module.entry": module.entry,
        }
    return {
        "pipeline.imputer": steps.imputer,
        "pipeline.scaler": steps.scaler,
        "pipeline.encoder": steps.encoder,
        "pipeline.estimator": steps.estimator,
        "pipeline.balance": steps.balance,
        "pipeline.calibration": steps.calibration,
        "pipeline.thresholdMetric": steps.threshold_metric,
    }


_CROSSED = {
    "TimeSeriesSplit": "blocks of time",
    "GroupKFold": "groups",
    "StratifiedGroupKFold": "groups",
}


def made_of(recipe: Recipe) -> str:
    """Say what the pipeline consists of."""
    steps = recipe.steps
    if steps.module is not None:
        return (
            f"what `{steps.module.entry}` of {steps.module.told} returns, kept as "
            f"`code/{steps.module.key}`; fitted on training rows only"
        )
    encoder = steps.encoder
    if encoder == "TargetEncoder":
        encoder += f" (cross-fitted over {_CROSSED.get(recipe.validation.splitter, 'rows')})"
    parts = [f"imputer {steps.imputer}", f"scaler {steps.scaler}", f"encoder {encoder}"]
    parts.append(steps.estimator)
    if steps.calibration != "None":
        parts.append(f"{steps.calibration} calibration")
    if steps.threshold_metric:
        parts.append(f"the threshold of the best {steps.threshold_metric}")
    return f"one scikit-learn Pipeline: {', '.join(parts)}; fitted on training rows only"


def _searched(search: Search) -> dict[str, str]:
    spaces = {
        f"search.space.{each.name}": f"{each.kind} " + ", ".join(map(str, each.edges))
        for each in search.parameters
    }
    return {
        "search.engine": "RayTune" if search.ray else "Optuna",
        "search.metric": search.metric,
        "search.sampler": search.sampler,
        "search.pruner": search.pruner,
        "search.trials": str(search.trials),
        "search.patience": str(search.patience or ""),
        "search.timeout": str(search.timeout or ""),
        **spaces,
    }


def _asked(gate: GateSpec) -> str:
    if gate.new_columns is not None:
        return f"no new required columns but {', '.join(gate.new_columns) or 'none'}"
    if gate.documented:
        return "every column in use stands in the data dictionary"
    if gate.feature_set:
        return "the feature service is what the champion was trained on"
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


def columns(
    features: Sequence[Feature], training: pd.DataFrame, descriptions: Mapping[str, str]
) -> list[Mapping[str, Any]]:
    """Say of each feature its type, whether training rows lack it, and what it means."""
    return [
        {
            "name": feature.name,
            "type": feature.type,
            "source": feature.source,
            "nullable": bool(training[feature.name].isna().any()),
            "description": descriptions.get(feature.name, ""),
        }
        for feature in features
    ]


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


def sections(
    recipe: Recipe,
    facts: Facts,
    gates: Sequence[Gate],
    result: Result,
    *,
    plots: Sequence[str],
    undrawn: Mapping[str, str],
    others: Sequence[Beside],
) -> tuple[Section, ...]:
    """Write the model card: every line of the checklist answered with evidence, or with "no".

    `plots` are the names of those drawn, `undrawn` says why others were not, `others` are runs to
    set this one beside.
    """
    table = recipe.table
    lead = Section(
        title="",
        text=(
            f"{result.outcome}: {result.message}",
            f"Trained by TrainingJob `{recipe.namespace}/{recipe.name}`, run `{facts.run_id}`, "
            f"logged model `{facts.model_id}`. Intended use: predict `{table.target}` of rows like "
            f"those of `{table.uri}`. It was measured on the holdout described here, and on "
            "nothing else.",
        ),
    )
    checklist = Section(
        title="Checklist",
        head=("question", "evidence"),
        rows=tuple(_checklist(recipe, facts, gates, result, plots).items()),
    )
    told = [f"Look {facts.look} at this holdout."] if facts.look else []
    if any(gate.champion and gate.unit == "Row" for gate in recipe.gates):
        told.append("That rows are independent (`unit: Row`) is the claim of the spec's author.")
    drawn = Section(
        title="Plots",
        text=tuple(f"{name} was not drawn: {why}" for name, why in undrawn.items()),
        plots=tuple(plots),
    )
    found = [
        lead,
        checklist,
        judged(recipe, gates, told),
        drawn,
        _beside(recipe, facts, others),
        columns_section(recipe, facts),
    ]
    if facts.warnings:
        found.append(Section(title="Warnings of the estimator", text=tuple(facts.warnings)))
    return tuple(found)


def judged(recipe: Recipe, gates: Sequence[Gate], told: Sequence[str]) -> Section:
    """Tell what gates and checks found, after sentences that are `told` first."""
    waived = [f"Check `{check}` is waived: {why}" for check, why in recipe.waivers.items()]
    return Section(
        title="Gates and checks",
        text=(*told, *waived),
        head=("name", "passed", "value", "bound", "finding"),
        rows=tuple(
            (
                gate.name,
                "yes" if gate.passed else "no",
                gate.value,
                gate.bound,
                f"{gate.reason}: {gate.message}",
            )
            for gate in gates
        ),
    )


def _search(search: Search | None) -> str:
    if search is None or search.outcome is None or search.outcome.best is None:
        return "no: the parameters are the spec's"
    found, best = search.outcome, search.outcome.best
    engine = "Ray Tune" if search.ray else "Optuna"
    values = ", ".join(f"{name} {value}" for name, value in best.parameters.items())
    return (
        f"yes: {engine}, {search.sampler}, {found.ended} trials ({found.pruned} pruned) and "
        f"{found.failed} that failed, each a nested run; best on the folds: trial {best.number} "
        f"with {search.metric} {best.value:.3f} ({values}); plots `plots/search-*.png`"
    )


def _checklist(
    recipe: Recipe,
    facts: Facts,
    gates: Sequence[Gate],
    result: Result,
    plots: Sequence[str],
) -> dict[str, str]:
    validation, metric = recipe.validation, recipe.metrics[0]
    per_fold = ", ".join(f"{fold[metric]:.3f}" for fold in facts.folds if metric in fold)
    passed = {gate.name: gate for gate in gates}

    def check(name: Check) -> str:
        gate = passed.get(name)
        return "not asked, another gate refused" if gate is None else gate.message

    registered = (
        f"yes: model `{recipe.model}`, with manifest, signature and samples"
        if result.outcome is Outcome.PASSED
        else "no: a gate refused"
    )
    return {
        "Tracking configured": f"yes: MLflow run `{facts.run_id}` in experiment "
        f"'{recipe.experiment}'",
        "All hyper-parameters logged": f"yes: {len(params(recipe))} parameters of the run, those "
        "of the spec and every computed default",
        "Metrics per run": ", ".join(f"{key} {value:.3f}" for key, value in facts.scores.items()),
        "Best model in the registry": registered,
        "Data validated": f"{facts.rows} rows, digest `{facts.data_sha256[:23]}`; the columns of "
        "the spec are there, the target has no missing value",
        "No leakage": f"{check(Check.LEAKAGE)}; {facts.copies} rows are copies of others",
        "Feature store": _feature_store(facts.features),
        "Train/serve consistency": "preprocessing and model are one artifact; "
        "`linnet/samples.json` holds answers that a server must repeat before it is ready"
        + ("; a request must carry the features of the store itself" if facts.features else ""),
        "Point in time": _point_in_time(recipe, facts),
        "Documentation": documentation(recipe, facts),
        "Cross-validation": f"{len(facts.folds)} folds, {metric}: {per_fold}",
        "Stratification, or its reason": _stratification(recipe, facts),
        "Holdout": f"{facts.holdout} rows ({facts.span}) by {validation.by}, {facts.training} for "
        f"training{_purged(facts)}; digest `{facts.holdout_sha256[:16]}`; "
        f"{check(Check.VALIDATION_SET)}",
        "Overfitting": ", ".join(
            f"{name} {value:.3f} on training rows, {facts.scores.get(name, float('nan')):.3f} on "
            "the holdout"
            for name, value in facts.training_scores.items()
        ),
        "Search": _search(recipe.search),
        "Pipeline": made_of(recipe)
        + (f", weighted by `{recipe.table.weight}`" if recipe.table.weight else ""),
        "Reproducible": f"seed {recipe.seed}; {check(Check.REPRODUCIBLE)}; library versions in "
        "`environment.json`",
        "Versioned": f"content digest `{facts.content_digest[:23]}`",
        "A/B possible": f"yes, with a ModelDeployment: alias `{recipe.champion_alias or 'none'}` "
        "and a candidate are served side by side",
        "Drift monitored": "possible: `linnet/profile.json` lies with the version; a DriftPolicy "
        "watches against it",
        "Rollback possible": "yes, with a ModelDeployment: it goes back by itself, and the former "
        "champion stays a version",
        "Plots": ", ".join(plots) or "no",
    }


def documentation(recipe: Recipe, facts: Facts) -> str:
    """Say what is written down of the features."""
    places = []
    if facts.features is not None:
        places.append(f"the feature store, kept as `{lineage.ARTIFACT}`")
    if recipe.table.dictionary:
        places.append(f"the data dictionary `{recipe.table.dictionary}`, kept as `dictionary.json`")
    if not places:
        return "this card and the table of its columns; no data dictionary"
    described = sum(bool(column["description"]) for column in facts.columns)
    return (
        f"this card; {described} of {len(facts.columns)} features are described in "
        f"{' and '.join(places)}"
    )


def _feature_store(features: FeatureSet | None) -> str:
    if features is None:
        return "no: a table"
    views = ", ".join(f"`{view.name}` ({len(view.columns)} features)" for view in features.views)
    told = f": {features.description}" if features.description else ""
    return (
        f"yes: Feast, project `{features.project}` of `{features.repo}`, feature service "
        f"`{features.service}`{told}; views {views}; what they are made of has the digest "
        f"`{features.digest[:23]}` and is kept as `{lineage.ARTIFACT}`"
    )


def _purged(facts: Facts) -> str:
    return f" without {facts.purged} of the holdout's groups" if facts.purged else ""


def _point_in_time(recipe: Recipe, facts: Facts) -> str:
    if not recipe.table.timestamp:
        return "no: the table has no time (`data.timestamp`)"
    start = f", the holdout starts at {facts.holdout_from}" if facts.holdout_from else ""
    if facts.features is not None:
        return f"yes: {_as_of(facts.features, recipe.table.timestamp)}{start}"
    columns = "the request had them" if recipe.table.log else "the table has them"
    return f"rows are in order of `{recipe.table.timestamp}`{start}; columns are as {columns}"


def _as_of(features: FeatureSet, timestamp: str) -> str:
    """Say how features were joined, and for how many rows each view had a value."""
    views = "; ".join(
        f"`{view.name}`: ttl {view.ttl or 'none'}, "
        + (f"known from `{view.created}` on" if view.created else "no time of arrival")
        + (f", found for {features.found[view.name]:.1%} of the rows" if features.found else "")
        for view in features.views
    )
    return f"features are joined as they were known at `{timestamp}` ({views})"


def _stratification(recipe: Recipe, facts: Facts) -> str:
    splitter = recipe.validation.splitter
    if "Stratified" in splitter:
        return f"yes, {splitter}; {facts.target}"
    if splitter == "KFold":
        return f"no: {splitter} draws rows as they come; {facts.target}"
    return f"no: {splitter} keeps the order or the groups of rows; {facts.target}"


def _beside(recipe: Recipe, facts: Facts, others: Sequence[Beside]) -> Section:
    """Set this run beside others: what differs in parameters, every metric of the gates, data."""
    own = Beside(
        title="this run",
        params=params(recipe),
        metrics=facts.scores,
        rows=str(facts.rows),
        data=facts.data_sha256,
    )
    runs = [own, *others]
    names = dict.fromkeys(name for run in runs for name in run.params)
    differing = [name for name in names if len({run.params.get(name, "") for run in runs}) > 1]

    def figures(name: str) -> tuple[str, ...]:
        return tuple(f"{run.metrics[name]:.4f}" if name in run.metrics else "" for run in runs)

    return Section(
        title="Beside other runs of the model",
        text=() if others else ("This is the first run of the model.",),
        head=("", *(run.title for run in runs)),
        rows=(
            *((f"{name}", *figures(name)) for name in recipe.metrics),
            ("rows", *(run.rows for run in runs)),
            ("data", *(run.data.removeprefix("sha256:")[:8] for run in runs)),
            *((name, *(run.params.get(name, "") for run in runs)) for name in differing),
        ),
    )


def columns_section(recipe: Recipe, facts: Facts) -> Section:
    """Tell of the columns, and what was chosen for the spec."""
    told = []
    if facts.left_out:
        told.append("Left out: " + "; ".join(f"`{k}` ({v})" for k, v in facts.left_out.items()))
    if recipe.chosen:
        told.append(
            "Computed defaults: " + "; ".join(f"{k} = {v}" for k, v in recipe.chosen.items())
        )
    return Section(
        title="Columns",
        text=tuple(told),
        head=("column", "type", "nullable", "in the table", "description"),
        rows=tuple(
            (
                str(column["name"]),
                str(column["type"]),
                "yes" if column["nullable"] else "no",
                str(column["source"]),
                str(column["description"]),
            )
            for column in facts.columns
        ),
    )


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
