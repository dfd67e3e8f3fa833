"""TrainingJob: one training of one model, from a table to a registered version."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Literal, TypeAlias

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import Field, StringConstraints

from linnet.api.conditions import Conditions
from linnet.api.pod_template import PodTemplate
from linnet.api.shared import (
    BY_NAME,
    TIME_PATTERN,
    Alias,
    Column,
    Columns,
    Computed,
    Count,
    Distance,
    Duration,
    Int64,
    Issue,
    Message,
    Model,
    ModelName,
    Name,
    Number,
    Quantity,
    Ratio,
    RequestStatus,
    Resource,
    ResourceName,
    Rule,
    Scorer,
    Text9,
    Text24,
    Text63,
    Text64,
    Text128,
    Text250,
    Text253,
    Text256,
    Text512,
    Text1024,
    Time,
    Uri,
    Version,
    alias_not_reserved,
    at_most_one,
    by,
    exactly_one,
)

CHECK_WINDOW_END: Final = "CheckWindowEnd"
"""The `until` of a retraining template: the operator writes a time in its place."""


class Task(StrEnum):
    """What kind of answer the model gives."""

    CLASSIFICATION = "Classification"
    REGRESSION = "Regression"
    CLUSTERING = "Clustering"


class HoldoutBy(StrEnum):
    """The axis along which the holdout is cut off."""

    TIME = "Time"
    GROUP = "Group"
    RANDOM = "Random"


class Splitter(StrEnum):
    """How the training rows are cut into folds."""

    K_FOLD = "KFold"
    STRATIFIED_K_FOLD = "StratifiedKFold"
    GROUP_K_FOLD = "GroupKFold"
    STRATIFIED_GROUP_K_FOLD = "StratifiedGroupKFold"
    TIME_SERIES_SPLIT = "TimeSeriesSplit"


class GateUnit(StrEnum):
    """What is left out at a time when the difference to the champion is judged."""

    DAY = "Day"
    GROUP = "Group"
    ROW = "Row"


class ProgressStage(StrEnum):
    """Where a training stands."""

    QUEUED = "Queued"
    LOADING = "Loading"
    VALIDATING = "Validating"
    SEARCHING = "Searching"
    FITTING = "Fitting"
    EVALUATING = "Evaluating"
    REGISTERING = "Registering"


class TrainingModel(Model):
    """The registered model, and the aliases that point into it."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.alias) || !has(self.championAlias) || self.alias == '' || "
            "self.alias != self.championAlias",
            "model.alias and model.championAlias must differ",
        ),
    )

    name: ModelName
    """Name of the registered model in MLflow."""
    alias: Annotated[Alias, alias_not_reserved("model.alias")] = "challenger"
    """Alias that moves to the new version when the gates passed; empty moves none."""
    champion_alias: Annotated[Alias, alias_not_reserved("model.championAlias")] = "champion"
    """Alias of the version that the gate `notWorseThan` compares with; empty means none."""


class TableSource(Model):
    """Parquet or CSV files."""

    uri: Uri
    """One file, a pattern with '*', '?' and '[a-z]', or a folder that ends in '/': all Parquet
    files below it. `pvc://claim/path` mounts the claim read-only."""


class DictionarySource(Model):
    """What is said of the columns: a table with a row per column."""

    uri: Uri
    """Parquet or CSV with the columns `column`, `description` and, if need be, `known`:
    AfterEvent for what nobody knows when the model is asked, else BeforeEvent."""


class FeastSource(Model):
    """Features from a Feast repository, joined as they were at the time of each row."""

    repo_uri: Uri
    """Folder with `feature_store.yaml`."""
    feature_service: Annotated[Text128, MinLen(1)]
    """The feature service to read."""
    entities: TableSource
    """The rows: entity keys, timestamp and target."""


class DeploymentRef(Model):
    """A ModelDeployment in the same namespace."""

    name: ResourceName
    """Name of the ModelDeployment."""


class LogSource(Model):
    """What a deployment was asked and what turned out to be true."""

    model_deployment_ref: DeploymentRef
    """The ModelDeployment whose prediction log is read."""


class Window(Model):
    """The rows to read, by their time; a row belongs to it from `from` on and before `until`."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        at_most_one(
            "data.window must have at most one of `from` and `lookback`", "from", "lookback"
        ),
        Rule(
            "!has(self.from) || !has(self.until) || self.until == 'CheckWindowEnd' || "
            "timestamp(self.from) < timestamp(self.until)",
            "data.window.from must be before data.window.until",
        ),
    )

    from_: Time | None = Field(default=None, alias="from")
    """First time that belongs to the window."""
    lookback: Duration | None = None
    """Length of the window, counted back from `until`."""
    until: Annotated[
        Annotated[
            str,
            StringConstraints(max_length=25, pattern=f"^(CheckWindowEnd|{TIME_PATTERN})$"),
        ]
        | None,
        Computed("creation time with `lookback`, else open"),
    ] = None
    """First time that no longer belongs to the window. In the template of a DriftPolicy it may be
    CheckWindowEnd: the end of the window that was judged."""


class Data(Model):
    """The rows that a model learns from."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "data must have exactly one of `table`, `feast`, `predictionLog`",
            "table", "feast", "predictionLog",
        ),
        Rule(
            "!has(self.feast) || has(self.timestamp)",
            "data.feast needs data.timestamp: the time as of which a row's features are looked up",
        ),
        Rule(
            "!(has(self.timestamp) && has(self.predictionLog))",
            "data.timestamp must be absent with data.predictionLog: it is the event time",
        ),
    )  # fmt: skip

    table: TableSource | None = None
    """Rows from Parquet or CSV files."""
    feast: FeastSource | None = None
    """Rows from a table of entities, with the features of a Feast feature service as they were
    known at each row's `timestamp`."""
    prediction_log: Annotated[LogSource | None, Issue(5)] = None
    """Rows from the prediction log of a ModelDeployment: live features with late labels."""
    target: Annotated[Column | None, Computed("with `predictionLog`: its label")] = None
    """Column to predict."""
    positive_class: Annotated[
        Annotated[Text128, MinLen(1)] | None, Computed("last class in sort order")
    ] = None
    """The class whose probability is meant, for a target of two classes."""
    timestamp: Annotated[Column | None, Computed("with `predictionLog`: `event_time`")] = None
    """Column with the time of the event; never a feature."""
    groups: Column | None = None
    """Column whose equal values are never split between train and test; never a feature."""
    weight: Column | None = None
    """Column with the weight of each row in the fit; metrics count every row once. Never a
    feature."""
    row_id: Column | None = None
    """Column that identifies a row, for copies of rows and the random holdout; never a feature."""
    dictionary: DictionarySource | None = None
    """The data dictionary, for the gate `documented`, the check `Leakage` and the model card."""
    window: Annotated[Window | None, Computed("all rows")] = None
    """The rows to read, by their time."""


class FeatureColumns(Model):
    """Which columns are features, and of which kind."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.drop) || !(has(self.numeric) || has(self.categorical) || has(self.text))",
            "columns.drop takes columns away from the inferred ones: give either it or the lists",
        ),
    )

    numeric: Annotated[Columns | None, Computed("inferred")] = None
    """Columns that are numbers. When a list is given, exactly the listed columns are features."""
    categorical: Annotated[Columns | None, Computed("inferred")] = None
    """Columns that are categories."""
    text: Columns | None = None
    """Columns that are free text, read word by word with TF-IDF; never inferred."""
    drop: Columns | None = None
    """Columns that are left out of the inferred features."""


class Preprocess(Model):
    """What happens to the columns before the estimator."""

    imputer: Literal["Median", "Mean", "MostFrequent", "None"] = "Median"
    """What takes the place of missing numbers; a missing category is a category of its own."""
    scaler: Literal["StandardScaler", "RobustScaler", "MinMaxScaler", "None"] = "StandardScaler"
    """How numbers are scaled."""
    encoder: Literal["OneHotEncoder", "OrdinalEncoder", "TargetEncoder"] = "OneHotEncoder"
    """How categories become numbers; a TargetEncoder is cross-fitted inside the folds."""


class Estimator(Model):
    """The scikit-learn estimator at the end of the pipeline."""

    class_: Annotated[
        str,
        MinLen(1),
        StringConstraints(max_length=128, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$"),
    ] = Field(alias="class")
    """A scikit-learn class by its short name, such as LogisticRegression, or, in an image with the
    extra `boosting`, one of lightgbm.LGBMClassifier, lightgbm.LGBMRegressor,
    xgboost.XGBClassifier and xgboost.XGBRegressor."""
    parameters: Annotated[Mapping[str, Any], MaxLen(64)] = Field(default={})
    """Keyword arguments of the class, as its library takes them."""
    balance: Literal["None", "ClassWeight"] = "None"
    """Whether rare classes count more."""


class Pipeline(Model):
    """Columns, preprocessing and an estimator, put together by Linnet."""

    columns: FeatureColumns | None = None
    """Which columns are features; inferred when absent."""
    preprocess: Preprocess = Preprocess()
    """What happens to the columns before the estimator."""
    estimator: Estimator
    """The estimator; there is no default, a recipe names its estimator."""
    calibration: Literal["None", "Sigmoid", "Isotonic"] = "None"
    """How probabilities are calibrated, inside the folds."""
    threshold_metric: Scorer | None = None
    """Scorer of labels that the decision threshold of a target of two classes is tuned for, inside
    the folds and after calibration."""


class Module(Model):
    """A pipeline from your own code."""

    config_map_name: Annotated[Text253, MinLen(1)]
    """ConfigMap with the code."""
    key: Annotated[Text253, MinLen(1)] = "pipeline.py"
    """Key of the ConfigMap that holds the module."""
    entry: Annotated[str, StringConstraints(max_length=64, pattern=r"^[A-Za-z_]\w{0,63}$")]
    """Function without arguments that returns an estimator."""


Arguments: TypeAlias = Annotated[tuple[Text1024, ...], MaxLen(32)]


class Custom(Model):
    """A program of your own, in `template.image`, that keeps the contract of Linnet's trainer."""

    command: Annotated[Arguments | None, Computed("the image's")] = None
    """Command of the container."""
    args: Annotated[Arguments | None, Computed("the image's")] = None
    """Arguments of the command."""


class Holdout(Model):
    """The rows that the model never sees and the gates are measured on."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        at_most_one(
            "holdout must have at most one of `fraction` and `period`", "fraction", "period"
        ),
    )

    by: Annotated[
        HoldoutBy | None, Computed("Time with `timestamp`, Group with `groups`, else Random")
    ] = None
    """Axis along which the holdout is cut off."""
    fraction: Annotated[
        Annotated[
            Ratio,
            Rule(
                "double(self) >= 0.05 && double(self) <= 0.5",
                "holdout.fraction must be from 0.05 to 0.5",
            ),
        ]
        | None,
        Computed('"0.2"'),
    ] = None
    """Share of the rows."""
    period: Duration | None = None
    """The last so much of the window, instead of a share."""
    purge_groups: bool = False
    """Whether groups of the holdout are taken out of the training rows too; refused where that
    costs more than 20 % of them."""


class Validation(Model):
    """How the model is judged before anybody trusts it."""

    splitter: Annotated[
        Splitter | None,
        Computed(
            "TimeSeriesSplit with `timestamp`, (Stratified)GroupKFold with `groups`, "
            "else (Stratified)KFold"
        ),
    ] = None
    """How the training rows are cut into folds."""
    folds: Annotated[int, Ge(2), Le(20)] = 5
    """Number of folds."""
    gap: Duration = "0s"
    """Time left out between train and test of a fold."""
    holdout: Holdout = Holdout()
    """The rows that the model never sees and the gates are measured on."""


class RaySettings(Model):
    """Where RayTune runs."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.address == 'local' || self.address.matches('^[^/ ]+:[0-9]+$')",
            "search.ray.address must be 'local' or 'host:port' of the cluster's head",
        ),
    )

    address: Annotated[Text253, MinLen(1)]
    """`host:port` of an existing Ray cluster's head, or 'local' for inside the pod."""


class Uniform(Model):
    """A number between two bounds."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("double(self.min) < double(self.max)", "min must be less than max"),
    )

    min: Number
    """Least value."""
    max: Number
    """Greatest value."""


class LogUniform(Model):
    """A positive number between two bounds, on a logarithmic scale."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "double(self.min) > 0.0 && double(self.min) < double(self.max)",
            "`logUniform` wants 0 < min < max",
        ),
    )

    min: Number
    """Least value, above 0."""
    max: Number
    """Greatest value."""


class IntRange(Model):
    """An integer between two bounds."""

    RULES: ClassVar[tuple[Rule, ...]] = (Rule("self.min < self.max", "min must be less than max"),)

    min: Int64
    """Least value."""
    max: Int64
    """Greatest value."""
    step: Annotated[Int64, Ge(1)] = 1
    """Distance between two values."""


class LogIntRange(Model):
    """A positive integer between two bounds, on a logarithmic scale."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("self.min > 0 && self.min < self.max", "`logInt` wants 0 < min < max"),
    )

    min: Int64
    """Least value, above 0."""
    max: Int64
    """Greatest value."""
    step: Annotated[Int64, Ge(1)] = 1
    """Distance between two values."""


class Categorical(Model):
    """One of some values."""

    choices: Annotated[tuple[Text256, ...], MinLen(1), MaxLen(64)]
    """The values, each read as JSON where it parses ("3", "null"), else as text."""


class SearchParameter(Model):
    """One hyperparameter and where it is searched."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "a search parameter must have exactly one of `uniform`, `logUniform`, `int`, "
            "`logInt`, `categorical`",
            "uniform", "logUniform", "int", "logInt", "categorical",
        ),
    )  # fmt: skip

    name: Annotated[Text128, MinLen(1)]
    """Parameter of the estimator, or `step__parameter`."""
    uniform: Uniform | None = None
    """A number between two bounds."""
    log_uniform: LogUniform | None = None
    """A positive number between two bounds, on a logarithmic scale."""
    int_: IntRange | None = Field(default=None, alias="int")
    """An integer between two bounds."""
    log_int: LogIntRange | None = None
    """A positive integer between two bounds, on a logarithmic scale."""
    categorical: Categorical | None = None
    """One of some values."""


class StorageRef(Model):
    """A key of a Secret with the URL of a database."""

    name: Annotated[Text253, MinLen(1)]
    """Name of the Secret."""
    key: Annotated[Text253, MinLen(1)] = "url"
    """Key of the Secret."""


class SearchStorage(Model):
    """Where the study lives; without it pod 0 serves the study to the others."""

    secret_ref: StorageRef
    """Secret with the URL of a PostgreSQL database; read by the pods only."""


class Search(Model):
    """A search over hyperparameters."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.engine) || self.engine != 'RayTune' || has(self.ray)",
            "`engine: RayTune` needs search.ray",
        ),
        Rule(
            "!has(self.ray) || (has(self.engine) && self.engine == 'RayTune')",
            "search.ray needs `engine: RayTune`",
        ),
        Rule(
            "!has(self.storage) || !has(self.ray)",
            "search.storage is for `engine: Optuna`: with RayTune the pod keeps the study",
        ),
    )

    engine: Literal["Optuna", "RayTune"] = "Optuna"
    """What runs the trials: the pods of the Job, or Ray Tune from one pod."""
    ray: RaySettings | None = None
    """Where RayTune runs."""
    metric: Annotated[Scorer | None, Computed("the first gate's with a metric")] = None
    """Scorer that is made as great as possible."""
    parameters: Annotated[tuple[SearchParameter, ...], MinLen(1), MaxLen(32), BY_NAME]
    """The hyperparameters."""
    trials: Annotated[int, Ge(1), Le(10000)] = 40
    """Trials of the whole study, those that were pruned too."""
    parallelism: Annotated[int, Ge(1), Le(64)] = 1
    """Pods that search side by side, the first one also makes the model; with RayTune, trials
    side by side, each on one CPU of Ray."""
    sampler: Literal["TPE", "Random", "Grid", "CMAES"] = "TPE"
    """How the next trial is chosen."""
    pruner: Literal["None", "Wilcoxon", "Median", "Hyperband"] = "Wilcoxon"
    """How a poor trial is ended early."""
    patience: Annotated[int, Ge(1), Le(10000)] | None = None
    """Trials without improvement after which the search ends."""
    timeout: Duration | None = None
    """Time after which no trial is begun."""
    storage: SearchStorage | None = None
    """Database for the study."""


class SchemaGate(Model):
    """Tunes the standing check of the columns."""

    allow_new_columns: Columns = ()
    """Columns that the model may ask for although the champion does not."""


class OverfitGate(Model):
    """How much worse the holdout may be than the training rows."""

    max_drop: Distance
    """Greatest difference, training rows minus holdout."""


class FairnessGate(Model):
    """How much the metric may differ between the values of a column."""

    column: Column
    """Column whose values are compared."""
    max_difference: Distance
    """Greatest difference between two values."""


class LatencyGate(Model):
    """How long one row may take."""

    maximum: Duration
    """Greatest time of one row through the plan."""


class SizeGate(Model):
    """How large the model may be."""

    maximum: Quantity
    """Greatest size of the files that are served."""


class DocumentedGate(Model):
    """Nothing to set."""


class FeatureSetGate(Model):
    """Nothing to set."""


class Gate(Model):
    """One thing that the model must be able to do before a version is registered."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "a gate must have exactly one of `minimum`, `notWorseThan`, `schema`, `overfit`, "
            "`fairness`, `latency`, `size`, `documented`, `featureSet`",
            "minimum", "notWorseThan", "schema", "overfit", "fairness", "latency", "size",
            "documented", "featureSet",
        ),
        Rule(
            "has(self.metric) == (has(self.minimum) || has(self.notWorseThan) || "
            "has(self.overfit) || has(self.fairness))",
            "`metric` is required with `minimum`, `notWorseThan`, `overfit` and `fairness`, and "
            "only there",
        ),
        Rule(
            "has(self.notWorseThan) || !(has(self.margin) || has(self.confidence) || "
            "has(self.unit))",
            "`margin`, `confidence` and `unit` belong to `notWorseThan`",
        ),
    )  # fmt: skip

    name: Name
    """Name of the gate, for status and messages."""
    metric: Scorer | None = None
    """Scorer of scikit-learn on the holdout, or a metric of clusters; greater is better."""
    minimum: Number | None = None
    """The metric must be at least this."""
    not_worse_than: Literal["Champion"] | None = None
    """The metric must not be worse than the champion's by more than `margin`. Passes without a
    champion."""
    margin: Annotated[Distance | None, Computed('"0.02"')] = None
    """How much worse than the champion is not yet worse, in units of the metric. Required with
    `task: Regression`, unless the metric has no unit, as r2."""
    confidence: Annotated[Ratio | None, Computed('"0.95"')] = None
    """How sure it must be that the model is not worse, one-sided."""
    unit: Annotated[GateUnit | None, Computed("Day with `timestamp`, else Group with `groups`")] = (
        None
    )
    """What is independent: a day, a group or (only where there is neither) a row."""
    schema_: SchemaGate | None = Field(default=None, alias="schema")
    """Tunes the standing check of the columns."""
    overfit: OverfitGate | None = None
    """How much worse the holdout may be than the training rows."""
    fairness: FairnessGate | None = None
    """How much the metric may differ between the values of a column."""
    latency: LatencyGate | None = None
    """How long one row may take."""
    size: SizeGate | None = None
    """How large the model may be."""
    documented: DocumentedGate | None = None
    """Every column in use must be described in `data.dictionary`."""
    feature_set: FeatureSetGate | None = None
    """The feature service of `data.feast` must be what the champion was trained on: one that
    changed under its name is refused with what changed."""


class Waiver(Model):
    """A standing check that is let go, with the reason."""

    check: Literal["Leakage", "Imbalance", "ValidationSet", "Schema", "Reproducible"]
    """The check."""
    reason: Annotated[str, MinLen(8), MaxLen(256)]
    """Why; recorded in the run and in the model card."""


def _has_time(data: str = "self.data") -> str:
    return f"has({data}.timestamp) || has({data}.predictionLog)"


class TrainingJobSpec(Model):
    """What to train, on which rows, and what the model must be able to do."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "spec must have exactly one of `pipeline`, `module`, `custom`",
            "pipeline", "module", "custom",
        ),
        Rule(
            "!has(self.custom) || (has(self.template) && has(self.template.image))",
            "`custom` needs template.image",
        ),
        Rule(
            "has(self.data.target) == ((!has(self.task) || self.task != 'Clustering') && "
            "!has(self.data.predictionLog))",
            "data.target is required, except with `task: Clustering` or `data.predictionLog`, "
            "where it must be absent",
        ),
        Rule(
            "!has(self.data.positiveClass) || !has(self.task) || self.task == 'Classification'",
            "data.positiveClass is for `task: Classification`",
        ),
        Rule(
            "!has(self.pipeline) || !has(self.task) || self.task == 'Classification' || "
            "!has(self.pipeline.calibration) || self.pipeline.calibration == 'None'",
            "pipeline.calibration is for `task: Classification`",
        ),
        Rule(
            "!has(self.pipeline) || !has(self.task) || self.task == 'Classification' || "
            "!has(self.pipeline.thresholdMetric)",
            "pipeline.thresholdMetric is for `task: Classification`",
        ),
        Rule(
            "!has(self.data.feast) || !has(self.search) || !has(self.search.ray)",
            "data.feast needs `search.engine: Optuna`: Feast and Ray are in images of their own",
        ),
        Rule(
            f"!has(self.data.window) || {_has_time()}",
            "data.window needs data.timestamp",
        ),
        Rule(
            "!has(self.validation) || !has(self.validation.splitter) || "
            f"self.validation.splitter != 'TimeSeriesSplit' || {_has_time()}",
            "validation.splitter 'TimeSeriesSplit' needs data.timestamp",
        ),
        Rule(
            "!has(self.validation) || !has(self.validation.splitter) || "
            "!(self.validation.splitter in ['GroupKFold', 'StratifiedGroupKFold']) || "
            "has(self.data.groups)",
            "validation.splitter 'GroupKFold' and 'StratifiedGroupKFold' need data.groups",
        ),
        Rule(
            "!has(self.validation) || !has(self.validation.gap) || "
            "duration(self.validation.gap) == duration('0s') || "
            "(has(self.validation.splitter) ? self.validation.splitter == 'TimeSeriesSplit' : "
            f"({_has_time()}))",
            "validation.gap is for `splitter: TimeSeriesSplit`",
        ),
        Rule(
            "!has(self.validation) || !has(self.validation.holdout) || "
            "!has(self.validation.holdout.purgeGroups) || "
            "!self.validation.holdout.purgeGroups || has(self.data.groups)",
            "validation.holdout.purgeGroups needs data.groups",
        ),
        Rule(
            "!has(self.task) || self.task == 'Classification' || !has(self.validation) || "
            "!has(self.validation.splitter) || !self.validation.splitter.startsWith('Stratified')",
            "validation.splitter 'StratifiedKFold' and 'StratifiedGroupKFold' are for "
            "`task: Classification`",
        ),
        Rule(
            "!has(self.task) || self.task != 'Regression' || self.gates.all(g, "
            "!has(g.notWorseThan) || has(g.margin) || g.metric in ["
            "'r2', 'explained_variance', 'd2_absolute_error_score', "
            "'neg_mean_absolute_percentage_error'])",
            "gates: with `task: Regression` a `margin` is in units of the target: write it out",
        ),
        Rule(
            "!has(self.validation) || !has(self.validation.holdout) || "
            "!has(self.validation.holdout.by) || self.validation.holdout.by != 'Time' || "
            f"{_has_time()}",
            "validation.holdout.by 'Time' needs data.timestamp",
        ),
        Rule(
            "!has(self.validation) || !has(self.validation.holdout) || "
            "!has(self.validation.holdout.by) || self.validation.holdout.by != 'Group' || "
            "has(self.data.groups)",
            "validation.holdout.by 'Group' needs data.groups",
        ),
        Rule(
            "!has(self.validation) || !has(self.validation.holdout) || "
            "!has(self.validation.holdout.period) || (has(self.validation.holdout.by) ? "
            f"self.validation.holdout.by == 'Time' : ({_has_time()}))",
            "holdout.period is for `by: Time`",
        ),
        Rule(
            "!has(self.task) || self.task != 'Clustering' || has(self.pipeline) || "
            "has(self.custom)",
            "`task: Clustering` takes `pipeline` or `custom`",
        ),
        Rule(
            "!has(self.task) || self.task != 'Clustering' || !has(self.search)",
            "search is not for `task: Clustering`: there is no answer to score",
        ),
        Rule(
            "!has(self.task) || self.task != 'Clustering' || "
            "self.gates.all(g, has(g.minimum) || has(g.size) || has(g.documented))",
            "gates: with `task: Clustering` a gate has `minimum`, `size` or `documented`",
        ),
        Rule(
            "has(self.data.dictionary) || self.gates.all(g, !has(g.documented))",
            "gates: `documented` needs data.dictionary",
        ),
        Rule(
            "has(self.data.feast) || self.gates.all(g, !has(g.featureSet))",
            "gates: `featureSet` needs data.feast",
        ),
        Rule(
            f"{_has_time()} || self.gates.all(g, !has(g.unit) || g.unit != 'Day')",
            "gates: `unit: Day` needs data.timestamp",
        ),
        Rule(
            "has(self.data.groups) || self.gates.all(g, !has(g.unit) || g.unit != 'Group')",
            "gates: `unit: Group` needs data.groups",
        ),
        Rule(
            f"!({_has_time()} || has(self.data.groups)) || "
            "self.gates.all(g, !has(g.unit) || g.unit != 'Row')",
            "gates: `unit: Row` is accepted only without data.timestamp and data.groups: rows of "
            "one day or group are not independent",
        ),
        Rule(
            f"{_has_time()} || has(self.data.groups) || "
            "self.gates.all(g, !has(g.notWorseThan) || has(g.unit))",
            "gates: `notWorseThan` needs data.timestamp or data.groups, or `unit: Row` written out",
        ),
    )  # fmt: skip

    model: TrainingModel
    """The registered model that the result becomes a version of."""
    credentials_secret_name: Text253 = "linnet-credentials"
    """Secret with the credentials of registry and store; it may be missing."""
    experiment: Annotated[
        Annotated[Text250, MinLen(1)] | None, Computed("`<namespace>/<model.name>`")
    ] = None
    """MLflow experiment of the run."""
    data: Data
    """The rows that the model learns from."""
    task: Task = Task.CLASSIFICATION
    """What kind of answer the model gives."""
    seed: Annotated[int, Ge(0), Le(2147483647)] = 0
    """Seed of every random choice."""
    pipeline: Pipeline | None = None
    """Columns, preprocessing and an estimator, put together by Linnet."""
    module: Module | None = None
    """A pipeline from your own code."""
    custom: Custom | None = None
    """A program of your own in place of Linnet's trainer."""
    validation: Validation = Validation()
    """How the model is judged before anybody trusts it."""
    search: Search | None = None
    """A search over hyperparameters."""
    gates: Annotated[tuple[Gate, ...], MinLen(1), MaxLen(16), BY_NAME]
    """What the model must be able to do before a version is registered."""
    waivers: Annotated[tuple[Waiver, ...], MaxLen(8), by("check")] | None = None
    """Standing checks that are let go, each with its reason."""
    suspend: bool = False
    """Whether no pod may run, as in a Job."""
    active_deadline_seconds: Annotated[Int64, Ge(1), Le(31536000)] = 86400
    """Seconds after which the training has failed; counted anew after a suspension."""
    backoff_limit: Annotated[int, Ge(0), Le(10)] = 2
    """How many failed pods are replaced."""
    ttl_seconds_after_finished: Annotated[int, Ge(0), Le(31536000)] = 86400
    """Seconds after which the Job and its pods are removed; the TrainingJob stays."""
    template: PodTemplate = PodTemplate()
    """The part of the pod that is yours."""


MUTABLE: Final = ("suspend", "active_deadline_seconds", "ttl_seconds_after_finished")


def _immutability() -> Rule:
    """One rule for the whole of spec: `==` with `oldSelf` also sees into preserved values."""
    terms = []
    for attribute, field in TrainingJobSpec.model_fields.items():
        name = field.alias
        if attribute in MUTABLE:
            continue
        if field.default is None:
            terms.append(
                f"has(self.{name}) == has(oldSelf.{name}) && "
                f"(!has(self.{name}) || self.{name} == oldSelf.{name})"
            )
        else:
            terms.append(f"self.{name} == oldSelf.{name}")
    return Rule(
        " && ".join(terms),
        "spec is immutable except `suspend`, `activeDeadlineSeconds` and "
        "`ttlSecondsAfterFinished`: create another TrainingJob",
    )


# Status


class Run(Model):
    """The MLflow run of the training."""

    id: Text64
    """Identifier of the run."""
    experiment_id: Annotated[Text64 | None, Field(alias="experimentID")] = None
    """Identifier of its experiment."""
    url: Text512 | None = None
    """Link to the run."""


class Progress(Model):
    """How far the training is."""

    stage: ProgressStage
    """What it is doing."""
    percent: Annotated[int, Ge(0), Le(100)] | None = None
    """How much of it is done."""
    message: Message | None = None
    """What it is doing, in a sentence."""
    remaining_seconds: Count | None = None
    """How long it will take, estimated."""


class NameValue(Model):
    """A name with its value."""

    name: Text128
    """The name."""
    value: Text256
    """The value, as text."""


class BestTrial(Model):
    """The best trial so far."""

    number: Count
    """Its number in the study."""
    value: Text24
    """Its score."""
    parameters: Annotated[tuple[NameValue, ...], MaxLen(32)] | None = None
    """Its hyperparameters."""


class SearchStatus(Model):
    """How far the search is."""

    completed: Count = Field(default_factory=lambda: 0)
    """Trials that ended, pruned ones too."""
    running: Count = Field(default_factory=lambda: 0)
    """Trials that run."""
    failed: Count = Field(default_factory=lambda: 0)
    """Trials whose parameters could not be fitted, and those that were lost with their pod."""
    of: Count = Field(default_factory=lambda: 0)
    """Trials that were asked for."""
    best: BestTrial | None = None
    """The best trial so far."""


class Dataset(Model):
    """What was read."""

    digest: Text128 | None = None
    """MLflow's digest of the dataset."""
    sha256: Text128 | None = None
    """Digest over the content of the files."""
    rows: Count | None = None
    """Rows that were read."""
    columns: Count | None = None
    """Columns that were read."""
    from_: Annotated[Time | None, Field(alias="from")] = None
    """Time of the first row."""
    until: Time | None = None
    """Time after the last row."""


class Metric(Model):
    """A figure of the holdout."""

    name: Text128
    """Name of the metric."""
    value: Text24
    """Its value."""


class GateStatus(Model):
    """How the model did at one gate."""

    name: Text64
    """Name of the gate."""
    passed: bool
    """Whether the model passed it."""
    reason: Text64 | None = None
    """One word for it."""
    value: Text24 | None = None
    """What was measured."""
    bound: Text24 | None = None
    """What it was compared with, or the lower bound of a difference."""
    n: Count | None = None
    """Rows, days or groups that it rests on."""
    message: Message | None = None
    """The result in a sentence."""


class ResultOutcome(StrEnum):
    """How a training ended."""

    PASSED = "Passed"
    REFUSED = "Refused"
    ERROR = "Error"


Metrics: TypeAlias = Annotated[tuple[Metric, ...], MaxLen(16), BY_NAME]
Gates: TypeAlias = Annotated[tuple[GateStatus, ...], MaxLen(16), BY_NAME]


class Result(Model):
    """The result document that the trainer wrote; recorded once."""

    v: Annotated[int, Ge(1)]
    """Number of the format."""
    spec_hash: Text64
    """Hash of the spec that was trained."""
    job_uid: Annotated[Text64, Field(alias="jobUID")]
    """Identifier of the TrainingJob."""
    run_id: Annotated[Text64 | None, Field(alias="runID")] = None
    """The MLflow run."""
    model_id: Annotated[Text64 | None, Field(alias="modelID")] = None
    """The logged model."""
    version: Version | None = None
    """The registered version, when the gates passed."""
    outcome: ResultOutcome
    """Passed, Refused or Error."""
    reason: Text64
    """One word for it."""
    message: Annotated[str, MaxLen(1024)] = Field(default_factory=str)
    """The result in a sentence."""
    metrics: Metrics | None = None
    """Figures of the holdout."""
    gates: Gates | None = None
    """How the model did at each gate."""
    rows: Count | None = None
    """Rows that were read."""
    trained_until: Time | None = None
    """Time after the last row that the model learned from."""
    content_digest: Text128 | None = None
    """Digest over the fitted model."""
    data_sha256: Annotated[Text128 | None, Field(alias="dataSha256")] = None
    """Digest over the data."""


class AliasStatus(Model):
    """An alias that was moved."""

    name: Text64
    """The alias."""
    version: Text9
    """The version that it was moved to."""
    moved_time: Time | None = None
    """When it was moved."""


class Cause(Model):
    """Why a DriftPolicy started this training."""

    drift_policy: Text63
    """The DriftPolicy."""
    report_url: Annotated[Text512 | None, Field(alias="reportURL")] = None
    """Link to the drift report."""
    window_end: Time | None = None
    """End of the window that was judged."""


class Traces(Model):
    """What the job's code asked of language models, call by call."""

    count: Count = Field(default_factory=lambda: 0)
    """Traces in the run."""
    failed: Count = Field(default_factory=lambda: 0)
    """Those that ended with an error."""
    input_tokens: Count = Field(default_factory=lambda: 0)
    """Tokens that were sent, as the models counted them."""
    output_tokens: Count = Field(default_factory=lambda: 0)
    """Tokens that were answered."""
    url: Text512
    """Link to the traces."""


class Prompt(Model):
    """A version of a prompt that the job's code registered or loaded."""

    name: Text256
    """Name of the prompt in MLflow."""
    version: Text9
    """Its version."""
    url: Text512
    """Link to it."""


class Evaluation(Model):
    """An evaluation of answers by `mlflow.genai.evaluate`."""

    url: Text512
    """Link to the answers and how each was scored."""


class LLM(Model):
    """What the job's code did with language models."""

    traces: Traces | None = None
    """Its calls."""
    prompts: Annotated[tuple[Prompt, ...], MaxLen(16)] | None = None
    """The prompts that it used."""
    evaluation: Evaluation | None = None
    """How its answers were scored; the figures are metrics of the run."""


class TrainingJobStatus(Model):
    """What became of the training."""

    observed_generation: Int64 | None = None
    """The generation of the object that this was written for."""
    operator: Text253 | None = None
    """Identity of the operator that owns the object."""
    request: RequestStatus | None = None
    """Answer to the newest request."""
    conditions: Conditions = Field(default_factory=tuple)
    """What is true of the training."""
    spec_hash: Text64 | None = None
    """Hash of the rendered spec."""
    job_name: Text63 | None = None
    """Name of the Job."""
    attempts: Count | None = None
    """Pods that failed so far."""
    start_time: Time | None = None
    """When the Job was made."""
    completion_time: Time | None = None
    """When the training was over."""
    run: Run | None = None
    """The MLflow run."""
    progress: Progress | None = None
    """How far the training is."""
    search: SearchStatus | None = None
    """How far the search is."""
    dataset: Dataset | None = None
    """What was read."""
    llm: LLM | None = None
    """What the code of a `module` or a `custom` program did with language models."""
    result: Result | None = None
    """The result document; once it is here the training is over."""
    version: Text9 | None = None
    """The registered version."""
    model_uri: Annotated[Text256 | None, Field(alias="modelURI")] = None
    """URI of the registered version."""
    metrics: Metrics | None = None
    """Figures of the holdout."""
    gates: Gates | None = None
    """How the model did at each gate."""
    alias: AliasStatus | None = None
    """The alias that was moved."""
    cause: Cause | None = None
    """Why a DriftPolicy started this training."""


class TrainingJob(Resource):
    """One training of one model: reads a table, fits a pipeline, judges it by its gates and, when
    all passed, registers a version in MLflow and moves an alias to it."""

    KIND: ClassVar[str] = "TrainingJob"
    PLURAL: ClassVar[str] = "trainingjobs"
    SHORT_NAME: ClassVar[str] = "tjob"
    ISSUE: ClassVar[int] = 1

    kind: Literal["TrainingJob"] = "TrainingJob"
    spec: Annotated[
        TrainingJobSpec,
        _immutability(),
        Rule(
            "!has(self.data.window) || !has(self.data.window.until) || "
            "self.data.window.until != 'CheckWindowEnd'",
            "data.window.until 'CheckWindowEnd' is for the template of a DriftPolicy; write a time",
        ),
    ]
    """What to train, on which rows, and what the model must be able to do. Immutable, except
    `suspend`, `activeDeadlineSeconds` and `ttlSecondsAfterFinished`."""
    status: TrainingJobStatus = Field(default_factory=TrainingJobStatus)
    """What became of the training; written by Linnet."""
