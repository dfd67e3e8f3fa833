"""Whatever users, faults and foreign hands do in whatever order: once they stop, all is well.

Well means: the wish is served or remembered as rejected, nothing is half done, nothing is written
any more, and the invariant held in every pass on the way.
"""

from collections.abc import Callable
from typing import Any

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from linnet.ports import Conflict, Rejected, Unavailable
from scenarios import WITH_GATEWAY, WITHOUT_GATEWAY, Story, begin
from simulation import NAMESPACE, Simulation, offer

Deed = Callable[[Simulation], object]


def next_version(s: Simulation) -> str:
    return str(len(s.registry.versions) + 1)


def a_good_version(s: Simulation) -> None:
    offer(s, next_version(s))


def a_bad_version(s: Simulation) -> None:
    offer(s, next_version(s), bad=0.6)


def a_version_that_does_not_load(s: Simulation) -> None:
    offer(s, next_version(s), ready_after=None, fetch_exit=10)


def the_champion_again(s: Simulation) -> None:
    s.registry.aliases["challenger"] = s.registry.aliases.get("champion", "1")


def an_older_version(s: Simulation) -> None:
    s.registry.aliases["challenger"] = "1"


def the_alias_is_gone(s: Simulation) -> None:
    s.registry.aliases.pop("challenger", None)


def an_abort(s: Simulation) -> None:
    candidate = s.status.get("candidate")
    if candidate:
        s.request("abort", candidate["revision"])


def a_promotion_by_hand(s: Simulation) -> None:
    candidate = s.status.get("candidate")
    if candidate:
        s.request("promote", candidate["revision"])


def a_retry(s: Simulation) -> None:
    rejected = s.status.get("rejected")
    if rejected:
        s.request("retry", rejected[0]["revision"])


def a_pause(s: Simulation) -> None:
    s.edit(lambda obj: obj["spec"].update(paused=True))


def a_spec_that_is_not_supported(s: Simulation) -> None:
    s.edit(lambda obj: obj["spec"]["strategy"].update(probation={"duration": "1h"}))


def a_malformed_request(s: Simulation) -> None:
    s.edit(lambda obj: obj["metadata"]["annotations"].update({"linnet.dev/request": "please"}))


def other_steps(s: Simulation) -> None:
    s.edit(lambda obj: obj["spec"]["strategy"].update(steps=[{"weight": 30}, {"weight": 100}]))


def more_replicas(s: Simulation) -> None:
    s.edit(lambda obj: obj["spec"]["server"].update(replicas=3))


def another_template(s: Simulation) -> None:
    s.edit(
        lambda obj: obj["spec"]["server"].update(template={"env": [{"name": "A", "value": "1"}]})
    )


def the_registry_is_down(s: Simulation) -> None:
    s.registry.down = True


def the_metrics_are_gone(s: Simulation) -> None:
    s.metrics_up = False


def the_gateway_is_away(s: Simulation) -> None:
    s.gateway_up = False


def the_api_server_refuses(s: Simulation) -> None:
    for kind in ("Deployment", "HTTPRoute", "Service"):
        s.cluster.fail("apply", kind, Rejected("admission webhook denied the request"))


def the_api_server_is_overloaded(s: Simulation) -> None:
    for verb in ("apply", "create", "patch", "delete", "scale"):
        for kind in ("Deployment", "HTTPRoute", "Service", "ControllerRevision"):
            s.cluster.fail(verb, kind, Unavailable("too many requests"))


def every_status_write_conflicts(s: Simulation) -> None:
    s.cluster.fail("status", "ModelDeployment", Conflict("the object has been modified"))


def a_crash_soon(s: Simulation) -> None:
    s.cluster.crash_after = 2


def a_lost_answer_soon(s: Simulation) -> None:
    s.cluster.lose_after = 1


def a_route_edited_by_hand(s: Simulation) -> None:
    route = s.cluster.objects.get(("HTTPRoute", NAMESPACE, "delays"))
    if route is not None:
        s.cluster.put({**route, "spec": {**route["spec"], "hostnames": ["else.example.com"]}})


def a_service_deleted_by_hand(s: Simulation) -> None:
    for name in s.of_kind("Service"):
        if name.endswith("-mirror"):
            s.cluster.remove("Service", NAMESPACE, name)
            return


DEEDS: tuple[Deed, ...] = (
    a_good_version, a_good_version, a_bad_version, a_version_that_does_not_load,
    the_champion_again, an_older_version, the_alias_is_gone, an_abort, a_promotion_by_hand,
    a_retry, a_pause, a_spec_that_is_not_supported, a_malformed_request, other_steps,
    more_replicas, another_template, the_registry_is_down, the_metrics_are_gone,
    the_gateway_is_away, the_api_server_refuses, the_api_server_is_overloaded,
    every_status_write_conflicts, a_crash_soon, a_lost_answer_soon, a_route_edited_by_hand,
    a_service_deleted_by_hand,
)  # fmt: skip


def mend(s: Simulation) -> None:
    """The faults stop, the spec is a good one again, the alias names a version."""
    s.cluster.mend()
    s.cluster.crash_after = s.cluster.lose_after = None
    s.registry.down = False
    s.metrics_up = s.gateway_up = True
    s.registry.aliases.setdefault("challenger", next(reversed(s.registry.versions)))

    def good(obj: dict[str, Any]) -> None:
        obj["spec"].update(paused=False)
        obj["spec"]["strategy"].pop("probation", None)

    s.edit(good)


def well(s: Simulation) -> None:
    """Nothing is half done."""
    status = s.status
    assert status.get("candidate") is None, s.message("Progressing")
    champion = status["champion"]
    assert s.of_kind("Deployment") == [champion["revision"]]
    if s.programmed:
        assert {n: w for n, w in s.programmed.items() if w} == {champion["revision"]: 100}
    assert s.registry.aliases["champion"] == champion["version"]
    assert s.registry.writes.count(f"alias champion={champion['version']}") <= 3
    if champion["revision"] != status["wish"]["revision"]:
        assert s.condition("Ready")[1] in (
            "RolledBack", "SameContentAsRejected", "CandidateUnhealthy",
        )  # fmt: skip
    else:
        assert s.condition("Ready") == ("True", "Serving"), s.message("Ready")


def live_through(deeds: list[tuple[Deed, int]], *, gateway: bool) -> None:
    spec = WITH_GATEWAY if gateway else WITHOUT_GATEWAY
    s = begin(Story(deeds=(), end=lambda _: True, spec=spec))
    s.invariants[:] = [keeps]
    for deed, seconds in deeds:
        deed(s)
        s.run(seconds)
    mend(s)
    assert s.run(3000, at_rest), (s.condition("Progressing"), s.message("Progressing"))
    s.run(120)
    well(s)
    s.stays_silent()


def at_rest(s: Simulation) -> bool:
    status = s.status
    champion = status.get("champion") or {}
    return (
        status.get("candidate") is None
        and s.condition("Ready")[1] in ("Serving", "RolledBack", "SameContentAsRejected",
                                        "CandidateUnhealthy")
        and s.registry.aliases.get("champion") == champion.get("version")
    )  # fmt: skip


def keeps(s: Simulation) -> None:
    """The invariant without what a foreign hand or a scale in progress may disturb."""
    route = s.cluster.objects.get(("HTTPRoute", NAMESPACE, "delays"))
    if route is not None:
        assert sum(ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]) == 100
    champion = s.status.get("champion") or {}
    if champion.get("since"):
        deployment = s.cluster.objects[("Deployment", NAMESPACE, champion["revision"])]
        assert deployment["spec"]["replicas"] >= 2
    named = s.registry.aliases.get("champion")
    earned = {held.rpartition("-")[0].rpartition("-v")[2] for held in s.held}
    assert named is None or named in earned
    assert s.unanswered == 0


@settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    # Shrinking such stories takes minutes; they are short as drawn.
    phases=(Phase.explicit, Phase.generate),
)
@given(
    st.lists(
        st.tuples(st.sampled_from(DEEDS), st.sampled_from([1, 4, 15, 40, 90])),
        min_size=1,
        max_size=5,
    ),
    st.booleans(),
)
def test_once_everything_stops_all_is_well(deeds: list[tuple[Deed, int]], gateway: bool) -> None:
    live_through(deeds, gateway=gateway)
