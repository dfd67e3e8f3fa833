"""The champion as a gate needs it: its model, its inputs, and whether it saw the holdout."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from linnet_trainer import contract, data, evaluate, gates, lineage, manifest, registry, split
from linnet_trainer.contract import Gate, GateReason
from linnet_trainer.data import Feature
from linnet_trainer.errors import Refusal
from linnet_trainer.lineage import FeatureSet
from linnet_trainer.recipe import Axis, GateSpec, Recipe, Task, render_time
from linnet_trainer.targets import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """A loaded champion, or the sentence that says why there can be no comparison with it."""

    version: str
    tags: Mapping[str, str]
    document: Mapping[str, Any]
    """Its manifest."""
    model: Any = None
    obstacle: str = ""
    run_id: str = ""

    @property
    def features(self) -> tuple[Feature, ...]:
        """The inputs that it asks for."""
        return tuple(
            Feature(name=column["name"], type=column["type"], source=column.get("source", ""))
            for column in self.document.get("columns", ())
        )


def load(tracker: registry.Tracker, folder: Path, *, with_model: bool = True) -> Rival | None:
    """Load the champion with our own list of trusted types; None where there is no champion.

    Without its model there is what its manifest says, which is enough to compare columns.
    """
    found = tracker.find_champion()
    if found is None:
        return None
    document: dict[str, Any] = {}
    model, obstacle = None, ""
    try:
        path = tracker.download(found.artifacts, manifest.MANIFEST, folder)
        blob = path.read_bytes()
        expected = found.tags.get(contract.TAG_MANIFEST, "")
        if expected != manifest.sha256(blob):
            raise ValueError(
                f"its manifest is not the one that the tag '{contract.TAG_MANIFEST}' names"
            )
        document = json.loads(blob)
        if with_model:
            file = tracker.download(found.artifacts, document["modelFile"], folder)
            model = manifest.load(file.read_bytes(), document)
    except FileNotFoundError as error:
        obstacle = f"it has no file {error}; Linnet compares with models that it trained"
    except (ValueError, KeyError, TypeError) as error:
        obstacle = f"it cannot be loaded: {error}"
    return Rival(
        version=found.version,
        tags=found.tags,
        document=document,
        model=model,
        obstacle=obstacle,
        run_id=found.run_id,
    )


def saw(rival: Rival, held: split.Split, facts: Mapping[str, Any]) -> str:
    """Say why the champion may have seen the holdout; empty where it has not."""
    if held.by is Axis.TIME:
        assert held.start is not None
        told = rival.tags.get(contract.TAG_TRAINED_UNTIL, "")
        until = registry.moment(told)
        start = render_time(held.start)
        if until is None:
            return (
                f"version {rival.version} has no tag '{contract.TAG_TRAINED_UNTIL}', so nobody "
                f"knows whether it saw the holdout, which starts at {start}"
            )
        if until > held.start:
            return (
                f"version {rival.version} was trained until {told}, the holdout starts at {start}: "
                "it saw a part of it. Hold out a later part (`validation.holdout`, `data.window`)"
            )
        return ""
    theirs = rival.document.get("holdout") or {}
    if theirs.get("by") == facts["by"] and theirs.get("key") == facts["key"]:
        # The holdout is the part of a hash's range below the fraction: larger ones hold smaller.
        if float(theirs.get("fraction", 0)) >= float(facts["fraction"]):
            return ""
        return (
            f"version {rival.version} held out only {theirs.get('fraction')} of the rows: it saw a "
            f"part of this holdout of {facts['fraction']}"
        )
    return (
        f"version {rival.version} chose its holdout by {theirs.get('by', 'other means')} on other "
        f"columns, so it may have seen rows of this one, which is by {facts['by']}"
    )


def judge(
    spec: GateSpec,
    rival: Rival | None,
    *,
    recipe: Recipe,
    rows: data.Rows,
    held: split.Split,
    facts: Mapping[str, Any],
    target: Target,
    answers: evaluate.Given,
    look: int,
) -> Gate:
    """Judge the gate `notWorseThan: Champion` on the holdout.

    `answers` are the challenger's for the holdout rows, `look` counts comparisons on this holdout.
    """
    if rival is None:
        return gates.pass_without_champion(spec, recipe.champion_alias, recipe.model)
    if told := obstacle(rival, rows, target):
        message = f"no comparison with version {rival.version}: {told}"
        return gates.refuse(spec, GateReason.CHECK_FAILED, message)
    if told := saw(rival, held, facts):
        return gates.refuse(spec, GateReason.CHAMPION_SAW_HOLDOUT, told)
    frame = rows.frame.iloc[held.holdout]
    truth = target.codes[held.holdout]
    try:
        theirs = _answer(rival, frame, target)
    except (ValueError, Refusal) as error:
        message = f"version {rival.version} cannot answer the holdout's rows: {error}"
        return gates.refuse(spec, GateReason.CHECK_FAILED, message)

    clusters = split.cluster(rows, held, recipe.table, spec.unit)
    found = compare(spec.metric, answers, theirs, truth, clusters)
    return gates.judge_difference(spec, found, look=look, version=rival.version)


def judge_features(spec: GateSpec, rival: Rival | None, ours: FeatureSet) -> Gate:
    """Judge whether the feature service of this name is what the champion was trained on."""
    if rival is None:
        return Gate(
            name=spec.name,
            passed=True,
            reason=GateReason.NO_CHAMPION,
            message="no champion whose features these could be compared with",
        )
    if rival.obstacle and not rival.document:
        message = f"the features of version {rival.version} are not known: {rival.obstacle}"
        return gates.refuse(spec, GateReason.CHECK_FAILED, message)
    theirs = rival.document.get(lineage.MANIFEST_KEY) or {}
    name, known = ours.service, theirs.get("featureService")
    changed = (
        lineage.differences(theirs["views"], ours.document()["views"]) if known == name else []
    )
    if changed:
        message = (
            f"feature service '{name}' changed under its name since version {rival.version}: "
            f"{'; '.join(changed)}. Give the changed set a name of its own and use that in "
            "`data.feast.featureService`"
        )
    elif known == name:
        message = f"feature service '{name}' is what version {rival.version} was trained on"
    else:
        used = f"the feature service '{known}'" if known else "no feature store"
        message = f"'{name}' is another set: version {rival.version} used {used}"
    return Gate(
        name=spec.name,
        passed=not changed,
        value=str(len(changed)),
        bound="0",
        n=len(ours.columns),
        reason=GateReason.CHECK_FAILED if changed else GateReason.CHECK_PASSED,
        message=message,
    )


def compare(
    metric: str,
    ours: evaluate.Given,
    theirs: evaluate.Given,
    truth: Any,
    clusters: Any,
) -> gates.Difference:
    """Return our metric minus theirs on the same rows, with its standard error over clusters.

    A mean loss is paired: the difference of each row's losses is summed per cluster, and no cluster
    costs another look at all rows. Any other metric is measured anew without each cluster.
    """

    def difference(chosen: Any) -> float:
        ours_there = evaluate.score(metric, ours, truth, chosen)
        return ours_there - evaluate.score(metric, theirs, truth, chosen)

    if len(pd.unique(clusters)) < 2:
        # One cluster has no spread: nothing can be left out.
        return gates.Difference(estimate=difference(None), error=math.nan, clusters=1, freedom=1)
    if (loss := evaluate.LOSSES.get(metric)) and isinstance(ours, evaluate.Numbers):
        gained = loss(truth, theirs.label) - loss(truth, ours.label)
        return gates.jackknife_mean(gained, clusters)
    return gates.jackknife(difference, clusters)


def obstacle(rival: Rival, rows: data.Rows, target: Target) -> str:
    """Say what stands in the way of asking the champion about these rows; empty if nothing."""
    if rival.obstacle:
        return rival.obstacle
    if missing := [one.name for one in rival.features if one.name not in rows.frame]:
        return f"it needs the columns {', '.join(missing)}, which the table lacks"
    task = Task.CLASSIFICATION if target.classes else Task.REGRESSION
    if (theirs := rival.document.get("task", Task.CLASSIFICATION)) != task:
        return f"its task is {theirs}, not {task}"
    if list(rival.document.get("classes", ())) != list(target.ordered):
        return f"its classes are {rival.document.get('classes')}, not {list(target.ordered)}"
    return ""


def _answer(rival: Rival, frame: pd.DataFrame, target: Target) -> evaluate.Given:
    return evaluate.answer(rival.model, data.cast(frame, rival.features), target.classes)
