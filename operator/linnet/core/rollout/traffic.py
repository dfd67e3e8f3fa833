"""Who should get which share, and what the data plane says of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from linnet_server import contract

from linnet.api import labels
from linnet.api.model_deployment import (
    Arm,
    DecisionVerb,
    MirroredBy,
    ModelDeploymentSpec,
    ModelDeploymentStatus,
    Route,
    StepKind,
    Sticky,
)
from linnet.api.reasons import Reason
from linnet.core import names
from linnet.core.rollout import steps
from linnet.core.rollout.state import Observation, RevisionView, TrafficView

Manifest = Mapping[str, Any]
Shares = tuple[tuple[str, int], ...]
"""(revision, percent), champion first; the percents sum to 100."""

COOKIE = "Cookie"
EVERYTHING: tuple[Manifest, ...] = ({},)
"""The matches of a rule that names none."""
RETURNING = (DecisionVerb.ROLL_BACK, DecisionVerb.WITHDRAW)


def returning(status: ModelDeploymentStatus) -> bool:
    """Whether all traffic is on its way back to the champion."""
    decision = status.decision
    return decision is not None and decision.verb in RETURNING and not decision.performed


def held_back(status: ModelDeploymentStatus) -> int:
    """The percentage that stays with the old champion after a promotion; 0 where none does."""
    held = status.holdback
    if held is None or held.ended is not None or status.previous is None:
        return 0
    return held.percent


def compared(status: ModelDeploymentStatus) -> tuple[Arm | None, Arm | None]:
    """The arm that is the measure, and the one on trial.

    A champion that was just promoted is still the one on trial, beside the old one where that keeps
    a share.
    """
    if status.candidate is not None:
        return status.champion, status.candidate
    return status.previous if held_back(status) else None, status.champion


def desired(status: ModelDeploymentStatus) -> Shares:
    """The shares that the recorded facts ask for; empty before there is a champion.

    Invariant: they sum to 100, and the champion can serve alone.
    """
    if status.champion is None:
        return ()
    champion, held = status.champion.revision, held_back(status)
    if held and status.previous is not None:
        return ((champion, 100 - held), (status.previous.revision, held))
    weight = status.step.weight or 0 if status.step is not None else 0
    if status.candidate is None or weight == 0 or returning(status):
        return ((champion, 100),)
    return ((champion, 100 - weight), (status.candidate.revision, weight))


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """What a route does beside its weights."""

    mirror: tuple[str, int] | None = None
    """The revision that gets copies, and of which share of the requests."""
    cohort: str | None = None
    """The revision that answers the candidate's cohort."""
    replay: tuple[str, int] | None = None
    """As `mirror`, where the champion's server sends the copies."""
    session: tuple[str, str] | None = None
    """What keeps a client with its version: `Cookie` or `Header`, and its name."""

    @property
    def copies(self) -> tuple[str, int] | None:
        """Who gets copies, and of which share, whoever sends them."""
        return self.mirror or self.replay


def mirrored_by(spec: ModelDeploymentSpec) -> MirroredBy:
    """Who sends the copies of a shadow step when it begins.

    A gateway, where there is one and nobody needs the answers: it drops them.
    """
    if spec.route is None or steps.compares_answers(spec):
        return MirroredBy.CHAMPION
    return MirroredBy.GATEWAY


def mirror_is_refused(seen: Observation) -> bool:
    """Whether a gateway has seen a route with a mirror and does not take it."""
    view = seen.traffic
    refused = view.reason in (Reason.ROUTE_NOT_ACCEPTED, Reason.REFS_NOT_RESOLVED)
    return view.mirror is not None and view.observed and refused


def read_replay(shadow: Manifest | None) -> tuple[str, int] | None:
    """Who gets copies from the champion's server, and of which share."""
    if shadow is None:
        return None
    try:
        told = json.loads(shadow["data"][contract.SHADOW_KEY])
        return str(told["to"]), int(told["percent"])
    except (KeyError, ValueError, TypeError):
        # A foreign hand changed it: it is written anew.
        return None


def extras(spec: ModelDeploymentSpec, status: ModelDeploymentStatus) -> Extras:
    """What the recorded step asks for beside weights; nothing while traffic returns."""
    candidate, step = status.candidate, status.step
    if candidate is None or step is None or returning(status):
        return Extras()
    given = steps.present(spec, step)
    if given is not None and given.shadow is not None:
        copies = (candidate.revision, given.shadow.percent)
        by_champion = step.mirrored_by is MirroredBy.CHAMPION
        return Extras(replay=copies) if by_champion else Extras(mirror=copies)
    if given is not None and given.sticky is not None:
        return Extras(session=_session(given.sticky))
    return Extras(cohort=candidate.revision if step.kind is StepKind.COHORT else None)


def _session(sticky: Sticky) -> tuple[str, str]:
    if sticky.cookie is not None:
        return COOKIE, sticky.cookie
    return "Header", sticky.header or ""


def session_of(route: Manifest) -> tuple[str, str] | None:
    """What keeps a client with its version behind a route, as it is written."""
    found = (route["spec"].get("rules") or [{}])[0].get("sessionPersistence")
    return (found.get("type", COOKIE), found.get("sessionName", "")) if found else None


def counted_kinds(status: ModelDeploymentStatus) -> tuple[str, str]:
    """The kinds of traffic of champion and candidate that are compared now."""
    kind = status.step.kind if status.step is not None else StepKind.WEIGHT
    if kind is StepKind.SHADOW:
        return contract.KIND_WEIGHTED, contract.KIND_MIRRORED
    both = contract.KIND_COHORT if kind is StepKind.COHORT else contract.KIND_WEIGHTED
    return both, both


def settled_spec(
    spec: ModelDeploymentSpec,
    status: ModelDeploymentStatus,
    *,
    route: Manifest | None,
    service: Manifest | None,
) -> tuple[ModelDeploymentSpec, bool]:
    """The spec to work with, and whether a change of `spec.route` waits for the rollout's end.

    A rollout ends the way it began: evidence by weights and evidence by replicas do not mix, and
    neither may lose its way back to the champion in the middle.
    """
    if status.candidate is None:
        return spec, False
    if spec.route is None and route is not None and service is None:
        before = Route.model_validate(
            {
                "parentRefs": route["spec"]["parentRefs"],
                "hostnames": route["spec"].get("hostnames") or (),
                "pathPrefix": _prefix_of(route),
            }
        )
        return spec.model_copy(update={"route": before}), True
    if spec.route is not None and route is None and service is not None:
        return spec.model_copy(update={"route": None}), True
    return spec, False


def _prefix_of(route: Manifest) -> str:
    """The path under which a route of ours finds the model."""
    matches: Sequence[Manifest] = route["spec"]["rules"][0].get("matches") or ({},)
    return str((matches[0].get("path") or {}).get("value", "/"))


def candidate_replicas(*, replicas: int, weight: int, by_replicas: bool) -> int:
    """How many pods a candidate runs: all of them behind a gateway, else the nearest ratio."""
    if not by_replicas or weight >= 100:
        return replicas
    nearest = round(replicas * weight / (100 - weight))
    return min(max(nearest, 1), replicas)


def in_place(seen: Observation, status: ModelDeploymentStatus) -> bool:
    """Whether what we wrote already says what is asked for (whatever the data plane thinks)."""
    shares = desired(status)
    if not shares:
        return False
    view = seen.traffic
    session = session_of(view.manifest) if view.manifest is not None else None
    written = Extras(mirror=view.mirror, cohort=view.cohort, replay=view.replay, session=session)
    if written != extras(seen.spec, status):
        return False
    if seen.spec.route is not None:
        asked = {revision: weight for revision, weight in shares if weight > 0}
        told = {revision: weight for revision, weight in seen.traffic.weights.items() if weight > 0}
        return seen.traffic.exists and asked == told
    return seen.service is not None and selected(seen.service) == selection(shares)


def kept_share(seen: Observation, status: ModelDeploymentStatus) -> float | None:
    """The share of the arm on trial that a gateway keeps; None where nobody promises one.

    Without a gateway connections are balanced, not requests; where clients stay with their version
    it is clients.
    """
    if extras(seen.spec, status).session is not None:
        return None
    held = held_back(status)
    weight = 100 - held if held else status.step.weight if status.step is not None else None
    if seen.spec.route is None or weight is None or not 0 < weight < 100:
        return None
    return weight / 100


def selection(shares: Shares) -> str | None:
    """The one revision that a Service without a gateway selects; None for both arms."""
    serving = [revision for revision, weight in shares if weight > 0]
    return serving[0] if len(serving) == 1 else None


def selected(service: Manifest) -> str | None:
    """The revision that a Service selects; None for all of its ModelDeployment."""
    selector: Mapping[str, str] = service["spec"].get("selector") or {}
    return selector.get(labels.REVISION)


def read_replicas(service: Manifest | None, revisions: Mapping[str, RevisionView]) -> TrafficView:
    """Traffic without a gateway: the share follows ready pods."""
    if service is None:
        return TrafficView(message="no Service yet")
    only = selected(service)
    if only is not None:
        return TrafficView(
            exists=True,
            weights={only: 100},
            observed=True,
            programmed=True,
            reason=Reason.REPLICA_WEIGHTED,
            message="the Service selects one revision",
        )
    ready = {name: len(view.ready_pods) for name, view in revisions.items() if view.ready_pods}
    total = sum(ready.values())
    if total == 0:
        return TrafficView(exists=True, message="no pod behind the Service is ready")
    weights = _percentages(ready, total)
    text = ", ".join(f"{name} {count}" for name, count in sorted(ready.items()))
    return TrafficView(
        exists=True,
        weights=weights,
        observed=True,
        programmed=True,
        reason=Reason.REPLICA_WEIGHTED,
        message=f"shares follow ready pods: {text}",
    )


def _percentages(counts: Mapping[str, int], total: int) -> dict[str, int]:
    """Whole percents that sum to 100: the rest goes to the largest."""
    weights = {name: 100 * count // total for name, count in counts.items()}
    largest = max(counts, key=lambda name: (counts[name], name))
    weights[largest] += 100 - sum(weights.values())
    return weights


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteView:
    """Which requests an HTTPRoute asks for, whoever it belongs to."""

    namespace: str
    name: str
    created: str
    parents: frozenset[tuple[str, str, str, str]]
    """Namespace and name of its Gateways, and where it names one, listener and port."""
    hostnames: frozenset[str]
    """Empty for those of the listener."""
    prefixes: frozenset[str]
    """Paths under which it takes every request, whatever else it says."""

    @property
    def age(self) -> tuple[str, str, str]:
        """What Gateway API orders routes by: the least one goes before all others."""
        return (self.created, self.namespace, self.name)


def read_matches(route: Manifest) -> RouteView:
    """What an HTTPRoute asks for."""
    meta, spec = route["metadata"], route.get("spec") or {}
    rules: Sequence[Manifest] = spec.get("rules") or ({},)
    matches: list[Manifest] = [
        match for rule in rules for match in rule.get("matches") or EVERYTHING
    ]
    paths = [match.get("path") or {} for match in matches if not match.keys() - {"path"}]
    return RouteView(
        namespace=meta["namespace"],
        name=meta["name"],
        created=meta.get("creationTimestamp", ""),
        parents=frozenset(
            (
                parent.get("namespace", meta["namespace"]),
                parent["name"],
                parent.get("sectionName", ""),
                str(parent.get("port", "")),
            )
            for parent in spec.get("parentRefs") or ()
        ),
        hostnames=frozenset(spec.get("hostnames") or ()),
        prefixes=frozenset(
            path.get("value", "/")
            for path in paths
            if path.get("type", "PathPrefix") == "PathPrefix"
        ),
    )


def older_twin(route: Manifest, others: Sequence[RouteView]) -> str:
    """The route that gets the requests that ours asks for too, by the rule of Gateway API, or "".

    Of two routes with the same match the older one gets all requests, silently; of two that are
    equally old the one that comes first by name. `others` come in order of their age; one of our
    own name is ours before it was made again.
    """
    ours = read_matches(route)
    for other in others:
        if other.age >= ours.age:
            return ""
        if (other.namespace, other.name) == (ours.namespace, ours.name):
            continue
        same_host = other.hostnames & ours.hostnames if ours.hostnames else not other.hostnames
        if same_host and _stands_before(other, ours) and other.prefixes & ours.prefixes:
            return f"{other.namespace}/{other.name}"
    return ""


def _stands_before(other: RouteView, ours: RouteView) -> bool:
    """Whether a route hears all that one of our Gateways gives us, whatever the listener.

    One on another listener takes nothing away, such as a redirect from HTTP to HTTPS.
    """
    return any(
        theirs[:2] == mine[:2]
        and all(their in ("", my) for their, my in zip(theirs[2:], mine[2:], strict=True))
        for theirs in other.parents
        for mine in ours.parents
    )


def read_route(
    route: Manifest | None,
    *,
    parents: Sequence[Manifest],
    missing_gateways: Sequence[str],
    others: Sequence[RouteView] = (),
) -> TrafficView:
    """Traffic behind a gateway, as every parent reports it.

    `parents` are the `parentRefs` that the spec asks for; `missing_gateways` names those of them
    that are known not to exist; `others` are the routes of everybody, as they were listed last.
    """
    if route is None:
        return TrafficView()
    # The rule with the weights is the first: those for testers and cohorts say nothing of shares.
    rules = route["spec"].get("rules") or [{}]
    weights = {ref["name"]: int(ref.get("weight", 1)) for ref in rules[0].get("backendRefs") or ()}
    if sum(weights.values()) != 100:
        # A foreign hand changed the route: its weights are no statement of ours.
        weights = {}
    mirror, cohort = _read_mirror(rules[0]), _read_cohort(rules)
    generation = route["metadata"].get("generation", 0)
    reports = (route.get("status") or {}).get("parents") or []
    reason, message, observed = _judge_parents(parents, reports, generation)
    if missing_gateways:
        # What a Gateway once said of the route stays in its status when the Gateway goes.
        reason, observed = Reason.GATEWAY_NOT_FOUND, True
        message = (
            f"Gateway '{missing_gateways[0]}' does not exist: create it or correct "
            "`spec.route.parentRefs`"
        )
    twin = older_twin(route, others) if others else ""
    if reason is Reason.PROGRAMMED and twin:
        reason, message = (
            Reason.ROUTE_OVERLAP,
            (
                f"HTTPRoute '{twin}' is older and matches the same requests, so that it gets them: "
                "delete it, or change `spec.route.hostnames` or `spec.route.pathPrefix`"
            ),
        )
    return TrafficView(
        exists=True,
        weights=weights,
        mirror=mirror,
        cohort=cohort,
        observed=observed,
        programmed=reason is Reason.PROGRAMMED,
        reason=reason,
        message=message,
        manifest=route,
    )


def _read_mirror(rule: Manifest) -> tuple[str, int] | None:
    for given in rule.get("filters") or ():
        if given["type"] == "RequestMirror":
            mirror = given["requestMirror"]
            return names.revision_of(mirror["backendRef"]["name"]), int(mirror.get("percent", 100))
    return None


def _read_cohort(rules: Sequence[Manifest]) -> str | None:
    """The candidate's rule is the second of the two for cohorts."""
    found = [
        str(ref["name"])
        for rule in rules
        for ref in rule.get("backendRefs") or ()
        if names.is_cohort(str(ref["name"]))
    ]
    return names.revision_of(found[-1]) if len(found) == 2 else None


def _judge_parents(
    parents: Sequence[Manifest], reports: Sequence[Manifest], generation: int
) -> tuple[Reason, str, bool]:
    worst: tuple[Reason, str] | None = None
    observed = bool(parents)
    for parent in parents:
        name = str(parent["name"])
        report = next((each for each in reports if _same_parent(each["parentRef"], parent)), None)
        conditions = report.get("conditions", ()) if report else ()
        current = [c for c in conditions if c.get("observedGeneration", 0) >= generation]
        if not any(c["type"] == "Accepted" for c in current):
            observed = False
            worst = worst or (Reason.WAITING, f"Gateway '{name}' has not answered the route yet")
            continue
        worst = worst or _first_problem(name, current)
    if worst is not None:
        return worst[0], worst[1], observed
    return Reason.PROGRAMMED, "every Gateway reports these weights", observed


def _first_problem(gateway: str, conditions: Sequence[Manifest]) -> tuple[Reason, str] | None:
    states = {c["type"]: c for c in conditions}

    def says(kind: str, status: str) -> bool:
        return kind in states and states[kind]["status"] == status

    def text(kind: str) -> str:
        return f"Gateway '{gateway}' answers {states[kind]['reason']}: {states[kind]['message']}"

    if not says("Accepted", "True"):
        return Reason.ROUTE_NOT_ACCEPTED, (
            f"{text('Accepted')}. Look at `spec.route.parentRefs` and `spec.route.hostnames`"
        )
    if says("ResolvedRefs", "False"):
        return Reason.REFS_NOT_RESOLVED, text("ResolvedRefs")
    if says("RouteRulesOverlap", "True"):
        return Reason.ROUTE_OVERLAP, text("RouteRulesOverlap")
    for kind, bad in (("PartiallyInvalid", "True"), ("BackendsAvailable", "False")):
        if says(kind, bad):
            return Reason.REFS_NOT_RESOLVED, text(kind)
    return None


def _same_parent(reported: Manifest, asked: Manifest) -> bool:
    return bool(reported.get("name") == asked["name"]) and all(
        reported.get(key) == asked[key] for key in ("sectionName", "port") if key in asked
    )
