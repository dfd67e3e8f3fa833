"""Code of the user: what it may return, and what happens when it raises, hangs or tells secrets."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from linnet_trainer import contract, module
from linnet_trainer.contract import Exit, Outcome
from linnet_trainer.errors import Refusal

from trainer.world import World

GOOD = """
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline

def build():
    columns = make_column_transformer((SimpleImputer(), ["x", "wind"]))
    return make_pipeline(columns, RandomForestClassifier(n_estimators=10, max_depth=3))
"""
SPEC = module.Module(config_map="code", key="pipeline.py", entry="build")


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Streams and modules as they were: a pod has them to itself."""
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "hunter2!")
    module._load.cache_clear()
    yield
    sys.modules.pop("linnet_module", None)


def make(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **found: Any) -> Any:
    path = tmp_path / "module.py"
    path.write_text(code)
    monkeypatch.setenv(contract.ENV_MODULE, str(path))
    return module.make(SPEC, found, seed=7, method="predict_proba")


def test_an_estimator_is_fresh_seeded_and_takes_what_a_search_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = make(GOOD, tmp_path, monkeypatch, randomforestclassifier__max_depth=2)
    again = make(GOOD, tmp_path, monkeypatch)

    assert found is not again
    assert found.get_params()["randomforestclassifier__random_state"] == 7
    assert found.get_params()["randomforestclassifier__max_depth"] == 2
    assert again.get_params()["randomforestclassifier__max_depth"] == 3


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("def build(:\n", "raises SyntaxError in line 1"),
        ("import nothing_there\n", "raises ModuleNotFoundError in line 1: No module named"),
        ("def build():\n    raise KeyError('hunter2!')\n", "raises KeyError in line 2: '***'"),
        ("def build():\n    raise SystemExit(0)\n", "raises SystemExit in line 2: 0"),
        ("def other(): ...\n", "has no function 'build'; it has other"),
        ("def build(): return 7\n", "returns int, which has no 'fit'"),
        (
            "from sklearn.svm import LinearSVC\ndef build(): return LinearSVC()\n",
            "returns LinearSVC, which has no 'predict_proba'",
        ),
        (
            "from sklearn.linear_model import LogisticRegression as build_it\n"
            "def build(): return build_it\n",
            "returns the class LogisticRegression, not an object of it",
        ),
        (
            "import os\nprint(os.environ['MLFLOW_TRACKING_PASSWORD'])\n" + GOOD,
            "printed the value of MLFLOW_TRACKING_PASSWORD: take that out",
        ),
    ],
)
def test_what_a_module_does_wrong_is_told_with_its_line_and_without_secrets(
    code: str,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(Refusal) as caught:
        make(code, tmp_path, monkeypatch)

    assert told in caught.value.message
    assert caught.value.message.startswith("`module")
    written = capsys.readouterr()
    assert "hunter2!" not in caught.value.message + written.out + written.err


def test_a_module_that_hangs_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SECONDS", 0.2)
    with pytest.raises(Refusal, match=r"did not return within 0\.2 s: do the work in `fit`"):
        make("import time\ndef build(): time.sleep(5)\n", tmp_path, monkeypatch)


def test_a_config_map_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(contract.ENV_MODULE, str(tmp_path / "none.py"))
    with pytest.raises(Refusal, match=r"'pipeline\.py' of ConfigMap 'code' cannot be read"):
        module.source(SPEC)


def test_a_module_is_trained_judged_and_kept_with_the_run(
    world: World, flights: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = world.folder / "code.py"
    path.write_text(GOOD)
    monkeypatch.setenv(contract.ENV_MODULE, str(path))
    spec = {"pipeline": None, "module": {"configMapName": "code", "entry": "build"}}
    code, result = world.run(world.write(flights), spec)

    assert (code, result.outcome, result.version) == (Exit.RESULT, Outcome.PASSED, "1")
    run = world.client.get_run(result.run_id)
    assert run.data.params["module.entry"] == "build"
    assert run.data.tags[contract.TAG_MODULE] == module.digest(SPEC)
    stored = {each.path for each in world.client.list_artifacts(result.run_id, "code")}
    assert stored == {"code/pipeline.py"}
