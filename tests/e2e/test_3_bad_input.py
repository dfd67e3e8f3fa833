"""Bad input: a condition, a sentence that names the field, an event; what serves goes on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .stage import beside
from .world import Place, World, condition, says

# -- tables and recipes ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Recipe:
    """A TrainingJob that cannot end well, and what is said of it."""

    name: str
    reason: str
    words: tuple[str, ...]
    table: str = "good.parquet"
    changes: dict[str, Any] = field(default_factory=dict)


RECIPES = [
    Recipe("missing", "InvalidData", ("data.table.uri", "no file matches"), "nothing.parquet"),
    Recipe("empty", "InvalidData", ("no rows", "empty.parquet"), "empty.parquet"),
    Recipe("schema", "InvalidData", ("`data.target`", "'late'", "no column"), "other.parquet"),
    Recipe("one-class", "InvalidData", ("`data.target`", "both classes"), "one-class.parquet"),
    Recipe(
        "number", "TargetNotSupported", ("`data.target`", "`task: Regression`"),
        "number.parquet",
    ),
    Recipe(
        "estimator", "UnknownEstimator", ("LogisticRegresion", "LogisticRegression"),
        changes={"pipeline": {"estimator": {"class": "LogisticRegresion"}}},
    ),
]  # fmt: skip


@beside
def test_a_recipe_that_cannot_be_trained_says_which_field(world: World) -> None:
    place = world.place("recipes")
    for first in range(0, len(RECIPES), 2):
        with world.trainers:
            pair = RECIPES[first : first + 2]
            for each in pair:
                table = {"table": {"uri": world.table(each.table)}}
                place.train(each.name, data=table, **each.changes)
            for each in pair:
                obj = place.has_failed(each.name, each.reason, *each.words)
                assert says(obj, "Registered", "False", "NotReached"), place.explain()
                assert obj["status"]["attempts"] == 1, "a try that nothing mends was repeated"
    assert not place._has_model()


@beside
def test_a_trainer_without_enough_memory_is_told_with_its_limit(world: World) -> None:
    place = world.place("memory")
    with world.trainers:
        little = {"requests": {"memory": "64Mi"}, "limits": {"memory": "128Mi"}}
        place.train("little", backoffLimit=0, template={"resources": little})
        place.has_failed(
            "little", "OutOfMemory", "needed more memory than its limit of 128Mi",
            "raise `spec.template.resources.limits.memory`",
        )  # fmt: skip


@beside
def test_what_cannot_start_says_what_it_waits_for(world: World) -> None:
    place = world.place("waiting")
    place.train("image", template={"image": "localhost/linnet/nothing:dev"})
    place.train("nowhere", template={"nodeSelector": {"disk": "golden"}})
    place.train(
        "new-field", data={"table": None, "target": None, "timestamp": None, "predictionLog":
        {"modelDeploymentRef": {"name": "serve"}}},
    )  # fmt: skip
    place.has_condition(
        "TrainingJob", "image", "Complete", "False", "Queued", "localhost/linnet/nothing:dev"
    )
    place.has_condition("TrainingJob", "nowhere", "Complete", "False", "Queued", "node")
    place.has_condition(
        "TrainingJob", "new-field", "Stalled", "True", "NotYetSupported",
        "spec.data.predictionLog is not supported by this version of Linnet",
    )  # fmt: skip
    place.has_event("new-field", "NotYetSupported", "spec.data.predictionLog")
    jobs = {job["metadata"]["labels"]["linnet.dev/training-job"] for job in place.all("Job")}
    assert jobs == {"image", "nowhere"}


# -- models that do not exist, fields of later versions --------------------------------------------


@beside
def test_a_model_that_does_not_exist_is_named_and_found_later(world: World) -> None:
    place = world.place("unknown")
    place.apply(place.model_deployment("model", model={"name": f"{place.model}-none"}))
    place.has_condition(
        "ModelDeployment", "model", "ModelResolved", "False", "ModelNotFound",
        f"'{place.model}-none'", "`spec.model.name`",
    )  # fmt: skip
    place.register(alias=False)
    place.apply(place.model_deployment("alias", model={"alias": "nobody"}))
    place.apply(place.model_deployment("version", model={"version": "77"}))
    place.has_condition(
        "ModelDeployment", "alias", "ModelResolved", "False", "ModelNotFound", "'nobody'",
        "`spec.model.alias`",
    )  # fmt: skip
    place.has_condition(
        "ModelDeployment", "version", "ModelResolved", "False", "ModelNotFound", "'77'",
        "`spec.model.version`",
    )  # fmt: skip
    for name in ("model", "alias", "version"):
        obj = place.has_condition("ModelDeployment", name, "Ready", "False", "ModelNotFound")
        assert condition(obj, "Available")["status"] == "False"
    assert place.all("Deployment") == []

    # Set later, it is found by itself.
    place.set_alias("nobody", "1")
    place.has_condition(
        "ModelDeployment", "alias", "ModelResolved", "True", "Resolved", seconds=120
    )


@beside
def test_fields_of_later_versions_are_refused_by_name(world: World) -> None:
    place = world.place("later")
    place.register()
    place.apply(place.model_deployment("early", server={"workers": 2}))
    place.has_condition(
        "ModelDeployment", "early", "Stalled", "True", "NotYetSupported",
        "spec.server.workers is not supported by this version of Linnet",
    )  # fmt: skip
    place.has_event("early", "NotYetSupported", "spec.server.workers")
    assert place.all("Deployment") == []

    place.apply(place.drift_policy("early", notify=[{"name": "call", "urlSecretName": "hook"}]))
    obj = place.has_condition(
        "DriftPolicy", "early", "Ready", "False", "NotYetSupported",
        "spec.notify is not supported by this version of Linnet",
    )  # fmt: skip
    assert says(obj, "Stalled", "True", "NotYetSupported")
    place.has_event("early", "NotYetSupported")
    assert place.all("Job") == []


# -- gateways --------------------------------------------------------------------------------------


@beside
def test_a_gateway_that_is_missing_or_refuses_is_named(world: World) -> None:
    place = world.place("gateways")
    place.api.apply(
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "Gateway",
            "metadata": {"name": "narrow", "namespace": place.namespace},
            "spec": {
                "gatewayClassName": "eg",
                "listeners": [
                    {"name": "http", "port": 80, "protocol": "HTTP",
                     "hostname": "only.example.org"},
                ],
            },
        }
    )  # fmt: skip
    place.register()
    refused = {"parentRefs": [{"name": "narrow"}], "hostnames": [place.host]}
    place.apply(place.model_deployment("refused", route=refused))
    missing = {"parentRefs": [{"name": "nowhere", "namespace": "default"}]}
    place.apply(place.model_deployment("missing", route=missing))

    place.has_condition(
        "ModelDeployment", "missing", "TrafficProgrammed", "False", "GatewayNotFound",
        "'nowhere'", "`spec.route.parentRefs`", seconds=120,
    )  # fmt: skip
    place.has_event("missing", "GatewayNotFound", "'nowhere'")
    place.has_condition(
        "ModelDeployment", "refused", "TrafficProgrammed", "False", "RouteNotAccepted",
        "'narrow'", "`spec.route.hostnames`", seconds=120,
    )  # fmt: skip
    place.has_event("refused", "RouteNotAccepted", "'narrow'")

    # Corrected, it serves.
    right = {"parentRefs": [{"name": "eg", "namespace": "default"}]}
    place.patch("ModelDeployment", "missing", {"route": right})
    place.has_condition("ModelDeployment", "missing", "TrafficProgrammed", "True", "Programmed")


# -- candidates ------------------------------------------------------------------------------------

CRASH = """
import os, sys, threading
if "serve" in sys.orig_argv:
    after = float(os.environ["CRASH_AFTER"])
    if os.path.exists("/tmp/crashed") or after == 0:
        print("told to crash", file=sys.stderr)
        os._exit(7)
    def crash():
        open("/tmp/crashed", "w").close()
        os._exit(7)
    timer = threading.Timer(after, crash)
    timer.daemon = True
    timer.start()
"""


def _crashing(place: Place, after: int) -> dict[str, Any]:
    """A server template whose server ends so many seconds after it began, then at once."""
    place.config_map("crash", {"sitecustomize.py": CRASH})
    return {
        "env": [
            {"name": "PYTHONPATH", "value": "/opt/crash"},
            {"name": "CRASH_AFTER", "value": str(after)},
        ],
        "volumes": [
            {"name": "crash", "mountPath": "/opt/crash", "configMap": {"name": "crash"}},
        ],
    }


def _template(place: Place, changes: dict[str, Any]) -> None:
    """Replace what differs in the server's template."""
    blank = {"image": None, "nodeSelector": None, "env": None, "volumes": None}
    place.patch("ModelDeployment", "serve", {"server": {"template": {**blank, **changes}}})


def _serves_on(place: Place, champion: dict[str, int]) -> None:
    """What serves was not touched, and is all that runs."""
    assert place.server_pods("1").items() >= champion.items(), place.explain()
    route = place.get("HTTPRoute", "serve")
    assert route is not None
    refs = [ref for rule in route["spec"]["rules"] for ref in rule["backendRefs"]]
    assert [ref["weight"] for ref in refs] == [100], refs


def _is_withdrawn(place: Place) -> None:
    _template(place, {})
    place.has_condition("ModelDeployment", "serve", "Ready", "True", "Serving")


@beside
def test_a_candidate_that_cannot_start_never_gets_traffic(world: World) -> None:
    place = world.place("start")
    place.serving()
    traffic = place.traffic(rate=5)
    champion = place.server_pods("1")

    _template(place, {"image": "localhost/linnet/nothing:dev"})
    place.has_condition(
        "ModelDeployment", "serve", "Progressing", "False", "ImagePullFailed",
        "`spec.server.template.image`",
    )  # fmt: skip
    place.has_event("serve", "ImagePullFailed", "spec.server.template.image")
    place.has_condition("ModelDeployment", "serve", "Ready", "False", "Preparing")
    _serves_on(place, champion)
    _is_withdrawn(place)

    place.patch("ModelDeployment", "serve", {"strategy": {"progressDeadline": "15s"}})
    _template(place, {"nodeSelector": {"disk": "golden"}})
    place.has_condition(
        "ModelDeployment", "serve", "Progressing", "False", "Unschedulable",
        "`spec.server.template.resources`",
    )  # fmt: skip
    place.has_condition(
        "ModelDeployment", "serve", "Progressing", "False", "ProgressDeadlineExceeded",
        "not ready for 15s, still trying",
    )  # fmt: skip
    _serves_on(place, champion)
    obj = place.get("ModelDeployment", "serve")
    assert obj is not None
    assert not obj["status"].get("rejected"), "waiting is no fault of its own"
    _is_withdrawn(place)
    traffic.has_no_failure()


@beside
def test_a_candidate_whose_content_is_wrong_is_rejected_before_traffic(world: World) -> None:
    place = world.place("content")
    place.serving()
    traffic = place.traffic(rate=5)
    champion = place.server_pods("1")

    forged = place.register(alias=False)
    place.set_tag(forged, "linnet.dev/manifest-sha256", "sha256:" + "0" * 64)
    place.set_alias("challenger", forged)
    obj = place.is_rejected(forged, "RolledBack", "traffic returned to version 1")
    assert obj["status"]["rejected"][0]["reason"] == "ProvenanceMismatch", place.explain()
    place.has_event("serve", "CandidateRejected")
    assert place.weights_of(forged) == []
    _serves_on(place, champion)

    place.set_alias("challenger", "1")
    place.has_condition("ModelDeployment", "serve", "Ready", "True", "Serving", seconds=120)
    _template(place, _crashing(place, 0))
    obj = place.until(
        "ModelDeployment", "serve", "the crash loop is rejected",
        lambda each: (each["status"].get("rejected") or [{}])[0].get("reason") == "CrashLoop",
        seconds=180,
    )  # fmt: skip
    assert "restarted 3 times" in obj["status"]["rejected"][0]["message"], place.explain()
    assert "told to crash" in obj["status"]["rejected"][0]["message"], place.explain()
    place.has_condition("ModelDeployment", "serve", "Ready", "False", "RolledBack", "restarted")
    _serves_on(place, champion)
    traffic.has_no_failure()


@beside
def test_a_candidate_that_crashes_under_traffic_is_taken_back(world: World) -> None:
    place = world.place("crash")
    patient = {"minDuration": "590s", "minCandidateRequests": 100000, "maxDuration": "600s"}
    place.serving(strategy={"steps": [{"weight": 5, "hold": patient}, {"weight": 100}]})
    place.traffic(rate=10)
    champion = place.server_pods("1")
    _template(place, _crashing(place, 45))
    place.reaches_weight(5)
    obj = place.is_rejected("1", "CandidateUnhealthy", "traffic returned to version 1", seconds=300)
    assert obj["status"]["rejected"][0]["reason"] == "CandidateUnhealthy", place.explain()
    place.has_event("serve", "RollBackDecided", "traffic returned to version 1")
    place.eventually(
        "the candidate's pods are gone", lambda: len(place.server_pods("1")) == 1, seconds=90
    )
    _serves_on(place, champion)
    place.route_gives_all_to("1")
