"""Every example of a training that no other test applies, on the flights of a winter.

Not among the files that pytest finds by itself: `dev/test.sh gallery` runs it, for `make test` has
no time left.
"""

from __future__ import annotations

import pytest

from .world import EXAMPLES, Place, World, says

TRAININGS = (
    "training/10-search.yaml",
    "training/20-module.yaml",
    "training/40-threshold.yaml",
    "training/41-encoder.yaml",
    "training/42-boosting.yaml",
    "custom/train.yaml",
)


@pytest.fixture(scope="module")
def place(world: World) -> Place:
    """Given the flights, and the program of the custom training."""
    place = world.place("gallery")
    script = EXAMPLES / "demo" / "load_flights.py"
    place.run_script("flights", script, f"--target={world.store}/flights", "--months=1-3")
    program = (EXAMPLES / "custom" / "train.py").read_text(encoding="utf-8")
    place.config_map("delays-program", {"train.py": program})
    return place


@pytest.mark.parametrize("path", TRAININGS)
def test_an_example_makes_a_version(place: Place, path: str) -> None:
    name = place.apply_example(path)
    obj = place.is_complete(name, seconds=600)
    assert says(obj, "Registered", "True", "VersionCreated"), place.explain()
    version = obj["status"]["version"]
    assert place.world.registry.aliases(place.model)["challenger"] == version
    passed = {each["name"]: each["passed"] for each in obj["status"]["gates"]}
    assert passed["good-enough"], obj["status"]["gates"]
