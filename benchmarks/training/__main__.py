"""What the trainer costs beside plain scripts: `python -m benchmarks.training`.

Trainer and script are processes on this machine, in turns, with one thread each and a file store
of MLflow on disk; medians are told. Wall time is what other work on the machine makes of it; CPU
seconds are nearly the same beside other work.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from linnet_trainer import contract

from benchmarks.training import measuring, table
from benchmarks.training.measuring import Watched

FOLDS = 5
TRIALS, TRIAL_FOLDS = 40, 2
WORKERS = (1, 2, 4)
HERE = Path(__file__).parent


def spec(path: Path, estimator: str, **more: Any) -> dict[str, Any]:
    """The spec of a training on a table."""
    return {
        "model": {"name": "bench"},
        "experiment": "bench",
        "data": {
            "table": {"uri": f"file://{path}"},
            "target": table.TARGET,
            "timestamp": table.TIME,
        },
        "pipeline": {
            "estimator": {"class": estimator, "parameters": table.PARAMETERS.get(estimator, {})}
        },
        "validation": {"folds": FOLDS, "holdout": {"by": "Time", "fraction": "0.2"}},
        "gates": [{"name": "good-enough", "metric": "roc_auc", "minimum": "0.55"}],
        **more,
    }


def environment(folder: Path, name: str, given: Mapping[str, Any]) -> dict[str, str]:
    """Write `spec.json`; return the variables of a trainer's pod."""
    document = {
        "v": 1,
        "specHash": "0" * 64,
        "namespace": "bench",
        "name": name,
        "jobUID": f"uid-{name}",
        "created": "2026-06-01T00:00:00Z",
        "spec": given,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(document))
    return {
        contract.ENV_SPEC: str(path),
        contract.ENV_TERMINATION_LOG: str(folder / f"{name}.end"),
        **store(folder, name),
    }


def store(folder: Path, name: str) -> dict[str, str]:
    """An MLflow of its own, in files."""
    uri = f"file://{folder}/{name}-runs"
    return {
        "MLFLOW_TRACKING_URI": uri,
        "MLFLOW_REGISTRY_URI": uri,
        "MLFLOW_ALLOW_FILE_STORE": "true",
    }


TRAINER = ("-m", "linnet_trainer", "run")


def beside_a_script(folder: Path, rows: int, estimator: str, repeats: int) -> None:
    """Train by trainer and script in turns, and tell both."""
    path = folder / f"{rows}.parquet"
    if not path.exists():
        table.write(rows, path)
    ours, theirs = [], []
    for turn in range(repeats):
        name = f"{estimator.lower()}-{rows}-{turn}"
        script = [str(HERE / "plain.py"), str(path), estimator, str(FOLDS)]
        theirs.append(
            measuring.run(script, {"PYTHONPATH": str(measuring.ROOT), **store(folder, f"p-{name}")})
        )
        given = environment(folder, name, spec(path, estimator))
        ours.append(measuring.run(TRAINER, given))
    print(f"\n{rows} rows x 20 columns, {estimator}, {FOLDS} folds; median of {repeats}")
    print(f"parameters: {table.PARAMETERS.get(estimator) or 'of scikit-learn'}")
    print(f"{'':42} {'trainer':>16} {'script':>16} {'ratio':>12}")
    print(f"{'':42} {'wall s':>8}{'CPU s':>8} {'wall s':>8}{'CPU s':>8} {'wall':>6}{'CPU':>6}")
    tell("start, up to the table", ours, theirs, lambda each: each.marks["Loading"])
    tell("  up to the first fit", ours, theirs, lambda each: each.marks["Fitting"])
    tell(
        "read, cross-validate, fit", ours, theirs,
        lambda each: each.between("Loading", "Evaluating"),
    )  # fmt: skip
    tell("judge, log, evidence", ours, theirs, lambda each: each.since("Evaluating"))
    tell("all but the start", ours, theirs, lambda each: each.since("Loading"))
    peaks = [statistics.median(each.peak for each in found) for found in (ours, theirs)]
    print(
        f"{'peak of memory, MiB':42} {peaks[0]:>16.0f} {peaks[1]:>16.0f} "
        f"{peaks[0] / peaks[1]:>12.2f}"
    )


def tell(what: str, ours: Sequence[Watched], theirs: Sequence[Watched], part: Any) -> None:
    """Print one row: the medians of both, and their ratio."""
    medians = [
        [statistics.median(part(each)[axis] for each in found) for axis in (0, 1)]
        for found in (ours, theirs)
    ]
    (wall, cpu), (their_wall, their_cpu) = medians
    print(
        f"{what:42} {wall:>8.1f}{cpu:>8.1f} {their_wall:>8.1f}{their_cpu:>8.1f} "
        f"{wall / their_wall:>6.2f}{cpu / their_cpu:>6.2f}"
    )


def throughput(folder: Path, rows: int) -> None:
    """Search by 1, 2 and 4 workers, by the trainer and by Optuna alone."""
    path = folder / f"{rows}.parquet"
    table.write(rows, path)
    print(
        f"\nsearch: {TRIALS} trials of LogisticRegression on {TRIAL_FOLDS} folds, {rows} rows, "
        "Random, not pruned;\ntrials per minute from when every worker has ended one (starts "
        "apart) to the last.\nTrainer: pods are processes on pod 0's study, every trial a run of "
        "MLflow; beside it Optuna alone\non a journal file. "
        f"{os.cpu_count()} cores: more workers than cores gain nothing."
    )
    print(f"{'workers':>8} {'trainer':>8} {'x 1':>6} {'Optuna':>8} {'x 1':>6} {'ratio':>6}")
    first: tuple[float, float] | None = None
    for workers in WORKERS:
        ours, alone = by_trainer(folder, path, workers), by_optuna(folder, path, workers)
        first = first or (ours, alone)
        print(
            f"{workers:>8} {ours:>8.1f} {ours / first[0]:>6.2f} {alone:>8.1f} "
            f"{alone / first[1]:>6.2f} {ours / alone:>6.2f}"
        )
    on_ray = by_trainer(folder, path, 2, ray={"engine": "RayTune", "ray": {"address": "local"}})
    print(f"Ray Tune inside the pod, 2 trials at once: {on_ray:.1f}")


def by_trainer(
    folder: Path, path: Path, workers: int, ray: Mapping[str, Any] | None = None
) -> float:
    """Trials per minute of the trainer."""
    name = f"search-{workers}{'-ray' if ray else ''}"
    search = {
        "trials": TRIALS,
        "sampler": "Random",
        "pruner": "None",
        "parallelism": workers,
        "parameters": [{"name": "C", "logUniform": {"min": "0.01", "max": "10"}}],
        **(ray or {}),
    }
    holdout = {"by": "Time", "fraction": "0.2"}
    validation = {"folds": TRIAL_FOLDS, "holdout": holdout}
    given = spec(path, "LogisticRegression", search=search, validation=validation)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"grpc://127.0.0.1:{free.getsockname()[1]}"
    variables = environment(folder, name, given)
    pods = range(1 if ray else workers)
    if len(pods) > 1:
        variables[contract.ENV_STUDY_URL] = url
    found = measuring.run_beside(
        [(TRAINER, {**variables, contract.ENV_INDEX: str(index)}) for index in pods]
    )
    return pace(found)


def by_optuna(folder: Path, path: Path, workers: int) -> float:
    """Trials per minute of Optuna alone."""
    journal = folder / f"journal-{workers}"
    arguments = [str(HERE / "alone.py"), str(path), str(TRIALS), str(journal), str(TRIAL_FOLDS)]
    variables = {"PYTHONPATH": str(measuring.ROOT)}
    found = measuring.run_beside([(arguments, variables)] * workers)
    return pace(found)


def pace(workers: Sequence[Watched]) -> float:
    """Trials per minute from when every worker has ended one to the last."""
    ends = [
        [seconds for seconds, line in each.lines if line.startswith("trial ")] for each in workers
    ]
    begun, last = max(each[0] for each in ends), max(each[-1] for each in ends)
    return 60 * sum(seconds > begun for each in ends for seconds in each) / (last - begun)


def main() -> None:
    """Run all of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--most", type=int, default=1_000_000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("parts", nargs="*", default=["script", "search", "million"])
    given = parser.parse_args()
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"load average before: {load} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if "script" in given.parts:
            beside_a_script(folder, given.rows, "HistGradientBoostingClassifier", given.repeats)
        if "search" in given.parts:
            throughput(folder, given.rows // 5)
        if "million" in given.parts:
            beside_a_script(folder, given.most, "LogisticRegression", 1)
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"\nload average after: {load}")


if __name__ == "__main__":
    main()
