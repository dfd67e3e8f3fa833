"""Observations for table tests: one base, and what differs of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from linnet.api import labels
from linnet.api.model_deployment import (
    AnalysisStatus,
    Arm,
    CandidateArm,
    Decision,
    DecisionVerb,
    ModelDeploymentSpec,
    ModelDeploymentStatus,
    StepStatus,
    Verdict,
)
from linnet.api.shared import format_time
from linnet.core.evidence import GRID, grid_index
from linnet.core.registry import ModelView, VersionView
from linnet.core.rollout import analysis, resources, steps
from linnet.core.rollout.analysis import Process, Role, State
from linnet.core.rollout.state import (
    Observation,
    PodView,
    RevisionView,
    Settings,
    TrafficView,
)

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)
CHAMPION, CANDIDATE = "delays-v1-11111111", "delays-v2-22222222"
SETTINGS = Settings(
    server_image="server:1", feast_image="feast:1", image_pull_policy="Never", pod_environment={}
)
ROUTE: Mapping[str, Any] = {"parentRefs": [{"name": "eg"}]}


def pod(name: str = "p", **changes: Any) -> PodView:
    """A pod that has been ready for an hour."""
    long_ago = NOW - timedelta(hours=1)
    values: dict[str, Any] = {
        "uid": f"uid-{name}",
        "name": name,
        "address": "10.0.0.1",
        "ready": True,
        "ready_changed": long_ago,
        "created": long_ago,
    }
    return PodView(**{**values, **changes})


def revision(
    name: str, *pods: PodView, version: str = "1", given: ModelDeploymentSpec | None = None
) -> RevisionView:
    """A revision with its record and these pods."""
    registered = VersionView(version=version, artifact_uri=f"s3://m/{version}")
    return RevisionView(
        name=name,
        uid=f"uid-{name}",
        data={
            "version": version,
            "wishKey": resources.wish_key(given or spec(), registered),
            "contentKey": resources.content_key(given or spec(), registered),
            "hash": version * 8,
            "model": "delays",
            "template": {"metadata": {}, "spec": {}},
        },
        deployment={
            "kind": "Deployment",
            "metadata": {"name": name, "uid": "d"},
            "spec": {"replicas": len(pods)},
        },
        pods=pods,
    )


def model(
    *, versions: tuple[str, ...] = ("1", "2"), clusters: str = "", **aliases: str
) -> ModelView:
    """A registered model; the version `clusters` labels the rows that it was made of, no others."""
    tags = {clusters: {labels.VERSION_NOT_SERVABLE: "it has no `predict`"}}
    return ModelView(
        name="delays",
        aliases=aliases,
        versions={
            v: VersionView(version=v, artifact_uri=f"s3://m/{v}", tags=tags.get(v, {}))
            for v in versions
        },
    )


def spec(**changes: Any) -> ModelDeploymentSpec:
    """A spec with a route."""
    return ModelDeploymentSpec.model_validate(
        {"model": {"name": "delays"}, "route": ROUTE, **changes}
    )


def evidence_state(
    given: ModelDeploymentSpec,
    *,
    requests: int = 1000,
    log_e: float = 0.0,
    good: bool = False,
    read: timedelta = timedelta(seconds=5),
) -> State:
    """Evidence of a step: how many requests, how large E, whether it suffices to promote."""
    rules = steps.rules(given)
    processes = {}
    for rule in rules.metrics:
        process = Process.start(rule, rules.horizon)
        bets = len(process.regression.bets)
        grid = [0.0] * len(GRID)
        if good:
            grid[grid_index(rule.margin)] = -10.0
        processes[rule.name] = Process(
            regression=process.regression.__class__(
                psi0=process.regression.psi0,
                bets=process.regression.bets,
                horizon=rules.horizon,
                blocks=10,
                log_a=(log_e,) * bets,
            ),
            disaster=process.disaster,
            a=tuple(grid),
        )
    return State(
        horizon=rules.horizon,
        since=NOW - timedelta(minutes=30),
        time=NOW - read,
        processes=processes,
        read=dict.fromkeys(Role, NOW - read),
        step_requests=requests,
    )


def midway(
    *,
    given: ModelDeploymentSpec | None = None,
    weight: int = 5,
    held: timedelta = timedelta(minutes=1),
    state: State | None = None,
    paused: bool = False,
    performed: bool = True,
    verb: DecisionVerb = DecisionVerb.ADVANCE,
    **changes: Any,
) -> Observation:
    """A rollout of version 2 at a weight, programmed and healthy."""
    given = given or spec()
    state = state or evidence_state(given)
    status = ModelDeploymentStatus(
        champion=Arm(version="1", revision=CHAMPION, since=format_time(NOW - timedelta(days=1))),
        candidate=CandidateArm(version="2", revision=CANDIDATE, rollout_id="abc"),
        step=StepStatus(
            index=1,
            of=4,
            label="1/4",
            weight=weight,
            since=format_time(NOW - held),
            paused=paused,
        ),
        decision=Decision(
            verb=verb,
            revision=CANDIDATE,
            reason="StepAdvanced",
            message="on its way",
            time=format_time(NOW - held),
            performed=performed,
        ),
        analysis=AnalysisStatus(verdict=Verdict.UNDECIDED, state=analysis.dump(state)),
    )
    values: dict[str, Any] = {
        "name": "delays",
        "namespace": "team",
        "uid": "uid-mdep",
        "generation": 1,
        "spec": given,
        "status": status,
        "settings": SETTINGS,
        "identity": "linnet-system/linnet-operator",
        "model": model(challenger="2", champion="1"),
        "revisions": {
            CHAMPION: revision(CHAMPION, pod("a"), version="1", given=given),
            CANDIDATE: revision(CANDIDATE, pod("b"), version="2", given=given),
        },
        "traffic": TrafficView(
            exists=True,
            weights={CHAMPION: 100 - weight, CANDIDATE: weight},
            observed=True,
            programmed=True,
            message="every Gateway reports these weights",
        ),
    }
    return Observation(**{**values, **changes})
