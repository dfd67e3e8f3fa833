"""The manifests under examples/ on the flights of 2013: each is refused for its reason."""

from __future__ import annotations

from .stage import beside
from .world import EXAMPLES, World, says

REFUSED = {
    "documented": "CheckFailed",
    "fairness": "AboveLimit",
    "latency": "AboveLimit",
    "minimum": "BelowThreshold",
    "overfit": "AboveLimit",
    "schema": "Widened",
    "size": "AboveLimit",
    "validation-set": "CheckFailed",
}
TOGETHER = 2


@beside
def test_each_example_of_a_gate_is_refused_for_its_reason(world: World) -> None:
    place = world.place("examples")
    script = EXAMPLES / "demo" / "load_flights.py"
    place.run_script("flights", script, f"--target={world.store}/flights", "--months=1-3")

    with world.trainers:
        name = place.apply_example("gates/waived.yaml")
        champion = place.is_complete(name)["status"]["version"]
    place.set_alias("champion", champion)

    examples = sorted(REFUSED)
    for first in range(0, len(examples), TOGETHER):
        some = examples[first : first + TOGETHER]
        with world.trainers:
            names = [place.apply_example(f"gates/{each}.yaml") for each in some]
            for name, each in zip(names, some, strict=True):
                obj = place.has_failed(name, "GateRefused")
                assert says(obj, "Registered", "False", REFUSED[each]), place.explain()

    assert [each["version"] for each in world.registry.versions(place.model)] == [champion]
