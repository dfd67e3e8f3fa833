"""One bad model, released by Linnet and by Argo Rollouts, on one real cluster.

    dev/bench.sh rollback

Both have five pods of the same server with the same models, without a gateway, the same stream of
requests, and their documented defaults: Linnet a ModelDeployment that says nothing about strategy
and analysis, whose operator looks at the registry every 10 s as in all tests here (by default 60);
Argo Rollouts 1.10.1 the canary of its documentation (20 % for ten minutes, 40 % for ten, and so on)
with the background analysis `success-rate` from step 2 (every 5 minutes, at least 95 % of the
Service's requests, at most 3 failures) on a real Prometheus. The bad model refuses every request.

Told are: from the release to the decision and to the last request that the bad model answered; how
many requests it answered and how many users got an error; and what a user wrote and typed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from linnet.api import labels

from benchmarks.scale import argo
from benchmarks.scale.plane import free_port
from tests.e2e.api import Manifest
from tests.e2e.world import Place, Traffic, World

PODS = 5
RATE = 20.0
LIMIT = 60 * 60.0
ROLLOUTS = "/apis/argoproj.io/v1alpha1/namespaces"


def tell(who: str, what: str, value: str) -> None:
    print(f"{who:14} {what:52} {value}", flush=True)


def tell_release(who: str, released: float, decided: float, traffic: Traffic, bad: str) -> None:
    """The figures of one release."""
    totals = traffic.totals()
    first, last = totals["answered"][bad]
    answers: Mapping[str, int] = totals["answers"][bad]
    tell(who, "release to the bad model's first answer (s)", f"{first - released:.1f}")
    tell(who, "release to the decision (s)", f"{decided - released:.1f}")
    tell(who, "decision to the bad model's last answer (s)", f"{last - decided:.1f}")
    tell(who, "requests that the bad model answered", str(sum(answers.values())))
    harmed = sum(count for code, count in answers.items() if code != "200")
    tell(who, "requests that failed by it", str(harmed))
    others = sum(totals[key] for key in ("lost", "refused", "timeouts"))
    tell(who, "requests lost, refused or timed out", str(others))


# -- Linnet ----------------------------------------------------------------------------------------


def release_by_linnet(place: Place) -> dict[str, Manifest]:
    """Release the bad model; the pods' templates by version, for the other one."""
    deployment = place.model_deployment(
        route=None, strategy=None, analysis=None, server={"replicas": PODS}
    )
    good = place.register()
    place.apply(deployment)
    place.is_champion(good, seconds=300)
    traffic = place.traffic(rate=RATE, url=f"http://serve.{place.namespace}.svc")
    released = time.time()
    bad = place.register("bad")
    place.is_rejected(bad, seconds=LIMIT)
    time.sleep(10)
    event = place.has_event("serve", "RollBackDecided")
    decided = datetime.fromisoformat(event["eventTime"]).timestamp()
    tell_release("Linnet", released, decided, traffic, bad)
    tell("Linnet", "objects and lines that a user wrote", _size([deployment]))
    tell("Linnet", "commands typed for the release", "1 (the alias in MLflow)")
    traffic.stop()
    templates = {
        each["metadata"]["labels"]["linnet.dev/model-version"]: each["spec"]["template"]
        for each in place.past("Deployment")
    }
    place.api.delete("ModelDeployment", place.namespace, "serve")
    place.eventually("the pods are gone", lambda: not place.revisions_running(), seconds=180)
    return {"good": templates[good], "bad": templates[bad]}


def _size(objects: list[Manifest]) -> str:
    lines = sum(len(json.dumps(each, indent=1).splitlines()) for each in objects)
    return f"{len(objects)}, {lines} lines of indented JSON"


# -- Argo Rollouts ---------------------------------------------------------------------------------


def _template(made: Manifest) -> Manifest:
    """The pods of one of Linnet's revisions, as a user would have written them."""
    own = {"app": "argo", **made["metadata"]["labels"]}
    own.pop(labels.REVISION, None)
    return {"metadata": {"labels": own}, "spec": made["spec"]}


def _rollout(place: Place, template: Manifest) -> Manifest:
    """The canary of Argo Rollouts' documentation, with its background analysis."""
    shares = ({"setWeight": share} for share in (20, 40, 60, 80))
    steps = [step for share in shares for step in (share, {"pause": {"duration": "10m"}})]
    analysis = {"templates": [{"templateName": "success-rate"}], "startingStep": 2}
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": {"name": "argo", "namespace": place.namespace},
        "spec": {
            "replicas": PODS,
            "selector": {"matchLabels": {"app": "argo"}},
            "strategy": {"canary": {"analysis": analysis, "steps": steps}},
            "template": template,
        },
    }


def _analysis(place: Place, prometheus: str) -> Manifest:
    def rate(codes: str) -> str:
        of = f'namespace="{place.namespace}",pod=~"argo-.*"{codes}'
        return f"sum(irate(linnet_requests_total{{{of}}}[5m]))"

    good = rate(',code!~"4..|5.."')
    metric = {
        "name": "success-rate",
        "interval": "5m",
        "successCondition": "result[0] >= 0.95",
        "failureLimit": 3,
        "provider": {"prometheus": {"address": prometheus, "query": f"{good} / {rate('')}"}},
    }
    return {
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "AnalysisTemplate",
        "metadata": {"name": "success-rate", "namespace": place.namespace},
        "spec": {"metrics": [metric]},
    }


def _service(place: Place) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "argo", "namespace": place.namespace},
        "spec": {
            "selector": {"app": "argo"},
            "ports": [{"name": "http", "port": 80, "targetPort": labels.PORT_WEIGHTED}],
        },
    }


def release_by_argo(place: Place, templates: Mapping[str, Manifest], prometheus: str) -> None:
    """Release the same bad model."""
    written = [
        _rollout(place, _template(templates["good"])),
        _analysis(place, prometheus),
        _service(place),
    ]
    for each in written:
        place.api.kubectl("apply", "-f", "-", stdin=json.dumps(each))
    _until(place, "Healthy", 300)
    traffic = place.traffic(
        rate=RATE, url=f"http://argo.{place.namespace}.svc", name="argo-traffic"
    )
    released = time.time()
    changed = _rollout(place, _template(templates["bad"]))
    place.api.kubectl("apply", "-f", "-", stdin=json.dumps(changed))
    status = _until(place, "Degraded", LIMIT)
    time.sleep(10)
    decided = datetime.fromisoformat(status["abortedAt"]).timestamp()
    bad = templates["bad"]["metadata"]["labels"]["linnet.dev/model-version"]
    tell_release("Argo Rollouts", released, decided, traffic, bad)
    tell("Argo Rollouts", "objects and lines that a user wrote", _size(written))
    tell("Argo Rollouts", "commands typed for the release", "1 (kubectl apply)")
    traffic.stop()


def _until(place: Place, phase: str, seconds: float) -> Manifest:
    deadline = time.monotonic() + seconds
    while True:
        obj = place.api.call("GET", f"{ROLLOUTS}/{place.namespace}/rollouts/argo")
        status: Manifest = obj.get("status") or {}
        if status.get("phase") == phase:
            return status
        if time.monotonic() > deadline:
            raise RuntimeError(f"the Rollout is not {phase} within {seconds:.0f} s: {status}")
        time.sleep(0.2)


@contextmanager
def argo_runs(kubeconfig: str) -> Iterator[str]:
    """The controller of Argo Rollouts, beside the cluster; where it finds Prometheus."""
    argo.install(Path(kubeconfig))
    port = free_port()
    forward = ["kubectl", "--kubeconfig", kubeconfig, "-n", "monitoring", "port-forward"]
    with tempfile.TemporaryDirectory() as folder, Path(folder, "forward").open("wb") as log:
        processes = [
            argo.start(Path(kubeconfig), Path(folder, "log")),
            subprocess.Popen([*forward, "svc/prometheus", f"{port}:9090"], stdout=log, stderr=log),
        ]
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            for process in processes:
                process.kill()
                process.wait()


def main() -> int:
    """Release the bad model twice."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    world = World.begin(os.environ["LINNET_KUBECONFIG"])
    try:
        with ThreadPoolExecutor(2) as pool:
            world.prepare(pool)
            place = world.place("rollback")
            templates = release_by_linnet(place)
            with argo_runs(world.api.kubeconfig) as prometheus:
                release_by_argo(place, templates, prometheus)
    finally:
        world.uninstall()
        world.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
