"""What a ModelDeployment's children look like: values in, manifests out."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from linnet_server import contract
from linnet_trainer import contract as trainer

from linnet.api import labels
from linnet.api.model_deployment import Autoscaling, ModelDeploymentSpec, Route
from linnet.api.pod_template import PodTemplate
from linnet.api.shared import parse_duration, parse_quantity
from linnet.core import names, pods
from linnet.core.registry import VersionView
from linnet.core.rollout.state import Observation, RevisionView

Manifest = Mapping[str, Any]

MODEL_VOLUME = "model"
SHADOW_VOLUME = "shadow-target"
FEATURE_RESOURCES: Manifest = {
    "requests": {"cpu": "50m", "memory": "320Mi"},
    "limits": {"memory": "768Mi"},
}
"""Feast alone takes 200 MiB."""
GRACE_BEYOND_DRAIN = 20
DEFAULT_RESOURCES: Manifest = {
    "requests": {"cpu": "100m", "memory": "256Mi"},
    "limits": {"memory": "512Mi"},
}
_PORTS = (
    ("weighted", labels.PORT_WEIGHTED),
    ("metrics", labels.PORT_METRICS),
    ("mirrored", labels.PORT_MIRRORED),
    ("direct", labels.PORT_DIRECT),
    ("cohort", labels.PORT_COHORT),
)


def wish_key(spec: ModelDeploymentSpec, version: VersionView) -> str:
    """Identity of what the user asks for; the operator's own defaults are not in it.

    A new operator with another default image therefore finds the revision that serves.
    """
    return names.digest(
        {
            "model": spec.model.name,
            "version": version.version,
            "digest": version.digest,
            "server": _user_part(spec),
        }
    )


def content_key(spec: ModelDeploymentSpec, version: VersionView) -> str:
    """Identity of a rejection: what the model computes and how it is served, not its number."""
    content = version.tags.get(labels.VERSION_CONTENT) or version.digest
    return names.digest(
        {
            "content": content or f"{spec.model.name}/{version.version}",
            "server": _user_part(spec),
        }
    )


def _user_part(spec: ModelDeploymentSpec) -> Manifest:
    """What of the server settings makes a revision: not replicas, not autoscaling."""
    part = spec.server.model_dump(
        mode="json", by_alias=True, exclude_none=True, exclude={"replicas", "autoscaling"}
    )
    part["allowFormats"] = sorted(spec.model.allow_formats)
    part["provenance"] = str(spec.model.provenance)
    part["credentials"] = spec.credentials_secret_name
    if spec.features is not None:
        part["features"] = spec.features.model_dump(mode="json", by_alias=True, exclude_none=True)
    return part


def make_pod_template(seen: Observation, version: VersionView, *, revision: str) -> Manifest:
    """The rendered pod template of a revision, default image included."""
    spec, settings = seen.spec, seen.settings
    template = spec.server.template
    image = template.image or settings.server_image
    drain = parse_duration(spec.server.drain_timeout)
    own = {
        labels.REVISION: revision,
        labels.MODEL_VERSION: version.version,
        **pods.own_labels(labels.SERVER, labels.MODEL_DEPLOYMENT, seen.name),
    }
    identity = {
        contract.ENV_MODEL_NAME: spec.model.name,
        contract.ENV_MODEL_VERSION: version.version,
    }
    fetch_environment = {
        **settings.pod_environment,
        **identity,
        contract.ENV_MODEL_DIR: contract.DEFAULT_MODEL_DIR,
        contract.ENV_ARTIFACT_URI: version.artifact_uri,
        contract.ENV_DIGEST: version.tags.get(labels.VERSION_MANIFEST, ""),
        contract.ENV_CONTENT_DIGEST: version.tags.get(labels.VERSION_CONTENT, ""),
        contract.ENV_DATA_DIGEST: version.tags.get(labels.VERSION_DATA, ""),
        contract.ENV_RUN_ID: version.run_id,
        contract.ENV_PROVENANCE: str(spec.model.provenance),
        contract.ENV_ALLOW_FORMATS: ",".join(spec.model.allow_formats),
    }
    serve_environment = {
        **identity,
        contract.ENV_MODEL_DIR: contract.DEFAULT_MODEL_DIR,
        contract.ENV_REVISION: revision,
        contract.ENV_NAMESPACE: seen.namespace,
        contract.ENV_DEPLOYMENT: seen.name,
        contract.ENV_WORKERS: str(spec.server.workers),
        contract.ENV_MAX_REQUEST_BYTES: str(parse_quantity(spec.server.max_request_bytes)),
        contract.ENV_DRAIN_TIMEOUT: spec.server.drain_timeout,
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        **_features_environment(spec),
    }
    fetch = {
        "name": "fetch",
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": ["fetch"],
        "env": pods.environment(fetch_environment, template),
        "envFrom": pods.environment_sources(spec.credentials_secret_name, template),
        "resources": _resources(template),
        "volumeMounts": [
            {"name": MODEL_VOLUME, "mountPath": "/var/run/linnet"},
            *pods.credential_mounts(),
            *pods.common_mounts(template),
        ],
        **pods.container_rest(),
    }
    serve = {
        "name": "server",
        "image": image,
        "imagePullPolicy": settings.image_pull_policy,
        "args": ["serve"],
        "env": [
            *pods.environment(serve_environment, template),
            {
                "name": contract.ENV_POD_NAME,
                "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
            },
        ],
        "envFrom": pods.user_sources(template),
        "ports": [{"name": name, "containerPort": port} for name, port in _PORTS],
        "resources": _resources(template),
        "volumeMounts": [
            {"name": MODEL_VOLUME, "mountPath": "/var/run/linnet", "readOnly": True},
            {"name": SHADOW_VOLUME, "mountPath": contract.SHADOW_FOLDER, "readOnly": True},
            *pods.common_mounts(template),
        ],
        **_probes(spec),
        **pods.container_rest(),
    }
    return {
        "metadata": {
            "labels": {**(template.labels or {}), **own},
            "annotations": {**(template.annotations or {}), labels.MODEL: spec.model.name},
        },
        "spec": {
            **pods.scheduling(template),
            "terminationGracePeriodSeconds": math.ceil(drain.total_seconds()) + GRACE_BEYOND_DRAIN,
            "initContainers": [fetch, *_feature_sidecars(seen)],
            "containers": [serve],
            "volumes": [
                {"name": MODEL_VOLUME, "emptyDir": {}},
                # Who gets copies changes while a revision serves, and restarts nothing.
                {
                    "name": SHADOW_VOLUME,
                    "configMap": {"name": names.shadow(seen.name), "optional": True},
                },
                pods.credential_volume(spec.credentials_secret_name),
                *pods.common_volumes(template),
                *pods.claim_volumes(_claims(spec)),
            ],
        },
    }


def _feature_sidecars(seen: Observation) -> list[Manifest]:
    """What looks features up for the server: it starts before it and ends after it."""
    spec, settings = seen.spec, seen.settings
    if spec.features is None or spec.features.feast is None:
        return []
    told = {
        **spec.features.feast.model_dump(mode="json", by_alias=True),
        "port": labels.PORT_FEATURES,
        "timeoutSeconds": parse_duration(spec.features.timeout).total_seconds(),
    }
    variables = {
        **settings.pod_environment,
        trainer.ENV_FEATURES: json.dumps(told, sort_keys=True),
        "OMP_NUM_THREADS": "1",
    }
    template = spec.server.template
    return [
        {
            "name": "features",
            "image": settings.feast_image,
            "imagePullPolicy": settings.image_pull_policy,
            "args": ["features"],
            "restartPolicy": "Always",
            "env": pods.environment(variables, template),
            "envFrom": pods.environment_sources(spec.credentials_secret_name, template),
            "resources": FEATURE_RESOURCES,
            "volumeMounts": [
                *pods.credential_mounts(),
                *pods.common_mounts(template),
                *pods.claim_mounts(_claims(spec), trainer.PVC_DIR),
            ],
            **pods.container_rest(),
        }
    ]


def _features_environment(spec: ModelDeploymentSpec) -> dict[str, str]:
    if spec.features is None or spec.features.feast is None:
        return {}
    return {
        contract.ENV_FEATURES_URL: (
            f"http://127.0.0.1:{labels.PORT_FEATURES}{trainer.PATH_FEATURES}"
        ),
        contract.ENV_FEATURES_TIMEOUT: spec.features.timeout,
    }


def _claims(spec: ModelDeploymentSpec) -> dict[str, str]:
    """The claim of a feature repository on a volume."""
    feast = spec.features.feast if spec.features is not None else None
    return pods.claims_of([feast.repo_uri] if feast is not None else [])


def _resources(template: PodTemplate) -> Manifest:
    return pods.resources(template, DEFAULT_RESOURCES)


def _probes(spec: ModelDeploymentSpec) -> Manifest:
    deadline = parse_duration(spec.strategy.progress_deadline).total_seconds()
    ready = {"httpGet": {"path": "/readyz", "port": labels.PORT_METRICS}}
    return {
        "startupProbe": {**ready, "periodSeconds": 1, "failureThreshold": max(10, int(deadline))},
        "readinessProbe": {**ready, "periodSeconds": 2, "timeoutSeconds": 2, "failureThreshold": 2},
        "livenessProbe": {
            "httpGet": {"path": "/healthz", "port": labels.PORT_METRICS},
            "periodSeconds": 10,
            "timeoutSeconds": 5,
            "failureThreshold": 6,
        },
    }


def revision_hash(seen: Observation, version: VersionView) -> str:
    """sha256 over model name, version, digest and the rendered template without its own name."""
    return names.digest(
        {
            "model": seen.spec.model.name,
            "version": version.version,
            "digest": version.digest,
            "template": make_pod_template(seen, version, revision=""),
        }
    )


def make_controller_revision(seen: Observation, version: VersionView, *, name: str) -> Manifest:
    """The frozen record of a revision; its template is re-applied from here for ever."""
    full_hash = revision_hash(seen, version)
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": name,
            "namespace": seen.namespace,
            "labels": _revision_labels(seen, name, version.version),
            "annotations": {
                labels.MODEL: seen.spec.model.name,
                labels.REVISION_HASH: full_hash,
                labels.DIGEST: version.digest,
            },
            "ownerReferences": _owner(seen),
        },
        "revision": int(version.version),
        "data": {
            "model": seen.spec.model.name,
            "version": version.version,
            "artifactURI": version.artifact_uri,
            "digest": version.digest,
            "contentDigest": version.tags.get(labels.VERSION_CONTENT, ""),
            "hash": full_hash,
            "wishKey": wish_key(seen.spec, version),
            "contentKey": content_key(seen.spec, version),
            "template": make_pod_template(seen, version, revision=name),
        },
    }


def make_deployment(seen: Observation, revision: RevisionView) -> Manifest:
    """The Deployment of a revision; it never carries replicas (they go through /scale)."""
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": _child_metadata(seen, revision, revision.name),
        "spec": {
            "selector": {"matchLabels": {labels.REVISION: revision.name}},
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": 2147483647,
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1},
            },
            "template": revision.data["template"],
        },
    }


def make_budget(seen: Observation, revision: RevisionView) -> Manifest:
    """A node that is drained takes one pod of a revision at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _child_metadata(seen, revision, revision.name),
        "spec": {
            "maxUnavailable": 1,
            # A pod that does not serve anyway keeps no node from being drained.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": {labels.REVISION: revision.name}},
        },
    }


def make_autoscaler(
    seen: Observation,
    revision: RevisionView,
    scaling: Autoscaling,
    *,
    least: int | None = None,
    most: int | None = None,
) -> Manifest:
    """The HorizontalPodAutoscaler of a revision; `least` and `most` stand over its own bounds."""
    target = {
        "type": "Utilization",
        "averageUtilization": scaling.target_cpu_utilization_percentage,
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _child_metadata(seen, revision, revision.name),
        "spec": {
            "scaleTargetRef": {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "name": revision.name,
            },
            "minReplicas": scaling.min_replicas if least is None else least,
            "maxReplicas": scaling.max_replicas if most is None else most,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        },
    }


def make_services(seen: Observation, revision: RevisionView) -> tuple[Manifest, ...]:
    """One Service per kind of request, each on the port that tells the kind.

    Without a gateway nobody splits requests by them, and each costs an address, which takes the API
    server the longer the more there are: then there is one for testers, and one for the copies that
    a shadow step's champion sends.
    """
    routed = seen.spec.route is not None
    shadows = any(step.shadow is not None for step in seen.spec.strategy.steps)
    ports = (
        (revision.name, labels.PORT_WEIGHTED, routed),
        (names.mirror(revision.name), labels.PORT_MIRRORED, routed or shadows),
        (names.direct(revision.name), labels.PORT_DIRECT, True),
        (names.cohort(revision.name), labels.PORT_COHORT, routed),
    )
    return tuple(
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": _child_metadata(seen, revision, name),
            "spec": {
                "selector": {labels.REVISION: revision.name},
                "ports": [{"name": "http", "port": labels.PORT_SERVICE, "targetPort": target}],
            },
        }
        for name, target, asked in ports
        if asked
    )


def make_shadow(seen: Observation, *, champion: str, candidate: str, percent: int) -> Manifest:
    """The ConfigMap that has the champion's server send copies of so many percent of requests."""
    told = {
        "from": champion,
        "to": candidate,
        "url": f"http://{names.mirror(candidate)}.{seen.namespace}.svc",
        "percent": percent,
    }
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": names.shadow(seen.name),
            "namespace": seen.namespace,
            "labels": pods.own_labels(labels.SERVER, labels.MODEL_DEPLOYMENT, seen.name),
            "ownerReferences": _owner(seen),
        },
        "data": {contract.SHADOW_KEY: names.canonical(told)},
    }


def make_route(
    seen: Observation,
    weights: Sequence[tuple[str, int]],
    *,
    rollout_id: str,
    tester: str | None = None,
    mirror: tuple[str, int] | None = None,
    cohorts: Sequence[tuple[str, str, str]] = (),
    session: tuple[str, str] | None = None,
) -> Manifest:
    """The HTTPRoute with these shares by revision, which sum to 100.

    `tester` is the revision that answers requests with `strategy.testHeader`, on a port of its own:
    they are no evidence. `mirror` names the revision that gets copies of so many percent of the
    requests; `cohorts` are header, value and the revision that answers requests with it; `session`
    is the type and name of what keeps a client with its version.
    """
    route = seen.spec.route
    if route is None:
        raise ValueError("a ModelDeployment without spec.route has no HTTPRoute")
    if sum(weight for _, weight in weights) != 100:
        raise ValueError(f"weights must sum to 100: {weights}")
    parents = [
        parent.model_dump(mode="json", by_alias=True, exclude_none=True)
        for parent in route.parent_refs
    ]
    refs = [
        {"name": revision, "port": labels.PORT_SERVICE, "weight": weight}
        for revision, weight in weights
    ]
    # Of two rules that match, the one with more headers wins, wherever it stands. The weights stay
    # first: a gateway that names its clusters by a rule's place would make them anew, and drop
    # requests, whenever a rule came before them.
    rules = [_rule(route, refs, mirror=mirror)]
    if session is not None:
        kind, name = session
        rules[0] = {**rules[0], "sessionPersistence": {"type": kind, "sessionName": name}}
    for name, value, revision in cohorts:
        ref = {"name": names.cohort(revision), "port": labels.PORT_SERVICE, "weight": 1}
        rules.append(_rule(route, [ref], header=(name, value)))
    header = seen.spec.strategy.test_header
    if header is not None and tester is not None:
        direct = {"name": names.direct(tester), "port": labels.PORT_SERVICE, "weight": 1}
        rules.append(_rule(route, [direct], header=(header.name, header.value)))
    spec: dict[str, Any] = {"parentRefs": parents, "rules": rules}
    if route.hostnames:
        spec["hostnames"] = list(route.hostnames)
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": seen.name,
            "namespace": seen.namespace,
            "labels": pods.own_labels(labels.SERVER, labels.MODEL_DEPLOYMENT, seen.name),
            "annotations": {labels.ROLLOUT_ID: rollout_id},
            "ownerReferences": _owner(seen),
        },
        "spec": spec,
    }


def _rule(
    route: Route,
    refs: Sequence[Manifest],
    *,
    header: tuple[str, str] | None = None,
    mirror: tuple[str, int] | None = None,
) -> Manifest:
    """One rule of the route; what is not asked for is written empty, so that it goes when it goes.

    Other than its path the request is passed on as it came: the server knows no prefix.
    """
    prefix = route.path_prefix
    match: dict[str, Any] = {"path": {"type": "PathPrefix", "value": prefix}}
    if header is not None:
        match["headers"] = [{"type": "Exact", "name": header[0], "value": header[1]}]
    rewrite = {
        "type": "URLRewrite",
        "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
    }
    filters: list[Manifest] = [rewrite] if prefix != "/" else []
    if mirror is not None:
        copies = {"name": names.mirror(mirror[0]), "port": labels.PORT_SERVICE}
        request = {"backendRef": copies, "percent": mirror[1]}
        filters.append({"type": "RequestMirror", "requestMirror": request})
    return {"matches": [match], "filters": filters, "backendRefs": refs}


def make_service(seen: Observation, *, revision: str | None) -> Manifest:
    """The Service without a gateway: over one revision, or over both arms by their replicas."""
    selector = {labels.MODEL_DEPLOYMENT: seen.name}
    if revision is not None:
        selector[labels.REVISION] = revision
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": seen.name,
            "namespace": seen.namespace,
            "labels": pods.own_labels(labels.SERVER, labels.MODEL_DEPLOYMENT, seen.name),
            "ownerReferences": _owner(seen),
        },
        "spec": {
            "selector": selector,
            "ports": [
                {
                    "name": "http",
                    "port": labels.PORT_SERVICE,
                    "targetPort": labels.PORT_WEIGHTED,
                }
            ],
        },
    }


def _revision_labels(seen: Observation, revision: str, version: str) -> dict[str, str]:
    return {
        **pods.own_labels(labels.SERVER, labels.MODEL_DEPLOYMENT, seen.name),
        labels.REVISION: revision,
        labels.MODEL_VERSION: version,
    }


def _child_metadata(seen: Observation, revision: RevisionView, name: str) -> Manifest:
    return {
        "name": name,
        "namespace": seen.namespace,
        "labels": _revision_labels(seen, revision.name, revision.version),
        "annotations": {
            labels.MODEL: str(revision.data["model"]),
            labels.REVISION_HASH: str(revision.data["hash"]),
        },
        "ownerReferences": _owner(seen),
    }


def _owner(seen: Observation) -> list[Manifest]:
    return pods.owner_references("ModelDeployment", seen.name, seen.uid)
