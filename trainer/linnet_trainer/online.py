"""Features of a Feast repository while a model serves: `linnet-trainer features`, beside a server.

What is read is what a training would have joined to a row of this moment: values of the declared
types, none that is older than its view's ttl (Feast does not look at that online), and none for an
entity that the store does not know. A null key names nobody.

The repository's definitions are read once, when the process starts: a server's features do not
change under it.
"""

from __future__ import annotations

import asyncio
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from linnet_trainer import contract, feature_store, pod
from linnet_trainer.contract import FeaturesExit, Reason
from linnet_trainer.errors import Refusal, Unavailable
from linnet_trainer.progress import say
from linnet_trainer.recipe import FeastSource

if TYPE_CHECKING:
    from starlette.applications import Starlette

FIELD = "features.feast"
_AGE = "__ts"
"""What Feast appends to a feature's name for the seconds of its event time."""
_TRIES = 3
"""Look-ups before the first request: the first one opens connections."""


class Unfit(ValueError):
    """A key has another type than the entity that it names."""


class Away(Exception):
    """The online store did not give an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Features:
    """One feature service, read by keys."""

    store: feature_store.Store
    now: Callable[[], float] = time.time
    """Seconds since 1970."""

    def document(self) -> dict[str, Any]:
        """The feature set as trainings record it."""
        return self.store.features.document()

    def read(self, keys: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
        """Return one list of values for each feature; None where there is no value.

        Args:
            keys: one list for each entity key of the service, all of one length.

        Raises:
            Unfit: a key's value has another type than the entity.
            Away: the online store failed.
        """
        rows = len(next(iter(keys.values()), ()))
        asked = {name: self._as_entity(name, keys[name]) for name in self.store.features.keys}
        found = self._look_up(asked)
        now = self.now()
        read: dict[str, list[Any]] = {}
        for view in self.store.features.views:
            ttl = view.ttl.total_seconds() if view.ttl else float("inf")
            known = [all(keys[key][at] is not None for key in view.keys) for at in range(rows)]
            for name in view.names:
                if pa.types.is_nested(self.store.types[name]):
                    continue  # No training reads these.
                cells = zip(found[name], found[name + _AGE], known, strict=True)
                read[name] = self._as_trained(
                    name,
                    [value if there and now - age <= ttl else None for value, age, there in cells],
                )
        return read

    def _as_entity(self, name: str, values: Sequence[Any]) -> list[Any]:
        """The values of a key in the entity's type, a null replaced by what that type has."""
        kind = self.store.key_types[name]
        filler: Any = "" if pa.types.is_string(kind) else 0
        try:
            # A number is no text and a text is no number, whatever they look like.
            array = pa.array(values, type=kind)
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
            raise Unfit(f"column '{name}' names an entity and must hold {kind}: {error}") from error
        return [filler if value is None else value for value in array.to_pylist()]

    def _look_up(self, asked: dict[str, list[Any]]) -> dict[str, list[Any]]:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = self.store.feast.get_online_features(
                    features=self.store.service, entity_rows=asked
                )
            found: dict[str, list[Any]] = answer.to_dict(include_event_timestamps=True)
        except Exception as error:
            views = ", ".join(repr(view.name) for view in self.store.features.views)
            line = str(error).strip().partition("\n")[0]
            raise Away(
                f"the online store of feature view {views} does not answer: "
                f"{type(error).__name__}: {contract.cut(line, 200)}"
            ) from error
        return found

    def _as_trained(self, name: str, values: list[Any]) -> list[Any]:
        """Values as a training has them: of the declared type, and not-a-number is missing."""
        kind = self.store.types[name]
        told: list[Any] = pa.array(values, type=kind, from_pandas=True).to_pylist()
        return told


def main(environ: Mapping[str, str]) -> FeaturesExit:
    """Serve the features that the environment names until the process is told to end."""
    try:
        given = json.loads(environ[contract.ENV_FEATURES])
        features = open_features(
            FeastSource(repo=given["repoUri"], service=given["featureService"], field=FIELD),
            keys=given["entityKeys"],
        )
        _warm(features)
    except Refusal as error:
        pod.leave(error.message, environ)
        say(error.message)
        return FeaturesExit.INVALID
    except (Unavailable, Away) as error:
        pod.leave(str(error), environ)
        say(f"will be tried again: {error}")
        return FeaturesExit.UNAVAILABLE
    import uvicorn

    say(f"feature service '{given['featureService']}' of {given['repoUri']} is served")
    # Only the server beside this process is to be answered.
    uvicorn.run(
        make_app(features, timeout=float(given["timeoutSeconds"])),
        host="127.0.0.1", port=int(given["port"]), log_level="warning", access_log=False,
    )  # fmt: skip
    return FeaturesExit.OK


def _warm(features: Features) -> None:
    """Read once, so that the first request does not wait for connections; raise Away."""
    for left in reversed(range(_TRIES)):
        try:
            features.read({name: [None] for name in features.store.features.keys})
            return
        except Away:
            if not left:
                raise
            time.sleep(1)


def open_features(given: FeastSource, *, keys: Sequence[str]) -> Features:
    """Open the repository for its online values.

    Raises:
        Refusal: it cannot be read, has no such service, or its views have other keys.
        Unavailable: a store does not answer or refuses the credentials.
    """
    store = feature_store.open_store(given, online=True)
    wanted = store.features.keys
    if sorted(wanted) != sorted(keys):
        raise Refusal(
            Reason.INVALID_DATA,
            f"`{given.field}.entityKeys` must be {', '.join(wanted)}: these name the entities of "
            f"feature service '{given.service}', and the field has {', '.join(keys)}",
        )
    return Features(store=store)


def make_app(features: Features, *, timeout: float) -> Starlette:
    """The routes: GET says what there is, POST reads it.

    Args:
        features: what is read; one look-up at a time, as a connection of a store allows it.
        timeout: seconds after which nobody waits for an answer any more.
    """
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    executor = ThreadPoolExecutor(1, thread_name_prefix="store")

    def answer(document: Mapping[str, Any], status: int = 200) -> Response:
        return Response(json.dumps(document, default=str), status, media_type="application/json")

    async def described(request: Request) -> Response:
        return answer(features.document())

    async def read(request: Request) -> Response:
        deadline = time.monotonic() + timeout
        keys = json.loads(await request.body())["keys"]

        def look_up() -> dict[str, list[Any]]:
            if time.monotonic() > deadline:
                raise Away("the online store is slower than its requests come")
            return features.read(keys)

        try:
            found = await asyncio.get_running_loop().run_in_executor(executor, look_up)
        except Unfit as error:
            return answer({"error": str(error)}, 422)
        except Away as error:
            return answer({"error": str(error)}, 503)
        return answer({"columns": found})

    path = contract.PATH_FEATURES
    return Starlette(
        routes=[Route(path, described, methods=["GET"]), Route(path, read, methods=["POST"])]
    )
