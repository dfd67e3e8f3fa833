"""The three definitions on a real API server: what it accepts, refuses, fills in and shows.

Rules are CEL, and part of CEL (`isSorted`, the cost budget) exists in the API server only, so that
nothing but the server itself can say whether a rule does what its message says.
"""

import json
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import definitions
import pytest
import yaml
from kubernetes import config
from linnet.api import schema
from linnet.api.shared import Resource

from .crd_cases import (
    BASES,
    FORMS,
    PAIRS,
    UPDATES,
    Change,
    Form,
    Pair,
    Update,
    manifest,
    put,
)

pytestmark = pytest.mark.cluster

ROOT = Path(__file__).resolve().parents[2]
JSON = "application/json"
KIND = {kind.KIND: kind for kind in schema.KINDS}


class Refused(Exception):
    """The API server's answer to a request that it does not carry out."""

    def __init__(self, code: int, answer: dict[str, Any]) -> None:
        super().__init__(answer.get("message"))
        self.code = code
        self.answer = answer

    @property
    def causes(self) -> list[tuple[str, str]]:
        """Field and message of every reason.

        Where a type is wrong the server adds that it left out the rules; that is not a reason.
        """
        assert self.code == 422, self.answer
        causes = ((each["field"], each["message"]) for each in self.answer["details"]["causes"])
        return [cause for cause in causes if "rules were not checked" not in cause[1]]


class Api:
    """The few requests that these tests make, with answers as they are on the wire."""

    def __init__(self, kubeconfig: str) -> None:
        self.client = config.new_client_from_config(config_file=kubeconfig)
        self.namespace = "default"

    def call(
        self, method: str, path: str, body: Any = None, accept: str = JSON, **query: str
    ) -> dict[str, Any]:
        """Return the answer, or raise Refused."""
        kind = "application/apply-patch+yaml" if method == "PATCH" else JSON
        _, url, headers, *_ = self.client.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Content-Type": kind, "Accept": accept},
            auth_settings=["BearerToken"],
        )
        pool = self.client.rest_client.pool_manager
        response = pool.request(
            method, url, headers=headers, body=json.dumps(body) if body else None
        )
        answer: dict[str, Any] = response.json()
        if response.status >= 400:
            raise Refused(response.status, answer)
        return answer

    def check_structural(self, name: str) -> None:
        """Fail where the server finds the definition not structural."""
        path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
        conditions = self.call("GET", path)["status"]["conditions"]
        states = {each["type"]: each["status"] for each in conditions}
        if states.get("NonStructuralSchema") == "True":
            pytest.fail(f"{name} is not structural: {conditions}")

    def create(self, made: dict[str, Any], *, dry: bool = True) -> dict[str, Any]:
        return self.call(
            "POST", self.path(made["kind"]), made, **_dry(dry), fieldValidation="Strict"
        )

    def replace(self, made: dict[str, Any]) -> dict[str, Any]:
        path = f"{self.path(made['kind'])}/{made['metadata']['name']}"
        return self.call("PUT", path, made, **_dry(True))

    def path(self, kind: str) -> str:
        return f"/apis/linnet.dev/v1alpha1/namespaces/{self.namespace}/{KIND[kind].PLURAL}"

    def refusal(self, made: dict[str, Any]) -> list[tuple[str, str]]:
        """Return field and message of every reason for which the server refuses the manifest."""
        try:
            self.create(made)
        except Refused as refused:
            return refused.causes
        return []


def _dry(dry: bool) -> dict[str, str]:
    return {"dryRun": "All"} if dry else {}


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    kubeconfig = os.environ.get("LINNET_KUBECONFIG") or os.environ.get("KUBECONFIG")
    if not kubeconfig:
        pytest.fail(
            "tests/cluster needs a real API server: run `make e2e`, which starts one, or name a "
            "kubeconfig in LINNET_KUBECONFIG"
        )
    definitions.install(kubeconfig)
    time.sleep(1)  # the server goes on for a moment with the schema that it had
    api = Api(kubeconfig)
    for kind in schema.KINDS:
        api.check_structural(f"{kind.PLURAL}.linnet.dev")
    namespace = {"metadata": {"generateName": "linnet-test-crds-"}}
    api.namespace = api.call("POST", "/api/v1/namespaces", namespace)["metadata"]["name"]
    yield api
    api.call("DELETE", f"/api/v1/namespaces/{api.namespace}")


def _id(case: Pair | Update | Form) -> str:
    if isinstance(case, Form):
        return f"{case.kind}-{case.path}"
    changed = ",".join(path.removeprefix("spec.") for path in case.refused)
    return f"{case.kind}-{changed}"


@pytest.mark.parametrize("pair", PAIRS, ids=_id)
def test_a_rule_refuses_with_its_message_and_accepts_what_keeps_it(api: Api, pair: Pair) -> None:
    refused = api.refusal(manifest(pair.kind, pair.refused))

    assert [message.endswith(f": {pair.message}") for _, message in refused] == [True], refused
    assert api.refusal(manifest(pair.kind, pair.accepted)) == []


def test_every_rule_has_a_pair() -> None:
    written = {m for kind in schema.KINDS for _, m in schema.rules(schema.root(kind))}
    tested = {each.message for each in (*PAIRS, *UPDATES)}

    assert tested == written


@pytest.mark.parametrize("update", UPDATES, ids=_id)
def test_what_is_immutable_cannot_be_changed(api: Api, update: Update) -> None:
    before = _existing(api, update.kind)

    with pytest.raises(Refused) as refused:
        api.replace(_changed(before, update.refused))
    messages = [message for _, message in refused.value.causes]
    assert [m.endswith(f": {update.message}") for m in messages] == [True], messages
    api.replace(_changed(before, update.accepted))


def _existing(api: Api, kind: str) -> dict[str, Any]:
    found = api.call("GET", api.path(kind), fieldSelector="metadata.name=existing")["items"]
    if not found:
        return api.create(manifest(kind, {"metadata.name": "existing"}), dry=False)
    return {"apiVersion": "linnet.dev/v1alpha1", "kind": kind, **found[0]}


def _changed(existing: dict[str, Any], change: Change) -> dict[str, Any]:
    changed = json.loads(json.dumps(existing))
    for path, value in change.items():
        put(changed, path.split("."), value)
    return changed


@pytest.mark.parametrize("form", FORMS, ids=_id)
def test_a_type_refuses_what_has_another_form(api: Api, form: Form) -> None:
    field = re.sub(r"\.(\d+)", r"[\1]", form.path)
    for value in form.refused:
        refused = api.refusal(manifest(form.kind, {form.path: value}))
        assert refused, f"{form.path} accepts {value!r}"
        assert all(where.startswith(field) for where, _ in refused), (value, refused)
    for value in form.accepted:
        assert api.refusal(manifest(form.kind, {form.path: value})) == [], value


@pytest.mark.parametrize("kind", schema.KINDS, ids=lambda kind: kind.KIND)
def test_the_server_fills_in_the_defaults_of_the_models(api: Api, kind: type[Resource]) -> None:
    made = manifest(kind.KIND, {})

    seen = api.create(made)

    ours: Any = kind.model_validate(made)
    theirs: Any = kind.model_validate(seen)
    assert theirs.spec == ours.spec
    assert seen["spec"] == _without_empty(ours.manifest()["spec"])


def _without_empty(spec: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the models fill in and the definition does not: the hold of each step."""
    for step in spec.get("strategy", {}).get("steps", ()):
        step.pop("hold", None)
    return spec


MANIFESTS = [
    made
    for path in (
        *sorted((ROOT / "docs/reference/examples").glob("*.yaml")),
        Path(__file__).with_name("test_crds_manifests.yaml"),
    )
    for made in yaml.safe_load_all(path.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize(
    "made", MANIFESTS, ids=lambda made: f"{made['kind']}-{made['metadata']['name']}"
)
def test_the_manifests_of_the_reference_are_accepted(api: Api, made: dict[str, Any]) -> None:
    assert api.refusal(made) == []


def test_a_field_that_does_not_exist_is_named(api: Api) -> None:
    made = manifest("TrainingJob", {"spec.pipeline.estimater": {"class": "LogisticRegression"}})

    with pytest.raises(Refused) as refused:
        api.create(made)

    assert 'unknown field "spec.pipeline.estimater"' in str(refused.value)


@pytest.mark.parametrize("kind", schema.KINDS, ids=lambda kind: kind.KIND)
def test_required_fields_are_named(api: Api, kind: type[Resource]) -> None:
    for field in BASES[kind.KIND]["spec"]:
        if field == "pipeline":
            continue  # one of three, which is a rule
        refused = api.refusal(manifest(kind.KIND, {f"spec.{field}": ...}))
        assert (f"spec.{field}", "Required value") in refused, refused


def test_kinds_have_short_names_the_category_and_status(api: Api) -> None:
    resources = api.call("GET", "/apis/linnet.dev/v1alpha1")["resources"]
    found = {each["name"]: each for each in resources}

    for kind in schema.KINDS:
        assert found[kind.PLURAL]["shortNames"] == [kind.SHORT_NAME]
        assert found[kind.PLURAL]["categories"] == ["linnet"]
        assert f"{kind.PLURAL}/status" in found


def test_columns_are_shown_as_the_reference_says(api: Api) -> None:
    expected = {
        "TrainingJob": "NAME STATUS PROGRESS MODEL VERSION METRIC AGE | RUN JOB MESSAGE",
        "ModelDeployment": (
            "NAME READY STATUS STRATEGY WEIGHT CHAMPION CANDIDATE AGE | URL E REPLICAS MESSAGE"
        ),
        "DriftPolicy": (
            "NAME TARGET STATUS DRIFTED SCORE LAST-CHECK AGE | WINDOW RETRAINING REPORT MESSAGE"
        ),
    }
    for kind in schema.KINDS:
        table = _table(api, kind.KIND)
        narrow = [c["name"].upper() for c in table["columnDefinitions"] if not c["priority"]]
        wide = [c["name"].upper() for c in table["columnDefinitions"] if c["priority"]]
        assert f"{' '.join(narrow)} | {' '.join(wide)}" == expected[kind.KIND]


def test_columns_show_the_summary_and_never_the_last_condition(api: Api) -> None:
    made = _existing(api, "ModelDeployment")
    at = {"lastTransitionTime": "2026-11-23T10:00:00Z", "observedGeneration": 1}
    made["status"] = {
        "conditions": [
            {
                "type": "Ready",
                "status": "False",
                "reason": "CanaryInProgress",
                "message": "a",
                **at,
            },
            {"type": "Promoted", "status": "False", "reason": "NotReached", "message": "b", **at},
        ],
        "champion": {"version": "7", "revision": "delays-v7-3f9c1a20"},
        "candidate": {"version": "8", "revision": "delays-v8-a01d2c3f"},
        "step": {"index": 2, "of": 4, "label": "2/4", "kind": "Weight"},
        "weight": 25,
    }
    api.call("PUT", f"{api.path('ModelDeployment')}/existing/status", made)

    (row,) = _table(api, "ModelDeployment")["rows"]

    assert row["cells"][:7] == ["existing", "False", "CanaryInProgress", "2/4", 25, "7", "8"]


def _table(api: Api, kind: str) -> dict[str, Any]:
    _existing(api, kind)
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    return api.call("GET", api.path(kind), accept=accept)


def test_fields_are_explained(api: Api) -> None:
    """What `kubectl explain` prints comes from here; unpublished schemas would leave it empty."""
    paths = "/openapi/v3/apis/linnet.dev/v1alpha1"
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            schemas = api.call("GET", paths)["components"]["schemas"]
        except Refused:
            schemas = {}
        if all(f"dev.linnet.v1alpha1.{kind.KIND}" in schemas for kind in schema.KINDS):
            break
        time.sleep(0.2)
    job = schemas["dev.linnet.v1alpha1.TrainingJob"]

    assert job["description"].startswith("One training of one model: reads a table")
    gate = job["properties"]["spec"]["properties"]["gates"]["items"]["properties"]["minimum"]
    assert gate["description"] == "The metric must be at least this."
