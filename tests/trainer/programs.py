"""The example programs as their pods run them, and what the operator makes of what they leave."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import training_builders
import yaml
from linnet.adapters.mlflow import MLflowRegistry
from linnet.api.training_job import TrainingJobStatus
from linnet.core.training import planner, resources
from linnet.core.training.state import Observation
from linnet_trainer import contract

from trainer.world import World, merge

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "custom"
NOW = datetime(2026, 6, 1, tzinfo=UTC)
OVER = {"status": {"conditions": [{"type": "Complete", "status": "True", "reason": ""}]}}


def _program(name: str) -> Any:
    """The program as a pod loads it."""
    spec = importlib.util.spec_from_file_location(f"custom_{name}", EXAMPLE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def observation(name: str, uri: str, changes: Mapping[str, Any] | None = None) -> Observation:
    """The TrainingJob of an example on another table."""
    manifest = yaml.safe_load((EXAMPLE / f"{name}.yaml").read_text("utf-8"))
    data = {"table": {"uri": uri}, "timestamp": "at", "window": None}
    spec = merge(merge(manifest["spec"], {"data": data}), changes or {})
    meta = manifest["metadata"]
    return training_builders.observation(spec, name=meta["name"], uid="uid-1", created=NOW)


def run(name: str, seen: Observation, world: World, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run one pod of the job: the spec that the operator renders, in a file."""
    path = world.folder / "spec.json"
    path.write_text(resources.make_config_map(seen, resources.spec_hash(seen))["data"]["spec.json"])
    monkeypatch.setenv(contract.ENV_SPEC, str(path))
    monkeypatch.setenv(contract.ENV_TERMINATION_LOG, str(world.folder / "end"))
    monkeypatch.syspath_prepend(str(EXAMPLE))
    program = _program(name)
    train = program if name == "train" else program.train
    return int(train.main(read=program.read, fit=program.fit))


def judged(seen: Observation, world: World) -> TrainingJobStatus:
    """What the operator records, from what it reads in the registry."""
    registry = MLflowRegistry(tracking_uri=world.uri, registry_uri=world.uri)
    full_hash = resources.spec_hash(seen)
    found = asyncio.run(registry.run(seen.namespace, seen.name, full_hash))
    assert found is not None
    if not world.uri.startswith("file:"):  # MLflow counts traces in a database alone.
        found = replace(found, traces=asyncio.run(registry.traces(found)))
    name = seen.spec.model.name
    model = asyncio.run(registry.model(name)) if world.versions() else None
    registry.close()
    status = TrainingJobStatus(spec_hash=full_hash, job_name="j")
    job = OVER | {"metadata": {"name": "j"}, "spec": {}}
    return planner.decide(
        replace(seen, status=status, run=found, model=model, model_read=True, job=job), now=NOW
    ).status
