"""Features that a request leaves out, looked up by its entity keys in the pod's sidecar.

A column that the request has stays as it is. The sidecar (`linnet-trainer features`) answers on
localhost, and only as long as `timeout`: a model must not answer on features that are not there.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from linnet_server.columns import Table, Unfit

if TYPE_CHECKING:
    import aiohttp

POLL_SECONDS = 0.5


class Unavailable(Exception):
    """The features could not be had (503); the text names the view."""


class Mismatch(ValueError):
    """The model and the feature service do not belong together; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSet:
    """What the sidecar serves."""

    service: str
    digest: str
    keys: Mapping[str, Sequence[str]]
    """Columns of the request that name entities, each with the views that it is for."""
    views: Mapping[str, str]
    """Every feature with its view."""


class Features:
    """The sidecar of this pod, asked by one server process."""

    def __init__(self, *, url: str, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self.set = FeatureSet(service="", digest="", keys={}, views={})
        """What is served; known once the sidecar has answered."""

    async def open(self) -> None:
        """Wait until the sidecar answers and learn what it serves."""
        import aiohttp

        self._session = aiohttp.ClientSession()
        while True:
            try:
                async with self._session.get(self._url) as response:
                    if response.status == 200:
                        self.set = _parse(orjson.loads(await response.read()))
                        return
            except (aiohttp.ClientError, TimeoutError):
                pass  # It is starting, or is started again by the kubelet, which says why.
            await asyncio.sleep(POLL_SECONDS)

    async def close(self) -> None:
        """Close the connections to the sidecar."""
        if self._session is not None:
            await self._session.close()

    async def complete(self, table: Table, wanted: Mapping[str, bool]) -> Table:
        """Return the table with the features that the model wants and the request left out.

        Args:
            wanted: the model's columns, and whether a value may be missing.

        Raises:
            Unfit: the request lacks a key, its type is another than the entity's, or there is no
                value where the model needs one.
            Unavailable: no answer in time, or none from the store.
        """
        lacking = [name for name in self.set.views if name in wanted and name not in table.columns]
        columns = {
            name: cells
            for name, cells in table.columns.items()
            if name in wanted or name not in self.set.keys
        }
        if lacking and table.rows:
            found = await self._look_up(self._keys(table, lacking), lacking)
            for name in lacking:
                if not wanted[name] and None in found[name]:
                    raise Unfit(self._valueless(name, found[name].index(None)))
                columns[name] = found[name]
        return Table(columns=columns, rows=table.rows)

    def _valueless(self, name: str, row: int) -> str:
        return (
            f"row {row}, column '{name}': feature view '{self.set.views[name]}' has no value for "
            "this entity that is young enough, and the model was trained without missing ones"
        )

    def _keys(self, table: Table, lacking: Sequence[str]) -> dict[str, Sequence[Any]]:
        """The keys as the sidecar wants them: null where only views need them that nobody asks."""
        views = {self.set.views[name] for name in lacking}
        keys: dict[str, Sequence[Any]] = {}
        for key, needed_by in self.set.keys.items():
            needing = [view for view in needed_by if view in views]
            if needing and key not in table.columns:
                raise Unfit(f"column '{key}' is missing: it names the entity of {_named(needing)}")
            keys[key] = table.columns.get(key) or [None] * table.rows
        return keys

    async def _look_up(
        self, keys: Mapping[str, Sequence[Any]], lacking: Sequence[str]
    ) -> dict[str, list[Any]]:
        import aiohttp

        assert self._session is not None, "open comes first"
        views = _named(dict.fromkeys(self.set.views[name] for name in lacking))
        late = f"{views} did not answer within {self._timeout * 1000:.0f} ms"
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._session.post(self._url, data=orjson.dumps({"keys": keys})) as response,
            ):
                status, raw = response.status, await response.read()
        except TimeoutError:
            raise Unavailable(late) from None
        except aiohttp.ClientError as error:
            raise Unavailable(
                f"{views} cannot be read, its sidecar does not answer: {type(error).__name__}"
            ) from error
        document = orjson.loads(raw)
        if status == 422:
            raise Unfit(document["error"])
        if status != 200:
            raise Unavailable(document["error"])
        found: dict[str, list[Any]] = document["columns"]
        return found


def check(served: FeatureSet, *, trained_service: str, columns: Sequence[str]) -> None:
    """Refuse a model that was trained on another service, or that wants none of this one.

    Raises:
        Mismatch: what to change.
    """
    if trained_service and trained_service != served.service:
        raise Mismatch(
            f"the version was trained on feature service '{trained_service}', and "
            f"`features.feast.featureService` is '{served.service}': name the one that it was "
            "trained on"
        )
    if not served.views.keys() & set(columns):
        raise Mismatch(
            f"the version has no column of feature service '{served.service}': leave "
            "`features` out, or name the service that it was trained on"
        )


def _parse(document: Mapping[str, Any]) -> FeatureSet:
    keys: dict[str, list[str]] = {}
    for view in document["views"]:
        for key in view["entityKeys"]:
            keys.setdefault(key, []).append(view["name"])
    return FeatureSet(
        service=document["featureService"],
        digest=document["sha256"],
        keys=keys,
        views={
            each["name"]: view["name"] for view in document["views"] for each in view["features"]
        },
    )


def _named(views: Iterable[str]) -> str:
    return f"feature view {' and '.join(map(repr, views))}"
