"""The data dictionary: what every column means, and whether it is known before the event.

It is a table of its own (`data.dictionary`) with a row per column of the data: `column`,
`description` and, where there is one, `known` (`BeforeEvent`, or `AfterEvent` for what nobody knows
when a model is asked). It feeds the gate `documented`, the check `Leakage` and the model card.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

import pandas as pd

from linnet_trainer import tables
from linnet_trainer.checks import Finding
from linnet_trainer.contract import Gate, GateReason, Reason
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import GateSpec

FIELD = "data.dictionary"
ROWS = 10_000
"""A table with more rows is no dictionary."""
BEFORE, AFTER = "BeforeEvent", "AfterEvent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Dictionary:
    """What is said of the columns."""

    uri: str
    descriptions: Mapping[str, str] = field(default_factory=dict)
    """By column; without those that have none."""
    later: frozenset[str] = frozenset()
    """Columns that are known only after the event."""


def read(uri: str) -> Dictionary:
    """Read a dictionary; an empty `uri` gives one that says nothing.

    Raises:
        Refusal: it is missing, no dictionary, or says two things of one column.
        Unavailable: the store does not answer or refuses the credentials.
    """
    if not uri:
        return Dictionary(uri="")
    entries = _entries(uri)
    names = [name for name, _, _ in entries]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise _refusal(f"{uri} has '{twice}' twice: a column has one row")
    for name, _, known in entries:
        if known not in ("", BEFORE, AFTER):
            raise _refusal(
                f"{uri} says '{known}' in the column 'known' of '{name}': write {BEFORE} or {AFTER}"
            )
    return Dictionary(
        uri=uri,
        descriptions={name: told for name, told, _ in entries if told},
        later=frozenset(name for name, _, known in entries if known == AFTER),
    )


def render(dictionary: Dictionary) -> str:
    """Render it as JSON, for the run."""
    document = {
        "uri": dictionary.uri,
        "descriptions": dict(dictionary.descriptions),
        "knownAfterEvent": sorted(dictionary.later),
    }
    return json.dumps(document, indent=1, ensure_ascii=False)


def judge(spec: GateSpec, dictionary: Dictionary, columns: Collection[str]) -> Finding:
    """Judge whether every column in use has a description."""
    lacking = sorted(set(columns) - set(dictionary.descriptions))
    shown = ", ".join(lacking[:10]) + (", …" if len(lacking) > 10 else "")
    message = (
        f"all {len(columns)} columns in use are described in {dictionary.uri}"
        if not lacking
        else f"{len(lacking)} of {len(columns)} columns in use have no description in "
        f"{dictionary.uri}: {shown}. Describe them, or take them out (`pipeline.columns`)"
    )
    gate = Gate(
        name=spec.name,
        passed=not lacking,
        value=str(len(lacking)),
        bound="0",
        n=len(columns),
        reason=GateReason.CHECK_FAILED if lacking else GateReason.CHECK_PASSED,
        message=message,
    )
    return Finding(gate=gate, numbers={"undescribed": lacking})


def _entries(uri: str) -> list[tuple[str, str, str]]:
    """Column, description and `known` of every row."""
    source = tables.Source(uri=uri, field=f"{FIELD}.uri")
    opened = tables.open_table(source)
    for name in ("column", "description"):
        if name not in opened.names:
            raise _refusal(
                f"{uri} has no column '{name}'; a dictionary has 'column', 'description' and, if "
                f"need be, 'known'. Columns: {', '.join(opened.names[:10])}"
            )
    wanted = [name for name in ("column", "description", "known") if name in opened.names]
    with tables.reading(source):
        batches = list(_few(opened.batches(wanted), uri))
    if not batches:
        return []
    texts = pd.concat(batches).reindex(columns=["column", "description", "known"]).astype(object)
    texts = texts.where(texts.notna(), "").map(lambda value: str(value).strip())
    return list(texts.itertuples(index=False, name=None))


def _few(batches: Iterator[pd.DataFrame], uri: str) -> Iterator[pd.DataFrame]:
    count = 0
    for batch in batches:
        count += len(batch)
        if count > ROWS:
            raise _refusal(f"{uri} has more than {ROWS} rows: a dictionary has one per column")
        yield batch.astype(object)


def _refusal(message: str) -> Refusal:
    return Refusal(Reason.INVALID_DATA, f"`{FIELD}.uri`: {message}")
