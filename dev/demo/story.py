"""The story of the demo, act by act; it ends well only if everything in it happened."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dev.demo.kubectl import Failed, Kubectl, Manifest, condition, wait
from dev.demo.view import Phase, Screen, duration

ROOT = Path(__file__).resolve().parent.parent.parent
FILES = ROOT / "examples" / "demo"
NAMESPACE = "demo"
MODEL = "delays"

CLEAN_REGISTRY = f"""
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
client = MlflowClient("http://localhost:5000")
try:
    client.delete_registered_model("{MODEL}")
except MlflowException:
    pass
experiment = client.get_experiment_by_name("{NAMESPACE}/{MODEL}")
found = [experiment.experiment_id] if experiment is not None else []
for run in client.search_runs(found, max_results=1000) if found else []:
    # Looks at a holdout are counted over deleted runs too; those of an earlier demo never happened.
    if "linnet.dev/holdout-sha256" in run.data.tags:
        client.delete_tag(run.info.run_id, "linnet.dev/holdout-sha256")
    client.delete_run(run.info.run_id)
"""

REGISTER_AGAIN = """
from mlflow import MlflowClient
client = MlflowClient("http://localhost:5000")
old = client.get_model_version("{model}", "{version}")
ours = ("rejected", "champion-since")
tags = {{key: value for key, value in old.tags.items() if not any(word in key for word in ours)}}
new = client.create_model_version(
    "{model}", old.source, run_id=old.run_id, model_id=old.source.rpartition("/")[2], tags=tags
)
client.set_registered_model_alias("{model}", "challenger", new.version)
print(new.version)
"""

ALIASES = f"""
import json
from mlflow import MlflowClient
found = MlflowClient("http://localhost:5000").get_registered_model("{MODEL}").aliases
print(json.dumps({{alias: str(version) for alias, version in found.items()}}))
"""


@dataclass(slots=True, kw_only=True)
class Story:
    """What the acts tell each other."""

    kubectl: Kubectl
    screen: Screen
    facts: dict[str, Any] = field(default_factory=dict)

    # -- looking ------------------------------------------------------------------------------

    def deployment(self) -> Manifest | None:
        return self.kubectl.get("mdep", MODEL)

    def totals(self) -> Mapping[str, Any]:
        """The traffic pod's totals so far."""
        try:
            text = self.kubectl.run(
                "exec", "traffic", "--", "python", "-c",
                "import urllib.request as u; "
                "print(u.urlopen('http://localhost:8090/totals').read().decode())",
            )  # fmt: skip
            found: Mapping[str, Any] = json.loads(text)
            return found
        except (Failed, ValueError):
            return {}

    def watch(self, phase: Phase, what: str, ended: Any, *, seconds: float) -> Manifest:
        """Show the rollout until `ended(object)`; Failed when it takes too long."""
        deadline = time.monotonic() + seconds
        looked = 0.0
        totals: Mapping[str, Any] = {}
        while True:
            obj = self.deployment()
            if time.monotonic() - looked > 5:
                totals, looked = self.totals(), time.monotonic()
            phase.show(obj, totals.get("answers", {}))
            if obj is not None and ended(obj):
                return obj
            if time.monotonic() > deadline:
                ready = condition(obj, "Ready")
                raise Failed(f"{what}: not within {seconds:.0f} s; Ready says {ready}")
            time.sleep(1)

    # -- acts ---------------------------------------------------------------------------------

    def install(self) -> None:
        with self.screen.phase("Install Linnet"):
            self.kubectl.apply(ROOT / "crds", server_side=True)
            self.kubectl.cluster("apply", "-k", str(ROOT / "manifests" / "quickstart"))
            # New images under the same names: the pod is made anew.
            operator = ("-n", "linnet-system", "rollout")
            self.kubectl.cluster(*operator, "restart", "deploy/linnet-operator")
            self.kubectl.cluster(
                *operator, "status", "deploy/linnet-operator", "--timeout=120s", timeout=130
            )

    def clean(self) -> None:
        """Begin with an empty namespace and an empty registry, whatever an earlier run left."""
        with self.screen.phase("Begin with nothing"):
            self.kubectl.cluster(
                "delete", "namespace", NAMESPACE, "--ignore-not-found", "--wait=true", timeout=180
            )
            self.kubectl.python("mlops", "mlflow", CLEAN_REGISTRY)
            self.kubectl.cluster("create", "namespace", NAMESPACE)
            self.kubectl.cluster(
                "label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted"
            )

    def load(self, title: str, file: str, name: str) -> None:
        with self.screen.phase(title):
            self.kubectl.apply(FILES / file)

            def loaded() -> bool:
                job = self.kubectl.get("job", name)
                failed = condition(job, "Failed")
                if failed.get("status") == "True":
                    raise Failed(f"the loader failed: {failed.get('message')}")
                return condition(job, "Complete").get("status") == "True"

            wait("the flights are loaded", loaded, seconds=300)

    def train(self, title: str, file: str, name: str) -> None:
        with self.screen.phase(title):
            self.kubectl.apply(FILES / file)
            self._follow(name)

    def _follow(self, name: str) -> Manifest:
        """Tell how a training goes until it has passed."""
        last = ""

        def over() -> bool:
            nonlocal last
            job = self.kubectl.get("tjob", name)
            summary = condition(job, "Complete")
            line = f"{summary.get('reason', '…')}: {summary.get('message', '')}"
            if line != last:
                self.screen.say(f"  {line}")
                last = line
            if condition(job, "Failed").get("status") == "True":
                raise Failed(f"{name} failed: {summary.get('message')}")
            return summary.get("status") == "True"

        wait(f"{name} is trained", over, seconds=600, every=2)
        job = self.kubectl.get("tjob", name)
        if job is None:
            raise Failed(f"{name} is gone")
        for event in ("Registered", "Promoted"):
            self.screen.say(f"  {event}: {condition(job, event).get('message')}")
        return job

    def serve(self) -> None:
        with self.screen.phase("Serve version 1 under live traffic") as phase:
            self.kubectl.apply(FILES / "20-serve.yaml")
            self.watch(phase, "version 1 serves and is champion", _is_champion("1"), seconds=300)
            self.kubectl.apply(FILES / "25-traffic.yaml")

            def flowing() -> bool:
                answers = self.totals().get("answers", {})
                return int(answers.get("1", {}).get("200", 0)) > 50

            wait("live traffic is answered", flowing, seconds=180, every=2)
            if condition(self.deployment(), "TrafficProgrammed").get("status") != "True":
                raise Failed("TrafficProgrammed must be True")

    def promote(self, version: str) -> None:
        title = f"Roll version {version} out: 5, 25, 50, 100 %"
        with self.screen.phase(title) as phase:
            weights: list[int] = []

            def ended(obj: Manifest) -> bool:
                weight = obj["status"].get("weight")
                if weight and (not weights or weights[-1] != weight):
                    weights.append(weight)
                if any(r["version"] == version for r in obj["status"].get("rejected", ())):
                    raise Failed(f"version {version} was rejected: {condition(obj, 'Ready')}")
                return _is_champion(version)(obj)

            obj = self.watch(phase, f"version {version} becomes champion", ended, seconds=900)
            if weights != [5, 25, 50, 100]:
                raise Failed(f"the weights were {weights}, they must be 5, 25, 50, 100")
            self.facts["promoted"] = obj["status"]["history"][0]["message"]
            self.screen.say(f"  {self.facts['promoted']}")

    def roll_back(self, version: str) -> None:
        title = f"Roll version {version} out, which refuses flights of planes of unknown age"
        with self.screen.phase(title) as phase:

            def ended(obj: Manifest) -> bool:
                if _is_champion(version)(obj):
                    raise Failed(f"version {version} became champion, it must be rolled back")
                return (
                    any(r["version"] == version for r in obj["status"].get("rejected", ()))
                    and condition(obj, "Ready").get("reason") == "RolledBack"
                )

            obj = self.watch(phase, f"version {version} is rolled back", ended, seconds=600)
            rejected = obj["status"]["rejected"][0]
            self.facts["rolled_back"] = rejected
            self.facts["analysis"] = obj["status"].get("analysis", {})
            self.facts["rolled_back_at"] = obj["status"]["history"][0].get("maxWeight")
            self.screen.say(f"  {rejected['message']}")

    def stay_rejected(self, version: str) -> None:
        with self.screen.phase("Apply it again, register it again: both stay rejected") as phase:
            before = self.totals().get("answers", {}).get(version, {})
            self.kubectl.apply(FILES / "20-serve.yaml")
            self.kubectl.apply(FILES / "40-train-planes.yaml")
            time.sleep(10)
            if condition(self.deployment(), "Ready").get("reason") != "RolledBack":
                raise Failed("after the same manifests Ready must still say RolledBack")
            code = REGISTER_AGAIN.format(model=MODEL, version=version)
            again = self.kubectl.python("mlops", "mlflow", code).strip()
            self.screen.say(f"  the same model is now also version {again}")

            def ended(obj: Manifest) -> bool:
                return condition(obj, "Ready").get("reason") == "SameContentAsRejected"

            obj = self.watch(phase, f"version {again} stays rejected", ended, seconds=180)
            self.screen.say(f"  {condition(obj, 'Ready')['message'].split('. To try')[0]}")
            time.sleep(5)
            after = self.totals().get("answers", {})
            if after.get(version, {}) != before or after.get(again):
                raise Failed("a rejected version answered a request")
            self.facts["again"] = again

    def find_drift(self) -> None:
        """Ask for a check now; the schedule would make the same one tomorrow morning."""
        with self.screen.phase("Compare the newest week with what the champion was trained on"):
            self.kubectl.apply(FILES / "60-drift.yaml")
            self.kubectl.run(
                "annotate", "drift", MODEL, "--overwrite", f"linnet.dev/request=check@{_now()}"
            )

            def judged() -> bool:
                policy = self.kubectl.get("drift", MODEL)
                return condition(policy, "Drifted").get("status") in ("True", "False") or (
                    (((policy or {}).get("status") or {}).get("lastCheck") or {}).get("outcome")
                    is not None
                )

            wait("the check has ended", judged, seconds=300, every=2)
            policy = self.kubectl.get("drift", MODEL)
            drifted = condition(policy, "Drifted")
            self.screen.say(f"  {drifted.get('reason')}: {drifted.get('message')}")
            if policy is None or drifted.get("status") != "True":
                raise Failed("the week must differ from winter")
            self.facts["drift"] = policy["status"]
            for column in policy["status"].get("columns", ())[:3]:
                self.screen.say(
                    f"  {column['column']}: {column['method']} {column['statistic']}, threshold "
                    f"{column['threshold']}"
                )

    def retrain(self) -> str:
        """Watch the retraining that started by itself; its version."""
        with self.screen.phase("A retraining starts by itself"):

            def started() -> bool:
                return bool(self._retraining())

            wait("a retraining has started", started, seconds=120)
            name = self._retraining()
            self.screen.say(f"  TrainingJob {name}")
            job = self._follow(name)
            self.facts["retrained"] = job["status"]
            return str(job["status"]["version"])

    def _retraining(self) -> str:
        policy = self.kubectl.get("drift", MODEL) or {}
        record = (policy.get("status") or {}).get("retrain") or {}
        return str(record.get("lastJob") or "")

    def agree(self, champion: str) -> None:
        """Route, status and registry say the same."""
        with self.screen.phase("Route, status and registry agree"):
            obj, route = self.deployment(), self.kubectl.get("httproute", MODEL)
            if obj is None or route is None:
                raise Failed("the ModelDeployment or its HTTPRoute is gone")
            refs = [ref for rule in route["spec"]["rules"] for ref in rule["backendRefs"]]
            weights = {ref["name"]: ref["weight"] for ref in refs}
            status = {t["revision"]: t["weight"] for t in obj["status"]["traffic"]}
            aliases = json.loads(self.kubectl.python("mlops", "mlflow", ALIASES))
            said = obj["status"]["champion"]["version"]
            if weights != status or said != champion or aliases.get("champion") != champion:
                raise Failed(f"route {weights}, status {status}, champion {said}, {aliases}")
            self.screen.say(f"  route and status: {weights}; alias champion: version {champion}")

    # -- the end ------------------------------------------------------------------------------

    def summary(self) -> None:
        """What happened, with numbers; Failed where a request failed that must not have."""
        totals = self.totals()
        answers = totals.get("answers", {})
        say = self.screen.say
        say("\nWhat happened")
        for version, codes in sorted(answers.items()):
            text = ", ".join(f"{count} × {code}" for code, count in sorted(codes.items()))
            say(f"  version {version} answered {text}")
        unanswered = {k: totals.get(k, 0) for k in ("lost", "refused", "timeouts")}
        say("  not answered: " + ", ".join(f"{n} {k}" for k, n in unanswered.items()))
        bad = self.facts["rolled_back"]["version"]
        bad_codes = answers.get(bad, {})
        metric = (self.facts["analysis"].get("metrics") or [{}])[0]
        candidate, warming = metric.get("candidate", {}), metric.get("warming", {})
        requests = sum(bad_codes.values())
        say(
            f"  version {bad} was rolled back at {self.facts['rolled_back_at']} % after "
            f"{requests} requests, {requests - bad_codes.get('200', 0)} of them refused; "
            f"E {self.facts['analysis'].get('e')} with {candidate.get('bad', 0)} of "
            f"{candidate.get('total', 0)} bad, {warming.get('bad', 0)} of "
            f"{warming.get('total', 0)} in the warm-up; "
            f"champion {metric.get('champion', {}).get('bad')} of "
            f"{metric.get('champion', {}).get('total')}"
        )
        check, retrained = self.facts["drift"]["lastCheck"], self.facts["retrained"]
        say(
            f"  drift: {check['rows']} rows of {check['window']['from']} to "
            f"{check['window']['until']}, score {check['score']} (1 is the threshold), rank "
            f"{check.get('rank')} of {check.get('windows', 0) + 1}; retrained as version "
            f"{retrained['version']}: {retrained['result']['message']}"
        )
        say("\nTime")
        for title, took in self.screen.phases:
            say(f"  {duration(took):>12}  {title}")
        say(LOOK_AROUND)
        self._check(answers, unanswered, bad)

    def _check(self, answers: Mapping[str, Any], unanswered: Mapping[str, int], bad: str) -> None:
        if any(unanswered.values()):
            raise Failed(f"requests were not answered: {dict(unanswered)}")
        for version, codes in answers.items():
            if version != bad and set(codes) != {"200"}:
                raise Failed(f"version {version} answered other than 200: {codes}")


LOOK_AROUND = """
Look around
  export KUBECONFIG=$(make -s kubeconfig)
  kubectl get tjob,mdep,drift -n demo           the story in columns
  kubectl describe mdep delays -n demo          the diary
  kubectl get httproute delays -n demo -o yaml  the weights
  kubectl explain mdep.spec.analysis            what every field means
  kubectl logs -n demo traffic --tail=3         every answer, counted
  kubectl port-forward -n mlops svc/mlflow 5000   then localhost:5000: runs, versions, cards
  make demo-down                                take it away
"""


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _is_champion(version: str) -> Any:
    def check(obj: Manifest) -> bool:
        status = obj.get("status") or {}
        return bool(
            (status.get("champion") or {}).get("version") == version
            and condition(obj, "Ready").get("status") == "True"
            and condition(obj, "Promoted").get("status") == "True"
        )

    return check
