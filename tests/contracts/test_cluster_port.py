"""What the loop relies on in the `Cluster` port, of the fake and of a real API server alike.

With LINNET_KUBECONFIG set the same suite runs on that cluster too (in the namespace `default`, with
names of its own).
"""

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import definitions
import pytest
from linnet.api import labels
from linnet.ports import Cluster, Conflict, Missing
from simulation import FakeCluster

KUBECONFIG = os.environ.get("LINNET_KUBECONFIG", "")
NAMESPACE = "default"
Story = Callable[[Cluster], Awaitable[None]]
Run = Callable[[Story], None]


async def real(story: Story) -> None:
    from kubernetes.aio import client, config
    from linnet.adapters.kubernetes import KubernetesCluster

    configuration = client.Configuration()
    await config.load_kube_config(config_file=KUBECONFIG, client_configuration=configuration)
    cluster = KubernetesCluster(client.ApiClient(configuration), identity="contract/tests")
    try:
        await story(cluster)
    finally:
        await cluster.close()


async def fake(story: Story) -> None:
    await story(FakeCluster())


PORTS = {"fake": fake, **({"real": real} if KUBECONFIG else {})}


@pytest.fixture(scope="module", autouse=True)
def _definitions() -> None:
    if KUBECONFIG:
        definitions.install(KUBECONFIG)


@pytest.fixture(params=PORTS.values(), ids=PORTS)
def run(request: pytest.FixtureRequest) -> Run:
    return lambda story: asyncio.run(request.param(story))


@pytest.fixture
def name() -> Iterator[str]:
    return f"contract-{uuid.uuid4().hex[:8]}"


def config_map(name: str, **data: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {"a": "1"}},
        "data": data,
    }


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "containers": [{"name": "c", "image": "localhost/none:1"}],
                    "nodeSelector": {"linnet.dev/none": "true"},
                },
            },
        },
    }


def model_deployment(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "linnet.dev/v1alpha1",
        "kind": "ModelDeployment",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"model": {"name": "contract-tests-no-such-model"}, "paused": True},
    }


async def delete(cluster: Cluster, kind: str, name: str) -> None:
    found = await cluster.get(kind, NAMESPACE, name)
    await cluster.delete(kind, NAMESPACE, name, found["metadata"]["uid"])


def test_what_does_not_exist_is_missing(run: Run, name: str) -> None:
    async def story(cluster: Cluster) -> None:
        with pytest.raises(Missing):
            await cluster.get("ConfigMap", NAMESPACE, name)
        with pytest.raises(Missing):
            await cluster.patch("ConfigMap", NAMESPACE, name, {"data": {"a": "1"}})
        with pytest.raises(Missing):
            await cluster.scale(NAMESPACE, name, 1)
        await cluster.delete("ConfigMap", NAMESPACE, name, "no-such-uid")

    run(story)


def test_the_same_intent_applied_again_writes_nothing(run: Run, name: str) -> None:
    async def story(cluster: Cluster) -> None:
        first = await cluster.apply(config_map(name, a="1"))
        again = await cluster.apply(config_map(name, a="1"))
        assert again["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
        assert again["metadata"]["uid"] == first["metadata"]["uid"]
        changed = await cluster.apply(config_map(name, a="2"))
        assert int(changed["metadata"]["resourceVersion"]) > int(
            first["metadata"]["resourceVersion"]
        )
        await delete(cluster, "ConfigMap", name)

    run(story)


def test_a_field_that_is_no_longer_applied_goes_away(run: Run, name: str) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.apply(config_map(name, a="1", b="2"))
        after = await cluster.apply(config_map(name, a="1"))
        assert after["data"] == {"a": "1"}
        await delete(cluster, "ConfigMap", name)

    run(story)


def test_creating_what_exists_answers_it_as_it_is(run: Run, name: str) -> None:
    async def story(cluster: Cluster) -> None:
        first = await cluster.create(config_map(name, a="1"))
        again = await cluster.create(config_map(name, a="2"))
        assert again["data"] == {"a": "1"}
        assert again["metadata"]["uid"] == first["metadata"]["uid"]
        await delete(cluster, "ConfigMap", name)

    run(story)


def test_a_patch_changes_single_fields_and_none_removes(run: Run, name: str) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.apply(config_map(name, a="1", b="2"))
        after = await cluster.patch("ConfigMap", NAMESPACE, name, {"data": {"a": None, "c": "3"}})
        assert after["data"] == {"b": "2", "c": "3"}
        await delete(cluster, "ConfigMap", name)

    run(story)


def test_an_apply_without_replicas_leaves_the_scale_alone(run: Run, name: str) -> None:
    async def story(cluster: Cluster) -> None:
        first = await cluster.apply(deployment(name))
        assert first["spec"]["replicas"] == 1
        await cluster.scale(NAMESPACE, name, 3)
        wanted = deployment(name)
        wanted["metadata"]["annotations"] = {"changed": "yes"}
        after = await cluster.apply(wanted)
        assert after["spec"]["replicas"] == 3
        await delete(cluster, "Deployment", name)

    run(story)


def test_a_changed_spec_counts_a_generation_and_other_changes_do_not(run: Run, name: str) -> None:
    async def story(cluster: Cluster) -> None:
        first = await cluster.apply(deployment(name))
        labelled = deployment(name)
        labelled["metadata"]["labels"] = {"x": "1"}
        second = await cluster.apply(labelled)
        assert second["metadata"]["generation"] == first["metadata"]["generation"]
        await cluster.scale(NAMESPACE, name, 2)
        third = await cluster.get("Deployment", NAMESPACE, name)
        assert third["metadata"]["generation"] > first["metadata"]["generation"]
        await delete(cluster, "Deployment", name)

    run(story)


def test_a_deletion_with_another_uid_deletes_nothing(run: Run, name: str) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.apply(config_map(name, a="1"))
        await cluster.delete("ConfigMap", NAMESPACE, name, str(uuid.uuid4()))
        await cluster.get("ConfigMap", NAMESPACE, name)
        await delete(cluster, "ConfigMap", name)
        with pytest.raises(Missing):
            await cluster.get("ConfigMap", NAMESPACE, name)

    run(story)


async def listed(cluster: Cluster, name: str, **wanted: Any) -> list[str]:
    """Kinds of the ConfigMaps of that name in a LIST."""
    return [
        obj["kind"]
        async for page in cluster.pages("ConfigMap", **wanted)
        for obj in page
        if obj["metadata"]["name"] == name
    ]


def test_a_list_names_its_kind_and_is_filtered_where_asked(run: Run, name: str) -> None:
    async def story(cluster: Cluster) -> None:
        await cluster.apply(config_map(name, a="1"))
        assert await listed(cluster, name, namespace=NAMESPACE) == ["ConfigMap"]
        assert await listed(cluster, name) == ["ConfigMap"]
        assert await listed(cluster, name, ours=True) == []
        ours = config_map(name, a="1")
        ours["metadata"]["labels"] = {labels.MANAGED_BY: labels.MANAGED_BY_LINNET}
        await cluster.apply(ours)
        assert await listed(cluster, name, ours=True) == ["ConfigMap"]
        await delete(cluster, "ConfigMap", name)

    run(story)


def test_a_status_with_the_version_that_was_read_is_written_once(run: Run, name: str) -> None:
    async def story(cluster: Cluster) -> None:
        made = await cluster.create(model_deployment(name))
        body = {
            **model_deployment(name),
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "resourceVersion": made["metadata"]["resourceVersion"],
                "uid": made["metadata"]["uid"],
            },
            "status": {"url": "http://one"},
        }
        body.pop("spec")
        written = await cluster.apply_status(body, force=True)
        assert written["status"]["url"] == "http://one"
        assert written["metadata"]["generation"] == made["metadata"]["generation"]
        assert written["spec"] == made["spec"]
        with pytest.raises(Conflict):
            await cluster.apply_status({**body, "status": {"url": "http://two"}}, force=True)
        stored = await cluster.get("ModelDeployment", NAMESPACE, name)
        assert stored["status"]["url"] == "http://one"
        await delete(cluster, "ModelDeployment", name)

    run(story)
