"""Steps in which a client stays with the version that answered it first."""

from typing import Any

from scenarios import HOLD, WITH_GATEWAY, at_weight, keep, promoted, rejected
from simulation import NAMESPACE, Simulation, offer, serving

STICKY: dict[str, Any] = {
    **WITH_GATEWAY,
    "strategy": {
        "steps": [
            {"weight": 20, "hold": HOLD},
            {"weight": 50, "sticky": {"cookie": "linnet-arm"}, "hold": {"maxDuration": "10s"}},
            {"weight": 100, "hold": {"minDuration": "5s"}},
        ]
    },
}


def standing(**behaviour: Any) -> Simulation:
    """A rollout that stands in its sticky step."""
    simulation = serving(spec=STICKY, rate=40)
    simulation.invariants.append(keep)
    offer(simulation, "2", **behaviour)
    assert simulation.run(300, at_weight(50, "2")), simulation.message("Progressing")
    return simulation


def session(simulation: Simulation) -> Any:
    route = simulation.cluster.objects["HTTPRoute", NAMESPACE, "delays"]
    return route["spec"]["rules"][0].get("sessionPersistence")


def test_clients_are_kept_until_a_person_decides() -> None:
    simulation = standing()
    assert session(simulation) == {"type": "Cookie", "sessionName": "linnet-arm"}
    simulation.run(120)
    assert simulation.status["weight"] == 50
    assert simulation.condition("Progressing") == ("False", "ManualPause")
    # It is clients that are shared out, not requests.
    assert simulation.condition("SplitAsConfigured") == ("True", "NotNeeded")
    simulation.request("promote", simulation.status["candidate"]["revision"])
    assert simulation.run(60, promoted("2")), simulation.message("Progressing")
    assert session(simulation) is None
    simulation.run(60)
    simulation.stays_silent(60)


def test_a_rollback_lets_clients_go_in_the_same_write() -> None:
    simulation = standing()
    simulation.behaviours["2"].bad = 0.6
    assert simulation.run(60, lambda s: bool(s.status.get("rejected")))
    simulation.run(1)
    assert session(simulation) is None
    assert len(simulation.programmed) == 1
    assert simulation.run(90, rejected("2"))


def test_a_step_that_is_no_longer_sticky_lets_clients_go() -> None:
    simulation = standing()
    simulation.edit(lambda obj: obj["spec"]["strategy"]["steps"][1].pop("sticky"))
    simulation.run(2)
    assert session(simulation) is None
    assert simulation.condition("TrafficProgrammed") == ("True", "Programmed")
    assert simulation.run(120, promoted("2")), simulation.message("Progressing")


def test_where_routes_have_no_word_for_it_nothing_begins() -> None:
    simulation = serving(spec=WITH_GATEWAY, rate=40)
    simulation.world.sessions_exist = False
    header = {"weight": 50, "sticky": {"header": "x-arm"}}
    simulation.edit(lambda obj: obj["spec"]["strategy"].update(steps=[header, {"weight": 100}]))
    offer(simulation, "2")
    simulation.run(60)
    assert simulation.condition("Stalled") == ("True", "InvalidSpec")
    assert simulation.message("Stalled") == (
        "spec.strategy.steps[0].sticky needs `sessionPersistence` in HTTPRoutes, which this "
        "cluster's Gateway API has not: install its experimental channel and restart Linnet, or "
        "remove the field"
    )
    assert len(simulation.deployments()) == 1
    simulation.world.sessions_exist = True
    assert simulation.run(60, at_weight(50, "2")), simulation.message("Progressing")
    assert session(simulation) == {"type": "Header", "sessionName": "x-arm"}
