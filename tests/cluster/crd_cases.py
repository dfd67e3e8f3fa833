"""What the API server accepts and refuses: one pair of manifests for every rule.

A manifest is a base and what differs, as dotted paths; `...` takes a field away. The refused and
the accepted manifest of a pair lie as close together as the rule allows.
"""

import copy
from dataclasses import dataclass, field
from typing import Any

Change = dict[str, Any]

TABLE = {"uri": "s3://data/flights/weather/*.parquet"}

TRAINING_SPEC: dict[str, Any] = {
    "model": {"name": "delays"},
    "data": {"table": TABLE, "target": "late", "timestamp": "sched_dep"},
    "pipeline": {"estimator": {"class": "LogisticRegression"}},
    "gates": [{"name": "good-enough", "metric": "roc_auc", "minimum": "0.60"}],
}
BASES: dict[str, dict[str, Any]] = {
    "TrainingJob": {"spec": TRAINING_SPEC},
    "ModelDeployment": {"spec": {"model": {"name": "delays"}}},
    "DriftPolicy": {
        "spec": {
            "modelDeploymentRef": {"name": "delays"},
            "source": {"table": {**TABLE, "timestamp": "sched_dep"}},
        }
    },
}


def manifest(kind: str, change: Change) -> dict[str, Any]:
    """Return the base of a kind with what differs."""
    made: dict[str, Any] = {
        "apiVersion": "linnet.dev/v1alpha1",
        "kind": kind,
        "metadata": {"name": "delays"},
        **copy.deepcopy(BASES[kind]),
    }
    for path, value in change.items():
        put(made, path.split("."), copy.deepcopy(value))
    return made


def put(into: Any, path: list[str], value: Any) -> None:
    *parents, last = (int(part) if part.isdigit() else part for part in path)
    for part in parents:
        into = into[part] if isinstance(part, int) else into.setdefault(part, {})
    if value is ...:
        del into[last]
    else:
        into[last] = value


@dataclass(frozen=True, kw_only=True)
class Pair:
    """A rule with a manifest that breaks it and one that keeps it."""

    kind: str
    message: str
    refused: Change
    accepted: Change = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Update:
    """A rule about a change of an object that exists."""

    kind: str
    message: str
    refused: Change
    accepted: Change


def training(message: str, refused: Change, accepted: Change | None = None) -> Pair:
    return Pair(kind="TrainingJob", message=message, refused=refused, accepted=accepted or {})


def deployment(message: str, refused: Change, accepted: Change | None = None) -> Pair:
    return Pair(kind="ModelDeployment", message=message, refused=refused, accepted=accepted or {})


def policy(message: str, refused: Change, accepted: Change | None = None) -> Pair:
    return Pair(kind="DriftPolicy", message=message, refused=refused, accepted=accepted or {})


NAME = (
    "metadata.name must have at most 40 characters: lower-case letters, digits and '-', a letter "
    "first, no '-' at the end"
)
ALIAS = "model.alias must not be 'latest' or 'v<number>': MLflow reserves them"
CHAMPION_ALIAS = "model.championAlias must not be 'latest' or 'v<number>': MLflow reserves them"
ALIASES_DIFFER = "model.alias and model.championAlias must differ"
MODEL_NAME = (
    "model.name must be a registered model's, of letters, digits, ' ', '.', '_' and '-'; write an "
    "alias where you would write a stage or a models:/ URI"
)
SOURCES = "data must have exactly one of `table`, `feast`, `predictionLog`"
PIPELINES = "spec must have exactly one of `pipeline`, `module`, `custom`"
TARGET = (
    "data.target is required, except with `task: Clustering` or `data.predictionLog`, where it "
    "must be absent"
)
GATES = (
    "a gate must have exactly one of `minimum`, `notWorseThan`, `schema`, `overfit`, `fairness`, "
    "`latency`, `size`, `documented`, `featureSet`"
)
GATE_METRIC = (
    "`metric` is required with `minimum`, `notWorseThan`, `overfit` and `fairness`, and only there"
)
GATE_MARGIN = "`margin`, `confidence` and `unit` belong to `notWorseThan`"
UNIT_ROW = (
    "gates: `unit: Row` is accepted only without data.timestamp and data.groups: rows of one day "
    "or group are not independent"
)
UNIT_NEEDED = (
    "gates: `notWorseThan` needs data.timestamp or data.groups, or `unit: Row` written out"
)
HOLDOUT = "holdout must have at most one of `fraction` and `period`"
FRACTION = "holdout.fraction must be from 0.05 to 0.5"
PARAMETER = (
    "a search parameter must have exactly one of `uniform`, `logUniform`, `int`, `logInt`, "
    "`categorical`"
)
MIN_MAX = "min must be less than max"
LABELS = (
    "template.labels must not use the prefixes 'linnet.dev/' and 'app.kubernetes.io/': Linnet "
    "writes those"
)
ANNOTATIONS = (
    "template.annotations must not use the prefixes 'linnet.dev/' and 'app.kubernetes.io/': Linnet "
    "writes those"
)
ENV = "an env entry must have at most one of `value` and `valueFrom`"
ENV_NAME = "template.env must not set names that start with 'LINNET_': Linnet writes those"
VOLUME = (
    "a volume must have exactly one of `configMap`, `secret`, `persistentVolumeClaim`, `emptyDir`"
)
MOUNT = "mountPath must not lie in '/etc/linnet' or '/var/run/linnet'"
MOUNT_FORM = "mountPath must be an absolute path without '//', '.' and '..'"
STEP = "a step must have exactly one of `shadow`, `weight`, `cohort`"
STICKY = "`sticky` belongs to a step with a weight below 100"
FEATURES = {"feast": {"repoUri": "s3://a", "featureService": "f", "entityKeys": ["a"]}}
LAST_HOLD = "`hold` of the step with weight 100 takes only `minDuration`"
SHADOW_FIRST = "`shadow` and `cohort` steps must come before the first weight"
ASCEND = "weights must strictly ascend"
NEED_ROUTE = "strategy: `cohort`, `sticky` and `testHeader` need `route`"
HOLDBACK_ROUTE = "strategy.holdback needs `route`: without one a share is a number of pods"
NEED_LOG = (
    "analysis.metrics: `labelledOutcome`, `pairedOutcome` and `pairedScore` need `predictionLog`"
)
NEED_SHADOW = (
    "analysis.metrics: `disagreement`, `pairedOutcome` and `pairedScore` need a `shadow` step"
)
METRIC = (
    "a metric must have exactly one of `errorRate`, `latencyHistogram`, `disagreement`, "
    "`driftBuckets`, `objective`, `gaugePromQL`, `labelledOutcome`, `pairedOutcome`, `pairedScore`"
)
TOLERANCE = (
    "only `errorRate`, `latencyHistogram`, `driftBuckets`, `labelledOutcome` and `pairedOutcome` "
    "take a `tolerance`"
)
MARGIN = "only `errorRate`, `latencyHistogram` and `labelledOutcome` take a `margin`"
SOURCE = "only `errorRate`, `latencyHistogram` and `objective` take a `source`"
PRECISION = "dispersion.precision belongs to mode 'Fixed', which needs it"
SIGNAL = (
    "a signal must have exactly one of `dataDrift`, `predictionDrift`, `dataQuality`, "
    "`performance`, `estimatedPerformance`"
)
MOVING_WINDOW = (
    "retrain.template: data.window must move with the check: use `lookback` and "
    "`until: CheckWindowEnd`"
)
LOOKBACK = "window.lookback must be whole days, such as 24h or 168h"

FROM, UNTIL = "2013-01-01T00:00:00Z", "2013-04-01T00:00:00Z"
LOG = {"modelDeploymentRef": {"name": "delays"}}
FEAST = {"repoUri": "s3://data/feast", "featureService": "delays_v2", "entities": TABLE}
FROM_LOG: Change = {"spec.data": {"predictionLog": LOG}}
FROM_FEAST: Change = {"spec.data.table": ..., "spec.data.feast": FEAST}
CLUSTERS: Change = {"spec.data.target": ..., "spec.task": "Clustering"}
NO_TIME: Change = {"spec.data.timestamp": ...}
GROUPED: Change = {"spec.data.groups": "tail_number"}
NEVER_WORSE = {"name": "never-worse", "metric": "roc_auc", "notWorseThan": "Champion"}
SEARCH = "spec.search.parameters"
ROUTE: Change = {"spec.route": {"parentRefs": [{"name": "eg"}]}}
WHOLE = {"weight": 100}
COHORT = {"header": "x-cohort", "championValue": "a", "candidateValue": "b"}
PREDICTION_LOG: Change = {"spec.predictionLog.uri": "s3://linnet/log"}


def never_worse(**more: str) -> Change:
    return {"spec.gates": [{**NEVER_WORSE, **more}]}


def gate(**fields: Any) -> Change:
    return {"spec.gates": [{"name": "a", **fields}]}


def steps(*each: dict[str, Any]) -> Change:
    return {"spec.strategy.steps": list(each)}


def metric(**fields: Any) -> Change:
    return {"spec.analysis.metrics": [{"name": "a", **fields}]}


def volume(**fields: Any) -> Change:
    return {"spec.template.volumes": [{"name": "a", "mountPath": "/data", **fields}]}


def parameter(**fields: Any) -> Change:
    return {SEARCH: [{"name": "C", **fields}]}


def on_ray(address: str) -> Change:
    return parameter(int={"min": 1, "max": 3}) | {
        "spec.search.engine": "RayTune",
        "spec.search.ray.address": address,
    }


def retrain(**fields: Any) -> Change:
    return {"spec.retrain": {"template": {"spec": TRAINING_SPEC}, **fields}}


def retrain_spec(change: Change) -> Change:
    return {
        "spec.retrain.template.spec": TRAINING_SPEC,
        **{f"spec.retrain.template.{path}": value for path, value in change.items()},
    }


TRAINING = [
    training(NAME, {"metadata.name": "a" * 41}, {"metadata.name": "a" * 40}),
    training(NAME, {"metadata.name": "9to5"}, {"metadata.name": "nine-to-5"}),
    training(NAME, {"metadata.name": "delays.v2"}, {"metadata.name": "delays-v2"}),
    training(MODEL_NAME, {"spec.model.name": "models:/delays/Production"}),
    training(ALIAS, {"spec.model.alias": "latest"}, {"spec.model.alias": "newest"}),
    training(ALIAS, {"spec.model.alias": "v3"}, {"spec.model.alias": ""}),
    training(
        CHAMPION_ALIAS, {"spec.model.championAlias": "v10"}, {"spec.model.championAlias": "v10a"}
    ),
    training(
        ALIASES_DIFFER,
        {"spec.model.alias": "champion"},
        {"spec.model.alias": "", "spec.model.championAlias": ""},
    ),
    training(SOURCES, {"spec.data.feast": FEAST}, FROM_FEAST),
    training(
        "data.feast needs data.timestamp: the time as of which a row's features are looked up",
        FROM_FEAST | {"spec.data.timestamp": ...},
        FROM_FEAST,
    ),
    training(SOURCES, {"spec.data.table": ...}, FROM_LOG),
    training(
        TARGET, {"spec.data.target": ...}, {"spec.data.target": ..., "spec.task": "Clustering"}
    ),
    training(TARGET, {"spec.task": "Clustering"}, {"spec.task": "Regression"}),
    training(
        "`task: Clustering` takes `pipeline` or `custom`",
        CLUSTERS | {"spec.pipeline": ..., "spec.module": {"configMapName": "a", "entry": "b"}},
        CLUSTERS,
    ),
    training(
        "search is not for `task: Clustering`: there is no answer to score",
        CLUSTERS | {"spec.search": {"parameters": [{"name": "a", "int": {"min": 1, "max": 2}}]}},
        CLUSTERS,
    ),
    training(
        "gates: with `task: Clustering` a gate has `minimum`, `size` or `documented`",
        CLUSTERS | gate(latency={"maximum": "5ms"}),
        CLUSTERS | gate(size={"maximum": "1Mi"}),
    ),
    training(TARGET, {"spec.data": {"predictionLog": LOG, "target": "late"}}, FROM_LOG),
    training(
        "data.timestamp must be absent with data.predictionLog: it is the event time",
        {"spec.data": {"predictionLog": LOG, "timestamp": "event_time"}},
        FROM_LOG,
    ),
    training(
        "data.window must have at most one of `from` and `lookback`",
        {"spec.data.window": {"from": FROM, "lookback": "24h"}},
        {"spec.data.window": {"lookback": "24h"}},
    ),
    training(
        "data.window needs data.timestamp",
        {"spec.data.timestamp": ..., "spec.data.window": {"until": UNTIL}},
        {"spec.data": {"predictionLog": LOG, "window": {"until": UNTIL}}},
    ),
    training(
        "data.window.from must be before data.window.until",
        {"spec.data.window": {"from": UNTIL, "until": UNTIL}},
        {"spec.data.window": {"from": "2013-04-01T00:00:00+01:00", "until": UNTIL}},
    ),
    training(
        "data.window.until 'CheckWindowEnd' is for the template of a DriftPolicy; write a time",
        {"spec.data.window": {"lookback": "24h", "until": "CheckWindowEnd"}},
        {"spec.data.window": {"lookback": "24h", "until": UNTIL}},
    ),
    training(
        PIPELINES,
        {"spec.module": {"configMapName": "code", "entry": "make"}},
        {"spec.pipeline": ..., "spec.module": {"configMapName": "code", "entry": "make"}},
    ),
    training(
        PIPELINES,
        {"spec.pipeline": ...},
        {"spec.pipeline": ..., "spec.custom": {}, "spec.template.image": "me/trainer:1"},
    ),
    training(
        "`custom` needs template.image",
        {"spec.pipeline": ..., "spec.custom": {"args": ["train"]}},
        {"spec.pipeline": ..., "spec.custom": {"args": ["train"]}, "spec.template.image": "me/it"},
    ),
    training(
        "columns.drop takes columns away from the inferred ones: give either it or the lists",
        {"spec.pipeline.columns": {"drop": ["tail_number"], "numeric": ["distance"]}},
        {"spec.pipeline.columns": {"drop": ["tail_number"]}},
    ),
    training(
        "validation.splitter 'TimeSeriesSplit' needs data.timestamp",
        NO_TIME | {"spec.validation.splitter": "TimeSeriesSplit"},
        FROM_LOG | {"spec.validation.splitter": "TimeSeriesSplit"},
    ),
    training(
        "validation.gap is for `splitter: TimeSeriesSplit`",
        {"spec.validation": {"splitter": "KFold", "gap": "24h"}},
        {"spec.validation": {"gap": "24h"}},
    ),
    training(
        "validation.holdout.purgeGroups needs data.groups",
        {"spec.validation.holdout": {"purgeGroups": True}},
        GROUPED | {"spec.validation.holdout": {"purgeGroups": True}},
    ),
    training(
        "data.positiveClass is for `task: Classification`",
        {"spec.task": "Regression", "spec.data.positiveClass": "true"},
        {"spec.data.positiveClass": "true"},
    ),
    training(
        "pipeline.calibration is for `task: Classification`",
        {"spec.task": "Regression", "spec.pipeline.calibration": "Sigmoid"},
        {"spec.task": "Regression", "spec.pipeline.calibration": "None"},
    ),
    training(
        "pipeline.thresholdMetric is for `task: Classification`",
        {"spec.task": "Regression", "spec.pipeline.thresholdMetric": "f1"},
        {"spec.pipeline.thresholdMetric": "f1", "spec.pipeline.calibration": "Isotonic"},
    ),
    training(
        "validation.splitter 'StratifiedKFold' and 'StratifiedGroupKFold' are for "
        "`task: Classification`",
        {"spec.task": "Regression", "spec.validation.splitter": "StratifiedKFold"},
        {"spec.task": "Regression", "spec.validation.splitter": "KFold"},
    ),
    training(
        "gates: with `task: Regression` a `margin` is in units of the target: write it out",
        {"spec.task": "Regression", **never_worse(metric="neg_mean_absolute_error")},
        {"spec.task": "Regression", **never_worse(metric="neg_mean_absolute_error", margin="1.5")},
    ),
    training(
        "validation.splitter 'GroupKFold' and 'StratifiedGroupKFold' need data.groups",
        {"spec.validation.splitter": "StratifiedGroupKFold"},
        GROUPED | {"spec.validation.splitter": "StratifiedGroupKFold"},
    ),
    training(
        "validation.splitter 'GroupKFold' and 'StratifiedGroupKFold' need data.groups",
        {"spec.validation.splitter": "GroupKFold"},
        {"spec.validation.splitter": "KFold"},
    ),
    training(
        "validation.holdout.by 'Time' needs data.timestamp",
        NO_TIME | {"spec.validation.holdout.by": "Time"},
        {"spec.validation.holdout.by": "Time"},
    ),
    training(
        "validation.holdout.by 'Group' needs data.groups",
        {"spec.validation.holdout.by": "Group"},
        GROUPED | {"spec.validation.holdout.by": "Group"},
    ),
    training(
        FRACTION,
        {"spec.validation.holdout.fraction": "0.51"},
        {"spec.validation.holdout.fraction": "0.5"},
    ),
    training(
        FRACTION,
        {"spec.validation.holdout.fraction": "0.0499"},
        {"spec.validation.holdout.fraction": "0.05"},
    ),
    training(
        HOLDOUT,
        {"spec.validation.holdout": {"fraction": "0.2", "period": "744h"}},
        {"spec.validation.holdout": {"period": "744h"}},
    ),
    training(
        "holdout.period is for `by: Time`",
        {"spec.validation.holdout": {"by": "Random", "period": "744h"}},
        {"spec.validation.holdout": {"by": "Time", "period": "744h"}},
    ),
    training(
        "holdout.period is for `by: Time`",
        NO_TIME | {"spec.validation.holdout": {"period": "744h"}},
        FROM_LOG | {"spec.validation.holdout": {"period": "744h"}},
    ),
    training(
        "`engine: RayTune` needs search.ray",
        parameter(int={"min": 1, "max": 3}) | {"spec.search.engine": "RayTune"},
        on_ray("local"),
    ),
    training(
        "data.feast needs `search.engine: Optuna`: Feast and Ray are in images of their own",
        FROM_FEAST | on_ray("local"),
        on_ray("local"),
    ),
    training(
        "search.ray.address must be 'local' or 'host:port' of the cluster's head",
        on_ray("ray://head:10001"),
        on_ray("head.team.svc:6379"),
    ),
    training(
        "search.storage is for `engine: Optuna`: with RayTune the pod keeps the study",
        on_ray("local") | {"spec.search.storage.secretRef.name": "studies"},
        on_ray("local"),
    ),
    training(
        "search.ray needs `engine: RayTune`",
        parameter(int={"min": 1, "max": 3}) | {"spec.search.ray.address": "local"},
        parameter(int={"min": 1, "max": 3}),
    ),
    training(
        PARAMETER,
        parameter(int={"min": 1, "max": 3}, uniform={"min": "0", "max": "1"}),
        parameter(uniform={"min": "-1.5", "max": "1e3"}),
    ),
    training(PARAMETER, parameter(), parameter(categorical={"choices": ["l1", "null"]})),
    training(
        MIN_MAX,
        parameter(uniform={"min": "1", "max": "1.0"}),
        parameter(uniform={"min": "9", "max": "10"}),
    ),
    training(
        MIN_MAX,
        parameter(int={"min": 3, "max": 3}),
        parameter(int={"min": -3, "max": 3, "step": 2}),
    ),
    training(
        "`logUniform` wants 0 < min < max",
        parameter(logUniform={"min": "0", "max": "10"}),
        parameter(logUniform={"min": "0.01", "max": "10"}),
    ),
    training(
        "`logInt` wants 0 < min < max",
        parameter(logInt={"min": 0, "max": 10}),
        parameter(logInt={"min": 1, "max": 10}),
    ),
    training(GATES, gate(), gate(size={"maximum": "10Mi"})),
    training(
        "gates: `documented` needs data.dictionary",
        gate(documented={}),
        gate(documented={}) | {"spec.data.dictionary": {"uri": "s3://data/dictionary.csv"}},
    ),
    training(
        "gates: `featureSet` needs data.feast",
        gate(featureSet={}),
        gate(featureSet={}) | FROM_FEAST,
    ),
    training(
        GATES,
        gate(metric="roc_auc", minimum="0.6", overfit={"maxDrop": "0.05"}),
        gate(metric="roc_auc", overfit={"maxDrop": "0.05"}),
    ),
    training(GATE_METRIC, gate(minimum="0.6"), gate(minimum="0.6", metric="roc_auc")),
    training(
        GATE_METRIC,
        gate(metric="roc_auc", latency={"maximum": "5ms"}),
        gate(latency={"maximum": "5ms"}),
    ),
    training(
        GATE_METRIC,
        gate(fairness={"column": "origin", "maxDifference": "0.1"}),
        gate(metric="roc_auc", fairness={"column": "origin", "maxDifference": "0.1"}),
    ),
    training(
        GATE_MARGIN,
        gate(metric="roc_auc", minimum="0.6", margin="0.02"),
        never_worse(margin="0.02", confidence="0.95", unit="Day"),
    ),
    training(
        "gates: `unit: Day` needs data.timestamp",
        NO_TIME | GROUPED | never_worse(unit="Day"),
        FROM_LOG | never_worse(unit="Day"),
    ),
    training(
        "gates: `unit: Group` needs data.groups",
        never_worse(unit="Group"),
        GROUPED | never_worse(unit="Group"),
    ),
    training(UNIT_ROW, never_worse(unit="Row"), NO_TIME | never_worse(unit="Row")),
    training(
        UNIT_ROW, NO_TIME | GROUPED | never_worse(unit="Row"), NO_TIME | GROUPED | never_worse()
    ),
    training(UNIT_ROW, FROM_LOG | never_worse(unit="Row"), FROM_LOG | never_worse()),
    training(UNIT_NEEDED, NO_TIME | never_worse(), NO_TIME | never_worse(unit="Row")),
    training(
        LABELS,
        {"spec.template.labels": {"linnet.dev/revision": "mine"}},
        {"spec.template.labels": {"linnet.example.com/revision": "mine"}},
    ),
    training(
        ANNOTATIONS,
        {"spec.template.annotations": {"app.kubernetes.io/name": "mine"}},
        {"spec.template.annotations": {"sidecar.istio.io/inject": "false"}},
    ),
    training(
        ENV,
        {
            "spec.template.env": [
                {
                    "name": "A",
                    "value": "1",
                    "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}},
                }
            ]
        },
        {
            "spec.template.env": [
                {"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}
            ]
        },
    ),
    training(
        ENV_NAME,
        {"spec.template.env": [{"name": "LINNET_SPEC", "value": "1"}]},
        {"spec.template.env": [{"name": "MY_LINNET_SPEC", "value": "1"}]},
    ),
    training(VOLUME, volume(), volume(emptyDir={})),
    training(
        VOLUME,
        volume(configMap={"name": "a"}, secret={"secretName": "a"}),
        volume(persistentVolumeClaim={"claimName": "a"}, readOnly=False),
    ),
    training(
        MOUNT,
        volume(emptyDir={}, mountPath="/etc/linnet"),
        volume(emptyDir={}, mountPath="/etc/linnets"),
    ),
    training(
        MOUNT,
        volume(emptyDir={}, mountPath="/var/run/linnet/work"),
        volume(emptyDir={"sizeLimit": "1Gi"}, mountPath="/var/run/mine"),
    ),
    training(
        MOUNT_FORM, volume(emptyDir={}, mountPath="data"), volume(emptyDir={}, mountPath="/data")
    ),
    training(
        MOUNT_FORM,
        volume(emptyDir={}, mountPath="/data/../etc/linnet"),
        volume(emptyDir={}, mountPath="/data/.cache"),
    ),
    training(
        MOUNT_FORM,
        volume(emptyDir={}, mountPath="/etc//linnet"),
        volume(emptyDir={}, mountPath="/etc/mine/"),
    ),
]

DEPLOYMENT = [
    deployment(NAME, {"metadata.name": "a" * 41}, {"metadata.name": "a" * 40}),
    deployment(MODEL_NAME, {"spec.model.name": "models:/delays@champion"}),
    deployment(ALIAS, {"spec.model.alias": "v1"}, {"spec.model.alias": "vintage"}),
    deployment(
        CHAMPION_ALIAS, {"spec.model.championAlias": "latest"}, {"spec.model.championAlias": ""}
    ),
    deployment(
        "model must have at most one of `alias` and `version`",
        {"spec.model.alias": "challenger", "spec.model.version": "8"},
        {"spec.model.version": "8"},
    ),
    deployment(
        ALIASES_DIFFER,
        {"spec.model.alias": "champion"},
        {"spec.model.alias": "champion", "spec.model.championAlias": "live"},
    ),
    deployment(
        "model.championAlias must differ from the default alias 'challenger'",
        {"spec.model.championAlias": "challenger"},
        {"spec.model.championAlias": "challenger", "spec.model.version": "8"},
    ),
    deployment(
        "autoscaling.minReplicas must not exceed maxReplicas",
        {"spec.server.autoscaling": {"minReplicas": 3, "maxReplicas": 2}},
        {"spec.server.autoscaling": {"minReplicas": 2, "maxReplicas": 2}},
    ),
    deployment(
        "redact with action 'Hash' needs predictionLog.saltSecretName",
        PREDICTION_LOG | {"spec.predictionLog.redact": [{"column": "a", "action": "Hash"}]},
        PREDICTION_LOG | {"spec.predictionLog.redact": [{"column": "a", "action": "Drop"}]},
    ),
    deployment(
        "redact with action 'Hash' needs predictionLog.saltSecretName",
        PREDICTION_LOG
        | {
            "spec.predictionLog.redact": [
                {"column": "a", "action": "Drop"},
                {"column": "b", "action": "Hash"},
            ]
        },
        PREDICTION_LOG
        | {
            "spec.predictionLog.redact": [{"column": "b", "action": "Hash"}],
            "spec.predictionLog.saltSecretName": "salt",
        },
    ),
    deployment(
        "feedback.expose 'Route' needs feedback.tokenSecretName",
        ROUTE | PREDICTION_LOG | {"spec.predictionLog.feedback": {"expose": "Route"}},
        ROUTE
        | PREDICTION_LOG
        | {"spec.predictionLog.feedback": {"expose": "Route", "tokenSecretName": "token"}},
    ),
    deployment(
        "feedback.expose 'Route' needs spec.route",
        PREDICTION_LOG
        | {"spec.predictionLog.feedback": {"expose": "Route", "tokenSecretName": "token"}},
        PREDICTION_LOG | {"spec.predictionLog.feedback": {"tokenSecretName": "token"}},
    ),
    deployment(
        "predictionLog.sink must have at most one of `http` and `kafka`",
        PREDICTION_LOG
        | {
            "spec.predictionLog.sink": {
                "http": {"url": "http://broker/"},
                "kafka": {"bootstrapServers": ["k:9092"], "topic": "t"},
            }
        },
        PREDICTION_LOG
        | {"spec.predictionLog.sink": {"kafka": {"bootstrapServers": ["k:9092"], "topic": "t"}}},
    ),
    deployment(
        "the last step must be `weight: 100`",
        steps({"weight": 5}, {"weight": 50}),
        steps({"weight": 5}, WHOLE),
    ),
    deployment("the last step must be `weight: 100`", steps({"shadow": {}}), steps(WHOLE)),
    deployment(
        SHADOW_FIRST,
        steps({"weight": 5}, {"shadow": {}}, WHOLE),
        steps({"shadow": {}}, {"weight": 5}, WHOLE),
    ),
    deployment(
        SHADOW_FIRST,
        ROUTE | steps({"weight": 5}, {"cohort": COHORT}, WHOLE),
        ROUTE | steps({"cohort": COHORT}, {"shadow": {"percent": 50}}, WHOLE),
    ),
    deployment(
        ASCEND,
        steps({"weight": 50}, {"weight": 25}, WHOLE),
        steps({"weight": 25}, {"weight": 50}, WHOLE),
    ),
    deployment(
        ASCEND,
        steps({"weight": 25}, {"weight": 25}, WHOLE),
        steps({"weight": 25}, {"weight": 26}, WHOLE),
    ),
    deployment(ASCEND, steps(WHOLE, WHOLE), steps({"weight": 99}, WHOLE)),
    deployment(
        STEP,
        steps({"shadow": {}, "weight": 5}, WHOLE),
        steps({"shadow": {}}, {"weight": 5}, WHOLE),
    ),
    deployment(STEP, steps({"hold": {}}, WHOLE), steps({"weight": 1, "hold": {}}, WHOLE)),
    deployment(
        STICKY,
        ROUTE | steps({"weight": 100, "sticky": {"cookie": "c"}}),
        ROUTE | steps({"weight": 99, "sticky": {"cookie": "c"}}, WHOLE),
    ),
    deployment(
        STICKY,
        ROUTE | steps({"cohort": COHORT, "sticky": {"cookie": "c"}}, WHOLE),
        ROUTE | steps({"cohort": COHORT}, {"weight": 50, "sticky": {"header": "c"}}, WHOLE),
    ),
    deployment(
        "sticky must have exactly one of `header` and `cookie`",
        ROUTE | steps({"weight": 50, "sticky": {"cookie": "c", "header": "h"}}, WHOLE),
        ROUTE | steps({"weight": 50, "sticky": {"header": "h"}}, WHOLE),
    ),
    *(
        deployment(
            LAST_HOLD,
            steps({"weight": 100, "hold": {"minDuration": "5s", **hold}}),
            steps({"weight": 99, "hold": {"minDuration": "5s", **hold}}, WHOLE),
        )
        for hold in (
            {"minCandidateRequests": 100},
            {"advanceWhen": "Evidence"},
            {"maxDuration": "10m"},
            {"onTimeout": "Pause"},
        )
    ),
    deployment(
        "hold.minDuration must not exceed hold.maxDuration",
        steps({"weight": 5, "hold": {"minDuration": "61s", "maxDuration": "1m"}}, WHOLE),
        steps({"weight": 5, "hold": {"minDuration": "60s", "maxDuration": "1m"}}, WHOLE),
    ),
    deployment(
        NEED_ROUTE,
        steps({"cohort": COHORT}, WHOLE),
        ROUTE | steps({"cohort": COHORT}, WHOLE),
    ),
    deployment(
        NEED_ROUTE,
        steps({"weight": 50, "sticky": {"cookie": "c"}}, WHOLE),
        ROUTE | steps({"weight": 50, "sticky": {"cookie": "c"}}, WHOLE),
    ),
    deployment(
        NEED_ROUTE,
        {"spec.strategy.testHeader": {"name": "x-test", "value": "1"}},
        ROUTE | {"spec.strategy.testHeader": {"name": "x-test", "value": "1"}},
    ),
    deployment(
        HOLDBACK_ROUTE,
        {"spec.strategy.holdback": {"percent": 5, "duration": "1h"}},
        ROUTE | {"spec.strategy.holdback": {"percent": 5, "duration": "1h"}},
    ),
    deployment("features must have `feast`", {"spec.features": {}}, {"spec.features": FEATURES}),
    deployment(
        "features.timeout must be between 1ms and 30s",
        {"spec.features": FEATURES | {"timeout": "31s"}},
        {"spec.features": FEATURES | {"timeout": "30s"}},
    ),
    deployment(NEED_LOG, metric(labelledOutcome={}), PREDICTION_LOG | metric(labelledOutcome={})),
    deployment(
        NEED_SHADOW,
        metric(disagreement={"maxRate": "0.1"}),
        metric(disagreement={"maxRate": "0.1"}) | steps({"shadow": {}}, WHOLE),
    ),
    deployment(
        NEED_SHADOW,
        PREDICTION_LOG | metric(pairedScore={}),
        PREDICTION_LOG | metric(pairedScore={}) | steps({"shadow": {}}, WHOLE),
    ),
    deployment(
        "analysis.falseRollbackProbability must be from 0.001 to 0.5",
        {"spec.analysis.falseRollbackProbability": "0.0009"},
        {"spec.analysis.falseRollbackProbability": "0.001"},
    ),
    deployment(
        "analysis.falsePromotionProbability must be from 0.001 to 0.5",
        {"spec.analysis.falsePromotionProbability": "0.51"},
        {"spec.analysis.falsePromotionProbability": "0.5"},
    ),
    deployment(
        "analysis.interval must be from 1s to 5m",
        {"spec.analysis.interval": "999ms"},
        {"spec.analysis.interval": "1000ms"},
    ),
    deployment(
        "analysis.interval must be from 1s to 5m",
        {"spec.analysis.interval": "5m1s"},
        {"spec.analysis.interval": "300s"},
    ),
    deployment(
        PRECISION,
        {"spec.analysis.dispersion.mode": "Fixed"},
        {"spec.analysis.dispersion": {"mode": "Fixed", "precision": 50}},
    ),
    deployment(
        PRECISION,
        {"spec.analysis.dispersion.precision": 50},
        {"spec.analysis.dispersion.mode": "Exact"},
    ),
    deployment(METRIC, metric(), metric(errorRate={})),
    deployment(
        METRIC,
        metric(errorRate={}, latencyHistogram={}),
        metric(latencyHistogram={}, importance=2),
    ),
    deployment(
        TOLERANCE,
        metric(objective={"maxRate": "0.01"}, tolerance="1.1"),
        metric(driftBuckets={}, tolerance="1.1"),
    ),
    deployment(
        MARGIN, metric(driftBuckets={}, margin="2"), metric(latencyHistogram={}, margin="2")
    ),
    deployment(
        SOURCE,
        metric(driftBuckets={}, source={"promQL": {"total": "a", "bad": "b"}}),
        metric(errorRate={}, source={"promQL": {"total": "a", "bad": "b"}}),
    ),
    deployment(
        LABELS,
        {"spec.server.template.labels": {"app.kubernetes.io/name": "mine"}},
        {"spec.server.template.labels": {"team": "ops"}},
    ),
    deployment(
        ENV_NAME,
        PREDICTION_LOG | {"spec.predictionLog.collector.template.env": [{"name": "LINNET_SHARD"}]},
        PREDICTION_LOG | {"spec.predictionLog.collector.template.env": [{"name": "SHARD"}]},
    ),
]

POLICY = [
    policy(NAME, {"metadata.name": "a" * 41}, {"metadata.name": "a" * 40}),
    policy(
        "source must have exactly one of `table` and `predictionLog`",
        {"spec.source.predictionLog": {}},
        {"spec.source": {"predictionLog": {}}},
    ),
    policy(
        "source must have exactly one of `table` and `predictionLog`",
        {"spec.source": {}},
    ),
    policy(LOOKBACK, {"spec.window.lookback": "36h"}, {"spec.window.lookback": "48h"}),
    policy(LOOKBACK, {"spec.window.lookback": "0h"}, {"spec.window.lookback": "24h"}),
    policy(LOOKBACK, {"spec.window.lookback": "23h"}, {"spec.window.lookback": "1440m"}),
    policy(
        "reference must have at most one of `table` and `version`",
        {"spec.reference": {"version": "7", "table": {**TABLE, "timestamp": "t"}}},
        {"spec.reference": {"table": {**TABLE, "timestamp": "t"}}},
    ),
    policy(
        "reference.table.window.from must be before reference.table.window.until",
        {
            "spec.reference.table": {
                **TABLE,
                "timestamp": "t",
                "window": {"from": UNTIL, "until": FROM},
            }
        },
        {
            "spec.reference.table": {
                **TABLE,
                "timestamp": "t",
                "window": {"from": FROM, "until": UNTIL},
            }
        },
    ),
    policy(
        "alarm.falseAlarmProbability must be from 0.001 to 0.5",
        {"spec.alarm.falseAlarmProbability": "0.6"},
        {"spec.alarm.falseAlarmProbability": "0.5"},
    ),
    policy(
        SIGNAL,
        {"spec.signals": [{"name": "a"}]},
        {"spec.signals": [{"name": "a", "dataQuality": {"maxMissing": "0.05"}}]},
    ),
    policy(
        SIGNAL,
        {"spec.signals": [{"name": "a", "dataDrift": {}, "predictionDrift": {}}]},
        {"spec.signals": [{"name": "a", "dataDrift": {}}, {"name": "b", "predictionDrift": {}}]},
    ),
    policy(
        "signal `performance` needs labels: source.predictionLog, or source.table with `target`",
        {"spec.signals": [{"name": "a", "performance": {"metric": "roc_auc", "minimum": "0.6"}}]},
        {
            "spec.source.table.target": "late",
            "spec.signals": [{"name": "a", "performance": {"metric": "roc_auc", "minimum": "0.6"}}],
        },
    ),
    policy(
        "retrain.when.breaches must not exceed `of`",
        retrain(when={"breaches": 4}),
        retrain(when={"breaches": 3}),
    ),
    policy(
        MOVING_WINDOW,
        retrain_spec({"spec.data.window": {"from": FROM, "until": "CheckWindowEnd"}}),
        retrain_spec({"spec.data.window": {"lookback": "2160h", "until": "CheckWindowEnd"}}),
    ),
    policy(
        LABELS,
        retrain() | {"spec.retrain.template.metadata.labels": {"linnet.dev/a": "b"}},
        retrain() | {"spec.retrain.template.metadata.labels": {"team": "ops"}},
    ),
    policy(
        UNIT_ROW,
        retrain_spec(never_worse(unit="Row")),
        retrain_spec(never_worse(unit="Day")),
    ),
    policy(
        GATES,
        retrain_spec(gate()),
        retrain_spec(gate(size={"maximum": "10Mi"})),
    ),
    policy(ANNOTATIONS, {"spec.template.annotations": {"linnet.dev/a": "b"}}),
]

PAIRS = (*TRAINING, *DEPLOYMENT, *POLICY)

IMMUTABLE = (
    "spec is immutable except `suspend`, `activeDeadlineSeconds` and `ttlSecondsAfterFinished`: "
    "create another TrainingJob"
)
MAY_CHANGE: Change = {
    "spec.suspend": True,
    "spec.activeDeadlineSeconds": 60,
    "spec.ttlSecondsAfterFinished": 0,
}

UPDATES = (
    *(
        Update(kind="TrainingJob", message=IMMUTABLE, refused=change, accepted=MAY_CHANGE)
        for change in (
            {"spec.model.alias": "other"},
            {"spec.credentialsSecretName": "other"},
            {"spec.experiment": "other"},
            {"spec.data.groups": "tail_number"},
            {"spec.data.timestamp": ...},
            {"spec.task": "Regression"},
            {"spec.seed": 1},
            {"spec.pipeline.estimator.parameters": {"C": 0.5}},
            {"spec.pipeline.calibration": "Sigmoid"},
            {"spec.pipeline": ..., "spec.module": {"configMapName": "a", "entry": "b"}},
            {"spec.validation.folds": 6},
            parameter(int={"min": 1, "max": 3}),
            {"spec.gates.0.minimum": "0.61"},
            {"spec.waivers": [{"check": "Imbalance", "reason": "it is mild here"}]},
            {"spec.backoffLimit": 3},
            {"spec.template.image": "other"},
        )
    ),
    Update(
        kind="ModelDeployment",
        message="spec.model.name is immutable: create another ModelDeployment",
        refused={"spec.model.name": "arrivals"},
        accepted={"spec.model.version": "8"},
    ),
)


@dataclass(frozen=True, kw_only=True)
class Form:
    """A value that the type of a field refuses, and one that it accepts."""

    kind: str
    path: str
    refused: tuple[Any, ...]
    accepted: tuple[Any, ...]


def _form(kind: str, path: str, *, refused: tuple[Any, ...], accepted: tuple[Any, ...]) -> Form:
    return Form(kind=kind, path=path, refused=refused, accepted=accepted)


def _held_back(**holdback: Any) -> dict[str, Any]:
    """A spec with a route, which a holdback needs."""
    return {
        "model": {"name": "delays"},
        "route": ROUTE["spec.route"],
        "strategy": {"holdback": holdback},
    }


TJOB, MDEP, DRIFT = "TrainingJob", "ModelDeployment", "DriftPolicy"

FORMS = (
    _form(
        TJOB,
        "spec.model.name",
        refused=("", "-delays", "delays/x", "a" * 129),
        accepted=("Delays 2.0_b", "a" * 128),
    ),
    _form(TJOB, "spec.model.alias", refused=("a b", "a" * 65), accepted=("a_B-9", "a" * 64)),
    _form(TJOB, "spec.experiment", refused=("", "a" * 251), accepted=("a" * 250,)),
    _form(
        TJOB,
        "spec.data.table.uri",
        refused=("/data/a.parquet", "http://a/b", "s3://a b", "s3://"),
        accepted=(
            "pvc://claim/a.csv.gz",
            "file:///data/",
            "gs://a/b-*.parquet",
            "s3://a/[0-9]?.csv",
        ),
    ),
    _form(TJOB, "spec.data.target", refused=("", "a" * 129), accepted=("a column", "a" * 128)),
    _form(
        TJOB,
        "spec.data.window.from",
        refused=("2013-01-01", "2013-13-01T00:00:00Z", "2013-01-01T00:00:00.5Z", "yesterday"),
        accepted=("2013-01-01T00:00:00Z", "2013-01-01T00:00:00-05:00"),
    ),
    _form(
        TJOB,
        "spec.data.window.lookback",
        refused=("90d", "1.5h", "-1h", "h", "", "1234567s"),
        accepted=("90m", "1h30m", "500ms"),
    ),
    _form(TJOB, "spec.task", refused=("classification", "Ranking"), accepted=("Regression",)),
    _form(TJOB, "spec.seed", refused=(-1, 2147483648, "1"), accepted=(0, 2147483647)),
    _form(
        TJOB,
        "spec.pipeline.columns.numeric",
        refused=(["a", "a"], [""], [str(i) for i in range(513)]),
        accepted=([], ["a", "b"], [str(i) for i in range(512)]),
    ),
    _form(TJOB, "spec.pipeline.preprocess.imputer", refused=("KNN",), accepted=("None", "Mean")),
    _form(
        TJOB,
        "spec.pipeline.estimator.class",
        refused=("", "1Class", "a..b", "Class()"),
        accepted=("LogisticRegression", "lightgbm.LGBMClassifier"),
    ),
    _form(
        TJOB,
        "spec.pipeline.estimator.parameters",
        refused=([1], {str(i): i for i in range(65)}),
        accepted=(
            {"C": 1.5, "penalty": None, "class_weight": {"true": 3}, "layers": [1, [2, "a"]]},
            {str(i): i for i in range(64)},
        ),
    ),
    _form(TJOB, "spec.pipeline.thresholdMetric", refused=("", "a" * 65), accepted=("f1",)),
    _form(TJOB, "spec.validation.folds", refused=(1, 21), accepted=(2, 20)),
    _form(
        TJOB,
        "spec.validation.holdout.fraction",
        refused=("0,2", "1.1", ".2", 0.2),
        accepted=("0.25",),
    ),
    _form(
        TJOB,
        "spec.gates",
        refused=(
            [],
            [{"name": "a", "metric": "f1", "minimum": "0.6"}] * 2,
            [{"name": f"g{i}", "metric": "f1", "minimum": "0.6"} for i in range(17)],
        ),
        accepted=([{"name": f"g{i}", "metric": "f1", "minimum": "0.6"} for i in range(16)],),
    ),
    _form(TJOB, "spec.gates.0.name", refused=("Good", "a" * 64, "a_b"), accepted=("a" * 63,)),
    _form(
        TJOB,
        "spec.gates.0.minimum",
        refused=("0.6.1", "+1", "abc", "1e400", 0.6),
        accepted=("-0.5", "1e-3", "123456789012.5"),
    ),
    _form(
        TJOB,
        "spec.waivers",
        refused=(
            [{"check": "Imbalance", "reason": "short"}],
            [{"check": "Everything", "reason": "because I say so"}],
            [{"check": "Imbalance", "reason": "it is mild here"}] * 2,
        ),
        accepted=([{"check": "Leakage", "reason": "it is known and harmless"}],),
    ),
    _form(TJOB, "spec.activeDeadlineSeconds", refused=(0, 31536001), accepted=(1, 31536000)),
    _form(TJOB, "spec.backoffLimit", refused=(-1, 11), accepted=(0, 10)),
    _form(TJOB, "spec.ttlSecondsAfterFinished", refused=(-1, 31536001), accepted=(0, 31536000)),
    _form(
        TJOB,
        "spec.template.resources",
        refused=({"limits": {"memory": "two"}}, {"requests": {str(i): 1 for i in range(9)}}),
        accepted=(
            {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"cpu": 1, "memory": "2e9"}},
        ),
    ),
    _form(
        TJOB,
        "spec.template.affinity",
        refused=(
            {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}
                }
            },
            {
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {"weight": 101, "podAffinityTerm": {"topologyKey": "zone"}}
                    ]
                }
            },
        ),
        accepted=(
            {
                "nodeAffinity": {
                    "requiredDuringSchedulingIgnoredDuringExecution": {
                        "nodeSelectorTerms": [
                            {
                                "matchExpressions": [
                                    {"key": "gpu", "operator": "In", "values": ["a100"]}
                                ]
                            }
                        ]
                    }
                },
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 100,
                            "podAffinityTerm": {
                                "topologyKey": "kubernetes.io/hostname",
                                "labelSelector": {"matchLabels": {"app": "noisy"}},
                            },
                        }
                    ]
                },
            },
        ),
    ),
    _form(
        TJOB,
        "spec.template.tolerations",
        refused=([{"effect": "Never"}],),
        accepted=([{"key": "gpu", "operator": "Exists", "effect": "NoSchedule"}],),
    ),
    _form(
        TJOB,
        "spec.template.topologySpreadConstraints",
        refused=([{"maxSkew": 0, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}],),
        accepted=([{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway"}],),
    ),
    _form(
        MDEP, "spec.model.version", refused=("0", "08", "v8", 8, "1234567890"), accepted=("8", "10")
    ),
    _form(MDEP, "spec.model.alias", refused=("", "a.b"), accepted=("prod-eu",)),
    _form(
        MDEP,
        "spec.model.allowFormats",
        refused=([], ["Skops", "Skops"], ["ONNX"]),
        accepted=(["Skops"], ["Pickle", "Plan", "Skops"]),
    ),
    _form(MDEP, "spec.model.provenance", refused=("None",), accepted=("Required",)),
    _form(
        MDEP,
        "spec.route",
        refused=({}, {"parentRefs": []}, {"parentRefs": [{"name": "eg", "port": 0}]}),
        accepted=(
            {"parentRefs": [{"name": "eg", "namespace": "a", "sectionName": "http", "port": 80}]},
        ),
    ),
    _form(
        MDEP,
        "spec.route",
        refused=(
            {"parentRefs": [{"name": "eg"}], "hostnames": ["Example.com"]},
            {"parentRefs": [{"name": "eg"}], "hostnames": ["a.*.com"]},
            {"parentRefs": [{"name": "eg"}], "pathPrefix": "delays"},
            {"parentRefs": [{"name": "eg"}], "pathPrefix": "/a?b"},
        ),
        accepted=(
            {
                "parentRefs": [{"name": "eg"}],
                "hostnames": ["*.example.com"],
                "pathPrefix": "/a/b~1",
            },
        ),
    ),
    _form(MDEP, "spec.server.replicas", refused=(0, 201), accepted=(1, 200)),
    _form(MDEP, "spec.server.workers", refused=(0, 17), accepted=(1, 16)),
    _form(
        MDEP,
        "spec.server.maxRequestBytes",
        refused=("0", "10M", "1.5Gi", "-1Mi", 10),
        accepted=("10", "10Ki", "2Gi"),
    ),
    _form(
        MDEP,
        "spec.strategy.steps",
        refused=([], [{"weight": 0}, WHOLE], [{"weight": 101}]),
        accepted=([WHOLE],),
    ),
    _form(
        MDEP,
        "spec.strategy.steps",
        refused=([{"weight": i} for i in range(84, 101)],),
        accepted=([{"weight": i} for i in range(85, 101)],),
    ),
    _form(
        MDEP,
        "spec.strategy.steps",
        refused=(
            [{"weight": 5, "hold": {"minCandidateRequests": -1}}, WHOLE],
            [{"weight": 5, "hold": {"onTimeout": "Promote"}}, WHOLE],
        ),
        accepted=(
            [
                {
                    "weight": 5,
                    "hold": {
                        "minDuration": "10s",
                        "minCandidateRequests": 0,
                        "advanceWhen": "Evidence",
                        "maxDuration": "10m",
                        "onTimeout": "Pause",
                    },
                },
                WHOLE,
            ],
        ),
    ),
    _form(
        MDEP,
        "spec",
        refused=(_held_back(percent=21, duration="24h"), _held_back(percent=5)),
        accepted=(_held_back(percent=20, duration="24h"),),
    ),
    _form(
        MDEP,
        "spec.analysis.metrics",
        refused=(
            [],
            [{"name": "a", "errorRate": {"bad": []}}],
            [{"name": "a", "errorRate": {"bad": ["200"]}}],
            [{"name": "a", "errorRate": {"bad": ["5XX"]}}],
            [{"name": "a", "errorRate": {}, "tolerance": "1.23"}],
            [{"name": "a", "errorRate": {}, "margin": "1"}],
            [{"name": "a", "errorRate": {}, "importance": 0}],
            [{"name": "a", "errorRate": {}}] * 2,
        ),
        accepted=(
            [
                {
                    "name": "a",
                    "errorRate": {"bad": ["4xx", "503", "Reset"]},
                    "tolerance": "1",
                    "margin": "30",
                }
            ],
        ),
    ),
    _form(
        MDEP,
        "spec.analysis.dispersion",
        refused=({"mode": "Assumed"}, {"mode": "Fixed", "precision": 4}),
        accepted=({"mode": "Fixed", "precision": 5},),
    ),
    _form(
        MDEP,
        "spec.predictionLog",
        refused=(
            {},
            {"uri": "s3://a", "samplePercent": 0},
            {"uri": "s3://a", "eventTime": "Now"},
            {"uri": "s3://a", "collector": {"replicas": 17}},
            {"uri": "s3://a", "redact": [{"column": "a", "action": "Mask"}]},
            {"uri": "s3://a", "labels": {"uri": "s3://b", "idColumn": "id"}},
        ),
        accepted=(
            {
                "uri": "s3://a",
                "samplePercent": 1,
                "collector": {"volumeSize": "1Gi"},
                "labels": {
                    "uri": "s3://b",
                    "idColumn": "id",
                    "labelColumn": "late",
                    "timestampColumn": "arrived",
                },
            },
        ),
    ),
    _form(
        MDEP,
        "spec.features",
        refused=({"feast": FEATURES["feast"] | {"entityKeys": []}},),
        accepted=(FEATURES,),
    ),
    _form(
        DRIFT, "spec.modelDeploymentRef.name", refused=("Delays", "a" * 41), accepted=("a" * 40,)
    ),
    _form(DRIFT, "spec.schedule", refused=("daily", "a" * 101), accepted=("@daily", "30 6 * * *")),
    _form(DRIFT, "spec.startingDeadlineSeconds", refused=(9, 604801), accepted=(10, 604800)),
    _form(DRIFT, "spec.concurrencyPolicy", refused=("Allow",), accepted=("Replace",)),
    _form(DRIFT, "spec.window.minSamples", refused=(49, 1000000001), accepted=(50, 1000000000)),
    _form(DRIFT, "spec.window.until", refused=("Today",), accepted=("NewestEvent",)),
    _form(DRIFT, "spec.alarm.method", refused=("KS",), accepted=("DayPermutation",)),
    _form(
        DRIFT,
        "spec.signals",
        refused=([], [{"name": "a", "dataDrift": {"numericMethod": "ChiSquare"}}]),
        accepted=(
            [
                {
                    "name": "a",
                    "dataDrift": {
                        "columns": ["temp"],
                        "numericMethod": "KS",
                        "categoricalMethod": "ChiSquare",
                        "perColumn": [{"column": "temp", "method": "PSI", "threshold": "0.1"}],
                        "driftShare": "0.5",
                    },
                }
            ],
        ),
    ),
    _form(
        DRIFT,
        "spec.notify",
        refused=([{"name": "a"}],),
        accepted=([{"name": "a", "urlSecretName": "hook"}],),
    ),
)
