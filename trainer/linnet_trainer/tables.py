"""Tables by URI: which files, which rows of a window, as batches that stream through.

Files are Parquet or CSV. Messages name the field of the spec that a person must mend.
"""

from __future__ import annotations

import difflib
import fnmatch
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
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
class Source:
    """A table and the window of it that is read."""

    uri: str
    field: str = "data.table.uri"
    """Where the spec names it, for messages."""
    timestamp: str = ""
    timestamp_field: str = "data.timestamp"
    start: datetime | None = None
    """First moment of the window, inclusive."""
    until: datetime | None = None
    """End of the window, exclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """A table whose files and columns are known; rows are read batch by batch."""

    source: Source
    dataset: Any
    files: int

    @property
    def names(self) -> tuple[str, ...]:
        """All columns."""
        return tuple(self.dataset.schema.names)

    @property
    def types(self) -> dict[str, str]:
        """The columns' types in the table, in words."""
        return {field.name: str(field.type) for field in self.dataset.schema}

    @property
    def nested(self) -> tuple[str, ...]:
        """Columns of nested types, which are not read."""
        return tuple(field.name for field in self.dataset.schema if pa.types.is_nested(field.type))

    def batches(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Yield the window's rows with these columns, the timestamp as UTC; none is empty.

        The timestamp must be among the columns where the source names one. Rows without a time
        come with the others.
        """
        source = self.source
        for batch in self.dataset.to_batches(
            columns=list(columns),
            filter=_window(source, self.dataset.schema),
            batch_size=BATCH_ROWS,
            batch_readahead=2,
            fragment_readahead=1,
        ):
            if not batch.num_rows:
                continue
            frame = to_frame(batch)
            if source.timestamp:
                frame[source.timestamp] = _times(frame[source.timestamp], source)
                frame = frame[_inside(frame[source.timestamp], source)]
            if len(frame):
                yield frame


def to_frame(rows: Any) -> pd.DataFrame:
    """Return the rows of an Arrow table or batch; integers and booleans keep missing values."""
    return rows.to_pandas(types_mapper=_TYPES.get, date_as_object=False)


def did_you_mean(name: str, columns: Sequence[str]) -> str:
    """Return a question that names the columns most like one that is missing, or nothing."""
    near = difflib.get_close_matches(name, columns, n=3)
    return f" Did you mean {' or '.join(repr(each) for each in near)}?" if near else ""


def open_table(source: Source, *, keep: Callable[[str], bool] | None = None) -> Opened:
    """Find the files and read their schema; rows are read later.

    `keep` says which paths may hold rows of the window. Where it leaves none, all are opened: what
    a table without such rows looks like is the same question.

    Raises:
        Refusal: the table is missing or unreadable.
        Unavailable: the store does not answer or refuses the credentials.
    """
    with reading(source):
        filesystem, files = find(source)
        if keep is not None:
            files = [name for name in files if keep(name)] or files
        return Opened(source=source, dataset=_open(filesystem, files, source), files=len(files))


def find(source: Source) -> tuple[Any, list[str]]:
    """Resolve a URI to a file system and the sorted paths that it names.

    Raises:
        Refusal: nothing is there, or the files are neither Parquet nor CSV.
    """
    uri = source.uri
    scheme, _, path = uri.partition("://")
    filesystem = make_filesystem(scheme, source.field)
    path = f"{contract.PVC_DIR}/{path}" if scheme == "pvc" else path
    if path.endswith("/"):
        files = [name for name in filesystem.find(path) if name.endswith(".parquet")]
    elif any(character in path for character in "*?["):
        files = [name for name in filesystem.glob(path) if filesystem.isfile(name)]
    else:
        files = [path] if filesystem.exists(path) else []
    if not files:
        raise Refusal(Reason.INVALID_DATA, f"{source.field}: no file matches {uri}{_near(uri)}")
    for name in files:
        if not name.endswith((".parquet", ".csv", ".csv.gz")):
            raise Refusal(
                Reason.INVALID_DATA,
                f"{source.field}: '{PurePosixPath(name).name}' must end in '.parquet', "
                "'.csv' or '.csv.gz'",
            )
    return filesystem, sorted(files)


def make_filesystem(scheme: str, field: str = "data.table.uri") -> Any:
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
        message = f"{field}: this image has no client for '{scheme}://': {error}"
        raise Refusal(Reason.INVALID_DATA, message) from error


@contextmanager
def reading(source: Source) -> Iterator[None]:
    """Turn what a store or a file raises into `Refusal` (it stays so) or `Unavailable`."""
    uri, field = source.uri, source.field
    try:
        yield
    except FileNotFoundError as error:
        raise Refusal(Reason.INVALID_DATA, f"{field}: {uri} does not exist: {error}") from error
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise Refusal(
            Reason.INVALID_DATA, f"{field}: {uri} cannot be read as a table: {error}"
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise Refusal(
            Reason.INVALID_DATA, f"{field}: {uri} cannot be read as CSV: {error}"
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


def _open(filesystem: Any, files: list[str], source: Source) -> Any:
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
                Reason.INVALID_DATA,
                f"{source.field}: the files of {source.uri} differ: {error}",
            ) from error
        return pyarrow.dataset.dataset(
            files, schema=schema, format="parquet", filesystem=filesystem
        )
    if any(name.endswith(".parquet") for name in files):
        raise Refusal(
            Reason.INVALID_DATA,
            f"{source.field}: {source.uri} names Parquet and CSV files at once",
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


def _window(table: Source, schema: pa.Schema) -> Any:
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


def _times(values: pd.Series, table: Source) -> pd.Series:
    if isinstance(values.dtype, pd.DatetimeTZDtype):
        return values.dt.tz_convert("UTC").astype("datetime64[ns, UTC]")
    if pd.api.types.is_datetime64_any_dtype(values.dtype):
        return values.dt.tz_localize("UTC").astype("datetime64[ns, UTC]")
    if pd.api.types.is_numeric_dtype(values.dtype):
        message = (
            f"`{table.timestamp_field}` names '{table.timestamp}', which holds numbers, not times"
        )
        raise Refusal(Reason.INVALID_DATA, message)
    try:
        return pd.to_datetime(values, utc=True, format="ISO8601").astype("datetime64[ns, UTC]")
    except (ValueError, TypeError) as error:
        message = (
            f"`{table.timestamp_field}` names '{table.timestamp}', which holds no times: {error}"
        )
        raise Refusal(Reason.INVALID_DATA, message) from error


def _inside(times: pd.Series, table: Source) -> np.ndarray[Any, np.dtype[np.bool_]]:
    inside = np.ones(len(times), dtype=bool)
    if table.start is not None:
        inside &= ((times >= pd.Timestamp(table.start)) | times.isna()).to_numpy()
    if table.until is not None:
        inside &= ((times < pd.Timestamp(table.until)) | times.isna()).to_numpy()
    return inside


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
