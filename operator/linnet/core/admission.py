"""What must hold of any object of ours before anything of it is changed.

Each check returns a finding or None; the chain is a tuple, one line per check, and the first
finding counts. Nothing here knows what will be done about it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from linnet.api import support
from linnet.api.reasons import Reason
from linnet.api.shared import Model
from linnet.core.plan import Finding


class Admissible(Protocol):
    """The part of an observation that these checks look at."""

    @property
    def namespace(self) -> str: ...
    @property
    def spec(self) -> Model: ...
    @property
    def model_name(self) -> str: ...
    @property
    def invalid(self) -> str: ...
    @property
    def model_allowed(self) -> bool: ...
    @property
    def foreign(self) -> str: ...


Check = Callable[[Admissible], Finding | None]


def spec_is_valid(seen: Admissible) -> Finding | None:
    return Finding(Reason.INVALID_SPEC, seen.invalid, stalled=True) if seen.invalid else None


def spec_is_supported(seen: Admissible) -> Finding | None:
    paths = support.not_yet_supported(seen.spec)
    if not paths:
        return None
    message = support.message_not_supported(paths)
    return Finding(Reason.NOT_YET_SUPPORTED, message, stalled=True)


def model_is_allowed(seen: Admissible) -> Finding | None:
    if seen.model_allowed:
        return None
    return Finding(
        Reason.MODEL_NOT_ALLOWED,
        f"namespace '{seen.namespace}' may not use the model '{seen.model_name}' "
        "(`spec.model.name`): use an allowed name, or ask whoever runs the operator to extend "
        "LINNET_MODEL_PREFIXES",
        stalled=True,
    )


def names_are_ours(seen: Admissible) -> Finding | None:
    if not seen.foreign:
        return None
    return Finding(
        Reason.NAME_TAKEN,
        f"{seen.foreign} exists and is not ours: delete or rename it, or give this object "
        "another name",
        stalled=True,
    )


CHECKS: tuple[Check, ...] = (
    spec_is_valid,  # an object that came in under an older CRD changes nothing
    spec_is_supported,  # a field of a later version is never ignored in silence
    model_is_allowed,  # a namespace keeps to its own models
    names_are_ours,  # somebody else's object is neither adopted nor deleted
)


def finding(seen: Admissible) -> Finding | None:
    """The first finding of the chain, or None where the object may be worked on."""
    return next((found for check in CHECKS if (found := check(seen)) is not None), None)
