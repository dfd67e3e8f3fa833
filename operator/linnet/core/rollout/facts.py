"""Readings of the recorded facts that decisions and reports share."""

from __future__ import annotations

from datetime import UTC, datetime

from linnet.api.model_deployment import Arm, DecisionVerb, ModelDeploymentStatus, Rejected
from linnet.api.reasons import Reason
from linnet.api.shared import parse_duration, parse_time
from linnet.core import names
from linnet.core.registry import VersionView
from linnet.core.rollout import analysis, resources, traffic
from linnet.core.rollout.analysis import State
from linnet.core.rollout.state import Observation

Status = ModelDeploymentStatus
DEFAULT_ALIAS = "challenger"
"""What is followed where spec names neither an alias nor a version."""


def state_of(status: Status) -> State | None:
    """The evidence kept in status, if there is any."""
    if status.analysis is None or not status.analysis.state:
        return None
    return analysis.load(status.analysis.state)


def warm_until(seen: Observation, status: Status) -> datetime | None:
    """End of the warm-up after the last weight change or the last candidate pod to get ready.

    It is far away while a new weight is still on its way to the gateways; None where no two arms
    are compared.
    """
    arm = traffic.compared(status)[1]
    place = status.holdback if traffic.held_back(status) else status.step
    if place is None or arm is None:
        return None
    if place.since is None:
        return datetime.max.replace(tzinfo=UTC)
    revision = seen.revisions.get(arm.revision)
    readied = [
        pod.ready_changed
        for pod in (revision.ready_pods if revision else ())
        if pod.ready_changed is not None
    ]
    latest = max([parse_time(place.since), *readied])
    return latest + parse_duration(seen.spec.analysis.warmup)


def probation_ends(seen: Observation, status: Status) -> datetime | None:
    """When the probation of a champion that was promoted after a rollout ends."""
    probation, champion, decision = seen.spec.strategy.probation, status.champion, status.decision
    if probation is None or champion is None or decision is None or status.previous is None:
        return None
    promoted = decision.verb is DecisionVerb.PROMOTE
    if champion.since is None or not promoted or decision.reason != Reason.ROLLOUT_COMPLETE:
        return None
    return parse_time(champion.since) + parse_duration(probation.duration)


def on_probation(seen: Observation, status: Status, *, now: datetime) -> bool:
    """Whether a newer version has to wait because the champion was just promoted."""
    ends = probation_ends(seen, status)
    return ends is not None and now < ends


def holdback_ends(seen: Observation, status: Status) -> datetime | None:
    """When the old champion loses the share that it kept; None while its time does not run."""
    held, asked = status.holdback, seen.spec.strategy.holdback
    if held is None or held.since is None or asked is None or not traffic.held_back(status):
        return None
    return parse_time(held.since) + parse_duration(asked.duration)


def on_trial(seen: Observation, status: Status, *, now: datetime) -> bool:
    """Whether the old champion is kept ready to take its place back."""
    return on_probation(seen, status, now=now) or traffic.held_back(status) > 0


def wish_of(seen: Observation) -> VersionView | None:
    """The version that spec asks for; None while it is not known, does not exist or cannot serve.

    All three are alike for what serves: it goes on, and nothing advances.
    """
    version = asked_of(seen)
    return version if version is not None and not version.not_servable else None


def asked_of(seen: Observation) -> VersionView | None:
    """The version that spec names, whether or not it can serve."""
    if seen.model is None:
        return None
    version = seen.spec.model.version
    if version is None:
        version = seen.model.aliases.get(seen.spec.model.alias or DEFAULT_ALIAS)
    return seen.model.versions.get(version) if version is not None else None


def revision_of(seen: Observation, version: VersionView) -> tuple[str, str]:
    """Name and full hash of the revision for a version under the present spec.

    A revision that exists already for the same wish keeps its name and its frozen template, so a
    new operator with other defaults finds what serves instead of rolling it.
    """
    key = resources.wish_key(seen.spec, version)
    for view in seen.revisions.values():
        if view.wish_key == key:
            return view.name, str(view.data["hash"])
    full = resources.revision_hash(seen, version)
    return names.revision(seen.name, version.version, full), full


def content_of(seen: Observation, arm: Arm) -> str:
    """What a rejection of this arm is remembered by, also before its record was made."""
    view = seen.revisions.get(arm.revision)
    if view is not None:
        return view.content_key
    version = seen.model.versions.get(arm.version) if seen.model is not None else None
    return resources.content_key(seen.spec, version) if version is not None else arm.hash or ""


def rejection_of(seen: Observation, status: Status, version: VersionView) -> Rejected | None:
    """The remembered rejection of this content under these server settings, if there is one."""
    key = resources.content_key(seen.spec, version)
    return next((entry for entry in status.rejected if entry.hash == key), None)
