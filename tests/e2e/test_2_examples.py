"""The manifests under examples/ on the flights of 2013: each is refused for its reason."""

from __future__ import annotations

from .stage import beside
from .world import EXAMPLES, World, says

REFUSED = {
    "documented": "CheckFailed",
    "fairness": "AboveLimit",
    "imbalance": "CheckFailed",
    "latency": "AboveLimit",
    "leakage": "CheckFailed",
    "minimum": "BelowThreshold",
    "not-worse-than": "WorseThanChampion",
    "overfit": "AboveLimit",
    "reproducible": "CheckFailed",
    "schema": "Widened",
    "size": "AboveLimit",
    "validation-set": "CheckFailed",
}
CHAMPION = "demo/10-train-schedule.yaml"
TOGETHER = 2


@beside
def test_each_example_of_a_gate_is_refused_for_its_reason(world: World) -> None:
    place = world.place("examples")
    script = EXAMPLES / "demo" / "load_flights.py"
    place.run_script("flights", script, f"--target={world.store}/flights", "--months=1-3")

    with world.trainers:
        names = [place.apply_example(each) for each in ("gates/waived.yaml", CHAMPION)]
        versions = [place.is_complete(name)["status"]["version"] for name in names]
    place.set_alias("champion", versions[1])

    examples = sorted(REFUSED)
    for first in range(0, len(examples), TOGETHER):
        some = examples[first : first + TOGETHER]
        with world.trainers:
            names = [place.apply_example(f"gates/{each}.yaml") for each in some]
            for name, each in zip(names, some, strict=True):
                obj = place.has_failed(name, "GateRefused")
                assert says(obj, "Registered", "False", REFUSED[each]), place.explain()

    found = [each["version"] for each in world.registry.versions(place.model)]
    assert sorted(found) == sorted(versions)
