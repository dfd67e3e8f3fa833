"""Reading a table: which files, which rows of the window, which columns, of what type.

Files are Parquet or CSV by URI. Batches stream through: every row is hashed over all its columns (a
row's identity, for copies and for the random holdout), only the columns in use stay in memory.
"""

from __future__ import annotations

import difflib
import fnmatch
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset
import pyarrow.parquet

from linnet_trainer import contract
from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal, Unavailable
from linnet_trainer.recipe import Columns, Recipe, Table, render_time

CATEGORIES = 255
"""A text column with more values is no category; it is left out where columns are inferred."""

BATCH_ROWS = 65536

_TYPES = {
    pa.int8(): pd.Int64Dtype(),
    pa.int16(): pd.Int64Dtype(),
    pa.int32(): pd.Int64Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.Int64Dtype(),
    pa.uint16(): pd.Int64Dtype(),
    pa.uint32(): pd.Int64Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One input of the model: `double` or `string`, and the column's type in the table."""

    name: str
    type: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """The rows of the window: the columns in use and each row's hash over all columns."""

    frame: pd.DataFrame
    hashes: np.ndarray[Any, np.dtype[np.uint64]]
    names: tuple[str, ...]
    """All columns of the table."""
    types: Mapping[str, str]
    files: int
    ignored: tuple[str, ...] = ()
    """Columns of nested types: neither read nor part of a row's hash."""

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
    with reading(table.uri):
        filesystem, files = find(table.uri)
        source = _open(filesystem, files, table.uri)
        names = tuple(source.schema.names)
        nested = tuple(field.name for field in source.schema if pa.types.is_nested(field.type))
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
        for batch in source.to_batches(
            columns=read_names,
            filter=_window(table, source.schema),
            batch_size=BATCH_ROWS,
            batch_readahead=2,
            fragment_readahead=1,
        ):
            if not batch.num_rows:
                continue
            frame = batch.to_pandas(types_mapper=_TYPES.get, date_as_object=False)
            hashed = pd.util.hash_pandas_object(frame[read_names], index=False).to_numpy()
            kept = frame[wanted]
            if table.timestamp:
                kept = kept.assign(**{table.timestamp: _times(kept[table.timestamp], table)})
                inside = _inside(kept[table.timestamp], table)
                kept, hashed = kept[inside], hashed[inside]
            frames.append(kept)
            hashes.append(hashed)
    if not frames or not sum(map(len, frames)):
        raise Refusal(Reason.INVALID_DATA, _empty(table, len(files)))
    rows = Rows(
        frame=pd.concat(frames, ignore_index=True),
        hashes=np.concatenate(hashes),
        names=names,
        types={field.name: str(field.type) for field in source.schema},
        files=len(files),
        ignored=nested,
    )
    _require_values(rows.frame, table)
    return rows


def find(uri: str) -> tuple[Any, list[str]]:
    """Resolve a URI to a file system and the sorted paths that it names.

    Raises:
        Refusal: nothing is there, or the files are neither Parquet nor CSV.
    """
    scheme, _, path = uri.partition("://")
    filesystem = make_filesystem(scheme)
    path = f"{contract.PVC_DIR}/{path}" if scheme == "pvc" else path
    if path.endswith("/"):
        files = [name for name in filesystem.find(path) if name.endswith(".parquet")]
    elif any(character in path for character in "*?["):
        files = [name for name in filesystem.glob(path) if filesystem.isfile(name)]
    else:
        files = [path] if filesystem.exists(path) else []
    if not files:
        raise Refusal(Reason.INVALID_DATA, f"data.table.uri: no file matches {uri}{_near(uri)}")
    for name in files:
        if not name.endswith((".parquet", ".csv", ".csv.gz")):
            raise Refusal(
                Reason.INVALID_DATA,
                f"data.table.uri: '{PurePosixPath(name).name}' must end in '.parquet', '.csv' or "
                "'.csv.gz'",
            )
    return filesystem, sorted(files)


def make_filesystem(scheme: str) -> Any:
    """Return the file system of a URI scheme, with short time-outs where there is a network."""
    if scheme in ("file", "pvc"):
        return fsspec.filesystem("file")
    if scheme == "s3":
        endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("MLFLOW_S3_ENDPOINT_URL")
        return fsspec.filesystem(
            "s3",
            endpoint_url=endpoint or None,
            config_kwargs={"connect_timeout": 5, "read_timeout": 30},
            use_listings_cache=False,
            skip_instance_cache=True,
        )
    try:
        return fsspec.filesystem(scheme)
    except (ImportError, ValueError) as error:
        message = f"data.table.uri: the trainer's image has no client for '{scheme}://': {error}"
        raise Refusal(Reason.INVALID_DATA, message) from error


@contextmanager
def reading(uri: str) -> Iterator[None]:
    """Turn what a store or a file raises into `Refusal` (it stays so) or `Unavailable`."""
    try:
        yield
    except FileNotFoundError as error:
        raise Refusal(
            Reason.INVALID_DATA, f"data.table.uri: {uri} does not exist: {error}"
        ) from error
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise Refusal(
            Reason.INVALID_DATA, f"data.table.uri: {uri} cannot be read as a table: {error}"
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise Refusal(
            Reason.INVALID_DATA, f"data.table.uri: {uri} cannot be read as CSV: {error}"
        ) from error
    except PermissionError as error:
        raise Unavailable(
            f"the store refuses to show {uri}: {error}; check the Secret of `credentialsSecretName`"
        ) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] in ("botocore", "aiobotocore", "aiohttp"):
            raise Unavailable(f"the store of {uri} does not answer: {error}") from error
        if isinstance(error, OSError):
            raise Unavailable(f"the store of {uri} does not answer: {error}") from error
        raise


def require_columns(recipe: Recipe, names: Sequence[str]) -> None:
    """Refuse a table that lacks a column which the spec names."""
    for column, spec_field in _named(recipe).items():
        if column not in names:
            near = difflib.get_close_matches(column, names, n=3)
            hint = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
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
    taken = {table.target, table.timestamp, table.groups, *columns.drop}
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
            left_out[name] = f"{distinct} different texts, more than {CATEGORIES}"
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


def digest(frame: pd.DataFrame) -> str:
    """Return the sha256 over all rows of `frame` and its column names."""
    state = hashlib.sha256("\0".join(map(str, frame.columns)).encode())
    state.update(pd.util.hash_pandas_object(frame, index=False).to_numpy().tobytes())
    return f"sha256:{state.hexdigest()}"


def _named(recipe: Recipe) -> dict[str, str]:
    table, columns = recipe.table, recipe.steps.columns
    named = {table.target: "data.target"}
    if table.timestamp:
        named[table.timestamp] = "data.timestamp"
    if table.groups:
        named[table.groups] = "data.groups"
    named |= dict.fromkeys(columns.numeric, "pipeline.columns.numeric")
    named |= dict.fromkeys(columns.categorical, "pipeline.columns.categorical")
    named |= dict.fromkeys(columns.drop, "pipeline.columns.drop")
    return named


def _wanted(recipe: Recipe, names: Sequence[str], also: Sequence[str]) -> list[str]:
    if not recipe.steps.columns.given:
        dropped = set(recipe.steps.columns.drop) - set(also)
        return [name for name in names if name not in dropped]
    wanted = {*_named(recipe), *also}
    return [name for name in names if name in wanted]


def _open(filesystem: Any, files: list[str], uri: str) -> Any:
    if all(name.endswith(".parquet") for name in files):
        schemas = []
        for name in files:
            with filesystem.open(name, "rb") as file:
                schema = pyarrow.parquet.read_schema(file)
                schemas.append(_decoded(schema.remove_metadata()))
        try:
            schema = pa.unify_schemas(schemas, promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
            raise Refusal(
                Reason.INVALID_DATA, f"data.table.uri: the files of {uri} differ: {error}"
            ) from error
        return pyarrow.dataset.dataset(
            files, schema=schema, format="parquet", filesystem=filesystem
        )
    if any(name.endswith(".parquet") for name in files):
        raise Refusal(
            Reason.INVALID_DATA, f"data.table.uri: {uri} names Parquet and CSV files at once"
        )
    tables = []
    for name in files:
        with filesystem.open(name, "rb", compression="infer") as file:
            tables.append(
                pa.Table.from_pandas(pd.read_csv(file, low_memory=False), preserve_index=False)
            )
    joined = pa.concat_tables(
        [table.replace_schema_metadata(None) for table in tables], promote_options="permissive"
    )
    return pyarrow.dataset.dataset(joined)


def _decoded(schema: pa.Schema) -> pa.Schema:
    """The schema without dictionaries: a row's hash does not depend on the file's encoding."""
    for index, column in enumerate(schema):
        if pa.types.is_dictionary(column.type):
            schema = schema.set(index, column.with_type(column.type.value_type))
    return schema


def _window(table: Table, schema: pa.Schema) -> Any:
    """A filter that the file reader applies; rows without a time pass, to be counted later."""
    if not table.timestamp or not (table.start or table.until):
        return None
    kind = schema.field(table.timestamp).type
    if not pa.types.is_timestamp(kind):
        return None
    column = pc.field(table.timestamp)
    inside = pc.scalar(True)
    for moment, is_start in ((table.start, True), (table.until, False)):
        if moment is not None:
            value = moment if kind.tz else moment.replace(tzinfo=None)
            edge = pa.scalar(value, type=pa.timestamp("us", tz=kind.tz)).cast(kind)
            inside = inside & (column >= edge if is_start else column < edge)
    return inside | column.is_null()


def _times(values: pd.Series, table: Table) -> pd.Series:
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return values.dt.tz_convert("UTC").astype("datetime64[ns, UTC]")
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return values.dt.tz_localize("UTC").astype("datetime64[ns, UTC]")
    if pd.api.types.is_numeric_dtype(values.dtype):
        message = f"`data.timestamp` names '{table.timestamp}', which holds numbers, not times"
        raise Refusal(Reason.INVALID_DATA, message)
    try:
        return pd.to_datetime(values, utc=True, format="ISO8601").astype("datetime64[ns, UTC]")
    except (ValueError, TypeError) as error:
        message = f"`data.timestamp` names '{table.timestamp}', which holds no times: {error}"
        raise Refusal(Reason.INVALID_DATA, message) from error


def _inside(times: pd.Series, table: Table) -> np.ndarray[Any, np.dtype[np.bool_]]:
    inside = np.ones(len(times), dtype=bool)
    if table.start is not None:
        inside &= ((times >= pd.Timestamp(table.start)) | times.isna()).to_numpy()
    if table.until is not None:
        inside &= ((times < pd.Timestamp(table.until)) | times.isna()).to_numpy()
    return inside


def _empty(table: Table, files: int) -> str:
    if table.start is None and table.until is None:
        return f"data.table.uri: {table.uri} has no rows ({files} files)"
    start = render_time(table.start) if table.start else "the beginning"
    until = render_time(table.until) if table.until else "the end"
    return (
        f"`data.window` from {start} until {until} holds no row of {table.uri} ({files} files): "
        f"check the window and the column '{table.timestamp}'"
    )


def _require_values(frame: pd.DataFrame, table: Table) -> None:
    for spec_field, name in (("data.target", table.target), ("data.timestamp", table.timestamp)):
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
    for name in columns.numeric:
        if _kind(rows.frame[name]) != "double":
            raise Refusal(
                Reason.INVALID_DATA,
                f"`pipeline.columns.numeric` names '{name}', whose type is {rows.types[name]}: "
                "numbers and booleans are numeric",
            )
        features.append(Feature(name=name, type="double", source=rows.types[name]))
    for name in columns.categorical:
        if not _kind(rows.frame[name]):
            raise Refusal(
                Reason.INVALID_DATA,
                f"`pipeline.columns.categorical` names '{name}', whose type is "
                f"{rows.types[name]}: texts, numbers and booleans can be categories",
            )
        features.append(Feature(name=name, type="string", source=rows.types[name]))
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
        return values.map(_text, na_action="ignore").astype(object).where(values.notna(), None)
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


def _near(uri: str) -> str:
    """Name files beside the one that was asked for, where looking costs nothing more."""
    scheme, _, path = uri.partition("://")
    folder, _, name = path.rpartition("/")
    if not folder or any(character in folder for character in "*?["):
        return ""
    folder = f"{contract.PVC_DIR}/{folder}" if scheme == "pvc" else folder
    try:
        beside = [PurePosixPath(entry).name for entry in make_filesystem(scheme).ls(folder, False)]
    except Exception:
        # The hint is a courtesy: whatever happens here, the refusal above stands.
        return ""
    shown = difflib.get_close_matches(name, beside, n=3, cutoff=0.4) or sorted(beside)[:3]
    shown = [entry for entry in shown if not fnmatch.fnmatch(entry, name)]
    return f"; beside it there is {', '.join(shown)}" if shown else ""
