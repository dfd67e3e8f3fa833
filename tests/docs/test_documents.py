"""Every manifest that a reader may copy is one that the models take, with live fields only."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from linnet.api import support
from linnet.api.drift_policy import DriftPolicy
from linnet.api.model_deployment import ModelDeployment
from linnet.api.training_job import TrainingJob

ROOT = Path(__file__).resolve().parent.parent.parent
KINDS = {
    "TrainingJob": TrainingJob,
    "ModelDeployment": ModelDeployment,
    "DriftPolicy": DriftPolicy,
}


def documents(path: Path) -> list[dict[str, Any]]:
    text = path.read_text("utf-8")
    if path.suffix == ".md":
        text = "\n---\n".join(re.findall(r"```yaml\n(.*?)```", text, re.DOTALL))
    return [document for document in yaml.safe_load_all(text) if isinstance(document, dict)]


PLACES = [ROOT / "README.md", *sorted((ROOT / "examples").rglob("*.yaml"))]
MANIFESTS = [
    pytest.param(document, id=f"{path.name}-{document['metadata']['name']}")
    for path in PLACES
    for document in documents(path)
    if document.get("kind") in KINDS
]


def test_readme_and_examples_hold_manifests_of_ours() -> None:
    assert len(MANIFESTS) >= 6


@pytest.mark.parametrize("document", MANIFESTS)
def test_a_manifest_is_taken_and_asks_for_live_fields_only(document: dict[str, Any]) -> None:
    parsed = KINDS[document["kind"]].model_validate(document)
    assert support.not_yet_supported(parsed.spec) == ()
    given = parsed.spec.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert given == document["spec"], "a field of the manifest is not in the models"


def test_every_command_of_the_readme_is_a_target_of_the_makefile() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    used = set(re.findall(r"make (?:-s )?([a-z][a-z0-9-]+)", (ROOT / "README.md").read_text()))
    assert used <= targets
