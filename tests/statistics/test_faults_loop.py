"""Bad input and faults in the middle of a rollout: it holds, and ends as it would have without.

Each row of the table in `docs/explanation/faults.md` that needs no real cluster.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from linnet.core.rollout import traffic
from scenarios import HOLD, WITH_GATEWAY, at_weight, keep, promoted, rejected
from simulation import NAMESPACE, Simulation, copied, offer, serving

Fault = Callable[[Simulation], None]
GATEWAY = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway"}
SLOW = {**HOLD, "minDuration": "60s", "maxDuration": "2m"}
PATIENT = {
    **WITH_GATEWAY,
    "strategy": {
        "steps": [{"weight": 20, "hold": SLOW}, {"weight": 100, "hold": {"minDuration": "5s"}}]
    },
}


def midway(**behaviour: Any) -> Simulation:
    """A rollout of version 2 that has stood at 20 % for a while."""
    simulation = serving(spec=PATIENT, rate=40)
    simulation.invariants.append(keep)
    offer(simulation, "2", **behaviour)
    assert simulation.run(120, at_weight(20, "2")), simulation.message("Progressing")
    simulation.run(15)
    return simulation


def ends_well(simulation: Simulation, seconds: int = 600) -> None:
    """The candidate is promoted, and then nothing is written any more."""
    assert simulation.run(seconds, promoted("2")), simulation.message("Progressing")
    simulation.run(60)
    assert not simulation.status.get("rejected")
    assert simulation.condition("Ready") == ("True", "Serving")
    simulation.stays_silent(60)


def counted(simulation: Simulation) -> int:
    """Candidate requests that were counted, warming ones included."""
    (metric,) = simulation.status["analysis"]["metrics"]
    return int(metric["candidate"]["total"] + metric["warming"]["total"])


@pytest.mark.parametrize(
    ("seconds", "step"), [(300, 1), (3600, 30)], ids=["five minutes", "an hour"]
)
def test_metrics_that_are_gone_hold_the_weight_and_lose_no_request(
    monkeypatch: pytest.MonkeyPatch, seconds: int, step: int
) -> None:
    simulation = midway()
    simulation.metrics_up, simulation.rate = False, 5
    monkeypatch.setattr(Simulation, "step", step)
    simulation.run(seconds)
    monkeypatch.undo()
    assert simulation.status["weight"] == 20
    assert simulation.condition("MetricsAvailable") == ("False", "MetricsUnavailable")
    assert simulation.condition("Progressing") == ("False", "MetricsUnavailable")
    before = simulation.served["2"][0]
    simulation.metrics_up = True
    simulation.run(6)
    assert before <= counted(simulation) <= simulation.served["2"][0]
    ends_well(simulation)


def test_a_candidate_that_fails_while_metrics_are_gone_goes_back_when_they_return() -> None:
    simulation = midway()
    simulation.metrics_up = False
    simulation.behaviours["2"].bad = 0.5
    simulation.run(300)
    assert simulation.status["weight"] == 20
    simulation.metrics_up = True
    assert simulation.run(10, lambda s: bool(s.status.get("rejected")))
    assert simulation.run(60, rejected("2"))


def _processes_restart(s: Simulation) -> None:
    s.counters.clear()
    s.process = "2"


def _counters_go_back(s: Simulation) -> None:
    s.counters.clear()


def _pods_are_replaced(s: Simulation) -> None:
    for arm in ("champion", "candidate"):
        name = f"{s.status[arm]['revision']}-0"
        s.cluster.remove("Pod", NAMESPACE, name)
        s.pod_started.pop(name)


def _clock_steps(s: Simulation, by: timedelta) -> None:
    s.now += by
    s._due += by  # the queue counts in monotonic time
    # The pods are as old as they were.
    s.pod_started = {name: started + by for name, started in s.pod_started.items()}


def _clock_goes_ahead(s: Simulation) -> None:
    _clock_steps(s, timedelta(minutes=10))


def _clock_goes_back(s: Simulation) -> None:
    _clock_steps(s, timedelta(minutes=-10))


def _route_is_edited(s: Simulation) -> None:
    route = copied(s.cluster.objects["HTTPRoute", NAMESPACE, "delays"])
    for ref in route["spec"]["rules"][0]["backendRefs"]:
        ref["weight"] = 50
    s.cluster.put(route)


def _route_is_deleted(s: Simulation) -> None:
    s.cluster.remove("HTTPRoute", NAMESPACE, "delays")


def _services_are_deleted(s: Simulation) -> None:
    for name in s.of_kind("Service"):
        s.cluster.remove("Service", NAMESPACE, name)


def _status_is_lost(s: Simulation) -> None:
    s.cluster.put({**s.object, "status": {}})


FAULTS: dict[str, Fault] = {
    "all processes restart": _processes_restart,
    "counters of the same process go back": _counters_go_back,
    "a pod of each arm is replaced": _pods_are_replaced,
    "the clock goes ahead": _clock_goes_ahead,
    "the clock is put back": _clock_goes_back,
    "the route's weights are edited by hand": _route_is_edited,
    "the route is deleted": _route_is_deleted,
    "all Services are deleted": _services_are_deleted,
    "the status is lost": _status_is_lost,
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_fault_in_the_middle_of_a_step_changes_no_end(fault: Fault) -> None:
    simulation = midway()
    services = simulation.of_kind("Service")
    # Where the route is not there no version is given less than all that there is.
    simulation.invariants.remove(keep)
    fault(simulation)
    simulation.run(2)
    assert simulation.of_kind("HTTPRoute") == ["delays"]
    assert set(services) <= set(simulation.of_kind("Service"))
    simulation.invariants.append(keep)
    ends_well(simulation, 1500)


@pytest.mark.parametrize("fault", [_clock_goes_back, _pods_are_replaced])
def test_a_disaster_after_a_fault_is_found_at_once(fault: Fault) -> None:
    simulation = midway()
    fault(simulation)
    simulation.behaviours["2"].bad = 1.0
    assert simulation.run(30, lambda s: bool(s.status.get("rejected")))
    assert simulation.run(90, rejected("2"))


def test_two_operators_at_once_end_as_one() -> None:
    simulation = midway()
    first = simulation.world
    simulation.start()
    both = (first, simulation.world)
    for second in range(60):
        simulation.world = both[second % 2]
        # One of them sees nothing of what the other does, for a while.
        blind = second % 2 == 1 and second < 40
        simulation.unseen = lambda obj, blind=blind: blind  # type: ignore[misc]
        simulation.run(1)
    simulation.unseen = lambda obj: False
    assert counted(simulation) <= simulation.served["2"][0]
    ends_well(simulation)
    assert simulation.registry.writes.count("alias champion=2") == 1


def test_a_status_of_an_older_backup_is_gone_on_from() -> None:
    simulation = midway()
    backup = copied(simulation.status)
    ends_well(simulation)
    # The champion that the backup names has no pod any more.
    simulation.invariants.remove(keep)
    simulation.cluster.put({**simulation.object, "status": backup})
    simulation.run(30)
    simulation.invariants.append(keep)
    ends_well(simulation, 900)


@pytest.mark.parametrize("stale", [False, True], ids=["nothing is said of it", "its words stay"])
def test_a_gateway_that_is_deleted_and_made_again_is_waited_for(stale: bool) -> None:
    simulation = midway()
    simulation.world.gateways_readable = True
    simulation.gateway_up = False
    route = simulation.cluster.objects["HTTPRoute", NAMESPACE, "delays"]
    simulation.cluster.put(route if stale else {**route, "status": {"parents": []}})
    simulation.run(120)
    assert simulation.status["weight"] == 20
    assert simulation.condition("TrafficProgrammed") == ("False", "GatewayNotFound")
    assert simulation.condition("Progressing") == ("False", "RouteNotProgrammed")
    parent = route["spec"]["parentRefs"][0]
    meta = {"namespace": parent.get("namespace", NAMESPACE), "name": parent["name"]}
    simulation.cluster.put({**GATEWAY, "metadata": meta})
    simulation.gateway_up = True
    ends_well(simulation)


def test_a_rollback_does_not_wait_for_a_gateway_that_does_not_exist() -> None:
    simulation = midway()
    simulation.world.gateways_readable = True
    simulation.gateway_up = False
    route = simulation.cluster.objects["HTTPRoute", NAMESPACE, "delays"]
    simulation.cluster.put({**route, "status": {"parents": []}})
    simulation.request("abort", simulation.status["candidate"]["revision"])
    assert simulation.run(120, rejected("2")), simulation.message("Ready")
    (told,) = simulation.cluster.objects["HTTPRoute", NAMESPACE, "delays"]["spec"]["rules"]
    assert [ref["weight"] for ref in told["backendRefs"]] == [100]


def test_an_older_route_with_the_same_match_is_named_and_waited_for() -> None:
    """It gets all requests, silently: ours gets none."""
    simulation = midway()
    ours = simulation.cluster.objects["HTTPRoute", NAMESPACE, "delays"]
    meta = {"namespace": "other", "name": "mine", "creationTimestamp": "2020-01-01T00:00:00Z"}
    older = {"metadata": meta, "spec": copied(ours["spec"])}
    older["spec"]["parentRefs"] = [{"name": "eg", "namespace": NAMESPACE}]
    simulation.rate, simulation.world.routes = 0, (traffic.read_matches(older),)
    simulation.run(180)
    assert simulation.status["weight"] == 20
    assert simulation.condition("TrafficProgrammed") == ("False", "RouteOverlap")
    assert simulation.condition("Progressing") == ("False", "RouteNotProgrammed")
    assert simulation.message("TrafficProgrammed").startswith(
        "HTTPRoute 'other/mine' is older and matches the same requests"
    )
    simulation.rate, simulation.world.routes = 40, ()
    ends_well(simulation)


OURS: dict[str, Any] = {
    "metadata": {"namespace": "team", "name": "delays", "creationTimestamp": "2026-01-02"},
    "spec": {
        "parentRefs": [{"name": "eg"}],
        "hostnames": ["a.example"],
        "rules": [{"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}],
    },
}


@pytest.mark.parametrize(
    ("meta", "spec", "twin"),
    [
        ({}, {}, "team/other"),
        ({"creationTimestamp": "2026-01-03"}, {}, ""),
        ({"creationTimestamp": "2026-01-02", "name": "a"}, {}, "team/a"),
        ({"creationTimestamp": "2026-01-02", "name": "z"}, {}, ""),
        ({"name": "delays"}, {}, ""),
        ({}, {"hostnames": ["b.example"]}, ""),
        ({}, {"hostnames": ["b.example", "a.example"]}, "team/other"),
        ({}, {"hostnames": []}, ""),
        ({}, {"parentRefs": [{"name": "eg", "namespace": "else"}]}, ""),
        ({"namespace": "else"}, {}, ""),
        ({}, {"parentRefs": [{"name": "eg", "sectionName": "http"}]}, ""),
        ({}, {"rules": [{"backendRefs": []}]}, "team/other"),
        ({}, {"rules": [{"matches": [{"path": {"value": "/v2"}}]}]}, ""),
        ({}, {"rules": [{"matches": [{"path": {"type": "Exact", "value": "/"}}]}]}, ""),
        ({}, {"rules": [{"matches": [{"headers": [{"name": "x", "value": "y"}]}]}]}, ""),
    ],
)
def test_which_route_gets_the_requests(meta: Any, spec: Any, twin: str) -> None:
    other = {
        "metadata": {
            "namespace": "team", "name": "other", "creationTimestamp": "2026-01-01", **meta,
        },
        "spec": {**OURS["spec"], **spec},
    }  # fmt: skip
    both = [traffic.read_matches(other), traffic.read_matches(OURS)]
    assert traffic.older_twin(OURS, both) == twin
