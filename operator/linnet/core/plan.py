"""What a decision consists of: the `Plan`, its absolute actions, its events and its findings.

Actions are imperative and absolute ("weight 50", never "+10"), performed in order, and each may be
the last one before a crash: whoever adds one must be able to repeat it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Generic, TypeVar

from linnet.api.conditions import Condition
from linnet.api.reasons import Reason

Manifest = Mapping[str, Any]
StatusT = TypeVar("StatusT")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApplyObject:
    """Apply a child server-side, with force: we own it wholly."""

    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateObject:
    """Create a child once; that it exists already is success."""

    manifest: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchObject:
    """Merge-patch single fields of a child that is created once and never re-applied."""

    kind: str
    name: str
    patch: Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class DeleteObject:
    """Delete a child, guarded by its uid; that it is gone already is success."""

    kind: str
    name: str
    uid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetReplicas:
    """Set a Deployment's replicas through its scale subresource."""

    name: str
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetAlias:
    """Point a registry alias at a version."""

    model: str
    alias: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetVersionTag:
    """Tag a registered version; `value` None deletes the tag."""

    model: str
    version: str
    key: str
    value: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseRun:
    """Mark a tracking run that nobody works on any more as killed."""

    run_id: str


Action = (
    ApplyObject
    | CreateObject
    | PatchObject
    | DeleteObject
    | SetReplicas
    | SetAlias
    | SetVersionTag
    | CloseRun
)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, told once, after the status that says it was written."""

    reason: Reason
    note: str
    warning: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """What a policy check found: a reason, a sentence, and whether a person must act."""

    reason: Reason
    message: str
    stalled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Generic[StatusT]):
    """One decision.

    Where `records` is true, `status` holds new facts: it is written and nothing is performed in
    this pass. Otherwise `actions` are performed in order and `status` is reported after them.
    """

    status: StatusT
    records: bool = False
    actions: tuple[Action, ...] = ()
    conditions: tuple[Condition, ...] = ()
    events: tuple[Event, ...] = ()
    requeue_after: timedelta | None = field(default=None)
