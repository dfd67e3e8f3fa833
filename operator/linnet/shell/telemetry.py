"""Metrics and logs of the operator; controller-runtime's names where it has them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from linnet.api import labels

REGISTRY = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

RECONCILES = Counter(
    "controller_runtime_reconcile",
    "Passes by kind and result.",
    ["controller", "result"],
    registry=REGISTRY,
)
RECONCILE_SECONDS = Histogram(
    "controller_runtime_reconcile_time_seconds",
    "Length of a pass.",
    ["controller"],
    registry=REGISTRY,
)
QUEUE_DEPTH = Gauge("workqueue_depth", "Keys that wait.", ["name"], registry=REGISTRY)
QUEUE_SECONDS = Histogram(
    "workqueue_queue_duration_seconds", "Time from add to pass.", ["name"], registry=REGISTRY
)
QUEUE_RETRIES = Counter("workqueue_retries", "Failed passes.", ["name"], registry=REGISTRY)
API_REQUESTS = Counter(
    "rest_client_requests", "Requests to the API server.", ["code", "method"], registry=REGISTRY
)
LEADER = Gauge(
    "leader_election_master_status", "1 while this process leads.", ["name"], registry=REGISTRY
)
ROLLOUTS = Counter(
    "linnet_rollouts",
    "Ended rollouts.",
    ["namespace", "deployment", "outcome"],
    registry=REGISTRY,
)
TRAININGS = Counter(
    "linnet_training_jobs",
    "Finished TrainingJobs.",
    ["namespace", "outcome", "reason"],
    registry=REGISTRY,
)
CHECKS = Counter(
    "linnet_checks", "Ended drift checks.", ["namespace", "policy", "outcome"], registry=REGISTRY
)
RETRAININGS = Counter(
    "linnet_retrainings",
    "Ended retrainings.",
    ["namespace", "policy", "outcome"],
    registry=REGISTRY,
)
REGISTRY_REQUESTS = Counter(
    "linnet_registry_requests", "Calls of the registry.", ["method", "outcome"], registry=REGISTRY
)
SCRAPES = Counter("linnet_scrapes", "Scrapes of pods.", ["outcome"], registry=REGISTRY)
QUERIES = Counter("linnet_queries", "Queries of Prometheus.", ["outcome"], registry=REGISTRY)
FOREIGN = Gauge(
    "linnet_foreign_owner", "Objects that another install owns.", ["kind"], registry=REGISTRY
)


class StatusCollector(Collector):
    """What the objects' own status says, read when it is asked for.

    Gauges that every pass sets would miss what a restart finds settled, keep what is gone, and
    take more memory than the objects.
    """

    def __init__(self, of_kind: Callable[[str], Iterable[Mapping[str, Any]]]) -> None:
        self._of_kind = of_kind

    def describe(self) -> Iterator[GaugeMetricFamily]:
        return iter(self._families().values())

    def collect(self) -> Iterator[GaugeMetricFamily]:
        families = self._families()
        for kind in labels.OWNER_LABEL:
            for obj in self._of_kind(kind):
                meta, status = obj["metadata"], obj.get("status") or {}
                about = [meta["namespace"], meta["name"]]
                for condition in status.get("conditions") or ():
                    told = [kind, *about, condition["type"], condition["status"]]
                    families["condition"].add_metric(told, 1)
                if kind == "ModelDeployment":
                    self._add_rollout(families, about, status)
                if kind == "DriftPolicy":
                    self._add_drift(families, about, status)
        return iter(families.values())

    @staticmethod
    def _families() -> dict[str, GaugeMetricFamily]:
        deployment = ["namespace", "deployment"]
        return {
            "condition": GaugeMetricFamily(
                "linnet_condition",
                "Conditions as written.",
                labels=["kind", "namespace", "name", "type", "status"],
            ),
            "weight": GaugeMetricFamily(
                "linnet_traffic_weight",
                "Programmed share in percent.",
                labels=[*deployment, "revision", "version"],
            ),
            "evidence": GaugeMetricFamily(
                "linnet_analysis_e", "E of a metric.", labels=[*deployment, "metric"]
            ),
            "rollback": GaugeMetricFamily(
                "linnet_rollback_info",
                "Rejected versions.",
                labels=[*deployment, "version", "reason"],
            ),
            "drift": GaugeMetricFamily(
                "linnet_drift_score",
                "Statistic of a signal divided by its threshold, in the newest check.",
                labels=["namespace", "policy", "signal"],
            ),
        }

    @staticmethod
    def _add_rollout(
        families: Mapping[str, GaugeMetricFamily], about: list[str], status: Mapping[str, Any]
    ) -> None:
        for entry in status.get("traffic") or ():
            arm = [*about, entry["revision"], entry["version"]]
            families["weight"].add_metric(arm, entry["weight"])
        for metric in (status.get("analysis") or {}).get("metrics") or ():
            families["evidence"].add_metric([*about, metric["name"]], float(metric.get("e") or 1))
        for reason in {(r["version"], r["reason"]) for r in status.get("rejected") or ()}:
            families["rollback"].add_metric([*about, *reason], 1)

    @staticmethod
    def _add_drift(
        families: Mapping[str, GaugeMetricFamily], about: list[str], status: Mapping[str, Any]
    ) -> None:
        for signal in status.get("signals") or ():
            threshold = float(signal.get("threshold") or 0)
            if signal.get("statistic") and threshold > 0:
                score = float(signal["statistic"]) / threshold
                families["drift"].add_metric([*about, signal["name"]], score)


class JSONFormatter(logging.Formatter):
    """One JSON object a line, with the object that the line is about."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update(getattr(record, "about", {}))
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def set_up_logs(level: str, log_format: str) -> None:
    """Log to standard output; Kopf's own lines only from warnings on (it logs whole bodies)."""
    handler = logging.StreamHandler(sys.stdout)
    if log_format == "json":
        handler.setFormatter(JSONFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    for noisy in ("kopf", "aiohttp", "urllib3", "kubernetes"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
