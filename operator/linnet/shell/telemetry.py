"""Metrics and logs of the operator; controller-runtime's names where it has them."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

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
CONDITION = Gauge(
    "linnet_condition",
    "Conditions as written.",
    ["kind", "namespace", "name", "type", "status"],
    registry=REGISTRY,
)
WEIGHT = Gauge(
    "linnet_traffic_weight",
    "Programmed share in percent.",
    ["namespace", "deployment", "revision", "version"],
    registry=REGISTRY,
)
EVIDENCE = Gauge(
    "linnet_analysis_e",
    "E of a metric.",
    ["namespace", "deployment", "metric"],
    registry=REGISTRY,
)
ROLLOUTS = Counter(
    "linnet_rollouts",
    "Ended rollouts.",
    ["namespace", "deployment", "outcome"],
    registry=REGISTRY,
)
ROLLBACK = Gauge(
    "linnet_rollback_info",
    "Rejected versions.",
    ["namespace", "deployment", "version", "reason"],
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
DRIFT_SCORE = Gauge(
    "linnet_drift_score",
    "Statistic of a signal divided by its threshold, in the newest check.",
    ["namespace", "policy", "signal"],
    registry=REGISTRY,
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
