"""DriftPolicy: a deployment's live data judged on a schedule, and what follows from a drift."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal, TypeAlias

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import Field

from linnet.api.conditions import Conditions
from linnet.api.pod_template import Annotations, Labels, PodTemplate, prefixes_are_ours
from linnet.api.shared import (
    BY_NAME,
    Column,
    Columns,
    Computed,
    Count,
    Duration,
    Int64,
    Issue,
    Message,
    Model,
    Name,
    Number,
    ProbabilityRule,
    Ratio,
    RequestStatus,
    Resource,
    Rule,
    Scorer,
    Text9,
    Text24,
    Text63,
    Text64,
    Text128,
    Text253,
    Text512,
    Time,
    Uri,
    ValueIssue,
    Version,
    at_most_one,
    by,
    exactly_one,
)
from linnet.api.training_job import DeploymentRef, TrainingJobSpec

NumericMethod: TypeAlias = Literal["Wasserstein", "KS", "PSI", "JensenShannon"]
CategoricalMethod: TypeAlias = Literal["JensenShannon", "PSI", "ChiSquare"]
ColumnMethod: TypeAlias = Literal["Wasserstein", "KS", "PSI", "JensenShannon", "ChiSquare"]


class ConcurrencyPolicy(StrEnum):
    """What happens when a check is due while another runs."""

    FORBID = "Forbid"
    REPLACE = "Replace"


class WindowUntil(StrEnum):
    """Where the window that is judged ends."""

    NOW = "Now"
    NEWEST_EVENT = "NewestEvent"


class AlarmMethod(StrEnum):
    """How it is decided that a window differs."""

    HISTORY_WINDOWS = "HistoryWindows"
    DAY_PERMUTATION = "DayPermutation"
    EVIDENTLY_PRESET = "EvidentlyPreset"


class RetrainMode(StrEnum):
    """Whether a retraining is started or only suggested."""

    AUTOMATIC = "Automatic"
    SUGGEST = "Suggest"


class CheckOutcome(StrEnum):
    """How a check ended."""

    WITHIN = "Within"
    DRIFTED = "Drifted"
    TOO_FEW_SAMPLES = "TooFewSamples"
    INSUFFICIENT_REFERENCE = "InsufficientReference"
    ERROR = "Error"


class DriftTable(Model):
    """Live rows from Parquet or CSV files."""

    uri: Uri
    """One file, a pattern with '*', '?' and '[a-z]', or a folder that ends in '/'."""
    timestamp: Column
    """Column with the time of the event."""
    target: Annotated[Column | None, Issue(5)] = None
    """Column with the label, where the table has it."""


class EmptyLog(Model):
    """Nothing to set."""


class Source(Model):
    """Where live rows come from."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "source must have exactly one of `table` and `predictionLog`", "table", "predictionLog"
        ),
    )

    table: DriftTable | None = None
    """Live rows from Parquet or CSV files."""
    prediction_log: Annotated[EmptyLog | None, Issue(5)] = None
    """The prediction log of the ModelDeployment."""


class CheckWindow(Model):
    """The rows that a check judges."""

    lookback: Annotated[
        Duration,
        Rule(
            "duration(self) >= duration('24h') && duration(self).getSeconds() % 86400 == 0",
            "window.lookback must be whole days, such as 24h or 168h",
        ),
    ] = "168h"
    """Length of the window, in whole days."""
    until: WindowUntil = WindowUntil.NOW
    """Where it ends: with the last whole day before now, or before the newest event."""
    time_zone: Annotated[Text64, MinLen(1)] = "Etc/UTC"
    """Time zone in which a day begins."""
    min_samples: Annotated[int, Ge(50), Le(1_000_000_000)] = 500
    """Fewer rows are not judged."""


class ReferenceWindow(Model):
    """The rows of a reference, by their time."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.from) || !has(self.until) || timestamp(self.from) < timestamp(self.until)",
            "reference.table.window.from must be before reference.table.window.until",
        ),
    )

    from_: Annotated[Time | None, Field(alias="from")] = None
    """First time that belongs to the window."""
    until: Time | None = None
    """First time that no longer belongs to the window."""


class ReferenceTable(Model):
    """Reference rows from Parquet or CSV files."""

    uri: Uri
    """One file, a pattern with '*', '?' and '[a-z]', or a folder that ends in '/'."""
    timestamp: Column
    """Column with the time of the event."""
    window: ReferenceWindow | None = None
    """The rows to read, by their time."""


class Reference(Model):
    """What live rows are compared with."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        at_most_one("reference must have at most one of `table` and `version`", "table", "version"),
    )

    table: ReferenceTable | None = None
    """Rows from Parquet or CSV files."""
    version: Version | None = None
    """The profile of this version."""


class Alarm(Model):
    """How it is decided that a window differs."""

    false_alarm_probability: Annotated[
        Ratio, Rule(ProbabilityRule, "alarm.falseAlarmProbability must be from 0.001 to 0.5")
    ] = "0.05"
    """How probable an alarm of a whole check may be when nothing has changed."""
    method: Annotated[AlarmMethod, ValueIssue((("EvidentlyPreset", 5),))] = (
        AlarmMethod.HISTORY_WINDOWS
    )
    """Rank among windows of the past, permutation of days, or Evidently's own thresholds."""


class ColumnDrift(Model):
    """Method and threshold of one column."""

    column: Column
    """The column."""
    method: ColumnMethod
    """How its distributions are compared."""
    threshold: Number | None = None
    """Value from which it counts as drifted, with EvidentlyPreset."""


class DataDrift(Model):
    """The distribution of features."""

    columns: Annotated[Columns | None, Computed("all of the signature")] = None
    """The columns to compare."""
    numeric_method: NumericMethod = "Wasserstein"
    """How numbers are compared."""
    categorical_method: CategoricalMethod = "JensenShannon"
    """How categories are compared."""
    per_column: Annotated[
        Annotated[tuple[ColumnDrift, ...], MaxLen(128), by("column")] | None, Issue(5)
    ] = None
    """Methods and thresholds of single columns."""
    drift_share: Annotated[Ratio | None, Issue(5), Computed("Evidently's")] = None
    """Share of drifted columns from which the data have drifted, with EvidentlyPreset."""
    numeric_threshold: Annotated[Number | None, Issue(5), Computed("Evidently's")] = None
    """Threshold of columns that are numbers, with EvidentlyPreset."""
    categorical_threshold: Annotated[Number | None, Issue(5), Computed("Evidently's")] = None
    """Threshold of columns that are categories, with EvidentlyPreset."""


class PredictionDrift(Model):
    """The distribution of the model's scores."""

    method: NumericMethod = "Wasserstein"
    """How scores are compared."""


class DataQuality(Model):
    """Fixed limits on what is missing or new."""

    max_missing: Annotated[
        Ratio | None, Computed("the reference's own maximum over days + 0.05")
    ] = None
    """Greatest share of missing values in a column."""
    max_out_of_range: Annotated[
        Ratio | None, Computed("the reference's own maximum over days + 0.05")
    ] = None
    """Greatest share of numbers outside the reference's range."""
    max_new_categories: Annotated[
        Ratio | None, Computed("the reference's own maximum over days + 0.05")
    ] = None
    """Greatest share of categories that the reference does not know."""


class Performance(Model):
    """The metric itself, by labels."""

    metric: Scorer
    """Scorer of scikit-learn; greater is better."""
    minimum: Number
    """The metric must be at least this."""


class EstimatedPerformance(Model):
    """The metric as estimated from the scores, without labels. Never retrains alone."""

    metric: Scorer
    """Scorer of scikit-learn; greater is better."""
    max_drop: Ratio
    """Greatest loss against what was expected."""


class Signal(Model):
    """One thing that a check looks at."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "a signal must have exactly one of `dataDrift`, `predictionDrift`, `dataQuality`, "
            "`performance`, `estimatedPerformance`",
            "dataDrift", "predictionDrift", "dataQuality", "performance", "estimatedPerformance",
        ),
    )  # fmt: skip

    name: Name
    """Name of the signal, for status and messages."""
    data_drift: DataDrift | None = None
    """The distribution of features."""
    prediction_drift: PredictionDrift | None = None
    """The distribution of the model's scores."""
    data_quality: DataQuality | None = None
    """Fixed limits on what is missing or new."""
    performance: Annotated[Performance | None, Issue(5)] = None
    """The metric itself, by labels."""
    estimated_performance: Annotated[EstimatedPerformance | None, Issue(5)] = None
    """The metric as estimated from the scores, without labels."""


class When(Model):
    """How many windows must have drifted; windows that overlap count once."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.breaches) || !has(self.of) || self.breaches <= self.of",
            "retrain.when.breaches must not exceed `of`",
        ),
    )

    breaches: Annotated[int, Ge(1), Le(20)] = 2
    """So many windows must have drifted."""
    of: Annotated[int, Ge(1), Le(20)] = 3
    """Of the newest so many."""


class Budget(Model):
    """How many retrainings there may be."""

    jobs: Annotated[int, Ge(1), Le(1000)] = 4
    """Number of retrainings."""
    per: Duration = "720h"
    """Time in which they count."""


class TemplateMetadata(Model):
    """Labels and annotations of the TrainingJob."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        prefixes_are_ours("template.labels"),
        prefixes_are_ours("template.annotations"),
    )

    labels: Labels | None = None
    """Labels of the TrainingJob, besides Linnet's own."""
    annotations: Annotations | None = None
    """Annotations of the TrainingJob, besides Linnet's own."""


class TrainingTemplate(Model):
    """The TrainingJob that retrains."""

    metadata: TemplateMetadata | None = None
    """Labels and annotations of the TrainingJob."""
    spec: TrainingJobSpec
    """Spec of the TrainingJob; its window moves with the check: `until: CheckWindowEnd`."""


class Retrain(Model):
    """When and how the model is trained anew."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.template.spec.data.window) || !has(self.template.spec.data.window.from)",
            "retrain.template: data.window must move with the check: use `lookback` and "
            "`until: CheckWindowEnd`",
        ),
    )

    mode: RetrainMode = RetrainMode.AUTOMATIC
    """Whether a retraining is started or only suggested."""
    when: When = When()
    """How many windows must have drifted."""
    cooldown: Duration = "24h"
    """Time since the last retraining, and since the last promotion, in which none is started."""
    budget: Budget = Budget()
    """How many retrainings there may be."""
    max_failures: Annotated[int, Ge(1), Le(20)] = 2
    """So many failures in a row, refusals included, end retraining until a person acts."""
    min_new_samples: Annotated[int, Ge(0), Le(1_000_000_000)] = 0
    """Rows that must have come since the champion was trained."""
    template: TrainingTemplate
    """The TrainingJob that retrains."""


class Notification(Model):
    """A receiver of transitions."""

    name: Name
    """Name of the receiver."""
    url_secret_name: Annotated[Text253, MinLen(1)]
    """Secret whose key `url` says where to post; mounted in the check pod, which posts."""


class DriftPolicySpec(Model):
    """What is judged, when, by which signals, and what follows."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.source.predictionLog) || (has(self.source.table) && "
            "has(self.source.table.target)) || !has(self.signals) || "
            "self.signals.all(s, !has(s.performance))",
            "signal `performance` needs labels: source.predictionLog, or source.table with "
            "`target`",
        ),
    )

    model_deployment_ref: DeploymentRef
    """The ModelDeployment whose data are judged, in the same namespace."""
    credentials_secret_name: Text253 = "linnet-credentials"
    """Secret with the credentials of registry and store; it may be missing."""
    source: Source
    """Where live rows come from."""
    schedule: Annotated[str, MinLen(6), MaxLen(100)] = "0 6 * * *"
    """When checks run: five cron fields, or a word such as @daily."""
    time_zone: Annotated[Text64, MinLen(1)] = "Etc/UTC"
    """Time zone of the schedule."""
    suspend: bool = False
    """Whether no check is started."""
    starting_deadline_seconds: Annotated[Int64, Ge(10), Le(604800)] = 86400
    """Seconds within which a missed check is caught up, once."""
    concurrency_policy: ConcurrencyPolicy = ConcurrencyPolicy.FORBID
    """What happens when a check is due while another runs."""
    window: CheckWindow = CheckWindow()
    """The rows that a check judges."""
    reference: Annotated[Reference | None, Issue(5), Computed("the profile of the champion")] = None
    """What live rows are compared with."""
    alarm: Alarm = Alarm()
    """How it is decided that a window differs."""
    signals: Annotated[tuple[Signal, ...], MinLen(1), MaxLen(16), BY_NAME] = (
        Signal(name="features", data_drift=DataDrift()),
        Signal(name="scores", prediction_drift=PredictionDrift()),
        Signal(name="quality", data_quality=DataQuality()),
    )
    """The things that a check looks at."""
    retrain: Annotated[Retrain | None, Computed("none: reports only")] = None
    """When and how the model is trained anew."""
    template: PodTemplate = PodTemplate()
    """The part of the check pods that is yours."""
    notify: Annotated[Annotated[tuple[Notification, ...], MaxLen(8), BY_NAME] | None, Issue(5)] = (
        None
    )
    """Receivers of transitions."""


# Status


class TimeRange(Model):
    """From a time on and before another."""

    from_: Annotated[Time | None, Field(alias="from")] = None
    """First time that belongs to it."""
    until: Time | None = None
    """First time that no longer belongs to it."""


class LastCheck(Model):
    """The newest check."""

    job_name: Text63 | None = None
    """The Job."""
    window: TimeRange | None = None
    """The window that was judged."""
    rows: Count | None = None
    """Rows in the window."""
    reference_version: Text9 | None = None
    """Version whose profile was the reference."""
    outcome: CheckOutcome
    """How it ended."""
    reason: Text64 | None = None
    """Why it ended so, in one word."""
    new_samples: Count | None = None
    """Rows since the champion was trained."""
    score: Text24 | None = None
    """Statistic divided by its threshold: above 1 is drift."""
    rank: Count | None = None
    """Rank of the window among those of the past."""
    windows: Count | None = None
    """Windows of the past."""
    p_value: Annotated[Text24 | None, Field(alias="pValue")] = None
    """Share of windows of the past that differ as much."""
    report_url: Annotated[Text512 | None, Field(alias="reportURL")] = None
    """Link to the report."""
    run_id: Annotated[Text64 | None, Field(alias="runID")] = None
    """MLflow run with the report."""
    message: Message | None = None
    """The result in a sentence."""


class SignalStatus(Model):
    """One signal of the newest check."""

    name: Text64
    """Name of the signal."""
    breached: bool
    """Whether it is beyond its threshold."""
    statistic: Text24 | None = None
    """What was measured."""
    threshold: Text24 | None = None
    """What it was compared with."""
    n: Count | None = None
    """Rows that it rests on."""
    message: Message | None = None
    """The result in a sentence."""


class ColumnStatus(Model):
    """One of the columns that differ most."""

    column: Text128
    """The column."""
    signal: Text64 | None = None
    """The signal it belongs to."""
    method: Text64 | None = None
    """How its distributions were compared."""
    statistic: Text24 | None = None
    """What was measured."""
    threshold: Text24 | None = None
    """What it was compared with."""
    n_reference: Annotated[Count | None, Field(alias="nReference")] = None
    """Rows of the reference."""
    n_current: Annotated[Count | None, Field(alias="nCurrent")] = None
    """Rows of the window."""


class CheckEntry(Model):
    """One check, as `retrain.when` counts it."""

    window: TimeRange | None = None
    """The window that was judged."""
    outcome: CheckOutcome
    """How it ended."""
    score: Text24 | None = None
    """Statistic divided by its threshold."""


class RetrainStatus(Model):
    """Where retraining stands."""

    in_flight: Text63 | None = None
    """The TrainingJob that runs."""
    last_job: Text63 | None = None
    """The newest TrainingJob."""
    last_start_time: Time | None = None
    """When it was started."""
    last_outcome: Text64 | None = None
    """How it ended, as a reason."""
    failures: Count | None = None
    """Failures in a row."""
    started_in_period: Count | None = None
    """Retrainings that count against the budget."""
    suggestion: Message | None = None
    """What a person could start, with `mode: Suggest`."""
    blocked_by: Text64 | None = None
    """Why none is started, as a reason."""


class ReferenceStatus(Model):
    """What live rows are compared with."""

    version: Text9 | None = None
    """The version whose profile it is."""
    digest: Text128 | None = None
    """Digest of the profile."""
    from_: Annotated[Time | None, Field(alias="from")] = None
    """First time in it."""
    until: Time | None = None
    """First time no longer in it."""
    windows: Count | None = None
    """Windows of the past that it has."""


class DriftPolicyStatus(Model):
    """What the checks found."""

    observed_generation: Int64 | None = None
    """The generation of the object that this was written for."""
    operator: Text253 | None = None
    """Identity of the operator that owns the object."""
    request: RequestStatus | None = None
    """Answer to the newest request."""
    conditions: Conditions = Field(default_factory=tuple)
    """What is true of the data."""
    last_schedule_time: Time | None = None
    """When a check was last due."""
    next_schedule_time: Time | None = None
    """When a check is due next."""
    last_check_time: Time | None = None
    """When a check last ended."""
    last_check: LastCheck | None = None
    """The newest check."""
    signals: Annotated[tuple[SignalStatus, ...], MaxLen(16), BY_NAME] | None = None
    """The signals of the newest check."""
    columns: Annotated[tuple[ColumnStatus, ...], MaxLen(20), by("column")] | None = None
    """The columns that differ most."""
    checks: Annotated[tuple[CheckEntry, ...], MaxLen(20)] | None = None
    """The newest checks, which `retrain.when` counts."""
    retrain: RetrainStatus | None = None
    """Where retraining stands."""
    reference: ReferenceStatus | None = None
    """What live rows are compared with."""
    target: Text63 | None = None
    """The ModelDeployment."""


class DriftPolicy(Resource):
    """Judges a deployment's live data on a schedule, at a stated rate of false alarms, and trains
    the model anew when they have drifted."""

    KIND: ClassVar[str] = "DriftPolicy"
    PLURAL: ClassVar[str] = "driftpolicies"
    SHORT_NAME: ClassVar[str] = "drift"
    ISSUE: ClassVar[int] = 2

    kind: Literal["DriftPolicy"] = "DriftPolicy"
    spec: DriftPolicySpec
    """What is judged, when, by which signals, and what follows."""
    status: DriftPolicyStatus = Field(default_factory=DriftPolicyStatus)
    """What the checks found; written by Linnet."""
