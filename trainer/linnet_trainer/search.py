"""What is searched: `spec.search` as frozen values, and how found values become a recipe again.

A choice of `categorical` stays the text of the spec until it is applied: every storage of a study
keeps texts, few keep lists or objects.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal

if TYPE_CHECKING:
    from linnet_trainer.recipe import Steps

GRID = 10_000
"""A grid with more points is refused: as many trials as a study may have."""


class Kind(StrEnum):
    """How a parameter is searched, by its field in the spec."""

    UNIFORM = "uniform"
    LOG_UNIFORM = "logUniform"
    INT = "int"
    LOG_INT = "logInt"
    CATEGORICAL = "categorical"

    @property
    def is_float(self) -> bool:
        """Whether the values are any numbers between two bounds."""
        return self in (Kind.UNIFORM, Kind.LOG_UNIFORM)

    @property
    def is_log(self) -> bool:
        """Whether the scale is logarithmic."""
        return self in (Kind.LOG_UNIFORM, Kind.LOG_INT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One hyperparameter and its space: two bounds, both inclusive, or choices."""

    name: str
    kind: Kind
    low: float = 0.0
    high: float = 0.0
    step: int = 1
    choices: tuple[str, ...] = ()

    @property
    def edges(self) -> tuple[Any, ...]:
        """The values that the estimator must take if it takes all: the bounds, or each choice."""
        if self.choices:
            return tuple(map(decode, self.choices))
        return (self.low, self.high) if self.kind.is_float else (int(self.low), int(self.high))

    @property
    def points(self) -> tuple[Any, ...]:
        """All values, as a study keeps them; of a range of numbers there is no end."""
        if self.choices:
            return self.choices
        if self.kind.is_float:
            raise ValueError(f"'{self.name}' has no end of values")
        return tuple(range(int(self.low), int(self.high) + 1, self.step))

    def find(self, value: Any) -> Any:
        """Return a value of the recipe as a study keeps it; None where the space lacks it."""
        if self.choices:
            return next((each for each in self.choices if decode(each) == value), None)
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        if not self.low <= value <= self.high:
            return None
        if self.kind.is_float:
            return float(value)
        return int(value) if (value - self.low) % self.step == 0 else None

    def read(self, text: str) -> Any:
        """Read a value from the text that `write` made of it."""
        if self.choices:
            return text
        return float(text) if self.kind.is_float else int(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best completed trial."""

    number: int
    value: float
    """Mean of the metric over the folds."""
    parameters: Mapping[str, Any]
    """As the study keeps them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How far a search is."""

    of: int
    """Trials that are asked for."""
    completed: int = 0
    """Trials that were scored on all folds."""
    pruned: int = 0
    running: int = 0
    failed: int = 0
    """Trials whose parameters could not be fitted, and those that were lost with their pod."""
    since_best: int = 0
    """Trials that ended after the best one was begun, without being better."""
    best: Best | None = None

    @property
    def ended(self) -> int:
        """Trials that say something: completed ones and pruned ones."""
        return self.completed + self.pruned


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """A search over hyperparameters."""

    metric: str
    parameters: tuple[Parameter, ...]
    trials: int = 40
    sampler: str = "TPE"
    pruner: str = "Wilcoxon"
    patience: int | None = None
    timeout: timedelta | None = None
    ray: str = ""
    """Where Ray Tune runs the trials: `local`, or the head of a cluster; empty for Optuna alone."""
    parallelism: int = 1
    """Trials side by side on Ray."""
    outcome: Standing | None = None
    """What was found; None before the search is over."""

    @property
    def of(self) -> int:
        """Trials that are asked for; a grid has no more than its points."""
        if self.sampler != "Grid":
            return self.trials
        return min(self.trials, _grid_size(self.parameters))


def parse(given: Mapping[str, Any], *, metric: str, timeout: timedelta | None) -> Search:
    """Read `spec.search`.

    Args:
        given: the object of the spec.
        metric: the first gate's, for a search that names none; empty where no gate has one.
        timeout: `given["timeout"]`, read.

    Raises:
        Refusal: the space is empty, contradicts itself or the sampler.
    """
    parameters = tuple(map(_parameter, given.get("parameters") or ()))
    if not parameters:
        raise _refusal("`search.parameters` is empty: name what is to be searched")
    ray = str((given.get("ray") or {}).get("address") or "")
    if (given.get("engine") == "RayTune") != bool(ray):
        raise _refusal("`search.engine: RayTune` and `search.ray.address` need each other")
    if ray and given.get("storage"):
        raise _refusal(
            "`search.storage` is for `engine: Optuna`: with RayTune this pod keeps the study"
        )
    names = [parameter.name for parameter in parameters]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _refusal(f"`search.parameters` names '{twice[0]}' twice: keep one")
    found = Search(
        metric=given.get("metric") or metric,
        parameters=parameters,
        trials=int(given.get("trials") or 40),
        sampler=given.get("sampler") or "TPE",
        pruner=given.get("pruner") or "Wilcoxon",
        patience=int(given["patience"]) if given.get("patience") else None,
        timeout=timeout,
        ray=ray,
        parallelism=int(given.get("parallelism") or 1),
    )
    _require_sampler(found)
    return found


def decode(choice: str) -> Any:
    """Read a choice as JSON where it parses, else as the text that it is."""
    try:
        return json.loads(choice)
    except ValueError:
        return choice


def write(value: Any) -> str:
    """Write a value of a study as text, exactly."""
    return value if isinstance(value, str) else json.dumps(value)


def apply(steps: Steps, found: Mapping[str, Any]) -> Steps:
    """Return the recipe's steps with these values: the estimator's by name, others by path.

    `found` holds the values as a study keeps them.
    """
    values = {
        name: decode(value) if isinstance(value, str) else value for name, value in found.items()
    }
    paths = {name: value for name, value in values.items() if "__" in name}
    names = {name: value for name, value in values.items() if "__" not in name}
    return replace(steps, parameters={**steps.parameters, **names}, paths={**steps.paths, **paths})


def document(standing: Standing) -> dict[str, Any]:
    """Return what `status.search` shows; texts are cut so that a tag of MLflow holds all."""
    found: dict[str, Any] = {
        "completed": standing.ended,
        "running": standing.running,
        "failed": standing.failed,
        "of": standing.of,
    }
    if standing.best is not None:
        found["best"] = {
            "number": standing.best.number,
            "value": f"{standing.best.value:.6g}",
            "parameters": [
                {"name": name, "value": write(value)[:80]}
                for name, value in standing.best.parameters.items()
            ],
        }
    return found


def _parameter(given: Mapping[str, Any]) -> Parameter:
    name = given.get("name") or ""
    kinds = [kind for kind in Kind if given.get(kind)]
    if not name or len(kinds) != 1:
        raise _refusal(
            f"`search.parameters` '{name}' must have a name and exactly one of "
            + ", ".join(f"`{kind}`" for kind in Kind)
        )
    kind = kinds[0]
    space = given[kind]
    if kind is Kind.CATEGORICAL:
        choices = tuple(dict.fromkeys(map(str, space.get("choices") or ())))
        if not choices:
            raise _refusal(f"`search.parameters` '{name}': `choices` is empty")
        return Parameter(name=name, kind=kind, choices=choices)
    low, high, step = float(space["min"]), float(space["max"]), int(space.get("step") or 1)
    if not low < high:
        raise _refusal(f"`search.parameters` '{name}': `min` must be less than `max`")
    if kind.is_log and low <= 0:
        raise _refusal(f"`search.parameters` '{name}': `{kind}` wants 0 < min < max")
    if kind is Kind.LOG_INT and step != 1:
        raise _refusal(
            f"`search.parameters` '{name}': `logInt` has no `step`: leave it out, or use `int`"
        )
    if kind is Kind.INT:
        high -= (high - low) % step
    return Parameter(name=name, kind=kind, low=low, high=high, step=step)


def _require_sampler(search: Search) -> None:
    """Refuse a sampler that cannot search this space."""
    if search.sampler == "Grid":
        endless = [each.name for each in search.parameters if each.kind.is_float]
        if endless:
            raise _refusal(
                f"`search.sampler: Grid` needs values that can be counted, and '{endless[0]}' is "
                "any number of a range: give it `int` or `categorical`, or use another sampler"
            )
        size = _grid_size(search.parameters)
        if size > GRID:
            raise _refusal(
                f"`search.sampler: Grid`: the space has {size} points, more than {GRID}: use "
                "larger steps or fewer choices, or another sampler"
            )
    numbers = [each for each in search.parameters if not each.choices]
    if search.sampler == "CMAES" and len(numbers) < 2:
        raise _refusal(
            f"`search.sampler: CMAES` needs at least two parameters that are numbers, the space "
            f"has {len(numbers)}: use 'TPE'"
        )


def _grid_size(parameters: Sequence[Parameter]) -> int:
    size = 1
    for parameter in parameters:
        size *= len(parameter.choices) or int(
            (parameter.high - parameter.low) // parameter.step + 1
        )
    return size


def _refusal(message: str) -> Refusal:
    return Refusal(Reason.TRAINER_FAILED, message)
