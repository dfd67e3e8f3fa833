"""One training from table to verdict: the stages in their order, each with its line in the log."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from linnet_trainer import (
    card,
    champion,
    checks,
    comparison,
    contract,
    data,
    dictionary,
    evaluate,
    examination,
    fit,
    lineage,
    manifest,
    plots,
    prediction_log,
    profile,
    report,
    split,
    stopping,
    targets,
    thresholds,
    weights,
)
from linnet_trainer import module as modules
from linnet_trainer.contract import Outcome, Reason, Result, Stage
from linnet_trainer.errors import Refusal
from linnet_trainer.progress import Progress, say
from linnet_trainer.recipe import Recipe, Steps, render_time
from linnet_trainer.registry import Tracker

THRESHOLD_METRIC = "pipeline.thresholdMetric"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """The data, split and cast."""

    rows: data.Rows
    target: targets.Target
    held: split.Split
    inputs: data.Inputs
    table: pd.DataFrame
    """The features of all rows, as the model takes them."""
    facts: Mapping[str, Any]
    """How the holdout was chosen."""
    sha256: str
    timestamp: str
    weight: np.ndarray[Any, np.dtype[np.float64]] | None
    """The weight of all rows, if the spec names a column of them."""
    dictionary: dictionary.Dictionary
    within: split.Within
    """The folds inside the rows that something is fitted on."""

    def weight_of(self, rows: split.Positions) -> np.ndarray[Any, np.dtype[np.float64]] | None:
        """Return the weights of the rows of these numbers."""
        return None if self.weight is None else self.weight[rows]

    @property
    def times(self) -> pd.Series | None:
        """The rows' times, if the spec names a timestamp."""
        return self.rows.frame[self.timestamp] if self.timestamp else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """The model, what cross-validation said, and scores of rows that it was not fitted on."""

    pipeline: Any
    folds: tuple[Mapping[str, float], ...]
    score: np.ndarray[Any, np.dtype[np.float64]]
    """What `evaluate.signal` says per row, NaN where no fold tested the row."""
    warnings: tuple[str, ...]


def resume(recipe: Recipe, tracker: Tracker) -> Result | None:
    """Go on from a recorded verdict: only the version and the result are missing."""
    text = tracker.tag(contract.TAG_VERDICT)
    if not text:
        return None
    verdict = json.loads(text)
    return _register(
        contract.parse(json.dumps(verdict["result"])), verdict["tags"], recipe, tracker
    )


def assist(recipe: Recipe, tracker: Tracker, *, study_url: str, pod: int) -> None:
    """Take part in the search of pod 0, on the same folds, until it is over.

    Raises:
        Refusal, Unavailable: as `train`.
    """
    from linnet_trainer import study

    if recipe.steps.module is not None:
        # What this pod asks, pod 0 asks too; and only one may say how the run stands.
        modules.belong_to("")
    ready = _prepare(recipe, data.read(recipe))
    recipe = recipe.led_by(evaluate.STANDARD[ready.target.kind][0])
    scores = _fold_scores(recipe, ready)
    study.assist(recipe, scores, tracker, url=study_url, pod=pod)


def train(recipe: Recipe, tracker: Tracker, folder: Path, *, study_url: str = "") -> Result:
    """Train, judge and, if the gates passed, register.

    `study_url` is that of a study which other pods share.

    Raises:
        Refusal: another try does not mend it.
        Unavailable: the registry or the store did not answer.
    """
    progress = Progress(tracker.set_tag)
    progress.enter(Stage.LOADING, recipe.table.uri)
    _log_module(recipe, tracker)
    estimator = fit.make_estimator(recipe.steps, seed=recipe.seed)
    stopping.require_axis(estimator, recipe.steps, recipe.validation.by)
    if recipe.table.weight:
        weights.require_taken(estimator, recipe.steps, recipe.table.weight)
    evaluate.require_scorers(recipe.metrics)
    if recipe.steps.threshold_metric:
        evaluate.require_scorers([recipe.steps.threshold_metric], field=THRESHOLD_METRIC)
    if recipe.search is not None and recipe.search.metric:
        evaluate.require_scorers([recipe.search.metric], field="search.metric")
    tracker.log_params(report.params(recipe))
    rival = champion.load(tracker, folder / "champion", with_model=recipe.compares)
    also = [feature.name for feature in rival.features] if rival and recipe.compares else []
    rows = data.read(recipe, also=[*also, *examination.also_read(recipe)])
    examination.require_columns(recipe, rows)
    progress.enter(Stage.VALIDATING, f"{len(rows)} rows from {rows.files} files")
    ready = _prepare(recipe, rows)
    recipe = recipe.led_by(evaluate.STANDARD[ready.target.kind][0])
    evaluate.require_fit(recipe.metrics, ready.target.classes)
    if metric := recipe.steps.threshold_metric:
        evaluate.require_labels(metric, ready.target.classes, field=THRESHOLD_METRIC)
    log_data(
        recipe,
        ready.rows,
        tracker,
        sha256=ready.sha256,
        times=ready.times,
        words=ready.dictionary,
    )
    if recipe.search is not None:
        recipe = _search(recipe, ready, tracker, progress, folder, study_url)
    progress.enter(
        Stage.FITTING,
        f"{len(ready.held.training)} rows to train, {len(ready.held.holdout)} held out, "
        f"{len(ready.inputs.features)} features",
    )
    fitted = _fit(recipe, ready, tracker, progress)
    progress.enter(Stage.EVALUATING, f"{_span(recipe, ready)} held out")
    return _evaluate(recipe, ready, fitted, rival, tracker, progress, folder)


def _prepare(recipe: Recipe, rows: data.Rows) -> Prepared:
    target = targets.read(rows.frame[recipe.table.target], recipe.table, recipe.task)
    held = split.hold_out(rows, recipe)
    for part, name in ((held.training, "training part"), (held.holdout, "holdout")):
        targets.require_spread(target, part, name, recipe.table)
    targets.require_learned(target, held.training, held.holdout, recipe.table)
    inputs = data.choose(rows, held.training, recipe)
    key = {
        "Time": [],
        "Group": [recipe.table.groups],
        "Random": [recipe.table.row_id] if recipe.table.row_id else list(rows.names),
    }[recipe.validation.by]
    given = recipe.table
    return Prepared(
        rows=rows,
        target=target,
        held=held,
        inputs=inputs,
        table=data.cast(rows.frame, inputs.features),
        facts=held.facts(key),
        sha256=data.digest(rows.frame[data.used(given, inputs)]),
        timestamp=given.timestamp,
        weight=weights.read(rows.frame[given.weight], given.weight) if given.weight else None,
        dictionary=dictionary.read(given.dictionary),
        within=split.Within(rows, held, target.codes, recipe),
    )


def _log_module(recipe: Recipe, tracker: Tracker) -> None:
    """Keep the code of `spec.module`, and what it asks, with the run; refuse one that changed."""
    module = recipe.steps.module
    if module is None:
        return
    found, kept = modules.digest(module), tracker.tag(contract.TAG_MODULE)
    if kept and kept != found:
        raise Refusal(
            Reason.TRAINER_FAILED,
            f"`module.configMapName`: {module.told} was changed while this job ran: create another "
            "TrainingJob",
        )
    tracker.set_tag(contract.TAG_MODULE, found)
    tracker.log_text(modules.source(module), f"code/{module.key}")
    modules.belong_to(tracker.run_id)


def log_data(
    recipe: Recipe,
    rows: data.Rows,
    tracker: Tracker,
    *,
    sha256: str,
    times: pd.Series | None,
    words: dictionary.Dictionary,
) -> None:
    """Record with the run which rows were read, what is said of them, and by what versions."""
    short = sha256.removeprefix("sha256:")[:8]
    tracker.log_dataset(
        uri=recipe.table.uri,
        digest=short,
        sha256=sha256,
        columns=rows.types,
        rows=len(rows),
    )
    dataset = {
        "digest": short,
        "sha256": sha256,
        "rows": len(rows),
        "columns": len(rows.names),
        "from": render_time(times.min()) if times is not None else "",
        "until": render_time(times.max()) if times is not None else "",
    }
    tracker.set_tag(contract.TAG_DATASET, json.dumps(dataset))
    if words.uri:
        tracker.log_text(dictionary.render(words), "dictionary.json")
    if rows.log is not None:
        tracker.log_text(json.dumps(rows.log.document()), prediction_log.ARTIFACT)
    if rows.features is not None:
        told = json.dumps(rows.features.document(), indent=1, ensure_ascii=False)
        tracker.log_text(told, lineage.ARTIFACT)
        tracker.set_tags(rows.features.tags())
    tracker.log_text(report.environment(), "environment.json")


def _search(
    recipe: Recipe,
    ready: Prepared,
    tracker: Tracker,
    progress: Progress,
    folder: Path,
    study_url: str,
) -> Recipe:
    """Return the recipe with the parameters that a search over the folds found best."""
    # Optuna is heavy, and most jobs search nothing.
    from linnet_trainer import study

    assert recipe.search is not None
    evaluate.require_fit([recipe.search.metric], ready.target.classes, field="search.metric")
    study.require_space(recipe, recipe.search)
    scores = _fold_scores(recipe, ready)
    return study.run(recipe, scores, tracker, progress, folder, url=study_url)


def _fold_scores(recipe: Recipe, ready: Prepared) -> Callable[[Steps], Iterator[float]]:
    """How a search judges steps: on the folds inside the training part, never on the holdout."""
    assert recipe.search is not None
    metric, folds = recipe.search.metric, _folds(recipe, ready)

    def scores(steps: Steps) -> Iterator[float]:
        if not evaluate.judges_labels(metric):
            # No threshold moves such a metric, and one costs a fit per fold.
            steps = replace(steps, threshold_metric="")
        pipeline = _pipeline(steps, ready, seed=recipe.seed)
        for test, answers, _ in _answer_folds(pipeline, steps, ready, folds):
            yield evaluate.score(metric, answers, ready.target.codes[test])

    return scores


def _pipeline(steps: Steps, ready: Prepared, *, seed: int) -> Any:
    """Make the unfitted pipeline, one that takes what the table lacks."""
    pipeline = fit.make_pipeline(steps, ready.inputs.features, seed=seed)
    fit.require_imputed(steps, ready.table, pipeline)
    return pipeline


def _folds(recipe: Recipe, ready: Prepared) -> list[tuple[split.Positions, split.Positions]]:
    """The folds inside the training part, by numbers of all rows."""
    part = ready.held.training
    found = split.fold(ready.rows, ready.held, ready.target.codes[part], recipe)
    return [(part[training], part[test]) for training, test in found]


def _answer_folds(
    pipeline: Any,
    steps: Steps,
    ready: Prepared,
    folds: Sequence[tuple[split.Positions, split.Positions]],
) -> Iterator[tuple[split.Positions, evaluate.Given, tuple[str, ...]]]:
    """Fit fold by fold; yield the rows that it tests, their answers, and what the fit warned of."""
    for training, test in folds:
        model, warned = _fit_on(training, pipeline, steps, ready)
        yield test, evaluate.answer(model, ready.table.iloc[test], ready.target.classes), warned


def _fit_on(
    rows: split.Positions, pipeline: Any, steps: Steps, ready: Prepared
) -> tuple[Any, tuple[str, ...]]:
    """Fit a clone of the pipeline on the rows of these numbers; return it and its warnings.

    A threshold is tuned on the answers for rows that folds of these rows leave out.
    """
    table, values = ready.table.iloc[rows], ready.target.values[rows]
    model, warned = fit.fit(
        pipeline, table, values, steps, ready.weight_of(rows), within=ready.within
    )
    metric = steps.threshold_metric
    if not metric:
        return model, warned
    folds = [(rows[training], rows[test]) for training, test in ready.within.split(table)]
    plain = replace(steps, threshold_metric="")
    told = [(test, given) for test, given, _ in _answer_folds(pipeline, plain, ready, folds)]
    pooled = evaluate.Answers(probability=np.concatenate([given.probability for _, given in told]))
    codes = ready.target.codes[np.concatenate([test for test, _ in told])]
    threshold = thresholds.Threshold(
        value=thresholds.tune(metric, pooled, codes), positive=ready.target.classes[1]
    )
    return thresholds.settle(model, threshold, table, values), warned


def _fit(recipe: Recipe, ready: Prepared, tracker: Tracker, progress: Progress) -> Fitted:
    """Cross-validate inside the training part, then fit on all of it."""
    steps, metrics = recipe.steps, recipe.metrics
    score = np.full(len(ready.rows), np.nan)
    scores: list[Mapping[str, float]] = []
    said: tuple[str, ...] = ()
    pipeline = _pipeline(steps, ready, seed=recipe.seed)
    folds = _folds(recipe, ready)
    answered = _answer_folds(pipeline, steps, ready, folds)
    for number, (test, answers, warned) in enumerate(answered, start=1):
        score[test] = evaluate.signal(answers)
        found = evaluate.score_all(metrics, answers, ready.target.codes[test])
        scores.append(found)
        said += warned
        tracker.log_metrics({f"fold_{key}": value for key, value in found.items()}, step=number)
        first = f", {metrics[0]} {found[metrics[0]]:.3f}" if metrics[0] in found else ""
        progress.enter(
            Stage.FITTING,
            f"fold {number} of {len(folds)}{first}",
            percent=25 + 40 * number // len(folds),
        )
    tracker.log_metrics(_spread(scores))
    model, warned = _fit_on(ready.held.training, pipeline, steps, ready)
    if rounds := stopping.rounds(model):
        tracker.log_metrics({"rounds": rounds})
    if threshold := thresholds.of(model, ready.target.ordered):
        tracker.log_metrics({"threshold": threshold.value})
        say(f"{threshold.positive} is answered from probability {threshold.value:.3f} on")
    for line in dict.fromkeys(said + warned):
        say(f"warning while fitting: {line}")
    return Fitted(
        pipeline=model,
        folds=tuple(scores),
        score=score,
        warnings=tuple(dict.fromkeys(said + warned)),
    )


def _evaluate(
    recipe: Recipe,
    ready: Prepared,
    fitted: Fitted,
    rival: champion.Rival | None,
    tracker: Tracker,
    progress: Progress,
    folder: Path,
) -> Result:
    """Score the holdout, upload the model, judge the gates, record the verdict, register."""
    held, target = ready.held, ready.target
    metrics = recipe.metrics
    inputs = ready.table.iloc[held.holdout]
    answers = evaluate.answer(fitted.pipeline, inputs, target.classes)
    scores = evaluate.score_all(metrics, answers, target.codes[held.holdout])
    seen = evaluate.answer(fitted.pipeline, ready.table.iloc[held.training], target.classes)
    training = evaluate.score_each(metrics, seen, target.codes[held.training])
    tracker.log_metrics({f"training_{name}": value for name, value in training.items()})
    score = fitted.score.copy()
    score[held.holdout] = evaluate.signal(answers)
    model_id, location, manifest_sha, content = _upload(
        recipe, ready, fitted, answers, scores, score, tracker, folder / "model"
    )
    holdout = split.identify(ready.rows, held, recipe.table)
    tracker.set_tag(contract.TAG_HOLDOUT, holdout)
    look = 0
    if recipe.compares and rival is not None and not champion.obstacle(rival, ready.rows, target):
        look = 0 if champion.saw(rival, held, ready.facts) else tracker.claim_look(holdout)
    found = examination.examine(
        examination.Case(
            recipe=recipe,
            rows=ready.rows,
            held=held,
            facts=ready.facts,
            target=target,
            features=ready.inputs.features,
            table=ready.table,
            times=ready.times,
            dictionary=ready.dictionary,
            answers=answers,
            scores=scores,
            training_scores=training,
            rival=rival,
            look=look,
            folder=folder / "model",
            content=content,
            again=lambda: _fit_again(recipe, ready),
        )
    )
    tracker.log_text(examination.render(found), "gates.json")
    tracker.log_metrics(examination.figures(found))
    judged = examination.shown(found)
    for gate in judged:
        progress.enter(
            Stage.EVALUATING,
            f"gate '{gate.name}' {'passed' if gate.passed else 'refused'}: {gate.message}",
            percent=85,
        )
    facts = _facts(
        recipe,
        ready,
        fitted,
        scores=scores,
        training=training,
        run_id=tracker.run_id,
        model_id=model_id,
        content=content,
        holdout=holdout,
        look=look,
    )
    result = report.make_result(recipe, facts, judged)
    _write_card(
        recipe, ready, fitted, (answers, scores), facts, found, result, rival, tracker, folder
    )
    tags = version_tags(recipe, facts, manifest_sha=manifest_sha, location=location)
    if facts.trained_until:
        tags[contract.TAG_TRAINED_UNTIL] = facts.trained_until
    return conclude(result, tags, recipe, tracker, progress)


def descriptions(rows: data.Rows, words: dictionary.Dictionary) -> dict[str, str]:
    """Say what columns mean; the spec's dictionary stands over the feature store."""
    told = rows.features.descriptions if rows.features is not None else {}
    return {**told, **words.descriptions}


def version_tags(
    recipe: Recipe, facts: report.Facts, *, manifest_sha: str, location: str
) -> dict[str, str]:
    """Return what the registry records of every version."""
    return {
        contract.TAG_MANIFEST: manifest_sha,
        contract.TAG_CONTENT: facts.content_digest,
        contract.TAG_JOB_UID: recipe.job_uid,
        contract.TAG_DATA: facts.data_sha256,
        contract.TAG_ARTIFACTS: location,
        **(facts.features.version_tags() if facts.features is not None else {}),
    }


def conclude(
    result: Result,
    tags: Mapping[str, str],
    recipe: Recipe,
    tracker: Tracker,
    progress: Progress,
) -> Result:
    """Record the verdict, then register what passed."""
    if result.outcome is not Outcome.PASSED:
        return result
    progress.enter(Stage.REGISTERING, f"model '{recipe.model}'")
    verdict = {"result": json.loads(contract.render(result)), "tags": tags}
    tracker.set_tag(contract.TAG_VERDICT, json.dumps(verdict, ensure_ascii=False))
    return _register(result, tags, recipe, tracker)


def _register(result: Result, tags: Mapping[str, str], recipe: Recipe, tracker: Tracker) -> Result:
    version, created = tracker.register(model_id=result.model_id, tags=tags)
    say(f"version {version} of '{recipe.model}' {'created' if created else 'found'}")
    return replace(result, version=version)


def _upload(
    recipe: Recipe,
    ready: Prepared,
    fitted: Fitted,
    answers: evaluate.Given,
    scores: Mapping[str, float],
    score: np.ndarray[Any, np.dtype[np.float64]],
    tracker: Tracker,
    folder: Path,
) -> tuple[str, str, str, str]:
    """Store the model as a logged model of the run; return its id, place and two digests."""
    held = ready.held
    manifest.require_trusted(fitted.pipeline, field=recipe.steps.field)
    is_held = np.zeros(len(ready.rows), dtype=bool)
    is_held[held.holdout] = True
    # Of free text nearly every row is new: its values say nothing about drift.
    counted = [each for each in ready.inputs.features if each.name not in recipe.steps.columns.text]
    extra = profile.make(
        ready.table[[each.name for each in counted]],
        features=counted,
        target=ready.target,
        score=score,
        held=is_held,
        times=ready.times,
        metrics=scores,
        seed=recipe.seed,
    )
    # A value that is missing where training had none is refused by the server: no sample has it.
    required = ~ready.table.iloc[held.training].isna().any()
    names = required.index[required]
    answered = np.flatnonzero(ready.table.iloc[held.holdout][names].notna().all(axis=1))
    chosen = answered[_sample(len(answered), manifest.SAMPLES, recipe.seed)]
    samples = ready.table.iloc[held.holdout[chosen]]
    model_id, location = tracker.create_model()
    manifest_sha, content = manifest.save(
        folder,
        pipeline=fitted.pipeline,
        features=ready.inputs.features,
        training=ready.table.iloc[held.training],
        target=ready.target,
        samples=(samples, answers.of(chosen)),
        extra=extra,
        facts={
            "holdout": dict(ready.facts),
            "runID": tracker.run_id,
            "dataDigest": ready.sha256,
            **feature_facts(ready.rows),
        },
        run_id=tracker.run_id,
        model_id=model_id,
        location=location,
    )
    tracker.upload_model(model_id, folder, scores)
    return model_id, location, manifest_sha, content


def feature_facts(rows: data.Rows) -> dict[str, Any]:
    """Return what a manifest holds of the feature store, if there is one."""
    return {lineage.MANIFEST_KEY: rows.features.document()} if rows.features is not None else {}


def _fit_again(
    recipe: Recipe, ready: Prepared, share: float = 1.0
) -> tuple[Mapping[str, float], str, float]:
    """Repeat the final fit, on the first share of its rows; say what came of it.

    Returns:
        The holdout's metrics, the content digest, and the seconds that the fit took.
    """
    held, target = ready.held, ready.target
    part = held.training[: max(2, int(share * len(held.training)))]
    with stopwatch() as seconds:
        pipeline = fit.make_pipeline(recipe.steps, ready.inputs.features, seed=recipe.seed)
        model, _ = _fit_on(part, pipeline, recipe.steps, ready)
    answers = evaluate.answer(model, ready.table.iloc[held.holdout], target.classes)
    scores = evaluate.score_all(recipe.metrics, answers, target.codes[held.holdout])
    return scores, manifest.digest(model), seconds()


@contextmanager
def stopwatch() -> Iterator[Callable[[], float]]:
    """Yield a function that returns the seconds that the block took."""
    begun = time.monotonic()
    ended: list[float] = []
    yield lambda: ended[0] - begun
    ended.append(time.monotonic())


def _write_card(
    recipe: Recipe,
    ready: Prepared,
    fitted: Fitted,
    measured: tuple[evaluate.Given, Mapping[str, float]],
    facts: report.Facts,
    found: Sequence[checks.Finding],
    result: Result,
    rival: champion.Rival | None,
    tracker: Tracker,
    folder: Path,
) -> None:
    """Draw the plots and write the model card, as Markdown and as one page of HTML."""
    held, target, metric = ready.held, ready.target, recipe.metrics[0]
    answers, scores = measured
    drawn, undrawn = plots.draw(
        plots.Evidence(
            metric=metric,
            answers=answers,
            target=target.codes[held.holdout],
            classes=target.classes,
            inputs=ready.table.iloc[held.holdout],
            ask=lambda inputs: evaluate.answer(fitted.pipeline, inputs, target.classes),
            fit_on=lambda share: _learned(recipe, ready, share),
            folds=fitted.folds,
            score=scores.get(metric, float("nan")),
            seed=recipe.seed,
        )
    )
    for name, why in undrawn.items():
        say(f"the plot {name} was not drawn: {why}")
    written = report.sections(
        recipe,
        facts,
        [finding.gate for finding in found],
        result,
        plots=list(drawn),
        undrawn=undrawn,
        others=comparison.others(tracker, rival),
    )
    tracker.log_files(
        {f"{name}.png": blob for name, blob in drawn.items()}, folder / "plots", "plots"
    )
    tracker.log_text(card.markdown(recipe.model, written), "model-card.md")
    tracker.log_text(card.page(recipe.model, written, drawn), "model-card.html")


def _learned(recipe: Recipe, ready: Prepared, share: float) -> float:
    """The leading metric of a model that was fitted on a share of the training rows."""
    try:
        scores, _, _ = _fit_again(recipe, ready, share)
    except Refusal as error:
        raise ValueError(f"no fit on {share:.0%} of the rows: {error.message}") from error
    return scores.get(recipe.metrics[0], float("nan"))


def _facts(
    recipe: Recipe,
    ready: Prepared,
    fitted: Fitted,
    *,
    scores: Mapping[str, float],
    training: Mapping[str, float],
    run_id: str,
    model_id: str,
    content: str,
    holdout: str,
    look: int,
) -> report.Facts:
    held = ready.held
    table = ready.table.iloc[held.training]
    return report.Facts(
        rows=len(ready.rows),
        training=len(held.training),
        holdout=len(held.holdout),
        purged=held.purged,
        span=_span(recipe, ready),
        holdout_from=render_time(held.start) if held.start else "",
        copies=split.count_copies(ready.rows),
        target=targets.tell(ready.target, held.training, held.holdout),
        left_out=ready.inputs.left_out,
        columns=report.columns(
            ready.inputs.features, table, descriptions(ready.rows, ready.dictionary)
        ),
        folds=fitted.folds,
        scores=scores,
        training_scores=training,
        warnings=fitted.warnings,
        run_id=run_id,
        model_id=model_id,
        content_digest=content,
        data_sha256=ready.sha256,
        trained_until=render_time(held.trained_until) if held.trained_until else "",
        holdout_sha256=holdout,
        look=look,
        features=ready.rows.features,
    )


def _span(recipe: Recipe, ready: Prepared) -> str:
    if not recipe.table.timestamp:
        return f"{len(ready.held.holdout)} rows"
    times = ready.rows.frame[recipe.table.timestamp].iloc[ready.held.holdout]
    return f"{times.dt.floor('D').nunique()} days"


def _spread(scores: list[Mapping[str, float]]) -> dict[str, float]:
    """Mean and standard deviation over the folds, of the metrics that are defined in all."""
    names = [name for name in scores[0] if all(name in fold for fold in scores)]
    found = {f"cv_{name}_mean": float(np.mean([fold[name] for fold in scores])) for name in names}
    return found | {
        f"cv_{name}_std": float(np.std([fold[name] for fold in scores])) for name in names
    }


def _sample(count: int, most: int, seed: int) -> np.ndarray[Any, Any]:
    if count <= most:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).choice(count, most, replace=False))
