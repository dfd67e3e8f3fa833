"""What the watches have told us, monotonic in resourceVersion, and what our own writes answered."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from linnet.api import labels

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Identity of one object; also the unit of work."""

    kind: str
    namespace: str
    name: str


def key_of(obj: Manifest) -> Key:
    meta = obj["metadata"]
    return Key(obj["kind"], meta.get("namespace", ""), meta["name"])


def _version(obj: Manifest) -> int:
    # The one place that reads a resourceVersion as a number.
    return int(obj["metadata"].get("resourceVersion") or 0)


def owners_of(obj: Manifest) -> tuple[Key, ...]:
    """The keys of the resources that an object belongs to: itself, or by our owner labels.

    A retraining belongs to itself and to the DriftPolicy that made it.
    """
    namespace, found = obj["metadata"].get("namespace", ""), obj["metadata"].get("labels") or {}
    itself = (key_of(obj),) if obj["kind"] in labels.OWNER_LABEL else ()
    labelled = (
        Key(kind, namespace, found[label])
        for kind, label in labels.OWNER_LABEL.items()
        if label in found and kind != obj["kind"]
    )
    return (*itself, *labelled)


class Cache:
    """Objects by key; stale events are dropped, another uid replaces, deletion removes."""

    def __init__(self) -> None:
        self._objects: dict[str, dict[Key, Manifest]] = {}
        self._children: dict[Key, set[Key]] = {}

    def update(self, obj: Manifest) -> bool:
        """Take an object in; False where it is older than (or the same as) what is known."""
        key = key_of(obj)
        known = self.get(key)
        same = known is not None and known["metadata"]["uid"] == obj["metadata"]["uid"]
        if known is not None and same and _version(obj) <= _version(known):
            return False
        if known is not None and not same and _version(obj) < _version(known):
            return False
        self._forget_owner(key)
        self._objects.setdefault(key.kind, {})[key] = copy.deepcopy(dict(obj))
        for owner in owners_of(obj):
            if owner != key:
                self._children.setdefault(owner, set()).add(key)
        return True

    def remove(self, obj: Manifest) -> None:
        """Take a deletion in; a newer object under the same name stays."""
        key = key_of(obj)
        known = self.get(key)
        if known is None or (
            known["metadata"]["uid"] != obj["metadata"]["uid"] and _version(known) > _version(obj)
        ):
            return
        self._forget_owner(key)
        del self._objects[key.kind][key]

    def _forget_owner(self, key: Key) -> None:
        known = self.get(key)
        for owner in owners_of(known) if known is not None else ():
            if owner in self._children:
                self._children[owner].discard(key)
                if not self._children[owner]:
                    del self._children[owner]

    def get(self, key: Key) -> Manifest | None:
        return self._objects.get(key.kind, {}).get(key)

    def of_kind(self, kind: str, namespace: str | None = None) -> list[Manifest]:
        return [
            obj
            for key, obj in self._objects.get(kind, {}).items()
            if namespace is None or key.namespace == namespace
        ]

    def children(self, owner: Key) -> list[Manifest]:
        """Everything that carries the owner's label, in a stable order."""
        return [self._objects[key.kind][key] for key in sorted(self._children.get(owner, ()))]

    def prune(self, before: Iterable[Manifest], listed: Iterable[Manifest]) -> list[Manifest]:
        """Remove what a complete LIST no longer has; returns what was removed.

        `before` is what was cached when the LIST began: only that can be told to have vanished, for
        what came in meanwhile may be newer than the LIST.
        """
        alive = {(key_of(obj), obj["metadata"]["uid"]) for obj in listed}
        gone = []
        for obj in before:
            key, uid = key_of(obj), obj["metadata"]["uid"]
            known = self.get(key)
            if (key, uid) in alive or known is None or known["metadata"]["uid"] != uid:
                continue
            self._forget_owner(key)
            del self._objects[key.kind][key]
            gone.append(known)
        return gone

    def __len__(self) -> int:
        return sum(map(len, self._objects.values()))
