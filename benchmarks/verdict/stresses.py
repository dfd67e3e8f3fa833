"""Traffic that is not independent and identical: noise, incidents, ramps, late regressions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import product
from typing import Any

import numpy as np
from linnet.core.rollout.analysis import Dispersion

from benchmarks.verdict import anchors, ours, reference, worlds
from benchmarks.verdict.bench import ANCHOR_FOUND, PRODUCT, SIZES, Bench, shown, simulated
from benchmarks.verdict.comparing import Outcome, percent
from benchmarks.verdict.ours import Setting
from benchmarks.verdict.worlds import World


def _stresses() -> dict[str, Callable[[Any, int, int], World]]:
    def plain(base: float) -> Callable[[Any, int, int], World]:
        return lambda source, runs, total: worlds.cell(
            source, runs, share=0.2, total=total, candidate=base, champion=base
        )

    def noisy(cv: float, sd: float) -> Callable[[Any, int, int], World]:
        return lambda source, runs, total: worlds.noisy(
            source, runs, share=0.2, total=total, cv=cv, sd=sd
        )

    return {
        "incident": lambda source, runs, total: worlds.incident(
            source, runs, share=0.2, total=total
        ),
        "ramp + drift": lambda source, runs, total: worlds.drifting_ramp(source, runs, total=total),
        "CV .5": noisy(0.5, 0),
        "CV 1": noisy(1.0, 0),
        "pods .1": noisy(0, 0.1),
        "pods .2": noisy(0, 0.2),
        "cold start": lambda source, runs, total: worlds.cold(source, runs, share=0.2, total=total),
        "base .1 %": plain(0.001),
        "base 3 %": plain(0.03),
    }


def stress(bench: Bench) -> None:
    """Healthy, but not independent and identical: false rollbacks of 10k / 100k requests."""
    bench.head(
        "Healthy but not i.i.d.: false rollbacks, %, 20 % weight, 10k / 100k",
        "world", *reference.STRESS_RULES, PRODUCT,
    )  # fmt: skip
    for place, (name, make) in enumerate(_stresses().items()):
        *theirs, _, product_reference = reference.STRESS[name]
        texts: list[list[str]] = [[] for _ in (*theirs, product_reference)]
        for size, total in enumerate(SIZES):
            world = make(worlds.random(4, place, size), reference.STRESS_RUNS, total)
            outcomes = [*shown(bench, world, reference.STRESS_RULES).values()]
            part = world.first(bench.runs)
            outcomes.append(Outcome.of(part, ours.found(part, Setting())))
            given = [[*text.split("/"), "", ""][size] for text in (*theirs, product_reference)]
            rules = (*reference.STRESS_RULES, PRODUCT)
            for column, (outcome, text, rule) in enumerate(
                zip(outcomes, given, rules, strict=True)
            ):
                label = f"{name}, {rule}, {total:,}"
                texts[column].append(
                    bench.sheet.share(outcome, text, runs=reference.STRESS_RUNS, name=label)
                )
        bench.row(name, *(" / ".join(each) for each in texts))


def late(bench: Bench) -> None:
    """A regression that begins at 60 % of the run."""
    cases = tuple(product(SIZES, (0.02, 0.05)))
    bench.head(
        "Regression from 60 % of the run on, 20 % weight: false before / found after @ delay",
        "rule", *(f"{total:,}, → {100 * bad:g} %" for total, bad in cases),
    )  # fmt: skip
    rows: dict[str, list[str]] = {}
    for place, (total, bad) in enumerate(cases):
        world = worlds.late(
            worlds.random(5, place), ANCHOR_FOUND, share=0.2, total=total, candidate=bad
        )
        names = tuple(name for name in reference.LATE if name in anchors.RULES)
        outcomes = shown(bench, world, names)
        part = world.first(bench.runs)
        pilot = worlds.cell(worlds.random(6, place), bench.runs, share=0.2, total=total)
        outcomes["c8 .05"] = Outcome.of(part, simulated(bench, part, pilot)["c8 .05"])
        outcomes[PRODUCT] = Outcome.of(part, ours.found(part, Setting()))
        for name, outcome in outcomes.items():
            given = reference.LATE.get(name, ("/",) * 4)[place].split("/")
            label = f"{name}, {total:,}, → {100 * bad:g} %"
            rows.setdefault(name, []).append(_late(bench, outcome, given, label))
    for name, texts in rows.items():
        bench.row(name, *texts)


def _late(bench: Bench, outcome: Outcome, given: Sequence[str], label: str) -> str:
    """One cell: shares are of all runs, delays count from the regression."""
    before = (outcome.ends >= 0) & (outcome.ends < worlds.LATE)
    early = Outcome(
        ends=np.where(before, outcome.ends, -1),
        requests=outcome.requests,
        exposed=outcome.exposed,
        scrape=outcome.scrape,
    )
    after = Outcome(
        ends=np.where(before, -1, outcome.ends),
        requests=outcome.requests - worlds.LATE * outcome.scrape,
        exposed=np.maximum(outcome.exposed - 0.2 * worlds.LATE * outcome.scrape, 0.0),
        scrape=outcome.scrape,
    )
    runs = reference.FOUND_RUNS
    false = bench.sheet.share(early, given[0], runs=runs, name=f"{label}, before")
    return f"{false} / {bench.sheet.found(after, given[1], runs=runs, name=f'{label}, after')}"


def ramp(bench: Bench) -> None:
    """Weights change on the way; evidence is kept."""
    bads = (worlds.BASE, 0.015, 0.02, 0.05)
    bench.head(
        "Ramp 5 → 20 → 50 % over 30k requests", "rule", *(f"{100 * bad:g} %" for bad in bads)
    )
    rows: dict[str, list[str]] = {}
    for place, bad in enumerate(bads):
        world = worlds.ramp(worlds.random(7, place), bench.runs, total=30_000, candidate=bad)
        pilot = worlds.ramp(
            worlds.random(8, place), bench.runs, total=30_000, candidate=worlds.BASE
        )
        outcomes = {
            "c8 .05": Outcome.of(world, simulated(bench, world, pilot)["c8 .05"]),
            PRODUCT: Outcome.of(world, ours.found(world, Setting())),
        }
        for name, outcome in outcomes.items():
            given = reference.RAMP.get(name, ("",) * 4)[place]
            rows.setdefault(name, []).append(
                bench.sheet.found(outcome, given, runs=1000, name=f"{name}, {100 * bad:g} %")
            )
    for name, texts in rows.items():
        bench.row(name, *texts)


def learned(bench: Bench) -> None:
    """A tau that the champion's pods teach, where pods of one version differ for good."""
    bench.head(
        "Pods that differ for good, 20 % weight: healthy rolled back, % / 1 → 2 % found @ requests "
        "of the candidate, 10k; 100k",
        "pods of each arm", "their effects", "Assumed", "Learned", "median tau learnt",
    )  # fmt: skip
    for place, (count, sd) in enumerate(product((2, 5, 10), (0.0, 0.1, 0.2, 0.4))):
        texts: list[list[str]] = [[], [], []]
        for size, total in enumerate(SIZES):
            shares: list[list[str]] = [[], []]
            for bad in (worlds.BASE, 0.02):
                world, pilot = worlds.pod_pairs(
                    worlds.random(15, place, size), bench.runs,
                    share=0.2, total=total, pods_each=count, sd=sd, candidate=bad,
                )  # fmt: skip
                for column, taught in enumerate((None, pilot)):
                    found = Outcome.of(world, ours.found(world, Setting(), pilot=taught))
                    cost = f" @ {found.exposed.mean():.0f}" if bad > worlds.BASE else ""
                    shares[column].append(f"{percent(found.share)}{cost}")
            taus = ours.learned(pilot)
            texts[0].append(" / ".join(shares[0]))
            texts[1].append(" / ".join(shares[1]))
            texts[2].append(f"{np.median(taus):g}")
        bench.row(str(count), f"{sd:g}", *("; ".join(each) for each in texts))


def assumed(bench: Bench) -> None:
    """The Assumed tau: what a larger one would cost and bring."""
    bench.head(
        "Assumed tau, 20 % weight, T 540: 10k / 100k", "world",
        "tau 5 with the floor (= 10)", "tau 20", "tau 40",
    )  # fmt: skip
    runs = max(1, bench.runs // 2)
    stresses = _stresses()
    for place, (name, given) in enumerate(reference.ASSUMED.items()):
        bad = {"1 → 2 %": 0.02, "1 → 5 %": 0.05}.get(name)
        texts: list[list[str]] = [[], [], []]
        for size, total in enumerate(SIZES):
            source = worlds.random(9, place, size)
            if name in stresses:
                world = stresses[name](source, runs, total)
            else:
                world = worlds.cell(
                    source, runs, share=0.2, total=total, candidate=bad or worlds.BASE
                )
            for column, tau in enumerate(reference.TAUS):
                dispersion = Dispersion() if column == 0 else ours.fixed(tau)
                outcome = Outcome.of(world, ours.found(world, Setting(dispersion=dispersion)))
                text = given[column].split("/")[size]
                label = f"{name}, tau {tau:g}, {total:,}"
                texts[column].append(
                    bench.sheet.share(outcome, text, runs=10_000, name=label)
                    if bad is None
                    else bench.sheet.found(outcome, text, runs=4000, name=label)
                )
        bench.row(name, *(" / ".join(each) for each in texts))
