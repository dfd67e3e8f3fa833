"""A training up to the point where something is fitted, without a job around it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from typing import Any

import pandas as pd
from linnet_trainer import data, fit, train
from linnet_trainer.recipe import Recipe

from trainer.test_recipe import parse
from trainer.world import World, merge


def prepare(
    world: World, table: pd.DataFrame, *changes: Mapping[str, Any]
) -> tuple[Recipe, train.Prepared]:
    """Write a table and read it again by a spec with these changes."""
    recipe = parse(reduce(merge, changes, {"data": {"table": {"uri": world.write(table)}}}))
    return recipe, train._prepare(recipe, data.read(recipe))


def fitted(recipe: Recipe, ready: train.Prepared) -> Any:
    """Fit on all training rows."""
    pipeline = fit.make_pipeline(recipe.steps, ready.inputs.features, seed=0)
    return train._fit_on(ready.held.training, pipeline, recipe.steps, ready)[0]
