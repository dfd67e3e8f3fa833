"""What lies with a version: the folder `linnet/` of the logged model, and how a model is loaded.

`manifest.json` names the model file, its inputs and classes and the sha256 of every other file; the
version's tag `linnet.dev/manifest-sha256` vouches for the manifest itself. `contentDigest` is the
model's identity: two dumps of one pipeline differ byte by byte, its fitted arrays do not.
"""

from __future__ import annotations

import functools
import hashlib
import json
import platform
import types
import warnings
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from linnet_server.trust import TRUSTED_TYPES, untrusted
from mlflow.models import Model, ModelSignature
from mlflow.types import ColSpec, Schema
from scipy import sparse
from sklearn.base import BaseEstimator

from linnet_trainer import boosting, thresholds
from linnet_trainer.contract import Reason
from linnet_trainer.data import Feature
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import Task
from linnet_trainer.targets import Target

FOLDER = "linnet"
MODEL_FILE = "model.skops"
MANIFEST = f"{FOLDER}/manifest.json"
SAMPLES = 1000
EXAMPLES = 5

LIBRARIES = ("scikit-learn", "skops", "numpy", "scipy", "pandas")


def save(
    folder: Path,
    *,
    pipeline: Any,
    features: Sequence[Feature],
    training: pd.DataFrame,
    target: Target | None,
    samples: tuple[pd.DataFrame, Any] | None,
    extra: Mapping[str, bytes],
    facts: Mapping[str, Any],
    run_id: str,
    model_id: str,
    location: str,
) -> tuple[str, str]:
    """Write the whole artifact of a model into `folder`.

    Args:
        folder: an empty or missing folder.
        pipeline: the fitted pipeline.
        features: its inputs.
        training: the inputs that it was fitted on; they decide which columns are nullable.
        target: what is predicted; None for clusters.
        samples: inputs, and the answers for each; None where there are no answers.
        extra: more files for `linnet/`, by name.
        facts: more fields for the manifest, such as how the holdout was chosen.
        run_id: the run that logs the model.
        model_id: the logged model.
        location: where its files will lie.

    Returns:
        The manifest's sha256 and the content digest, as `sha256:<hex>`.
    """
    nullable = {feature.name: bool(training[feature.name].isna().any()) for feature in features}
    needed = boosting.libraries(pipeline)
    _save_pipeline(
        folder,
        pipeline,
        Model(artifact_path=location, model_uuid=model_id, model_id=model_id, run_id=run_id),
        signature=_signature(features, nullable, target),
        example=_example(training, features),
        needed=needed,
    )
    own = folder / FOLDER
    own.mkdir()
    if samples is not None and target is not None:
        (own / "samples.json").write_text(_samples(features, samples, target))
    for name, blob in extra.items():
        (own / name).write_bytes(blob)
    content = digest(pipeline)
    document = {
        "v": 1,
        "format": "Skops",
        "modelFile": MODEL_FILE,
        "task": _task(target),
        "libraries": libraries() | needed,
        "columns": [
            {
                "name": feature.name,
                "type": feature.type,
                "nullable": nullable[feature.name],
                "source": feature.source,
            }
            for feature in features
        ],
        **_answered(target, pipeline),
        "contentDigest": content,
        **facts,
        "files": {
            path.relative_to(folder).as_posix(): sha256(path.read_bytes())
            for path in sorted(folder.rglob("*"))
            if path.is_file()
        },
    }
    blob = json.dumps(document, indent=1, ensure_ascii=False).encode()
    (folder / MANIFEST).write_bytes(blob)
    return sha256(blob), content


def _task(target: Target | None) -> Task:
    if target is None:
        return Task.CLUSTERING
    return Task.CLASSIFICATION if target.classes else Task.REGRESSION


def _answered(target: Target | None, pipeline: Any) -> dict[str, Any]:
    """What the manifest says of a classifier's answers: classes as the fitted model has them."""
    if target is None or not target.classes:
        return {}
    found: dict[str, Any] = {"classes": list(target.ordered), "classType": target.type}
    if len(target.classes) == 2:
        threshold = thresholds.of(pipeline, target.ordered)
        if threshold and threshold.positive != target.classes[1]:
            raise Refusal(
                Reason.TRAINER_FAILED,
                f"the model's threshold is on the probability of {threshold.positive!r}, and the "
                f"positive class is {target.classes[1]!r}: set `data.positiveClass`",
            )
        found |= {
            "positiveClass": target.classes[1],
            "threshold": threshold.value if threshold else thresholds.PLAIN,
        }
    return found


def load(blob: bytes, document: Mapping[str, Any]) -> Any:
    """Load a model's file with our own list of trusted types.

    Raises:
        ValueError: the file is not the manifest's, of another scikit-learn, or holds other types.
    """
    if document["files"].get(document["modelFile"]) != sha256(blob):
        raise ValueError(f"{document['modelFile']} is not the file that the manifest names")
    theirs, ours = document["libraries"]["scikit-learn"], metadata.version("scikit-learn")
    if theirs.split(".")[:2] != ours.split(".")[:2]:
        raise ValueError(f"it was made with scikit-learn {theirs}, the trainer has {ours}")
    if found := untrusted(skops.io.get_untrusted_types(data=blob)):
        raise ValueError(f"it holds types that Linnet does not trust: {found}")
    return skops.io.loads(blob, trusted=sorted(TRUSTED_TYPES))


def require_trusted(pipeline: Any, *, field: str = "pipeline.estimator") -> None:
    """Refuse a model that no server would load; `field` of the spec asked for it."""
    found = untrusted(skops.io.get_untrusted_types(data=skops.io.dumps(pipeline)))
    if found:
        name = type(pipeline.steps[-1][1]).__name__
        raise Refusal(
            Reason.UNKNOWN_ESTIMATOR,
            f"`{field}`: a fitted {name} with these parameters holds "
            f"{', '.join(found)}, which Linnet does not load; choose another estimator",
        )


def sha256(blob: bytes) -> str:
    """Return `sha256:<hex>` of some bytes."""
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


@functools.cache
def libraries() -> dict[str, str]:
    """Return the versions that matter when the model is loaded."""
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in LIBRARIES},
    }


def digest(fitted: Any) -> str:
    """Return a digest over the parameters and fitted arrays of an estimator.

    It is the same for two fits of one recipe on one table, and for a model that was stored and
    loaded again.
    """
    state = hashlib.sha256()
    _walk(fitted, state, [])
    return f"sha256:{state.hexdigest()}"


def _save_pipeline(
    folder: Path,
    pipeline: Any,
    model: Model,
    *,
    signature: ModelSignature,
    example: pd.DataFrame,
    needed: Mapping[str, str],
) -> None:
    import mlflow.sklearn

    with warnings.catch_warnings():
        # What MLflow warns of at its first import is about models of other kinds.
        warnings.simplefilter("ignore")
        mlflow.sklearn.save_model(
            pipeline,
            str(folder),
            mlflow_model=model,
            serialization_format="skops",
            skops_trusted_types=sorted(TRUSTED_TYPES),
            signature=signature,
            input_example=example,
            pip_requirements=[
                *(f"{name}=={metadata.version(name)}" for name in _requirements()),
                *(f"{name}=={version}" for name, version in needed.items()),
            ],
        )


def _walk(value: Any, state: Any, above: list[int]) -> None:
    """Feed one value to the hash, with a type mark before and lengths where they vary."""
    if id(value) in above:
        _feed(state, "cycle", "")
        return
    above = [*above, id(value)]
    if isinstance(value, np.ndarray):
        _array(value, state, above)
    elif sparse.issparse(value):
        _feed(state, "sparse", str(value.shape))
        for part in (value.tocsr().data, value.tocsr().indices, value.tocsr().indptr):
            _walk(part, state, above)
    elif isinstance(value, np.generic):
        _walk(value.item() if value.dtype.kind != "V" else np.asarray(value), state, above)
    elif value is None or isinstance(value, bool | int | float | complex | str | bytes | bytearray):
        _feed(state, type(value).__name__, repr(value))
    elif isinstance(value, Mapping):
        _feed(state, "map", str(len(value)))
        for key in sorted(value, key=repr):
            _feed(state, "key", repr(key))
            _walk(value[key], state, above)
    elif isinstance(value, set | frozenset):
        _feed(state, "set", repr(sorted(map(repr, value))))
    elif isinstance(value, Sequence) and not isinstance(value, range):
        _feed(state, type(value).__name__, str(len(value)))
        for item in value:
            _walk(item, state, above)
    elif isinstance(value, type | types.FunctionType | types.BuiltinFunctionType | np.ufunc):
        module = getattr(value, "__module__", "")
        _feed(state, "name", f"{module}.{getattr(value, '__qualname__', value.__name__)}")
    elif isinstance(value, np.dtype):
        _feed(state, "dtype", str(value))
    elif isinstance(value, slice | range):
        _feed(state, "range", repr(value))
    elif isinstance(value, np.random.RandomState | np.random.Generator):
        # A generator's position says how it was used, not what was learned.
        _feed(state, "random", type(value).__name__)
    else:
        _object(value, state, above)


def _object(value: Any, state: Any, above: list[int]) -> None:
    kind = type(value)
    _feed(state, "object", f"{kind.__module__}.{kind.__qualname__}")
    if isinstance(value, BaseEstimator):
        inner: Any = vars(value)
    elif boosting.package_of(value):
        # Trees lie in memory of another language; the state is what they are stored as.
        inner = value.__getstate__()
    elif hasattr(value, "__dict__") and "__reduce__" not in vars(kind):
        inner = vars(value)
    else:
        # Objects of compiled modules, such as trees, say their state as pickle would ask for it.
        reduced = value.__reduce_ex__(2)
        inner = reduced if isinstance(reduced, str) else list(reduced[1:3])
    _walk(inner, state, above)


def _array(array: np.ndarray[Any, Any], state: Any, above: list[int]) -> None:
    if array.dtype.names:
        # Field by field: the padding between the fields of a tree's node is not defined.
        _feed(state, "record", str(array.shape))
        for name in array.dtype.names:
            _feed(state, "key", name)
            _array(np.ascontiguousarray(array[name]), state, above)
        return
    if array.dtype == object:
        _feed(state, "objects", str(array.shape))
        for item in array.ravel().tolist():
            _walk(item, state, above)
        return
    _feed(state, "array", f"{array.dtype.str}{array.shape}")
    state.update(np.ascontiguousarray(array).tobytes())


def _feed(state: Any, mark: str, text: str) -> None:
    state.update(f"{mark}:{len(text)}:{text};".encode())


def _signature(
    features: Sequence[Feature], nullable: Mapping[str, bool], target: Target | None
) -> ModelSignature:
    inputs = [
        ColSpec(feature.type, feature.name, required=not nullable[feature.name])
        for feature in features
    ]
    kind = "long" if target is None else target.type
    return ModelSignature(inputs=Schema(inputs), outputs=Schema([ColSpec(kind)]))


def _example(training: pd.DataFrame, features: Sequence[Feature]) -> pd.DataFrame:
    """A few complete rows: a missing value would make MLflow guess another type."""
    names = [feature.name for feature in features]
    complete = training[names].dropna()
    return (complete if len(complete) else training[names]).head(EXAMPLES).reset_index(drop=True)


def _samples(features: Sequence[Feature], samples: tuple[pd.DataFrame, Any], target: Target) -> str:
    """Rows and the answers that a server must give for them, `null` where a value is missing."""
    inputs, answers = samples
    columns = [
        inputs[feature.name].astype(object).where(inputs[feature.name].notna(), None).tolist()
        for feature in features
    ]
    document: dict[str, Any] = {
        "v": 1,
        "columns": [feature.name for feature in features],
        "rows": [list(row) for row in zip(*columns, strict=True)],
    }
    labels = np.asarray(answers.label).tolist()
    if target.classes:
        order = [target.classes.index(name) for name in target.ordered]
        shares = answers.predict_proba(np.arange(len(labels)))[:, order]
        document |= {
            "classes": list(target.ordered),
            "labels": [target.classes[code] for code in labels],
            "probabilities": shares.tolist(),
        }
    else:
        document["predictions"] = labels
    return json.dumps(document, ensure_ascii=False)


def _requirements() -> tuple[str, ...]:
    return ("mlflow-skinny", *LIBRARIES, "pyarrow")
