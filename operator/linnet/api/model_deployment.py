"""ModelDeployment: one model that serves, and how a newer version takes its place."""

from enum import StrEnum
from typing import Annotated, ClassVar, Final, Literal, TypeAlias

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import Field, StringConstraints

from linnet.api.conditions import Conditions
from linnet.api.pod_template import PodTemplate
from linnet.api.shared import (
    BY_NAME,
    SET,
    Alias,
    Column,
    Computed,
    Count,
    Duration,
    Grid,
    Int64,
    Issue,
    MarginGrid,
    Message,
    Model,
    ModelName,
    Name,
    Percent,
    ProbabilityRule,
    Quantity,
    Ratio,
    RequestStatus,
    Resource,
    Rule,
    Text9,
    Text24,
    Text63,
    Text64,
    Text128,
    Text249,
    Text253,
    Text256,
    Text512,
    Text2048,
    Time,
    Uri,
    ValueIssue,
    Version,
    alias_not_reserved,
    at_most_one,
    by,
    exactly_one,
)

DEFAULT_ALIAS: Final = "challenger"
"""What is followed when neither `model.alias` nor `model.version` is given."""


class Provenance(StrEnum):
    """Whether a version must prove where it comes from."""

    REQUIRED = "Required"
    IF_PRESENT = "IfPresent"


class ModelFormat(StrEnum):
    """The forms in which a model can be served."""

    PLAN = "Plan"
    SKOPS = "Skops"
    PICKLE = "Pickle"


class AdvanceWhen(StrEnum):
    """What ends the hold of a step."""

    EVIDENCE = "Evidence"
    EVIDENCE_OR_TIMEOUT = "EvidenceOrTimeout"
    REQUEST = "Request"


class OnTimeout(StrEnum):
    """What happens when a hold reached its longest time."""

    ADVANCE = "Advance"
    PAUSE = "Pause"


class DispersionMode(StrEnum):
    """Where the overdispersion of the counters is known from."""

    LEARNED = "Learned"
    EXACT = "Exact"
    FIXED = "Fixed"


class ModelRef(Model):
    """The registered model, and which of its versions serves."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        at_most_one("model must have at most one of `alias` and `version`", "alias", "version"),
        Rule(
            "!has(self.alias) || !has(self.championAlias) || self.alias != self.championAlias",
            "model.alias and model.championAlias must differ",
        ),
        Rule(
            "has(self.alias) || has(self.version) || !has(self.championAlias) || "
            f"self.championAlias != '{DEFAULT_ALIAS}'",
            f"model.championAlias must differ from the default alias '{DEFAULT_ALIAS}'",
        ),
    )

    name: Annotated[
        ModelName,
        Rule(
            "self == oldSelf",
            "spec.model.name is immutable: create another ModelDeployment",
        ),
    ]
    """Name of the registered model in MLflow."""
    alias: Annotated[
        Annotated[Alias, MinLen(1), alias_not_reserved("model.alias")] | None,
        Computed("`challenger`, without `version`"),
    ] = None
    """Alias to follow: when it moves, the version under it becomes the candidate."""
    version: Version | None = None
    """The version to serve, instead of following an alias: the usual form in Git."""
    champion_alias: Annotated[Alias, alias_not_reserved("model.championAlias")] = "champion"
    """Alias that is moved to a version once it has held all traffic; empty is never written."""
    provenance: Provenance = Provenance.IF_PRESENT
    """Whether a version must carry a digest to check its files against: the one that Linnet's
    trainer gives, or one by which somebody has adopted it."""
    allow_formats: Annotated[
        Annotated[tuple[ModelFormat, ...], MinLen(1), MaxLen(3), SET],
        ValueIssue((("Pickle", 6),)),
    ] = (ModelFormat.PLAN, ModelFormat.SKOPS)
    """Forms of the model that may be served. The first that the version has is taken, in the order
    Plan, Skops, Pickle."""


class ParentRef(Model):
    """A Gateway, or one of its listeners."""

    name: Annotated[Text253, MinLen(1)]
    """Name of the Gateway."""
    namespace: Name | None = None
    """Its namespace; the object's own when absent."""
    section_name: Annotated[Text253, MinLen(1)] | None = None
    """Name of the listener; all when absent."""
    port: Annotated[int, Ge(1), Le(65535)] | None = None
    """Port of the listener."""


Hostname: TypeAlias = Annotated[
    str,
    MinLen(1),
    StringConstraints(max_length=253, pattern=r"^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"),
]


class Route(Model):
    """How traffic reaches the model through a Gateway."""

    parent_refs: Annotated[tuple[ParentRef, ...], MinLen(1), MaxLen(8)]
    """The Gateways that take traffic for the model."""
    hostnames: Annotated[
        Annotated[tuple[Hostname, ...], MaxLen(16)] | None, Computed("the listener's")
    ] = None
    """Host names of the model."""
    path_prefix: Annotated[
        str, StringConstraints(max_length=256, pattern=r"^/[A-Za-z0-9._~/-]*$")
    ] = "/"
    """Path under which the model is found; it is taken away before the server sees the request."""


class Autoscaling(Model):
    """How many pods serve, by their load."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.minReplicas <= self.maxReplicas",
            "autoscaling.minReplicas must not exceed maxReplicas",
        ),
    )

    min_replicas: Annotated[int, Ge(1), Le(200)]
    """Least number of pods of each revision."""
    max_replicas: Annotated[int, Ge(1), Le(200)]
    """Greatest number of pods of each revision."""
    target_cpu_utilization_percentage: Annotated[
        Percent, Field(alias="targetCPUUtilizationPercentage")
    ] = 70
    """CPU use, in percent of what is requested, that is aimed at."""


class Server(Model):
    """The pods that serve."""

    replicas: Annotated[int, Ge(1), Le(200)] = 2
    """Pods of each revision that serves. A candidate has all of them before it gets traffic;
    without a route the share of traffic is the share of pods."""
    autoscaling: Autoscaling | None = None
    """How many pods serve, by their load; `replicas` is then ignored."""
    workers: Annotated[int, Ge(1), Le(16), Issue(6)] = 1
    """Processes in each pod."""
    max_request_bytes: Quantity = "10Mi"
    """Greatest request; a larger one is answered with 413."""
    drain_timeout: Duration = "15s"
    """How long a request may take after the pod was told to end."""
    template: PodTemplate = PodTemplate()
    """The part of the pod that is yours; a change makes a new revision."""


class FeastServing(Model):
    """Features that the server looks up in Feast."""

    repo_uri: Uri
    """Folder with `feature_store.yaml`."""
    feature_service: Annotated[Text128, MinLen(1)]
    """The feature service to read."""
    entity_keys: Annotated[tuple[Column, ...], MinLen(1), MaxLen(8)]
    """Columns of the request that name the entity."""


class Features(Model):
    """Features that are looked up while serving."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.feast)", "features must have `feast`"),
        Rule(
            "!has(self.timeout) || (duration(self.timeout) >= duration('1ms') && "
            "duration(self.timeout) <= duration('30s'))",
            "features.timeout must be between 1ms and 30s",
        ),
    )

    feast: FeastServing | None = None
    """Features from Feast: a sidecar of each server looks up what a request leaves out."""
    timeout: Duration = "50ms"
    """How long a look-up may take; then the answer is 503 and names the view."""


class Redaction(Model):
    """A column that is not logged as it is."""

    column: Column
    """The column."""
    action: Literal["Drop", "Hash"]
    """Whether it is left out, or replaced by a salted hash."""


class Feedback(Model):
    """How labels come back."""

    expose: Literal["Cluster", "Route"] = "Cluster"
    """Who can send labels: pods of the cluster, or everybody who reaches the route and has the
    token."""
    token_secret_name: Annotated[Text253, MinLen(1)] | None = None
    """Secret whose key `token` a sender of labels must present."""


class LabelTable(Model):
    """A table with labels."""

    uri: Uri
    """Where the table is."""
    id_column: Column
    """Column with the request id."""
    label_column: Column
    """Column with the label."""
    timestamp_column: Column
    """Column with the time at which the label was known."""


class HttpSink(Model):
    """A receiver of CloudEvents over HTTP."""

    url: Annotated[Text512, MinLen(1)]
    """Where events are sent."""


class KafkaSink(Model):
    """A Kafka topic that receives CloudEvents."""

    bootstrap_servers: Annotated[tuple[Annotated[Text253, MinLen(1)], ...], MinLen(1), MaxLen(16)]
    """Brokers, as host:port."""
    topic: Annotated[Text249, MinLen(1)]
    """The topic."""
    secret_name: Annotated[Text253, MinLen(1)] | None = None
    """Secret with the client's credentials."""


class Sink(Model):
    """Where the same events are sent besides."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        at_most_one(
            "predictionLog.sink must have at most one of `http` and `kafka`", "http", "kafka"
        ),
    )

    http: HttpSink | None = None
    """A receiver over HTTP."""
    kafka: KafkaSink | None = None
    """A Kafka topic."""


class Collector(Model):
    """The pods that write the log."""

    replicas: Annotated[int, Ge(1), Le(16)] = 1
    """Number of pods."""
    volume_size: Quantity = "10Gi"
    """Size of the volume of each pod."""
    storage_class_name: Text253 = ""
    """Storage class of the volumes; the cluster's default when empty."""
    template: PodTemplate = PodTemplate()
    """The part of the pod that is yours."""


class PredictionLog(Model):
    """The log of requests, answers and labels."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.redact) || self.redact.all(r, r.action != 'Hash') || "
            "has(self.saltSecretName)",
            "redact with action 'Hash' needs predictionLog.saltSecretName",
        ),
        Rule(
            "!has(self.feedback) || !has(self.feedback.expose) || "
            "self.feedback.expose != 'Route' || has(self.feedback.tokenSecretName)",
            "feedback.expose 'Route' needs feedback.tokenSecretName",
        ),
    )

    uri: Uri
    """Root folder of the log."""
    sample_percent: Percent = 100
    """Share of the requests that are logged."""
    max_label_delay: Duration = "168h"
    """How late a label may come; later ones are counted and dropped."""
    event_time: Literal["Arrival", "Header"] = "Arrival"
    """A request's time: when it arrived, or its header `ce-time`."""
    retention: Duration = "2160h"
    """How long the log is kept."""
    redact: Annotated[tuple[Redaction, ...], MaxLen(128), by("column")] = ()
    """Columns that are not logged as they are."""
    salt_secret_name: Annotated[Text253, MinLen(1)] | None = None
    """Secret whose key `salt` goes into the hashes."""
    feedback: Feedback = Feedback()
    """How labels come back."""
    labels: LabelTable | None = None
    """A table with labels, beside feedback."""
    sink: Sink | None = None
    """Where the same events are sent besides."""
    collector: Collector = Collector()
    """The pods that write the log."""


class Shadow(Model):
    """Copies of the champion's requests, whose answers nobody sees."""

    percent: Percent = 100
    """Share of the requests that are copied."""


class Cohort(Model):
    """An A/B test by a header that the client or an experimentation platform sets."""

    header: Annotated[Text128, MinLen(1)]
    """Name of the header."""
    champion_value: Annotated[Text256, MinLen(1)]
    """Value that the champion answers."""
    candidate_value: Annotated[Text256, MinLen(1)]
    """Value that the candidate answers."""


class Sticky(Model):
    """A client that was answered by one version stays with it."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one("sticky must have exactly one of `header` and `cookie`", "header", "cookie"),
    )

    header: Annotated[Text128, MinLen(1)] | None = None
    """Header that carries the gateway's token."""
    cookie: Annotated[Text128, MinLen(1)] | None = None
    """Cookie that carries the gateway's token."""


class Hold(Model):
    """How long a step lasts, and what ends it."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.minDuration) || !has(self.maxDuration) || "
            "duration(self.minDuration) <= duration(self.maxDuration)",
            "hold.minDuration must not exceed hold.maxDuration",
        ),
    )

    min_duration: Annotated[Duration | None, Computed("`0s`; `60s` for weight 100")] = None
    """Least time of the step."""
    min_candidate_requests: Annotated[
        Annotated[int, Ge(0), Le(100_000_000)] | None, Computed("200")
    ] = None
    """Requests that the candidate must have answered before the step can end."""
    advance_when: Annotated[
        AdvanceWhen | None,
        Computed("EvidenceOrTimeout; Request for sticky and cohort steps"),
    ] = None
    """What ends the step: evidence that the candidate is no worse, that or `maxDuration`, or a
    request."""
    max_duration: Annotated[Duration | None, Computed("`10m`; `30m` for shadow")] = None
    """Longest time that evidence is waited for."""
    on_timeout: Annotated[
        OnTimeout | None, Computed("Advance, which pauses when E is at least 10")
    ] = None
    """What happens after `maxDuration`."""


class Step(Model):
    """One step of a rollout."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "a step must have exactly one of `shadow`, `weight`, `cohort`",
            "shadow", "weight", "cohort",
        ),
        Rule(
            "!has(self.sticky) || (has(self.weight) && self.weight < 100)",
            "`sticky` belongs to a step with a weight below 100",
        ),
        Rule(
            "!has(self.weight) || self.weight != 100 || !has(self.hold) || "
            "!(has(self.hold.minCandidateRequests) || has(self.hold.advanceWhen) || "
            "has(self.hold.maxDuration) || has(self.hold.onTimeout))",
            "`hold` of the step with weight 100 takes only `minDuration`",
        ),
    )  # fmt: skip

    shadow: Shadow | None = None
    """The candidate gets copies of requests, whose answers nobody sees."""
    weight: Percent | None = None
    """The candidate gets this share of the requests, in percent."""
    cohort: Cohort | None = None
    """The candidate gets the requests with a certain header."""
    sticky: Annotated[Sticky | None, Issue(1)] = None
    """A client stays with the version that answered it first. Needs Gateway API's experimental
    `sessionPersistence`."""
    hold: Hold = Field(default_factory=Hold)
    """How long the step lasts, and what ends it."""


class TestHeader(Model):
    """A header that brings a request to the candidate, whatever its weight."""

    __test__ = False  # not a test case of pytest

    name: Annotated[Text128, MinLen(1)]
    """Name of the header."""
    value: Annotated[Text256, MinLen(1)]
    """Its value."""


class Probation(Model):
    """The time after a promotion in which the old champion stays ready."""

    duration: Duration
    """How long it lasts."""


class Holdback(Model):
    """A share that stays with the old champion after the promotion."""

    percent: Annotated[int, Ge(1), Le(20)]
    """The share."""
    duration: Duration
    """How long it stays there."""


Steps: TypeAlias = Annotated[
    tuple[Step, ...],
    MinLen(1),
    MaxLen(16),
    Rule(
        "has(self[size(self) - 1].weight) && self[size(self) - 1].weight == 100",
        "the last step must be `weight: 100`",
    ),
    Rule(
        "self.map(s, has(s.weight) ? 1 : 0).isSorted()",
        "`shadow` and `cohort` steps must come before the first weight",
    ),
    Rule(
        "self.filter(s, has(s.weight)).map(s, s.weight).isSorted() && "
        "self.filter(s, has(s.weight)).all(s, "
        "self.exists_one(t, has(t.weight) && t.weight == s.weight))",
        "weights must strictly ascend",
    ),
]


class Strategy(Model):
    """How a candidate takes the place of the champion."""

    steps: Steps = (Step(weight=5), Step(weight=25), Step(weight=50), Step(weight=100))
    """The steps of a rollout, the last with weight 100. All at once is that step alone."""
    progress_deadline: Duration = "10m"
    """How long a revision may take to become ready before that is reported."""
    require_compatible_inputs: bool = False
    """Whether a candidate that asks for other inputs than the champion gets no traffic."""
    test_header: TestHeader | None = None
    """A header that brings a request to the candidate, whatever its weight."""
    probation: Probation | None = None
    """The time after a promotion in which the old champion stays ready."""
    holdback: Annotated[Holdback | None, Issue(1)] = None
    """A share that stays with the old champion after the promotion, so that both are compared."""
    scale_down_delay: Duration = "30s"
    """How long a revision stays after its weight was seen to be 0."""


class Dispersion(Model):
    """How far the counters vary beyond chance."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "(has(self.mode) && self.mode == 'Fixed') == has(self.precision)",
            "dispersion.precision belongs to mode 'Fixed', which needs it",
        ),
    )

    mode: DispersionMode = DispersionMode.LEARNED
    """Learned from the traffic, Exact (none at all), or Fixed by `precision`."""
    precision: Annotated[int, Ge(5), Le(1_000_000)] | None = None
    """The precision of mode Fixed; a small one means much variation."""


class Empty(Model):
    """Nothing to set."""


class ErrorRate(Model):
    """The share of bad answers."""

    bad: Annotated[
        tuple[
            Annotated[
                str,
                StringConstraints(max_length=7, pattern=r"^([45]xx|[45][0-9]{2}|Reset|Timeout)$"),
            ],
            ...,
        ],
        MinLen(1),
        MaxLen(16),
        SET,
    ] = ("5xx", "400", "422", "Reset", "Timeout")
    """Answers that are bad: status codes, classes of them, broken connections, time-outs."""
    acceptable: Ratio = "0.01"
    """Share of bad answers that a candidate may have whatever the champion does."""


class Disagreement(Model):
    """How often the candidate answers otherwise than the champion; in a shadow step only."""

    max_rate: Ratio
    """Greatest share of different answers."""


class Objective(Model):
    """A limit that does not depend on the champion."""

    max_rate: Ratio
    """Greatest share of bad answers."""
    slower_than: Duration | None = None
    """An answer slower than this is bad too."""


class GaugePromQL(Model):
    """Any figure in Prometheus, per version."""

    query: Annotated[Text2048, MinLen(1)]
    """The query, with `$revision` for the name of an arm's revision; it returns one figure."""
    higher_is: Literal["Worse", "Better"]
    """Which direction is bad."""


class PairedScore(Model):
    """Scores of the same requests, compared pair by pair."""

    tolerance: Ratio = "0.005"
    """Difference that does not matter."""


class PromQLSource(Model):
    """Counters in Prometheus, raw and per version."""

    total: Annotated[Text2048, MinLen(1)]
    """Query for the counter of all answers, with `$revision` for the name of an arm's revision."""
    bad: Annotated[Text2048, MinLen(1)]
    """Query for the counter of bad answers; it takes the place of `errorRate.bad` and
    `objective.slowerThan`."""


class MetricSource(Model):
    """Where the counters come from."""

    prom_ql: Annotated[PromQLSource | None, Field(alias="promQL")] = None
    """Counters in Prometheus."""


METRIC_KINDS: Final = (
    "errorRate", "latencyHistogram", "disagreement", "driftBuckets", "objective", "gaugePromQL",
    "labelledOutcome", "pairedOutcome", "pairedScore",
)  # fmt: skip


class Metric(Model):
    """One thing in which the candidate is compared with the champion."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        exactly_one(
            "a metric must have exactly one of " + ", ".join(f"`{kind}`" for kind in METRIC_KINDS),
            *METRIC_KINDS,
        ),
        Rule(
            "!has(self.tolerance) || has(self.errorRate) || has(self.latencyHistogram) || "
            "has(self.driftBuckets) || has(self.labelledOutcome) || has(self.pairedOutcome)",
            "only `errorRate`, `latencyHistogram`, `driftBuckets`, `labelledOutcome` and "
            "`pairedOutcome` take a `tolerance`",
        ),
        Rule(
            "!has(self.margin) || has(self.errorRate) || has(self.latencyHistogram) || "
            "has(self.labelledOutcome)",
            "only `errorRate`, `latencyHistogram` and `labelledOutcome` take a `margin`",
        ),
        Rule(
            "!has(self.source) || has(self.errorRate) || has(self.latencyHistogram) || "
            "has(self.objective)",
            "only `errorRate`, `latencyHistogram` and `objective` take a `source`",
        ),
    )

    name: Name
    """Name of the metric, for status and messages."""
    error_rate: ErrorRate | None = None
    """The share of bad answers."""
    latency_histogram: Empty | None = None
    """The distribution of answer times."""
    disagreement: Disagreement | None = None
    """How often the candidate answers otherwise than the champion; in a shadow step only."""
    drift_buckets: Empty | None = None
    """The distribution of scores."""
    objective: Objective | None = None
    """A limit that does not depend on the champion."""
    gauge_prom_ql: Annotated[GaugePromQL | None, Field(alias="gaugePromQL")] = None
    """Any figure in Prometheus, per version."""
    labelled_outcome: Annotated[Empty | None, Issue(5)] = None
    """The share of wrong answers, by labels that come later."""
    paired_outcome: Annotated[Empty | None, Issue(5)] = None
    """Wrong answers to the same requests, compared pair by pair."""
    paired_score: Annotated[PairedScore | None, Issue(5)] = None
    """Scores of the same requests, compared pair by pair."""
    tolerance: Annotated[Grid | None, Computed('`"1.1"`; labels and pairs `"1"`')] = None
    """Odds ratio up to which the candidate is not worse."""
    margin: Annotated[
        MarginGrid | None, Computed('errors `"2"`, latency `"1.5"`, labels `"1.25"`')
    ] = None
    """Odds ratio that the candidate must be shown to stay below before it advances."""
    importance: Annotated[int, Ge(1), Le(100)] = 1
    """How much the metric counts among all."""
    source: Annotated[MetricSource | None, Computed("the pods' own counters")] = None
    """Where the counters come from."""


def _probability(field: str) -> Rule:
    return Rule(ProbabilityRule, f"analysis.{field} must be from 0.001 to 0.5")


class Analysis(Model):
    """How candidate and champion are compared while both serve."""

    false_rollback_probability: Annotated[Ratio, _probability("falseRollbackProbability")] = "0.05"
    """How probable it may be that a candidate which is no worse is rolled back."""
    false_promotion_probability: Annotated[Ratio, _probability("falsePromotionProbability")] = (
        "0.05"
    )
    """How probable it may be that a candidate which is worse by its margin is advanced."""
    interval: Annotated[
        Duration,
        Rule(
            "duration(self) >= duration('1s') && duration(self) <= duration('5m')",
            "analysis.interval must be from 1s to 5m",
        ),
    ] = "10s"
    """How often the counters are read."""
    warmup: Duration = "30s"
    """Time of a new pod whose answers are not yet compared."""
    dispersion: Dispersion = Dispersion()
    """How far the counters vary beyond chance."""
    metrics: Annotated[tuple[Metric, ...], MinLen(1), MaxLen(16), BY_NAME] = (
        Metric(name="errors", error_rate=ErrorRate()),
    )
    """The things in which candidate and champion are compared."""


class ModelDeploymentSpec(Model):
    """Which model serves, where, and how a newer version takes its place."""

    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "has(self.route) || !has(self.strategy) || (!has(self.strategy.testHeader) && "
            "(!has(self.strategy.steps) || "
            "self.strategy.steps.all(s, !has(s.cohort) && !has(s.sticky))))",
            "strategy: `cohort`, `sticky` and `testHeader` need `route`",
        ),
        Rule(
            "has(self.route) || !has(self.strategy) || !has(self.strategy.holdback)",
            "strategy.holdback needs `route`: without one a share is a number of pods",
        ),
        Rule(
            "has(self.predictionLog) || !has(self.analysis) || !has(self.analysis.metrics) || "
            "self.analysis.metrics.all(m, !has(m.labelledOutcome) && !has(m.pairedOutcome) && "
            "!has(m.pairedScore))",
            "analysis.metrics: `labelledOutcome`, `pairedOutcome` and `pairedScore` need "
            "`predictionLog`",
        ),
        Rule(
            "!has(self.analysis) || !has(self.analysis.metrics) || "
            "self.analysis.metrics.all(m, !has(m.disagreement) && !has(m.pairedOutcome) && "
            "!has(m.pairedScore)) || (has(self.strategy) && has(self.strategy.steps) && "
            "self.strategy.steps.exists(s, has(s.shadow)))",
            "analysis.metrics: `disagreement`, `pairedOutcome` and `pairedScore` need a `shadow` "
            "step",
        ),
        Rule(
            "has(self.route) || !has(self.predictionLog) || !has(self.predictionLog.feedback) || "
            "!has(self.predictionLog.feedback.expose) || "
            "self.predictionLog.feedback.expose != 'Route'",
            "feedback.expose 'Route' needs spec.route",
        ),
    )

    model: ModelRef
    """The registered model, and which of its versions serves."""
    credentials_secret_name: Text253 = "linnet-credentials"
    """Secret with the credentials of registry and store; it may be missing."""
    route: Annotated[Route | None, Computed("none: a Service, split by replicas")] = None
    """How traffic reaches the model through a Gateway. May be added or removed while no rollout
    runs."""
    server: Server = Server()
    """The pods that serve."""
    features: Features | None = None
    """Features that are looked up while serving; a change makes a new revision."""
    prediction_log: Annotated[PredictionLog | None, Issue(5)] = None
    """The log of requests, answers and labels."""
    strategy: Strategy = Strategy()
    """How a candidate takes the place of the champion."""
    analysis: Analysis = Analysis()
    """How candidate and champion are compared while both serve."""
    paused: bool = False
    """Holds the weight where it is; analysis and rollback stay armed."""


# Status


class StepKind(StrEnum):
    """What a step does."""

    SHADOW = "Shadow"
    WEIGHT = "Weight"
    COHORT = "Cohort"


class MirroredBy(StrEnum):
    """Who sends the copies of requests in a shadow step."""

    GATEWAY = "Gateway"
    CHAMPION = "Champion"


class DecisionVerb(StrEnum):
    """What was decided about a candidate."""

    START = "Start"
    ADVANCE = "Advance"
    PROMOTE = "Promote"
    ROLL_BACK = "RollBack"
    WITHDRAW = "Withdraw"


class Verdict(StrEnum):
    """What the evidence says of a candidate."""

    UNDECIDED = "Undecided"
    REGRESSION = "Regression"
    NO_REGRESSION = "NoRegression"
    INVALID = "Invalid"


class DecidedBy(StrEnum):
    """Who or what ended a revision's time as candidate, or made it champion."""

    FIRST_REVISION = "FirstRevision"
    VERDICT = "Verdict"
    REQUEST = "Request"
    REVERT = "Revert"
    PROBATION = "Probation"


class Wish(Model):
    """What spec asks for, resolved."""

    version: Text9
    """The version."""
    revision: Text63 | None = None
    """The version together with the rendered pod template."""


class Arm(Model):
    """A revision that serves or is to serve."""

    version: Text9
    """The version."""
    revision: Text63
    """The version together with the rendered pod template."""
    hash: Text64 | None = None
    """Full hash of the revision."""
    digest: Text128 | None = None
    """Digest of the artifact."""
    format: ModelFormat | None = None
    """The form that is served."""
    provenance: Literal["Verified", "Unverified"] | None = None
    """Whether the digest that the trainer gave was found and checked."""
    since: Time | None = None
    """Since when it has this place."""


class CandidateArm(Arm):
    """The revision that is on trial."""

    rollout_id: Annotated[Text64 | None, Field(alias="rolloutID")] = None
    """Identifier of the rollout."""


class TrafficStatus(Model):
    """The share of one revision, as programmed and not as asked."""

    revision: Text63
    """The revision."""
    version: Text9
    """Its version."""
    weight: Annotated[int, Ge(0), Le(100)]
    """Its share of the requests, in percent."""
    mirror_percent: Annotated[int, Ge(0), Le(100)] | None = None
    """Share of the requests that are copied to it."""
    observed_time: Time | None = None
    """When the share was seen to be programmed."""


class StepStatus(Model):
    """Where the rollout stands; absent when none runs."""

    index: Annotated[int, Ge(1), Le(16)]
    """Number of the step, from 1."""
    of: Annotated[int, Ge(1), Le(16)]
    """Number of steps."""
    label: Text24 | None = None
    """Both, such as 2/4."""
    kind: StepKind = Field(default_factory=lambda: StepKind.WEIGHT)
    """What the step does."""
    weight: Annotated[int, Ge(0), Le(100)] | None = None
    """Weight that the step asks for."""
    mirrored_by: MirroredBy | None = None
    """Who sends the copies of a shadow step: the gateway, or the champion's server."""
    since: Time | None = None
    """When the step began."""
    holding: Text64 | None = None
    """Why the step does not end, as a reason."""
    holding_since: Time | None = None
    """Since when it has held for that reason."""
    paused: bool = Field(default_factory=bool)
    """Whether the step was paused, by spec or by a timeout."""


class Decision(Model):
    """The newest decision; recorded before it is performed."""

    verb: DecisionVerb
    """What was decided."""
    revision: Text63
    """The revision it is about."""
    reason: Text64
    """Why, as a reason."""
    message: Message = Field(default_factory=str)
    """Why, in a sentence."""
    time: Time
    """When."""
    performed: bool = Field(default_factory=bool)
    """Whether it was seen to be carried out."""


class ArmCounts(Model):
    """Answers of one arm."""

    bad: Count = Field(default_factory=int)
    """Bad answers."""
    total: Count = Field(default_factory=int)
    """All answers."""


class OddsRatio(Model):
    """How much greater the odds of a bad answer are with the candidate."""

    estimate: Text24 | None = None
    """The estimate."""
    low: Text24 | None = None
    """Lower end of the confidence sequence."""
    high: Text24 | None = None
    """Upper end of the confidence sequence."""


class MetricStatus(Model):
    """The evidence in one metric."""

    name: Text64
    """Name of the metric."""
    kind: Text64 | None = None
    """Its kind, such as errorRate."""
    bad_is: Text64 | None = None
    """What the counted answers were, such as slower than 41 ms; the most telling of several."""
    champion: ArmCounts | None = None
    """The champion's answers."""
    candidate: ArmCounts | None = None
    """The candidate's answers."""
    warming: ArmCounts | None = None
    """The candidate's answers while pods were warming up, which are not compared."""
    odds_ratio: OddsRatio | None = None
    """How much greater the odds of a bad answer are with the candidate."""
    e: Text24 | None = None
    """Evidence that the candidate is worse."""
    no_regression: Text24 | None = None
    """Evidence that the candidate is not worse by its margin."""
    disaster: Text24 | None = None
    """Evidence of a failure so great that nothing else is waited for."""
    precision: Text24 | None = None
    """Precision that the variation was judged by."""
    dispersion: Literal["Learned", "Assumed", "Exact", "Fixed"] | None = None
    """Where the precision comes from."""


class AnalysisStatus(Model):
    """The evidence, and what it says."""

    verdict: Verdict = Field(default_factory=lambda: Verdict.UNDECIDED)
    """What the evidence says of the candidate."""
    e: Text24 | None = None
    """Evidence against the candidate, all metrics together."""
    max_e: Annotated[Text24 | None, Field(alias="maxE")] = None
    """Greatest evidence so far."""
    rollback_at: Text24 | None = None
    """Evidence at which the candidate is rolled back."""
    p_value: Annotated[Text24 | None, Field(alias="pValue")] = None
    """Bound on the probability of such evidence if the candidate is no worse."""
    blocks: Count | None = None
    """Intervals that were compared."""
    since: Time | None = None
    """When the comparison began."""
    time: Time | None = None
    """When the counters were last read."""
    metrics: Annotated[tuple[MetricStatus, ...], MaxLen(16), BY_NAME] = Field(default_factory=tuple)
    """The evidence in each metric."""
    state: Annotated[str, MaxLen(65536)] | None = None
    """What the comparison goes on from, for Linnet only."""


class InputsStatus(Model):
    """How the candidate's inputs differ from the champion's."""

    missing: Annotated[tuple[Column, ...], MaxLen(64)] | None = None
    """Columns that the candidate no longer asks for."""
    added: Annotated[tuple[Column, ...], MaxLen(64)] | None = None
    """Columns that only the candidate asks for."""
    changed: Annotated[tuple[Column, ...], MaxLen(64)] | None = None
    """Columns of another type."""


class Rejected(Model):
    """A revision that gets no traffic any more; the request `retry` forgets it."""

    version: Text9
    """The version."""
    revision: Text63
    """The revision."""
    hash: Text64
    """What it is remembered by."""
    reason: Text64
    """Why, as a reason."""
    time: Time
    """When."""
    e: Text24 | None = None
    """Evidence at that time."""
    message: Message | None = None
    """Why, in a sentence."""


class HistoryEntry(Model):
    """One revision that had traffic."""

    version: Text9
    """The version."""
    revision: Text63
    """The revision."""
    from_: Annotated[Time | None, Field(alias="from")] = None
    """When it got traffic first."""
    to: Time | None = None
    """When it had traffic last."""
    max_weight: Annotated[int, Ge(0), Le(100)] | None = None
    """Greatest share that it had."""
    decided_by: DecidedBy | None = None
    """Who or what decided."""
    message: Message | None = None
    """What was decided, in a sentence."""


class Replicas(Model):
    """Pods of the arms."""

    champion: Count | None = None
    """Pods of the champion."""
    champion_ready: Count | None = None
    """Of these, ready."""
    candidate: Count | None = None
    """Pods of the candidate."""
    candidate_ready: Count | None = None
    """Of these, ready."""


class HoldbackStatus(Model):
    """The share that the old champion keeps, or has kept, after the promotion."""

    percent: Annotated[int, Ge(1), Le(20)]
    """The share."""
    since: Time | None = None
    """Since when every gateway reports it."""
    ended: Time | None = None
    """When all requests went to the new champion."""


class ModelDeploymentStatus(Model):
    """What serves, and where the rollout stands."""

    observed_generation: Int64 | None = None
    """The generation of the object that this was written for."""
    operator: Text253 | None = None
    """Identity of the operator that owns the object."""
    request: RequestStatus | None = None
    """Answer to the newest request."""
    conditions: Conditions = Field(default_factory=tuple)
    """What is true of the deployment."""
    wish: Wish | None = None
    """What spec asks for, resolved."""
    champion: Arm | None = None
    """The revision that serves."""
    candidate: CandidateArm | None = None
    """The revision that is on trial."""
    previous: Arm | None = None
    """The champion before; kept through probation and holdback."""
    holdback: HoldbackStatus | None = None
    """The share that the champion before keeps, or has kept, after the promotion."""
    traffic: Annotated[tuple[TrafficStatus, ...], MaxLen(3), by("revision")] = Field(
        default_factory=tuple
    )
    """Who gets which share, as programmed and not as asked."""
    weight: Annotated[int, Ge(0), Le(100)] | None = None
    """The candidate's share, as programmed."""
    url: Text512 | None = None
    """Where the model answers."""
    step: StepStatus | None = None
    """Where the rollout stands; absent when none runs."""
    decision: Decision | None = None
    """The newest decision; recorded before it is performed."""
    analysis: AnalysisStatus | None = None
    """The evidence, and what it says."""
    inputs: InputsStatus | None = None
    """How the candidate's inputs differ from the champion's."""
    rejected: Annotated[tuple[Rejected, ...], MaxLen(10), by("hash")] = Field(default_factory=tuple)
    """Revisions that get no traffic any more, newest first."""
    history: Annotated[tuple[HistoryEntry, ...], MaxLen(20)] = Field(default_factory=tuple)
    """Revisions that had traffic, newest first."""
    replicas: Replicas | None = None
    """Pods of the arms."""


class ModelDeployment(Resource):
    """A model that serves. When the version that is asked for changes, the new one takes traffic
    step by step, compared with the old one all the way, and is taken back when it is worse."""

    KIND: ClassVar[str] = "ModelDeployment"
    PLURAL: ClassVar[str] = "modeldeployments"
    SHORT_NAME: ClassVar[str] = "mdep"
    ISSUE: ClassVar[int] = 1

    kind: Literal["ModelDeployment"] = "ModelDeployment"
    spec: ModelDeploymentSpec
    """Which model serves, where, and how a newer version takes its place."""
    status: ModelDeploymentStatus = Field(default_factory=ModelDeploymentStatus)
    """What serves, and where the rollout stands; written by Linnet."""
