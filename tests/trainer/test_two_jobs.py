"""Two jobs for one model, at once or of one spec: a run and a version each, and no look for free.

Clusters are the cheapest job there is; registration is the same for every task.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from linnet_trainer import contract, registry
from linnet_trainer.contract import Exit
from linnet_trainer.registry import Tracker

from trainer.test_clusters import SPEC, blobs
from trainer.test_recipe import parse
from trainer.world import World


def linked(world: World, result: contract.Result, job: str) -> tuple[str, str]:
    """Assert that version, run and job lead to one another; return the run and its spec's hash."""
    version = world.client.get_model_version("delays", result.version)
    run = world.client.get_run(result.run_id)
    assert version.run_id == result.run_id
    assert version.tags[contract.TAG_JOB_UID] == run.data.tags[contract.TAG_JOB_UID] == f"uid-{job}"
    assert run.data.tags[contract.TAG_NAME] == job
    assert contract.parse(run.data.tags[contract.TAG_RESULT]) == result
    return result.run_id, run.data.tags[contract.TAG_SPEC_HASH]


def test_one_spec_twice_is_two_runs_of_one_hash_with_a_version_each(world: World) -> None:
    uri = world.write(blobs().drop(columns="id"))
    _, first = world.run(uri, SPEC, job="first")
    _, second = world.run(uri, SPEC, job="second")

    one, other = linked(world, first, "first"), linked(world, second, "second")
    assert one[0] != other[0]
    assert one[1] == other[1], "that they are of one spec is found by the runs' tag"
    assert (first.version, second.version) == ("1", "2")
    assert first.content_digest == second.content_digest
    assert len(world.runs()) == 2


@pytest.mark.parametrize(
    "moment", ["open_run", "create_model", "set_tag", "register", "_ensure_model", "find_version"]
)
def test_a_job_that_runs_inside_another_one_changes_nothing_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    """The other job comes and goes just before the first call of `moment`."""
    uri = world.write(blobs().drop(columns="id"))
    inner: list[contract.Result] = []
    original = getattr(registry.Tracker, moment)

    def between(tracker: Tracker, *given: Any, **named: Any) -> Any:
        if not inner:
            monkeypatch.setattr(registry.Tracker, moment, original)
            code, result = world.run(uri, SPEC, job="inner")
            assert code is Exit.RESULT
            inner.append(result)
        return original(tracker, *given, **named)

    monkeypatch.setattr(registry.Tracker, moment, between)
    code, outer = world.run(uri, SPEC, job="outer")

    assert code is Exit.RESULT
    assert linked(world, inner[0], "inner")[0] != linked(world, outer, "outer")[0]
    assert {inner[0].version, outer.version} == {"1", "2"}
    assert world.versions() == ["1", "2"]
    assert {run.info.status for run in world.runs()} == {"FINISHED"}


def test_two_jobs_that_look_at_once_count_each_other(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (
        Tracker(replace(parse(), name=job, job_uid=f"uid-{job}")) for job in ("one", "other")
    )
    one.open_run()
    other.open_run()
    count = Tracker._other_looks
    looks: list[int] = []

    def between(tracker: Tracker, holdout: str) -> int:
        if tracker is one:
            looks.append(other.claim_look(holdout))
        return count(tracker, holdout)

    monkeypatch.setattr(Tracker, "_other_looks", between)
    looks.append(one.claim_look("sha256:h"))

    assert looks == [2, 2], "neither is told that it looks first"
    assert one.claim_look("sha256:h") == 2, "a retry keeps its number"
