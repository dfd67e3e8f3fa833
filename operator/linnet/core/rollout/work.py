"""The actions that recorded facts ask for, in the order that keeps the invariant.

Traffic that returns goes first; objects and pods come before weight; tags and alias follow; pods
of revisions that nobody needs go last, after the data plane was seen without them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from linnet.api import labels
from linnet.api.model_deployment import (
    Arm,
    Decision,
    DecisionVerb,
    HistoryEntry,
    ModelDeploymentStatus,
    Rejected,
)
from linnet.api.reasons import Reason
from linnet.api.shared import parse_duration, parse_time
from linnet.core.plan import (
    Action,
    ApplyObject,
    CreateObject,
    DeleteObject,
    PatchObject,
    SetAlias,
    SetReplicas,
    SetVersionTag,
)
from linnet.core.registry import VersionView
from linnet.core.rollout import facts, records, resources, steps, traffic
from linnet.core.rollout.state import Observation, RevisionView
from linnet.core.subset import covers

Status = ModelDeploymentStatus
Manifest = Mapping[str, Any]

LONGEST_TAG = 5000
"""Characters that every registry takes as the value of a version's tag."""
KEPT_RECORDS = 10
"""ControllerRevisions of past revisions that are kept, so that their return finds its template."""


def actions(seen: Observation, status: Status, *, now: datetime) -> tuple[Action, ...]:
    """Everything to do now; empty in a settled state."""
    if status.champion is None:
        return ()
    route = (*_route(seen, status), *_shadow(seen, status))
    objects = (
        *_champion(seen, status),
        *_candidate(seen, status),
        *_previous(seen, status, now),
    )
    front = (*route, *objects) if traffic.returning(status) else (*objects, *route)
    return (
        *front,
        *_memory(seen, status),
        *_alias(seen, status),
        *_history(seen, status),
        *_cleanup(seen, status, now=now),
    )


def version_of(seen: Observation, arm: Arm) -> VersionView | None:
    """The registered version of an arm, while the registry knows it."""
    return seen.model.versions.get(arm.version) if seen.model is not None else None


def full_size(seen: Observation, arm: Arm | None) -> int:
    """How many pods of an arm can take all traffic: as many as it runs now, where load decides."""
    scaling = seen.spec.server.autoscaling
    if scaling is None:
        return seen.spec.server.replicas
    view = seen.revisions.get(arm.revision) if arm is not None else None
    running = view.replicas if view is not None else 0
    return min(max(scaling.min_replicas, running), scaling.max_replicas)


def candidate_pods(seen: Observation, status: Status) -> int:
    """How many pods the candidate has to have ready before it gets (more) weight."""
    weight = status.step.weight if status.step is not None else None
    if weight is None:
        first = seen.spec.strategy.steps[0].weight
        weight = first if first is not None else 100
    return traffic.candidate_replicas(
        replicas=full_size(seen, status.champion),
        weight=weight,
        by_replicas=seen.spec.route is None,
    )


def _champion(seen: Observation, status: Status) -> Iterator[Action]:
    """The champion. While a rollout runs it keeps its size, however little it has to do."""
    if status.champion is None:
        return
    held = full_size(seen, status.champion) if status.candidate is not None else None
    yield from _arm(seen, status.champion, held)


def _candidate(seen: Observation, status: Status) -> Iterator[Action]:
    if status.candidate is None:
        return
    yield from _arm(seen, status.candidate, candidate_pods(seen, status))


def _previous(seen: Observation, status: Status, now: datetime) -> Iterator[Action]:
    """The old champion, as large as it was, for as long as it may have to take all back."""
    if status.previous is not None and facts.on_trial(seen, status, now=now):
        yield from _arm(seen, status.previous, full_size(seen, status.previous))


def _arm(seen: Observation, arm: Arm, least: int | None) -> Iterator[Action]:
    """A revision's record, then its workload from that record, then its size.

    `least` pods are kept whatever the load; None where load alone decides, or all of `replicas`.
    """
    view = seen.revisions.get(arm.revision)
    if view is None:
        version = version_of(seen, arm)
        if version is not None:
            yield CreateObject(
                manifest=resources.make_controller_revision(seen, version, name=arm.revision)
            )
        return
    yield from _apply(resources.make_deployment(seen, view), view.deployment)
    for service in resources.make_services(seen, view):
        yield from _apply(service, view.services.get(service["metadata"]["name"]))
    yield from _apply(resources.make_budget(seen, view), view.budget)
    yield from _size(seen, view, least)


def _size(seen: Observation, view: RevisionView, least: int | None) -> Iterator[Action]:
    """By load, or as many pods as are asked for: two hands on one Deployment would fight."""
    scaling = seen.spec.server.autoscaling
    if scaling is not None:
        # Without a gateway shares are numbers of pods: during a rollout load does not move them.
        fixed = least if seen.spec.route is None else None
        wanted = resources.make_autoscaler(seen, view, scaling, least=least, most=fixed)
        yield from _apply(wanted, view.autoscaler)
        return
    if view.autoscaler is not None:
        uid = view.autoscaler["metadata"]["uid"]
        yield DeleteObject(kind="HorizontalPodAutoscaler", name=view.name, uid=uid)
    replicas = seen.spec.server.replicas if least is None else least
    if view.deployment is not None and view.replicas != replicas:
        yield SetReplicas(name=view.name, replicas=replicas)


def _apply(wanted: Manifest, known: Manifest | None) -> Iterator[Action]:
    if known is None or not covers(known, wanted):
        yield ApplyObject(manifest=wanted)


def _route(seen: Observation, status: Status) -> Iterator[Action]:
    """Route or Service with the desired shares, once every revision in it can answer."""
    shares = traffic.desired(status)
    if not _can_answer(seen, shares) or not _candidate_can_answer(seen, status):
        return
    rollout = status.candidate.rollout_id if status.candidate is not None else None
    if seen.spec.route is not None:
        weighted = [share for share in shares if share[1] > 0]
        extras, known = traffic.extras(seen.spec, status), seen.traffic.manifest
        wanted = resources.make_route(
            seen,
            weighted,
            rollout_id=rollout or "",
            tester=_tester(seen, status),
            mirror=extras.mirror,
            cohorts=_cohorts(seen, status),
            session=extras.session,
        )
        # A live route may have more than is wanted; a session that nobody wants is one thing too
        # much.
        left = known is not None and traffic.session_of(known) != extras.session
        yield from _apply(wanted, None if left else known)
        return
    yield from _apply(
        resources.make_service(seen, revision=traffic.selection(shares)), seen.service
    )


def _shadow(seen: Observation, status: Status) -> Iterator[Action]:
    """Tell the champion's server who gets copies, or that nobody does any more."""
    asked, champion = traffic.extras(seen.spec, status).replay, status.champion
    if asked is None or champion is None:
        if seen.shadow is not None:
            meta = seen.shadow["metadata"]
            yield DeleteObject(kind="ConfigMap", name=meta["name"], uid=meta["uid"])
        return
    if _candidate_can_answer(seen, status):
        revision, percent = asked
        wanted = resources.make_shadow(
            seen, champion=champion.revision, candidate=revision, percent=percent
        )
        yield from _apply(wanted, seen.shadow)


def _candidate_can_answer(seen: Observation, status: Status) -> bool:
    """Copies and cohorts, too, only go to pods that are ready; what was told is not taken back."""
    asked, told = traffic.extras(seen.spec, status), seen.traffic
    revision = asked.copies[0] if asked.copies is not None else asked.cohort
    known = (told.cohort, *(sent[0] for sent in (told.mirror, told.replay) if sent is not None))
    if revision is None or revision in known:
        return True
    view = seen.revisions.get(revision)
    return view is not None and bool(view.ready_pods)


def _cohorts(seen: Observation, status: Status) -> tuple[tuple[str, str, str], ...]:
    """Header, value and revision of both arms of an A/B step."""
    candidate, champion, step = status.candidate, status.champion, status.step
    if traffic.extras(seen.spec, status).cohort is None or step is None:
        return ()
    given = steps.present(seen.spec, step)
    if given is None or given.cohort is None or candidate is None or champion is None:
        return ()
    cohort = given.cohort
    return (
        (cohort.header, cohort.champion_value, champion.revision),
        (cohort.header, cohort.candidate_value, candidate.revision),
    )


def _tester(seen: Observation, status: Status) -> str | None:
    """The candidate, once it can answer testers and until its traffic returns."""
    candidate = status.candidate
    if candidate is None or traffic.returning(status):
        return None
    view = seen.revisions.get(candidate.revision)
    return candidate.revision if view is not None and view.ready_pods else None


def _can_answer(seen: Observation, shares: traffic.Shares) -> bool:
    """Weight only after endpoints are ready: a share without endpoints is an outage of its size.

    A share that is already told to the data plane is not taken away for this: its pods may be
    coming back, and whoever else has weight keeps it.
    """
    told = seen.traffic.weights
    for revision, weight in shares:
        view = seen.revisions.get(revision)
        if weight > told.get(revision, 0) and (view is None or not view.ready_pods):
            # Nothing else serves: all traffic may as well wait for the champion.
            return len(shares) == 1 and seen.traffic.exists
    return bool(shares)


def alias_to_write(seen: Observation, status: Status) -> SetAlias | None:
    """The alias write that a recorded promotion still asks for."""
    decision, champion = status.decision, status.champion
    alias = seen.spec.model.champion_alias
    if decision is None or decision.verb is not DecisionVerb.PROMOTE or decision.performed:
        return None
    if champion is None or not alias or seen.alias_owner or seen.model is None:
        return None
    named = seen.model.aliases.get(alias)
    if named == champion.version:
        return None
    if _is_return(decision) and status.previous is not None and named != status.previous.version:
        # It is given back only where it still names the version that went.
        return None
    if champion.version not in seen.model.versions:
        return None
    return SetAlias(model=seen.spec.model.name, alias=alias, version=champion.version)


def _is_return(decision: Decision) -> bool:
    """Whether a champion got its place without a rollout and is not the first."""
    return decision.reason not in (Reason.FIRST_REVISION_STARTING, Reason.ROLLOUT_COMPLETE)


def _alias(seen: Observation, status: Status) -> Iterator[Action]:
    write = alias_to_write(seen, status)
    if write is None or status.champion is None or status.champion.since is None:
        return
    yield SetVersionTag(
        model=write.model,
        version=write.version,
        key=labels.champion_since_tag(seen.namespace, seen.name),
        value=status.champion.since,
    )
    yield write


# -- memory of rejections ------------------------------------------------------------------------


def _memory(seen: Observation, status: Status) -> Iterator[Action]:
    """Bring ControllerRevisions and version tags in line with the recorded rejections."""
    remembered = {entry.hash: entry for entry in status.rejected}
    for view in seen.revisions.values():
        entry = remembered.get(view.content_key)
        wanted = _rejection_json(entry) if entry is not None else ""
        if view.rejected != wanted:
            yield PatchObject(
                kind="ControllerRevision",
                name=view.name,
                patch={"metadata": {"annotations": {labels.REJECTED: wanted or None}}},
            )
    if seen.model is None or seen.registry_error:
        return
    key = labels.rejected_tag(seen.namespace, seen.name)
    versions = {entry.version: entry for entry in status.rejected}
    for version in seen.model.versions.values():
        entry = versions.get(version.version)
        if entry is not None and version.tags.get(key) != _rejection_json(entry):
            yield SetVersionTag(
                model=seen.spec.model.name,
                version=version.version,
                key=key,
                value=_rejection_json(entry),
            )
        elif entry is None and key in version.tags and not _fell_out(version, key, status):
            yield SetVersionTag(
                model=seen.spec.model.name, version=version.version, key=key, value=None
            )


def _fell_out(version: VersionView, key: str, status: Status) -> bool:
    """Whether a tag is older than the bounded list in status, which then no longer holds it."""
    oldest = min((entry.time for entry in status.rejected), default=None)
    return (
        oldest is not None
        and len(status.rejected) >= 10
        and (str(json.loads(version.tags[key]).get("time", "")) <= oldest)
    )


def _rejection_json(entry: Rejected) -> str:
    return json.dumps(
        {
            "hash": entry.hash,
            "revision": entry.revision,
            "reason": entry.reason,
            "time": entry.time,
            "e": entry.e,
            "message": entry.message,
        },
        sort_keys=True,
    )


def remembered_rejections(seen: Observation) -> tuple[Rejected, ...]:
    """Rejections that lie outside status, newest first; an unreadable one is passed over."""
    found: dict[str, Rejected] = {}
    sources = [(view.version, view.rejected) for view in seen.revisions.values()]
    if seen.model is not None:
        key = labels.rejected_tag(seen.namespace, seen.name)
        sources += [
            (version.version, version.tags.get(key, "")) for version in seen.model.versions.values()
        ]
    for version, text in sources:
        if not text:
            continue
        try:
            entry = Rejected.model_validate({**json.loads(text), "version": version})
        except ValueError:
            continue
        found.setdefault(entry.hash, entry)
    return tuple(sorted(found.values(), key=lambda entry: entry.time, reverse=True))


# -- history -------------------------------------------------------------------------------------


def _history(seen: Observation, status: Status) -> Iterator[Action]:
    """Write on every version what it served here, as status tells it.

    What status no longer holds, for it is bounded, stays as it was written.
    """
    if seen.model is None or seen.registry_error:
        return
    key = labels.history_tag(seen.namespace, seen.name)
    told: dict[str, list[HistoryEntry]] = {}
    for entry in status.history:
        told.setdefault(entry.version, []).append(entry)
    for number, entries in sorted(told.items()):
        version = seen.model.versions.get(number)
        if version is None:
            continue
        wanted = _history_json(entries, version.tags.get(key, ""))
        if version.tags.get(key) != wanted:
            yield SetVersionTag(model=seen.spec.model.name, version=number, key=key, value=wanted)


def _history_json(told: Sequence[HistoryEntry], known: str) -> str:
    """The newest entries of a version: those of status, then older ones of its tag.

    The oldest go where they would not fit into a tag.
    """
    entries = [entry.model_dump(mode="json", by_alias=True, exclude_none=True) for entry in told]
    oldest = min(str(entry.get("from", "")) for entry in entries)
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        entries += [e for e in json.loads(known or "[]") if str(e.get("from", "")) < oldest]
    entries = entries[: records.HISTORY]
    while True:
        text = json.dumps(entries, sort_keys=True)
        if len(text) <= LONGEST_TAG or len(entries) == 1:
            return text
        entries.pop()


# -- what nobody needs any more ------------------------------------------------------------------


def _unneeded(seen: Observation, status: Status, now: datetime) -> list[RevisionView]:
    arms = [status.champion, status.candidate]
    if facts.on_trial(seen, status, now=now):
        arms.append(status.previous)
    needed = {arm.revision for arm in arms if arm is not None}
    return [
        view
        for name, view in sorted(seen.revisions.items())
        if name not in needed and view.workload
    ]


def others_have_pods(seen: Observation, status: Status) -> bool:
    """Whether a revision that is neither champion nor candidate still runs."""
    needed = {arm.revision for arm in (status.champion, status.candidate) if arm is not None}
    return any(
        view.pods or view.deployment is not None
        for name, view in seen.revisions.items()
        if name not in needed
    )


def _cleanup_time(seen: Observation, status: Status) -> datetime | None:
    """When pods without traffic may go; None while something is still on its way."""
    decision, champion = status.decision, status.champion
    if decision is None or champion is None:
        return None
    safe = decision.performed and seen.traffic.observed and traffic.in_place(seen, status)
    if not safe:
        return None
    ended = status.holdback.ended if status.holdback is not None else None
    changed = max(parse_time(decision.time), parse_time(ended or decision.time))
    return changed + parse_duration(seen.spec.strategy.scale_down_delay)


def next_cleanup(seen: Observation, status: Status, *, now: datetime) -> timedelta | None:
    """How long until pods are taken away; None when there are none to take."""
    due = _cleanup_time(seen, status)
    left = _unneeded(seen, status, now) or _old_records(seen, status) or any(_other_front(seen))
    if due is None or not left:
        return None
    return max(due - now, timedelta(seconds=1))


def _cleanup(seen: Observation, status: Status, *, now: datetime) -> Iterator[Action]:
    due = _cleanup_time(seen, status)
    if due is None or now < due:
        return
    for view in _unneeded(seen, status, now):
        for each in view.workload:
            meta = each["metadata"]
            yield DeleteObject(kind=each["kind"], name=meta["name"], uid=meta["uid"])
    yield from _other_front(seen)
    for view in _old_records(seen, status):
        yield DeleteObject(kind="ControllerRevision", name=view.name, uid=view.uid)


def _old_records(seen: Observation, status: Status) -> list[RevisionView]:
    """Records of revisions that nothing runs of and nobody remembers, beyond the newest ten."""
    arms = (status.champion, status.candidate)
    remembered = {entry.revision for entry in status.rejected}
    remembered |= {arm.revision for arm in arms if arm is not None}
    idle = [
        view
        for view in seen.revisions.values()
        if view.name not in remembered and not view.workload and not view.pods
    ]
    idle.sort(key=lambda view: (int(view.version), view.name), reverse=True)
    return idle[KEPT_RECORDS:]


def _other_front(seen: Observation) -> Iterator[Action]:
    """The Service after a route was added, the route after it was removed."""
    by_route = seen.spec.route is not None
    kind, left = ("Service", seen.service) if by_route else ("HTTPRoute", seen.route)
    if left is not None:
        yield DeleteObject(kind=kind, name=seen.name, uid=left["metadata"]["uid"])
