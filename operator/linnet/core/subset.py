"""Whether a live object already says what we would apply: the server only ever adds to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_QUANTITY = re.compile(r"^([0-9]+(?:\.[0-9]+)?)(m|k|M|G|T|Ki|Mi|Gi|Ti)?$")
_SCALE = {
    None: Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(10) ** 3,
    "M": Decimal(10) ** 6,
    "G": Decimal(10) ** 9,
    "T": Decimal(10) ** 12,
    "Ki": Decimal(2) ** 10,
    "Mi": Decimal(2) ** 20,
    "Gi": Decimal(2) ** 30,
    "Ti": Decimal(2) ** 40,
}


def covers(live: Any, wanted: Any) -> bool:
    """Whether everything in `wanted` stands in `live` too.

    Maps may have more keys than wanted, but for selectors, which are atomic; lists are equal
    element by element; a quantity may be written in another unit, as the API server normalises
    `1000m` to `1`; what is wanted empty may be absent.
    """
    if live == wanted:
        return True
    if isinstance(wanted, Mapping):
        if not isinstance(live, Mapping):
            return not wanted and live is None
        return all(
            live.get(key) == value if key == "selector" else covers(live.get(key), value)
            for key, value in wanted.items()
        )
    if isinstance(wanted, list | tuple):
        if not isinstance(live, list | tuple):
            return not wanted and live is None
        return len(live) == len(wanted) and all(
            covers(a, b) for a, b in zip(live, wanted, strict=True)
        )
    # The API server leaves out fields with their zero value.
    if live is None:
        return wanted in ("", False, None)
    return _same_quantity(live, wanted)


def quantity(text: Any) -> Decimal:
    """The number that a Kubernetes quantity stands for; raises ValueError for other text."""
    match = _QUANTITY.match(str(text))
    if match is None:
        raise ValueError(f"'{text}' is no quantity")
    return Decimal(match[1]) * _SCALE[match[2]]


def _same_quantity(a: Any, b: Any) -> bool:
    try:
        return quantity(a) == quantity(b)
    except ValueError:
        return False
