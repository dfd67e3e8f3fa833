"""Columns of free text: words by TF-IDF, with their names, sparse where the estimator takes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from linnet_server import model as served
from linnet_trainer import fit, manifest, train
from linnet_trainer.errors import Refusal
from scipy import sparse

from trainer.preparing import prepare
from trainer.world import World, merge


@pytest.fixture(scope="module")
def noted(flights: pd.DataFrame) -> pd.DataFrame:
    """Flights with a remark that tells most of their answers, and is missing in some rows."""
    random = np.random.default_rng(3)
    count = len(flights)
    told = flights["late"] ^ (random.random(count) < 0.2)
    names = [f"{'waiting' if late else 'boarding'} at gate {at}" for at, late in enumerate(told)]
    notes = np.where(random.random(count) < 0.1, None, np.array(names, dtype=object))
    return flights.assign(note=notes, a__b="same words " + flights["plane"])


TEXT: dict[str, Any] = {
    "pipeline": {
        "columns": {"numeric": ["x"], "categorical": ["carrier"], "text": ["note", "a__b"]}
    }
}


@pytest.mark.parametrize("estimator", ["LogisticRegression", "HistGradientBoostingClassifier"])
def test_words_are_features_by_name_and_sparse_where_the_estimator_takes_it(
    world: World, noted: pd.DataFrame, estimator: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "WORDS", 50)
    recipe, ready = prepare(world, noted, TEXT, {"pipeline": {"estimator": {"class": estimator}}})
    pipeline = fit.make_pipeline(recipe.steps, ready.inputs.features, seed=0)
    model, _ = train._fit_on(ready.held.training, pipeline, recipe.steps, ready)

    names = list(model[:-1].get_feature_names_out())
    assert {"numeric__x", "categorical__carrier_AA", "text__note__waiting"} <= set(names)
    assert "text__column1__words" in names, "a name with '__' would be no name of a step"
    shown = model[:-1].transform(ready.table.head(3))
    if estimator == "LogisticRegression":
        assert sparse.issparse(shown)
    else:
        assert list(shown.columns) == names
    manifest.require_trusted(model)
    assert sum(name.startswith("text__note__") for name in names) == 50


def test_a_text_is_trained_on_served_and_may_be_missing(world: World, noted: pd.DataFrame) -> None:
    only = {"pipeline": {"columns": {"text": ["note"]}}}
    _, result = world.run(world.write(noted), merge(TEXT, only))

    assert result.version == "1", result.message
    assert float(result.metrics[0].value) > 0.7
    uri = world.client.get_model_version_download_uri("delays", result.version)
    folder = Path(uri.removeprefix("file://"))
    columns = json.loads((folder / manifest.MANIFEST).read_text())["columns"]
    assert columns[-1] == {"name": "note", "type": "string", "nullable": True, "source": "string"}
    profile = json.loads((folder / "linnet/profile.json").read_text())
    assert [each["name"] for each in profile["columns"]] == ["x", "carrier"]
    (folder / "model.json").write_text(json.dumps({"format": "Skops", "provenance": "Verified"}))
    model = served.load(folder)
    assert served.check(model, folder) > 200
    known, missing = model.predict([[0.0, "AA", "waiting"], [0.0, "AA", None]]).probabilities
    assert known[1] > missing[1] + 0.1


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"text": ["x"]}, "`pipeline.columns.text` names 'x', whose type is double: only texts"),
        ({"text": ["nought"]}, "`pipeline.columns.text` names 'nought', which is no column of"),
        (
            {"categorical": ["note"], "text": ["note"]},
            "`pipeline.columns` names 'note' more than once: a column is of one kind",
        ),
        ({"text": ["blank"]}, "check `pipeline.columns.text`: empty vocabulary"),
    ],
)
def test_a_text_that_is_none_is_refused_by_name(
    world: World, noted: pd.DataFrame, columns: Any, told: str
) -> None:
    given = {"pipeline": {"columns": {"numeric": [], "categorical": [], **columns}}}

    def fitted() -> None:
        recipe, ready = prepare(world, noted.assign(blank="a b"), TEXT, given)
        pipeline = fit.make_pipeline(recipe.steps, ready.inputs.features, seed=0)
        train._fit_on(ready.held.training, pipeline, recipe.steps, ready)

    with pytest.raises(Refusal) as caught:
        fitted()

    assert told in caught.value.message
