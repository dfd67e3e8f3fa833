"""What the watches have told us, monotonic in resourceVersion, and what our own writes answered.

Objects are kept packed: nine of them belong to one ModelDeployment, as dictionaries they would
take ten times the memory, and each is read in a pass over its owner only.
"""

from __future__ import annotations

import json
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from linnet.api import labels

Manifest = Mapping[str, Any]
WINDOW = 32768
"""Bytes that zlib looks back."""


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Identity of one object; also the unit of work."""

    kind: str
    namespace: str
    name: str


def key_of(obj: Manifest) -> Key:
    meta = obj["metadata"]
    return Key(obj["kind"], sys.intern(meta.get("namespace", "")), meta["name"])


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


def subjects_of(obj: Manifest) -> tuple[Key, ...]:
    """What an object of ours looks at without owning it: its registered model, its deployment."""
    kind, spec = obj["kind"], obj.get("spec") or {}
    if kind in ("TrainingJob", "ModelDeployment") and "model" in spec:
        return (registered_model(spec["model"]["name"]),)
    if kind == "DriftPolicy" and "modelDeploymentRef" in spec:
        namespace = obj["metadata"].get("namespace", "")
        return (Key("ModelDeployment", namespace, spec["modelDeploymentRef"]["name"]),)
    return ()


def registered_model(name: str) -> Key:
    """The key under which those who look at a registered model are found."""
    return Key("RegisteredModel", "", name)


class _Packed:
    """One object as bytes, beside the few facts that are asked of it without reading it.

    Objects of a kind are alike: packed with another one as dictionary they take an eighth.
    """

    __slots__ = ("bytes", "owners", "sample", "subjects", "uid", "version")

    def __init__(self, key: Key, obj: Manifest, *, sample: bytes | None) -> None:
        self.uid: str = obj["metadata"]["uid"]
        self.version = _version(obj)
        self.owners = tuple(owner for owner in owners_of(obj) if owner != key)
        self.subjects = subjects_of(obj)
        # Who set which field is told by no decision, and is a third of every object.
        meta = {name: v for name, v in obj["metadata"].items() if name != "managedFields"}
        text = json.dumps({**obj, "metadata": meta}, separators=(",", ":")).encode()
        self.sample = text[-WINDOW:] if sample is None else sample
        packer = zlib.compressobj(1, zdict=self.sample)
        self.bytes = packer.compress(text) + packer.flush()

    def unpacked(self) -> Manifest:
        text = zlib.decompressobj(zdict=self.sample).decompress(self.bytes)
        manifest: Manifest = json.loads(text)
        return manifest


class Cache:
    """Objects by key; stale events are dropped, another uid replaces, deletion removes.

    What is handed out is the reader's own: changing it changes nothing here.
    """

    def __init__(self) -> None:
        self._objects: dict[str, dict[Key, _Packed]] = {}
        self._samples: dict[str, bytes] = {}
        """The first object of each kind: what the others are packed with."""
        self._children: dict[Key, set[Key]] = {}
        self._readers: dict[Key, set[Key]] = {}

    def update(self, obj: Manifest) -> bool:
        """Take an object in; False where it is older than (or the same as) what is known."""
        key, uid, version = key_of(obj), obj["metadata"]["uid"], _version(obj)
        known = self._find(key)
        if known is not None and known.uid == uid and version <= known.version:
            return False
        if known is not None and known.uid != uid and version < known.version:
            return False
        self._drop(key)
        packed = _Packed(key, obj, sample=self._samples.get(key.kind))
        self._samples.setdefault(key.kind, packed.sample)
        self._objects.setdefault(key.kind, {})[key] = packed
        for owner in packed.owners:
            self._children.setdefault(owner, set()).add(key)
        for subject in packed.subjects:
            self._readers.setdefault(subject, set()).add(key)
        return True

    def remove(self, obj: Manifest) -> None:
        """Take a deletion in; a newer object under the same name stays."""
        known = self._find(key_of(obj))
        if known is None or (known.uid != obj["metadata"]["uid"] and known.version > _version(obj)):
            return
        self._drop(key_of(obj))

    def _find(self, key: Key) -> _Packed | None:
        return self._objects.get(key.kind, {}).get(key)

    def _drop(self, key: Key) -> None:
        known = self._objects.get(key.kind, {}).pop(key, None)
        if known is None:
            return
        for index, others in ((self._children, known.owners), (self._readers, known.subjects)):
            for other in others:
                index[other].discard(key)
                if not index[other]:
                    del index[other]

    def get(self, key: Key) -> Manifest | None:
        known = self._find(key)
        return known.unpacked() if known is not None else None

    def keys(self, kind: str) -> list[Key]:
        return list(self._objects.get(kind, {}))

    def of_kind(self, kind: str) -> list[Manifest]:
        """All objects of a kind, each unpacked: for what happens rarely."""
        return [known.unpacked() for known in list(self._objects.get(kind, {}).values())]

    def children(self, owner: Key) -> list[Manifest]:
        """Everything that carries the owner's label, in a stable order."""
        return [
            self._objects[key.kind][key].unpacked() for key in sorted(self._children.get(owner, ()))
        ]

    def readers(self, subject: Key) -> list[Key]:
        """Who looks at a registered model or a ModelDeployment, in a stable order."""
        return sorted(self._readers.get(subject, ()))

    def models(self) -> set[str]:
        """Names of the registered models that somebody looks at."""
        return {subject.name for subject in self._readers if subject.kind == "RegisteredModel"}

    def uids(self, kind: str, namespace: str | None = None) -> dict[Key, str]:
        """Which objects of a kind are known now: what a LIST that begins now can tell dead."""
        return {
            key: known.uid
            for key, known in self._objects.get(kind, {}).items()
            if namespace is None or key.namespace == namespace
        }

    def prune(self, before: Mapping[Key, str], listed: Mapping[Key, str]) -> list[Manifest]:
        """Remove what a complete LIST no longer has; returns what was removed.

        `before` are the uids that were known when the LIST began: only those can be told to have
        vanished, for what came in meanwhile may be newer than the LIST.
        """
        gone = []
        for key, uid in before.items():
            known = self._find(key)
            if listed.get(key) == uid or known is None or known.uid != uid:
                continue
            self._drop(key)
            gone.append(known.unpacked())
        return gone

    def __len__(self) -> int:
        return sum(map(len, self._objects.values()))
