"""What a job was asked to do: `spec.json` as frozen values, with the computed defaults.

The operator fills the defaults in when it renders the spec; one that was written by hand may lack
them. `parse` is the one place that computes them, and `Recipe.chosen` records what it chose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from linnet_trainer import prediction_log
from linnet_trainer.contract import Reason
from linnet_trainer.errors import Refusal
from linnet_trainer.module import Module
from linnet_trainer.search import Search
from linnet_trainer.search import parse as parse_search

UNITLESS = (
    "r2",
    "explained_variance",
    "d2_absolute_error_score",
    "neg_mean_absolute_percentage_error",
)
"""Metrics of regression that are no number of the target's unit, so that a margin has a default."""

MINIMUM_CLUSTERS = 14
"""Fewer days or groups cannot carry the non-inferiority gate's t interval."""


class Task(StrEnum):
    """What kind of answer the model gives."""

    CLASSIFICATION = "Classification"
    REGRESSION = "Regression"
    CLUSTERING = "Clustering"


class Axis(StrEnum):
    """What keeps training and holdout apart."""

    TIME = "Time"
    GROUP = "Group"
    RANDOM = "Random"


class Unit(StrEnum):
    """Which rows share their luck: the cluster of the non-inferiority gate."""

    DAY = "Day"
    GROUP = "Group"
    ROW = "Row"


class Limited(StrEnum):
    """What a gate sets a greatest value for, by the gate's field in the spec."""

    OVERFIT = "overfit"
    FAIRNESS = "fairness"
    LATENCY = "latency"
    SIZE = "size"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeastSource:
    """A feature service of a Feast repository."""

    repo: str
    """URI of the folder with `feature_store.yaml`."""
    service: str
    field: str = "data.feast"
    """The object of the spec that names both, for messages."""

    @property
    def repo_field(self) -> str:
        """The field that names the repository."""
        return f"{self.field}.repoUri"

    @property
    def service_field(self) -> str:
        """The field that names the service."""
        return f"{self.field}.featureService"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Which table, which of its rows, and what its columns mean."""

    uri: str
    """With `feast`, that of the entity table."""
    feast: FeastSource | None = None
    """Whose features are joined to every row, as of its time."""
    log: bool = False
    """Whether `uri` is the folder of a prediction log."""
    target: str
    timestamp: str = ""
    groups: str = ""
    positive: str = ""
    """The class of two whose probability is meant, as text; the last in sort order if empty."""
    weight: str = ""
    row_id: str = ""
    """Column that tells rows apart; all columns do if empty."""
    dictionary: str = ""
    """Where the data dictionary lies, if there is one."""
    start: datetime | None = None
    """First moment of the window, inclusive."""
    until: datetime | None = None
    """End of the window, exclusive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """Which columns are features: the lists, or all that fit but those dropped."""

    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    text: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()

    @property
    def given(self) -> bool:
        """Whether exactly the listed columns are features."""
        return bool(self.listed)

    @property
    def listed(self) -> tuple[str, ...]:
        """The listed columns."""
        return (*self.numeric, *self.categorical, *self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """The recipe of the pipeline."""

    columns: Columns
    imputer: str = "Median"
    scaler: str = "StandardScaler"
    encoder: str = "OneHotEncoder"
    estimator: str
    parameters: Mapping[str, Any]
    balance: str = "None"
    calibration: str = "None"
    threshold_metric: str = ""
    """Scorer that the decision threshold is tuned for; without one the likelier class answers."""
    paths: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of the pipeline that a search found, by path (`columns__numeric__…`)."""
    task: Task = Task.CLASSIFICATION
    module: Module | None = None
    """Whose estimator is the whole pipeline; the other fields of the steps then say nothing."""

    @property
    def field(self) -> str:
        """The field of the spec that the estimator comes from."""
        return "pipeline.estimator" if self.module is None else "module.entry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Validation:
    """How training and holdout are split, and the folds inside the training part."""

    splitter: str
    folds: int = 5
    by: Axis
    fraction: float | None = 0.2
    """Share of the rows in the holdout; None where `period` says how long it is."""
    period: timedelta | None = None
    gap: timedelta = timedelta(0)
    """Time left out between the training and the test rows of a fold."""
    purge_groups: bool = False
    """Whether training rows of the holdout's groups are left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """The greatest value that a gate lets pass: a difference of a metric, seconds or bytes."""

    of: Limited
    most: float
    told: str
    """As the spec writes it."""
    column: str = ""
    """With `fairness`, the column whose values are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateSpec:
    """One gate: a minimum, a comparison with the champion, a limit, or one on the columns."""

    name: str
    metric: str = ""
    minimum: str = ""
    limit: Limit | None = None
    new_columns: tuple[str, ...] | None = None
    """With `schema`, the columns that the model may ask for although the champion does not."""
    documented: bool = False
    """Whether every column in use must stand in the data dictionary."""
    feature_set: bool = False
    """Whether the feature service must be what the champion was trained on."""
    champion: bool = False
    margin: float = 0.02
    confidence: float = 0.95
    unit: Unit = Unit.DAY


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """One job, complete: identity, data, pipeline, validation, gates."""

    namespace: str
    name: str
    job_uid: str
    spec_hash: str
    model: str
    champion_alias: str
    experiment: str
    table: Table
    steps: Steps
    validation: Validation
    gates: tuple[GateSpec, ...]
    seed: int
    chosen: Mapping[str, str]
    """The computed defaults that the spec did not give, by field."""
    waivers: Mapping[str, str] = field(default_factory=dict)
    """Why a standing check is let go, by check."""
    search: Search | None = None
    metric: str = "roc_auc"
    """The leading metric where no gate has one; the trainer chooses it by the target."""

    @property
    def task(self) -> Task:
        """What kind of answer the model gives."""
        return self.steps.task

    def led_by(self, metric: str) -> Recipe:
        """The recipe with the metric that leads, and is searched for, where the spec has none."""
        search = self.search
        if search is not None and not search.metric:
            search = replace(search, metric=metric)
        return replace(self, metric=metric, search=search)

    @property
    def compares(self) -> bool:
        """Whether a gate sets the model against the champion."""
        return any(gate.champion for gate in self.gates)

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of the gates, the first one leading."""
        return _of_gates(self.gates) or (self.metric,)


def _of_gates(gates: tuple[GateSpec, ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(gate.metric for gate in gates if gate.metric))


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def parse_duration(text: str) -> timedelta:
    """Read a duration such as `744h` or `1h30m`."""
    parts = re.findall(r"([0-9]{1,6})(ms|s|m|h)", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise Refusal(Reason.TRAINER_FAILED, f"'{text}' is no duration; write '744h' or '90m'")
    return timedelta(seconds=sum(int(number) * _UNITS[unit] for number, unit in parts))


def parse_quantity(text: str) -> int:
    """Read a number of bytes such as `10Mi`."""
    found = re.fullmatch(r"([1-9][0-9]{0,9})(Ki|Mi|Gi)?", text)
    if found is None:
        raise Refusal(Reason.TRAINER_FAILED, f"'{text}' is no size; write '10Mi'")
    return int(found[1]) << 10 * ("", "Ki", "Mi", "Gi").index(found[2] or "")


def parse_time(text: str) -> datetime:
    """Read an RFC 3339 time; the result is in UTC."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        message = f"'{text}' is no time; write '2013-04-01T00:00:00Z'"
        raise Refusal(Reason.TRAINER_FAILED, message) from error
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def render_time(moment: datetime) -> str:
    """Write a time as RFC 3339 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse(document: Mapping[str, Any], *, environ: Mapping[str, str]) -> Recipe:
    """Read `spec.json`, with what it lacks taken from the environment or computed.

    Raises:
        Refusal: a field is missing or asks for what this version does not do.
    """
    try:
        return _parse(document, environ)
    except (KeyError, TypeError, AttributeError) as error:
        message = f"spec.json cannot be read: {type(error).__name__} {error}"
        raise Refusal(Reason.TRAINER_FAILED, message) from error


def _parse(document: Mapping[str, Any], environ: Mapping[str, str]) -> Recipe:
    if document.get("v", 1) != 1:
        raise Refusal(Reason.TRAINER_FAILED, f"spec.json of version {document['v']!r} is unknown")
    spec = document["spec"]
    _refuse_unsupported(spec)
    namespace = document.get("namespace") or environ.get("LINNET_NAMESPACE", "")
    created = document.get("created") or environ.get("LINNET_CREATED", "")
    chosen: dict[str, str] = {}
    task = Task(spec.get("task") or Task.CLASSIFICATION)
    if task is Task.CLUSTERING:
        _refuse_prediction(spec)
    table = _table(spec["data"], task, created, chosen)
    if table.positive and task is not Task.CLASSIFICATION:
        raise Refusal(
            Reason.TRAINER_FAILED,
            f"`data.positiveClass` is for `task: Classification`; `task: {task}` has no classes: "
            "remove it",
        )
    validation = _validation(spec.get("validation") or {}, table, task, chosen)
    model = spec["model"]
    gates = tuple(_gate(gate, table, task, chosen) for gate in spec["gates"])
    experiment = spec.get("experiment") or ""
    if not experiment:
        experiment = chosen["experiment"] = f"{namespace}/{model['name']}"
    return Recipe(
        namespace=namespace,
        name=document.get("name") or environ.get("LINNET_NAME", ""),
        job_uid=document.get("jobUID") or environ.get("LINNET_JOB_UID", ""),
        spec_hash=document.get("specHash") or environ.get("LINNET_SPEC_HASH", ""),
        model=model["name"],
        champion_alias=_or(model.get("championAlias"), "champion"),
        experiment=experiment,
        table=table,
        steps=_module(spec["module"], task) if "module" in spec else _steps(spec["pipeline"], task),
        validation=validation,
        gates=gates,
        seed=int(spec.get("seed") or 0),
        chosen=chosen,
        waivers={each["check"]: each["reason"] for each in spec.get("waivers") or ()},
        search=_search(spec["search"], gates, chosen) if "search" in spec else None,
    )


def _refuse_unsupported(spec: Mapping[str, Any]) -> None:
    if spec.get("custom") is not None:
        raise Refusal(
            Reason.TRAINER_FAILED,
            "`spec.custom` is for a program of your own, and Linnet's trainer was started: name "
            "yours in `custom.command`, or use `pipeline` or `module`",
        )
    task = spec.get("task") or Task.CLASSIFICATION
    if task not in set(Task):
        known = " or ".join(f"'{each}'" for each in Task)
        raise Refusal(
            Reason.TARGET_NOT_SUPPORTED,
            f"`task: {task}` is not supported by this version of Linnet: use {known}",
        )
    data = spec["data"]
    named = [field for field in ("target", "timestamp", "rowId") if data.get(field)]
    if data.get("predictionLog") and named:
        raise Refusal(
            Reason.TRAINER_FAILED,
            f"`data.{named[0]}` must be absent with `data.predictionLog`: the log has its own",
        )
    if data.get("feast") and not data.get("timestamp"):
        raise Refusal(
            Reason.TRAINER_FAILED,
            "`data.feast` needs `data.timestamp`: the column with the time as of which a row's "
            "features are looked up",
        )


def _refuse_prediction(spec: Mapping[str, Any]) -> None:
    """Refuse what makes sense only where something is predicted."""
    data, validation = spec["data"], spec.get("validation") or {}
    given = [field for field in ("module", "search") if field in spec]
    unused = ("target", "weight", "predictionLog")
    given += [f"data.{field}" for field in unused if data.get(field)]
    given += ["validation.gap"] if validation.get("gap", "0s") != "0s" else []
    if any((validation.get("holdout") or {}).values()):
        given.append("validation.holdout")
    if validation.get("splitter") == "TimeSeriesSplit":
        given.append("validation.splitter 'TimeSeriesSplit'")
    if given:
        raise Refusal(
            Reason.TRAINER_FAILED,
            f"`task: Clustering` predicts nothing and has no use for {', '.join(given)}: remove it",
        )
    for gate in spec["gates"]:
        if not {"minimum", "size", "documented"} & {key for key in gate if gate[key] is not None}:
            raise Refusal(
                Reason.TRAINER_FAILED,
                f"gates '{gate['name']}': with `task: Clustering` a gate has `minimum`, `size` or "
                "`documented`",
            )


def _table(data: Mapping[str, Any], task: Task, created: str, chosen: dict[str, str]) -> Table:
    window = data.get("window") or {}
    until = parse_time(window["until"]) if window.get("until") else None
    start = parse_time(window["from"]) if window.get("from") else None
    if window.get("lookback"):
        if until is None:
            until = parse_time(created)
            chosen["data.window.until"] = render_time(until)
        start = until - parse_duration(window["lookback"])
    return Table(
        **_origin(data, task),
        groups=data.get("groups") or "",
        positive=data.get("positiveClass") or "",
        weight=data.get("weight") or "",
        dictionary=(data.get("dictionary") or {}).get("uri") or "",
        start=start,
        until=until,
    )


def _origin(data: Mapping[str, Any], task: Task) -> dict[str, Any]:
    """Where the rows come from, and which columns that decides."""
    log, feast = data.get("predictionLog"), data.get("feast")
    if log:
        return {
            "uri": log["uri"],
            "log": True,
            "target": prediction_log.LABEL,
            "timestamp": prediction_log.TIME,
            "row_id": prediction_log.ID,
        }
    given = {
        "target": data["target"] if task is not Task.CLUSTERING else "",
        "timestamp": data.get("timestamp") or "",
        "row_id": data.get("rowId") or "",
    }
    if feast:
        source = FeastSource(repo=feast["repoUri"], service=feast["featureService"])
        return given | {"uri": feast["entities"]["uri"], "feast": source}
    return given | {"uri": data["table"]["uri"]}


def _validation(
    given: Mapping[str, Any], table: Table, task: Task, chosen: dict[str, str]
) -> Validation:
    splitter = given.get("splitter") or ""
    if not splitter:
        splitter = "GroupKFold" if table.groups else "KFold"
        splitter = f"Stratified{splitter}" if task is Task.CLASSIFICATION else splitter
        if table.timestamp and task is not Task.CLUSTERING:
            splitter = "TimeSeriesSplit"
        chosen["validation.splitter"] = splitter
    if "Stratified" in splitter and task is not Task.CLASSIFICATION:
        raise Refusal(
            Reason.TRAINER_FAILED,
            f"`validation.splitter: {splitter}` keeps the shares of classes and `task: {task}` has "
            f"none: use {splitter.removeprefix('Stratified')}",
        )
    if task is Task.CLUSTERING:
        # Nothing is held out: folds are left out in turn, whole groups where there are some.
        folds = int(given.get("folds") or 5)
        return Validation(splitter=splitter, folds=folds, by=Axis.RANDOM, fraction=None)
    holdout = given.get("holdout") or {}
    by = holdout.get("by") or ""
    if not by:
        by = Axis.TIME if table.timestamp else Axis.GROUP if table.groups else Axis.RANDOM
        chosen["validation.holdout.by"] = str(by)
    purge = bool(holdout.get("purgeGroups"))
    if purge and not table.groups:
        raise Refusal(
            Reason.TRAINER_FAILED,
            "`validation.holdout.purgeGroups` needs `data.groups`: name the column, or remove it",
        )
    gap = parse_duration(given["gap"]) if given.get("gap") else timedelta(0)
    if gap and splitter != "TimeSeriesSplit":
        raise Refusal(
            Reason.TRAINER_FAILED,
            f"`validation.gap` is time between the rows of a fold, and `validation.splitter: "
            f"{splitter}` keeps no order: use TimeSeriesSplit, or remove the gap",
        )
    period = parse_duration(holdout["period"]) if holdout.get("period") else None
    fraction = float(holdout["fraction"]) if holdout.get("fraction") else None
    if period is None and fraction is None:
        fraction = 0.2
        chosen["validation.holdout.fraction"] = "0.2"
    validation = Validation(
        splitter=splitter,
        folds=int(given.get("folds") or 5),
        by=Axis(by),
        fraction=fraction,
        period=period,
        gap=gap,
        purge_groups=purge,
    )
    needs_time = validation.by is Axis.TIME or splitter == "TimeSeriesSplit"
    needs_groups = validation.by is Axis.GROUP or "Group" in splitter
    if needs_time and not table.timestamp:
        raise Refusal(Reason.TRAINER_FAILED, "a split by time needs `data.timestamp`")
    if needs_groups and not table.groups:
        raise Refusal(Reason.TRAINER_FAILED, "a split by group needs `data.groups`")
    return validation


def _steps(pipeline: Mapping[str, Any], task: Task) -> Steps:
    columns = pipeline.get("columns") or {}
    preprocess = pipeline.get("preprocess") or {}
    estimator = pipeline["estimator"]
    calibration = pipeline.get("calibration") or "None"
    threshold_metric = pipeline.get("thresholdMetric") or ""
    if task is not Task.CLASSIFICATION and (calibration != "None" or threshold_metric):
        name = "thresholdMetric" if threshold_metric else "calibration"
        raise Refusal(
            Reason.TRAINER_FAILED,
            f"`pipeline.{name}` is for `task: Classification`; `task: {task}` has no "
            "probabilities: remove it",
        )
    return Steps(
        columns=Columns(
            numeric=tuple(columns.get("numeric") or ()),
            categorical=tuple(columns.get("categorical") or ()),
            text=tuple(columns.get("text") or ()),
            drop=tuple(columns.get("drop") or ()),
        ),
        imputer=preprocess.get("imputer") or "Median",
        scaler=preprocess.get("scaler") or "StandardScaler",
        encoder=preprocess.get("encoder") or "OneHotEncoder",
        estimator=estimator["class"],
        parameters=dict(estimator.get("parameters") or {}),
        balance=estimator.get("balance") or "None",
        calibration=calibration,
        threshold_metric=threshold_metric,
        task=task,
    )


def _module(given: Mapping[str, Any], task: Task) -> Steps:
    module = Module(
        config_map=given["configMapName"],
        key=given.get("key") or "pipeline.py",
        entry=given["entry"],
    )
    return Steps(columns=Columns(), estimator=module.entry, parameters={}, task=task, module=module)


def _gate(gate: Mapping[str, Any], table: Table, task: Task, chosen: dict[str, str]) -> GateSpec:
    name = gate["name"]
    if gate.get("schema") is not None:
        allowed = tuple(gate["schema"].get("allowNewColumns") or ())
        return GateSpec(name=name, new_columns=allowed)
    if gate.get("documented") is not None:
        if not table.dictionary:
            raise Refusal(
                Reason.TRAINER_FAILED,
                f"gates '{name}': `documented` needs `data.dictionary`: say where it lies",
            )
        return GateSpec(name=name, documented=True)
    if gate.get("featureSet") is not None:
        if table.feast is None:
            raise Refusal(
                Reason.TRAINER_FAILED,
                f"gates '{name}': `featureSet` needs `data.feast`: remove the gate, or name a "
                "feature service",
            )
        return GateSpec(name=name, feature_set=True)
    if limit := _limit(gate):
        return GateSpec(name=name, metric=gate.get("metric") or "", limit=limit)
    if not gate.get("minimum") and not gate.get("notWorseThan"):
        kinds = ("minimum", "notWorseThan", "schema", "documented", "featureSet", *Limited)
        known = ", ".join(f"`{each}`" for each in kinds)
        raise Refusal(
            Reason.TRAINER_FAILED,
            f"spec.gates '{name}' is not supported by this version of the trainer: it knows "
            f"{known}",
        )
    if gate.get("minimum"):
        return GateSpec(name=name, metric=gate["metric"], minimum=str(gate["minimum"]))
    if task is Task.REGRESSION and not gate.get("margin") and gate["metric"] not in UNITLESS:
        raise Refusal(
            Reason.TRAINER_FAILED,
            f"gates '{name}': {gate['metric']} is in units of `{table.target}`, so `margin` has no "
            "default: write it out, or compare by r2",
        )
    for each, default in (("margin", "0.02"), ("confidence", "0.95")):
        if not gate.get(each):
            chosen[f"gates.{name}.{each}"] = default
    unit = gate.get("unit") or ""
    if not unit:
        if not table.timestamp and not table.groups:
            raise Refusal(
                Reason.TRAINER_FAILED,
                f"gates '{name}': `notWorseThan` needs data.timestamp or data.groups, "
                "or `unit: Row` written out",
            )
        unit = Unit.DAY if table.timestamp else Unit.GROUP
        chosen[f"gates.{name}.unit"] = str(unit)
    if unit == Unit.DAY and not table.timestamp:
        raise Refusal(Reason.TRAINER_FAILED, "gates: `unit: Day` needs data.timestamp")
    if unit == Unit.GROUP and not table.groups:
        raise Refusal(Reason.TRAINER_FAILED, "gates: `unit: Group` needs data.groups")
    return GateSpec(
        name=name,
        metric=gate["metric"],
        champion=True,
        margin=float(gate.get("margin") or 0.02),
        confidence=float(gate.get("confidence") or 0.95),
        unit=Unit(unit),
    )


def _search(
    given: Mapping[str, Any], gates: tuple[GateSpec, ...], chosen: dict[str, str]
) -> Search:
    metric = next(iter(_of_gates(gates)), "")
    if metric and not given.get("metric"):
        chosen["search.metric"] = metric
    timeout = parse_duration(given["timeout"]) if given.get("timeout") else None
    return parse_search(given, metric=metric, timeout=timeout)


def _limit(gate: Mapping[str, Any]) -> Limit | None:
    """Read the limit that a gate sets, if it sets one."""
    of = next((each for each in Limited if gate.get(each)), None)
    if of is None:
        return None
    given = gate[of]
    told = given.get("maxDrop") or given.get("maxDifference") or given.get("maximum")
    if of is Limited.LATENCY:
        most = parse_duration(told).total_seconds()
    elif of is Limited.SIZE:
        most = parse_quantity(told)
    else:
        most = float(told)
    return Limit(of=of, most=most, told=told, column=given.get("column") or "")


def _or(value: str | None, default: str) -> str:
    return default if value is None else value
