"""Who should get which share, and what the data plane says of it."""

from typing import Any

import pytest
from builders import CANDIDATE, CHAMPION, midway
from hypothesis import given
from hypothesis import strategies as st
from linnet.api.model_deployment import DecisionVerb
from linnet.api.reasons import Reason
from linnet.core.rollout import traffic

PARENTS: list[Any] = [{"name": "eg"}]


def route(
    weights: dict[str, int], *reports: tuple[str, str], generation: int = 3, observed: int = 3
) -> Any:
    conditions = [
        {
            "type": kind,
            "status": status,
            "reason": f"{kind}Reason",
            "message": "words",
            "observedGeneration": observed,
        }
        for kind, status in reports
    ]
    parents = [{"parentRef": {"name": "eg"}, "conditions": conditions}] if reports else []
    refs = [{"name": name, "weight": weight} for name, weight in weights.items()]
    return {
        "metadata": {"generation": generation},
        "spec": {"rules": [{"backendRefs": refs}]},
        "status": {"parents": parents},
    }


GOOD = (("Accepted", "True"), ("ResolvedRefs", "True"))


@pytest.mark.parametrize(
    ("found", "reason", "observed", "programmed"),
    [
        (route({"a": 100}), Reason.WAITING, False, False),
        (route({"a": 100}, *GOOD), Reason.PROGRAMMED, True, True),
        (route({"a": 100}, *GOOD, observed=2), Reason.WAITING, False, False),
        (route({"a": 100}, ("Accepted", "False")), Reason.ROUTE_NOT_ACCEPTED, True, False),
        (
            route({"a": 100}, ("Accepted", "True"), ("ResolvedRefs", "False")),
            Reason.REFS_NOT_RESOLVED, True, False,
        ),
        (
            route({"a": 100}, *GOOD, ("RouteRulesOverlap", "True")),
            Reason.ROUTE_OVERLAP, True, False,
        ),
        (
            route({"a": 100}, *GOOD, ("PartiallyInvalid", "True")),
            Reason.REFS_NOT_RESOLVED, True, False,
        ),
        (
            route({"a": 100}, *GOOD, ("BackendsAvailable", "False")),
            Reason.REFS_NOT_RESOLVED, True, False,
        ),
        (route({"a": 100}, *GOOD, ("BackendsAvailable", "True")), Reason.PROGRAMMED, True, True),
    ],
    ids=[
        "no answer", "good", "of an older route", "not accepted", "unresolved", "overlap",
        "partly invalid", "no backends", "backends there",
    ],
)  # fmt: skip
def test_what_a_gateway_reports(
    found: Any, reason: Reason, observed: bool, programmed: bool
) -> None:
    view = traffic.read_route(found, parents=PARENTS, missing_gateways=())
    assert (view.reason, view.observed, view.programmed) == (reason, observed, programmed)


def test_every_gateway_must_have_answered() -> None:
    both = [*PARENTS, {"name": "other"}]
    view = traffic.read_route(route({"a": 100}, *GOOD), parents=both, missing_gateways=())
    assert not view.observed
    assert view.message == "Gateway 'other' has not answered the route yet"


@pytest.mark.parametrize("said", [(), GOOD], ids=["nothing", "what it said before it went"])
def test_a_gateway_that_does_not_exist_keeps_nobody_waiting(said: Any) -> None:
    view = traffic.read_route(route({"a": 100}, *said), parents=PARENTS, missing_gateways=["eg"])
    assert not view.programmed
    assert (view.reason, view.observed) == (Reason.GATEWAY_NOT_FOUND, True)
    assert view.message == (
        "Gateway 'eg' does not exist: create it or correct `spec.route.parentRefs`"
    )


def test_weights_that_somebody_else_wrote_are_no_statement() -> None:
    view = traffic.read_route(
        route({"a": 60, "b": 60}, *GOOD), parents=PARENTS, missing_gateways=()
    )
    assert view.weights == {}


def test_no_route_is_nothing_yet() -> None:
    assert not traffic.read_route(None, parents=PARENTS, missing_gateways=()).exists


@pytest.mark.parametrize(
    ("verb", "performed", "expected"),
    [
        (DecisionVerb.ADVANCE, True, ((CHAMPION, 75), (CANDIDATE, 25))),
        (DecisionVerb.ADVANCE, False, ((CHAMPION, 75), (CANDIDATE, 25))),
        (DecisionVerb.ROLL_BACK, False, ((CHAMPION, 100),)),
        (DecisionVerb.WITHDRAW, False, ((CHAMPION, 100),)),
    ],
)
def test_shares_follow_recorded_facts(
    verb: DecisionVerb, performed: bool, expected: traffic.Shares
) -> None:
    seen = midway(weight=25, verb=verb, performed=performed)
    assert traffic.desired(seen.status) == expected


def test_before_there_is_a_champion_nobody_gets_anything() -> None:
    assert traffic.desired(midway().status.model_copy(update={"champion": None})) == ()


@given(st.integers(1, 20), st.integers(1, 100))
def test_a_candidate_by_replicas_has_at_least_one_pod_and_never_more_than_asked(
    replicas: int, weight: int
) -> None:
    pods = traffic.candidate_replicas(replicas=replicas, weight=weight, by_replicas=True)
    assert 1 <= pods <= replicas
    more = traffic.candidate_replicas(
        replicas=replicas, weight=min(100, weight + 1), by_replicas=True
    )
    assert more >= pods
    assert traffic.candidate_replicas(replicas=replicas, weight=100, by_replicas=True) == replicas
    behind = traffic.candidate_replicas(replicas=replicas, weight=weight, by_replicas=False)
    assert behind == replicas


@given(st.dictionaries(st.text("ab", min_size=1, max_size=3), st.integers(1, 50), min_size=1))
def test_shares_by_replicas_sum_to_100(counts: dict[str, int]) -> None:
    weights = traffic._percentages(counts, sum(counts.values()))
    assert sum(weights.values()) == 100
    assert min(weights.values()) >= 0
