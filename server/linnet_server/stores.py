"""Where a logged model lies: an object store read directly, or the registry that proxies it.

Every failure becomes a FetchError with the exit code of the contract, so that the operator knows
whether the revision is at fault or the world around it.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn, Protocol
from urllib.parse import urlsplit

from linnet_server.contract import ExitCode

CONNECT_SECONDS = 5
READ_SECONDS = 30
REGISTRY_SCHEMES = ("mlflow-artifacts", "models", "runs")

_CREDENTIAL_CODES = frozenset(
    {"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken"}
    | {"401", "403"}
)


class FetchError(Exception):
    """Why the model could not be brought: the exit code and one sentence for the user."""

    def __init__(self, code: ExitCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class Store(Protocol):
    """A folder of files far away."""

    def get(self, path: str, target: Path) -> bool:
        """Copy the file at `path` to `target`; return False if there is none; raise FetchError."""
        ...


def open_store(uri: str) -> Store:
    """Return the store behind an artifact URI; raise FetchError for one of no known kind."""
    scheme = urlsplit(uri).scheme
    if not uri:
        raise FetchError(ExitCode.ARTIFACT_MISSING, "`LINNET_ARTIFACT_URI` must not be empty")
    if scheme in REGISTRY_SCHEMES:
        return RegistryStore(uri)
    return ObjectStore(uri)


class ObjectStore:
    """A folder in whatever fsspec reads: S3, a mounted volume; MLflow is not asked."""

    def __init__(self, uri: str) -> None:
        import fsspec

        self._uri = uri.rstrip("/")
        options = _s3_options() if self._uri.startswith("s3://") else {}
        try:
            self._files, self._root = fsspec.core.url_to_fs(self._uri, **options)
        except (ValueError, ImportError) as error:
            raise FetchError(
                ExitCode.NOT_SERVABLE, f"no client can read the artifact URI '{uri}': {error}"
            ) from error

    def get(self, path: str, target: Path) -> bool:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._files.get_file(f"{self._root}/{path}", str(target))
        except Exception as error:
            if _is_missing(error):
                target.unlink(missing_ok=True)
                return False
            self._fail(error)
        return True

    def _fail(self, error: Exception) -> NoReturn:
        where = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("MLFLOW_S3_ENDPOINT_URL")
        store = f"the store at {where}" if where and self._uri.startswith("s3:") else "the store"
        if _lacks_credentials(error):
            raise FetchError(
                ExitCode.CREDENTIALS_MISSING,
                f"{store} refused to read {self._uri}: {_reason(error)}; "
                "the credentials Secret must hold keys that may read it",
            ) from error
        raise FetchError(
            ExitCode.STORE_UNAVAILABLE, f"{store} cannot be read at {self._uri}: {_reason(error)}"
        ) from error


def _s3_options() -> dict[str, Any]:
    endpoint = os.environ.get("AWS_ENDPOINT_URL") or os.environ.get("MLFLOW_S3_ENDPOINT_URL")
    settings: dict[str, Any] = {
        "connect_timeout": CONNECT_SECONDS,
        "read_timeout": READ_SECONDS,
        "retries": {"max_attempts": 2, "mode": "standard"},
    }
    if endpoint:
        # Stores in a cluster have no DNS name per bucket.
        settings["s3"] = {"addressing_style": "path"}
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return {
        "endpoint_url": endpoint or None,
        "config_kwargs": settings,
        "client_kwargs": {"region_name": region},
    }


class RegistryStore:
    """A folder that the MLflow server hands out itself."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._repository: Any = None

    def get(self, path: str, target: Path) -> bool:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if self._repository is None:
                from mlflow.store.artifact import artifact_repository_registry as registry

                self._repository = registry.get_artifact_repository(self._uri)
            # The listing is asked first: proxied stores answer a missing file with 500.
            folder = path.rpartition("/")[0]
            names = {entry.path for entry in self._repository.list_artifacts(folder or None)}
            if path not in names:
                return False
            scratch = target.parent / ".download"
            scratch.mkdir(exist_ok=True)
            fetched = self._repository.download_artifacts(path, dst_path=str(scratch))
            os.replace(fetched, target)
            shutil.rmtree(scratch)
        except Exception as error:
            if _is_missing(error):
                return False
            self._fail(error)
        return True

    def _fail(self, error: Exception) -> NoReturn:
        where = os.environ.get("MLFLOW_TRACKING_URI") or "`MLFLOW_TRACKING_URI`"
        if _lacks_credentials(error):
            raise FetchError(
                ExitCode.CREDENTIALS_MISSING,
                f"the registry at {where} refused to read {self._uri}: {_reason(error)}; "
                "the credentials Secret must hold a user or token that may read it",
            ) from error
        raise FetchError(
            ExitCode.REGISTRY_UNAVAILABLE,
            f"the registry at {where} cannot be read for {self._uri}: {_reason(error)}",
        ) from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen = 0
    while error is not None and seen < 10:
        yield error
        error = error.__cause__ or error.__context__
        seen += 1


def _codes(error: BaseException) -> Iterator[str]:
    """Yield the codes of S3 and HTTP that lie in the chain of one error."""
    for link in _chain(error):
        response = getattr(link, "response", None)
        if isinstance(response, dict):
            yield str(response.get("Error", {}).get("Code", ""))
        elif response is not None:
            yield str(getattr(response, "status_code", ""))
        code = getattr(link, "error_code", None)
        if isinstance(code, str):
            yield code


def _is_missing(error: BaseException) -> bool:
    codes = set(_codes(error))
    # A bucket that does not exist is the store's trouble, never the revision's own.
    if "NoSuchBucket" in codes:
        return False
    return isinstance(error, FileNotFoundError) or bool(
        codes & {"NoSuchKey", "404", "RESOURCE_DOES_NOT_EXIST"}
    )


def _lacks_credentials(error: BaseException) -> bool:
    names = {type(link).__name__ for link in _chain(error)}
    return (
        isinstance(error, PermissionError)
        or bool(set(_codes(error)) & (_CREDENTIAL_CODES | {"PERMISSION_DENIED", "UNAUTHENTICATED"}))
        or bool(names & {"NoCredentialsError", "PartialCredentialsError"})
    )


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"
