"""Perform a plan's actions in order; stop at the first failure."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from linnet.core.plan import (
    Action,
    ApplyObject,
    CloseRun,
    CreateObject,
    DeleteObject,
    Manifest,
    PatchObject,
    SetAlias,
    SetReplicas,
    SetVersionTag,
)
from linnet.ports import Conflict, Missing, Rejected, Unavailable
from linnet.shell.cache import Key, owners_of
from linnet.shell.world import World

LOG = logging.getLogger("linnet.perform")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How far the actions came."""

    done: int
    changed: bool = False
    """Whether the cache learnt something from our own writes: no watch event tells it again."""
    error: Exception | None = None


async def all_of(key: Key, uid: str, actions: Sequence[Action], world: World) -> Outcome:
    """Perform actions for one object until one fails."""
    world.problems.pop(key, None)
    changed = False
    for index, action in enumerate(actions):
        try:
            changed |= await _perform(key, uid, action, world)
        except (Unavailable, Missing, Conflict) as error:
            return Outcome(done=index, changed=changed, error=error)
        except Rejected as error:
            world.problems[key] = {_name(action): str(error)}
            return Outcome(done=index, changed=changed, error=error)
    return Outcome(done=len(actions), changed=changed)


async def refuse_overtaken(key: Key, world: World) -> None:
    """Before the first action of a pass: a decision from an older object is not acted upon.

    After a restart the first list may come from the past, a newer leader may have gone on, and
    actions carry no resourceVersion of their own: a step long over would take the champion's pods.
    """
    live = await world.cluster.get(key.kind, key.namespace, key.name)
    if world.cache.update(live):
        raise Conflict(f"{key.kind} {key.name} was read from the past")


def _name(action: Action) -> str:
    match action:
        case ApplyObject(manifest=manifest) | CreateObject(manifest=manifest):
            return f"{manifest['kind']} {manifest['metadata']['name']}"
        case PatchObject(kind=kind, name=name) | DeleteObject(kind=kind, name=name):
            return f"{kind} {name}"
        case SetReplicas(name=name):
            return f"Deployment {name}"
        case SetAlias(alias=alias):
            return f"alias {alias}"
        case SetVersionTag(key=tag):
            return f"tag {tag}"
        case CloseRun(run_id=run_id):
            return f"run {run_id}"


async def _perform(key: Key, uid: str, action: Action, world: World) -> bool:
    """Perform one action; True where its answer was news to the cache."""
    LOG.info("%s %s", type(action).__name__, _name(action), extra={"about": _about(key)})
    match action:
        case ApplyObject(manifest=manifest):
            await _refuse_foreign(key, uid, manifest, world)
            return _learn(key, await world.cluster.apply(manifest), world)
        case CreateObject(manifest=manifest):
            return _learn(key, await _create(key, uid, manifest, world), world)
        case PatchObject(kind=kind, name=name, patch=patch):
            return _learn(key, await world.cluster.patch(kind, key.namespace, name, patch), world)
        case DeleteObject(kind=kind, name=name, uid=child):
            await world.cluster.delete(kind, key.namespace, name, child)
        case SetReplicas(name=name, replicas=replicas):
            await world.cluster.scale(key.namespace, name, replicas)
        case SetAlias(model=model, alias=alias, version=version):
            await world.registry.set_alias(model, alias, version)
            world.models.touch(model)
        case SetVersionTag(model=model, version=version, key=tag, value=value):
            await world.registry.set_version_tag(model, version, tag, value)
            world.models.touch(model)
        case CloseRun(run_id=run_id):
            await world.registry.close_run(run_id)
    return False


async def _create(key: Key, uid: str, manifest: Manifest, world: World) -> Manifest:
    """Create a child; one that exists and lost labels that we gave it gets them back.

    Watches are filtered by our label: without it an object that is there counts as gone for good.
    """
    answer = await world.cluster.create(manifest)
    _refuse_others(key, uid, answer, world)
    wanted = manifest["metadata"].get("labels") or {}
    if wanted.items() <= (answer["metadata"].get("labels") or {}).items():
        return answer
    meta = answer["metadata"]
    return await world.cluster.patch(
        manifest["kind"], meta["namespace"], meta["name"], {"metadata": {"labels": wanted}}
    )


def _learn(key: Key, answer: Manifest, world: World) -> bool:
    """Take the answer to a write in; True where it was news.

    The watch's event of it is then old, so those who work on it besides `key` are woken here: a
    retraining is an object of its own.
    """
    if not world.cache.update(answer):
        return False
    for owner in owners_of(answer):
        if owner != key:
            world.queue.add(owner)
    return True


def _about(key: Key) -> dict[str, str]:
    return {"kind": key.kind, "namespace": key.namespace, "name": key.name}


async def _refuse_foreign(key: Key, uid: str, manifest: Manifest, world: World) -> None:
    """Before the first apply: an object of our name that is not ours is left alone.

    The watch is filtered by our label and cannot see it, so this looks without a filter.
    """
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    found = world.cache.get(Key(kind, key.namespace, name))
    if found is None:
        try:
            found = await world.cluster.get(kind, key.namespace, name)
        except Missing:
            return
    _refuse_others(key, uid, found, world)


def _refuse_others(key: Key, uid: str, found: Manifest, world: World) -> None:
    """Remember an object that is not ours, and leave it alone."""
    owners = found["metadata"].get("ownerReferences") or ()
    if any(owner.get("uid") == uid for owner in owners):
        return
    kind, name = found["kind"], found["metadata"]["name"]
    world.foreign[key] = f"{kind}/{name}"
    raise Conflict(f"{kind} {name} exists and is not ours")
