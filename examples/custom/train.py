"""A training program that keeps the contract of Linnet's trainer, in one file.

`docs/explanation/custom-trainer.md` is the contract; numbers in brackets are its sections. This
program knows `data.table` with a timestamp, two classes, `validation.holdout.fraction` and gates
with a `minimum`, and refuses what else a spec asks for: a gate that is left out would end the job.

    python train.py
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler

Gate = dict[str, Any]
Read = Callable[[dict[str, Any], str], pd.DataFrame]
"""From `spec.data` and the id of the run to rows in the order of their times."""
Fit = Callable[[pd.DataFrame, pd.Series, int], Pipeline]
TAG = "linnet.dev/{}".format
LEAST, GIVEN_AWAY = 10, 0.99


class Refusal(Exception):
    """Another try does not mend it: outcome `Error`, exit code 2."""


def main(*, read: Read, fit: Fit) -> int:
    """Train once; return the exit code [4]."""
    job = json.loads(Path(os.environ["LINNET_SPEC"]).read_text())
    client, run_id, kept = open_run(job)
    try:
        result = json.loads(kept) if kept else train(job, client, run_id, read=read, fit=fit)
    except Refusal as error:
        result = {"outcome": "Error", "reason": "InvalidData", "message": str(error)}
    except Exception:
        # The next pod of the Job goes on with this run.
        traceback.print_exc()
        client.set_terminated(run_id, "FAILED")
        return 1
    identity = {"v": 1, "specHash": job["specHash"], "jobUID": job["jobUID"], "runID": run_id}
    text = json.dumps(identity | result)
    client.set_tag(run_id, TAG("result"), text)
    failed = result["outcome"] == "Error"
    client.set_terminated(run_id, "FAILED" if failed else "FINISHED")
    Path(os.environ.get("LINNET_TERMINATION_LOG", "/dev/termination-log")).write_text(text)
    print(result["message"], flush=True)
    return 2 if failed else 0


def open_run(job: dict[str, Any]) -> tuple[MlflowClient, str, str]:
    """Find the job's run by its tags, or create it [2]; return a result that it has already."""
    spec, client = job["spec"], MlflowClient()
    tags = {
        TAG("namespace"): job["namespace"],
        TAG("name"): job["name"],
        TAG("job-uid"): job["jobUID"],
        TAG("spec-hash"): job["specHash"],
    }
    found = client.get_experiment_by_name(spec["experiment"])
    place = found.experiment_id if found else client.create_experiment(spec["experiment"])
    query = " and ".join(f"tags.`{key}` = '{value}'" for key, value in tags.items())
    runs = client.search_runs([place], query, max_results=1)
    if runs:
        client.update_run(runs[0].info.run_id, status="RUNNING")
        return client, runs[0].info.run_id, runs[0].data.tags.get(TAG("result"), "")
    tags |= {TAG("model"): spec["model"]["name"]}
    return client, client.create_run(place, run_name=job["name"], tags=tags).info.run_id, ""


def train(
    job: dict[str, Any], client: MlflowClient, run_id: str, *, read: Read, fit: Fit
) -> dict[str, Any]:
    """Train, judge and, where every gate passed, register; return the rest of the result [3]."""
    spec = job["spec"]
    refuse_unknown(spec)

    def progress(stage: str, percent: int) -> None:
        client.set_tag(run_id, TAG("progress"), json.dumps({"stage": stage, "percent": percent}))

    progress("Loading", 5)
    table = read(spec["data"], run_id)
    held = float(spec["validation"]["holdout"]["fraction"])
    cut = int(len(table) * (1 - held))
    inputs = table.drop(columns=[spec["data"]["target"], spec["data"]["timestamp"]])
    target = table[spec["data"]["target"]].astype(bool)
    training, holdout = slice(0, cut), slice(cut, None)
    progress("Fitting", 25)
    model = fit(inputs[training], target[training], spec["seed"])
    progress("Evaluating", 75)
    # A name such as `agreement/mean` is that of an evaluation, which `read` may have logged.
    logged_before = client.get_run(run_id).data.metrics
    evaluated = {name: value for name, value in logged_before.items() if "/" in name}
    scores = evaluated | score(spec, model, inputs[holdout], target[holdout])
    for name, value in scores.items():
        client.log_metric(run_id, name, value)
    with mlflow.start_run(run_id=run_id):
        logged = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(inputs[training], model.predict(inputs[training][:5])),
            serialization_format="skops",
            skops_trusted_types=["numpy.dtype"],
            pip_requirements=["scikit-learn", "pandas"],
        )
    gates = [
        *(
            minimum(gate, scores, 0 if gate["metric"] in evaluated else len(target[holdout]))
            for gate in spec["gates"]
        ),
        leakage(inputs[training], target[training]),
        imbalance(spec, target[training]),
        validation_set(target[holdout]),
        schema(spec["model"], logged.signature),
    ]
    if all(gate["passed"] for gate in gates):
        again = fit(inputs[training], target[training], spec["seed"])
        second = evaluated | score(spec, again, inputs[holdout], target[holdout])
        gates.append(reproducible(scores, second))
    refused = next((gate for gate in gates if not gate["passed"]), None)
    told = ", ".join(f"{name} {value:.3f}" for name, value in scores.items())
    result = {
        "outcome": "Refused" if refused else "Passed",
        "reason": "GateRefused" if refused else "Completed",
        "message": f"gate '{refused['name']}' refused: {refused['message']}" if refused else told,
        "modelID": logged.model_id,
        "metrics": [{"name": name, "value": f"{value:.4f}"} for name, value in scores.items()],
        "gates": gates,
        "rows": len(table),
    }
    if not refused:
        progress("Registering", 90)
        result["contentDigest"] = digest(logged.model_id)
        result["version"] = register(job, client, run_id, logged.model_id, result["contentDigest"])
    return result


def refuse_unknown(spec: dict[str, Any]) -> None:
    """Say what this program does not do, instead of leaving it out."""
    if spec["task"] != "Classification" or "timestamp" not in spec["data"]:
        raise Refusal("this program classifies rows that have a time: name `data.timestamp`")
    if "fraction" not in (spec["validation"].get("holdout") or {}):
        raise Refusal("this program holds out the last rows: name `validation.holdout.fraction`")
    for gate in spec["gates"]:
        if "minimum" not in gate:
            raise Refusal(f"gates '{gate['name']}': this program knows `minimum` alone")
    for field in ("search", "waivers"):
        if spec.get(field):
            raise Refusal(f"this program does not know `spec.{field}`: remove it")


def read(data: dict[str, Any], run_id: str) -> pd.DataFrame:
    """Read the rows whose answer is known."""
    return rows(data).dropna(subset=[data["target"]], ignore_index=True)


def rows(data: dict[str, Any]) -> pd.DataFrame:
    """Read the table in the order of its times: numbers as float64, texts as str or None."""
    options: dict[str, Any] = {}
    if data["table"]["uri"].startswith("s3://") and "AWS_ENDPOINT_URL" in os.environ:
        options["endpoint_url"] = os.environ["AWS_ENDPOINT_URL"]
    files = fsspec.open_files(data["table"]["uri"], "rb", **options)
    if not files:
        raise Refusal(f"`data.table.uri`: no file matches {data['table']['uri']}")
    parts = []
    for each in files:
        with each as file:
            parts.append(pd.read_parquet(file))
    table = pd.concat(parts, ignore_index=True)
    for field in ("target", "timestamp"):
        if data[field] not in table:
            raise Refusal(f"`data.{field}` names '{data[field]}', which is no column of the table")
    time = pd.to_datetime(table[data["timestamp"]], utc=True)
    window = data.get("window") or {}
    start = pd.Timestamp(window["from"]) if "from" in window else time.min()
    until = pd.Timestamp(window["until"]) if "until" in window else None
    within = (time >= start) & ((time < until) if until is not None else True)
    table = table[within].sort_values(data["timestamp"], kind="stable", ignore_index=True)
    for name in table.columns.drop([data["target"], data["timestamp"]]):
        number = pd.api.types.is_numeric_dtype(table[name])
        table[name] = table[name].astype("float64" if number else object)
    return table


def fit(inputs: pd.DataFrame, target: pd.Series, seed: int) -> Pipeline:
    """Fit what `spec.pipeline` cannot say: products of the numbers beside the numbers."""
    numbers = make_pipeline(
        SimpleImputer(strategy="median"),
        StandardScaler(),
        PolynomialFeatures(2, include_bias=False),
    )
    texts = make_pipeline(
        SimpleImputer(strategy="constant", fill_value="missing", missing_values=None),
        OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=20, sparse_output=False),
    )
    is_number = [pd.api.types.is_numeric_dtype(inputs[name]) for name in inputs]
    columns = make_column_transformer(
        (numbers, list(inputs.columns[is_number])),
        (texts, list(inputs.columns[np.logical_not(is_number)])),
    )
    model = make_pipeline(columns, LogisticRegression(max_iter=500, random_state=seed))
    return model.fit(inputs, target)


def score(
    spec: dict[str, Any], model: Pipeline, inputs: pd.DataFrame, target: pd.Series
) -> dict[str, float]:
    """Return the gates' metrics on rows that the model has not seen, by scikit-learn's names."""
    names = dict.fromkeys(gate["metric"] for gate in spec["gates"] if "/" not in gate["metric"])
    return {name: float(get_scorer(name)(model, inputs, target)) for name in names}


def answer(name: str, passed: bool, message: str, **more: Any) -> Gate:
    """Return the answer to a standing check."""
    reason = "CheckPassed" if passed else "CheckFailed"
    return {"name": name, "passed": bool(passed), "reason": reason, "message": message, **more}


def minimum(gate: dict[str, Any], scores: dict[str, float], rows: int) -> Gate:
    """Judge a gate of the spec. What counts is the figure that is told, so it is not rounded up."""
    if gate["metric"] not in scores:
        raise Refusal(f"gates '{gate['name']}': nothing has measured '{gate['metric']}'")
    value = float(np.floor(scores[gate["metric"]] * 1e4) / 1e4)
    passed = value >= float(gate["minimum"])
    return {
        "name": gate["name"],
        "passed": passed,
        "reason": "AtLeastMinimum" if passed else "BelowThreshold",
        "value": f"{value:.4f}",
        "bound": gate["minimum"],
        "n": rows,
        "message": f"{gate['metric']} {value:.4f}, minimum {gate['minimum']}",
    }


def leakage(inputs: pd.DataFrame, target: pd.Series) -> Gate:
    """Look for a column that alone tells the target, on rows that its means were not made of."""
    half = len(inputs) // 2
    alone: dict[str, float] = {}
    for name in inputs:
        values = inputs[name]
        if not pd.api.types.is_numeric_dtype(values):
            means = target[:half].groupby(values[:half].to_numpy()).mean()
            values = values.map(means)
        later = values[half:].fillna(values[half:].median()).fillna(0.0)
        area = roc_auc_score(target[half:], later)
        alone[str(name)] = max(area, 1 - area)
    most = max(alone, key=lambda name: alone[name])
    told = f"most of all columns '{most}' tells the target alone: AUC {alone[most]:.3f}"
    return answer("Leakage", alone[most] < GIVEN_AWAY, told, value=f"{alone[most]:.4f}")


def imbalance(spec: dict[str, Any], target: pd.Series) -> Gate:
    """A rare class needs a gate that a model which always says the other does not pass."""
    share = float(min(target.mean(), 1 - target.mean()))
    fair = {"roc_auc": 0.5, "balanced_accuracy": 0.5}
    refuses = any(
        gate["metric"] in fair and float(gate["minimum"]) > fair[gate["metric"]]
        for gate in spec["gates"]
    )
    told = f"{share:.1%} of the training rows are of the rarer class"
    return answer("Imbalance", share >= 0.2 or refuses, told, value=f"{share:.4f}")


def validation_set(target: pd.Series) -> Gate:
    """The holdout must have rows of both classes."""
    fewest = int(min(target.sum(), (~target).sum()))
    told = f"the last {len(target)} rows are held out, at least {fewest} of each class"
    return answer("ValidationSet", fewest >= LEAST, told, value=str(fewest), bound=str(LEAST))


def schema(model: dict[str, Any], signature: Any) -> Gate:
    """Who sends what the champion takes must not be refused."""
    try:
        champion = mlflow.models.get_model_info(f"models:/{model['name']}@{model['championAlias']}")
    except mlflow.exceptions.MlflowException:
        return answer("Schema", True, "no champion whose columns these could be compared with")
    known = {column.name for column in champion.signature.inputs}
    wider = [each.name for each in signature.inputs if each.required and each.name not in known]
    told = f"new columns that must be sent: {', '.join(wider) or 'none'}"
    return answer("Schema", not wider, told)


def reproducible(first: dict[str, float], second: dict[str, float]) -> Gate:
    """A second fit gives the same figures."""
    apart = max(abs(first[name] - second[name]) for name in first)
    return answer("Reproducible", apart <= 1e-9, f"two fits differ by {apart:g}")


def digest(model_id: str) -> str:
    """Return what a server compares the files with that it fetches [5]."""
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{model_id}"))
    lines = [
        f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n"
        for name in ("MLmodel", "model.skops")
    ]
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def register(
    job: dict[str, Any], client: MlflowClient, run_id: str, model_id: str, content: str
) -> str:
    """Create the job's version, once: a pod before this one may have [5]. The alias is Linnet's."""
    name, uid = job["spec"]["model"]["name"], job["jobUID"]
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    mine = client.search_model_versions(f"name = '{name}' and tags.`{TAG('job-uid')}` = '{uid}'")
    if mine:
        return str(min(int(version.version) for version in mine))
    made = client.create_model_version(
        name,
        source=f"models:/{model_id}",
        run_id=run_id,
        model_id=model_id,
        tags={TAG("job-uid"): uid, TAG("content-digest"): content},
    )
    return str(made.version)


if __name__ == "__main__":
    sys.exit(main(read=read, fit=fit))
