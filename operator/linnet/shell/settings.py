"""The operator's settings: environment variables `LINNET_…`, the same names as flags."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from urllib.parse import urlsplit

from linnet.api.shared import parse_duration

PREFIX = "LINNET_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that differs between installs; see the reference of settings."""

    tracking_uri: str
    registry_uri: str
    tracking_link: str
    s3_endpoint: str
    s3_region: str
    namespaces: tuple[str, ...]
    exclude_namespaces: frozenset[str]
    model_prefixes: Mapping[str, tuple[str, ...]]
    identity: str
    namespace: str
    """The operator's own namespace, where its Lease lies."""
    trainer_image: str
    server_image: str
    monitor_image: str
    ray_image: str
    """The trainer with Ray, for searches on it."""
    feast_image: str
    """The trainer with Feast, for trainings on a feature store."""
    image_pull_policy: str
    resync: timedelta
    registry_poll: timedelta
    registry_poll_waiting: timedelta
    workers: int
    scrape_timeout: timedelta
    scrape_concurrency: int
    prometheus_url: str
    """Where queries of metrics are sent; empty = metrics with queries hold every rollout."""
    lease_duration: timedelta
    lease_renew: timedelta
    lease_deadline: timedelta
    log_level: str
    log_format: str
    listen: str
    take_over: bool

    def watches(self, namespace: str) -> bool:
        """Whether objects in this namespace are this install's."""
        if namespace in self.exclude_namespaces:
            return False
        return not self.namespaces or namespace in self.namespaces

    def allows_model(self, namespace: str, model: str) -> bool:
        """Whether a namespace may use a registered model of this name."""
        if not self.model_prefixes:
            return True
        prefixes = self.model_prefixes.get(namespace, ())
        return any(model.startswith(prefix) for prefix in prefixes)


DEFAULTS: Mapping[str, str] = {
    "TRACKING_URI": "",
    "REGISTRY_URI": "",
    "TRACKING_LINK": "",
    "S3_ENDPOINT": "",
    "S3_REGION": "us-east-1",
    "NAMESPACES": "",
    "EXCLUDE_NAMESPACES": "kube-system",
    "MODEL_PREFIXES": "",
    "IDENTITY": "",
    "NAMESPACE": "linnet-system",
    "TRAINER_IMAGE": "localhost/linnet/trainer:dev",
    "SERVER_IMAGE": "localhost/linnet/server:dev",
    "MONITOR_IMAGE": "localhost/linnet/monitor:dev",
    "RAY_IMAGE": "localhost/linnet/trainer-ray:dev",
    "FEAST_IMAGE": "localhost/linnet/trainer-feast:dev",
    "IMAGE_PULL_POLICY": "IfNotPresent",
    "RESYNC": "5m",
    "REGISTRY_POLL": "60s",
    "REGISTRY_POLL_WAITING": "15s",
    "WORKERS": "8",
    "SCRAPE_TIMEOUT": "2s",
    "SCRAPE_CONCURRENCY": "64",
    "PROMETHEUS_URL": "",
    "LEASE_DURATION": "10s",
    "LEASE_RENEW": "2s",
    "LEASE_DEADLINE": "7s",
    "LOG_LEVEL": "info",
    "LOG_FORMAT": "json",
    "LISTEN": "0.0.0.0:8080",
    "TAKE_OVER": "false",
}


def _comma(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _prefixes(text: str) -> dict[str, tuple[str, ...]]:
    """`team-a=a-,shared-;team-b=b-` as a map of namespaces to allowed prefixes."""
    rules: dict[str, tuple[str, ...]] = {}
    for rule in filter(None, (part.strip() for part in text.split(";"))):
        namespace, separator, prefixes = rule.partition("=")
        if not separator:
            raise ValueError(
                f"LINNET_MODEL_PREFIXES: '{rule}' must look like 'namespace=prefix,prefix'"
            )
        rules[namespace.strip()] = _comma(prefixes)
    return rules


def parse(arguments: Sequence[str], environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from flags, then environment, then defaults; exits with a sentence when wrong."""
    parser = argparse.ArgumentParser(prog="linnet-operator", description="The Linnet operator.")
    for name, default in DEFAULTS.items():
        flag = "--" + name.lower().replace("_", "-")
        value = environment.get(PREFIX + name, default)
        if name == "TAKE_OVER":
            parser.add_argument(flag, action="store_true", default=value.lower() == "true")
        else:
            parser.add_argument(flag, default=value, help=f"{PREFIX}{name}, default '{default}'")
    values = parser.parse_args(arguments)
    if not values.tracking_uri:
        parser.error("LINNET_TRACKING_URI must name the MLflow server, such as http://mlflow:5000")
    try:
        return _build(values)
    except ValueError as error:
        parser.error(str(error))


def _web_address(name: str, text: str) -> str:
    parts = urlsplit(text)
    if text and not (parts.scheme in ("http", "https") and parts.hostname):
        raise ValueError(f"LINNET_{name}: '{text}' must look like 'http://prometheus:9090'")
    return text.rstrip("/")


def _build(values: argparse.Namespace) -> Settings:
    return Settings(
        tracking_uri=values.tracking_uri,
        registry_uri=values.registry_uri or values.tracking_uri,
        tracking_link=(values.tracking_link or values.tracking_uri).rstrip("/"),
        s3_endpoint=values.s3_endpoint,
        s3_region=values.s3_region,
        namespaces=_comma(values.namespaces),
        exclude_namespaces=frozenset(_comma(values.exclude_namespaces)),
        model_prefixes=_prefixes(values.model_prefixes),
        identity=values.identity or f"{values.namespace}/linnet-operator",
        namespace=values.namespace,
        trainer_image=values.trainer_image,
        server_image=values.server_image,
        monitor_image=values.monitor_image,
        ray_image=values.ray_image,
        feast_image=values.feast_image,
        image_pull_policy=values.image_pull_policy,
        resync=parse_duration(values.resync),
        registry_poll=parse_duration(values.registry_poll),
        registry_poll_waiting=parse_duration(values.registry_poll_waiting),
        workers=int(values.workers),
        scrape_timeout=parse_duration(values.scrape_timeout),
        scrape_concurrency=int(values.scrape_concurrency),
        prometheus_url=_web_address("PROMETHEUS_URL", values.prometheus_url),
        lease_duration=parse_duration(values.lease_duration),
        lease_renew=parse_duration(values.lease_renew),
        lease_deadline=parse_duration(values.lease_deadline),
        log_level=values.log_level,
        log_format=values.log_format,
        listen=values.listen,
        take_over=values.take_over,
    )
