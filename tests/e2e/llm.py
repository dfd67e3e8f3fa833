"""Jobs that ask a language model: what they asked is in MLflow, and linked in status.

Not among the files that pytest finds by itself: `dev/test.sh llm` runs it, for `make test` has no
time left. The language model is a pod with `tests/chat_server.py`.
"""

from __future__ import annotations

import yaml

from .world import EXAMPLES, ROOT, Manifest, Place, World, says

EXAMPLE = EXAMPLES / "custom"
SERVER = ROOT / "tests" / "chat_server.py"
KEY = "sk-hunter2!"
SMALL = {
    "resources": {
        "requests": {"cpu": "100m", "memory": "256Mi"},
        "limits": {"cpu": "1", "memory": "1Gi"},
    }
}
MODULE = """
import json, os, urllib.request
import mlflow
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

@mlflow.trace(span_type="CHAT_MODEL")
def ask(text, key):
    request = urllib.request.Request(
        os.environ["OPENAI_BASE_URL"] + "/chat/completions",
        json.dumps({"model": "small", "messages": [{"role": "user", "content": text}]}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["choices"][0]["message"]["content"]

def build():
    assert ask("is x1 lost?", os.environ["OPENAI_API_KEY"]) == "yes"
    return make_pipeline(
        make_column_transformer((StandardScaler(), ["x1", "x2"])), LogisticRegression()
    )
"""


def _language_model(place: Place) -> list[Manifest]:
    """Start the language model; return the variables by which pods find it."""
    code = SERVER.read_text(encoding="utf-8")
    probe = {"tcpSocket": {"port": 8000}, "periodSeconds": 1}
    place.pod("language-model", {"args": ["-c", code, "8000", KEY], "readinessProbe": probe})
    meta = {"name": "language-model", "namespace": place.namespace}
    place.service("language-model", 80, target=8000)
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "stringData": {"key": KEY}}
    place.apply(secret)
    place.until(
        "Pod",
        "language-model",
        "the language model answers",
        lambda pod: any(
            each["type"] == "Ready" and each["status"] == "True"
            for each in pod["status"].get("conditions", ())
        ),
    )
    env: list[Manifest] = yaml.safe_load((EXAMPLE / "label.yaml").read_text())["spec"]["template"][
        "env"
    ]
    return env


def _traces(place: Place, run: Manifest) -> list[str]:
    """The traces of a run with all their spans, each as JSON."""
    found: list[str] = place.world.beside_mlflow("spans.py", run["experimentID"], run["id"])
    return found


def test_a_program_labels_with_a_language_model_and_its_small_model_serves(world: World) -> None:
    place = world.place("llm")
    _language_model(place)
    files = {
        name: (EXAMPLE / name).read_text(encoding="utf-8") for name in ("train.py", "label.py")
    }
    place.config_map("delays-program", files)
    table = {"uri": world.table("remarks.parquet")}
    place.apply_example("custom/label.yaml", data={"table": table}, template=SMALL)
    done = place.is_complete("remarks-labelled", seconds=480)

    status = done["status"]
    assert says(done, "Registered", "True", "VersionCreated"), place.explain()
    gates = {gate["name"]: gate for gate in status["gates"]}
    assert gates["labels-agree"]["value"] == "0.9166", gates
    llm = status["llm"]
    assert (llm["traces"]["count"], llm["traces"]["outputTokens"]) == (120, 120), llm
    assert llm["traces"]["url"].endswith(f"/runs/{status['run']['id']}/traces")
    assert [prompt["name"] for prompt in llm["prompts"]] == ["remark-is-a-complaint"]
    assert llm["evaluation"]["url"].endswith(f"selectedRunUuid={status['run']['id']}")
    found = _traces(place, status["run"])
    assert len(found) == 120
    assert KEY not in "".join(found)

    # What serves asks no language model.
    place.api.delete("Pod", place.namespace, "language-model")
    place.apply(place.model_deployment())
    place.is_champion(status["version"], seconds=180)


def test_what_a_module_asks_is_in_its_run(world: World) -> None:
    place = world.place("llm-module")
    env = _language_model(place)
    place.config_map("code", {"pipeline.py": MODULE})
    module = {"configMapName": "code", "entry": "build"}
    place.train("asks", pipeline=None, module=module, template={"env": env})
    done = place.is_complete("asks", seconds=300)

    traces = done["status"]["llm"]["traces"]
    assert (traces["count"], traces.get("failed", 0)) == (1, 0)
    found = "".join(_traces(place, done["status"]["run"]))
    assert "is x1 lost?" in found
    assert KEY not in found
