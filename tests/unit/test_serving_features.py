"""What `spec.features` makes of a revision and its pods."""

import json
from typing import Any

from builders import midway, spec
from linnet.core.registry import VersionView
from linnet.core.rollout import resources
from linnet_server import contract, settings
from linnet_trainer import contract as trainer

VERSION = VersionView(version="2", artifact_uri="s3://m/2", run_id="run-7", tags={})
FEAST = {
    "repoUri": "pvc://store/repo",
    "featureService": "delays_v1",
    "entityKeys": ["origin", "dest"],
}


def template(**changes: Any) -> Any:
    return resources.make_pod_template(midway(spec=spec(**changes)), VERSION, revision="r")["spec"]


def variables(container: Any) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in container["env"] if "value" in entry}


def test_a_sidecar_starts_before_the_server_and_stays_beside_it() -> None:
    pod = template(features={"feast": FEAST, "timeout": "80ms"})
    fetch, sidecar = pod["initContainers"]
    assert (fetch["name"], sidecar["name"]) == ("fetch", "features")
    assert sidecar["restartPolicy"] == "Always"
    assert sidecar["image"] == "feast:1"
    assert sidecar["args"] == ["features"]
    assert sidecar["envFrom"] == fetch["envFrom"]
    told = json.loads(variables(sidecar)[trainer.ENV_FEATURES])
    assert told == {**FEAST, "port": 8091, "timeoutSeconds": 0.08}


def test_the_server_is_told_where_it_answers_and_has_none_of_its_credentials() -> None:
    (server,) = template(features={"feast": FEAST, "timeout": "80ms"})["containers"]
    chosen = settings.parse(variables(server))
    assert chosen.features_url == f"http://127.0.0.1:8091{trainer.PATH_FEATURES}"
    assert chosen.features_timeout == 0.08
    assert server["envFrom"] == []


def test_a_repository_on_a_volume_is_mounted_for_the_sidecar_alone() -> None:
    pod = template(features={"feast": FEAST})
    sidecar, (server,) = pod["initContainers"][1], pod["containers"]
    mount = {"name": "table-0", "mountPath": f"{trainer.PVC_DIR}/store", "readOnly": True}
    assert mount in sidecar["volumeMounts"]
    assert mount not in server["volumeMounts"]
    claim = {"claimName": "store", "readOnly": True}
    assert {"name": "table-0", "persistentVolumeClaim": claim} in pod["volumes"]


def test_without_features_nothing_of_them_is_there() -> None:
    pod = template()
    assert [each["name"] for each in pod["initContainers"]] == ["fetch"]
    assert contract.ENV_FEATURES_URL not in variables(pod["containers"][0])


def test_changed_features_make_another_revision() -> None:
    wishes = [
        {},
        {"features": {"feast": FEAST}},
        {"features": {"feast": FEAST, "timeout": "80ms"}},
        {"features": {"feast": {**FEAST, "featureService": "delays_v2"}}},
    ]
    keys = {resources.wish_key(spec(**wish), VERSION) for wish in wishes}
    assert len(keys) == len(wishes)
    contents = {resources.content_key(spec(**wish), VERSION) for wish in wishes}
    assert len(contents) == len(wishes)
