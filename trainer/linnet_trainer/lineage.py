"""Where features come from: what a feature service of Feast said at the time of a training.

The document lies in the model's manifest and with the run, so that a later training can tell
whether the service of a name is still what the champion was trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any

from linnet_trainer import contract

ARTIFACT = "feast_features.json"
MANIFEST_KEY = "featureSet"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One feature of a view."""

    name: str
    type: str
    """Feast's name of the type, such as `Float64`."""
    description: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One feature view as the service uses it."""

    name: str
    keys: tuple[str, ...]
    """Columns of the entity table that name the entity."""
    columns: tuple[Column, ...]
    ttl: timedelta | None
    """Older values count as missing; None = none is too old."""
    source: str
    timestamp: str
    created: str = ""
    """The source's column that says when a value became known."""
    description: str = ""

    @property
    def names(self) -> list[str]:
        """The features' names."""
        return [column.name for column in self.columns]


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSet:
    """A feature service and its views."""

    project: str
    repo: str
    service: str
    views: tuple[View, ...]
    description: str = ""
    found: Mapping[str, float] = field(default_factory=dict)
    """Share of the rows that found a value, by view."""

    @property
    def columns(self) -> dict[str, tuple[View, Column]]:
        """Every feature with its view, by name."""
        return {column.name: (view, column) for view in self.views for column in view.columns}

    @property
    def keys(self) -> list[str]:
        """Columns that name the entities of all views, each once."""
        return list(dict.fromkeys(key for view in self.views for key in view.keys))

    @property
    def descriptions(self) -> dict[str, str]:
        """What the feature store says of its features, without those of which it says nothing."""
        return {
            name: column.description
            for name, (_, column) in self.columns.items()
            if column.description
        }

    @property
    def digest(self) -> str:
        """sha256 over what decides the values: everything but words and counts."""
        canonical = json.dumps([_definition(view) for view in map(_document, self.views)])
        return f"sha256:{hashlib.sha256(canonical.encode()).hexdigest()}"

    def document(self) -> dict[str, Any]:
        """Render it for the manifest and the run."""
        return {
            "project": self.project,
            "repoUri": self.repo,
            "featureService": self.service,
            "description": self.description,
            "sha256": self.digest,
            "views": [_document(view) for view in self.views],
            "found": dict(self.found),
        }

    def version_tags(self) -> dict[str, str]:
        """Return the version's tags."""
        return {
            contract.TAG_FEATURE_SERVICE: self.service,
            contract.TAG_FEATURE_SET: self.digest,
        }

    def tags(self) -> dict[str, str]:
        """Return the run's tags; those without our prefix are Feast's own."""
        references = [f"{view.name}:{name}" for name, (view, _) in self.columns.items()]
        return {
            "feast.project": self.project,
            "feast.feature_service": self.service,
            "feast.feature_views": ",".join(view.name for view in self.views),
            "feast.feature_refs": contract.cut(",".join(references), contract.TAG_LENGTH),
            contract.TAG_FEATURE_SET: self.digest,
        }


def differences(
    before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Say what differs between two lists of views, in sentences without an end."""
    theirs = {view["name"]: view for view in before}
    ours = {view["name"]: view for view in after}
    said = [f"view '{name}' is gone" for name in theirs if name not in ours]
    said += [f"view '{name}' is new" for name in ours if name not in theirs]
    for name in ours:
        if name in theirs:
            said += _changes(name, theirs[name], ours[name])
    return said


def _changes(name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    old, new = _definition(before), _definition(after)
    types, now = old.pop("features"), new.pop("features")
    said = [
        f"`{key}` of view '{name}' is {new[key]}, was {old[key]}"
        for key in new
        if new[key] != old[key]
    ]
    said += [f"feature '{name}:{each}' is gone" for each in types if each not in now]
    said += [f"feature '{name}:{each}' is new" for each in now if each not in types]
    said += [
        f"feature '{name}:{each}' is {now[each]}, was {types[each]}"
        for each in now
        if each in types and now[each] != types[each]
    ]
    return said


def _document(view: View) -> dict[str, Any]:
    return {
        "name": view.name,
        "description": view.description,
        "entityKeys": list(view.keys),
        "ttlSeconds": view.ttl.total_seconds() if view.ttl else 0,
        "source": view.source,
        "timestampField": view.timestamp,
        "createdTimestampColumn": view.created,
        "features": [asdict(column) for column in view.columns],
    }


def _definition(view: Mapping[str, Any]) -> dict[str, Any]:
    """What decides a view's values."""
    kept = ("entityKeys", "ttlSeconds", "source", "timestampField", "createdTimestampColumn")
    types = {column["name"]: column["type"] for column in view["features"]}
    return {key: view.get(key) for key in kept} | {"features": types}
