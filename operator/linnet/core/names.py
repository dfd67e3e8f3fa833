"""Names of children: deterministic, safe in 63 characters, the hash always kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any

LIMIT = 63
_LONGEST_SUFFIX = len("-cohort")


def canonical(value: Mapping[str, Any]) -> str:
    """Canonical JSON: sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Mapping[str, Any]) -> str:
    """Hex sha256 of the canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()


def revision(deployment: str, version: str, revision_hash: str) -> str:
    """`<mdep>-v<version>-<8 hex>`, the deployment's name cut until every Service name fits."""
    tail = f"-v{version}-{revision_hash[:8]}"
    return deployment[: LIMIT - _LONGEST_SUFFIX - len(tail)].rstrip("-") + tail


def is_cohort(service: str) -> bool:
    """Whether a Service is one for cohorts."""
    return service.endswith(cohort(""))


def revision_of(service: str) -> str:
    """The revision that a Service for mirrored, direct or cohort traffic belongs to."""
    for suffix in (mirror(""), direct(""), cohort("")):
        if service.endswith(suffix):
            return service.removesuffix(suffix)
    return service


def mirror(revision_name: str) -> str:
    """Service of the port that takes mirrored copies."""
    return f"{revision_name}-mirror"


def direct(revision_name: str) -> str:
    """Service of the port for testers."""
    return f"{revision_name}-direct"


def shadow(deployment: str) -> str:
    """ConfigMap that tells the champion's server who gets copies of requests."""
    return f"{deployment}-shadow"


def cohort(revision_name: str) -> str:
    """Service of the port for A/B cohorts."""
    return f"{revision_name}-cohort"


def training(job: str, spec_hash: str) -> str:
    """Job and ConfigMap of a TrainingJob: `<tjob>-train-<8 hex of spec hash>`."""
    return f"{job}-train-{spec_hash[:8]}"


def check(policy: str, slot: datetime) -> str:
    """Job and ConfigMap of a check: `<drift>-check-<minutes since 1970 of the slot>`."""
    return f"{policy}-check-{int(slot.timestamp()) // 60}"
