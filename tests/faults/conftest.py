"""A real API server for the fault tests, and no other operator that minds their objects."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import definitions
import pytest
from e2e.api import Api, Refused

from . import standin
from .harness import Place, place

INSTALLED = ("Deployment", "linnet-system", "linnet-operator")


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    kubeconfig = os.environ.get("LINNET_KUBECONFIG")
    if not kubeconfig:
        pytest.fail(
            "tests/faults needs a real API server: run `dev/test.sh faults`, which starts one, or "
            "name a kubeconfig in LINNET_KUBECONFIG"
        )
    definitions.install(kubeconfig)
    found = Api(kubeconfig)
    installed = found.get(*INSTALLED)
    if installed is not None:
        found.patch(*INSTALLED, {"spec": {"replicas": 0}})
    with standin.metrics_pages():
        yield found
    if installed is not None:
        with contextlib.suppress(Refused):  # it may have been taken away meanwhile
            found.patch(*INSTALLED, {"spec": {"replicas": installed["spec"]["replicas"]}})


@pytest.fixture
def world(api: Api, tmp_path: Path) -> Iterator[Place]:
    with place(api, tmp_path) as found:
        yield found
