"""What lies with a version: its columns, classes and files, as read by fetch and by the server.

A model that Linnet trained carries `linnet/manifest.json`. For any other, fetch makes one from its
`MLmodel`; that one has no task, classes, samples or digests.
"""

import json
import posixpath
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from linnet_server import contract

ColumnType = Literal["double", "string", "boolean"]
COLUMN_TYPES: tuple[ColumnType, ...] = ("double", "string", "boolean")
TASKS = ("Classification", "Regression", "")


class InvalidManifest(ValueError):
    """The document is not a manifest that this server understands; the text says why."""


class NotServable(ValueError):
    """The model has no form that this server can serve; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One input of the model. A nullable column may be null or absent."""

    name: str
    type: ColumnType
    nullable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The parsed manifest; `files` maps paths to sha256 in hex, `task` is empty where unknown."""

    format: str
    model_file: str
    libraries: Mapping[str, str]
    columns: tuple[Column, ...]
    task: str
    classes: tuple[Any, ...]
    positive_class: Any
    threshold: float | None
    files: Mapping[str, str]
    content_digest: str
    data_digest: str
    run_id: str
    """Of what it was trained on, and the run that did; empty where an older trainer wrote it."""
    feature_service: str
    feature_digest: str
    """The feature service that its features came from and what that was made of; empty without."""


def parse(text: bytes) -> Manifest:
    """Read `linnet/manifest.json`; raise InvalidManifest naming the field that is wrong."""
    try:
        document = json.loads(text)
    except ValueError as error:
        raise InvalidManifest(f"linnet/manifest.json is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise InvalidManifest("linnet/manifest.json must be an object")
    if document.get("v") != 1:
        raise InvalidManifest(
            f"linnet/manifest.json: `v` must be 1, not {json.dumps(document.get('v'))}"
        )
    model_file = _field(document, "modelFile", str)
    files = _field(document, "files", dict)
    for path in (model_file, *files):
        if not is_relative(path):
            raise InvalidManifest(f"linnet/manifest.json: '{path}' must be a path inside the model")
    task = document.get("task") or ""
    if task == "Clustering":
        raise InvalidManifest(
            "linnet/manifest.json: `task` is Clustering: clusters label the rows that they were "
            "made of, there is no `predict`"
        )
    if task not in TASKS:
        raise InvalidManifest(
            f"linnet/manifest.json: `task` must be Classification or Regression, not '{task}'"
        )
    threshold = document.get("threshold")
    features = document.get("featureSet") or {}
    return Manifest(
        format=_field(document, "format", str),
        model_file=model_file,
        libraries=_field(document, "libraries", dict),
        columns=_columns(_field(document, "columns", list)),
        task=task,
        classes=tuple(document.get("classes") or ()),
        positive_class=document.get("positiveClass"),
        threshold=None if threshold is None else float(threshold),
        files=files,
        content_digest=str(document.get("contentDigest") or ""),
        data_digest=str(document.get("dataDigest") or ""),
        run_id=str(document.get("runID") or ""),
        feature_service=str(features.get("featureService") or ""),
        feature_digest=str(features.get("sha256") or ""),
    )


def _field(document: dict[str, Any], name: str, kind: type) -> Any:
    value = document.get(name)
    if not isinstance(value, kind):
        raise InvalidManifest(f"linnet/manifest.json: `{name}` is missing or has the wrong type")
    return value


def _columns(entries: list[Any]) -> tuple[Column, ...]:
    columns = []
    for entry in entries:
        try:
            column = Column(
                name=str(entry["name"]), type=entry["type"], nullable=bool(entry["nullable"])
            )
        except (KeyError, TypeError) as error:
            raise InvalidManifest(
                "linnet/manifest.json: a column must have `name`, `type` and `nullable`"
            ) from error
        if column.type not in COLUMN_TYPES:
            raise InvalidManifest(
                f"linnet/manifest.json: column '{column.name}' has type '{column.type}', "
                "which must be double, string or boolean"
            )
        columns.append(column)
    names = [column.name for column in columns]
    if not names or len(set(names)) != len(names):
        raise InvalidManifest("linnet/manifest.json: `columns` must be distinct and not empty")
    return tuple(columns)


def is_relative(path: str) -> bool:
    """Tell whether `path` stays inside the folder that it is joined to."""
    return bool(path) and not path.startswith(("/", "..")) and posixpath.normpath(path) == path


# What a signature's types become: integers are accepted for doubles.
_MLFLOW_TYPES: dict[str, ColumnType] = {
    "double": "double",
    "float": "double",
    "long": "double",
    "integer": "double",
    "string": "string",
    "boolean": "boolean",
}


def from_mlmodel(text: bytes) -> dict[str, Any]:
    """Make a manifest document for a model that Linnet did not train; raise NotServable."""
    document = _read_mlmodel(text)
    try:
        flavors = dict(document.get("flavors") or {})
    except (ValueError, TypeError) as error:
        raise NotServable(f"the model's MLmodel file cannot be read: {error}") from error
    flavor = flavors.get("sklearn")
    if not isinstance(flavor, dict):
        raise NotServable(
            f"the model has no scikit-learn flavour, only {', '.join(sorted(flavors)) or 'none'}"
        )
    if "python_function" not in flavors:
        raise NotServable("the model has no `predict`, so there is nothing to serve")
    model_file = str(flavor.get("pickled_model") or "")
    serialization = str(flavor.get("serialization_format") or "pickle")
    if not is_relative(model_file):
        raise NotServable(f"the model file '{model_file}' must be a path inside the model")
    return {
        "v": 1,
        "format": contract.FORMAT_SKOPS if serialization == "skops" else contract.FORMAT_PICKLE,
        "modelFile": model_file,
        "libraries": {"scikit-learn": str(flavor.get("sklearn_version") or "")},
        "columns": _signature_columns(document.get("signature")),
        "task": "",
        "files": {},
        "contentDigest": "",
    }


def signature_of(text: bytes) -> tuple[Column, ...] | None:
    """The columns of an `MLmodel` file's signature; None without one.

    Raises:
        NotServable: the file or its signature cannot be read.
    """
    signature = _read_mlmodel(text).get("signature")
    return _columns(_signature_columns(signature)) if signature else None


def _read_mlmodel(text: bytes) -> dict[str, Any]:
    import yaml

    try:
        return dict(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise NotServable(f"the model's MLmodel file cannot be read: {error}") from error


def _signature_columns(signature: Any) -> list[dict[str, Any]]:
    inputs = signature.get("inputs") if isinstance(signature, dict) else None
    if not inputs:
        raise NotServable("the model has no input signature: log it with `signature=`")
    try:
        entries = json.loads(inputs) if isinstance(inputs, str) else inputs
        if len(entries) == 1 and entries[0]["type"] == "tensor":
            width = int(entries[0]["tensor-spec"]["shape"][-1])
            if len(entries[0]["tensor-spec"]["shape"]) != 2 or width < 1:
                raise NotServable("the model's input signature must have rows of one fixed width")
            return [
                {"name": f"x{index}", "type": "double", "nullable": False} for index in range(width)
            ]
        columns = []
        for entry in entries:
            kind = _MLFLOW_TYPES.get(str(entry["type"]))
            if kind is None or not entry.get("name"):
                raise NotServable(
                    f"column '{entry.get('name')}' of the signature has type '{entry['type']}', "
                    "which must be a number, string or boolean"
                )
            nullable = not entry.get("required", True)
            columns.append({"name": str(entry["name"]), "type": kind, "nullable": nullable})
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, NotServable):
            raise
        raise NotServable(f"the model's input signature cannot be read: {error}") from error
    return cast(list[dict[str, Any]], columns)
