"""From cache and live reads to the frozen observations that planners decide about."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError

from linnet.api import labels
from linnet.api.drift_policy import DriftPolicy
from linnet.api.model_deployment import ModelDeployment, ModelDeploymentSpec
from linnet.api.shared import Model, parse_time
from linnet.api.training_job import ResultOutcome, TrainingJob, TrainingJobSpec
from linnet.core import jobs, names
from linnet.core import pods as pod_parts
from linnet.core.drift import facts as drift_facts
from linnet.core.drift import state as drift
from linnet.core.registry import RunView
from linnet.core.rollout import policy, steps, traffic
from linnet.core.rollout import state as rollout
from linnet.core.rollout.analysis import (
    MetricKind,
    MetricRule,
    OutcomeSample,
    PodSample,
    Role,
    answer_key,
)
from linnet.core.training import custom, links
from linnet.core.training import policy as training_policy
from linnet.core.training import resources as training_resources
from linnet.core.training import state as training
from linnet.ports import Missing, Rejected, Unavailable
from linnet.shell.cache import Key, registered_model
from linnet.shell.registry import Known
from linnet.shell.settings import Settings
from linnet.shell.world import World

Manifest = Mapping[str, Any]
ModelT = TypeVar("ModelT", bound=Model)


def _pod_environment(settings: Settings) -> dict[str, str]:
    return pod_parts.registry_environment(
        tracking_uri=settings.tracking_uri,
        registry_uri=settings.registry_uri,
        s3_endpoint=settings.s3_endpoint,
        s3_region=settings.s3_region,
    )


def _job_settings(settings: Settings, image: str) -> jobs.Settings:
    return jobs.Settings(
        image=image,
        image_pull_policy=settings.image_pull_policy,
        pod_environment=_pod_environment(settings),
        tracking_link=settings.tracking_link,
    )


def _trainer_image(spec: TrainingJobSpec, settings: Settings) -> str:
    """The image with what the training's data or its search needs."""
    if spec.data.feast is not None:
        return settings.feast_image
    on_ray = training_resources.searches_on_ray(spec)
    return settings.ray_image if on_ray else settings.trainer_image


def _parse(kind: type[ModelT], obj: Manifest) -> tuple[ModelT | None, str]:
    """The object as a value, or why our own validation refuses it."""
    try:
        return kind.model_validate(obj), ""
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return None, f"`{where}`: {first['msg']}. Correct it and apply the object again"


async def _read(kind: type[ModelT], key: Key, world: World) -> ModelT | None:
    """The object as a value; None where it is gone or going, or cannot be read, which is told."""
    obj = world.cache.get(key)
    if obj is None or obj["metadata"].get("deletionTimestamp"):
        return None
    parsed, invalid = _parse(kind, obj)
    if parsed is None:
        await _invalid(obj, invalid, world)
    return parsed


def _is_ours(obj: Manifest, uid: str) -> bool:
    owners = obj["metadata"].get("ownerReferences") or ()
    return any(owner.get("uid") == uid and owner.get("controller") for owner in owners)


async def _foreign(key: Key, world: World) -> str:
    """A remembered foreign object, looked at again: it may be gone."""
    known = world.foreign.get(key)
    if known is None:
        return ""
    kind, _, name = known.partition("/")
    try:
        await world.cluster.get(kind, key.namespace, name)
    except Missing:
        del world.foreign[key]
        return ""
    return f"{kind} {name}"


# -- TrainingJob ---------------------------------------------------------------------------------


async def training_job(key: Key, world: World) -> training.Observation | None:
    """What is known of one TrainingJob; None when it is gone or unreadable."""
    parsed = await _read(TrainingJob, key, world)
    if parsed is None:
        return None
    meta, settings = parsed.metadata, world.settings
    uid = meta.uid
    labelled = world.cache.children(key)
    children = [child for child in labelled if _is_ours(child, uid)]
    model, status = parsed.spec.model, parsed.status
    seen = training.Observation(
        name=key.name,
        namespace=key.namespace,
        uid=uid,
        generation=meta.generation,
        created=parse_time(meta.creation_timestamp or ""),
        spec=parsed.spec,
        status=status,
        identity=settings.identity,
        cause=meta.annotations.get(labels.CAUSE, ""),
        queue=meta.labels.get(labels.KUEUE_QUEUE, ""),
        model_allowed=settings.allows_model(key.namespace, model.name),
        foreign=await _foreign(key, world),
        settings=_job_settings(settings, _trainer_image(parsed.spec, settings)),
        job=_one(children, "Job"),
        config_map=_one(children, "ConfigMap"),
        service=_one(children, "Service"),
        pods=_job_pods(labelled),
        problems=world.problems.get(key, {}),
    )
    return await _with_registry(seen, world)


async def _with_registry(seen: training.Observation, world: World) -> training.Observation:
    """The registry's part, read only where something still depends on it."""
    status = seen.status
    moved = status.alias is not None and (
        status.alias.moved_time is not None or status.alias.version != status.version
    )
    settled = status.result is not None and (
        status.version is None or moved or not seen.spec.model.alias
    )
    # The run of a job that failed may still be open: it is closed once it was read again.
    failed = status.result is not None and status.result.outcome is ResultOutcome.ERROR
    if settled and status.run is not None and not failed:
        return seen
    try:
        run = await _run(seen, world)
        if status.version is None:
            return await _with_claimed(replace(seen, run=run), world)
        known = await world.models.get(seen.spec.model.name, fresh=status.alias is None)
        if known.error:
            return replace(seen, run=run, registry_error=known.error)
        if known.view is not None and status.version not in known.view.versions:
            # Our own version is newer than what was read last: look again soon.
            world.models.touch(seen.spec.model.name)
            return replace(seen, run=run)
        return replace(seen, run=run, model=known.view, model_read=True)
    except (Unavailable, Rejected) as error:
        return replace(seen, registry_error=str(error))


async def _with_claimed(seen: training.Observation, world: World) -> training.Observation:
    """The model as it is now, where a program of the user's says that it registered a version."""
    full_hash = seen.status.spec_hash or training_resources.spec_hash(seen)
    adopt = seen.status.job_name is None
    found = training_policy.document(seen, full_hash, adopt=adopt)
    over = seen.job is None or jobs.is_over(seen.job)
    if seen.status.result is not None or found is None or not over:
        return seen
    if not custom.claims(seen, found):
        return seen
    try:
        # What was read for others may be older than the claim.
        view = await world.registry.model(seen.spec.model.name)
    except Missing:
        view = None
    return replace(seen, model=view, model_read=True)


async def _run(seen: training.Observation, world: World) -> RunView | None:
    full_hash = seen.status.spec_hash or training_resources.spec_hash(seen)
    run = await world.registry.run(seen.namespace, seen.name, full_hash)
    if run is None or not links.may_ask(seen.spec):
        return run
    try:
        return replace(run, traces=await world.registry.traces(run))
    except (Missing, Rejected):
        # An older MLflow counts no traces: the job is none the worse for it.
        return run


async def _invalid(obj: Manifest, message: str, world: World) -> None:
    """An object that cannot be read as one of ours: say so, touch nothing else."""
    meta = obj["metadata"]
    now = world.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    known = {c["type"]: c for c in (obj.get("status") or {}).get("conditions") or ()}
    before = known.get("Stalled")
    if before is not None and before["message"] == message[:1024]:
        return
    condition = {
        "type": "Stalled",
        "status": "True",
        "reason": "InvalidSpec",
        "message": message[:1024],
        "lastTransitionTime": now,
        "observedGeneration": meta.get("generation", 0),
    }
    await world.cluster.apply_status(
        {
            "apiVersion": obj["apiVersion"],
            "kind": obj["kind"],
            "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
            "status": {
                **(obj.get("status") or {}),
                "conditions": [*(c for t, c in known.items() if t != "Stalled"), condition],
            },
        }
    )


def _one(children: Sequence[Manifest], kind: str) -> Manifest | None:
    return next((child for child in children if child["kind"] == kind), None)


def _job_pods(pods: Iterable[Manifest]) -> tuple[jobs.PodView, ...]:
    """Pods of Jobs, newest last."""
    found = [_job_pod(pod) for pod in pods if pod["kind"] == "Pod"]
    return tuple(sorted(found, key=lambda pod: (pod.created, pod.name)))


def _job_pod(pod: Manifest) -> jobs.PodView:
    status = pod.get("status") or {}
    container: Manifest = next(iter(status.get("containerStatuses") or ()), {})
    state = container.get("state") or {}
    ended = state.get("terminated") or {}
    waiting = state.get("waiting") or {}
    return jobs.PodView(
        name=pod["metadata"]["name"],
        created=parse_time(pod["metadata"]["creationTimestamp"]),
        phase=status.get("phase", "Pending"),
        exit_code=ended.get("exitCode"),
        out_of_memory=ended.get("reason") == "OOMKilled",
        message=ended.get("message", ""),
        waiting=_waiting_text(status, waiting),
    )


def _waiting_text(status: Manifest, waiting: Manifest) -> str:
    unscheduled = _condition(status, "PodScheduled", "False")
    if unscheduled is not None and unscheduled.get("message"):
        return str(unscheduled["message"])
    if waiting:
        return ": ".join(filter(None, (waiting.get("reason"), waiting.get("message"))))
    return ""


def _condition(status: Manifest, kind: str, truth: str) -> Manifest | None:
    conditions = status.get("conditions") or ()
    return next((c for c in conditions if c["type"] == kind and c["status"] == truth), None)


# -- ModelDeployment -----------------------------------------------------------------------------


async def model_deployment(key: Key, world: World) -> rollout.Observation | None:
    """What is known of one ModelDeployment, counters apart; None when it is gone or unreadable."""
    parsed = await _read(ModelDeployment, key, world)
    if parsed is None:
        return None
    meta, settings, spec = parsed.metadata, world.settings, parsed.spec
    labelled = world.cache.children(key)
    children = [child for child in labelled if _is_ours(child, meta.uid)]
    pods = [child for child in labelled if child["kind"] == "Pod"]
    revisions = _revisions(children, pods)
    service = next(
        (c for c in children if c["kind"] == "Service" and c["metadata"]["name"] == key.name), None
    )
    route = _one(children, "HTTPRoute")
    maps = {child["metadata"]["name"]: child for child in children if child["kind"] == "ConfigMap"}
    shadow = maps.get(names.shadow(key.name))
    spec, waits = traffic.settled_spec(spec, parsed.status, route=route, service=service)
    # Which version is the first champion is decided once.
    first = parsed.status.champion is None
    known = await world.models.get(spec.model.name, fresh=first)
    if known.missing or (known.view is not None and not known.view.versions):
        world.models.wait_for(spec.model.name)
    return rollout.Observation(
        name=key.name,
        namespace=key.namespace,
        uid=meta.uid,
        generation=meta.generation,
        spec=spec,
        status=parsed.status,
        identity=settings.identity,
        settings=rollout.Settings(
            server_image=settings.server_image,
            feast_image=settings.feast_image,
            image_pull_policy=settings.image_pull_policy,
            pod_environment=_pod_environment(settings),
        ),
        request_annotation=meta.annotations.get(labels.REQUEST, ""),
        model_allowed=settings.allows_model(key.namespace, spec.model.name),
        model=known.view,
        model_missing=known.missing,
        registry_error=known.error,
        alias_owner=_alias_owner(parsed, world),
        revisions=revisions,
        traffic=replace(
            _traffic(key, spec, route, service, revisions, world),
            replay=traffic.read_replay(shadow),
        ),
        sessions_exist=world.sessions_exist,
        shadow=shadow,
        service=service,
        route=route,
        route_change_waits=waits,
        foreign=await _foreign(key, world),
        problems=world.problems.get(key, {}),
        columns={name: world.columns[name] for name in revisions if name in world.columns},
        collectors=tuple(_server_pod(pod) for pod in pods if _component(pod) == labels.COLLECTOR),
        query_problems=_query_problems(key, spec, world),
    )


def _component(obj: Manifest) -> str:
    return str((obj["metadata"].get("labels") or {}).get(labels.COMPONENT, ""))


def _revisions(
    children: Iterable[Manifest], pods: Iterable[Manifest]
) -> dict[str, rollout.RevisionView]:
    records: dict[str, Manifest] = {}
    deployments: dict[str, Manifest] = {}
    autoscalers: dict[str, Manifest] = {}
    budgets: dict[str, Manifest] = {}
    services: dict[str, dict[str, Manifest]] = {}
    running: dict[str, list[rollout.PodView]] = {}
    by_kind = {
        "ControllerRevision": records,
        "Deployment": deployments,
        "HorizontalPodAutoscaler": autoscalers,
        "PodDisruptionBudget": budgets,
    }
    for child in children:
        revision = (child["metadata"].get("labels") or {}).get(labels.REVISION)
        if revision is None:
            continue
        name = child["metadata"]["name"]
        if child["kind"] in by_kind:
            by_kind[child["kind"]][name] = child
        elif child["kind"] == "Service":
            services.setdefault(revision, {})[name] = child
    for pod in pods:
        revision = (pod["metadata"].get("labels") or {}).get(labels.REVISION)
        if revision is not None:
            running.setdefault(revision, []).append(_server_pod(pod))
    return {
        name: rollout.RevisionView(
            name=name,
            uid=record["metadata"]["uid"],
            data=record["data"],
            rejected=(record["metadata"].get("annotations") or {}).get(labels.REJECTED, ""),
            deployment=deployments.get(name),
            services=services.get(name, {}),
            autoscaler=autoscalers.get(name),
            budget=budgets.get(name),
            pods=tuple(sorted(running.get(name, ()), key=lambda pod: pod.name)),
        )
        for name, record in records.items()
    }


def _server_pod(pod: Manifest) -> rollout.PodView:
    meta, status = pod["metadata"], pod.get("status") or {}
    server: Manifest = next(iter(status.get("containerStatuses") or ()), {})
    server_end = _last_end(server)
    # What is there before the server: its model, and the features beside it.
    before: Sequence[Manifest] = status.get("initContainerStatuses") or ()
    fetch_end = next((end for each in before if (end := _last_end(each)).get("exitCode")), {})
    ready = _condition(status, "Ready", "True")
    unready = _condition(status, "Ready", "False")
    unscheduled = _condition(status, "PodScheduled", "False") or {}
    waiting = next((found for each in (*before, server) if (found := _waiting(each))), {})
    return rollout.PodView(
        uid=meta["uid"],
        name=meta["name"],
        address=status.get("podIP", ""),
        ready=ready is not None,
        ready_changed=_time((ready or unready or {}).get("lastTransitionTime")),
        created=parse_time(meta["creationTimestamp"]),
        deleting=bool(meta.get("deletionTimestamp")),
        fetch_exit=fetch_end.get("exitCode") or None,
        fetch_message=fetch_end.get("message", ""),
        server_exit=server_end.get("exitCode"),
        server_message=server_end.get("message", ""),
        restarts=server.get("restartCount", 0),
        last_restart=_time(server_end.get("finishedAt")),
        waiting=waiting.get("reason", ""),
        waiting_message=waiting.get("message", ""),
        unschedulable=unscheduled.get("message", ""),
    )


def _last_end(container: Manifest) -> Manifest:
    """How a container ended last: now, or before its restart."""
    state, last = container.get("state") or {}, container.get("lastState") or {}
    ended: Manifest = state.get("terminated") or last.get("terminated") or {}
    return ended


def _waiting(container: Manifest) -> Manifest | None:
    waiting: Manifest | None = (container.get("state") or {}).get("waiting")
    # A container that waits for the one before it says nothing.
    if waiting is None or waiting.get("reason") in ("PodInitializing", "ContainerCreating"):
        return None
    return waiting


def _time(text: str | None) -> datetime | None:
    return parse_time(text) if text else None


def _traffic(
    key: Key,
    spec: ModelDeploymentSpec,
    route: Manifest | None,
    service: Manifest | None,
    revisions: Mapping[str, rollout.RevisionView],
    world: World,
) -> rollout.TrafficView:
    if spec.route is None:
        return traffic.read_replicas(service, revisions)
    parents = [ref.manifest() for ref in spec.route.parent_refs]
    return traffic.read_route(
        route,
        parents=parents,
        missing_gateways=_missing_gateways(key, parents, world),
        others=world.routes,
    )


def _missing_gateways(key: Key, parents: Sequence[Manifest], world: World) -> list[str]:
    if not world.routes_exist:
        return [str(parents[0]["name"])]
    if not world.gateways_readable:
        return []
    return [
        str(parent["name"])
        for parent in parents
        if world.cache.get(
            Key("Gateway", str(parent.get("namespace", key.namespace)), str(parent["name"]))
        )
        is None
    ]


def _alias_owner(parsed: ModelDeployment, world: World) -> str:
    """An older ModelDeployment with the same model and champion alias, or nothing."""
    alias = parsed.spec.model.champion_alias
    if not alias:
        return ""
    mine = (parsed.metadata.creation_timestamp or "", parsed.metadata.uid)
    for key in world.cache.readers(registered_model(parsed.spec.model.name)):
        other = world.cache.get(key) if key.kind == "ModelDeployment" else None
        if other is None:
            continue
        meta, same = other["metadata"], other["spec"]["model"].get("championAlias", "champion")
        if same == alias and (meta["creationTimestamp"], meta["uid"]) < mine:
            return f"{meta['namespace']}/{meta['name']}"
    return ""


# -- counters ------------------------------------------------------------------------------------


async def counters(seen: rollout.Observation, world: World) -> rollout.Observation:
    """The same observation with both arms' counters, read now."""
    status = seen.status
    arms = traffic.compared(status)
    roles = {arm.revision: role for arm, role in zip(arms, Role, strict=True) if arm is not None}
    targets = [
        rollout.ScrapeTarget(pod_uid=pod.uid, revision=name, address=pod.address)
        for name in roles
        if name in seen.revisions
        for pod in seen.revisions[name].pods
        if pod.address
    ]
    collectors = [
        rollout.ScrapeTarget(
            pod_uid=pod.uid, revision="", address=pod.address, port=labels.PORT_COLLECTOR
        )
        for pod in seen.collectors
        if pod.address
    ]
    pages, answers = await asyncio.gather(
        world.metrics.scrape([*targets, *collectors]), _ask(seen, roles, world)
    )
    kinds = dict(zip(Role, traffic.counted_kinds(status), strict=True))
    samples = tuple(
        PodSample(
            pod_uid=page.target.pod_uid,
            started=page.started,
            role=role,
            codes=page.requests.get(kinds[role], {}),
            latency=page.latency.get(kinds[role], ()),
            scores=page.scores.get(kinds[role], ()),
        )
        for page in pages
        if page.target.revision in roles
        for role in (roles[page.target.revision],)
    )
    return replace(
        seen,
        samples=samples,
        outcomes=tuple(_outcomes(page, roles) for page in pages),
        answers=answers,
        query_problems=_query_problems(_key(seen), seen.spec, world),
    )


def _outcomes(page: rollout.ScrapedPage, roles: Mapping[str, Role]) -> OutcomeSample:
    """What a page tells of compared and labelled answers, by the arm that it is told of."""
    differences = [page.differences[name] for name in roles if name in page.differences]
    return OutcomeSample(
        pod_uid=page.target.pod_uid,
        started=page.started,
        results={
            role: page.outcomes[name] for name, role in roles.items() if name in page.outcomes
        },
        differences=differences[0] if differences else (),
    )


def _key(seen: rollout.Observation) -> Key:
    return Key("ModelDeployment", seen.namespace, seen.name)


MOST_SERIES = 30
"""What one query may return of one arm: their last values lie in status."""


async def _ask(
    seen: rollout.Observation, roles: Mapping[str, Role], world: World
) -> dict[str, Mapping[str, float]]:
    """What the queries of every metric return; one that fails leaves its metric out."""
    rules = [rule for rule in steps.rules(seen.spec).metrics if rule.queries]
    found = await asyncio.gather(*(_ask_one(rule, roles, world) for rule in rules))
    answers: dict[str, Mapping[str, float]] = {}
    problems: dict[str, str] = {}
    for rule, answer in zip(rules, found, strict=True):
        if isinstance(answer, str):
            problems[rule.name] = answer
        else:
            answers[rule.name] = answer
    world.query_problems.pop(_key(seen), None)
    if problems:
        world.query_problems[_key(seen)] = problems
    return answers


async def _ask_one(
    rule: MetricRule, roles: Mapping[str, Role], world: World
) -> Mapping[str, float] | str:
    """The values of all queries of a metric by arm, purpose and series, or what is wrong."""
    if world.queries is None:
        return NO_PROMETHEUS
    values: dict[str, float] = {}
    for revision, role in roles.items():
        for purpose, text in rule.queries.items():
            try:
                series = await world.queries.query(text.replace(policy.REVISION_VARIABLE, revision))
            except (Unavailable, Rejected) as error:
                return f"`{purpose}`: {error}"
            most = 1 if rule.kind is MetricKind.GAUGE else MOST_SERIES
            if len(series) > most:
                return (
                    f"`{purpose}` returns {len(series)} series for revision {revision}, at most "
                    f"{most} may be: sum over what need not be told apart"
                )
            for name, value in series.items():
                short = names.digest({"labels": name})[:8]
                values[answer_key(role, purpose, short)] = value
    return values


NO_PROMETHEUS = (
    "the operator knows no Prometheus: whoever runs it sets LINNET_PROMETHEUS_URL, or the metric "
    "goes without `source` and `gaugePromQL`"
)


def _query_problems(key: Key, spec: ModelDeploymentSpec, world: World) -> Mapping[str, str]:
    """Why metrics cannot be asked for, as far as it is known."""
    asked = [metric.name for metric in spec.analysis.metrics if steps.queries(metric)]
    if world.queries is None:
        return dict.fromkeys(asked, NO_PROMETHEUS)
    known = world.query_problems.get(key, {})
    return {name: problem for name, problem in known.items() if name in asked}


async def describe(seen: rollout.Observation, world: World) -> rollout.Observation:
    """The same observation with both arms' inputs, where they are still to be compared."""
    status = seen.status
    if status.candidate is None or status.champion is None or status.inputs is not None:
        return seen
    for arm in (status.champion, status.candidate):
        view = seen.revisions.get(arm.revision)
        ready = view.ready_pods if view is not None else ()
        if ready:
            target = rollout.ScrapeTarget(
                pod_uid=ready[0].uid, revision=arm.revision, address=ready[0].address
            )
            await world.describe(target, seen.spec.model.name)
    found = {name: world.columns[name] for name in seen.revisions if name in world.columns}
    return replace(seen, columns=found)


# -- DriftPolicy ---------------------------------------------------------------------------------


async def drift_policy(key: Key, world: World) -> drift.Observation | None:
    """What is known of one DriftPolicy; None when it is gone or unreadable."""
    parsed = await _read(DriftPolicy, key, world)
    if parsed is None:
        return None
    meta, settings = parsed.metadata, world.settings
    deployment = _judged_deployment(key, parsed, world)
    model = deployment.model if deployment is not None else ""
    known = await world.models.get(model) if model else Known()
    children = world.cache.children(key)
    owned = [child for child in children if _is_ours(child, meta.uid)]
    pods = [child for child in children if child["kind"] == "Pod"]
    seen = drift.Observation(
        name=key.name,
        namespace=key.namespace,
        uid=meta.uid,
        generation=meta.generation,
        created=parse_time(meta.creation_timestamp or ""),
        spec=parsed.spec,
        status=parsed.status,
        identity=settings.identity,
        request_annotation=meta.annotations.get(labels.REQUEST, ""),
        model_allowed=not model or settings.allows_model(key.namespace, model),
        foreign=await _foreign(key, world),
        settings=_job_settings(settings, settings.monitor_image),
        deployment=deployment,
        version=known.view.versions.get(deployment.champion)
        if known.view is not None and deployment is not None
        else None,
        registry_error=known.error,
        checks=_checks(owned, pods),
        trainings={
            child["metadata"]["name"]: _retraining(child)
            for child in owned
            if child["kind"] == "TrainingJob"
        },
        problems=world.problems.get(key, {}),
    )
    return await _with_check_run(seen, world)


def _judged_deployment(key: Key, policy: DriftPolicy, world: World) -> drift.DeploymentView | None:
    name = policy.spec.model_deployment_ref.name
    obj = world.cache.get(Key("ModelDeployment", key.namespace, name))
    parsed = _parse(ModelDeployment, obj)[0] if obj is not None else None
    if parsed is None:
        return None
    model, status = parsed.spec.model, parsed.status
    champion = status.champion
    since = champion.since if champion is not None else None
    return drift.DeploymentView(
        model=model.name,
        alias=model.alias or "",
        champion=champion.version if champion is not None and since is not None else "",
        promoted=_time(since),
        rolling_out=status.candidate is not None,
    )


def _checks(owned: Iterable[Manifest], pods: Iterable[Manifest]) -> dict[str, drift.CheckView]:
    found: dict[str, drift.CheckView] = {}
    for child in owned:
        name = child["metadata"]["name"]
        if child["kind"] == "Job":
            mine = [pod for pod in pods if _job_of(pod) == name]
            found[name] = replace(
                found.get(name, drift.CheckView()), job=child, pods=_job_pods(mine)
            )
        elif child["kind"] == "ConfigMap":
            found[name] = replace(found.get(name, drift.CheckView()), config_map=child)
    return found


def _job_of(pod: Manifest) -> str:
    owners = pod["metadata"].get("ownerReferences") or ()
    return next((str(owner["name"]) for owner in owners if owner.get("kind") == "Job"), "")


def _retraining(obj: Manifest) -> drift.TrainingView:
    status = obj.get("status") or {}
    complete, failed = _condition(status, "Complete", "True"), _condition(status, "Failed", "True")
    ended = complete or failed
    return drift.TrainingView(
        created=parse_time(obj["metadata"]["creationTimestamp"]),
        reason=str(ended["reason"]) if ended is not None else "",
        passed=complete is not None,
    )


async def _with_check_run(seen: drift.Observation, world: World) -> drift.Observation:
    """The run of a check that is over, asked for only where its pods no longer say how it ended."""
    name, slot = drift_facts.job_in_flight(seen, seen.status), drift_facts.current_slot(seen.status)
    check = drift_facts.view(seen, name)
    if not name or slot is None or check.config_map is None or not drift_facts.is_over(check):
        return seen
    if drift_facts.document(seen, check, slot) is not None:
        return seen
    spec_hash = str(check.config_map["metadata"]["annotations"][labels.SPEC_HASH])
    try:
        run = await world.registry.run(seen.namespace, seen.name, spec_hash)
    except (Unavailable, Rejected) as error:
        return replace(seen, registry_error=str(error))
    return replace(seen, run=run, run_read=True)
