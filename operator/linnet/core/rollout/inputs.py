"""How a candidate's inputs differ from the champion's: reported always, blocking only if asked."""

from __future__ import annotations

from collections.abc import Mapping

from linnet.api.model_deployment import InputsStatus

OPTIONAL = "?"
"""Behind the type of a column that may be missing."""
MOST = 64


def compare(
    champion: Mapping[str, str] | None, candidate: Mapping[str, str] | None
) -> InputsStatus | None:
    """The difference of two descriptions (column to type); None until both are known."""
    if champion is None or candidate is None:
        return None
    added = [name for name in candidate if name not in champion]
    missing = [name for name in champion if name not in candidate]
    changed = [
        name
        for name, kind in candidate.items()
        if name in champion and not _accepts(kind, champion[name])
    ]
    return InputsStatus(
        missing=tuple(sorted(missing)[:MOST]),
        added=tuple(sorted(added)[:MOST]),
        changed=tuple(sorted(changed)[:MOST]),
    )


def _accepts(candidate: str, champion: str) -> bool:
    """Whether the candidate takes everything that the champion took in a column."""
    return candidate.rstrip(OPTIONAL) == champion.rstrip(OPTIONAL) and (
        candidate.endswith(OPTIONAL) or not champion.endswith(OPTIONAL)
    )


def differ(status: InputsStatus | None) -> bool:
    """Whether the candidate asks for something else; columns it no longer wants do not count."""
    return status is not None and bool(status.added or status.changed)


def block(status: InputsStatus | None) -> bool:
    """Whether `requireCompatibleInputs` keeps the candidate from traffic: also while unknown."""
    return status is None or differ(status)


def sentence(status: InputsStatus) -> str:
    """The columns that differ, for a message."""
    parts = [
        f"{label} {', '.join(columns[:8])}{' …' if len(columns) > 8 else ''}"
        for label, columns in (
            ("asks also for", status.added or ()),
            ("takes otherwise", status.changed or ()),
            ("no longer wants", status.missing or ()),
        )
        if columns
    ]
    return "; ".join(parts) or "the same columns"
