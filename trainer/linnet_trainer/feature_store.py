"""Features of a Feast repository, joined to the entity table as they were at each row's time.

A joined table reads as any other (`tables.Opened`): batches of entity rows stream through, each is
one point-in-time join of Feast's own, so that memory is bounded by a batch and by DuckDB's limit.
Feast is imported when a store is opened and not before: only the image `trainer-feast` has it.
"""

from __future__ import annotations

import difflib
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import yaml

from linnet_trainer import contract, tables
from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal, Unavailable
from linnet_trainer.lineage import Column, FeatureSet, View
from linnet_trainer.recipe import FeastSource

REPO, SERVICE, ENTITIES = (
    f"data.feast.{name}" for name in ("repoUri", "featureService", "entities.uri")
)
CONFIG = "feature_store.yaml"
TIME, ROW = "event_timestamp", "linnet_row"
"""What the columns of time and of a row's number are called for Feast."""
ROWS_WITHOUT_TTL = 8192
"""Of hourly values over a year these are up to 70 million pairs."""
_MEMORY = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """An opened repository and the service that is asked."""

    feast: Any
    service: Any
    features: FeatureSet
    types: Mapping[str, pa.DataType]
    """What an online store keeps of each feature."""
    key_types: Mapping[str, pa.DataType]
    """What each entity key is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """An entity table with the features of a service beside its columns."""

    entities: tables.Opened
    store: Store
    found: dict[str, int] = field(default_factory=dict)
    """Rows that found a value so far, by view; and all rows under an empty name."""

    @property
    def source(self) -> tables.Source:
        """Where the entity table is."""
        return self.entities.source

    @property
    def files(self) -> int:
        """Files of the entity table."""
        return self.entities.files

    @property
    def names(self) -> tuple[str, ...]:
        """All columns: those of the entity table, then the features."""
        return (*self.entities.names, *self.store.features.columns)

    @property
    def types(self) -> dict[str, str]:
        """The columns' types in words, a feature's with its view."""
        told = {
            name: f"{column.type} of {view.name}"
            for name, (view, column) in self.store.features.columns.items()
        }
        return self.entities.types | told

    @property
    def nested(self) -> tuple[str, ...]:
        """Columns of nested types, which are not read."""
        types = self.store.types
        lists = [name for name, kind in types.items() if pa.types.is_nested(kind)]
        return (*self.entities.nested, *lists)

    @property
    def features(self) -> FeatureSet:
        """The feature set, with the shares of rows that found a value once all were read."""
        rows = self.found.get("", 0)
        shares = {name: count / rows for name, count in self.found.items() if name and rows}
        return replace(self.store.features, found=shares)

    def batches(self, columns: Sequence[str]) -> Iterator[pd.DataFrame]:
        """Yield the window's rows with these columns, as `tables.Opened.batches`.

        Raises:
            Refusal: a row has no time, Feast cannot join, or a view found nothing for any row.
        """
        own = [name for name in self.entities.names if name not in self.entities.nested]
        for frame in _rebatched(self.entities.batches(own), self._rows):
            yield self._join(frame)[list(columns)]
        rows = self.found.get("", 0)
        for view in self.store.features.views:
            if rows and not self.found.get(view.name):
                raise Refusal(Reason.INVALID_DATA, self._nothing(view, rows))

    def _join(self, frame: pd.DataFrame) -> pd.DataFrame:
        features, source = self.store.features, self.entities.source
        times = frame[source.timestamp]
        if missing := int(times.isna().sum()):
            raise Refusal(
                Reason.INVALID_DATA,
                f"`{source.timestamp_field}`: {missing} of {len(frame)} rows have no value in "
                f"'{source.timestamp}', and features are looked up as of that time: leave those "
                "rows out of the entity table",
            )
        asked = frame[features.keys].assign(**{TIME: times, ROW: np.arange(len(frame))})
        with _joining(source.uri):
            found = self.store.feast.get_historical_features(
                entity_df=asked, features=self.store.service, filter_by_created_timestamp=True
            ).to_arrow()
        if found.num_rows != len(frame):
            raise Refusal(Reason.INVALID_DATA, self._lost(len(frame) - found.num_rows, len(frame)))
        found = found.sort_by(ROW)
        # The declared type is what an online store keeps, whatever the file says: a value must be
        # the same in training and while serving.
        joined = tables.to_frame(pa.table({name: self._cast(found, name) for name in self._read}))
        self._count(joined)
        joined.index = frame.index
        return pd.concat([frame, joined], axis=1)

    @property
    def _rows(self) -> int:
        """How many rows are joined at once.

        Feast pairs a row with every value within the ttl, or before it, and keeps the newest.
        """
        aging = all(view.ttl for view in self.store.features.views)
        return tables.BATCH_ROWS if aging else ROWS_WITHOUT_TTL

    @property
    def _read(self) -> list[str]:
        """The features that are read."""
        nested = self.nested
        return [name for name in self.store.features.columns if name not in nested]

    def _cast(self, found: pa.Table, name: str) -> pa.ChunkedArray:
        values, kind = found[name], self.store.types[name]
        try:
            return values.cast(kind, safe=False)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            view, column = self.store.features.columns[name]
            raise _refusal(
                SERVICE,
                f"feature '{view.name}:{name}' is {column.type}, and {view.source} holds "
                f"{values.type}: {error}",
            ) from error

    def _count(self, joined: pd.DataFrame) -> None:
        self.found[""] = self.found.get("", 0) + len(joined)
        for view in self.store.features.views:
            names = [name for name in view.names if name in joined]
            found = int(joined[names].notna().any(axis=1).sum()) if names else len(joined)
            self.found[view.name] = self.found.get(view.name, 0) + found

    def _lost(self, lost: int, rows: int) -> str:
        kind = self.store.feast.config.offline_store.type
        return (
            f"`{REPO}`: the offline store '{kind}' lost {lost} of {rows} rows: write "
            f"`offline_store: {{type: duckdb}}` into {CONFIG}, which keeps every row"
        )

    def _nothing(self, view: View, rows: int) -> str:
        ttl = f"is older than its ttl of {view.ttl}" if view.ttl else "lies after the row's time"
        return (
            f"`{SERVICE}`: none of {rows} rows found a value in feature view '{view.name}': either "
            f"no entity ({', '.join(repr(key) for key in view.keys)}) is known to {view.source}, "
            f"or every value {ttl}. Compare the keys and times of `{ENTITIES}` with the view's "
            "source, or take the view out of the service"
        )


def open_joined(given: FeastSource, source: tables.Source) -> Joined:
    """Open the entity table and the repository, and check that they fit.

    Raises:
        Refusal: the repository, the service or the table is missing, or a key is no column of it.
        Unavailable: a store does not answer or refuses the credentials.
    """
    store = open_store(given)
    entities = tables.open_table(source)
    joined = Joined(entities=entities, store=store)
    for view in store.features.views:
        for key in view.keys:
            if key not in entities.names:
                raise Refusal(Reason.INVALID_DATA, _keyless(key, view, entities))
    if source.timestamp not in entities.names:
        raise Refusal(
            Reason.INVALID_DATA,
            f"`{source.timestamp_field}` names '{source.timestamp}', which is no column of "
            f"{source.uri}: features are looked up as of that time. Columns: "
            f"{', '.join(entities.names[:30])}",
        )
    if both := sorted(set(entities.names) & set(store.features.columns)):
        raise Refusal(
            Reason.INVALID_DATA,
            f"`{ENTITIES}`: {source.uri} has the column '{both[0]}', which is a feature of "
            f"'{given.service}' too: rename it, or leave it out of the table",
        )
    return joined


def open_store(given: FeastSource, *, online: bool = False) -> Store:
    """Open a repository and find its service, for trainings or for its `online` values.

    Raises:
        Refusal: there is no repository, it cannot be read, or it has no such service.
        Unavailable: its registry does not answer or refuses the credentials.
    """
    raw = _read_config(given)
    if online:
        raw["registry"] = _kept(raw.get("registry"))
    # Feast reads its registry by the plain client, which has a variable of its own for this.
    if endpoint := os.environ.get("AWS_ENDPOINT_URL"):
        os.environ.setdefault("FEAST_S3_ENDPOINT_URL", endpoint)
    feast = _import()
    with _opening(given):
        config = feast.RepoConfig(**raw)
        config.repo_path = _folder(given.repo)
        store = feast.FeatureStore(config=config, repo_path=str(config.repo_path))
        services = {each.name: each for each in store.list_feature_services()}
    if given.service not in services:
        raise Refusal(Reason.INVALID_DATA, _unknown_service(given, sorted(services)))
    service = services[given.service]
    with _opening(given):
        features, types, key_types = _feature_set(store, service, given)
    if config.offline_store.type == "duckdb" and not online:
        _set_backend()
    return Store(feast=store, service=service, features=features, types=types, key_types=key_types)


def _import() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import feast
    except ImportError as error:
        raise Refusal(
            Reason.TRAINER_FAILED,
            f"Feast needs the image trainer-feast, and this one has no Feast ({error}): "
            "leave `template.image` out, or take one that has the extra `feast`",
        ) from error
    return feast


def _read_config(given: FeastSource) -> dict[str, Any]:
    """Read `feature_store.yaml`, its variables and relative paths filled in."""
    repo, field = given.repo, given.repo_field
    source = tables.Source(uri=f"{repo.rstrip('/')}/{CONFIG}", field=field)
    scheme, _, path = source.uri.partition("://")
    path = f"{contract.PVC_DIR}/{path}" if scheme == "pvc" else path
    with tables.reading(source), tables.make_filesystem(scheme, field).open(path, "r") as file:
        text = file.read()
    try:
        raw = yaml.safe_load(os.path.expandvars(text))
    except yaml.YAMLError as error:
        raise _refusal(field, f"{source.uri} is no YAML: {error}") from error
    if not isinstance(raw, dict):
        raise _refusal(field, f"{source.uri} holds no settings of Feast")
    if scheme not in ("file", "pvc"):
        raw["registry"] = _absolute(raw.get("registry"), repo)
    return raw


def _absolute(registry: Any, repo: str) -> Any:
    """A registry beside `feature_store.yaml` is named by its path from there."""
    if isinstance(registry, dict) and registry.get("registry_type", "file") == "file":
        return registry | {"path": _absolute(registry.get("path"), repo)}
    if isinstance(registry, str) and "://" not in registry and not registry.startswith("/"):
        return f"{repo.rstrip('/')}/{registry.removeprefix('./')}"
    return registry


def _kept(registry: Any) -> Any:
    """The registry's settings with which it is read once and never again."""
    settings = registry if isinstance(registry, dict) else {"path": registry}
    return settings | {"cache_ttl_seconds": 0}


def _folder(repo: str) -> Path:
    """Where relative paths of the repository start."""
    scheme, _, path = repo.partition("://")
    if scheme == "pvc":
        return Path(contract.PVC_DIR, path)
    return Path(path) if scheme == "file" else Path(tempfile.gettempdir())


def _feature_set(
    store: Any, service: Any, given: FeastSource
) -> tuple[FeatureSet, dict[str, pa.DataType], dict[str, pa.DataType]]:
    from feast.type_map import feast_value_type_to_pa

    views = {view.name: view for view in store.list_feature_views()}
    found: list[View] = []
    types: dict[str, pa.DataType] = {}
    key_types: dict[str, pa.DataType] = {}
    for projection in service.feature_view_projections:
        if projection.name not in views:
            raise _refusal(
                given.service_field,
                f"'{projection.name}' of '{given.service}' is no plain feature view: what is "
                "computed on demand is not supported, compute it in the pipeline",
            )
        view = views[projection.name]
        found.append(_view(view, projection, given.service_field))
        kinds = {each.name: each.dtype.to_value_type() for each in view.features}
        for each in projection.features:
            types[each.name] = feast_value_type_to_pa(kinds[each.name])
        for each in view.entity_columns:
            key = projection.join_key_map.get(each.name, each.name)
            key_types[key] = feast_value_type_to_pa(each.dtype.to_value_type())
    features = FeatureSet(
        project=store.project,
        repo=given.repo,
        service=given.service,
        description=service.description,
        views=tuple(found),
    )
    names = [name for view in found for name in view.names]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise _refusal(
            given.service_field,
            f"'{given.service}' has two features of the name '{twice}': rename one of them",
        )
    return features, types, key_types


def _view(view: Any, projection: Any, spec_field: str) -> View:
    known = {each.name: each for each in view.features}
    for each in projection.features:
        if each.name not in known:
            raise _refusal(
                spec_field,
                f"the service uses the feature '{view.name}:{each.name}', which the view no longer "
                "has: apply the service anew under a new name",
            )
    source = view.batch_source
    return View(
        name=projection.name_to_use(),
        keys=tuple(
            projection.join_key_map.get(each.name, each.name) for each in view.entity_columns
        ),
        columns=tuple(
            Column(
                name=each.name,
                type=str(known[each.name].dtype),
                description=known[each.name].description,
            )
            for each in projection.features
        ),
        ttl=view.ttl or None,
        source=getattr(source, "path", "") or source.name,
        timestamp=source.timestamp_field,
        created=source.created_timestamp_column or "",
        description=view.description,
    )


def _set_backend() -> None:
    """Let Feast's DuckDB read through our file systems, within a share of the memory."""
    import ibis
    from ibis.backends.duckdb import Backend

    class Offline(Backend):  # type: ignore[misc]
        """DuckDB without extensions from the network: pods have neither network nor disk for it."""

        def _load_extensions(self, extensions: list[str], force_install: bool = False) -> None:
            """Load nothing: `s3://` is read by the file system that is registered below."""

    folder = os.environ.get(contract.ENV_WORK_DIR, contract.WORK_DIR)
    spill = folder if os.access(folder, os.W_OK) else tempfile.gettempdir()
    backend = Offline()
    backend.do_connect(
        memory_limit=f"{_memory() // 2**20}MiB",
        threads=int(os.environ.get("OMP_NUM_THREADS", "1")),
        temp_directory=spill,
    )
    backend.register_filesystem(tables.make_filesystem("s3", REPO))
    ibis.set_backend(backend)


def _memory() -> int:
    """Bytes for a join: half of the container's, the rest is for the table and the fit."""
    try:
        text = _MEMORY.read_text().strip()
    except OSError:
        text = "max"
    if text == "max":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2
    return int(text) // 2


def _rebatched(frames: Iterator[pd.DataFrame], rows: int) -> Iterator[pd.DataFrame]:
    """Put batches together, or apart: every join costs a look at the whole source of a view."""
    kept = pd.DataFrame()
    for frame in frames:
        kept = pd.concat([kept, frame], ignore_index=True) if len(kept) else frame
        while len(kept) >= rows:
            yield kept.iloc[:rows].reset_index(drop=True)
            kept = kept.iloc[rows:]
    if len(kept):
        yield kept.reset_index(drop=True)


@contextmanager
def _opening(given: FeastSource) -> Iterator[None]:
    """Turn what Feast raises while its repository is opened into `Refusal` or `Unavailable`."""
    source = tables.Source(uri=given.repo, field=given.repo_field)
    message = f"the repository {given.repo} cannot be opened"
    with _told(given.repo_field, message), tables.reading(source):
        yield


@contextmanager
def _joining(uri: str) -> Iterator[None]:
    """The same while features are joined."""
    source = tables.Source(uri=uri, field=SERVICE)
    with _told(SERVICE, f"Feast cannot join the features to {uri}"), tables.reading(source):
        yield


@contextmanager
def _told(spec_field: str, what: str) -> Iterator[None]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (Refusal, Unavailable):
        raise
    except Exception as error:
        home = type(error).__module__.partition(".")[0]
        if home not in _FEAST_RAISES:
            raise
        line = str(error).strip().partition("\n")[0]
        message = f"{what}: {type(error).__name__}: {contract.cut(line, 300)}"
        if type(error).__name__ == "OutOfMemoryException":
            message += "; give the container more memory (`template.resources`) or the views a ttl"
        raise _refusal(spec_field, message) from error


_FEAST_RAISES = ("feast", "ibis", "duckdb", "_duckdb", "pydantic", "pydantic_core", "builtins")
"""Where the errors come from that say what is wrong with a repository or a join."""


def _keyless(key: str, view: View, entities: tables.Opened) -> str:
    return (
        f"`{ENTITIES}`: {entities.source.uri} has no column '{key}', which names the entity of "
        f"feature view '{view.name}'.{tables.did_you_mean(key, entities.names)} "
        f"Columns: {', '.join(entities.names[:30])}"
    )


def _unknown_service(given: FeastSource, names: Sequence[str]) -> str:
    near = difflib.get_close_matches(given.service, names, n=3) or list(names)[:10]
    known = f"it has {', '.join(near)}" if near else "it has none: run `feast apply`"
    return (
        f"`{given.service_field}`: {given.repo} has no feature service '{given.service}'; {known}"
    )


def _refusal(spec_field: str, message: str) -> Refusal:
    return Refusal(Reason.INVALID_DATA, f"`{spec_field}`: {message}")
