"""The real operator against a real API server that misbehaves: rows X of the fault matrix.

Every case tells one of two stories with one fault in it: create, update and delete one object of
each kind, or promote, roll back and retrain. The oracle: when the fault has ended the operator
comes to rest, what exists is what exists without a fault, nothing was made twice, and then nothing
is written any more.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from e2e.api import Api

from . import proxy
from .harness import KINDS, Place, place, side_by_side
from .proxy import Answer, Delay, DropAnswer, Fault, Older, Reset, Seen, Stream

pytestmark = pytest.mark.cluster

EVERY = os.environ.get("LINNET_FAULTS") == "all"
LEAST = 0.9
"""Share of a story's writes that every telling of it has: statuses fall together now and then."""
STRIDE = 1 if EVERY else 7
"""Without LINNET_FAULTS=all, every seventh write is interrupted."""
LONG_STRIDE = 1 if EVERY else 61
"""Of a story of two minutes."""


def is_write(seen: Seen) -> bool:
    return seen.is_write


def is_status(seen: Seen) -> bool:
    return seen.is_write and seen.subresource == "status"


def is_watch(seen: Seen) -> bool:
    return seen.watch


def is_lease(seen: Seen) -> bool:
    return seen.plural == "leases"


def create_and_update(world: Place) -> dict[str, str]:
    """The story until its objects are there; what exists then."""
    world.create()
    world.settle(world.serves)
    world.update()
    world.settle(world.is_updated)
    return world.state()


def promote_roll_back_retrain(world: Place) -> dict[str, str]:
    """The story of a deployment that serves: a good version, a bad one, and a drift."""
    good = world.register()
    world.settle(lambda: world.is_champion(good), seconds=120)
    bad = world.register(bad=True)
    world.settle(lambda: world.is_rejected(bad), seconds=120)
    world.node.works = True
    world.check()
    world.settle(lambda: world.is_champion(str(int(bad) + 1)), seconds=120)
    return world.state()


@pytest.fixture(scope="session")
def expected_loop(api: Api, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], int]:
    """What exists after the second story without a fault, and how many writes that took."""
    with place(api, tmp_path_factory.mktemp("undisturbed-loop")) as world:
        world.create()
        world.settle(world.serves)
        before = len(world.proxy.writes)
        found = promote_roll_back_retrain(world)
        count = len(world.proxy.writes) - before
        assert world.duplicates() == []
    return _anonymous(found), count


@pytest.fixture(scope="session")
def expected(api: Api, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], int]:
    """What exists without a fault, and how many writes that took."""
    with place(api, tmp_path_factory.mktemp("undisturbed")) as world:
        found = create_and_update(world)
        count = len(world.proxy.writes)
        assert world.duplicates() == []
        before = count
        time.sleep(10)
        assert len(world.proxy.writes) == before, "silence: nothing is written in a settled state"
        world.delete()
        world.settle(world.is_gone)
    return _anonymous(found), count


def _anonymous(state: dict[str, str]) -> dict[str, str]:
    """Names end in hashes of what differs between places: the registry, the namespace."""
    return {
        re.sub(r"(-v\d+|-train|-\d{8})-[0-9a-f]{5,8}", r"\1", key): said
        for key, said in state.items()
    }


def check(
    world: Place,
    found: dict[str, str],
    expected: tuple[dict[str, str], int],
    *,
    made_once: bool = True,
) -> None:
    """The oracle: what exists is what exists without a fault, and nothing was made twice."""
    ours = _anonymous(found)
    differs = {
        key: (ours.get(key), expected[0].get(key))
        for key in ours.keys() | expected[0].keys()
        if ours.get(key) != expected[0].get(key)
    }
    assert differs == {}, world.log
    assert not made_once or world.duplicates() == []


def tell(world: Place, expected: tuple[dict[str, str], int]) -> None:
    """The whole story; faults end by themselves or have been mended."""
    check(world, create_and_update(world), expected)
    world.delete()
    world.settle(world.is_gone)


# -- rows 1 and 2: every write --------------------------------------------------------------------


Story = Callable[[Place], dict[str, str]]
Interruption = Callable[[Place, int], None]


def crash(world: Place, number: int) -> None:
    """SIGKILL after the n-th write from now."""
    number += len(world.proxy.writes)

    def after(count: int) -> None:
        if count == number:
            world.kill()

    world.proxy.after_write = after


def lose(world: Place, number: int) -> None:
    """The answer to the n-th write from now is lost."""
    left = [number]

    def matches(seen: Seen) -> bool:
        left[0] -= seen.is_write
        return seen.is_write and left[0] == 0

    world.proxy.faults.append(DropAnswer(match=matches, times=1))


INTERRUPTIONS: dict[str, Interruption] = {"a crash after": crash, "a lost answer of": lose}


def interrupted(
    api: Api,
    folder: Path,
    interrupt: Interruption,
    expected: tuple[dict[str, str], int],
    *,
    story: Story,
    begin: Callable[[Place], None],
    stride: int,
) -> None:
    """Tell a story as often as it has writes (or every so many), each time cut after another."""

    def told(world: Place, number: int) -> None:
        begin(world)
        before = len(world.proxy.writes)
        interrupt(world, number)
        check(world, story(world), expected)
        least = min(number, int(LEAST * expected[1]))
        assert len(world.proxy.writes) - before >= least, "this write never came"

    numbers = range(1, expected[1] + 1, stride)
    cases = {f"write {number}": partial(told, number=number) for number in numbers}
    side_by_side(api, folder, cases)


def serving(world: Place) -> None:
    world.create()
    world.settle(world.serves)


@pytest.mark.parametrize("name", INTERRUPTIONS)
def test_an_interruption_of_any_write_changes_no_creation(
    api: Api, tmp_path: Path, expected: tuple[dict[str, str], int], name: str
) -> None:
    interrupted(
        api, tmp_path, INTERRUPTIONS[name], expected,
        story=create_and_update, begin=lambda world: None, stride=STRIDE,
    )  # fmt: skip


@pytest.mark.parametrize("name", INTERRUPTIONS if EVERY else ["a crash after"])
def test_an_interruption_of_any_write_changes_no_decision(
    api: Api, tmp_path: Path, expected_loop: tuple[dict[str, str], int], name: str
) -> None:
    interrupted(
        api, tmp_path, INTERRUPTIONS[name], expected_loop,
        story=promote_roll_back_retrain, begin=serving, stride=LONG_STRIDE,
    )  # fmt: skip


# -- rows 3, 4, 5 and 7: what is watched ----------------------------------------------------------

STREAMS: dict[str, Fault] = {
    "silent": Stream(match=is_watch, change=proxy.silent),
    "ended at once, ten times": Stream(match=is_watch, change=proxy.ended, times=10),
    "every event twice": Stream(match=is_watch, change=proxy.twice),
    "events in reverse": Stream(match=is_watch, change=proxy.swapped()),
    "every second event": Stream(match=is_watch, change=proxy.skipping()),
    "an ERROR 410 in the stream": Stream(match=is_watch, change=proxy.failing(410), times=3),
    "an ERROR 500 in the stream": Stream(match=is_watch, change=proxy.failing(500), times=1),
    "HTTP 410": Answer(match=is_watch, code=410, times=1),
    "HTTP 503": Answer(match=is_watch, code=503, times=10),
}


def test_a_watch_may_do_anything(
    api: Api, tmp_path: Path, expected: tuple[dict[str, str], int]
) -> None:
    def told(world: Place, stream: Fault) -> None:
        world.proxy.faults.append(stream)
        tell(world, expected)

    cases = {name: partial(told, stream=stream) for name, stream in STREAMS.items()}
    side_by_side(api, tmp_path, cases)


def test_a_restart_against_an_older_list_keeps_what_is_newer(
    world: Place, expected: tuple[dict[str, str], int]
) -> None:
    found = create_and_update(world)
    check(world, found, expected)
    older = Older(match=lambda seen: seen.is_list, times=20)
    world.proxy.faults.append(older)
    world.kill()
    time.sleep(1)
    world.settle(world.is_updated)
    check(world, world.state(), expected)


# -- row 8: answers -------------------------------------------------------------------------------

ANSWERS: dict[str, Fault] = {
    "409 on writes": Answer(match=is_write, code=409, times=6),
    "429 on writes": Answer(match=is_write, code=429, times=6, retry_after=1),
    "500 on writes": Answer(match=is_write, code=500, times=6),
    "403 on writes": Answer(match=is_write, code=403, times=6),
    "404 on writes": Answer(match=is_write, code=404, times=6),
    "422 on status": Answer(
        match=lambda s: s.is_write and s.subresource == "status", code=422, times=4
    ),
    "resets of everything": Reset(match=lambda s: not is_lease(s), times=12),
    "slower than the deadline": Delay(match=is_write, seconds=12, times=2),
}


def test_the_server_may_answer_anything(
    api: Api, tmp_path: Path, expected: tuple[dict[str, str], int]
) -> None:
    def told(world: Place, answer: Fault) -> None:
        world.proxy.faults.append(answer)
        world.create()
        # A fault that is counted may be over before or after the first part of the story.
        world.settle(world.serves, seconds=180)
        world.update()
        world.settle(world.is_updated, seconds=180)
        check(world, world.state(), expected)

    cases = {name: partial(told, answer=answer) for name, answer in ANSWERS.items()}
    side_by_side(api, tmp_path, cases)


# -- row 6: foreign hands -------------------------------------------------------------------------


def test_children_that_are_deleted_come_back(
    world: Place, expected: tuple[dict[str, str], int]
) -> None:
    found = create_and_update(world)
    for kind in ("Deployment", "Service", "ConfigMap"):
        for obj in world.api.list(kind, world.namespace):
            if (obj["metadata"].get("labels") or {}).get("app.kubernetes.io/managed-by"):
                world.api.delete(kind, world.namespace, obj["metadata"]["name"])
    world.settle(lambda: world.is_updated() and world.serves(), seconds=120)
    check(world, world.state(), (_anonymous(found), 0), made_once=False)


def test_an_object_of_our_name_that_is_not_ours_is_left_alone(world: Place) -> None:
    foreign = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "story", "namespace": world.namespace},
        "spec": {"ports": [{"port": 81}]},
    }
    world.api.apply(foreign)
    world.create()

    def told() -> bool:
        obj = world.api.get("ModelDeployment", world.namespace, "story") or {}
        conditions = (obj.get("status") or {}).get("conditions", ())
        return any(c["type"] == "Stalled" and c["reason"] == "NameTaken" for c in conditions)

    world.settle(told)
    kept = world.api.get("Service", world.namespace, "story")
    assert kept is not None
    assert [port["port"] for port in kept["spec"]["ports"]] == [81]


# -- row 9: nonsense, then a good spec -------------------------------------------------------------

NONSENSE: dict[str, dict[str, object]] = {
    "an alias that does not exist": {"model": {"alias": "nobody"}},
    "an image that the API server refuses": {"server": {"template": {"image": "NOT AN IMAGE"}}},
}


@pytest.mark.parametrize("name", NONSENSE)
def test_a_good_spec_after_nonsense_ends_as_if_it_had_come_first(
    world: Place, expected: tuple[dict[str, str], int], name: str
) -> None:
    world.create()
    world.settle(world.serves)
    world.api.patch("ModelDeployment", world.namespace, "story", {"spec": NONSENSE[name]})
    time.sleep(6)
    back = {"model": {"alias": "challenger"}, "server": {"template": {"image": None}}}
    world.api.patch("ModelDeployment", world.namespace, "story", {"spec": back})
    world.update()
    world.settle(world.is_updated, seconds=120)
    kept = {key for key in _anonymous(world.state()) if not key.startswith("ModelDeployment")}
    assert kept == {key for key in expected[0] if not key.startswith("ModelDeployment")}


# -- row 10: deletion -----------------------------------------------------------------------------


def test_a_namespace_goes_at_any_moment_and_waits_for_nobody(api: Api, tmp_path: Path) -> None:
    def told(world: Place, moment: float) -> None:
        world.create()
        time.sleep(moment)
        world.api.delete("Namespace", None, world.namespace)
        deadline = time.monotonic() + 60
        while world.api.get("Namespace", None, world.namespace) is not None:
            assert time.monotonic() < deadline, "the namespace does not go"
            time.sleep(0.5)

    moments = (0.0, 0.3, 1.0, 2.5)
    side_by_side(api, tmp_path, {f"{each} s": partial(told, moment=each) for each in moments})


def test_deletion_does_not_wait_for_an_operator_that_is_away(world: Place) -> None:
    world.create()
    world.settle(world.serves)
    world.kill()
    world.delete()
    deadline = time.monotonic() + 30
    while any(world.api.get(kind, world.namespace, "story") for kind in KINDS):
        assert time.monotonic() < deadline, "finalizers hold what should be gone"
        time.sleep(0.2)


# -- row 11: leadership ---------------------------------------------------------------------------


def test_two_operators_at_once_make_everything_once(
    world: Place, expected: tuple[dict[str, str], int]
) -> None:
    first = world.process
    second = world.start()
    try:
        check(world, create_and_update(world), expected)
        assert first is not None
        assert first.poll() is None
        assert second.poll() is None
    finally:
        if first is not None:
            first.kill()


def test_a_lease_that_cannot_be_renewed_ends_the_process_and_nothing_else(
    world: Place, expected: tuple[dict[str, str], int]
) -> None:
    world.create()
    world.settle(world.serves)
    world.proxy.faults.append(Answer(match=is_lease, code=500))
    deadline = time.monotonic() + 20
    while world.process is not None and world.process.poll() is None:
        assert time.monotonic() < deadline, "a leader without a Lease must stop"
        time.sleep(0.1)
    world.proxy.faults.clear()
    world.update()
    world.settle(world.is_updated)
    check(world, world.state(), expected)


# -- row 16: odd objects --------------------------------------------------------------------------


def test_odd_objects_are_worked_on_like_any_other(world: Place) -> None:
    name = "a" + "-x" * 19 + "y"
    assert len(name) == 40
    made = {
        "apiVersion": "linnet.dev/v1alpha1",
        "kind": "TrainingJob",
        "metadata": {
            "name": name,
            "namespace": world.namespace,
            "finalizers": ["example.com/hold"],
            "annotations": {"note": "ünïcödé ☃", "linnet.dev/cause": "not json"},
        },
        "spec": {
            "model": {"name": "faults", "alias": ""},
            "data": {"table": {"uri": "s3://none/none.parquet"}, "target": "später"},
            "pipeline": {"estimator": {"class": "LogisticRegression"}},
            "gates": [{"name": "g", "metric": "roc_auc", "minimum": "0.6"}],
            "suspend": True,
        },
    }
    world.api.apply(made)
    world.settle(lambda: len(world.api.list("Job", world.namespace)) == 1)
    world.api.delete("TrainingJob", world.namespace, name)
    time.sleep(2)
    held = world.api.get("TrainingJob", world.namespace, name)
    assert held is not None
    assert held["metadata"]["deletionTimestamp"]
    count = len(world.proxy.writes)
    time.sleep(5)
    assert len(world.proxy.writes) == count, "an object that is being deleted is left alone"
    world.api.patch("TrainingJob", world.namespace, name, {"metadata": {"finalizers": None}})
