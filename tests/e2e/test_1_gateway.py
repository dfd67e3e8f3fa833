"""What is asked of a gateway itself: that it comes back, and keeps a client with its version."""

from __future__ import annotations

from .stage import beside
from .world import STEPS, World, condition, says

HELD = {"minDuration": "5s", "minCandidateRequests": 1_000_000, "maxDuration": "1h"}
LAST = STEPS[-1]
STICKY = {"weight": 50, "sticky": {"cookie": "arm"}}


@beside
def test_a_gateway_that_is_made_again_holds_the_weight_meanwhile(world: World) -> None:
    place = world.place("gateway")
    gateway = place.gateway("own")
    place.apply(gateway)
    place.serving(
        route={"parentRefs": [{"name": "own"}]},
        strategy={"steps": [{"weight": 25, "hold": HELD}, LAST]},
    )
    second = place.register()
    place.reaches_weight(25, version=second)
    place.has_condition("ModelDeployment", "serve", "TrafficProgrammed", "True", "Programmed")

    place.api.delete("Gateway", place.namespace, "own")
    missed = ("False", "GatewayNotFound", "Gateway 'own' does not exist")
    place.has_condition("ModelDeployment", "serve", "TrafficProgrammed", *missed)
    obj = place.has_condition(
        "ModelDeployment", "serve", "Progressing", "False", "RouteNotProgrammed"
    )
    assert obj["status"]["weight"] == 25, place.explain()
    place.apply(gateway)
    obj = place.has_condition("ModelDeployment", "serve", "TrafficProgrammed", "True", "Programmed")
    assert obj["status"]["weight"] == 25, place.explain()

    revision = obj["status"]["candidate"]["revision"]
    answer = place.request("promote", revision)
    assert answer["outcome"] == "Done", answer
    place.is_champion(second)


@beside
def test_a_client_stays_with_the_version_that_answered_it_first(world: World) -> None:
    place = world.place("sticky")
    place.serving(strategy={"steps": [STICKY, LAST]})
    traffic = place.traffic(rate=10)
    second = place.register()
    place.reaches_weight(50, version=second)
    obj = place.has_condition("ModelDeployment", "serve", "TrafficProgrammed", "True", "Programmed")
    revisions = {obj["status"][arm]["revision"] for arm in ("champion", "candidate")}

    clients: dict[str, str] = {}
    for answer in place.ask(times=20):
        clients[answer["x-linnet-revision"]] = answer["set-cookie"].partition(";")[0]
    assert clients.keys() == revisions, place.explain()
    for revision, cookie in clients.items():
        answers = place.ask(headers={"Cookie": cookie}, times=30)
        assert {each["x-linnet-revision"] for each in answers} == {revision}, cookie

    obj = place.get("ModelDeployment", "serve")
    assert obj is not None
    assert says(obj, "Ready", "False", "CanaryInProgress"), condition(obj, "Ready")
    answer = place.request("promote", obj["status"]["candidate"]["revision"])
    assert answer["outcome"] == "Done", answer
    place.is_champion(second, seconds=300)
    (late,) = place.ask(headers={"Cookie": next(iter(clients.values()))})
    assert (late["status"], late["x-linnet-model-version"]) == (200, second)
    traffic.has_no_failure()
