"""From what a client sent to rows in the model's column order, or a sentence saying what is wrong.

Columns are matched by name. Integers are accepted for doubles. Null is a missing value and allowed
where the column is nullable; such a column may also be absent. Unknown columns are ignored and
reported to the caller. Rows are counted from 0.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from linnet_server.manifests import Column


class NotUnderstood(ValueError):
    """The request does not follow its protocol (400)."""


class Unfit(ValueError):
    """A value or column does not fit the model (422); the text names row and column."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """Validated rows in the model's order, and the names that the model does not know."""

    rows: list[Sequence[Any]]
    unknown: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Table:
    """What a request holds, by column and not yet validated."""

    columns: dict[str, Sequence[Any]]
    rows: int


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the model's columns lie in one order of names; -1 where a nullable one is absent."""

    positions: tuple[int, ...]
    unknown: tuple[str, ...]
    straight: bool
    width: int


LAYOUTS = 256
ABSENT = -1
_WANTED = {"double": "a number", "string": "a string", "boolean": "true or false"}


class Inputs:
    """The columns of one model, and the layouts of names that clients sent lately."""

    def __init__(self, columns: Sequence[Column]) -> None:
        self.columns = tuple(columns)
        self.numeric = all(column.type == "double" for column in columns)
        self._names = tuple(column.name for column in columns)
        self._known = frozenset(self._names)
        self._layouts: dict[tuple[str, ...], _Layout] = {}

    def from_rows(self, names: Sequence[Any], rows: Sequence[Any]) -> Mapped:
        """Map a table given as names and rows; raise NotUnderstood or Unfit."""
        layout = self._layout(names)
        width = layout.width
        for at, row in enumerate(rows):
            if type(row) is not list:
                raise NotUnderstood(f"row {at} must be a list of values")
            if len(row) != width:
                raise NotUnderstood(f"row {at} has {len(row)} values for {width} columns")
        self._need_rows(rows)
        if layout.straight:
            mapped = [list(row) for row in rows]
        else:
            positions = layout.positions
            mapped = [[None if at < 0 else row[at] for at in positions] for row in rows]
        return Mapped(self._checked(mapped), layout.unknown)

    def from_columns(self, table: Mapping[str, Sequence[Any]]) -> Mapped:
        """Map a table given as one list of values for each name; raise NotUnderstood or Unfit."""
        lengths = {len(cells) for cells in table.values()}
        if len(lengths) > 1:
            raise NotUnderstood("all columns must have the same number of rows")
        layout = self._layout(tuple(table))
        count = lengths.pop() if lengths else 0
        self._need_rows(range(count))
        lists = list(table.values())
        empty = [None] * count
        chosen = [empty if at < 0 else lists[at] for at in layout.positions]
        mapped = [list(row) for row in zip(*chosen, strict=True)]
        return Mapped(self._checked(mapped), layout.unknown)

    def from_records(self, records: Sequence[Any]) -> Mapped:
        """Map a list of objects, each with its own names; raise NotUnderstood or Unfit."""
        self._need_rows(records)
        unknown: dict[str, None] = {}
        mapped: list[list[Any]] = []
        for at, record in enumerate(records):
            if type(record) is not dict:
                raise NotUnderstood(f"row {at} must be an object with a value for each column")
            row = []
            for column in self.columns:
                if column.name in record:
                    row.append(record[column.name])
                elif column.nullable:
                    row.append(None)
                else:
                    raise Unfit(f"row {at}, column '{column.name}': the value is missing")
            unknown.update((name, None) for name in record if name not in self._known)
            mapped.append(row)
        return Mapped(self._checked(mapped), tuple(unknown))

    def from_tensor(self, rows: Sequence[Any]) -> Mapped:
        """Map rows of bare numbers in the manifest's order; raise NotUnderstood or Unfit."""
        if not self.numeric:
            raise Unfit(
                "rows without column names are accepted only where all columns are numbers: "
                "send the columns by name"
            )
        self._need_rows(rows)
        width = len(self.columns)
        for at, row in enumerate(rows):
            if type(row) is not list:
                raise NotUnderstood(f"row {at} must be a list of values")
            if len(row) != width:
                raise Unfit(f"row {at} has {len(row)} values; the model has {width} columns")
        return Mapped(self._checked([list(row) for row in rows]), ())

    def _need_rows(self, rows: Sequence[Any]) -> None:
        if not rows:
            raise NotUnderstood("the request has no rows")

    def _layout(self, names: Sequence[Any]) -> _Layout:
        key = tuple(names)
        try:
            found = self._layouts.get(key)
        except TypeError:
            raise NotUnderstood("column names must be strings") from None
        if found is not None:
            return found
        places: dict[str, int] = {}
        for at, name in enumerate(key):
            if type(name) is not str:
                raise NotUnderstood("column names must be strings")
            if name in places:
                raise NotUnderstood(f"column '{name}' is given twice")
            places[name] = at
        missing = [
            column.name
            for column in self.columns
            if column.name not in places and not column.nullable
        ]
        if len(missing) == 1:
            raise Unfit(f"column '{missing[0]}' is missing")
        if missing:
            raise Unfit(f"columns {', '.join(repr(name) for name in missing[:20])} are missing")
        layout = _Layout(
            positions=tuple(places.get(name, ABSENT) for name in self._names),
            unknown=tuple(name for name in key if name not in self._known),
            straight=key == self._names,
            width=len(key),
        )
        if len(self._layouts) >= LAYOUTS:
            self._layouts.clear()
        self._layouts[key] = layout
        return layout

    def _checked(self, rows: list[list[Any]]) -> list[Sequence[Any]]:
        for at, column in enumerate(self.columns):
            if column.type == "double":
                for index, row in enumerate(rows):
                    value = row[at]
                    if type(value) is float and math.isfinite(value):
                        continue
                    row[at] = _number(value, index, column)
            else:
                kind = str if column.type == "string" else bool
                for index, row in enumerate(rows):
                    value = row[at]
                    if type(value) is not kind and (value is not None or not column.nullable):
                        raise _unfit(value, index, column)
        return list(rows)


class Tables:
    """Reads the forms of `Inputs` as tables, for requests that something is still added to."""

    def from_rows(self, names: Sequence[Any], rows: Sequence[Any]) -> Table:
        """Read a table given as names and rows; raise NotUnderstood."""
        if any(type(name) is not str for name in names) or len(set(names)) != len(names):
            raise NotUnderstood("column names must be strings, each given once")
        for at, row in enumerate(rows):
            if type(row) is not list or len(row) != len(names):
                raise NotUnderstood(f"row {at} must be a list of {len(names)} values")
        columns = zip(*rows, strict=True) if rows else ([] for _ in names)
        return Table(dict(zip(names, columns, strict=True)), len(rows))

    def from_columns(self, table: Mapping[str, Sequence[Any]]) -> Table:
        """Read a table given as one list of values for each name; raise NotUnderstood."""
        lengths = {len(cells) for cells in table.values()}
        if len(lengths) > 1:
            raise NotUnderstood("all columns must have the same number of rows")
        return Table(dict(table), lengths.pop() if lengths else 0)

    def from_records(self, records: Sequence[Any]) -> Table:
        """Read a list of objects, absent values as null; raise NotUnderstood."""
        for at, record in enumerate(records):
            if type(record) is not dict:
                raise NotUnderstood(f"row {at} must be an object with a value for each column")
        names = dict.fromkeys(name for record in records for name in record)
        return Table(
            {name: [record.get(name) for record in records] for name in names}, len(records)
        )

    def from_tensor(self, rows: Sequence[Any]) -> Table:
        """Refuse rows without names: which features are left out could not be told."""
        raise Unfit("features are looked up by name: send the columns by name")


def _number(value: Any, index: int, column: Column) -> float | None:
    if value is None and column.nullable:
        return None
    if type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise Unfit(f"row {index}, column '{column.name}': must be a finite number") from None
    if type(value) is float:
        raise Unfit(f"row {index}, column '{column.name}': must be a finite number")
    raise _unfit(value, index, column)


def _unfit(value: Any, index: int, column: Column) -> Unfit:
    if value is None:
        return Unfit(f"row {index}, column '{column.name}': null is not allowed")
    wanted = _WANTED[column.type]
    return Unfit(f"row {index}, column '{column.name}': must be {wanted}, not {_named(value)}")


def _named(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "a list" if isinstance(value, list) else "an object"
