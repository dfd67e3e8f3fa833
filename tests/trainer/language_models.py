"""Code that asks a language model: traces, prompts and evaluations stand in the run, no secret.

Not among the files that pytest finds by itself: an evaluation takes minutes on two busy cores.
`dev/test.sh llm` runs it.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace

import chat_server
import mlflow
import pytest
from e2e import tables
from linnet.adapters.mlflow import MLflowRegistry
from linnet.core.registry import Traces
from linnet.core.training import links
from linnet_trainer import contract, module, tracing
from linnet_trainer.contract import Exit, Outcome
from linnet_trainer.errors import Unavailable
from mlflow.entities import Trace

from trainer import programs
from trainer.world import World, make_table

KEY = "sk-hunter2!"
# What MLflow and clients warn of in code of the user's is not ours to mend.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def asking(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A registry in a database, which counts traces, and a language model."""
    uri = f"sqlite:///{world.folder}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    monkeypatch.setenv("MLFLOW_REGISTRY_URI", uri)
    # A SQLite file, unlike a server, loses what many threads write at once.
    monkeypatch.setenv("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    monkeypatch.setenv("MLFLOW_GENAI_EVAL_MAX_WORKERS", "1")
    # Where MLflow puts artifacts by itself.
    monkeypatch.chdir(world.folder)
    server = chat_server.serve(0, KEY)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_MODEL", "small")
    # A pod has streams and modules to itself.
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    module._load.cache_clear()
    yield World(folder=world.folder, uri=uri)
    server.shutdown()
    server.server_close()
    mlflow.tracing.reset()
    sys.modules.pop("linnet_module", None)


def traces(world: World, run_id: str) -> list[Trace]:
    experiment = world.client.get_run(run_id).info.experiment_id
    return list(world.client.search_traces(locations=[experiment], run_id=run_id))


def assert_without_secrets(found: list[Trace]) -> None:
    for trace in found:
        assert KEY not in trace.to_json()
        assert KEY not in str(trace.info.to_dict())


MODULE = f"""
import mlflow, openai, os
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

@mlflow.trace
def tell(key):
    raise RuntimeError(f"no answer with {{key}}")

def build():
    prompt = mlflow.genai.register_prompt("columns", "Which columns? {{{{names}}}}")
    prompt = mlflow.genai.load_prompt("columns", version=prompt.version)
    said = openai.OpenAI().chat.completions.create(
        model="small",
        messages=[
            {{"role": "user", "content": prompt.format(names="x, wind")}},
            {{"role": "user", "content": f"my key is {{os.environ['OPENAI_API_KEY']}}"}},
        ],
    )
    assert said.choices[0].message.content == "no"
    try:
        tell("{KEY}")
    except RuntimeError:
        pass
    columns = make_column_transformer((SimpleImputer(), ["x", "wind"]))
    return make_pipeline(columns, LogisticRegression())
"""


def test_what_a_module_asks_is_in_the_run_and_secrets_are_not(
    asking: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = asking.folder / "code.py"
    path.write_text(MODULE)
    monkeypatch.setenv(contract.ENV_MODULE, str(path))
    spec = {"pipeline": None, "module": {"configMapName": "code", "entry": "build"}}
    code, result = asking.run(asking.write(make_table()), spec)

    assert (code, result.outcome) == (Exit.RESULT, Outcome.PASSED), result.message
    found = traces(asking, result.run_id)
    assert sorted(trace.info.state.value for trace in found) == ["ERROR", "OK"]
    assert "***" in "".join(trace.to_json() for trace in found)
    assert_without_secrets(found)
    run = asking.client.get_run(result.run_id)
    assert run.info.status == "FINISHED"

    registry = MLflowRegistry(tracking_uri=asking.uri, registry_uri=asking.uri)
    seen = asyncio.run(registry.run("team", "job-1", result.spec_hash))
    assert seen is not None
    counted = asyncio.run(registry.traces(seen))
    registry.close()
    assert counted == Traces(count=2, failed=1, input_tokens=8, output_tokens=1)
    llm = links.language_models(replace(seen, traces=counted), "http://m")
    assert llm is not None
    assert llm.prompts is not None
    assert [(prompt.name, prompt.version) for prompt in llm.prompts] == [("columns", "1")]
    assert llm.evaluation is None


def test_a_registry_that_is_away_is_told_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Unavailable, match="resume the run"), tracing.tracked("0" * 32):
        pytest.fail("nothing runs whose traces would be lost")


def test_the_example_labels_with_a_language_model_and_is_judged_by_its_evaluation(
    asking: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    remarks = tables.remarks()
    seen = programs.observation("label", asking.write(remarks))

    assert programs.run("label", seen, asking, monkeypatch) == Exit.RESULT
    status = programs.judged(seen, asking)
    assert status.result is not None
    assert status.result.reason == "Completed", status.result.message
    agreed = {gate.name: gate.value for gate in status.result.gates or ()}["labels-agree"]
    assert agreed == "0.9166"
    assert status.llm is not None
    assert status.llm.traces is not None
    # One for each remark: those of people are asked for the evaluation.
    assert (status.llm.traces.count, status.llm.traces.failed) == (len(remarks), 0)
    assert status.llm.traces.output_tokens == len(remarks)
    assert [prompt.version for prompt in status.llm.prompts or ()] == ["1"]
    assert status.llm.evaluation is not None
    assert status.run is not None
    assert_without_secrets(traces(asking, status.run.id))


def test_a_language_model_that_refuses_the_key_leaves_a_failed_trace_without_it(
    asking: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}-of-yesterday")
    seen = programs.observation("label", asking.write(tables.remarks()))

    assert programs.run("label", seen, asking, monkeypatch) == 1
    (run,) = asking.client.search_runs(
        [asking.client.get_experiment_by_name("team/remarks").experiment_id]
    )
    assert run.info.status == "FAILED"
    found = traces(asking, run.info.run_id)
    assert found
    assert_without_secrets(found)
