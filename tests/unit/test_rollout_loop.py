"""Whole rollouts through the real loop, in virtual time against a world in memory."""

from linnet.ports import Rejected
from simulation import NAMESPACE, ROUTED, Simulation, offer, serving

LATER = {"replicas": 2, "workers": 2}


def promoted(version: str):
    return lambda s: s.registry.aliases.get("champion") == version


def rejected(version: str):
    return lambda s: (
        any(r["version"] == version for r in s.status.get("rejected", ()))
        and s.status.get("candidate") is None
    )


def test_the_first_revision_takes_all_traffic_and_becomes_champion() -> None:
    simulation = serving()
    assert simulation.condition("Ready") == ("True", "Serving")
    assert simulation.condition("Promoted") == ("True", "AliasSet")
    assert list(simulation.programmed.values()) == [100]
    assert simulation.unanswered == 0


def test_a_good_candidate_takes_every_step_and_becomes_champion() -> None:
    simulation = serving()
    offer(simulation, "2")
    weights = []

    def watch(s: Simulation) -> bool:
        weight = s.status.get("weight")
        if weight and (not weights or weights[-1] != weight):
            weights.append(weight)
        return promoted("2")(s)

    assert simulation.run(1800, watch), simulation.message("Progressing")
    assert weights == [5, 25, 50, 100]
    simulation.run(120)
    assert simulation.facts() == {
        "champion": "2",
        "candidate": None,
        "rejected": [],
        "ready": ("True", "Serving"),
        "weights": {simulation.status["champion"]["revision"]: 100},
        "deployments": [simulation.status["champion"]["revision"]],
        "aliases": {"challenger": "2", "champion": "2"},
    }
    assert simulation.unanswered == 0


def test_a_bad_candidate_is_rolled_back_remembered_and_stays_away() -> None:
    simulation = serving()
    offer(simulation, "2", bad=0.5)
    assert simulation.run(600, rejected("2")), simulation.message("Progressing")
    assert simulation.served["2"][0] < 200
    assert simulation.condition("Ready") == ("False", "RolledBack")
    assert simulation.condition("Stalled") == ("True", "RolledBack")
    assert "traffic returned to version 1" in simulation.message("Ready")
    simulation.run(120)
    assert simulation.registry.aliases["champion"] == "1"
    assert len(simulation.deployments()) == 1
    served = simulation.served["2"][0]
    simulation.run(120)
    assert simulation.served["2"][0] == served
    offer(simulation, "3", content="content-2")
    simulation.run(120)
    assert simulation.condition("Ready") == ("False", "SameContentAsRejected")
    assert "3" not in simulation.served


def test_a_settled_deployment_writes_nothing() -> None:
    simulation = serving()
    simulation.run(60)
    before = len(simulation.cluster.writes) + len(simulation.registry.writes)
    simulation.run(600)
    assert len(simulation.cluster.writes) + len(simulation.registry.writes) == before


def test_a_rolled_back_deployment_writes_nothing() -> None:
    simulation = serving()
    offer(simulation, "2", bad=1.0)
    assert simulation.run(600, rejected("2"))
    simulation.run(120)
    before = len(simulation.cluster.writes) + len(simulation.registry.writes)
    simulation.run(600)
    assert len(simulation.cluster.writes) + len(simulation.registry.writes) == before


def test_a_restart_that_reads_an_older_list_does_nothing_of_a_step_long_over() -> None:
    spec = {"model": {"name": "delays"}, "server": {"replicas": 4}}
    simulation = serving(spec=spec)
    offer(simulation, "2")
    assert simulation.run(900, lambda s: (s.status.get("step") or {}).get("weight") == 25)
    older = simulation.object
    assert simulation.run(2400, promoted("2")), simulation.message("Progressing")
    simulation.run(120)
    settled, writes = simulation.facts(), simulation.writes
    simulation.past[simulation.key] = older
    simulation.start()
    simulation.run(120)
    assert simulation.facts() == settled
    assert simulation.writes == writes


def test_a_record_that_lost_its_labels_gets_them_back() -> None:
    simulation = serving()
    (name,) = simulation.of_kind("ControllerRevision")
    record = simulation.cluster.objects["ControllerRevision", NAMESPACE, name]
    kept = record["metadata"]["labels"]
    simulation.cluster.put({**record, "metadata": {**record["metadata"], "labels": {}}})
    simulation.run(60)
    assert simulation.condition("Ready") == ("True", "Serving")
    mended = simulation.cluster.objects["ControllerRevision", NAMESPACE, name]
    assert mended["metadata"]["labels"] == kept
    simulation.edit(lambda obj: obj["spec"]["server"].update({"replicas": 3}))
    simulation.run(60)
    assert simulation.cluster.objects["Deployment", NAMESPACE, name]["spec"]["replicas"] == 3


def test_without_a_gateway_the_share_follows_pods() -> None:
    spec = {"model": {"name": "delays"}, "server": {"replicas": 2}}
    simulation = serving(spec=spec)
    offer(simulation, "2")
    assert simulation.run(2400, promoted("2")), simulation.message("Progressing")
    assert simulation.unanswered == 0
    simulation.run(120)
    assert simulation.condition("TrafficProgrammed") == ("True", "ReplicaWeighted")
    assert simulation.deployments() == [simulation.status["champion"]["revision"]]


def test_a_paused_rollout_holds_its_weight_and_keeps_rollback_armed() -> None:
    simulation = serving()
    offer(simulation, "2")
    assert simulation.run(300, lambda s: s.status.get("weight") == 5)
    simulation.edit(lambda obj: obj["spec"].update({"paused": True}))
    simulation.run(900)
    assert simulation.status["weight"] == 5
    assert simulation.condition("Ready") == ("False", "Paused")
    simulation.behaviours["2"].bad = 1.0
    assert simulation.run(300, rejected("2"))


def test_abort_rolls_back_and_retry_forgets() -> None:
    simulation = serving()
    offer(simulation, "2")
    assert simulation.run(300, lambda s: s.status.get("weight") == 5)
    revision = simulation.status["candidate"]["revision"]
    simulation.request("abort", revision)
    assert simulation.run(300, rejected("2"))
    assert simulation.status["request"]["outcome"] == "Done"
    assert simulation.status["rejected"][0]["reason"] == "Aborted"
    simulation.run(60)
    simulation.request("retry", revision)
    assert simulation.run(1800, promoted("2"))
    tags = simulation.registry.versions["2"]
    assert not [key for key in tags if key.startswith("linnet.dev/rejected")]


def test_promote_takes_the_next_step_now() -> None:
    simulation = serving()
    offer(simulation, "2")
    assert simulation.run(300, lambda s: s.status.get("weight") == 5)
    simulation.request("promote", simulation.status["candidate"]["revision"])
    assert simulation.run(10, lambda s: s.status.get("weight") == 25)


def test_missing_metrics_hold_the_weight_and_never_roll_back() -> None:
    simulation = serving()
    offer(simulation, "2")
    assert simulation.run(300, lambda s: s.status.get("weight") == 5)
    simulation.metrics_up = False
    simulation.run(900)
    assert simulation.status["weight"] == 5
    assert simulation.condition("MetricsAvailable") == ("False", "MetricsUnavailable")
    simulation.metrics_up = True
    assert simulation.run(1800, promoted("2"))


def test_a_gateway_that_is_away_holds_the_rollout() -> None:
    simulation = serving()
    simulation.gateway_up = False
    offer(simulation, "2")
    simulation.run(300)
    assert simulation.condition("TrafficProgrammed")[0] != "True"
    assert list(simulation.programmed.values()) == [100]
    simulation.gateway_up = True
    assert simulation.run(1800, promoted("2"))


def test_a_registry_that_is_down_changes_nothing_that_serves() -> None:
    simulation = serving()
    offer(simulation, "2")
    assert simulation.run(300, lambda s: s.status.get("weight") == 25)
    simulation.registry.down = True
    simulation.run(600)
    assert simulation.unanswered == 0
    assert simulation.condition("Promoted")[1] == "RegistryUnavailable"
    simulation.registry.down = False
    assert simulation.run(600, promoted("2"))


def test_an_alias_that_goes_back_to_the_champion_withdraws_the_candidate() -> None:
    simulation = serving()
    offer(simulation, "2")
    assert simulation.run(300, lambda s: s.status.get("weight") == 25)
    simulation.registry.aliases["challenger"] = "1"
    assert simulation.run(120, lambda s: s.status.get("candidate") is None)
    assert simulation.status.get("rejected", []) == []
    assert simulation.condition("Ready") == ("True", "Serving")


def test_another_version_supersedes_the_candidate() -> None:
    simulation = serving()
    offer(simulation, "2")
    assert simulation.run(300, lambda s: s.status.get("weight") == 25)
    offer(simulation, "3")
    assert simulation.run(2400, promoted("3"))
    assert simulation.status.get("rejected", []) == []


def test_a_candidate_with_a_wrong_digest_is_rejected_before_traffic() -> None:
    simulation = serving()
    offer(simulation, "2", ready_after=None, fetch_exit=10)
    assert simulation.run(120, rejected("2"))
    assert simulation.status["rejected"][0]["reason"] == "ProvenanceMismatch"
    assert "2" not in simulation.served


def test_a_candidate_that_waits_for_the_store_is_not_rejected() -> None:
    simulation = serving()
    offer(simulation, "2", ready_after=None, fetch_exit=20)
    simulation.run(900)
    assert simulation.status.get("rejected", []) == []
    assert simulation.condition("Progressing") == ("False", "ProgressDeadlineExceeded")


def test_a_candidate_that_crash_loops_under_traffic_goes_back_at_once() -> None:
    simulation = serving()
    offer(simulation, "2")
    assert simulation.run(300, lambda s: s.status.get("weight") == 5)
    simulation.behaviours["2"].restarts = 3
    assert simulation.run(60, rejected("2"))
    assert simulation.condition("Ready") == ("False", "CandidateUnhealthy")


def test_a_field_that_is_not_live_changes_nothing_and_says_so() -> None:
    simulation = serving()
    before = simulation.facts()
    simulation.edit(lambda o: o["spec"].update({"server": LATER}))
    simulation.run(60)
    assert simulation.condition("Stalled") == ("True", "NotYetSupported")
    assert simulation.message("Stalled") == (
        "spec.server.workers is not supported by this version of Linnet: remove it or upgrade"
    )
    assert simulation.facts() | {"ready": before["ready"]} == before
    simulation.edit(lambda o: o["spec"]["server"].pop("workers"))
    simulation.run(60)
    assert simulation.facts() == before


def test_a_foreign_object_of_our_name_is_left_alone() -> None:
    simulation = Simulation(spec=ROUTED)
    foreign = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "delays", "namespace": NAMESPACE},
        "spec": {"parentRefs": [{"name": "eg"}], "rules": [{"backendRefs": []}]},
    }
    simulation._gateway = lambda: None  # type: ignore[method-assign]
    simulation.cluster.put(foreign)
    simulation.registry.add_version("1")
    simulation.registry.aliases["challenger"] = "1"
    simulation.run(60)
    assert simulation.condition("Stalled") == ("True", "NameTaken")
    stored = simulation.cluster.objects["HTTPRoute", NAMESPACE, "delays"]
    assert stored["spec"] == foreign["spec"]


def test_a_model_that_does_not_exist_is_named_with_what_to_do() -> None:
    simulation = Simulation(spec=ROUTED)
    simulation.run(5)
    assert simulation.condition("ModelResolved") == ("False", "ModelNotFound")
    assert simulation.message("Ready") == (
        "the registry has no model 'delays': register one, or correct `spec.model.name`"
    )


def test_clusters_start_no_server_and_leave_what_serves_alone() -> None:
    simulation = Simulation(spec=ROUTED)
    why = {"linnet.dev/not-servable": "it has no `predict`"}
    simulation.registry.add_version("1", **why)
    simulation.registry.aliases |= {"challenger": "1", "champion": "1"}
    simulation.run(30)
    said = (
        "version 1 of model 'delays' cannot be served: it has no `predict`. Name another model or "
        "version (`spec.model.alias`)"
    )
    assert simulation.condition("ModelResolved") == ("False", "NotServable")
    assert (simulation.message("ModelResolved"), simulation.message("Ready")) == (said, said)
    assert simulation.deployments() == []
    simulation.stays_silent()

    offer(simulation, "2")
    assert simulation.run(120, lambda s: s.condition("Ready") == ("True", "Serving"))
    simulation.registry.add_version("3", **why)
    simulation.registry.aliases["challenger"] = "3"
    simulation.run(60)
    assert simulation.condition("Ready") == ("False", "NotServable")
    assert simulation.condition("Available")[0] == "True"
    assert set(simulation.served) == {"2"}


def test_without_a_gateway_a_superseded_candidate_gets_no_traffic_again() -> None:
    spec = {"model": {"name": "delays"}, "server": {"replicas": 2}}
    simulation = serving(spec=spec)
    for version in ("2", "3", "4", "5"):
        offer(simulation, version)
        simulation.run(3)
    assert simulation.run(200, lambda s: s.status.get("weight", 0) > 0)
    assert len(simulation.deployments()) == 2
    assert simulation.run(2400, promoted("5")), simulation.message("Progressing")
    assert set(simulation.served) == {"1", "5"}
    assert simulation.unanswered == 0


def test_an_abort_before_anything_was_made_is_remembered_too() -> None:
    simulation = serving()
    simulation.cluster.fail("create", "ControllerRevision", Rejected("quota exceeded"))
    offer(simulation, "2")
    assert simulation.run(60, lambda s: bool(s.status.get("candidate")))
    simulation.request("abort", simulation.status["candidate"]["revision"])
    assert simulation.run(60, rejected("2"))
    simulation.cluster.mend()
    simulation.run(300)
    assert simulation.status.get("candidate") is None
    assert simulation.condition("Ready") == ("False", "RolledBack")
    assert "2" not in simulation.served
