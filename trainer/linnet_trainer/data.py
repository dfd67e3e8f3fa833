"""Reading a table: which files, which rows of the window, which columns, of what type.

Files are Parquet or CSV by URI. Batches stream through: every row is hashed over all its columns or
its `data.rowId` (a row's identity, for copies and for the random holdout), only the columns in use
stay in memory.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from linnet_trainer import feature_store, prediction_log, tables
from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal
from linnet_trainer.lineage import FeatureSet
from linnet_trainer.recipe import Columns, Recipe, Table, render_time

CATEGORIES = 255
"""A text column with more values is no category; it is left out where columns are inferred."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One input of the model: `double` or `string`, and the column's type in the table."""

    name: str
    type: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of the window: the columns in use and each row's hash over what identifies it.

    Rows of one hash are one row, written more than once: equal in all columns, or in `data.rowId`.
    """

    frame: pd.DataFrame
    hashes: np.ndarray[Any, np.dtype[np.uint64]]
    names: tuple[str, ...]
    """All columns of the table."""
    types: Mapping[str, str]
    files: int
    ignored: tuple[str, ...] = ()
    """Columns of nested types: neither read nor part of a row's hash."""
    features: FeatureSet | None = None
    """Which of the columns come from a feature store, if any do."""
    log: prediction_log.Counts | None = None
    """What became of the requests of a prediction log, if the rows are such."""

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """The features, and which columns were left out for which reason."""

    features: tuple[Feature, ...]
    left_out: Mapping[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The features' names, in the model's order."""
        return [feature.name for feature in self.features]


def read(recipe: Recipe, *, also: Sequence[str] = ()) -> Rows:
    """Read the window of the table, with the columns in use and those of `also` that it has.

    Raises:
        Refusal: the table is missing, empty, unreadable, or lacks a column.
        Unavailable: the store does not answer or refuses the credentials.
    """
    table = recipe.table
    opened = _open(table)
    source = opened.source
    names, nested = opened.names, opened.nested
    require_columns(recipe, names)
    wanted = _wanted(recipe, names, also)
    if unreadable := sorted(set(wanted) & set(nested) & set(_named(recipe))):
        raise Refusal(
            Reason.INVALID_DATA,
            f"column '{unreadable[0]}' of {table.uri} is nested: only plain columns are read",
        )
    wanted = [name for name in wanted if name not in nested]
    read_names = sorted(set(names) - set(nested))
    frames, hashes = [], []
    with tables.reading(source):
        for frame in opened.batches(read_names):
            identity = [table.row_id] if table.row_id else read_names
            hashed = pd.util.hash_pandas_object(frame[identity], index=False).to_numpy()
            frames.append(frame[wanted])
            hashes.append(hashed)
    if not frames or not sum(map(len, frames)):
        raise Refusal(Reason.INVALID_DATA, _empty(table, source.field, opened.files))
    rows = Rows(
        frame=pd.concat(frames, ignore_index=True),
        hashes=np.concatenate(hashes),
        names=names,
        types=opened.types,
        files=opened.files,
        ignored=nested,
        features=opened.features if isinstance(opened, feature_store.Joined) else None,
        log=opened.counts if isinstance(opened, prediction_log.Joined) else None,
    )
    _require_values(rows.frame, table)
    return rows


def _open(table: Table) -> tables.Opened | feature_store.Joined | prediction_log.Joined:
    source = tables.Source(
        uri=table.uri,
        field="data.table.uri" if table.feast is None else feature_store.ENTITIES,
        timestamp=table.timestamp,
        start=table.start,
        until=table.until,
    )
    if table.log:
        return prediction_log.open_joined(source)
    if table.feast is None:
        return tables.open_table(source)
    return feature_store.open_joined(table.feast, source)


def require_columns(recipe: Recipe, names: Sequence[str]) -> None:
    """Refuse a table that lacks a column which the spec names."""
    for column, spec_field in _named(recipe).items():
        if column not in names:
            hint = tables.did_you_mean(column, names)
            shown = ", ".join(names[:30]) + (", …" if len(names) > 30 else "")
            raise Refusal(
                Reason.INVALID_DATA,
                f"`{spec_field}` names '{column}', which is no column of {recipe.table.uri}.{hint} "
                f"Columns: {shown}",
            )


def choose(rows: Rows, part: np.ndarray[Any, np.dtype[np.intp]], recipe: Recipe) -> Inputs:
    """Say which columns are features and of which type, as seen in the training rows `part`.

    Raises:
        Refusal: a listed column has the wrong type or no value, or no feature is left.
    """
    columns, table = recipe.steps.columns, recipe.table
    if columns.given:
        return Inputs(features=_listed(rows, part, columns))
    taken = {
        table.target,
        table.timestamp,
        table.groups,
        table.weight,
        table.row_id,
        *columns.drop,
    }
    features: list[Feature] = []
    left_out = dict.fromkeys(rows.ignored, "a nested column")
    for name in rows.names:
        if name in taken or name in rows.ignored:
            continue
        values = rows.frame[name].iloc[part]
        kind = _kind(values)
        if not values.notna().any():
            left_out[name] = "no value in the training rows"
        elif not kind:
            left_out[name] = f"its type is {rows.types[name]}"
        elif kind == "string" and (distinct := values.nunique()) > CATEGORIES:
            left_out[name] = (
                f"{distinct} different texts, more than {CATEGORIES}: list it as categorical or "
                "text to use it"
            )
        else:
            features.append(Feature(name=name, type=kind, source=rows.types[name]))
    if not features:
        why = "; ".join(f"{name}: {reason}" for name, reason in left_out.items()) or "none is left"
        raise Refusal(Reason.INVALID_DATA, f"no column can be a feature ({why})")
    return Inputs(features=tuple(features), left_out=left_out)


def cast(frame: pd.DataFrame, features: Sequence[Feature]) -> pd.DataFrame:
    """Return the model's inputs: float64 with NaN, and str with None, in the features' order.

    Raises:
        Refusal: a numeric column holds text or an infinite number.
    """
    columns = {feature.name: _cast(frame[feature.name], feature) for feature in features}
    return pd.DataFrame(columns, index=frame.index)


def used(table: Table, inputs: Inputs) -> list[str]:
    """Return the columns that a training uses: the inputs, then what the spec names besides."""
    named = (table.target, table.timestamp, table.groups, table.weight, table.row_id)
    return [*inputs.names, *(name for name in named if name and name not in inputs.names)]


def digest(frame: pd.DataFrame) -> str:
    """Return the sha256 over all rows of `frame` and its column names."""
    state = hashlib.sha256("\0".join(map(str, frame.columns)).encode())
    state.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return f"sha256:{state.hexdigest()}"


def _named(recipe: Recipe) -> dict[str, str]:
    table, columns = recipe.table, recipe.steps.columns
    named: dict[str, str] = {}
    for column, spec_field in (
        (table.target, "data.target"),
        (table.timestamp, "data.timestamp"),
        (table.groups, "data.groups"),
        (table.weight, "data.weight"),
        (table.row_id, "data.rowId"),
    ):
        if column:
            named[column] = spec_field
    named |= dict.fromkeys(columns.numeric, "pipeline.columns.numeric")
    named |= dict.fromkeys(columns.categorical, "pipeline.columns.categorical")
    named |= dict.fromkeys(columns.text, "pipeline.columns.text")
    named |= dict.fromkeys(columns.drop, "pipeline.columns.drop")
    return named


def _wanted(recipe: Recipe, names: Sequence[str], also: Sequence[str]) -> list[str]:
    if not recipe.steps.columns.given:
        dropped = set(recipe.steps.columns.drop) - set(also)
        return [name for name in names if name not in dropped]
    wanted = {*_named(recipe), *also}
    return [name for name in names if name in wanted]


def _empty(table: Table, field: str, files: int) -> str:
    if table.start is None and table.until is None:
        return f"{field}: {table.uri} has no rows ({files} files)"
    start = render_time(table.start) if table.start else "the beginning"
    until = render_time(table.until) if table.until else "the end"
    return (
        f"`data.window` from {start} until {until} holds no row of {table.uri} ({files} files): "
        f"check the window and the column '{table.timestamp}'"
    )


def _require_values(frame: pd.DataFrame, table: Table) -> None:
    for spec_field, name in (
        ("data.target", table.target),
        ("data.timestamp", table.timestamp),
        ("data.weight", table.weight),
        ("data.rowId", table.row_id),
    ):
        if name and (missing := int(frame[name].isna().sum())):
            raise Refusal(
                Reason.INVALID_DATA,
                f"`{spec_field}`: {missing} of {len(frame)} rows have no value in '{name}': "
                "leave those rows out of the table",
            )


def _kind(values: pd.Series) -> str:
    dtype = values.dtype
    if pd.api.types.is_bool_dtype(dtype) or pd.api.types.is_numeric_dtype(dtype):
        return "double"
    if isinstance(dtype, pd.CategoricalDtype) or pd.api.types.is_string_dtype(dtype):
        return "string"
    if pd.api.types.is_object_dtype(dtype):
        kind = pd.api.types.infer_dtype(values, skipna=True)
        return {"string": "string", "mixed": "string", "decimal": "double", "empty": "string"}.get(
            kind, ""
        )
    return ""


def _listed(
    rows: Rows, part: np.ndarray[Any, np.dtype[np.intp]], columns: Columns
) -> tuple[Feature, ...]:
    features = []
    for kind, names, given, taken, hint in (
        ("numeric", columns.numeric, "double", ("double",), "numbers and booleans are numeric"),
        ("categorical", columns.categorical, "string", ("double", "string"),
         "texts, numbers and booleans can be categories"),
        ("text", columns.text, "string", ("string",), "only texts have words"),
    ):  # fmt: skip
        for name in names:
            if _kind(rows.frame[name]) not in taken:
                raise Refusal(
                    Reason.INVALID_DATA,
                    f"`pipeline.columns.{kind}` names '{name}', whose type is "
                    f"{rows.types[name]}: {hint}",
                )
            features.append(Feature(name=name, type=given, source=rows.types[name]))
    if twice := [name for name, count in Counter(columns.listed).items() if count > 1]:
        raise Refusal(
            Reason.INVALID_DATA,
            f"`pipeline.columns` names '{twice[0]}' more than once: a column is of one kind",
        )
    for feature in features:
        if not rows.frame[feature.name].iloc[part].notna().any():
            raise Refusal(
                Reason.INVALID_DATA,
                f"`pipeline.columns`: '{feature.name}' has no value in the training rows: "
                "take it off the list",
            )
    return tuple(features)


def _cast(values: pd.Series, feature: Feature) -> pd.Series:
    if feature.type == "string":
        is_text = pd.api.types.infer_dtype(values, skipna=True) == "string"
        texts = values if is_text else values.map(_text, na_action="ignore")
        return texts.astype(object).where(values.notna(), None)
    try:
        array = values.to_numpy(dtype="float64", na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise Refusal(
            Reason.INVALID_DATA, f"column '{feature.name}' must hold numbers: {error}"
        ) from error
    if np.isinf(array).any():
        raise Refusal(
            Reason.INVALID_DATA,
            f"column '{feature.name}' holds infinite numbers: write them as missing values",
        )
    return pd.Series(array, index=values.index, name=feature.name)


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return "true" if value else "false"
    return str(value)
