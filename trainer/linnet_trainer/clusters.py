"""`task: Clustering`: HDBSCAN over all rows, judged by its own validity and by what stays of it.

There is no target, and HDBSCAN labels the rows that it was fitted on and no others. So nothing is
held out and nothing can be served; instead every fold is left out once, and what the other rows
are then told is compared with what they were told before (`stability`).
"""

from __future__ import annotations

import difflib
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import adjusted_rand_score, silhouette_score

from linnet_trainer import (
    card,
    checks,
    contract,
    data,
    dictionary,
    examination,
    fit,
    gates,
    limits,
    manifest,
    report,
    split,
    train,
)
from linnet_trainer.card import Section
from linnet_trainer.checks import Finding
from linnet_trainer.contract import Check, GateReason, Outcome, Reason, Result, Stage
from linnet_trainer.errors import Refusal
from linnet_trainer.progress import Progress
from linnet_trainer.recipe import Axis, GateSpec, Recipe, render_time
from linnet_trainer.registry import Tracker

METRICS = ("relative_validity", "stability", "silhouette", "clustered_share", "clusters")
"""What a gate may ask for; of all of them more is better, or simply more."""

NOT_SERVABLE = (
    "HDBSCAN has no `predict`: it labels the rows that it was fitted on (`clusters/rows.parquet` "
    "of the run) and no others"
)

ROWS = 5_000
"""So many clustered rows, chosen by the seed, tell the silhouette."""

SHOWN = 50
"""So many of the largest clusters are told in the card."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Clustered:
    """A fitted pipeline and what it says of the rows."""

    pipeline: Any
    labels: np.ndarray[Any, np.dtype[np.int64]]
    """The cluster per row, below 0 for none."""
    strength: np.ndarray[Any, np.dtype[np.float64]]
    """How surely the row belongs to its cluster, from 0 to 1."""
    warnings: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many clusters there are."""
        return int(self.labels.max(initial=-1)) + 1


def train_clusters(recipe: Recipe, tracker: Tracker, folder: Path) -> Result:
    """Cluster, judge and, if the gates passed, register.

    Raises:
        Refusal: another try does not mend it.
        Unavailable: the registry or the store did not answer.
    """
    progress = Progress(tracker.set_tag)
    progress.enter(Stage.LOADING, recipe.table.uri)
    recipe = recipe.led_by(METRICS[0])
    require_metrics(recipe.metrics)
    fit.make_estimator(recipe.steps, seed=recipe.seed)
    tracker.log_params(report.params(recipe))
    rows = data.read(recipe)
    progress.enter(Stage.VALIDATING, f"{len(rows)} rows from {rows.files} files")
    words = dictionary.read(recipe.table.dictionary)
    everything = np.arange(len(rows))
    inputs = data.choose(rows, everything, recipe)
    table = data.cast(rows.frame, inputs.features)
    sha256 = data.digest(rows.frame[data.used(recipe.table, inputs)])
    times = rows.frame[recipe.table.timestamp] if recipe.table.timestamp else None
    train.log_data(recipe, rows, tracker, sha256=sha256, times=times, words=words)
    progress.enter(Stage.FITTING, f"{len(rows)} rows, {len(inputs.features)} features")
    found = cluster(recipe, table, inputs.features)
    stays = _stability(recipe, rows, table, inputs.features, found, tracker, progress)
    scores = measure(found, table, stays, seed=recipe.seed)
    progress.enter(Stage.EVALUATING, f"{found.count} clusters")
    clusters = describe(found, table, inputs.features)
    tracker.log_metrics(scores)
    tracker.log_files({"rows.parquet": _labels(recipe, rows, found)}, folder / "rows", "clusters")
    manifest.require_trusted(found.pipeline, field=recipe.steps.field)
    model_id, location = tracker.create_model()
    manifest_sha, content = manifest.save(
        folder / "model",
        pipeline=found.pipeline,
        features=inputs.features,
        training=table,
        target=None,
        samples=None,
        extra={"clusters.json": json.dumps(clusters, ensure_ascii=False).encode()},
        facts={
            "runID": tracker.run_id,
            "dataDigest": sha256,
            **train.feature_facts(rows),
        },
        run_id=tracker.run_id,
        model_id=model_id,
        location=location,
    )
    tracker.upload_model(model_id, folder / "model", scores)
    judged = _judge(recipe, scores, rows, words, folder / "model")
    if all(finding.gate.passed for finding in judged):
        judged.append(_repeated(recipe, table, inputs.features, found, scores, stays, content))
    tracker.log_text(examination.render(judged), "gates.json")
    tracker.log_metrics(examination.figures(judged))
    facts = _facts(
        recipe, rows, inputs, table, found,
        scores=scores, stays=stays, run_id=tracker.run_id, model_id=model_id, content=content,
        sha256=sha256, words=words,
    )  # fmt: skip
    result = report.make_result(recipe, facts, examination.shown(judged))
    written = _card(recipe, facts, judged, result, clusters)
    tracker.log_text(card.markdown(recipe.model, written), "model-card.md")
    tracker.log_text(card.page(recipe.model, written, {}), "model-card.html")
    tags = train.version_tags(recipe, facts, manifest_sha=manifest_sha, location=location)
    tags[contract.TAG_NOT_SERVABLE] = NOT_SERVABLE
    return train.conclude(result, tags, recipe, tracker, progress)


def require_metrics(names: Sequence[str]) -> None:
    """Refuse a metric that clusters do not have."""
    for name in names:
        if name not in METRICS:
            near = difflib.get_close_matches(name, METRICS, n=2, cutoff=0.5) or METRICS
            raise Refusal(
                Reason.TRAINER_FAILED,
                f"`gates.metric`: clusters have no '{name}'; they have {', '.join(near)}",
            )


def cluster(recipe: Recipe, table: pd.DataFrame, features: Sequence[data.Feature]) -> Clustered:
    """Fit on these rows.

    Raises:
        Refusal: the estimator refuses its parameters or the data.
    """
    pipeline = fit.make_pipeline(recipe.steps, features, seed=recipe.seed)
    fitted, warned = fit.fit(pipeline, table, None, recipe.steps)
    model = fitted.named_steps["model"]
    return Clustered(
        pipeline=fitted,
        labels=model.labels_.astype(np.int64),
        strength=np.nan_to_num(model.probabilities_),
        warnings=warned,
    )


def measure(
    found: Clustered, table: pd.DataFrame, stays: Sequence[float], *, seed: int
) -> dict[str, float]:
    """Return the metrics that are defined: most need clusters, silhouette and validity two."""
    scores = {
        "clusters": float(found.count),
        "clustered_share": float((found.labels >= 0).mean()),
        # Rows that are all in no cluster, twice, would be as stable as can be.
        "stability": float(np.mean(stays)) if found.count else math.nan,
        "relative_validity": relative_validity(
            found.pipeline.named_steps["model"]._single_linkage_tree_, found.labels
        ),
        "silhouette": _silhouette(found, table, seed),
    }
    return {name: scores[name] for name in METRICS if not math.isnan(scores[name])}


def relative_validity(tree: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> float:
    """Return how much emptier it is between clusters than inside them, from -1 to 1.

    The validity of Moulavi et al., Density-based clustering validation (2014), on the tree of
    mutual reachability that HDBSCAN builds anyway: per cluster the distance at which it touches
    another one against that at which it is whole, weighted by its share of all rows. NaN for fewer
    than two clusters.
    """
    sizes = np.bincount(labels[labels >= 0]) if (labels >= 0).any() else np.array([])
    if len(sizes) < 2:
        return math.nan
    members: dict[int, dict[int, int]] = {
        row: {int(label): 1} if label >= 0 else {} for row, label in enumerate(labels)
    }
    whole = {label: 0.0 for label in range(len(sizes)) if sizes[label] == 1}
    touched: dict[int, float] = {}
    for step, edge in enumerate(tree):
        one, other = members.pop(int(edge["left_node"])), members.pop(int(edge["right_node"]))
        if len(one) < len(other):
            one, other = other, one
        distance = float(edge["value"])
        for here, there in ((one, other), (other, one)):
            # Who has several clusters has told of each when they met.
            if len(here) == 1 and there and here.keys() != there.keys():
                touched.setdefault(next(iter(here)), distance)
        for label, count in other.items():
            one[label] = one.get(label, 0) + count
            if one[label] == sizes[label]:
                whole.setdefault(label, distance)
        members[len(labels) + step] = one
    total = 0.0
    for label, size in enumerate(sizes):
        largest = max(touched[label], whole[label])
        total += size * (touched[label] - whole[label]) / largest if largest else 0.0
    return float(total / len(labels))


def describe(
    found: Clustered, table: pd.DataFrame, features: Sequence[data.Feature]
) -> list[dict[str, Any]]:
    """Say of every cluster its size, its strength and its typical row: medians and commonest."""
    told = []
    for label in range(found.count):
        inside = found.labels == label
        part = table[inside]
        told.append(
            {
                "cluster": label,
                "rows": int(inside.sum()),
                "strength": float(found.strength[inside].mean()),
                "typical": {
                    feature.name: _typical(part[feature.name], feature) for feature in features
                },
            }
        )
    return told


def _typical(values: pd.Series, feature: data.Feature) -> float | str | None:
    known = values.dropna()
    if known.empty:
        return None
    return float(known.median()) if feature.type == "double" else str(known.mode().iloc[0])


def _silhouette(found: Clustered, table: pd.DataFrame, seed: int) -> float:
    inside = np.flatnonzero(found.labels >= 0)
    if len(inside) > ROWS:
        inside = np.sort(np.random.default_rng(seed).choice(inside, ROWS, replace=False))
    labels = found.labels[inside]
    if not 2 <= len(np.unique(labels)) < len(labels):
        return math.nan
    model = found.pipeline.named_steps["model"]
    space = found.pipeline[:-1].transform(table.iloc[inside])
    return float(silhouette_score(space, labels, metric=model.metric))


def _stability(
    recipe: Recipe,
    rows: data.Rows,
    table: pd.DataFrame,
    features: Sequence[data.Feature],
    found: Clustered,
    tracker: Tracker,
    progress: Progress,
) -> list[float]:
    """Leave every fold out once: how alike are the other rows' clusters with it and without."""
    everything = np.arange(len(rows))
    whole = split.Split(
        training=everything,
        holdout=everything[:0],
        by=Axis.RANDOM,
        start=None,
        trained_until=None,
        fraction=0.0,
    )
    folds = split.fold(rows, whole, everything, recipe)
    alike = []
    for number, (kept, _) in enumerate(folds, start=1):
        again = cluster(recipe, table.iloc[kept], features)
        alike.append(float(adjusted_rand_score(found.labels[kept], again.labels)))
        tracker.log_metrics({"fold_stability": alike[-1]}, step=number)
        progress.enter(
            Stage.FITTING,
            f"fold {number} of {len(folds)} left out, stability {alike[-1]:.3f}",
            percent=25 + 40 * number // len(folds),
        )
    return alike


def _judge(
    recipe: Recipe,
    scores: Mapping[str, float],
    rows: data.Rows,
    words: dictionary.Dictionary,
    folder: Path,
) -> list[Finding]:
    found = []
    for spec in recipe.gates:
        if spec.documented:
            found.append(dictionary.judge(spec, words, list(rows.frame)))
        elif spec.limit is not None:
            found.append(limits.size(spec, folder))
        else:
            found.append(Finding(gate=_measured(spec, scores, len(rows))))
    return found


def _measured(spec: GateSpec, scores: Mapping[str, float], rows: int) -> contract.Gate:
    if spec.metric not in scores:
        return gates.refuse(
            spec,
            GateReason.CHECK_FAILED,
            f"{spec.metric} is not defined for {scores['clusters']:.0f} clusters: lower "
            "`min_cluster_size` in `pipeline.estimator.parameters`",
        )
    return gates.judge_minimum(spec, scores[spec.metric], rows=rows)


def _repeated(
    recipe: Recipe,
    table: pd.DataFrame,
    features: Sequence[data.Feature],
    found: Clustered,
    scores: Mapping[str, float],
    stays: Sequence[float],
    content: str,
) -> Finding:
    reason = recipe.waivers.get(Check.REPRODUCIBLE)
    if reason is not None:
        return checks.not_repeated(reason)

    def again() -> tuple[Mapping[str, float], str, float]:
        with train.stopwatch() as seconds:
            second = cluster(recipe, table, features)
        return (
            measure(second, table, stays, seed=recipe.seed),
            manifest.digest(second.pipeline),
            seconds(),
        )

    return checks.reproducible(scores, content, again)


def _labels(recipe: Recipe, rows: data.Rows, found: Clustered) -> bytes:
    """The cluster of every row, -1 for none, beside what tells the rows apart."""
    named = [recipe.table.row_id, recipe.table.timestamp, recipe.table.groups]
    table = rows.frame[[name for name in named if name]].reset_index(drop=True)
    table = table.assign(
        linnet_cluster=np.maximum(found.labels, -1), linnet_strength=found.strength
    )
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False)
    return buffer.getvalue()


def _facts(
    recipe: Recipe,
    rows: data.Rows,
    inputs: data.Inputs,
    table: pd.DataFrame,
    found: Clustered,
    *,
    scores: Mapping[str, float],
    stays: Sequence[float],
    run_id: str,
    model_id: str,
    content: str,
    sha256: str,
    words: dictionary.Dictionary,
) -> report.Facts:
    times = rows.frame[recipe.table.timestamp] if recipe.table.timestamp else None
    return report.Facts(
        rows=len(rows),
        training=len(rows),
        holdout=0,
        purged=0,
        span=f"{len(rows)} rows",
        holdout_from="",
        copies=split.count_copies(rows),
        target="",
        left_out=inputs.left_out,
        columns=report.columns(inputs.features, table, train.descriptions(rows, words)),
        folds=[{"stability": value} for value in stays],
        scores=scores,
        training_scores={},
        warnings=found.warnings,
        run_id=run_id,
        model_id=model_id,
        content_digest=content,
        data_sha256=sha256,
        trained_until=render_time(times.max()) if times is not None else "",
        holdout_sha256="",
        look=0,
        features=rows.features,
    )


def _card(
    recipe: Recipe,
    facts: report.Facts,
    judged: Sequence[Finding],
    result: Result,
    clusters: Sequence[Mapping[str, Any]],
) -> tuple[Section, ...]:
    """The model card of clusters: the same checklist, with "no" where nothing is predicted."""
    findings = [finding.gate for finding in judged]
    repeated = next((gate for gate in findings if gate.name == Check.REPRODUCIBLE), None)
    per_fold = ", ".join(f"{fold['stability']:.3f}" for fold in facts.folds)
    registered = result.outcome is Outcome.PASSED
    answers = {
        "Tracking configured": f"yes: MLflow run `{facts.run_id}` in experiment "
        f"'{recipe.experiment}'",
        "All hyper-parameters logged": f"yes: {len(report.params(recipe))} parameters of the run",
        "Metrics per run": ", ".join(f"{key} {value:.3f}" for key, value in facts.scores.items()),
        "Best model in the registry": f"yes: model `{recipe.model}`"
        if registered
        else "no: a gate refused",
        "Data validated": f"{facts.rows} rows, digest `{facts.data_sha256[:23]}`; {facts.copies} "
        "rows are copies of others",
        "Documentation": report.documentation(recipe, facts),
        "Cross-validation": f"{len(facts.folds)} folds, each left out once; stability of the other "
        f"rows' clusters: {per_fold}",
        "Holdout": "no: nothing is predicted",
        "Search": "no: the parameters are the spec's",
        "Pipeline": report.made_of(recipe),
        "Reproducible": f"seed {recipe.seed}; "
        + (repeated.message if repeated is not None else "not asked, a gate refused"),
        "Versioned": f"content digest `{facts.content_digest[:23]}`",
        "A/B possible, drift monitored, rollback possible": f"no: {NOT_SERVABLE}",
    }
    largest = sorted(clusters, key=lambda each: -each["rows"])[:SHOWN]
    told = Section(
        title="Clusters",
        text=(
            f"{len(clusters)} clusters, {facts.scores['clustered_share']:.1%} of the rows; the "
            "others are in none. `clusters/rows.parquet` has the cluster of every row.",
        ),
        head=("cluster", "rows", "strength", "typical row"),
        rows=tuple(
            (
                str(each["cluster"]),
                str(each["rows"]),
                f"{each['strength']:.2f}",
                ", ".join(f"{name} {_shown(value)}" for name, value in each["typical"].items()),
            )
            for each in largest
        ),
    )
    lead = Section(
        title="",
        text=(
            f"{result.outcome}: {result.message}",
            f"Clustered by TrainingJob `{recipe.namespace}/{recipe.name}`, run `{facts.run_id}`, "
            f"logged model `{facts.model_id}`: rows of `{recipe.table.uri}`. {NOT_SERVABLE}.",
        ),
    )
    checklist = Section(
        title="Checklist", head=("question", "evidence"), rows=tuple(answers.items())
    )
    found = [
        lead,
        checklist,
        report.judged(recipe, findings, ()),
        told,
        report.columns_section(recipe, facts),
    ]
    if facts.warnings:
        found.append(Section(title="Warnings of the estimator", text=tuple(facts.warnings)))
    return tuple(found)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
