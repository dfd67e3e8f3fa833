"""Pods by load: one autoscaler for each revision, and no way back that shrinks."""

from typing import Any

from scenarios import QUICK, at_weight, promoted, rejected, settles
from simulation import NAMESPACE, ROUTED, Simulation, offer, serving

SCALING = {"minReplicas": 2, "maxReplicas": 6}
BY_LOAD = {**ROUTED, **QUICK, "server": {"autoscaling": SCALING}}


def scaler(s: Simulation, version: str) -> Any:
    """Bounds of the autoscaler of a version's revision."""
    (name,) = [each for each in s.of_kind("HorizontalPodAutoscaler") if f"-v{version}-" in each]
    spec = s.cluster.objects["HorizontalPodAutoscaler", NAMESPACE, name]["spec"]
    return spec["minReplicas"], spec["maxReplicas"]


def pods(s: Simulation, version: str) -> int:
    return sum(f"-v{version}-" in name for name in s.of_kind("Pod"))


def test_load_decides_between_the_bounds_and_nobody_else_sets_replicas() -> None:
    s = serving(spec=BY_LOAD)
    s.load = 5
    s.run(30)
    assert (scaler(s, "1"), pods(s, "1")) == ((2, 6), 5)
    settles(s, after=300)
    s.load = 1
    s.run(30)
    assert pods(s, "1") == 2


def test_a_champion_keeps_its_size_while_a_rollout_takes_its_load() -> None:
    s = serving(spec=BY_LOAD)
    s.load = 5
    s.run(30)
    offer(s, "2")
    assert s.run(600, at_weight(20, "2")), s.message("Progressing")
    assert pods(s, "2") == 5, "a candidate can take all traffic before it gets any"
    s.load = 1
    assert s.run(600, at_weight(50, "2")), s.message("Progressing")
    assert (scaler(s, "1"), scaler(s, "2")) == ((5, 6), (5, 6))
    assert (pods(s, "1"), pods(s, "2")) == (5, 5)
    assert s.run(1800, promoted("2")), s.message("Progressing")
    s.run(120)
    assert (scaler(s, "2"), pods(s, "2"), pods(s, "1")) == ((2, 6), 2, 0)
    assert len(s.of_kind("HorizontalPodAutoscaler")) == 1
    settles(s, after=300)


def test_a_rollback_finds_the_champion_as_large_as_it_was() -> None:
    s = serving(spec=BY_LOAD)
    s.load = 4
    s.run(30)
    offer(s, "2", bad=0.05)
    assert s.run(600, at_weight(20, "2")), s.message("Progressing")
    s.load = 1
    assert s.run(900, rejected("2")), s.message("Progressing")
    assert pods(s, "1") == 4
    settles(s, after=300)
    assert pods(s, "1") == 2


def test_without_a_gateway_load_does_not_move_shares() -> None:
    spec = {key: value for key, value in BY_LOAD.items() if key != "route"}
    s = serving(spec=spec)
    s.load = 4
    s.run(30)
    offer(s, "2")
    assert s.run(600, at_weight(20, "2")), s.message("Progressing")
    s.load = 6
    s.run(3)
    assert (scaler(s, "1"), scaler(s, "2")) == ((4, 4), (1, 1))
    assert s.run(1800, promoted("2")), s.message("Progressing")
    settles(s, after=300)


def test_an_autoscaler_comes_and_goes_with_the_spec() -> None:
    s = serving(spec=BY_LOAD)
    s.load = 5
    s.run(30)
    s.edit(lambda obj: obj["spec"].update(server={"replicas": 3}))
    s.run(30)
    assert s.of_kind("HorizontalPodAutoscaler") == []
    assert pods(s, "1") == 3
    s.edit(lambda obj: obj["spec"].update(server={"autoscaling": SCALING}))
    s.run(30)
    assert pods(s, "1") == 5
    settles(s, after=300)


def test_every_revision_has_a_budget_for_its_disruptions() -> None:
    s = serving(spec=BY_LOAD)
    (name,) = s.of_kind("PodDisruptionBudget")
    assert name == s.status["champion"]["revision"]
    spec = s.cluster.objects["PodDisruptionBudget", NAMESPACE, name]["spec"]
    assert spec["selector"] == {"matchLabels": {"linnet.dev/revision": name}}
    s.cluster.remove("PodDisruptionBudget", NAMESPACE, name)
    s.run(600)
    assert s.of_kind("PodDisruptionBudget") == [name]
