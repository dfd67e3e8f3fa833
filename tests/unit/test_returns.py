"""Back to the previous champion, through the real loop in virtual time."""

import json
from typing import Any

import pytest
from scenarios import QUICK, promoted, rejected, settles
from simulation import NAMESPACE, ROUTED, Simulation, offer, serving

PROBATION = {"probation": {"duration": "10m"}}
SLO = [{"name": "errors", "errorRate": {}}, {"name": "slo", "objective": {"maxRate": "0.05"}}]


def replaced(**strategy: Any) -> Simulation:
    """A deployment whose version 2 has just become champion."""
    spec = {
        **ROUTED,
        "strategy": {**QUICK["strategy"], **strategy},
        "analysis": {**QUICK["analysis"], "metrics": SLO},
    }
    simulation = serving(spec=spec)
    offer(simulation, "2")
    assert simulation.run(1800, promoted("2")), simulation.message("Progressing")
    simulation.run(5)
    return simulation


def serves(version: str) -> Any:
    def done(s: Simulation) -> bool:
        champion = s.status.get("champion") or {}
        return champion.get("version") == version and list(s.programmed) == [champion["revision"]]

    return done


def test_on_probation_the_old_champion_is_kept_and_then_goes() -> None:
    simulation = replaced(**PROBATION)
    assert simulation.condition("Ready") == ("True", "Probation")
    assert "version 1 is kept ready until" in simulation.message("Ready")
    simulation.run(500)
    assert len(simulation.deployments()) == 2
    offer(simulation, "3")
    simulation.run(30)
    assert simulation.status.get("candidate") is None, "a new wish waits until probation ends"
    assert "comes next when the probation ends" in simulation.message("Ready")
    assert simulation.run(1800, promoted("3")), simulation.message("Progressing")
    assert any(event["reason"] == "ProbationEnded" for event in simulation.cluster.events)
    settles(simulation, after=900)
    assert len(simulation.deployments()) == 1


def test_a_champion_that_misses_an_objective_on_probation_goes_back() -> None:
    simulation = replaced(**PROBATION)
    simulation.behaviours["2"].bad = 0.4
    assert simulation.run(300, serves("1")), simulation.message("Ready")
    assert simulation.condition("Ready") == ("False", "RolledBack")
    (entry,) = simulation.status["rejected"]
    assert (entry["version"], entry["reason"]) == ("2", "ObjectiveMissed")
    assert "version 1 takes all traffic back" in entry["message"]
    assert simulation.run(300, promoted("1")), simulation.message("Promoted")
    settles(simulation, after=900)
    assert [each["decidedBy"] for each in simulation.status["history"]] == [
        "Probation", "Verdict", "FirstRevision",
    ]  # fmt: skip


def test_a_champion_that_crashes_on_probation_goes_back() -> None:
    simulation = replaced(**PROBATION)
    simulation.behaviours["2"].restarts = 3
    assert simulation.run(120, serves("1")), simulation.message("Ready")
    assert simulation.status["rejected"][0]["reason"] == "CandidateUnhealthy"


def test_undo_brings_the_previous_champion_back_at_once() -> None:
    simulation = replaced(scaleDownDelay="10m")
    undone = simulation.status["champion"]["revision"]
    simulation.request("undo", undone)
    assert simulation.run(10, serves("1")), simulation.message("Ready")
    assert simulation.status["request"]["outcome"] == "Done"
    assert simulation.condition("Ready") == ("False", "Undone")
    assert simulation.run(120, promoted("1"))
    settles(simulation, after=900)
    simulation.request("retry", undone)
    assert simulation.run(1800, promoted("2")), simulation.message("Progressing")


@pytest.mark.parametrize(
    ("wait", "revision", "words"),
    [(0, "delays-v1-00000000", "not delays-v1"), (300, "", "version 1 no longer runs")],
)
def test_undo_that_cannot_be_done_is_refused(wait: int, revision: str, words: str) -> None:
    simulation = replaced(scaleDownDelay="1m")
    simulation.run(wait)
    simulation.request("undo", revision or simulation.status["champion"]["revision"])
    simulation.run(10)
    assert simulation.status["request"]["outcome"] == "Refused"
    assert words in simulation.status["request"]["message"]
    assert simulation.status["champion"]["version"] == "2"


def test_a_revert_is_quick_and_rejects_nothing() -> None:
    simulation = replaced(scaleDownDelay="10m")
    simulation.registry.aliases["challenger"] = "1"
    assert simulation.run(10, serves("1")), simulation.message("Ready")
    assert not simulation.status.get("rejected")
    assert simulation.status["history"][0]["decidedBy"] == "Revert"
    assert simulation.run(120, promoted("1"))
    settles(simulation, after=900)


def test_an_alias_that_somebody_moved_meanwhile_is_left_alone() -> None:
    simulation = replaced(scaleDownDelay="10m")
    simulation.registry.add_version("9")
    simulation.registry.aliases["champion"] = "9"
    simulation.request("undo", simulation.status["champion"]["revision"])
    assert simulation.run(10, serves("1"))
    simulation.run(600)
    assert simulation.registry.aliases["champion"] == "9"
    assert simulation.condition("Promoted") == ("False", "ChampionAliasMoved")


def test_promote_full_goes_to_100_percent() -> None:
    simulation = serving(spec={**ROUTED, **QUICK})
    offer(simulation, "2")
    assert simulation.run(300, lambda s: s.status.get("weight") == 20)
    simulation.request("promote-full", simulation.status["candidate"]["revision"])
    simulation.run(5)
    assert simulation.status["weight"] == 100
    assert simulation.run(60, promoted("2"))


def test_a_rollback_of_a_candidate_still_is_one() -> None:
    simulation = replaced()
    offer(simulation, "3", bad=0.5)
    assert simulation.run(600, rejected("3")), simulation.message("Progressing")
    assert simulation.status["previous"]["version"] == "1"
    assert ("Deployment", NAMESPACE, simulation.status["champion"]["revision"]) in (
        simulation.cluster.objects
    )


def told(simulation: Simulation, version: str) -> list[dict[str, Any]]:
    """What a version's tag says of its time here."""
    text = simulation.registry.versions[version].get("linnet.dev/history.team.delays", "[]")
    return list(json.loads(text))


def test_every_version_carries_what_it_served() -> None:
    simulation = replaced()
    settles(simulation, after=900)
    (first,), (second,) = told(simulation, "1"), told(simulation, "2")
    assert (first["decidedBy"], first["maxWeight"]) == ("FirstRevision", 100)
    assert first["to"] == second["from"]
    assert "of" in second["message"]
    offer(simulation, "1")
    assert simulation.run(1800, promoted("1")), simulation.message("Progressing")
    settles(simulation, after=900)
    assert [entry["decidedBy"] for entry in told(simulation, "1")][-1] == "FirstRevision"
    assert len(told(simulation, "1")) == 2


def test_what_status_no_longer_holds_stays_on_the_version() -> None:
    simulation = replaced()
    settles(simulation, after=900)
    simulation.status["history"] = []
    settles(simulation, after=900)
    assert len(told(simulation, "1")) == 1


def test_a_tag_that_cannot_be_read_is_written_anew() -> None:
    simulation = replaced()
    simulation.registry.versions["2"]["linnet.dev/history.team.delays"] = "[3, nonsense"
    settles(simulation, after=900)
    assert [entry["decidedBy"] for entry in told(simulation, "2")] == ["Verdict"]
