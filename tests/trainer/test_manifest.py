"""The content digest and the list of trusted types."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import skops.io
from linnet_server.trust import TRUSTED_TYPES
from linnet_trainer import manifest
from linnet_trainer.errors import Refusal
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedShuffleSplit
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

MODELS = [
    LogisticRegression(),
    RandomForestClassifier(n_estimators=3, random_state=0),
    HistGradientBoostingClassifier(max_iter=5, random_state=0),
    KNeighborsClassifier(),
    MLPClassifier(hidden_layer_sizes=(3,), max_iter=20, random_state=0, tol=10),
]


def fitted(model: Any, *, shift: float = 0.0) -> Any:
    random = np.random.default_rng(0)
    table = random.normal(size=(80, 3))
    table[0, 0] += shift
    pipeline = make_pipeline(StandardScaler(), model)
    return pipeline.fit(table, table[:, 0] + random.normal(size=80) > 0)


def test_what_the_server_loads_is_no_reason_to_refuse() -> None:
    half = StratifiedShuffleSplit(n_splits=1, test_size=0.5, random_state=0)
    manifest.require_trusted(fitted(CalibratedClassifierCV(LogisticRegression(), cv=half)))


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_a_digest_is_of_what_was_learned_not_of_a_files_bytes(model: Any) -> None:
    once = fitted(model)
    digest = manifest.digest(once)
    blob = skops.io.dumps(once)
    again = fitted(model)
    loaded = skops.io.loads(blob, trusted=sorted(TRUSTED_TYPES))

    assert manifest.digest(again) == digest
    assert manifest.digest(loaded) == digest
    assert manifest.digest(fitted(model, shift=0.1)) != digest
    assert digest.startswith("sha256:")
    assert len(digest) == 71


def test_a_parameter_changes_the_digest() -> None:
    one, other = LogisticRegression(C=1.0), LogisticRegression(C=2.0)

    assert manifest.digest(one) != manifest.digest(other)


def test_a_model_that_holds_other_types_is_refused_by_name() -> None:
    pipeline = make_pipeline(FunctionTransformer(np.linalg.norm), LogisticRegression())

    with pytest.raises(Refusal, match=r"LogisticRegression .* holds numpy\.linalg.*norm"):
        manifest.require_trusted(pipeline)


def document(blob: bytes, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "modelFile": "model.skops",
        "files": {"model.skops": manifest.sha256(blob)},
        "libraries": manifest.libraries(),
    }
    return json.loads(json.dumps({**given, **changes}))


def test_a_model_is_loaded_only_as_its_manifest_says() -> None:
    model = fitted(LogisticRegression())
    blob = skops.io.dumps(model)

    loaded = manifest.load(blob, document(blob))
    assert (loaded.predict(np.eye(3)) == model.predict(np.eye(3))).all()
    with pytest.raises(ValueError, match=r"model\.skops is not the file that the manifest names"):
        manifest.load(blob + b" ", document(blob))
    with pytest.raises(ValueError, match=r"made with scikit-learn 1\.1\.0"):
        manifest.load(blob, document(blob, libraries={"scikit-learn": "1.1.0"}))
    foreign = skops.io.dumps(FunctionTransformer(np.linalg.norm))
    with pytest.raises(ValueError, match="types that Linnet does not trust"):
        manifest.load(foreign, document(foreign))
