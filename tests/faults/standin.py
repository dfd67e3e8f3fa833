"""What a node and a gateway would do for a scenario: servers answer, checks and trainings end,
routes are programmed.

Pods of a scenario fit no node, so they cost nothing. A server's pod is told ready at an address of
its own on loopback, where a metrics page says what users would have had from it; a check finds a
drift, and a training leaves a version, each by the document that the real program would leave.
"""

from __future__ import annotations

import contextlib
import itertools
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from e2e.api import Api, Manifest, path
from linnet_monitor import contract as monitor
from linnet_server import contract as server
from linnet_trainer import contract as trainer
from mlflow import MlflowClient

RATE = 50.0
"""User requests per second that a server's pod has had since it began."""
BAD = 0.6
"""Share of a bad version's answers that are errors."""
TICK = 0.5
MERGE = "application/merge-patch+json"
_NUMBERS = itertools.count(2)
_PAGES: dict[str, Callable[[], str | None]] = {}
"""Metrics pages by address on loopback; None where a pod does not answer."""


class _Page(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        page = _PAGES.get(self.connection.getsockname()[0])
        text = page() if page is not None and self.path == server.PATH_METRICS else None
        body = (text or "").encode()
        self.send_response(404 if text is None else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@contextlib.contextmanager
def metrics_pages() -> Iterator[None]:
    """Serve the pages of all addresses for as long as the block lasts."""
    listening = ThreadingHTTPServer(("0.0.0.0", server.PORT_MANAGEMENT), _Page)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    try:
        yield
    finally:
        listening.shutdown()
        listening.server_close()


def _page_of(bad: bool) -> Callable[[], str]:
    began, moment = time.monotonic(), time.time()

    def page() -> str:
        count = int(RATE * (time.monotonic() - began))
        wrong = int(BAD * count) if bad else 0
        name = server.METRIC_REQUESTS
        return (
            f"{server.METRIC_PROCESS_START} {moment}\n"
            f'{name}{{kind="weighted",code="200"}} {count - wrong}\n'
            f'{name}{{kind="weighted",code="500"}} {wrong}\n'
        )

    return page


@dataclass(kw_only=True)
class Node:
    """The stand-in for one namespace."""

    api: Api
    namespace: str
    registry: MlflowClient
    uri: str
    model: str
    bad: set[str] = field(default_factory=set)
    """Versions whose answers are errors."""
    works: bool = False
    """Whether pods that check and train come to their end."""
    metrics_up: bool = True
    """Whether the servers' pods tell their counters."""

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._trained: dict[str, str] = {}
        self._versions: dict[str, str] = {}
        self._thread.start()

    def stop(self) -> None:
        """End; what was said stays."""
        self._stop.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._stop.wait(TICK):
            with contextlib.suppress(Exception):
                for pod in self.api.list("Pod", self.namespace):
                    self._look_at(pod)
                for route in self.api.list("HTTPRoute", self.namespace):
                    self._program(route)

    def _program(self, route: Manifest) -> None:
        """Answer a route as the Gateways that it names; a real one finds no pods on loopback."""
        generation = route["metadata"]["generation"]
        told = {"status": "True", "reason": "Done", "message": "", "lastTransitionTime": _now()}
        conditions = [
            {"type": kind, "observedGeneration": generation, **told}
            for kind in ("Accepted", "ResolvedRefs")
        ]
        answers = [
            {"parentRef": ref, "controllerName": "linnet.dev/stand-in", "conditions": conditions}
            for ref in route["spec"]["parentRefs"]
        ]
        seen = (route.get("status") or {}).get("parents") or ()
        if [each["conditions"][0]["observedGeneration"] for each in seen] != [generation]:
            where = path("HTTPRoute", self.namespace, route["metadata"]["name"], "status")
            self.api.call("PATCH", where, {"status": {"parents": answers}}, content=MERGE)

    def _look_at(self, pod: Manifest) -> None:
        labels, status = pod["metadata"].get("labels", {}), pod.get("status") or {}
        if "linnet.dev/revision" in labels:
            if not status.get("podIP"):
                self._serve(pod)
        elif self.works and status.get("phase") == "Pending":
            if "linnet.dev/drift-policy" in labels:
                self._end(pod, self._checked(pod))
            elif "linnet.dev/training-job" in labels:
                self._end(pod, self._train(pod))

    def _serve(self, pod: Manifest) -> None:
        number = next(_NUMBERS)
        address = f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        self._versions[address] = pod["metadata"]["labels"]["linnet.dev/model-version"]
        self._begin(address)
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": _now()}
        self._say(
            pod,
            {
                "phase": "Running",
                "podIP": address,
                "podIPs": [{"ip": address}],
                "conditions": [ready],
            },
        )

    def restart_processes(self) -> None:
        """Let every server's process begin anew: its counters are at 0, its start another."""
        for address in self._versions:
            self._begin(address)

    def _begin(self, address: str) -> None:
        page = _page_of(self._versions[address] in self.bad)
        _PAGES[address] = lambda: page() if self.metrics_up else None

    def _end(self, pod: Manifest, message: str) -> None:
        container = pod["spec"]["containers"][0]
        state = {"terminated": {"exitCode": 0, "message": message, "finishedAt": _now()}}
        told = {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "ready": False,
            "restartCount": 0,
            "state": state,
        }
        self._say(pod, {"phase": "Succeeded", "containerStatuses": [told]})

    def _say(self, pod: Manifest, status: Manifest) -> None:
        where = path("Pod", self.namespace, pod["metadata"]["name"], "status")
        self.api.call("PATCH", where, {"status": status}, content=MERGE)

    def _owner(self, pod: Manifest, kind: str, label: str) -> Manifest:
        found = self.api.get(kind, self.namespace, pod["metadata"]["labels"][label])
        assert found is not None
        return found

    def _checked(self, pod: Manifest) -> str:
        policy = self._owner(pod, "DriftPolicy", "linnet.dev/drift-policy")
        name = policy["spec"]["modelDeploymentRef"]["name"]
        deployment = self.api.get("ModelDeployment", self.namespace, name)
        assert deployment is not None
        slot = _environment(pod)[monitor.ENV_SLOT]
        day = datetime.fromisoformat(slot).replace(hour=0, minute=0, second=0)
        start, until = (_text(day - timedelta(days=1)), _text(day))
        champion = deployment["status"]["champion"]["version"]
        document = monitor.Check(
            spec_hash="hash",
            policy_uid=policy["metadata"]["uid"],
            slot=slot,
            outcome=monitor.Outcome.DRIFTED,
            reason=monitor.Reason.FEATURE_DRIFT,
            message="one column moved",
            window=monitor.Window(start=start, until=until),
            rows=1000,
            new_samples=1000,
            reference=monitor.Reference(version=champion, windows=84),
            score="1.5",
            signals=(monitor.Signal(name="features", breached=True, statistic="3", threshold="2"),),
        )
        return monitor.render(document)

    def _train(self, pod: Manifest) -> str:
        job = self._owner(pod, "TrainingJob", "linnet.dev/training-job")
        uid = job["metadata"]["uid"]
        if uid not in self._trained:
            self._trained[uid] = register(self.registry, self.model, self.uri)
        document = trainer.Result(
            spec_hash=_environment(pod)[trainer.ENV_SPEC_HASH],
            job_uid=uid,
            outcome=trainer.Outcome.PASSED,
            reason=trainer.Reason.COMPLETED,
            message="all gates passed",
            version=self._trained[uid],
            content_digest=f"sha256:{secrets.token_hex(32)}",
        )
        return trainer.render(document)


def register(registry: MlflowClient, model: str, uri: str) -> str:
    """Register another version."""
    tags = {"linnet.dev/manifest-sha256": secrets.token_hex(32)}
    return str(registry.create_model_version(model, f"{uri}/model", tags=tags).version)


def _environment(pod: Manifest) -> dict[str, str]:
    return {entry["name"]: entry.get("value", "") for entry in pod["spec"]["containers"][0]["env"]}


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _now() -> str:
    return _text(datetime.now(UTC))
