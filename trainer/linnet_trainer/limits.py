"""Gates with a greatest value: overfitting, differences between groups, latency, size.

Each returns its gate with the numbers that it rests on; nothing here is estimated from less than
what the message says.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from linnet_trainer import evaluate, manifest
from linnet_trainer.checks import Finding
from linnet_trainer.contract import Gate, GateReason
from linnet_trainer.gates import figure
from linnet_trainer.recipe import GateSpec, Limit

MEMBERS = 50
"""Values of a column with fewer holdout rows are not compared: their metric is luck."""

VALUES = 50
"""A column with more different values does not name groups of people or things."""

CALLS, WARM_UP = 200, 20
PERCENTILE = 95


def overfit(spec: GateSpec, training: Mapping[str, float], holdout: Mapping[str, float]) -> Finding:
    """Judge how much worse the holdout is than the training rows."""
    limit = _limit(spec)
    if spec.metric not in training or spec.metric not in holdout:
        return _undefined(spec, f"{spec.metric} is not defined on the training rows or the holdout")
    drop = training[spec.metric] - holdout[spec.metric]
    passed = drop <= limit.most
    message = (
        f"{spec.metric} is {training[spec.metric]:.3f} on training rows and "
        f"{holdout[spec.metric]:.3f} on the holdout: {drop:+.3f}, "
        f"{'at most' if passed else 'more than'} {limit.told}"
    )
    return Finding(
        gate=_gate(spec, figure(drop), message, passed=passed),
        numbers={"training": training[spec.metric], "holdout": holdout[spec.metric]},
    )


def fairness(
    spec: GateSpec, values: pd.Series, answers: evaluate.Given, target: np.ndarray[Any, Any]
) -> Finding:
    """Judge how much a metric differs between the values of a column, on the holdout.

    `values` holds the column's value per holdout row, `target` its class or number.
    """
    limit = _limit(spec)
    names = values.astype(object).where(values.notna(), "missing").astype(str).to_numpy()
    counts = pd.Series(names).value_counts()
    if len(counts) > VALUES:
        return _undefined(
            spec,
            f"`fairness.column`: '{limit.column}' has {len(counts)} different values on the "
            f"holdout; name a column with at most {VALUES}",
        )
    scores: dict[str, float] = {}
    left_out: list[str] = []
    for name, count in counts.sort_index().items():
        value = evaluate.score(spec.metric, answers, target, np.flatnonzero(names == name))
        if count < MEMBERS or np.isnan(value):
            left_out.append(str(name))
        else:
            scores[str(name)] = value
    if len(scores) < 2:
        return _undefined(
            spec,
            f"`fairness.column`: {len(scores)} of {len(counts)} values of '{limit.column}' have "
            f"{MEMBERS} holdout rows on which {spec.metric} is defined; two are needed",
        )
    best = max(scores, key=lambda name: scores[name])
    worst = min(scores, key=lambda name: scores[name])
    difference = scores[best] - scores[worst]
    passed = difference <= limit.most
    message = (
        f"{spec.metric} is {scores[best]:.3f} for {limit.column} {best} and {scores[worst]:.3f} "
        f"for {worst}: {difference:.3f}, {'at most' if passed else 'more than'} {limit.told}"
    )
    if left_out:
        message += f" (not compared, too few rows: {', '.join(left_out[:5])})"
    return Finding(
        gate=_gate(spec, figure(difference), message, passed=passed, n=len(scores)),
        numbers={
            "scores": scores,
            "rows": {str(name): int(count) for name, count in counts.items()},
            "notCompared": left_out,
        },
    )


def latency(spec: GateSpec, folder: Path) -> Finding:
    """Judge how long one row takes through the file that is served, loaded as a server loads it.

    The value is the 95th percentile of 200 calls with rows of `samples.json`, one after the other.
    """
    limit = _limit(spec)
    document = json.loads((folder / manifest.MANIFEST).read_text())
    model = manifest.load((folder / document["modelFile"]).read_bytes(), document)
    samples = json.loads((folder / manifest.FOLDER / "samples.json").read_text())
    table = pd.DataFrame(samples["rows"], columns=samples["columns"])
    for column in document["columns"]:
        kind = "float64" if column["type"] == "double" else object
        table[column["name"]] = table[column["name"]].astype(kind)
    if table.empty:
        return _undefined(spec, "no holdout row has all the values that the model requires")
    ask = getattr(model, "predict_proba", model.predict)
    taken = []
    for call in range(WARM_UP + CALLS):
        at = call % len(table)
        row = table.iloc[at : at + 1]
        begun = time.perf_counter()
        ask(row)
        taken.append(time.perf_counter() - begun)
    seconds = np.array(taken[WARM_UP:])
    slow = float(np.percentile(seconds, PERCENTILE))
    passed = slow <= limit.most
    message = (
        f"one row takes {slow * 1000:.2f} ms ({PERCENTILE}th percentile of {CALLS}, median "
        f"{np.median(seconds) * 1000:.2f} ms), {'at most' if passed else 'more than'} {limit.told}"
    )
    return Finding(
        gate=_gate(spec, f"{slow * 1000:.3f}ms", message, passed=passed, n=CALLS),
        numbers={"medianSeconds": float(np.median(seconds)), "p95Seconds": slow},
    )


def size(spec: GateSpec, folder: Path) -> Finding:
    """Judge how large the files are that a server keeps: the model's and the folder `linnet/`."""
    limit = _limit(spec)
    document = json.loads((folder / manifest.MANIFEST).read_text())
    served = [folder / document["modelFile"], *(folder / manifest.FOLDER).rglob("*")]
    sizes = {
        path.relative_to(folder).as_posix(): path.stat().st_size
        for path in served
        if path.is_file()
    }
    total = sum(sizes.values())
    passed = total <= limit.most
    largest = max(sizes, key=lambda name: sizes[name])
    message = (
        f"the served files have {total / 1024**2:.2f} MiB (most: {largest}, "
        f"{sizes[largest] / 1024**2:.2f}), {'at most' if passed else 'more than'} {limit.told}"
    )
    return Finding(
        gate=_gate(spec, str(total), message, passed=passed, n=len(sizes)), numbers={"bytes": sizes}
    )


def _limit(spec: GateSpec) -> Limit:
    assert spec.limit is not None
    return spec.limit


def _gate(spec: GateSpec, value: str, message: str, *, passed: bool, n: int = 0) -> Gate:
    return Gate(
        name=spec.name,
        passed=passed,
        value=value,
        bound=_limit(spec).told,
        n=n,
        reason=GateReason.WITHIN_LIMIT if passed else GateReason.ABOVE_LIMIT,
        message=message,
    )


def _undefined(spec: GateSpec, message: str) -> Finding:
    return Finding(
        gate=Gate(name=spec.name, passed=False, reason=GateReason.CHECK_FAILED, message=message)
    )
