"""A DriftPolicy in a small world: checks and retrainings end as a test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, ClassVar

from linnet.api import labels
from linnet.api.shared import format_time, parse_time
from linnet.core.registry import RunView
from linnet_monitor import contract
from simulation import NAMESPACE, START, Loop, Manifest, copied

DAY = timedelta(days=1)

TEMPLATE: Manifest = {
    "spec": {
        "model": {"name": "delays"},
        "data": {
            "table": {"uri": "s3://data/flights.parquet"},
            "target": "late",
            "timestamp": "sched_dep",
            "window": {"lookback": "2160h", "until": "CheckWindowEnd"},
        },
        "pipeline": {"estimator": {"class": "LogisticRegression"}},
        "gates": [{"name": "minimum", "metric": "roc_auc", "minimum": "0.6"}],
    }
}
POLICY: Manifest = {
    "modelDeploymentRef": {"name": "delays"},
    "source": {"table": {"uri": "s3://data/live/", "timestamp": "sched_dep"}},
    "schedule": "0 6 * * *",
    "window": {"lookback": "24h"},
}
RETRAINING: Manifest = {**POLICY, "retrain": {"cooldown": "24h", "template": TEMPLATE}}


@dataclass(kw_only=True)
class Drift(Loop):
    """One DriftPolicy; the outcome of each check follows from its slot."""

    kind: ClassVar[str] = "DriftPolicy"
    resync: ClassVar[timedelta] = timedelta(hours=1)
    step: ClassVar[int] = 60
    spec: Mapping[str, Any] = field(default_factory=lambda: copied(POLICY))
    outcome: Callable[[datetime], str] = lambda slot: "Within"
    """Outcome of the check of a slot; `Crash` for pods that leave nothing."""
    trained: Callable[[int], str] = lambda number: "Passed"
    """Outcome of the n-th retraining, counted from 0: Passed, Refused or Running."""
    check_seconds: int = 60
    message_lost: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self.checked: list[str] = []
        """Every Job that was ever seen."""
        self.retrained: list[str] = []
        self.registry.add_version("1")
        self.serve("1", since=START - 30 * DAY)

    def serve(self, version: str, *, since: datetime, rolling_out: bool = False) -> None:
        """Let the deployment serve a version."""
        arm = {"version": version, "revision": f"delays-v{version}-00000000"}
        candidate = {"candidate": {**arm, "rolloutID": "1"}} if rolling_out else {}
        known = self.cluster.objects.get(("ModelDeployment", NAMESPACE, "delays"), {})
        self.cluster.put(
            {
                "apiVersion": "linnet.dev/v1alpha1",
                "kind": "ModelDeployment",
                "metadata": {"name": "delays", "namespace": NAMESPACE, **known.get("metadata", {})},
                "spec": {"model": {"name": "delays", "alias": "challenger"}},
                "status": {"champion": {**arm, "since": format_time(since)}, **candidate},
            }
        )

    def ask(self, verb: str, *, at: datetime | None = None) -> None:
        """Ask for something once, as a user does."""
        text = f"{verb}@{format_time(at or self.now)}"
        self.edit(lambda obj: obj["metadata"]["annotations"].update({labels.REQUEST: text}))

    def tick(self, seconds: float) -> None:
        for key, obj in list(self.cluster.objects.items()):
            if key[0] == "Job":
                self._job(obj)
            elif key[0] == "TrainingJob":
                self._training(obj)

    def _job(self, job: Manifest) -> None:
        name = job["metadata"]["name"]
        if name not in self.checked:
            self.checked.append(name)
        if (job.get("status") or {}).get("conditions"):
            return
        age = self.now - parse_time(job["metadata"]["creationTimestamp"])
        if age.total_seconds() < self.check_seconds:
            return
        slot = parse_time(_environment(job)[contract.ENV_SLOT])
        outcome = self.outcome(slot)
        if outcome == "Crash":
            self._end(job, "Failed", 1, "Traceback\nMemoryError")
            return
        document = self.document(slot, outcome)
        text = contract.render(document)
        self._record_run(name, text)
        self._end(job, "Complete", int(document.exit), "" if self.message_lost else text)

    def document(self, slot: datetime, outcome: str) -> contract.Check:
        """What the check of a slot says."""
        reasons = {
            "Within": contract.Reason.WITHIN_THRESHOLD,
            "Drifted": contract.Reason.FEATURE_DRIFT,
            "TooFewSamples": contract.Reason.TOO_FEW_SAMPLES,
            "InsufficientReference": contract.Reason.INSUFFICIENT_REFERENCE,
            "Error": contract.Reason.SCHEMA_MISMATCH,
        }
        until = slot.replace(hour=0, minute=0, second=0)
        served = self.cluster.objects["ModelDeployment", NAMESPACE, "delays"]["status"]
        return contract.Check(
            spec_hash="hash",
            policy_uid=self.object["metadata"]["uid"],
            slot=format_time(slot),
            outcome=contract.Outcome(outcome),
            reason=reasons[outcome],
            message=f"the check of {format_time(slot)}: {outcome}",
            report_url="http://mlflow/report",
            window=contract.Window(start=format_time(until - DAY), until=format_time(until)),
            rows=1000,
            new_samples=1000,
            reference=contract.Reference(version=served["champion"]["version"], windows=84),
            score="1.5" if outcome == "Drifted" else "0.5",
            signals=(
                contract.Signal(
                    name="features", breached=outcome == "Drifted", statistic="3", threshold="2"
                ),
            ),
        )

    def _record_run(self, name: str, text: str) -> None:
        config_map = self.cluster.objects["ConfigMap", NAMESPACE, name]
        tags = {
            contract.TAG_NAMESPACE: NAMESPACE,
            contract.TAG_NAME: "delays",
            contract.TAG_SPEC_HASH: config_map["metadata"]["annotations"][labels.SPEC_HASH],
            contract.TAG_RESULT: text,
        }
        self.registry.runs.append(
            RunView(run_id=f"run-{name}", experiment_id="2", status="FINISHED", tags=tags)
        )

    def _end(self, job: Manifest, kind: str, code: int, message: str) -> None:
        name = job["metadata"]["name"]
        self.cluster.put(
            {
                "kind": "Pod",
                "metadata": {
                    "name": f"{name}-pod",
                    "namespace": NAMESPACE,
                    "labels": job["spec"]["template"]["metadata"]["labels"],
                    "ownerReferences": [
                        {"uid": job["metadata"]["uid"], "kind": "Job", "name": name}
                    ],
                },
                "status": {
                    "phase": "Failed" if code else "Succeeded",
                    "containerStatuses": [
                        {"state": {"terminated": {"exitCode": code, "message": message}}}
                    ],
                },
            }
        )
        condition = {"type": kind, "status": "True", "reason": "Ended"}
        self.cluster.put({**job, "status": {"conditions": [condition]}})

    def _training(self, job: Manifest) -> None:
        name = job["metadata"]["name"]
        if name not in self.retrained:
            self.retrained.append(name)
        outcome = self.trained(self.retrained.index(name))
        if outcome == "Running" or job.get("status"):
            return
        passed = outcome == "Passed"
        condition = {
            "type": "Complete" if passed else "Failed",
            "status": "True",
            "reason": "Completed" if passed else "GateRefused",
        }
        self.cluster.put({**job, "status": {"conditions": [condition]}})

    def facts(self) -> Manifest:
        """The end state, without times of passes and ids."""
        last, retrain = self.status.get("lastCheck") or {}, self.status.get("retrain") or {}
        return {
            "ready": self.condition("Ready"),
            "drifted": self.condition("Drifted"),
            "retraining": self.condition("Retraining"),
            "last": (last.get("jobName"), last.get("outcome")),
            "checks": self.status.get("checks"),
            "jobs": self.checked,
            "retrained": self.retrained,
            "failures": retrain.get("failures"),
            "kept": self.of_kind("ConfigMap"),
        }


def _environment(job: Manifest) -> dict[str, str]:
    container = job["spec"]["template"]["spec"]["containers"][0]
    return {entry["name"]: entry.get("value", "") for entry in container["env"]}
