"""The reference profile of a version: what the data and the scores looked like when it was made.

Drift is measured against it later. Scores come from rows that the model was not fitted on: out of
fold for training rows, the holdout's own. Counts are per column and day on fixed bins.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from linnet_trainer.data import Feature
from linnet_trainer.recipe import render_time
from linnet_trainer.targets import Kind, Target

BINS = 50
ROWS = 100_000
SCORE_EDGES = tuple(round(0.05 * step, 2) for step in range(21))


@dataclass(frozen=True, slots=True)
class Days:
    """The days of some rows: their names in order, and which one each row is of."""

    names: tuple[str, ...]
    of_row: np.ndarray[Any, Any]

    @classmethod
    def of(cls, times: pd.Series | None, count: int) -> Days:
        """Read the days of `count` rows; all are of one, `all`, where they have no time."""
        if times is None:
            return cls(("all",), np.zeros(count, dtype=np.int64))
        places, found = pd.factorize(times.dt.floor("D"), sort=True)
        return cls(tuple(found.strftime("%Y-%m-%d")), places)

    def counts(self, codes: np.ndarray[Any, Any], bins: int) -> dict[str, list[int]]:
        """Count the rows of each code below `bins`, for each day that has rows."""
        flat = np.bincount(self.of_row * bins + codes, minlength=len(self.names) * bins)
        named = zip(self.names, flat.reshape(-1, bins), strict=True)
        return {name: row.tolist() for name, row in named if row.any()}

    def where(self, chosen: np.ndarray[Any, Any]) -> Days:
        """Return the days of some of the rows."""
        return Days(self.names, self.of_row[chosen])


def make(
    inputs: pd.DataFrame,
    *,
    features: Sequence[Feature],
    target: Target,
    score: np.ndarray[Any, Any],
    held: np.ndarray[Any, Any],
    times: pd.Series | None,
    metrics: Mapping[str, float],
    seed: int,
) -> dict[str, bytes]:
    """Return `profile.json` and `profile.parquet`.

    Args:
        inputs: the features of all rows, training and holdout.
        features: what they are.
        target: the class or number of all rows.
        score: what `evaluate.signal` says of a model that was not fitted on the row, or NaN.
        held: whether a row is in the holdout.
        times: the rows' times, if there are any.
        metrics: the scores on the holdout.
        seed: decides which rows are sampled where there are more than 100,000.
    """
    days = Days.of(times, len(inputs))
    document = {
        "v": 1,
        "rows": {"training": int((~held).sum()), "holdout": int(held.sum())},
        **_spread(target, held),
        "metrics": dict(metrics),
        "from": render_time(times.min()) if times is not None else None,
        "until": render_time(times.max()) if times is not None else None,
        "days": list(days.names) if times is not None else [],
        "columns": [
            _column(inputs[feature.name], feature, days, training=~held) for feature in features
        ],
        "score": _score(score, target, days),
    }
    return {
        "profile.json": json.dumps(document, ensure_ascii=False).encode(),
        "profile.parquet": _sample(inputs, target.codes, score, held, times, seed),
    }


def _column(
    values: pd.Series, feature: Feature, days: Days, *, training: np.ndarray[Any, Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "name": feature.name,
        "type": feature.type,
        "missing": int(values[training].isna().sum()),
    }
    if feature.type == "double":
        seen = values[training].dropna().to_numpy()
        found |= {
            "mean": float(seen.mean()),
            "std": float(seen.std()),
            "min": float(seen.min()),
            "max": float(seen.max()),
        }
        edges = _edges(seen)
        codes = np.searchsorted(edges, values.to_numpy(), side="right")
        codes[values.isna()] = len(edges) + 1
        bins = len(edges) + 2
        found |= {"edges": edges.tolist(), "bins": "below each edge, above the last, missing"}
    else:
        top = (
            values[training].value_counts().sort_index().sort_values(ascending=False, kind="stable")
        )
        names = [str(name) for name in top.index[: BINS - 2]]
        places = {name: place for place, name in enumerate(names)}
        codes = values.map(places).fillna(len(names)).to_numpy(dtype=np.int64)
        codes[values.isna()] = len(names) + 1
        bins = len(names) + 2
        found |= {"categories": names, "bins": "each category, other, missing"}
    return found | {"counts": days.counts(codes, bins)}


def _edges(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """At most 47 inner edges: between the values where there are few, else at quantiles."""
    distinct = np.unique(values)
    if len(distinct) <= BINS - 3:
        middle: np.ndarray[Any, Any] = (distinct[1:] + distinct[:-1]) / 2
        return middle
    return np.unique(np.quantile(values, np.linspace(0, 1, BINS - 2)[1:-1]))


def _spread(target: Target, held: np.ndarray[Any, Any]) -> dict[str, Any]:
    """How the target lies in training and holdout."""
    parts = {"training": target.codes[~held], "holdout": target.codes[held]}
    if target.kind is Kind.BINARY:
        return {"positiveShare": {name: float(codes.mean()) for name, codes in parts.items()}}
    if target.kind is Kind.NUMBER:
        return {
            "target": {
                name: {"mean": float(each.mean()), "std": float(each.std())}
                for name, each in parts.items()
            }
        }
    count = len(target.classes)
    shares = {name: np.bincount(codes, minlength=count) for name, codes in parts.items()}
    return {
        "classShares": {
            name: dict(zip(map(str, target.classes), (each / each.sum()).tolist(), strict=True))
            for name, each in shares.items()
        }
    }


def _score(score: np.ndarray[Any, Any], target: Target, days: Days) -> dict[str, Any]:
    """Counts per day: of probabilities on twentieths, of numbers by quantile, or of classes."""
    known = np.isfinite(score)
    seen = score[known]
    found: dict[str, Any] = {"rows": int(known.sum())}
    if target.kind is Kind.CLASSES:
        found["categories"] = [str(name) for name in target.classes]
        codes, bins = seen.astype(np.int64), len(target.classes)
    elif target.kind is Kind.NUMBER:
        edges = _edges(seen)
        found |= {"mean": float(seen.mean()), "std": float(seen.std())}
        found |= {"min": float(seen.min()), "max": float(seen.max()), "edges": edges.tolist()}
        codes, bins = np.searchsorted(edges, seen, side="right"), len(edges) + 1
    else:
        found |= {"mean": float(seen.mean()), "edges": list(SCORE_EDGES)}
        codes, bins = np.minimum((seen * 20).astype(np.int64), 19), 20
    return found | {"counts": days.where(known).counts(codes, bins)}


def _sample(
    inputs: pd.DataFrame,
    target: np.ndarray[Any, Any],
    score: np.ndarray[Any, Any],
    held: np.ndarray[Any, Any],
    times: pd.Series | None,
    seed: int,
) -> bytes:
    """The rows as a table; `linnet_…` columns beside the features."""
    table = inputs.assign(linnet_target=target, linnet_score=score, linnet_holdout=held)
    if times is not None:
        table = table.assign(linnet_time=times)
    if len(table) > ROWS:
        chosen = np.sort(np.random.default_rng(seed).choice(len(table), ROWS, replace=False))
        table = table.iloc[chosen]
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd")
    return buffer.getvalue()
