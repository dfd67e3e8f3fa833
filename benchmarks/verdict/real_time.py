"""Requests that arrive in seconds: whole steps with the floor of tau, and broken candidates."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from benchmarks.verdict import ours, reference, worlds
from benchmarks.verdict.bench import Bench
from benchmarks.verdict.comparing import (
    Number,
    Outcome,
    differ,
    error_of_quantile,
    error_of_share,
    percent,
    short,
)
from benchmarks.verdict.ours import Setting
from benchmarks.verdict.worlds import World

NOISES: tuple[tuple[str, dict[str, float]], ...] = (
    ("healthy", {}),
    ("CV .5", {"cv": 0.5}),
    ("CV 1", {"cv": 1.0}),
    ("pods .1", {"sd": 0.1}),
    ("pods .2", {"sd": 0.2}),
    ("base .5, pods .1", {"base": 0.5, "sd": 0.1}),
)


def floor(bench: Bench) -> None:
    """Whole steps in real time, with the floor that the product has."""
    bench.head(
        "Floor c = 2 of tau 5 (Assumed), T 540, 10 / 100 / 1000 requests a second: false "
        "rollbacks, %, then median candidate requests when found",
        "steps", *(name for name, _ in NOISES), "1 → 2 %", "1 → 5 %",
    )  # fmt: skip
    runs = max(1, bench.runs // 4)
    plans = {"5 %": (0.05,), "20 %": (0.2,), "5, 25, 50 %": worlds.RAMP}
    for plan, (name, weights) in enumerate(plans.items()):
        cells = []
        cases = [*NOISES, ("2 %", {"candidate": 0.02}), ("5 %", {"candidate": 0.05})]
        for place, (case, given) in enumerate(cases):
            texts = []
            for speed, rate in enumerate(reference.RATES):
                source = worlds.random(10, plan, place, speed)
                world = worlds.steps(source, runs, weights=weights, rate=rate, **given)
                outcome = Outcome.of(world, ours.found(world, Setting()))
                text = reference.FLOOR[name][place].split("/")[speed]
                label = f"{name}, {case}, {rate}/s"
                if "candidate" in given:
                    step = rate * 10 * weights[0]
                    texts.append(_candidates(bench, outcome, text, step, label))
                else:
                    texts.append(bench.sheet.share(outcome, text, runs=2000, name=label))
            cells.append(" / ".join(texts))
        bench.row(name, *cells)


def _candidates(bench: Bench, outcome: Outcome, text: str, step: float, label: str) -> str:
    """The median of candidate requests at detection, with the share found where not all were."""
    hits = outcome.exposed[outcome.ends >= 0]
    if not len(hits):
        return "none found"
    middle = float(np.median(hits))
    missed = "" if outcome.hits == outcome.runs else f" ({percent(outcome.share)} %)"
    if outcome.hits < 20:
        return f"{short(middle)}{missed} [{text}]"
    error = error_of_quantile(hits, 0.5)
    their_error = error * math.sqrt(outcome.hits / 2000)
    written = f"{short(middle)}{missed} [{text}]"
    different = differ(middle, error, Number.read(text), their_error, step)
    return written + bench.sheet.note(different, f"{label}: {written}")


def chosen(bench: Bench) -> None:
    """A broken candidate in real time, with a warm-up."""
    bench.head(
        "Chosen setting: candidate requests to rollback, median (95 %) @ seconds [ended within "
        "the warm-up, %]", "candidate, requests/s", "5 %", "20 %", "50 %",
    )  # fmt: skip
    for place, ((bad, rate), given) in enumerate(reference.CHOSEN.items()):
        texts = []
        for column, (share, text) in enumerate(zip(reference.WEIGHTS, given, strict=True)):
            world = worlds.broken(
                worlds.random(11, place, column),
                2 * bench.runs,
                share=share,
                rate=rate,
                candidate=bad,
            )
            ends = ours.found(world, Setting())
            label = f"{bad:.0%}, {rate}/s, {share:.0%}"
            texts.append(_chosen(bench, world, ends, text, rate * share, label))
        bench.row(f"{bad:.0%}, {rate}/s", *texts)


def _chosen(
    bench: Bench, world: World, ends: Any, text: str, candidate_rate: float, label: str
) -> str:
    outcome = Outcome.of(world, ends)
    if outcome.hits < outcome.runs:
        raise ValueError(f"a broken candidate that was never rolled back: {label}")
    seconds = np.cumsum(world.seconds)[ends]
    median, high = np.quantile(outcome.exposed, (0.5, 0.95))
    inside = outcome.share * float((seconds <= worlds.WARMUP).mean())
    ours_text = (
        f"{short(float(median))} ({short(float(high))}) @{np.median(seconds):.0f} "
        f"[{percent(inside)}]"
    )
    theirs = text.replace("(", "").replace(")", "").replace("@", "").replace("[", "")
    at_median, at_high, at_time, at_inside = theirs.replace("]", "").split()
    length = 2 if float(at_time) <= worlds.WARMUP else 10
    step, different = candidate_rate * length, False
    for value, share, given in ((median, 0.5, at_median), (high, 0.95, at_high)):
        error = error_of_quantile(outcome.exposed, share)
        their_error = error * math.sqrt(outcome.runs / reference.REAL_TIME_RUNS)
        different |= differ(float(value), error, Number.read(given), their_error, step)
    number = Number.read(at_inside)
    their_error = error_of_share(
        round(number.value * reference.REAL_TIME_RUNS / 100), reference.REAL_TIME_RUNS
    )
    own_error = error_of_share(round(inside * outcome.runs / 100), outcome.runs)
    different |= differ(inside, own_error, number, their_error)
    return f"{ours_text} [{text}]{bench.sheet.note(different, f'{label}: {ours_text} [{text}]')}"
