"""What is decided about one ModelDeployment in the middle of a rollout, and the words for it."""

import math
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from builders import CANDIDATE, CHAMPION, NOW, evidence_state, midway, model, pod, revision, spec
from linnet.api.model_deployment import DecisionVerb, Rejected
from linnet.api.shared import format_time
from linnet.core import evidence
from linnet.core.evidence import Block
from linnet.core.plan import ApplyObject, DeleteObject, Plan, SetAlias
from linnet.core.rollout import analysis, judgement, planner, traffic
from linnet.core.rollout.analysis import Process
from linnet.core.rollout.state import Observation, TrafficView

ASKED = "2026-11-25T11:59:00Z"


def plan_of(seen: Observation) -> Plan[Any]:
    return planner.decide(seen, now=NOW)


def condition(plan: Plan[Any], kind: str) -> tuple[str, str, str]:
    found = next(each for each in plan.conditions if each.type == kind)
    return str(found.status), found.reason, found.message


# -- requests ------------------------------------------------------------------------------------

REQUESTS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "promote": (
        f"promote={CANDIDATE}", {}, "Done", "goes on to weight 25 %",
    ),
    "promote another": (
        f"promote={CHAMPION}", {}, "Refused", f"the candidate is {CANDIDATE}, not {CHAMPION}",
    ),
    "promote at 100 %": (
        f"promote={CANDIDATE}", {"weight": 100}, "Refused", "the candidate already has 100 %",
    ),
    "promote while traffic returns": (
        f"promote={CANDIDATE}", {"verb": DecisionVerb.ROLL_BACK, "performed": False}, "Refused",
        "no rollout runs",
    ),
    "promote without a revision": (
        "promote", {}, "Refused",
        "the request 'promote' must name a revision: promote=<revision>@<time>",
    ),
    "abort": (
        f"abort={CANDIDATE}", {}, "Done", "the candidate is rolled back and rejected",
    ),
    "abort beats a step that could advance": (
        f"abort={CANDIDATE}", {"state": evidence_state(spec(), good=True)}, "Done",
        "the candidate is rolled back and rejected",
    ),
    "retry of what is not rejected": (
        f"retry={CANDIDATE}", {}, "Refused",
        f"revision {CANDIDATE} is not rejected; rejected are: none",
    ),
    "resume without a pause": ("resume", {}, "Done", "nothing waited for `resume`"),
    "resume": ("resume", {"paused": True}, "Done", "the step is held once more"),
    "undo": (
        f"undo={CANDIDATE}", {}, "Refused",
        f"the champion is {CHAMPION}, not {CANDIDATE}: `undo` names the champion to be undone",
    ),
    "check": (
        "check", {}, "Refused",
        "ModelDeployment has no request 'check'; it has: promote, promote-full, abort, retry, "
        "resume, undo",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REQUESTS.values(), ids=REQUESTS)
def test_requests(case: tuple[str, dict[str, Any], str, str]) -> None:
    text, changes, outcome, message = case
    plan = plan_of(midway(request_annotation=f"{text}@{ASKED}", **changes))
    assert plan.records
    assert plan.status.request is not None
    assert (str(plan.status.request.outcome), plan.status.request.message) == (outcome, message)
    assert plan.status.request.time == ASKED


def answered(seen: Observation) -> Observation:
    return replace(seen, status=plan_of(seen).status)


@pytest.mark.parametrize(
    "text", [f"abort={CHAMPION}@{ASKED}", "resume@2026-11-25T11:00:00Z", "please", "bogus@" + ASKED]
)
def test_a_request_is_answered_once(text: str) -> None:
    seen = answered(midway(request_annotation=text))
    assert seen.status.request is not None
    assert not plan_of(seen).records


def test_an_older_request_is_ignored() -> None:
    seen = answered(midway(request_annotation=f"resume@{ASKED}"))
    late = replace(seen, request_annotation=f"abort={CANDIDATE}@2026-11-25T11:58:59Z")
    assert not plan_of(late).records


def test_a_request_of_the_far_future_is_ignored() -> None:
    assert not plan_of(midway(request_annotation="resume@2026-11-25T13:00:00Z")).records


# -- deciding ------------------------------------------------------------------------------------

WORLDS: dict[str, Observation] = {
    "in the middle": midway(),
    "ready to advance": midway(state=evidence_state(spec(), good=True)),
    "a regression": midway(state=evidence_state(spec(), log_e=20.0)),
    "on its way": midway(performed=False),
    "returning": midway(verb=DecisionVerb.ROLL_BACK, performed=False),
    "at 100 %": midway(weight=100),
    "timed out with suspicion": midway(
        held=timedelta(minutes=11), state=evidence_state(spec(), log_e=math.log(16))
    ),
    "another wish": midway(model=model(versions=("1", "2", "3"), challenger="3", champion="1")),
    "an unhealthy candidate": midway(
        revisions={
            CHAMPION: revision(CHAMPION, pod("a")),
            CANDIDATE: revision(
                CANDIDATE, pod("b", ready=False, restarts=3, last_restart=NOW), version="2"
            ),
        }
    ),
}


@pytest.mark.parametrize("seen", WORLDS.values(), ids=WORLDS)
def test_a_record_performs_nothing_and_deciding_again_records_it_no_second_time(
    seen: Observation,
) -> None:
    for _ in range(10):
        plan = plan_of(seen)
        if not plan.records:
            break
        assert plan.actions == ()
        after = replace(seen, status=plan.status, samples=None)
        assert plan_of(after).status.decision is not None
        seen = after
    else:
        raise AssertionError("facts are recorded without end")
    assert plan_of(seen) == plan_of(seen)


@pytest.mark.parametrize("seen", WORLDS.values(), ids=WORLDS)
def test_shares_always_sum_to_100(seen: Observation) -> None:
    for status in (seen.status, plan_of(seen).status):
        assert sum(weight for _, weight in traffic.desired(status)) == 100


@pytest.mark.parametrize("seen", WORLDS.values(), ids=WORLDS)
def test_nothing_that_serves_is_ever_deleted_and_no_alias_moves_before_the_promotion(
    seen: Observation,
) -> None:
    plan = plan_of(seen)
    assert not any(isinstance(action, DeleteObject | SetAlias) for action in plan.actions)


def test_a_rollback_writes_the_route_first() -> None:
    plan = plan_of(midway(verb=DecisionVerb.ROLL_BACK, performed=False))
    first = plan.actions[0]
    assert isinstance(first, ApplyObject)
    assert first.manifest["kind"] == "HTTPRoute"
    (rule,) = first.manifest["spec"]["rules"]
    assert [(ref["name"], ref["weight"]) for ref in rule["backendRefs"]] == [(CHAMPION, 100)]


def test_a_broken_champion_keeps_traffic_where_it_is() -> None:
    both = {
        CHAMPION: revision(CHAMPION, pod("a", ready=False)),
        CANDIDATE: revision(
            CANDIDATE, pod("b", ready=False, restarts=3, last_restart=NOW), version="2"
        ),
    }
    assert plan_of(midway(revisions=both)).status.decision.verb is DecisionVerb.ADVANCE


@pytest.mark.parametrize("name", ["a regression", "an unhealthy candidate"])
def test_bad_candidates_go_back_even_while_paused(name: str) -> None:
    seen = WORLDS[name]
    paused = replace(seen, spec=seen.spec.model_copy(update={"paused": True}))
    assert plan_of(paused).status.decision.verb is DecisionVerb.ROLL_BACK


def test_a_route_that_is_not_programmed_does_not_disarm_the_rollback() -> None:
    seen = replace(WORLDS["a regression"], traffic=TrafficView(exists=True))
    assert plan_of(seen).status.decision.verb is DecisionVerb.ROLL_BACK


def test_counters_are_read_when_they_are_due_and_never_with_a_decision_on_its_way() -> None:
    due = evidence_state(spec(), read=timedelta(seconds=10))
    assert planner.scrape_is_due(midway(state=due), now=NOW)
    fresh = evidence_state(spec(), read=timedelta(seconds=9))
    assert not planner.scrape_is_due(midway(state=fresh), now=NOW)
    moving = midway(state=due, performed=False, traffic=TrafficView(exists=True))
    assert not planner.scrape_is_due(moving, now=NOW)


# -- words ---------------------------------------------------------------------------------------


def with_counts(*, candidate: tuple[int, int], champion: tuple[int, int], log_e: float) -> Any:
    given = spec()
    state = evidence_state(given, log_e=log_e)
    (name, process), *_ = state.processes.items()
    grid = [0.0] * len(evidence.GRID)
    totals = Block(candidate[1], candidate[0], champion[1], champion[0])
    counted = replace(process, totals=totals, n=totals.n1, k=totals.k1, a=tuple(grid))
    assert isinstance(counted, Process)
    return replace(state, processes={name: counted})


def rolled_back() -> Observation:
    state = with_counts(candidate=(30, 120), champion=(9, 900), log_e=math.log(1000))
    seen = midway(state=state)
    status = judgement.analysis_status(
        analysis.load(seen.status.analysis.state or ""),  # type: ignore[union-attr]
        planner.steps.rules(seen.spec),
        now=NOW,
    )
    return replace(seen, status=seen.status.model_copy(update={"analysis": status}))


def test_the_sentence_of_a_rollback_has_the_numbers() -> None:
    plan = plan_of(rolled_back())
    assert plan.status.decision.message == (
        "regression: errors 30 of 120 candidate requests, 9 of 900 champion requests were bad; "
        "E 910 must stay below 20 (odds ratio 33, from ≤ .033 to ≥ 30); "
        "traffic returned to version 1"
    )
    (rejected,) = plan.status.rejected
    assert (rejected.version, rejected.reason, rejected.message) == (
        "2", "Regression", plan.status.decision.message,
    )  # fmt: skip
    (entry,) = plan.status.history
    assert (entry.version, entry.max_weight, str(entry.decided_by)) == ("2", 5, "Verdict")


def settled(**changes: Any) -> Observation:
    """No rollout: version 1 serves everything, what was wished before is remembered."""
    seen = midway()
    status = seen.status.model_copy(
        update={
            "candidate": None, "step": None, "analysis": None,
            "decision": seen.status.decision.model_copy(  # type: ignore[union-attr]
                update={"verb": DecisionVerb.ROLL_BACK, "performed": True}
            ),
            **changes.pop("status", {}),
        }
    )  # fmt: skip
    weights = {CHAMPION: 100}
    view = TrafficView(exists=True, weights=weights, observed=True, programmed=True)
    return replace(seen, status=status, traffic=view, **changes)


def rejection(version: str = "2", reason: str = "Regression") -> Rejected:
    key = revision(CANDIDATE, version="2").content_key
    return Rejected(
        version=version,
        revision=CANDIDATE,
        hash=key,
        reason=reason,
        time=format_time(NOW),
        message="it failed; traffic returned to version 1",
    )


AGAIN = (
    "To try it again: kubectl annotate mdep/delays -n team --overwrite "
    f"linnet.dev/request=retry={CANDIDATE}@$(date -u +%Y-%m-%dT%H:%M:%SZ)"
)
READY: dict[str, tuple[Observation, str, str]] = {
    "rejected": (
        settled(status={"rejected": (rejection(),)}),
        "RolledBack",
        f"it failed; traffic returned to version 1. {AGAIN}",
    ),
    "unhealthy": (
        settled(status={"rejected": (rejection(reason="CandidateUnhealthy"),)}),
        "CandidateUnhealthy",
        f"it failed; traffic returned to version 1. {AGAIN}",
    ),
    "the same content under another number": (
        settled(status={"rejected": (rejection(version="7"),)}),
        "SameContentAsRejected",
        "version 2 has the same content as version 7, which was rejected: "
        f"it failed; traffic returned to version 1. {AGAIN}",
    ),
    "no such model": (
        settled(model=None, model_missing=True),
        "ModelNotFound",
        "the registry has no model 'delays': register one, or correct `spec.model.name`",
    ),
    "no such alias": (
        settled(model=model(champion="1")),
        "ModelNotFound",
        "model 'delays' has no alias 'challenger' (it has: champion): set it, or correct "
        "`spec.model.alias`",
    ),
    "a stage for an alias": (
        settled(spec=spec(model={"name": "delays", "alias": "Staging"}), model=model(champion="1")),
        "ModelNotFound",
        "model 'delays' has no alias 'Staging' (it has: champion): set it, or correct "
        "`spec.model.alias`; stages are not followed, an alias takes their place",
    ),
    "a version that cannot serve": (
        settled(model=model(challenger="2", champion="1", clusters="2")),
        "NotServable",
        "version 2 of model 'delays' cannot be served: it has no `predict`. Name another model or "
        "version (`spec.model.alias`)",
    ),
    "no such version": (
        settled(spec=spec(model={"name": "delays", "version": "9"})),
        "ModelNotFound",
        "model 'delays' has no version '9' (it has: 1, 2): correct `spec.model.version`",
    ),
    "a registry that is down from the start": (
        settled(model=None, registry_error="connection refused"),
        "RegistryUnavailable",
        "the registry does not answer: connection refused",
    ),
    "serving": (
        settled(model=model(challenger="1", champion="1")),
        "Serving",
        "version 1 serves all traffic",
    ),
    "a rollout": (
        midway(),
        "CanaryInProgress",
        "version 2 takes 5 % (step 1/4); no evidence yet",
    ),
    "a pause": (midway(given=spec(paused=True)), "Paused", "version 2 is held at 5 %"),
}


@pytest.mark.parametrize("case", READY.values(), ids=READY)
def test_ready_says(case: tuple[Observation, str, str]) -> None:
    seen, reason, message = case
    truth, *rest = condition(plan_of(seen), "Ready")
    assert rest == [reason, message]
    assert truth == ("True" if reason == "Serving" else "False")


@pytest.mark.parametrize("name", ["rejected", "unhealthy", "the same content under another number"])
def test_what_is_rejected_is_stalled_and_not_tried_again(name: str) -> None:
    plan = plan_of(READY[name][0])
    assert condition(plan, "Stalled")[0] == "True"
    assert plan.status.candidate is None
    assert condition(plan, "Available")[0] == "True"


def test_a_champion_alias_that_somebody_moved_is_told_and_left() -> None:
    moved = model(challenger="1", champion="2")
    plan = plan_of(
        settled(
            model=moved,
            status={
                "decision": midway().status.decision.model_copy(  # type: ignore[union-attr]
                    update={"verb": DecisionVerb.PROMOTE, "performed": True}
                )
            },
        )
    )
    assert condition(plan, "Promoted") == (
        "False",
        "ChampionAliasMoved",
        "alias 'champion' names version 2, version 1 is champion: somebody moved it; it is not "
        "written again before the next promotion",
    )
    assert not any(isinstance(action, SetAlias) for action in plan.actions)


def test_an_older_deployment_keeps_its_alias() -> None:
    plan = plan_of(settled(model=model(challenger="1"), alias_owner="team/older"))
    assert condition(plan, "Promoted") == (
        "False",
        "ChampionAliasTaken",
        "ModelDeployment team/older is older and writes the alias 'champion'",
    )
