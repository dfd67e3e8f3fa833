"""Loading, checking and calling a real scikit-learn model."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import skops.io
from linnet_server import model as models
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import FixedThresholdClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from server.conftest import NAMES, fitted, flights, rows_of, write_manifest, write_model_json

NUMBERS = [
    {"name": "a", "type": "double", "nullable": False},
    {"name": "b", "type": "double", "nullable": True},
]


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """Return a copy of what fetch leaves, which a test may break."""
    return Path(shutil.copytree(model_folder, tmp_path / "model"))


@pytest.fixture(scope="module")
def loaded(model_folder: Path) -> models.Model:
    return models.load(model_folder)


def dumped(folder: Path, estimator: Any, **manifest: Any) -> Path:
    """Leave `estimator` in `folder` as fetch leaves one that Linnet did not train."""
    folder.mkdir()
    skops.io.dump(estimator, folder / "model.skops")
    write_manifest(folder, **{"files": {}, **manifest})
    write_model_json(folder, provenance="Unverified")
    return folder


def draw(count: int = 200) -> tuple[Any, Any]:
    table = np.random.default_rng(1).normal(size=(count, 2))
    return table, table[:, 0] > 0


def test_the_model_answers_as_scikit_learn_does(loaded: models.Model) -> None:
    pipeline, _ = fitted()
    table = flights(50)
    answers = loaded.predict(rows_of(table[NAMES]))
    assert answers.labels == pipeline.predict(table).tolist()
    assert answers.probabilities == pipeline.predict_proba(table).tolist()
    assert {type(label) for label in answers.labels} == {bool}


def test_the_samples_are_reproduced(loaded: models.Model, model_folder: Path) -> None:
    assert models.check(loaded, model_folder) == 40
    assert models.warm(loaded, model_folder) == ""


def test_another_answer_than_the_samples_fails_the_check(
    loaded: models.Model, folder: Path
) -> None:
    path = folder / "linnet" / "samples.json"
    samples = json.loads(path.read_text())
    samples["probabilities"][3][1] += 1e-6
    path.write_text(json.dumps(samples))
    with pytest.raises(models.SelfCheckFailed, match=r"^sample row 3: the model gives probability"):
        models.check(loaded, folder)


def test_another_label_than_the_samples_fails_the_check(loaded: models.Model, folder: Path) -> None:
    path = folder / "linnet" / "samples.json"
    samples = json.loads(path.read_text())
    samples["labels"][5] = not samples["labels"][5]
    path.write_text(json.dumps(samples))
    with pytest.raises(models.SelfCheckFailed, match=r"^sample row 5: the model answers"):
        models.check(loaded, folder)


def test_a_model_of_ours_without_samples_fails_the_check(
    loaded: models.Model, folder: Path
) -> None:
    (folder / "linnet" / "samples.json").unlink()
    with pytest.raises(models.SelfCheckFailed, match=r"^the model has no linnet/samples\.json$"):
        models.check(loaded, folder)


def test_another_minor_version_of_scikit_learn_is_refused(folder: Path) -> None:
    write_manifest(folder, libraries={"scikit-learn": "1.8.3"})
    with pytest.raises(models.LoadFailed) as caught:
        models.load(folder)
    assert str(caught.value) == (
        "the model was fitted with scikit-learn 1.8.3; this server has 1.9.1, "
        "and the minor version must be the same"
    )


def test_another_patch_version_of_scikit_learn_is_loaded(folder: Path) -> None:
    write_manifest(folder, libraries={"scikit-learn": "1.9.0"})
    assert models.load(folder).task == "Classification"


def test_a_file_with_a_type_outside_our_list_is_refused(tmp_path: Path) -> None:
    estimator = FunctionTransformer(json.dumps).fit(np.zeros((2, 2)))
    folder = dumped(tmp_path / "model", estimator, columns=NUMBERS)
    with pytest.raises(models.LoadFailed) as caught:
        models.load(folder)
    assert str(caught.value) == (
        "the model file holds types that this server does not load: json.dumps"
    )


def test_a_broken_file_is_refused(folder: Path) -> None:
    (folder / "model.skops").write_bytes(b"PK nonsense")
    with pytest.raises(models.LoadFailed, match=r"^the model file cannot be loaded: "):
        models.load(folder)


def test_columns_that_the_model_was_not_fitted_on_are_refused(folder: Path) -> None:
    write_manifest(folder, columns=NUMBERS)
    with pytest.raises(
        models.LoadFailed, match=r"^the model was fitted with other columns than its manifest names"
    ):
        models.load(folder)


def test_classes_that_the_model_does_not_know_are_refused(folder: Path) -> None:
    write_manifest(folder, classes=["early", "late"])
    with pytest.raises(models.LoadFailed, match=r"^the model knows the classes \[False, True\]"):
        models.load(folder)


def test_a_boosted_model_is_on_our_list_and_takes_missing_values(tmp_path: Path) -> None:
    table, late = draw()
    estimator = HistGradientBoostingClassifier(max_iter=5).fit(table, late)
    model = models.load(dumped(tmp_path / "model", estimator, columns=NUMBERS))
    answers = model.predict([[1.0, None], [-1.0, 0.5]])
    expected = estimator.predict_proba(np.array([[1.0, np.nan], [-1.0, 0.5]]))
    assert answers.probabilities == expected.tolist()


def test_a_threshold_moves_the_label_and_not_the_probability(tmp_path: Path) -> None:
    table, late = draw()
    estimator = LogisticRegression().fit(table, late)
    model = models.load(dumped(tmp_path / "model", estimator, columns=NUMBERS, threshold=0.9))
    rows = table.tolist()
    answers = model.predict(rows)
    scores = estimator.predict_proba(table)[:, 1]
    assert answers.labels == (scores >= 0.9).tolist()
    assert answers.labels != estimator.predict(table).tolist()


@pytest.mark.parametrize("nested", [False, True])
def test_a_threshold_inside_a_model_of_another_trainer_decides(
    tmp_path: Path, nested: bool
) -> None:
    table, late = draw()
    estimator: Any = FixedThresholdClassifier(LogisticRegression(), threshold=0.9)
    if nested:
        estimator = Pipeline([("scaler", StandardScaler()), ("model", estimator)])
    estimator.fit(table, late)
    folder = dumped(tmp_path / "model", estimator, columns=NUMBERS, threshold=None)
    answers = models.load(folder).predict(table.tolist())
    scores = estimator.predict_proba(table)[:, 1]
    assert answers.labels == (scores >= 0.9).tolist()
    assert answers.labels != (scores >= 0.5).tolist()


def test_text_classes_come_back_as_text(tmp_path: Path) -> None:
    table, late = draw()
    estimator = LogisticRegression().fit(table, np.where(late, "late", "on time"))
    folder = dumped(
        tmp_path / "model",
        estimator,
        columns=NUMBERS,
        classes=["late", "on time"],
        positiveClass="late",
    )
    model = models.load(folder)
    assert model.positive == 0
    assert model.predict([[3.0, 0.0]]).labels == ["late"]


def test_a_warm_up_that_fails_is_reported_and_no_reason_to_stop(tmp_path: Path) -> None:
    table, late = draw()
    estimator = LogisticRegression().fit(table, late)
    folder = dumped(tmp_path / "model", estimator, columns=NUMBERS)
    # This model takes no missing value, whatever its manifest says.
    assert models.warm(models.load(folder), folder).startswith("ValueError: Input X contains NaN")


def test_an_adopted_model_has_no_samples_to_reproduce(tmp_path: Path) -> None:
    table, late = draw()
    folder = dumped(tmp_path / "model", LogisticRegression().fit(table, late), columns=NUMBERS)
    write_model_json(folder, provenance="Verified")
    assert models.check(models.load(folder), folder) == 0


def test_a_model_without_a_task_in_its_manifest_is_asked_what_it_is(tmp_path: Path) -> None:
    table, _ = draw()
    estimator = RandomForestRegressor(n_estimators=3).fit(table, table[:, 0])
    folder = dumped(tmp_path / "model", estimator, columns=NUMBERS, task=None, classes=None)
    model = models.load(folder)
    assert model.task == "Regression"
    assert models.check(model, folder) == 0
    answers = model.predict([[1.0, 0.0]])
    assert answers.labels == estimator.predict(np.array([[1.0, 0.0]])).tolist()
    assert answers.probabilities is None


def test_three_classes_are_answered_with_a_probability_of_each_as_their_samples_say(
    tmp_path: Path,
) -> None:
    table, _ = draw()
    how = np.select([table[:, 0] > 0.5, table[:, 1] > 0], ["late", "early"], "on time")
    estimator = LogisticRegression().fit(table, how)
    classes = ["early", "late", "on time"]
    folder = dumped(
        tmp_path / "model",
        estimator,
        columns=NUMBERS,
        classes=classes,
        positiveClass=None,
        threshold=None,
    )
    model = models.load(folder)
    (folder / "linnet").mkdir(exist_ok=True)
    samples = {
        "columns": ["a", "b"],
        "classes": classes,
        "rows": table[:9].tolist(),
        "labels": estimator.predict(table[:9]).tolist(),
        "probabilities": estimator.predict_proba(table[:9]).tolist(),
    }
    (folder / "linnet" / "samples.json").write_text(json.dumps(samples))

    assert (model.positive, model.classes) == (None, tuple(classes))
    assert models.check(model, folder) == 9
    assert {len(row) for row in model.predict(table[:9].tolist()).probabilities or ()} == {3}


def test_numbers_are_answered_as_their_samples_say(tmp_path: Path) -> None:
    table, _ = draw()
    estimator = RandomForestRegressor(n_estimators=3, random_state=0).fit(table, table[:, 0])
    folder = dumped(
        tmp_path / "model",
        estimator,
        columns=NUMBERS,
        task="Regression",
        classes=None,
        positiveClass=None,
        threshold=None,
    )
    model = models.load(folder)
    told = estimator.predict(table[:5]).tolist()
    samples = {"columns": ["a", "b"], "rows": table[:5].tolist(), "predictions": told}
    path = folder / "linnet" / "samples.json"
    path.write_text(json.dumps(samples))

    assert models.check(model, folder) == 5
    path.write_text(json.dumps(samples | {"predictions": [*told[:4], told[4] + 0.001]}))
    with pytest.raises(models.SelfCheckFailed, match=r"^sample row 4: the model answers "):
        models.check(model, folder)
