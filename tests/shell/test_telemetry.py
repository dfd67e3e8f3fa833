"""What the operator exports about its objects is what their status says, whoever wrote it."""

from typing import Any

import pytest
from linnet.shell.cache import Cache
from linnet.shell.telemetry import StatusCollector
from prometheus_client import CollectorRegistry

DEPLOYMENT = {
    "conditions": [{"type": "Ready", "status": "False"}],
    "traffic": [
        {"revision": "delays-v7-3f9c1a20", "version": "7", "weight": 75},
        {"revision": "delays-v8-a01d2c3f", "version": "8", "weight": 25},
    ],
    "analysis": {"metrics": [{"name": "errors", "e": "0.2"}]},
    "rejected": [{"version": "6", "reason": "Regression"}],
}
POLICY = {"signals": [{"name": "features", "statistic": "3", "threshold": "2"}]}
THERE = {"namespace": "team", "deployment": "delays"}


def obj(kind: str, status: dict[str, Any], version: int = 1) -> dict[str, Any]:
    meta = {"name": "delays", "namespace": "team", "uid": kind, "resourceVersion": str(version)}
    return {"kind": kind, "metadata": meta, "status": status}


@pytest.fixture
def cache() -> Cache:
    return Cache()


@pytest.fixture
def registry(cache: Cache) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(StatusCollector(cache.of_kind))
    return registry


def test_status_is_told_by_kind(cache: Cache, registry: CollectorRegistry) -> None:
    cache.update(obj("ModelDeployment", DEPLOYMENT))
    cache.update(obj("DriftPolicy", POLICY))
    condition = {"kind": "ModelDeployment", "namespace": "team", "name": "delays"}
    told = {
        ("linnet_condition", (*condition.items(), ("type", "Ready"), ("status", "False"))): 1,
        (
            "linnet_traffic_weight",
            (*THERE.items(), ("revision", "delays-v8-a01d2c3f"), ("version", "8")),
        ): 25,
        ("linnet_analysis_e", (*THERE.items(), ("metric", "errors"))): 0.2,
        ("linnet_rollback_info", (*THERE.items(), ("version", "6"), ("reason", "Regression"))): 1,
        (
            "linnet_drift_score",
            (("namespace", "team"), ("policy", "delays"), ("signal", "features")),
        ): 1.5,
    }
    assert {key: registry.get_sample_value(key[0], dict(key[1])) for key in told} == told


def test_what_is_over_or_gone_is_not_told_any_more(
    cache: Cache, registry: CollectorRegistry
) -> None:
    cache.update(obj("ModelDeployment", DEPLOYMENT))
    arm = {**THERE, "revision": "delays-v8-a01d2c3f", "version": "8"}
    one = [{"revision": "delays-v7-3f9c1a20", "version": "7", "weight": 100}]
    cache.update(obj("ModelDeployment", {"traffic": one}, version=2))
    assert registry.get_sample_value("linnet_traffic_weight", arm) is None
    cache.remove(obj("ModelDeployment", {}, version=3))
    assert "{" not in str([m.samples for m in registry.collect()])
