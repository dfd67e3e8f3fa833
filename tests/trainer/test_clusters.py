"""Clusters: their own validity, what stays of them, and why no server gets them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from linnet_server import manifests
from linnet_trainer import clusters, contract
from linnet_trainer.contract import Exit, GateReason, Outcome
from linnet_trainer.errors import Refusal
from sklearn.cluster import HDBSCAN
from sklearn.datasets import load_wine

from trainer.test_recipe import parse
from trainer.world import World, merge

SPEC: dict[str, Any] = {
    "task": "Clustering",
    "data": {"target": None, "timestamp": None},
    "pipeline": {"estimator": {"class": "HDBSCAN", "parameters": {"min_cluster_size": 15}}},
    "gates": [{"name": "valid", "metric": "relative_validity", "minimum": "0.2"}],
}


def blobs(count: int = 300, *, apart: float = 20.0, seed: int = 0) -> pd.DataFrame:
    """Three round heaps of points, and a text that says nothing."""
    random = np.random.default_rng(seed)
    heap = np.arange(count) % 3
    centres = np.array([[0.0, 0.0], [apart, 0.0], [0.0, apart]])[heap]
    points = centres + random.normal(size=(count, 2))
    return pd.DataFrame(
        {"x": points[:, 0], "y": points[:, 1], "id": [f"r{n}" for n in range(count)]}
    )


def fitted(points: Any, **parameters: Any) -> HDBSCAN:
    return HDBSCAN(min_cluster_size=15, copy=True, **parameters).fit(points)


def validity(model: HDBSCAN) -> float:
    return clusters.relative_validity(model._single_linkage_tree_, model.labels_)


def test_validity_falls_as_clusters_come_nearer_and_is_none_of_one_cluster() -> None:
    found = [
        validity(fitted(blobs(apart=apart)[["x", "y"]].to_numpy())) for apart in (20.0, 9.0, 6.0)
    ]
    assert found == sorted(found, reverse=True)
    assert 0.8 < found[0] <= 1
    noise = np.random.default_rng(0).uniform(size=(200, 2))
    assert np.isnan(validity(fitted(noise, allow_single_cluster=True)))


def test_validity_is_that_of_edges_between_and_inside_clusters_without_noise() -> None:
    """Where no row is noise, the tree is the minimum spanning tree of the definition."""
    points = np.concatenate([np.arange(20.0), 100 + 2 * np.arange(20.0)])[:, None]
    model = HDBSCAN(min_cluster_size=5, min_samples=1, copy=True).fit(points)
    assert np.unique(model.labels_).tolist() == [0, 1]
    whole, between = {1.0, 2.0}, 81.0

    assert validity(model) == pytest.approx(
        sum(0.5 * (between - inside) / between for inside in whole)
    )


def test_clusters_are_measured_kept_and_registered_as_not_servable(world: World) -> None:
    uri = world.write(blobs())
    spec = merge(SPEC, {"data": {"rowId": "id"}})
    code, result = world.run(uri, spec)

    assert (code, result.outcome, result.version) == (Exit.RESULT, Outcome.PASSED, "1")
    assert {metric.name for metric in result.metrics} == set(clusters.METRICS)
    values = {metric.name: float(metric.value) for metric in result.metrics}
    assert values["clusters"] == 3
    assert values["stability"] > 0.8
    assert [gate.name for gate in result.gates] == ["valid", "Reproducible"]
    version = world.client.get_model_version("delays", "1")
    assert version.tags[contract.TAG_NOT_SERVABLE] == clusters.NOT_SERVABLE

    labels = pd.read_parquet(
        world.client.download_artifacts(result.run_id, "clusters/rows.parquet")
    )
    assert list(labels["id"]) == [f"r{number}" for number in range(300)]
    heaps = labels.groupby(np.arange(300) % 3)["linnet_cluster"].agg(lambda each: each.mode()[0])
    assert set(heaps) == {0, 1, 2}
    run = world.client.get_run(result.run_id)
    assert len(world.client.get_metric_history(result.run_id, "fold_stability")) == 2
    assert "validation.holdout.by" not in run.data.params
    card = Path(world.client.download_artifacts(result.run_id, "model-card.md")).read_text()
    assert "| Holdout | no: nothing is predicted |" in card
    assert "3 clusters, " in card


def test_a_server_refuses_the_files_of_clusters(world: World) -> None:
    _, result = world.run(world.write(blobs().drop(columns="id")), SPEC)
    uri = world.client.get_model_version_download_uri("delays", result.version)
    text = (Path(uri.removeprefix("file://")) / "linnet" / "manifest.json").read_bytes()

    assert json.loads(text)["task"] == "Clustering"
    with pytest.raises(manifests.InvalidManifest, match="there is no `predict`"):
        manifests.parse(text)


def test_two_jobs_on_the_same_rows_find_the_same_clusters(world: World) -> None:
    uri = world.write(load_wine(as_frame=True).data)
    changes = merge(SPEC, {"gates": [{"name": "some", "metric": "clusters", "minimum": "2"}]})
    _, first = world.run(uri, changes, job="first")
    _, second = world.run(uri, changes, job="second")

    assert first.content_digest == second.content_digest
    assert first.metrics == second.metrics
    assert [first.version, second.version] == ["1", "2"]


def test_rows_that_are_in_no_cluster_are_not_stable(world: World) -> None:
    random = np.random.default_rng(1)
    uri = world.write(pd.DataFrame(random.uniform(size=(60, 4)), columns=list("abcd")))
    gates = [{"name": "stable", "metric": "stability", "minimum": "0.5"}]
    _, result = world.run(uri, merge(SPEC, {"gates": gates}))

    assert result.gates[0].reason is GateReason.CHECK_FAILED
    assert result.gates[0].message == (
        "stability is not defined for 0 clusters: lower `min_cluster_size` in "
        "`pipeline.estimator.parameters`"
    )


def test_gates_refuse_what_holds_no_clusters(world: World) -> None:
    random = np.random.default_rng(1)
    uri = world.write(pd.DataFrame(random.uniform(size=(200, 4)), columns=list("abcd")))
    gates = [
        {"name": "valid", "metric": "relative_validity", "minimum": "0.2"},
        {"name": "most", "metric": "clustered_share", "minimum": "0.9"},
        {"name": "small", "size": {"maximum": "10Mi"}},
    ]
    _, result = world.run(uri, {**SPEC, "gates": gates})

    assert (result.outcome, result.version) == (Outcome.REFUSED, "")
    reasons = [gate.reason for gate in result.gates]
    assert reasons[1:] == [GateReason.BELOW_THRESHOLD, GateReason.WITHIN_LIMIT]
    assert not result.gates[0].passed


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a target": (
        {"data": {"target": "late"}},
        "`task: Clustering` predicts nothing and has no use for data.target: remove it",
    ),
    "a holdout and weights": (
        {"data": {"weight": "w"}, "validation": {"holdout": {"fraction": "0.2"}}},
        "has no use for data.weight, validation.holdout: remove it",
    ),
    "a gate on answers": (
        {"gates": [{"name": "fast", "latency": {"maximum": "1ms"}}]},
        "gates 'fast': with `task: Clustering` a gate has `minimum`, `size` or `documented`",
    ),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_what_needs_a_prediction_is_refused(case: tuple[dict[str, Any], str]) -> None:
    changes, told = case
    with pytest.raises(Refusal) as caught:
        parse(merge(SPEC, changes))

    assert told in caught.value.message


def test_another_estimator_and_another_metric_are_named(world: World) -> None:
    uri = world.write(blobs())
    other = {"pipeline": {"estimator": {"class": "KMeans", "parameters": None}}}
    _, result = world.run(uri, merge(SPEC, other), job="estimator")
    assert result.message == (
        "`pipeline.estimator.class`: Linnet has no clustering 'KMeans'. Try HDBSCAN"
    )
    gates = [{"name": "g", "metric": "stabilty", "minimum": "0.5"}]
    _, result = world.run(uri, {**SPEC, "gates": gates}, job="metric")
    assert result.message == "`gates.metric`: clusters have no 'stabilty'; they have stability"
