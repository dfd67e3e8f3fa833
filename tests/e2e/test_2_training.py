"""TrainingJobs: what is registered, what is refused, and what happens when a pod is taken away."""

from __future__ import annotations

import time
from typing import Any

from .stage import beside
from .world import EXAMPLES, Place, World, condition, says


def _trained(place: Place, name: str, **changes: Any) -> str:
    """Train, and return the version that came of it."""
    with place.world.trainers:
        place.train(name, **changes)
        obj = place.is_complete(name)
    status = obj["status"]
    assert status["modelURI"] == f"models:/{place.model}/{status['version']}"
    assert status["progress"]["percent"] == 100, status["progress"]
    assert status["metrics"][0]["name"] == "roc_auc", status["metrics"]
    assert len(place.all("Job")) >= 1
    return str(status["version"])


@beside
def test_tables_and_holdouts_each_give_one_version_and_move_the_alias(world: World) -> None:
    place = world.place("train")
    csv = {"table": {"uri": world.table("good.csv")}, "timestamp": None, "groups": None}
    first = _trained(
        place, "csv-random", data=csv, validation={"holdout": {"by": "Random", "fraction": "0.3"}},
        pipeline={"columns": {"numeric": ["x1", "x2", "x3"], "categorical": ["colour"]}},
    )  # fmt: skip
    assert world.registry.aliases(place.model) == {"challenger": first}
    obj = place.get("TrainingJob", "csv-random")
    assert says(obj, "Promoted", "True", "AliasSet"), place.explain()
    tags = world.registry.version(place.model, first)["tags"]
    for tag in ("manifest-sha256", "content-digest", "job-uid", "data-sha256"):
        assert tags[f"linnet.dev/{tag}"], tags
    assert obj is not None
    assert tags["linnet.dev/job-uid"] == obj["metadata"]["uid"]
    for reason in ("JobCreated", "GatePassed", "VersionCreated", "AliasMoved"):
        place.has_event("csv-random", reason)

    second = _trained(
        place, "parquet-group", data={"timestamp": None}, validation={"holdout": {"by": "Group"}},
        gates=[{"name": "never-worse", "metric": "roc_auc", "notWorseThan": "Champion"}],
    )  # fmt: skip
    assert int(second) > int(first)
    obj = place.get("TrainingJob", "parquet-group")
    assert says(obj, "Promoted", "True", "NoChampion"), place.explain()
    assert world.registry.aliases(place.model)["challenger"] == second
    assert [each["version"] for each in world.registry.versions(place.model)] == [first, second]

    # An alias that somebody moves afterwards is not written again.
    place.set_alias("challenger", first)
    time.sleep(20)
    assert world.registry.aliases(place.model)["challenger"] == first


@beside
def test_numbers_classes_and_groups_are_learned_from_public_tables(world: World) -> None:
    place = world.place("tasks")
    script = EXAMPLES / "training" / "load_tables.py"
    place.run_script("tables", script, f"--target={world.store}/public")
    examples = {
        "20-regression": "r2",
        "30-classes": "roc_auc_ovr",
        "50-clusters": "relative_validity",
    }
    for path, metric in examples.items():
        with world.trainers:
            name = place.apply_example(f"training/{path}.yaml", model=f"{place.model}-{path}")
            obj = place.is_complete(name)
        assert metric in {each["name"] for each in obj["status"]["metrics"]}
        assert says(obj, "Registered", "True", "VersionCreated"), place.explain()


@beside
def test_gates_refuse_and_say_why(world: World) -> None:
    place = world.place("gates")
    source = world.trained["good"].result(timeout=300)
    assert source
    place.register(alias=False)
    place.set_alias("champion", "1")
    champion = {"name": "never-worse", "metric": "roc_auc", "notWorseThan": "Champion"}
    refusals = {
        "noise": (
            {"data": {"table": {"uri": world.table("noise.parquet")}}},
            "BelowThreshold", "is below the minimum 0.60",
        ),
        "unclear": (
            {"validation": {"holdout": {"fraction": "0.1"}}, "gates": [champion]},
            "Unclear", "6 days",
        ),
    }  # fmt: skip
    for name, (changes, reason, words) in refusals.items():
        with world.trainers:
            place.train(name, **changes)
            obj = place.has_failed(name, "GateRefused", words)
        assert says(obj, "Registered", "False", reason), place.explain()
        assert says(obj, "Promoted", "False", reason), place.explain()
        place.has_event(name, "GateRefused", words)
    assert [each["version"] for each in world.registry.versions(place.model)] == ["1"]
    assert world.registry.aliases(place.model) == {"champion": "1"}


def _runs(place: Place, job: str) -> dict[str, Any] | None:
    return next(
        (
            pod
            for pod in place.trainer_pods(job)
            if pod["status"].get("phase") == "Running"
            and not pod["metadata"].get("deletionTimestamp")
        ),
        None,
    )


@beside
def test_a_trainer_that_is_killed_leaves_one_version(world: World) -> None:
    place = world.place("killed")
    with world.trainers:
        place.train("killed", backoffLimit=4)
        # Late enough that it did something, and once more in the retry.
        for wait in (6, 3):
            pod = place.eventually("a trainer runs", lambda: _runs(place, "killed"), seconds=120)
            time.sleep(wait)
            place.api.delete("Pod", place.namespace, pod["metadata"]["name"], grace=0)
            place.eventually(
                "the killed trainer is gone",
                lambda uid=pod["metadata"]["uid"]: all(
                    each["metadata"]["uid"] != uid for each in place.trainer_pods("killed")
                ),
            )
        obj = place.is_complete("killed", seconds=300)
    assert len(place.all("Job")) == 1, place.explain()
    versions = world.registry.versions(place.model)
    assert [each["version"] for each in versions] == ["1"] == [obj["status"]["version"]]
    assert world.registry.aliases(place.model) == {"challenger": "1"}


@beside
def test_a_search_over_two_pods_outlives_the_one_that_serves_it(world: World) -> None:
    place = world.place("search")
    space = [{"name": "C", "logUniform": {"min": "0.001", "max": "10"}}]
    with world.trainers:
        place.train(
            "search", backoffLimit=4,
            search={"parallelism": 2, "trials": 12, "sampler": "Random", "parameters": space},
        )  # fmt: skip
        obj = place.until(
            "TrainingJob", "search", "two trials ended",
            lambda obj: obj.get("status", {}).get("search", {}).get("completed", 0) >= 2,
            seconds=240,
        )  # fmt: skip
        first = f"{obj['status']['jobName']}-0-"
        pod = next(
            name
            for each in place.trainer_pods("search")
            if (name := each["metadata"]["name"]).startswith(first)
        )
        place.api.delete("Pod", place.namespace, pod, grace=0)
        obj = place.is_complete("search", seconds=300)
    found = obj["status"]["search"]
    assert found["of"] == 12 <= found["completed"] <= 13, place.explain()
    assert found["failed"] <= 1, "a lost pod loses its running trial and no more"
    assert found["best"]["parameters"][0]["name"] == "C"
    versions = world.registry.versions(place.model)
    assert [each["version"] for each in versions] == ["1"] == [obj["status"]["version"]]


@beside
def test_suspend_deadline_and_ttl(world: World) -> None:
    place = world.place("life")
    # A suspended job has no pod; it trains when it is resumed, and its Job goes with the TTL.
    place.train("patient", suspend=True, ttlSecondsAfterFinished=3)
    obj = place.has_condition("TrainingJob", "patient", "Suspended", "True", "Suspended")
    assert says(obj, "Complete", "False", "Suspended"), place.explain()
    time.sleep(3)
    assert place.trainer_pods("patient") == []
    with world.trainers:
        place.patch("TrainingJob", "patient", {"suspend": False})
        obj = place.is_complete("patient")
    assert condition(obj, "Suspended") == {}, place.explain()
    place.eventually("the Job goes with its TTL", lambda: place.all("Job") == [], seconds=60)
    time.sleep(5)
    assert place.all("Job") == [], "a finished training was started again"
    assert place.get("TrainingJob", "patient") is not None
    obj = place.is_complete("patient", seconds=5)

    # Suspended in the middle, it begins anew when resumed.
    with world.trainers:
        place.train("interrupted", model={"alias": ""})
        place.eventually("it runs", lambda: _runs(place, "interrupted"), seconds=120)
        place.patch("TrainingJob", "interrupted", {"suspend": True})
        place.has_condition("TrainingJob", "interrupted", "Suspended", "True", "Suspended")
        place.patch("TrainingJob", "interrupted", {"suspend": False})
        obj = place.is_complete("interrupted")
    assert says(obj, "Promoted", "False", "AliasNotAsked"), place.explain()
    assert len(world.registry.versions(place.model)) == 2

    place.train("late", activeDeadlineSeconds=2)
    place.has_failed("late", "DeadlineExceeded", "longer than 2 s", "spec.activeDeadlineSeconds")
    assert len(world.registry.versions(place.model)) == 2
