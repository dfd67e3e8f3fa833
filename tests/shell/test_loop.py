"""Workers, performing, reporting, watching and resync against an API server in memory."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from drifting import Drift
from linnet.api.conditions import Status
from linnet.api.reasons import Reason
from linnet.core.plan import (
    ApplyObject,
    CreateObject,
    DeleteObject,
    Event,
    PatchObject,
    Plan,
    SetAlias,
    SetReplicas,
    SetVersionTag,
)
from linnet.ports import Conflict, Missing, Rejected, Unavailable
from linnet.shell import perform, report, resync, workers
from linnet.shell.cache import Key
from linnet.shell.handlers import OURS, Backoffs, Watcher
from linnet.shell.workqueue import WorkQueue
from simulation import NAMESPACE, START, TRAINING, Simulation, TrainingSimulation, serving

KEY = Key("TrainingJob", NAMESPACE, "delays")


def world_of(simulation: TrainingSimulation | Simulation) -> Any:
    simulation._refresh()
    return simulation.world


@pytest.fixture
def simulation() -> TrainingSimulation:
    return TrainingSimulation(spec=TRAINING)


def child(kind: str, name: str, uid: str, **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "labels": {
                "app.kubernetes.io/managed-by": "linnet",
                "linnet.dev/training-job": "delays",
            },
            "ownerReferences": [{"uid": uid, "controller": True}],
        },
        **more,
    }


# -- workers -------------------------------------------------------------------------------------


def passes(
    monkeypatch: pytest.MonkeyPatch, outcome: Callable[[], Awaitable[timedelta | None]]
) -> tuple[WorkQueue[Key], Any]:
    """One pass of a worker over a key whose reconciler does what `outcome` does."""

    async def reconciler(key: Key, world: Any, *, now: Any) -> timedelta | None:
        return await outcome()

    monkeypatch.setitem(workers.RECONCILERS, "TrainingJob", reconciler)
    found: list[Any] = []

    async def story() -> None:
        world = world_of(TrainingSimulation(spec=TRAINING))
        world.queue, world.synced = WorkQueue(), True
        world.queue.add(KEY)
        task = asyncio.create_task(workers.work(world))
        await asyncio.sleep(0.02)
        assert not task.done()
        timer = world.queue._timers.get(KEY)
        found.append(timer[0] - asyncio.get_running_loop().time() if timer else None)
        found.append(world.queue)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())
    return found[1], found[0]


def raising(error: Exception) -> Callable[[], Awaitable[timedelta | None]]:
    async def outcome() -> timedelta | None:
        raise error

    return outcome


def returning(after: timedelta | None) -> Callable[[], Awaitable[timedelta | None]]:
    async def outcome() -> timedelta | None:
        return after

    return outcome


@pytest.mark.parametrize(
    ("outcome", "soonest", "latest", "retries"),
    [
        (returning(timedelta(seconds=30)), 29, 31, 0),
        (raising(Unavailable("503")), 0.3, 0.7, 1),
        (raising(Missing("gone")), 0.3, 0.7, 1),
        (raising(Conflict("the object has been modified")), 0.3, 0.7, 1),
        (raising(RuntimeError("a bug")), 0.3, 0.7, 1),
        (raising(Conflict('Apply failed with 1 conflict: conflict with "x"')), 299, 301, 0),
    ],
    ids=["success", "unavailable", "missing", "overtaken", "a bug", "another install"],
)
def test_a_worker_survives_and_comes_back(
    monkeypatch: pytest.MonkeyPatch,
    outcome: Callable[[], Awaitable[timedelta | None]],
    soonest: float,
    latest: float,
    retries: int,
) -> None:
    queue, delay = passes(monkeypatch, outcome)
    assert soonest <= delay <= latest
    assert queue.retries(KEY) == retries


def test_what_a_person_must_mend_is_not_hammered(monkeypatch: pytest.MonkeyPatch) -> None:
    _, delay = passes(monkeypatch, raising(Rejected("admission denied")))
    assert 0.9 <= delay <= workers.SLOW_RETRY + 1


def test_a_settled_object_sets_no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    assert passes(monkeypatch, returning(None))[1] is None


def test_no_object_is_worked_on_before_every_kind_was_listed() -> None:
    async def story() -> None:
        world = world_of(TrainingSimulation(spec=TRAINING))
        world.queue = WorkQueue()
        world.queue.add(KEY)
        task = asyncio.create_task(workers.work(world))
        await asyncio.sleep(0.05)
        assert len(world.queue) == 1
        world.synced = True
        await asyncio.sleep(2 * workers.UNTIL_FILLED)
        assert len(world.queue) == 0
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(story())


# -- perform -------------------------------------------------------------------------------------


def performed(simulation: TrainingSimulation, *actions: Any) -> perform.Outcome:
    uid = simulation.object["metadata"]["uid"]
    return asyncio.run(perform.all_of(simulation.key, uid, actions, world_of(simulation)))


def test_actions_are_performed_in_order(simulation: TrainingSimulation) -> None:
    uid = simulation.object["metadata"]["uid"]
    simulation.registry.add_version("1")
    outcome = performed(
        simulation,
        ApplyObject(manifest=child("ConfigMap", "c", uid, data={"a": "1"})),
        CreateObject(manifest=child("Deployment", "d", uid, spec={"replicas": 1})),
        SetReplicas(name="d", replicas=3),
        PatchObject(kind="ConfigMap", name="c", patch={"data": {"b": "2"}}),
        SetVersionTag(model="m", version="1", key="k", value="v"),
        SetAlias(model="m", alias="champion", version="1"),
    )
    assert outcome.error is None
    assert outcome.done == 6
    assert simulation.cluster.writes == [
        "apply ConfigMap c", "create Deployment d", "scale Deployment d", "patch ConfigMap c",
    ]  # fmt: skip
    assert simulation.registry.writes == ["tag 1 k", "alias champion=1"]
    cached = simulation.world.cache.get(Key("ConfigMap", NAMESPACE, "c"))
    assert cached is not None
    assert cached["data"] == {"a": "1", "b": "2"}


def test_an_object_that_is_made_for_another_worker_wakes_it() -> None:
    """Its watch event is old news by then: a retraining would wait for the next resync."""
    policy = Drift()
    world = world_of(policy)
    uid = policy.object["metadata"]["uid"]
    made = {
        **child("TrainingJob", "delays-20261126-00000", uid),
        "apiVersion": "linnet.dev/v1alpha1",
        "spec": TRAINING,
    }
    made["metadata"]["labels"] = {"linnet.dev/drift-policy": "delays"}

    async def story() -> Key:
        world.queue = WorkQueue()
        await perform.all_of(policy.key, uid, (CreateObject(manifest=made),), world)
        key, _ = await asyncio.wait_for(world.queue.take(), 1)
        return key

    assert asyncio.run(story()) == Key("TrainingJob", NAMESPACE, "delays-20261126-00000")


@pytest.mark.parametrize(
    "error", [Unavailable("503"), Missing("gone"), Rejected("denied")], ids=lambda e: str(e)
)
def test_the_first_failure_ends_the_pass(simulation: TrainingSimulation, error: Exception) -> None:
    uid = simulation.object["metadata"]["uid"]
    simulation.cluster.fail("apply", "Service", error)
    outcome = performed(
        simulation,
        ApplyObject(manifest=child("ConfigMap", "c", uid)),
        ApplyObject(manifest=child("Service", "s", uid)),
        ApplyObject(manifest=child("ConfigMap", "never", uid)),
    )
    assert (outcome.done, outcome.error) == (1, error)
    assert simulation.of_kind("ConfigMap") == ["c"]
    problems = simulation.world.problems.get(simulation.key)
    assert problems == ({"Service s": "denied"} if str(error) == "denied" else None)


def test_a_problem_is_forgotten_when_the_next_pass_comes_through(
    simulation: TrainingSimulation,
) -> None:
    uid = simulation.object["metadata"]["uid"]
    simulation.cluster.fail("apply", "Service", Rejected("denied"))
    performed(simulation, ApplyObject(manifest=child("Service", "s", uid)))
    simulation.cluster.mend()
    performed(simulation, ApplyObject(manifest=child("Service", "s", uid)))
    assert simulation.world.problems == {}


@pytest.mark.parametrize("make", [ApplyObject, CreateObject])
def test_an_object_of_somebody_else_is_not_touched(
    simulation: TrainingSimulation, make: Any
) -> None:
    foreign = child("ConfigMap", "c", "somebody-else", data={"theirs": "1"})
    simulation.cluster.put(foreign)
    uid = simulation.object["metadata"]["uid"]
    outcome = performed(simulation, make(manifest=child("ConfigMap", "c", uid, data={"a": "1"})))
    assert isinstance(outcome.error, Conflict)
    stored = simulation.cluster.objects["ConfigMap", NAMESPACE, "c"]
    assert stored["data"] == {"theirs": "1"}
    assert simulation.world.foreign == {simulation.key: "ConfigMap/c"}


def test_only_the_object_that_was_meant_is_deleted(simulation: TrainingSimulation) -> None:
    uid = simulation.object["metadata"]["uid"]
    stored = simulation.cluster.put(child("ConfigMap", "c", uid))
    performed(simulation, DeleteObject(kind="ConfigMap", name="c", uid="another"))
    assert simulation.of_kind("ConfigMap") == ["c"]
    performed(simulation, DeleteObject(kind="ConfigMap", name="c", uid=stored["metadata"]["uid"]))
    assert simulation.of_kind("ConfigMap") == []


# -- report --------------------------------------------------------------------------------------


def settled() -> Simulation:
    simulation = serving()
    simulation.cluster.writes.clear()
    simulation.cluster.events.clear()
    simulation.cluster.calls.clear()
    return simulation


def reported(simulation: Simulation, plan: Plan[Any], before: Any) -> bool:
    world = world_of(simulation)
    return asyncio.run(report.write(simulation.key, before, plan, world, now=START))


def status_of(simulation: Simulation) -> Any:
    from linnet.api.model_deployment import ModelDeployment

    return ModelDeployment.model_validate(simulation.object).status


def test_a_status_that_does_not_differ_is_not_written() -> None:
    simulation = settled()
    before = status_of(simulation)
    assert not reported(simulation, Plan(status=before, conditions=before.conditions), before)
    assert simulation.cluster.calls == []


def test_there_is_one_status_write_and_events_come_after_it() -> None:
    simulation = settled()
    before = status_of(simulation)
    ready = before.conditions[0].model_copy(
        update={"status": Status.FALSE, "reason": "RolledBack", "message": "went back"}
    )
    plan = Plan(
        status=before.model_copy(update={"url": "http://elsewhere"}),
        conditions=(ready, *before.conditions[1:]),
        events=(Event(Reason.WEIGHT_SET, "weight 5 %"),),
    )
    assert reported(simulation, plan, before)
    assert simulation.cluster.calls == [
        "status ModelDeployment", "create Event", "create Event",
    ]  # fmt: skip
    assert [(e["reason"], e["type"], e["note"]) for e in simulation.cluster.events] == [
        ("WeightSet", "Normal", "weight 5 %"),
        ("RolledBack", "Warning", "went back"),
    ]
    event = simulation.cluster.events[0]
    assert event["apiVersion"] == "events.k8s.io/v1"
    assert event["regarding"]["uid"] == simulation.object["metadata"]["uid"]


def test_an_event_is_told_once_in_ten_minutes() -> None:
    simulation = settled()
    world = world_of(simulation)

    async def story() -> None:
        for url in ("a", "b", "c"):
            before = status_of(simulation)
            plan = Plan(
                status=before.model_copy(update={"url": url}),
                conditions=before.conditions,
                events=(Event(Reason.WEIGHT_SET, "weight 5 %"),),
            )
            await report.write(simulation.key, before, plan, world, now=START)

    asyncio.run(story())
    assert len(simulation.cluster.events) == 1


def test_an_event_that_cannot_be_posted_stops_nothing() -> None:
    simulation = settled()
    simulation.cluster.fail("create", "Event", Rejected("forbidden"))
    before = status_of(simulation)
    plan = Plan(
        status=before.model_copy(update={"url": "a"}),
        conditions=before.conditions,
        events=(Event(Reason.WEIGHT_SET, "weight 5 %"),),
    )
    assert reported(simulation, plan, before)


def test_a_status_that_was_overtaken_is_not_overwritten() -> None:
    simulation = settled()
    before = status_of(simulation)
    world = world_of(simulation)
    simulation.edit(lambda obj: obj["spec"].update(paused=True))
    plan = Plan(status=before.model_copy(update={"url": "a"}), conditions=before.conditions)
    with pytest.raises(Conflict, match="modified"):
        asyncio.run(report.write(simulation.key, before, plan, world, now=START))
    assert simulation.cluster.events == []


def test_an_object_whose_status_another_install_owns_is_left_alone() -> None:
    simulation = settled()
    key = ("ModelDeployment", NAMESPACE, "delays")
    simulation.cluster.status_managers[key] = "linnet-status-other"
    before = status_of(simulation)
    plan = Plan(status=before.model_copy(update={"url": "a"}), conditions=before.conditions)
    with pytest.raises(Conflict, match="Apply failed with"):
        reported(simulation, plan, before)


# -- watching and resync --------------------------------------------------------------------------


def watched(simulation: Simulation) -> tuple[Watcher, Any]:
    world = world_of(simulation)
    added: list[Key] = []

    class Queue:
        def add(self, key: Key) -> None:
            added.append(key)

    world.queue = Queue()
    return Watcher(world), added


def test_an_event_wakes_the_owner_once_and_a_repetition_wakes_nobody() -> None:
    simulation = settled()
    watcher, added = watched(simulation)
    pod = next(o for (kind, _, _), o in simulation.cluster.objects.items() if kind == "Pod")
    newer = {**pod, "metadata": {**pod["metadata"], "resourceVersion": "999999"}}
    watcher.take("MODIFIED", newer)
    watcher.take("MODIFIED", newer)
    watcher.take("MODIFIED", pod)
    assert added == [simulation.key]


def test_a_deletion_leaves_the_cache_and_wakes_the_owner() -> None:
    simulation = settled()
    watcher, added = watched(simulation)
    pod = next(o for (kind, _, _), o in simulation.cluster.objects.items() if kind == "Pod")
    watcher.take("DELETED", pod)
    assert added == [simulation.key]
    key = Key("Pod", NAMESPACE, pod["metadata"]["name"])
    assert simulation.world.cache.get(key) is None


def test_objects_in_namespaces_of_another_install_are_not_seen() -> None:
    simulation = settled()
    watcher, added = watched(simulation)
    obj = simulation.object
    there = {**obj, "metadata": {**obj["metadata"], "namespace": "kube-system"}}
    watcher.take("ADDED", there)
    assert added == []


def test_a_gateway_wakes_every_deployment() -> None:
    simulation = settled()
    watcher, added = watched(simulation)
    watcher.take(
        "ADDED",
        {
            "kind": "Gateway",
            "metadata": {
                "name": "eg", "namespace": "kube-system", "uid": "g", "resourceVersion": "1",
            },
        },
    )  # fmt: skip
    assert added == [simulation.key]


def test_back_offs_of_the_watch_never_end_and_begin_anew() -> None:
    backoffs = Backoffs()
    for _ in range(2):
        delays = iter(backoffs)
        first = [next(delays) for _ in range(20)]
        assert first[:5] == [1, 2, 4, 8, 16]
        assert set(first[5:]) == {30}


def test_children_are_watched_by_our_label_and_our_kinds_are_not() -> None:
    watcher, _ = watched(settled())
    selectors = watcher.settings().watching.label_selectors
    assert len(selectors) == len(watcher.kinds()) - len(OURS)
    assert set(selectors.values()) == {"app.kubernetes.io/managed-by=linnet"}


def test_resync_finds_what_vanished_and_what_was_missed() -> None:
    simulation = settled()
    watcher, added = watched(simulation)
    pods = simulation.of_kind("Pod")
    del simulation.cluster.objects["Pod", NAMESPACE, pods[0]]
    other = simulation.cluster.objects["Pod", NAMESPACE, pods[1]]
    simulation.cluster.put({**other, "status": {**other["status"], "podIP": "10.0.0.9"}})
    simulation.world.models = Models()
    asyncio.run(resync.once(simulation.world, watcher))
    assert simulation.world.synced
    cache = simulation.world.cache
    assert cache.get(Key("Pod", NAMESPACE, pods[0])) is None
    missed = cache.get(Key("Pod", NAMESPACE, pods[1]))
    assert missed is not None
    assert missed["status"]["podIP"] == "10.0.0.9"
    # Once for itself, once for each of the two.
    assert added == [simulation.key] * 3


def test_a_kind_that_cannot_be_listed_loses_nothing_and_is_not_synced() -> None:
    simulation = settled()
    watcher, _ = watched(simulation)
    simulation.world.models = Models()
    simulation.cluster.fail("list", "Pod", Unavailable("503"))
    count = len(simulation.world.cache)
    asyncio.run(resync.once(simulation.world, watcher))
    assert len(simulation.world.cache) == count
    assert not simulation.world.synced


class Models:
    """The registry's cache, of which resync only forgets."""

    def forget(self, keep: set[str]) -> None:
        assert keep == {"delays"}
