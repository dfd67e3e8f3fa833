"""What the registry is seen to hold: values that the domains share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from linnet.api import labels


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionView:
    """One registered version."""

    version: str
    artifact_uri: str
    run_id: str = ""
    """The run that the registry says has made it."""
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def not_servable(self) -> str:
        """Why no server can answer with it, in the words of who made it, or nothing."""
        return self.tags.get(labels.VERSION_NOT_SERVABLE, "")

    @property
    def digest(self) -> str:
        """What the registry vouches for: the manifest, or the files of an adopted model; or ""."""
        return self.tags.get(labels.VERSION_MANIFEST) or self.tags.get(labels.VERSION_CONTENT, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelView:
    """One registered model: where its aliases point and what its versions are."""

    name: str
    aliases: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, VersionView] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """The traces of one run, counted."""

    count: int
    failed: int
    input_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """One tracking run of a TrainingJob."""

    run_id: str
    experiment_id: str
    status: str
    tags: Mapping[str, str] = field(default_factory=dict)
    traces: Traces | None = None
    """What its code asked of language models; None where that was not read."""
