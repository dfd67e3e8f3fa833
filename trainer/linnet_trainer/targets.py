"""What is predicted: one of several classes, or a number.

The estimator sees the original values. Metrics, checks and plots see codes: a class is its place in
`classes`, a number is itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pandas as pd

from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal
from linnet_trainer.recipe import Table, Task

CLASSES = 100
"""More different values are no classes: their rows are too few, or the target is a number."""


class Kind(StrEnum):
    """What a target is to metrics, checks and plots."""

    BINARY = "binary classifier"
    CLASSES = "classifier of more than two classes"
    NUMBER = "regression"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The target of all rows."""

    classes: tuple[Any, ...]
    """The classes by code, in sort order unless the spec names the positive one of two, which is
    the last; empty for numbers."""
    type: str
    """`boolean`, `long`, `double` or `string`."""
    codes: np.ndarray[Any, Any]
    """The class per row from 0 on (int64), or the number itself (float64); shape [rows]."""

    @property
    def kind(self) -> Kind:
        """What the target is to metrics, checks and plots."""
        return kind_of(self.classes)

    @property
    def values(self) -> np.ndarray[Any, Any]:
        """The target as the estimator sees it: the original classes, or the numbers."""
        if not self.classes:
            return self.codes
        dtype = object if self.type == "string" else None
        values: np.ndarray[Any, Any] = np.array(self.classes, dtype=dtype)[self.codes]
        return values

    @property
    def ordered(self) -> tuple[Any, ...]:
        """The classes as a fitted classifier has them in `classes_`."""
        return tuple(sorted(self.classes))


def kind_of(classes: tuple[Any, ...]) -> Kind:
    """Return the kind of a target with these classes; without classes it is a number."""
    if not classes:
        return Kind.NUMBER
    return Kind.BINARY if len(classes) == 2 else Kind.CLASSES


def read(values: pd.Series, table: Table, task: Task) -> Target:
    """Read the column `data.target`.

    Raises:
        Refusal: it has one value only, or is not what the task predicts.
    """
    if task is Task.REGRESSION:
        return _numbers(values, table.target)
    return _classes(values, table)


def require_spread(target: Target, part: np.ndarray[Any, Any], name: str, table: Table) -> None:
    """Refuse a part of the rows, called `name`, whose target is the same in all of them."""
    codes = target.codes[part]
    if len(np.unique(codes)) > 1:
        return
    only = target.classes[int(codes[0])] if target.classes else f"{codes[0]:g}"
    raise Refusal(
        Reason.INVALID_DATA,
        f"`validation.holdout`: all {len(part)} rows of the {name} have "
        f"{table.target} = {only}; change the holdout or the window",
    )


def require_learned(
    target: Target, training: np.ndarray[Any, Any], holdout: np.ndarray[Any, Any], table: Table
) -> None:
    """Refuse a holdout with a class that no training row has: nothing could answer it."""
    if not target.classes:
        return
    unknown = np.setdiff1d(target.codes[holdout], target.codes[training])
    if len(unknown):
        names = ", ".join(str(target.classes[int(code)]) for code in unknown[:5])
        raise Refusal(
            Reason.INVALID_DATA,
            f"`validation.holdout`: no training row has {table.target} = {names}, which rows of "
            "the holdout have; change the holdout or the window, or leave those rows out",
        )


def tell(target: Target, training: np.ndarray[Any, Any], holdout: np.ndarray[Any, Any]) -> str:
    """Say in words how the target is spread over both parts, for the model card."""
    one, other = target.codes[training], target.codes[holdout]
    if target.kind is Kind.NUMBER:
        return (
            f"mean {one.mean():.4g} (standard deviation {one.std():.4g}) in training, "
            f"{other.mean():.4g} ({other.std():.4g}) in the holdout"
        )
    if target.kind is Kind.BINARY:
        return (
            f"share of the positive class {one.mean():.3f} in training, {other.mean():.3f} in the "
            "holdout"
        )
    count = len(target.classes)
    shares = np.bincount(one, minlength=count) / len(one)
    rarest = int(shares.argmin())
    return (
        f"{count} classes, the rarest ({target.classes[rarest]}) {shares[rarest]:.3f} in training, "
        f"{float((other == rarest).mean()):.3f} in the holdout"
    )


def _classes(values: pd.Series, table: Table) -> Target:
    name = table.target
    column, kind = _class_column(values, name)
    classes = sorted(set(column.tolist()))
    shown = ", ".join(str(value) for value in classes[:5]) + (", …" if len(classes) > 5 else "")
    if len(classes) == 1:
        raise Refusal(
            Reason.INVALID_DATA,
            f"`data.target`: all {len(values)} rows have {name} = {shown}; a classifier needs rows "
            "of both classes. Check the column and the window",
        )
    if len(classes) > CLASSES:
        raise Refusal(
            Reason.TARGET_NOT_SUPPORTED,
            f"`data.target`: '{name}' has {len(classes)} different values ({shown}); a classifier "
            f"learns at most {CLASSES} classes, a number is predicted with `task: Regression`",
        )
    codes = pd.Index(classes).get_indexer(pd.Index(column)).astype(np.int64)
    return Target(classes=tuple(classes), type=kind, codes=codes)


def _class_column(values: pd.Series, name: str) -> tuple[np.ndarray[Any, Any], str]:
    dtype = values.dtype
    if pd.api.types.is_bool_dtype(dtype):
        return values.to_numpy(dtype=bool), "boolean"
    if pd.api.types.is_integer_dtype(dtype):
        return values.to_numpy(dtype=np.int64), "long"
    if pd.api.types.is_float_dtype(dtype):
        floats = values.to_numpy(dtype=np.float64)
        if np.equal(np.mod(floats, 1), 0).all():
            return floats.astype(np.int64), "long"
        return floats, "double"
    if pd.api.types.infer_dtype(values, skipna=True) == "boolean":
        return values.to_numpy(dtype=bool), "boolean"
    if pd.api.types.is_object_dtype(dtype) or isinstance(
        dtype, pd.CategoricalDtype | pd.StringDtype
    ):
        return np.array([str(value) for value in values], dtype=object), "string"
    raise Refusal(
        Reason.TARGET_NOT_SUPPORTED,
        f"`data.target`: '{name}' is of type {dtype}; a target holds booleans, integers or texts",
    )


def _numbers(values: pd.Series, name: str) -> Target:
    dtype = values.dtype
    is_number = pd.api.types.is_numeric_dtype(dtype) and not pd.api.types.is_bool_dtype(dtype)
    if not is_number and pd.api.types.infer_dtype(values, skipna=True) != "decimal":
        raise Refusal(
            Reason.TARGET_NOT_SUPPORTED,
            f"`data.target`: '{name}' is of type {dtype} and `task: Regression` predicts numbers; "
            "use `task: Classification` or another column",
        )
    numbers = values.to_numpy(dtype=np.float64)
    if not np.isfinite(numbers).all():
        raise Refusal(
            Reason.INVALID_DATA,
            f"`data.target`: '{name}' holds infinite numbers: leave those rows out of the table",
        )
    if len(np.unique(numbers)) < 2:
        raise Refusal(
            Reason.INVALID_DATA,
            f"`data.target`: all {len(values)} rows have {name} = {numbers[0]:g}: there is nothing "
            "to learn. Check the column and the window",
        )
    return Target(classes=(), type="double", codes=numbers)
