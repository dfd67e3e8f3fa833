"""Row 13: what an earlier operator left in the middle, this one brings to the same end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from drift_stories import CASES
from drift_stories import begin as begin_days
from scenarios import STORIES, begin
from simulation import TRAINING, TrainingSimulation
from upgrade import GOLDEN, MAKERS, go_on

FILES = sorted(GOLDEN.glob("*.json"))


def _fresh(name: str) -> tuple[Any, int]:
    """A world of the right kind, and the seconds after which its story is over."""
    if "policy" in name:
        return begin_days(CASES["two breaches of three train anew"]), 3 * 86_400
    if "training" in name:
        return TrainingSimulation(spec=TRAINING), 300
    return begin(STORIES["a rollout"]), 400


def _without_hashes(facts: Any) -> Any:
    """A newer operator renders other pods, so new revisions have other hashes; old ones stay."""
    return json.loads(re.sub(r"(-v[0-9]+)-[0-9a-f]{8}", r"\1", json.dumps(facts)))


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("file", FILES, ids=[file.stem for file in FILES])
def test_an_upgrade_in_the_middle_changes_no_end(file: Path, name: str) -> None:
    world, seconds = _fresh(name)
    world = go_on(world, json.loads(file.read_text())[name])
    expected = MAKERS[name]()
    expected.run(seconds)
    world.run(seconds)
    assert _without_hashes(world.facts()) == _without_hashes(expected.facts())
    world.stays_silent()


def test_there_is_something_to_upgrade_from() -> None:
    assert FILES, "run `python tests/upgrade.py` with the code of the last release"
