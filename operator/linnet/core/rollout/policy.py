"""What a revision's pods say against it: its own fault, bad health, or something it waits for."""

from __future__ import annotations

import re
from datetime import datetime, timedelta

from linnet_server import contract

from linnet.api.model_deployment import ModelDeploymentSpec
from linnet.api.reasons import Reason
from linnet.core.plan import Finding
from linnet.core.rollout import analysis, resources, steps
from linnet.core.rollout.state import Observation, PodView, RevisionView

REVISION_VARIABLE = "$revision"
CRASHES = 3
CRASH_WINDOW = timedelta(minutes=5)
UNREADY_LIMIT = timedelta(seconds=60)

_PULL_REASONS = frozenset(
    {"ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName"}
)


_DERIVED = re.compile(r"\b(rate|irate|increase|delta|idelta|deriv)\s*\(")


def queries_are_raw_and_per_revision(spec: ModelDeploymentSpec) -> Finding | None:
    """A query that does not tell the arms apart, or a counter that Prometheus has differenced."""
    for index, metric in enumerate(spec.analysis.metrics):
        for purpose, text in steps.queries(metric).items():
            gauge = purpose == analysis.GAUGE
            member = "gaugePromQL.query" if gauge else f"source.promQL.{purpose}"
            where = f"spec.analysis.metrics[{index}].{member}"
            if REVISION_VARIABLE not in text:
                return Finding(
                    Reason.INVALID_SPEC,
                    f"{where} must contain '{REVISION_VARIABLE}', where the name of each arm's "
                    "revision is put in: without it both arms get the same answer",
                    stalled=True,
                )
            derived = None if gauge else _DERIVED.search(text)
            if derived is not None:
                return Finding(
                    Reason.INVALID_SPEC,
                    f"{where} must be a raw counter, without '{derived[1]}(': Linnet takes the "
                    "differences itself and loses none in an outage",
                    stalled=True,
                )
    return None


def clients_can_be_kept(seen: Observation) -> Finding | None:
    """A step that keeps clients with their version, where routes have no word for it."""
    if seen.sessions_exist:
        return None
    for index, step in enumerate(seen.spec.strategy.steps):
        if step.sticky is not None:
            return Finding(
                Reason.INVALID_SPEC,
                f"spec.strategy.steps[{index}].sticky needs `sessionPersistence` in HTTPRoutes, "
                "which this cluster's Gateway API has not: install its experimental channel and "
                "restart Linnet, or remove the field",
                stalled=True,
            )
    return None


def can_send_copies(revision: RevisionView) -> bool:
    """Whether a revision's pods look for who gets copies: those of an older Linnet do not."""
    volumes = revision.data["template"]["spec"].get("volumes") or ()
    return any(volume["name"] == resources.SHADOW_VOLUME for volume in volumes)


def own_fault(revision: RevisionView, *, now: datetime) -> Finding | None:
    """Why a revision may be rejected before it has traffic: only for what is its own."""
    for pod in revision.pods:
        for code, message in ((pod.fetch_exit, pod.fetch_message), _server_end(pod)):
            if code in contract.REJECTING_EXIT_CODES:
                return Finding(Reason(contract.REASON_BY_EXIT_CODE[code]), _sentence(message, code))
    return crash_loop(revision, now=now)


def _server_end(pod: PodView) -> tuple[int | None, str]:
    return pod.server_exit, pod.server_message


def crash_loop(revision: RevisionView, *, now: datetime) -> Finding | None:
    """Server containers that restarted three times, the last time within five minutes."""
    for pod in revision.pods:
        recent = pod.last_restart is not None and now - pod.last_restart <= CRASH_WINDOW
        if pod.restarts >= CRASHES and recent:
            return Finding(
                Reason.CRASH_LOOP,
                f"the server of pod {pod.name} restarted {pod.restarts} times: "
                f"{_sentence(pod.server_message, pod.server_exit)}",
            )
    return None


def unhealthy(revision: RevisionView, *, now: datetime) -> Finding | None:
    """Why a candidate under traffic goes back at once, without statistics."""
    looping = crash_loop(revision, now=now)
    if looping is not None:
        return Finding(Reason.CANDIDATE_UNHEALTHY, looping.message)
    if revision.ready_pods:
        return None
    last = max((pod.ready_changed or pod.created for pod in revision.pods), default=None)
    if last is None or now - last < UNREADY_LIMIT:
        return None
    return Finding(
        Reason.CANDIDATE_UNHEALTHY,
        f"no pod of revision {revision.name} was ready for {UNREADY_LIMIT.seconds} s",
    )


def waits_for(revision: RevisionView) -> Finding | None:
    """What keeps a revision from being ready that is not its own fault."""
    for pod in revision.pods:
        if pod.waiting in _PULL_REASONS:
            return Finding(
                Reason.IMAGE_PULL_FAILED,
                f"pod {pod.name} cannot pull its image ({pod.waiting}: {pod.waiting_message}): "
                "correct `spec.server.template.image` or `imagePullSecrets`",
            )
        code = pod.fetch_exit
        if code in contract.REASON_BY_EXIT_CODE and code not in contract.REJECTING_EXIT_CODES:
            return Finding(
                Reason(contract.REASON_BY_EXIT_CODE[code]), _sentence(pod.fetch_message, code)
            )
        if pod.unschedulable:
            return Finding(
                Reason.UNSCHEDULABLE,
                f"pod {pod.name} finds no node: {pod.unschedulable}. Lower "
                "`spec.server.template.resources` or add nodes",
            )
    return None


def stuck(pods: tuple[PodView, ...]) -> str:
    """A short word on pods that are not ready, for messages."""
    waiting = sorted({pod.waiting for pod in pods if pod.waiting and not pod.ready})
    return f" ({', '.join(waiting)})" if waiting else ""


def _sentence(message: str, code: int | None) -> str:
    """The last line that a container left, or its exit code."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return lines[-1] if lines else f"exit code {code}, see its log"
