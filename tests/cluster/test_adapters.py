"""The adapters against what they adapt: the real API server, and the real MLflow."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import time
import urllib.request
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import definitions
import pytest
from kubernetes.aio import client, config
from linnet.adapters import kubernetes
from linnet.adapters.kubernetes import KubernetesCluster, path
from linnet.adapters.mlflow import MLflowRegistry
from linnet.ports import Conflict, Missing, Rejected, Unavailable
from mlflow import MlflowClient

pytestmark = pytest.mark.cluster

T = TypeVar("T")
Use = Callable[[KubernetesCluster, str], Awaitable[T]]


@pytest.fixture(scope="module")
def kubeconfig() -> str:
    found = os.environ.get("LINNET_KUBECONFIG") or os.environ.get("KUBECONFIG")
    if not found:
        pytest.fail(
            "tests/cluster needs a real API server: run `make e2e`, which starts one, or name a "
            "kubeconfig in LINNET_KUBECONFIG"
        )
    return found


async def _connect(kubeconfig: str, identity: str) -> KubernetesCluster:
    settings = client.Configuration()
    await config.load_kube_config(config_file=kubeconfig, client_configuration=settings)
    return KubernetesCluster(client.ApiClient(settings), identity=identity)


class Cluster:
    """Runs a test's requests in a loop and a namespace of its own."""

    def __init__(self, kubeconfig: str, namespace: str) -> None:
        self._kubeconfig = kubeconfig
        self.namespace = namespace

    def run(self, use: Use[T], *, identity: str = "adapters/one") -> T:
        async def main() -> T:
            cluster = await _connect(self._kubeconfig, identity)
            try:
                return await use(cluster, self.namespace)
            finally:
                await cluster.close()

        return asyncio.run(main())


@pytest.fixture(scope="module")
def real(kubeconfig: str) -> Iterator[Cluster]:
    name = f"linnet-test-adapters-{uuid.uuid4().hex[:5]}"
    definitions.install(kubeconfig)
    kubectl = ["kubectl", "--kubeconfig", kubeconfig]
    subprocess.run([*kubectl, "create", "namespace", name], check=True, capture_output=True)
    yield Cluster(kubeconfig, name)
    subprocess.run(
        [*kubectl, "delete", "namespace", name, "--wait=false"], check=True, capture_output=True
    )


def config_map(namespace: str, name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace},
        "data": data,
    }


def deployment(namespace: str, name: str) -> dict[str, Any]:
    labels = {"app": name}
    container = {"name": "none", "image": "localhost/linnet/none:dev"}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def model_deployment(namespace: str, name: str) -> dict[str, Any]:
    return {
        "apiVersion": "linnet.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": {"name": "nobody-has-this"}, "paused": True},
    }


def test_what_is_not_there_is_missing(real: Cluster) -> None:
    async def use(cluster: KubernetesCluster, namespace: str) -> None:
        with pytest.raises(Missing, match="not found"):
            await cluster.get("ConfigMap", namespace, "nothing")
        with pytest.raises(Missing):
            await cluster.patch("ConfigMap", namespace, "nothing", {"data": {"a": "1"}})
        with pytest.raises(Missing):
            await cluster.scale(namespace, "nothing", 1)
        await cluster.delete("ConfigMap", namespace, "nothing", "0000")

    real.run(use)


def test_an_object_is_created_once(real: Cluster) -> None:
    async def use(cluster: KubernetesCluster, namespace: str) -> None:
        first = await cluster.create(config_map(namespace, "once", a="1"))
        second = await cluster.create(config_map(namespace, "once", a="2"))
        assert second["metadata"]["uid"] == first["metadata"]["uid"]
        assert second["data"] == {"a": "1"}

    real.run(use)


def test_apply_is_repeatable_and_takes_dropped_fields_away(real: Cluster) -> None:
    async def use(cluster: KubernetesCluster, namespace: str) -> None:
        first = await cluster.apply(config_map(namespace, "applied", a="1", b="2"))
        again = await cluster.apply(config_map(namespace, "applied", a="1", b="2"))
        assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        less = await cluster.apply(config_map(namespace, "applied", a="1"))
        assert less["data"] == {"a": "1"}
        found = [obj async for page in cluster.pages("ConfigMap", namespace) for obj in page]
        [applied] = [each for each in found if each["metadata"]["name"] == "applied"]
        assert (applied["apiVersion"], applied["kind"]) == ("v1", "ConfigMap")

    real.run(use)


def test_a_long_list_comes_in_pages(real: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubernetes, "PAGE", 2)

    async def use(cluster: KubernetesCluster, namespace: str) -> None:
        for number in range(5):
            await cluster.apply(config_map(namespace, f"page-{number}", a="1"))
        pages = [
            [obj["metadata"]["name"] for obj in page]
            async for page in cluster.pages("ConfigMap", namespace)
        ]
        assert max(map(len, pages)) == 2
        names = [name for page in pages for name in page if name.startswith("page-")]
        assert names == [f"page-{number}" for number in range(5)]

    real.run(use)


def test_a_record_is_annotated_though_its_data_never_changes(real: Cluster) -> None:
    async def use(cluster: KubernetesCluster, namespace: str) -> None:
        data = {"z": "a & b < c > d", "a": [1, 2, {"y": "é 🐦", "b": None}], "m": {"n": True}}
        record = {
            "apiVersion": "apps/v1",
            "kind": "ControllerRevision",
            "metadata": {"name": "record", "namespace": namespace},
            "revision": 1,
            "data": data,
        }
        await cluster.create(record)
        for said in ("rejected", "because & why", None):
            patch = {"metadata": {"annotations": {"linnet.dev/rejected": said}}}
            patched = await cluster.patch("ControllerRevision", namespace, "record", patch)
            assert patched["data"] == data
            found = patched["metadata"].get("annotations") or {}
            assert found.get("linnet.dev/rejected") == said

    real.run(use)


def test_replicas_survive_an_apply_without_them(real: Cluster) -> None:
    async def use(cluster: KubernetesCluster, namespace: str) -> None:
        await cluster.apply(deployment(namespace, "sized"))
        await cluster.scale(namespace, "sized", 0)
        after = await cluster.apply(deployment(namespace, "sized"))
        assert after["spec"]["replicas"] == 0

    real.run(use)


def test_another_object_of_the_same_name_is_not_deleted(real: Cluster) -> None:
    async def use(cluster: KubernetesCluster, namespace: str) -> None:
        made = await cluster.create(config_map(namespace, "kept", a="1"))
        await cluster.delete("ConfigMap", namespace, "kept", str(uuid.uuid4()))
        assert await cluster.get("ConfigMap", namespace, "kept")
        await cluster.delete("ConfigMap", namespace, "kept", made["metadata"]["uid"])
        with pytest.raises(Missing):
            await cluster.get("ConfigMap", namespace, "kept")

    real.run(use)


def test_what_the_server_refuses_is_rejected_with_its_sentence(real: Cluster) -> None:
    async def use(cluster: KubernetesCluster, namespace: str) -> None:
        broken = config_map(namespace, "Not_A_Name")
        with pytest.raises(Rejected, match="RFC 1123"):
            await cluster.create(broken)
        bad = deployment(namespace, "bad")
        bad["spec"]["selector"]["matchLabels"] = {"app": "other"}
        with pytest.raises(Rejected, match="selector"):
            await cluster.apply(bad)

    real.run(use)


def _status(namespace: str, name: str, version: str, operator: str) -> dict[str, Any]:
    made = model_deployment(namespace, name)
    del made["spec"]
    if version:
        made["metadata"]["resourceVersion"] = version
    return {**made, "status": {"operator": operator}}


async def _deployed(cluster: KubernetesCluster, namespace: str, name: str) -> str:
    made = await cluster.request(
        "POST", path("ModelDeployment", namespace), body=model_deployment(namespace, name)
    )
    return str(made["metadata"]["resourceVersion"])


def test_a_status_write_that_was_overtaken_is_a_conflict(real: Cluster) -> None:
    async def use(cluster: KubernetesCluster, namespace: str) -> None:
        name, written = "overtaken", 0
        stale = await _deployed(cluster, namespace, name)
        # The cluster's own operator may write first: then there is nothing left to be told.
        for _ in range(5):
            now = await cluster.get("ModelDeployment", namespace, name)
            try:
                await cluster.apply_status(
                    _status(namespace, name, now["metadata"]["resourceVersion"], "adapters/one"),
                    force=True,
                )
                written += 1
                break
            except Conflict:
                continue
        assert written == 1
        with pytest.raises(Conflict):
            await cluster.apply_status(_status(namespace, name, stale, "adapters/one"), force=True)

    real.run(use)


def test_a_second_install_gets_a_conflict_unless_it_takes_over(real: Cluster) -> None:
    async def first(cluster: KubernetesCluster, namespace: str) -> None:
        await _deployed(cluster, namespace, "owned")
        await cluster.apply_status(_status(namespace, "owned", "", "adapters/one"), force=True)

    async def second(cluster: KubernetesCluster, namespace: str) -> None:
        theirs = _status(namespace, "owned", "", "adapters/two")
        with pytest.raises(Conflict, match="conflict"):
            await cluster.apply_status(theirs)
        taken = await cluster.apply_status(theirs, force=True)
        assert taken["status"]["operator"] == "adapters/two"

    real.run(first)
    real.run(second, identity="adapters/two")


def test_a_kinds_fields_are_known(real: Cluster) -> None:
    async def use(cluster: KubernetesCluster, namespace: str) -> None:
        assert await cluster.has_field("Deployment", "revisionHistoryLimit")
        assert not await cluster.has_field("Deployment", "sessionPersistence")

    real.run(use)


def test_a_server_that_does_not_answer_is_unavailable() -> None:
    async def main() -> None:
        settings = client.Configuration()
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            settings.host = f"http://127.0.0.1:{closed.getsockname()[1]}"
        cluster = KubernetesCluster(client.ApiClient(settings), identity="adapters/one")
        try:
            with pytest.raises(Unavailable, match="did not answer"):
                await cluster.get("ConfigMap", "default", "any")
        finally:
            await cluster.close()

    asyncio.run(main())


# -- MLflow ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def mlflow_uri(kubeconfig: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    forward = subprocess.Popen(
        ["kubectl", "--kubeconfig", kubeconfig, "-n", "mlops", "port-forward", "svc/mlflow",
         f"{port}:5000"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    uri = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{uri}/health", timeout=5).read()
                break
            except OSError as error:
                if time.monotonic() > deadline:
                    pytest.fail(f"MLflow does not answer: {error}")
                time.sleep(0.5)
        yield uri
    finally:
        forward.kill()
        forward.wait()


def _with_registry(uri: str, use: Callable[[MLflowRegistry], Awaitable[T]]) -> T:
    async def main() -> T:
        registry = MLflowRegistry(tracking_uri=uri, registry_uri=uri)
        try:
            return await use(registry)
        finally:
            registry.close()

    return asyncio.run(main())


@pytest.fixture
def model(mlflow_uri: str) -> Iterator[str]:
    """A registered model with two versions."""
    mlflow, name = MlflowClient(mlflow_uri), f"adapters-{uuid.uuid4().hex[:8]}"
    mlflow.create_registered_model(name)
    for _ in range(2):
        mlflow.create_model_version(name, "s3://mlflow/artifacts/none", tags={"colour": "red"})
    yield name
    mlflow.delete_registered_model(name)


def test_a_model_is_read_with_aliases_versions_and_tags(mlflow_uri: str, model: str) -> None:
    async def use(registry: MLflowRegistry) -> None:
        await registry.set_alias(model, "challenger", "2")
        await registry.set_version_tag(model, "1", "linnet.dev/rejected.a.b", '{"e": "20"}')
        view = await registry.model(model)
        assert view.aliases == {"challenger": "2"}
        assert sorted(view.versions) == ["1", "2"]
        assert view.versions["1"].tags == {
            "colour": "red",
            "linnet.dev/rejected.a.b": '{"e": "20"}',
        }
        assert view.versions["2"].artifact_uri == "s3://mlflow/artifacts/none"
        await registry.set_version_tag(model, "1", "linnet.dev/rejected.a.b", None)
        assert (await registry.model(model)).versions["1"].tags == {"colour": "red"}
        # Once more of the same is no error: a repeated pass does so.
        await registry.set_version_tag(model, "1", "linnet.dev/rejected.a.b", None)
        await registry.set_alias(model, "challenger", "2")

    _with_registry(mlflow_uri, use)


def test_a_model_or_version_that_is_not_there_is_missing(mlflow_uri: str, model: str) -> None:
    async def use(registry: MLflowRegistry) -> None:
        with pytest.raises(Missing):
            await registry.model("nobody-has-this")
        with pytest.raises(Missing):
            await registry.set_alias(model, "challenger", "77")
        with pytest.raises(Missing):
            await registry.set_version_tag(model, "77", "a", "b")

    _with_registry(mlflow_uri, use)


def test_the_newest_run_of_a_job_is_found_and_closed(mlflow_uri: str) -> None:
    mlflow, name = MlflowClient(mlflow_uri), f"adapters-{uuid.uuid4().hex[:8]}"
    experiment = mlflow.create_experiment(name)
    tags = {"linnet.dev/namespace": "a", "linnet.dev/name": name, "linnet.dev/spec-hash": "abc"}
    mlflow.create_run(experiment, start_time=1, tags=tags)
    newest = mlflow.create_run(experiment, start_time=2, tags=tags).info.run_id

    async def use(registry: MLflowRegistry) -> None:
        found = await registry.run("a", name, "abc")
        assert found is not None
        assert (found.run_id, found.status) == (newest, "RUNNING")
        await registry.close_run(newest)
        closed = await registry.run("a", name, "abc")
        assert closed is not None
        assert closed.status == "KILLED"
        assert await registry.run("a", name, "another") is None

    _with_registry(mlflow_uri, use)
    mlflow.delete_experiment(experiment)


def test_a_registry_that_is_down_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{closed.getsockname()[1]}"

    async def use(registry: MLflowRegistry) -> None:
        with pytest.raises(Unavailable):
            await registry.model("any")

    _with_registry(uri, use)
