"""What Evidently computes and draws: the report, and a value per column, on a sample of rows."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from linnet_monitor.distances import EVIDENTLY
from linnet_monitor.reference import SCORE, Reference
from linnet_monitor.window import SAMPLE


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Evidently's report of one check."""

    html: str
    document: str
    """JSON."""
    values: Mapping[str, float]
    """By column, under the policy's method: a distance, or a p-value with KS and ChiSquare."""


def draw(reference: Reference, current: pd.DataFrame, methods: Mapping[str, str]) -> Report | None:
    """Compare a sample of the window with the profile's sample; None where nothing can be.

    Args:
        reference: the version and its sample.
        current: a sample of the window.
        methods: the policy's method by column; `linnet_score` is the model's score.
    """
    sample = reference.sample
    # A column without a value in one of the two is what Evidently cannot take.
    columns = [
        name for name in methods if sample[name].notna().any() and current[name].notna().any()
    ]
    if not columns:
        return None
    numbers = {column.name for column in reference.columns if column.is_number} | {SCORE}
    with warnings.catch_warnings():
        # Its dependencies warn of their own future.
        warnings.simplefilter("ignore")
        return _draw(
            current[columns],
            sample[columns].sample(min(len(sample), SAMPLE), random_state=0),
            numbers=[name for name in columns if name in numbers],
            texts=[name for name in columns if name not in numbers],
            methods={name: EVIDENTLY[methods[name]] for name in columns},
        )


def _draw(
    current: pd.DataFrame,
    sample: pd.DataFrame,
    *,
    numbers: list[str],
    texts: list[str],
    methods: Mapping[str, str],
) -> Report:
    # Imported late: it takes seconds, and a window that is not judged needs none of it.
    from evidently import DataDefinition, Dataset
    from evidently import Report as Drawing
    from evidently.presets import DataDriftPreset

    definition = DataDefinition(numerical_columns=numbers, categorical_columns=texts)
    preset = DataDriftPreset(columns=[*numbers, *texts], per_column_method=dict(methods))
    snapshot = Drawing([preset]).run(
        Dataset.from_pandas(current, data_definition=definition),
        Dataset.from_pandas(sample, data_definition=definition),
    )
    document = snapshot.json()
    return Report(
        html=snapshot.get_html_str(as_iframe=False),
        document=document,
        values=_values(json.loads(document), [*numbers, *texts]),
    )


def _values(document: Mapping[str, Any], columns: list[str]) -> dict[str, float]:
    found: dict[str, float] = {}
    for metric in document["metrics"]:
        column = metric["config"].get("column")
        if column in columns and isinstance(metric["value"], int | float):
            found[column] = float(metric["value"])
    return found
