"""One check: read the window, rank it, look at its quality, draw the report, write the document."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from linnet_trainer import tables
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import render_time
from linnet_trainer.registry import Run

from linnet_monitor import alarm, contract, distances, figures, quality, window
from linnet_monitor import reference as references
from linnet_monitor.alarm import Distance, Part, Ranking, Series
from linnet_monitor.contract import Check, Column, Outcome, Reason, Signal
from linnet_monitor.distances import Counts
from linnet_monitor.errors import Failure
from linnet_monitor.reference import MISSING, SCORE, Reference, load
from linnet_monitor.spec import DataDrift, DataQuality, PredictionDrift, Spec
from linnet_monitor.window import SCORE_BINS, Span, Tally

PERMUTE = {"HistoryWindows": None, "DayPermutation": 0}
"""Seed of the random days by the policy's method."""
SCORE_PLACES: Counts = (np.arange(SCORE_BINS) + 0.5) / SCORE_BINS
LARGEST = 1e6
REPORT = "report.html"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One series that is ranked: which signal it belongs to, and how it is compared."""

    signal: str
    method: str
    series: Series


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What was read: the window, its rows' tally, and how many rows are new."""

    span: Span
    tally: Tally
    new: int


def run(spec: Spec, tracked: Run, folder: Path) -> Check:
    """Check once; the document, and everything else in the run.

    Raises:
        Failure: another try does not mend it.
        Unavailable: registry or store do not answer.
    """
    reference = load(spec, tracked, folder)
    found = _read(spec, reference)
    if isinstance(found, Check):
        return found
    judged = _series(spec, reference, found.tally)
    ranking = _rank(spec, reference, found.span, judged)
    if ranking is not None and not _is_long_enough(spec, reference, ranking):
        return _too_short(spec, reference, found, ranking)
    document = _judge(spec, reference, found, judged, ranking)
    return _report(spec, tracked, reference, found, document, judged, ranking)


def blank(spec: Spec, outcome: Outcome, reason: Reason, message: str) -> Check:
    """A document without figures."""
    return Check(
        spec_hash=spec.spec_hash,
        policy_uid=spec.policy_uid,
        slot=spec.slot,
        outcome=outcome,
        reason=reason,
        message=message,
    )


# -- reading -------------------------------------------------------------------------------------


def _read(spec: Spec, reference: Reference) -> Read | Check:
    """The window's rows, or the document that says why they are not judged."""
    source = tables.Source(
        uri=spec.uri,
        field="source.table.uri",
        timestamp=spec.timestamp,
        timestamp_field="source.table.timestamp",
    )
    try:
        opened = tables.open_table(source)
        _require_columns(spec, reference, opened)
        extent = window.extent(opened, spec.trained_until)
    except Refusal as error:
        raise Failure(Reason.SOURCE_UNAVAILABLE, error.message) from error
    if spec.until is None and extent.newest is None:
        return blank(
            spec, Outcome.TOO_FEW_SAMPLES, Reason.NO_DATA, f"{spec.uri} has no row with a time"
        )
    span = window.span(spec.until, extent.newest, days=spec.days, zone=spec.zone)
    opened = replace(opened, source=replace(source, start=span.start, until=span.until))
    scored = any(isinstance(signal, PredictionDrift) for signal in spec.signals)
    try:
        tally = window.tally(opened, reference, known=quality.known_texts(reference), scored=scored)
    except Refusal as error:
        raise Failure(Reason.SCHEMA_MISMATCH, f"{spec.uri}: {error.message}") from error
    found = Read(span=span, tally=tally, new=extent.new)
    return _too_little(spec, reference, found) or found


def _require_columns(spec: Spec, reference: Reference, opened: tables.Opened) -> None:
    named = {column.name for column in reference.columns}
    for signal in spec.signals:
        unknown = set(signal.columns) - named if isinstance(signal, DataDrift) else set()
        if unknown:
            raise Failure(
                Reason.SCHEMA_MISMATCH,
                f"signal '{signal.name}' names {_listed(unknown)}, which version "
                f"{reference.version} does not read; it reads {_listed(named)}",
            )
    if spec.timestamp not in opened.names:
        raise Failure(
            Reason.SCHEMA_MISMATCH,
            f"`source.table.timestamp` names '{spec.timestamp}', which is no column of {spec.uri}",
        )
    lacking = window.missing_columns(opened.names, reference)
    if lacking:
        raise Failure(
            Reason.SCHEMA_MISMATCH,
            f"{spec.uri} lacks {_listed(lacking)}, which version {reference.version} reads",
        )


def _listed(names: set[str] | list[str]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names)[:10])


def _too_little(spec: Spec, reference: Reference, found: Read) -> Check | None:
    rows, words = found.tally.rows, _words(found.span)
    if rows < spec.minimum:
        reason = Reason.TOO_FEW_SAMPLES if rows else Reason.NO_DATA
        message = f"{spec.uri} has {rows} rows {words}; `window.minSamples` asks for {spec.minimum}"
        return _with_window(blank(spec, Outcome.TOO_FEW_SAMPLES, reason, message), reference, found)
    return None


def _words(span: Span) -> str:
    return f"from {render_time(span.start)} until {render_time(span.until)}"


def _with_window(document: Check, reference: Reference, found: Read, windows: int = 0) -> Check:
    return replace(
        document,
        window=contract.Window(
            start=render_time(found.span.start), until=render_time(found.span.until)
        ),
        rows=found.tally.rows,
        new_samples=found.new,
        reference=contract.Reference(
            version=reference.version,
            digest=reference.digest,
            start=reference.start,
            until=reference.until,
            windows=windows,
        ),
    )


# -- judging -------------------------------------------------------------------------------------


def _series(spec: Spec, reference: Reference, tally: Tally) -> list[Judged]:
    """Everything that is ranked, each column once, under the first signal that names it."""
    found: dict[str, Judged] = {}
    for signal in spec.signals:
        if isinstance(signal, DataDrift):
            for judged in columns_of(signal, reference, tally):
                found.setdefault(judged.series.name, judged)
        elif isinstance(signal, PredictionDrift):
            found.setdefault(SCORE, _scores(signal, reference, tally))
    return list(found.values())


def columns_of(signal: DataDrift, reference: Reference, tally: Tally) -> list[Judged]:
    """The columns that a signal ranks, by the method that it names for their type."""
    judged = []
    for column in reference.columns:
        if signal.columns and column.name not in signal.columns:
            continue
        method = signal.numeric if column.is_number else signal.categorical
        judged.append(
            Judged(
                signal=signal.name,
                method=method,
                series=Series(
                    name=column.name,
                    history=column.counts[:, :-MISSING],
                    window=tally.counts[column.name][:-MISSING],
                    distance=_distance(method, column.places, column.spread)
                    if column.is_number
                    else distances.UNORDERED[method],
                    power=_power(method),
                    beyond=_beyond(method, column, tally),
                ),
            )
        )
    return judged


def _beyond(method: str, column: references.Column, tally: Tally) -> float:
    """What the earth mover's distance adds for values that no bin of the reference reaches."""
    if method != "Wasserstein" or not column.spread:
        return 0.0
    present = float(tally.counts[column.name][:-MISSING].sum())
    return tally.beyond[column.name] / column.spread / max(present, 1.0)


def _scores(signal: PredictionDrift, reference: Reference, tally: Tally) -> Judged:
    counts = reference.scores.sum(axis=0)
    mean = (counts @ SCORE_PLACES) / counts.sum()
    spread = float(np.sqrt((counts @ (SCORE_PLACES - mean) ** 2) / counts.sum()))
    return Judged(
        signal=signal.name,
        method=signal.method,
        series=Series(
            name=SCORE,
            history=reference.scores,
            window=tally.scores,
            distance=_distance(signal.method, SCORE_PLACES, spread),
            power=_power(signal.method),
        ),
    )


def _distance(method: str, places: Counts, spread: float) -> Distance:
    if method == "Wasserstein":
        return partial(distances.wasserstein, places=places, spread=spread)
    return distances.UNORDERED[method]


def _power(method: str) -> float:
    return 0.5 if method in distances.QUADRATIC else 1.0


def _rank(spec: Spec, reference: Reference, span: Span, judged: list[Judged]) -> Ranking | None:
    """None where no signal is a rank."""
    if not judged:
        return None
    return alarm.rank(
        [each.series for each in judged],
        dates=reference.dates,
        length=spec.days,
        alpha=spec.alpha,
        touched=span.dates,
        permute=PERMUTE[spec.method],
    )


def _is_long_enough(spec: Spec, reference: Reference, ranking: Ranking) -> bool:
    needed = alarm.days_needed(spec.days, spec.alpha) if PERMUTE[spec.method] is None else 0
    return ranking.resolves and len(reference.dates) >= needed


def _too_short(spec: Spec, reference: Reference, found: Read, ranking: Ranking) -> Check:
    needed = alarm.days_needed(spec.days, spec.alpha)
    message = (
        f"version {reference.version} was trained on {len(reference.dates)} days, in which "
        f"{ranking.windows} windows of {spec.days} days can be compared with this one; a false "
        f"alarm probability of {spec.alpha:g} needs {needed} days with rows, apart from the "
        "window's own: train on more days, shorten `window.lookback` or raise "
        "`alarm.falseAlarmProbability`"
    )
    document = blank(spec, Outcome.INSUFFICIENT_REFERENCE, Reason.INSUFFICIENT_REFERENCE, message)
    return _with_window(document, reference, found, ranking.windows)


def _judge(
    spec: Spec,
    reference: Reference,
    found: Read,
    judged: list[Judged],
    ranking: Ranking | None,
) -> Check:
    signals = tuple(_signal(signal, reference, found, judged, ranking) for signal in spec.signals)
    outcome, reason = _outcome(signals, ranking)
    document = Check(
        spec_hash=spec.spec_hash,
        policy_uid=spec.policy_uid,
        slot=spec.slot,
        outcome=outcome,
        reason=reason,
        message=_message(reference, found, signals, judged, ranking),
        signals=signals,
        columns=_worst(judged, ranking),
        score=_figure(ranking.score) if ranking is not None else "",
        rank=ranking.rank if ranking is not None else 0,
        p_value=_figure(ranking.p_value) if ranking is not None else "",
    )
    windows = ranking.windows if ranking is not None else 0
    return _with_window(document, reference, found, windows)


def _signal(
    signal: DataDrift | PredictionDrift | DataQuality,
    reference: Reference,
    found: Read,
    judged: list[Judged],
    ranking: Ranking | None,
) -> Signal:
    if isinstance(signal, DataQuality):
        worst = quality.shares(signal, reference, found.tally)[0]
        return Signal(
            name=signal.name,
            breached=worst.breached,
            statistic=_figure(worst.share),
            threshold=_figure(worst.limit),
            n=found.tally.rows,
            message=f"{worst.share:.1%} of '{worst.column}' is {worst.what}, "
            f"limit {worst.limit:.1%}",
        )
    part = _largest(signal.name, judged, ranking)
    if part is None or ranking is None:
        return Signal(name=signal.name, breached=False, n=found.tally.rows)
    return Signal(
        name=signal.name,
        breached=part.scaled > ranking.threshold,
        statistic=_figure(part.scaled),
        threshold=_figure(ranking.threshold),
        n=found.tally.rows,
        message=f"{_called(part.name)} differs most: {part.scaled:.2f} times its usual distance, "
        f"threshold {ranking.threshold:.2f}",
    )


def _largest(signal: str, judged: list[Judged], ranking: Ranking | None) -> Part | None:
    names = {each.series.name for each in judged if each.signal == signal}
    parts = ranking.parts if ranking is not None else ()
    return next((part for part in parts if part.name in names), None)


def _outcome(signals: tuple[Signal, ...], ranking: Ranking | None) -> tuple[Outcome, Reason]:
    if ranking is not None and ranking.alarm:
        by_score = ranking.parts[0].name == SCORE
        return Outcome.DRIFTED, Reason.PREDICTION_DRIFT if by_score else Reason.FEATURE_DRIFT
    if any(signal.breached for signal in signals):
        return Outcome.DRIFTED, Reason.QUALITY_BREACH
    return Outcome.WITHIN, Reason.WITHIN_THRESHOLD


def _message(
    reference: Reference,
    found: Read,
    signals: tuple[Signal, ...],
    judged: list[Judged],
    ranking: Ranking | None,
) -> str:
    said = f"{found.tally.rows} rows {_words(found.span)} against version {reference.version}"
    if ranking is not None:
        part = ranking.parts[0]
        method = next(each.method for each in judged if each.series.name == part.name)
        said += (
            f", {ranking.windows} windows of its data: {_called(part.name)} differs most, "
            f"{method} {part.statistic:.3g}, threshold {part.bound(ranking.threshold):.3g}; score "
            f"{_figure(ranking.score)}, rank {ranking.rank} of {ranking.windows + 1}"
        )
    told = [signal.message for signal in signals if signal.breached and _is_quality(signal, judged)]
    return "; ".join((said, *told))


def _is_quality(signal: Signal, judged: list[Judged]) -> bool:
    return all(each.signal != signal.name for each in judged)


def _worst(judged: list[Judged], ranking: Ranking | None) -> tuple[Column, ...]:
    """The columns nearest to their thresholds, or beyond."""
    if ranking is None:
        return ()
    by_name = {each.series.name: each for each in judged}
    return tuple(
        Column(
            column=part.name if part.name != SCORE else "score",
            signal=by_name[part.name].signal,
            method=by_name[part.name].method,
            statistic=_figure(part.statistic),
            threshold=_figure(part.bound(ranking.threshold)),
            n_reference=int(by_name[part.name].series.history.sum()),
            n_current=int(by_name[part.name].series.window.sum()),
        )
        for part in ranking.parts[: contract.COLUMNS]
    )


def _called(name: str) -> str:
    return "the score" if name == SCORE else f"'{name}'"


def _figure(value: float) -> str:
    """A number with four significant digits; what has no bound in practice is cut off."""
    return f"{min(value, LARGEST):.4g}"


# -- reporting -----------------------------------------------------------------------------------


def _report(
    spec: Spec,
    tracked: Run,
    reference: Reference,
    found: Read,
    document: Check,
    judged: list[Judged],
    ranking: Ranking | None,
) -> Check:
    """Log figures and report to the run; the document with its links."""
    methods = {each.series.name: each.method for each in judged}
    report = figures.draw(reference, found.tally.sample, methods)
    metrics = {"rows": float(found.tally.rows), "new_samples": float(found.new)}
    for name, counts in found.tally.counts.items():
        metrics[f"missing.{name}"] = float(counts[-MISSING]) / found.tally.rows
    if ranking is not None:
        metrics |= {"score": min(ranking.score, LARGEST), "p_value": ranking.p_value}
        metrics |= {f"drift.{part.name}": part.statistic for part in ranking.parts}
    if report is not None:
        metrics |= {f"evidently.{name}": value for name, value in report.values.items()}
        tracked.log_text(report.html, REPORT)
        tracked.log_text(report.document, "report.json")
    named = {_metric_name(name): value for name, value in metrics.items() if np.isfinite(value)}
    tracked.log_metrics(named, at=found.span.until)
    link = f"{spec.link}/#/experiments/{tracked.experiment_id}/runs/{tracked.run_id}"
    return replace(
        document,
        run_id=tracked.run_id,
        report_url=f"{link}/artifacts/{REPORT}" if report is not None else link,
    )


def _metric_name(name: str) -> str:
    """MLflow takes letters, digits and some signs in the name of a metric."""
    return re.sub(r"[^\w./ -]", "_", name)
