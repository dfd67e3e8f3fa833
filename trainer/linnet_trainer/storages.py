"""Where a study lives: in this pod, in pod 0 for all pods of the search, or in a database.

Between pods there is no login and no encryption: whoever reaches port 8092 of pod 0 reads and
writes the study. The URL of a database is a secret: nothing that is raised here holds it.
"""

from __future__ import annotations

import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import optuna
import sqlalchemy
import sqlalchemy.exc

from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal

# Before gRPC is imported: names are looked up as everything else in a pod does, by the search path
# of its resolv.conf, and no proxy of the environment stands between two pods.
os.environ.setdefault("GRPC_DNS_RESOLVER", "native")
os.environ.setdefault("no_grpc_proxy", "*")

import grpc

_POSTGRESQL = re.compile(r"^postgres(ql)?(\+psycopg2?)?://")
_CONNECT_SECONDS = 10


class StudyAway(Exception):
    """The study does not answer; whether it is a pod or a database, it may come back."""


@contextmanager
def answering(url: str) -> Iterator[None]:
    """Turn what storages raise into `StudyAway`, without their texts: those may name the URL."""
    try:
        yield
    except (
        grpc.RpcError,
        ConnectionError,
        optuna.exceptions.StorageInternalError,
        sqlalchemy.exc.SQLAlchemyError,
    ) as error:
        cause = error.__cause__ or error
        raise StudyAway(f"{told(url)} does not answer ({type(cause).__name__})") from None


def told(url: str) -> str:
    """Say where a study is, without the URL."""
    if _is_database(url):
        return "the study's database (`search.storage.secretRef`)"
    return "the study of pod 0" if url else "the study"


def open_storage(url: str, *, pod: int) -> Any:
    """Return the storage for one pod of a search.

    Args:
        url: empty for a study of this pod alone; `grpc://host:port` for one that pod 0 serves;
            else that of a PostgreSQL database.
        pod: index of this pod. What pod 0 serves is in its memory: nested runs outlive the pod.

    Raises:
        Refusal: the URL is of another kind.
        StudyAway: it does not answer.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if _is_database(url):
            return _database(url, creates=pod == 0)
        if not url or pod == 0:
            return optuna.storages.InMemoryStorage()
        parts = urlsplit(url)
        return optuna.storages.GrpcStorageProxy(host=parts.hostname or "", port=parts.port or 0)


def serve(storage: Any, url: str) -> None:
    """Serve a storage to the other pods for as long as this process lives, where `url` asks so."""
    if not url.startswith("grpc://"):
        return
    port = urlsplit(url).port

    def listen() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            optuna.storages.run_grpc_proxy_server(storage, host="[::]", port=port)

    threading.Thread(target=listen, daemon=True, name="study").start()


def _is_database(url: str) -> bool:
    return bool(url) and not url.startswith("grpc://")


def _database(text: str, *, creates: bool) -> Any:
    if not _POSTGRESQL.match(text):
        raise _refusal("must start with 'postgresql://'")
    try:
        url = sqlalchemy.engine.make_url(text).set(drivername="postgresql+psycopg")
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise _refusal("cannot be read as 'postgresql://user:password@host:port/name'") from None
    arguments: dict[str, Any] = {"connect_timeout": _CONNECT_SECONDS}
    if url.password is not None:
        # Apart from the URL, which a storage keeps and hands on.
        arguments["password"] = str(url.password)
    with answering(text):
        # Pod 0 alone makes the tables: of several that try at once on an empty database some die.
        return optuna.storages.RDBStorage(
            url._replace(password=None).render_as_string(),
            engine_kwargs={"pool_pre_ping": True, "connect_args": arguments},
            skip_table_creation=not creates,
        )


def _refusal(what: str) -> Refusal:
    return Refusal(
        Reason.TRAINER_FAILED, f"`search.storage.secretRef`: the URL in the Secret {what}"
    )
