"""A share that the old champion keeps after a promotion, through the real loop in virtual time."""

from collections.abc import Callable
from typing import Any

import pytest
from scenarios import HELD_BACK, held_back, promoted, returned, settles
from simulation import NAMESPACE, Simulation, offer, serving

Manifest = dict[str, Any]


def holding(**strategy: Any) -> Simulation:
    """A deployment whose version 2 was promoted, with 10 % held back with version 1."""
    given = {**HELD_BACK["strategy"], "holdback": {"percent": 10, "duration": "10m"}, **strategy}
    simulation = serving(spec={**HELD_BACK, "strategy": given}, rate=20)
    offer(simulation, "2")
    assert simulation.run(1800, held_back), simulation.message("Progressing")
    assert simulation.run(30, promoted("2"))
    return simulation


def shares(simulation: Simulation) -> dict[str, int]:
    """Programmed shares by version."""
    told = {name.rpartition("-v")[2][0]: weight for name, weight in simulation.programmed.items()}
    return {version: weight for version, weight in told.items() if weight}


def over(s: Simulation) -> bool:
    return bool((s.status.get("holdback") or {}).get("ended")) and len(shares(s)) == 1


def test_the_old_champion_keeps_its_share_and_the_comparison_goes_on() -> None:
    simulation = holding(holdback={"percent": 10, "duration": "3m"})
    assert shares(simulation) == {"2": 90, "1": 10}
    assert simulation.condition("Ready") == ("True", "Probation")
    assert simulation.message("Ready").startswith(
        "version 2 serves 90 % of the requests; 10 % are held back with version 1 until 2026-"
    )
    before = simulation.status["analysis"]["blocks"]
    simulation.run(120)
    assert simulation.status["analysis"]["blocks"] >= before + 15
    assert simulation.condition("MetricsAvailable") == ("True", "Scraped")
    assert simulation.condition("SplitAsConfigured") == ("True", "AsConfigured")
    assert simulation.condition("AnalysisSatisfied")[0] == "True"

    assert simulation.run(120, over), simulation.message("Ready")
    settles(simulation, after=60)
    assert shares(simulation) == {"2": 100}
    assert simulation.condition("Ready") == ("True", "Serving")
    assert len(simulation.deployments()) == 1
    kept, new, first = simulation.status["history"]
    assert (kept["version"], kept["maxWeight"]) == ("1", 10)
    assert kept["message"] == "10 % were held back until `strategy.holdback.duration` was over"
    assert (new["version"], first["version"]) == ("2", "1")
    assert any(event["reason"] == "ProbationEnded" for event in simulation.cluster.events)


def test_a_champion_that_turns_out_worse_goes_back() -> None:
    simulation = holding()
    simulation.behaviours["2"].bad = 0.3
    assert simulation.run(300, returned("1")), simulation.message("Ready")
    assert simulation.condition("Ready") == ("False", "RolledBack")
    (entry,) = simulation.status["rejected"]
    assert (entry["version"], entry["reason"]) == ("2", "Regression")
    assert "on probation, regression: errors" in entry["message"]
    assert "version 1 takes all traffic back" in entry["message"]
    assert "holdback" not in simulation.status
    settles(simulation, after=120)
    assert [each["decidedBy"] for each in simulation.status["history"]] == [
        "Verdict", "Probation", "Verdict", "FirstRevision",
    ]  # fmt: skip


def test_an_incident_of_both_is_nobodys_fault() -> None:
    simulation = holding()
    for version in "12":
        simulation.behaviours.setdefault(version, simulation.behaviours["2"]).bad = 0.3
    simulation.run(120)
    assert not simulation.status.get("rejected")
    assert shares(simulation) == {"2": 90, "1": 10}


def _asks_for_another(s: Simulation) -> None:
    offer(s, "3")


def _takes_it_away(s: Simulation) -> None:
    s.edit(lambda obj: obj["spec"]["strategy"].pop("holdback"))


def _old_pods_die(s: Simulation) -> None:
    s.behaviours["1"].ready_after = None


@pytest.mark.parametrize(
    ("deed", "why"),
    [
        (_asks_for_another, "version 3 was asked for"),
        (_takes_it_away, "`strategy.holdback` was taken away"),
        (_old_pods_die, "no pod of the old champion was ready"),
    ],
)
def test_it_ends_before_its_time(deed: Callable[[Simulation], None], why: str) -> None:
    simulation = holding()
    deed(simulation)
    assert simulation.run(10, lambda s: shares(s) == {"2": 100}), simulation.message("Ready")
    assert simulation.status["history"][0]["message"] == f"10 % were held back until {why}"


def test_a_paused_deployment_keeps_its_shares() -> None:
    simulation = holding(holdback={"percent": 10, "duration": "60s"})
    simulation.edit(lambda obj: obj["spec"].update(paused=True))
    offer(simulation, "3")
    simulation.run(90)
    assert shares(simulation) == {"2": 90, "1": 10}
    simulation.edit(lambda obj: obj["spec"].update(paused=False))
    assert simulation.run(60, lambda s: s.status.get("candidate") is not None)


def test_its_time_begins_when_the_gateways_report_the_share() -> None:
    simulation = serving(spec=HELD_BACK, rate=20)
    offer(simulation, "2")
    assert simulation.run(600, lambda s: s.status.get("weight") == 100)
    simulation.gateway_up = False
    simulation.run(60)
    assert "holdback" in simulation.status
    assert not held_back(simulation)
    simulation.gateway_up = True
    assert simulation.run(10, held_back)
    assert shares(simulation) == {"2": 90, "1": 10}
    assert simulation.run(45, over)


def test_undo_and_revert_bring_the_old_champion_back_at_once() -> None:
    simulation = holding()
    simulation.registry.aliases["challenger"] = "1"
    assert simulation.run(10, lambda s: shares(s) == {"1": 100}), simulation.message("Ready")
    assert not simulation.status.get("rejected")
    settles(simulation, after=120)
    assert simulation.registry.aliases["champion"] == "1"


def test_probation_goes_on_when_the_share_is_given_back() -> None:
    simulation = holding(holdback={"percent": 10, "duration": "60s"}, probation={"duration": "2m"})
    assert simulation.run(90, over)
    simulation.run(15)
    assert len(simulation.deployments()) == 2
    assert simulation.condition("Ready") == ("True", "Probation")
    assert "is kept ready until" in simulation.message("Ready")
    settles(simulation, after=120)
    assert len(simulation.deployments()) == 1


def test_a_share_that_the_gateway_does_not_keep_is_said_and_resumed() -> None:
    simulation = holding()
    simulation.skew = 0.1
    simulation.run(90)
    assert simulation.condition("SplitAsConfigured") == ("False", "SampleRatioMismatch")
    simulation.skew = 1.0
    simulation.request("resume")
    simulation.run(30)
    assert simulation.condition("SplitAsConfigured") == ("True", "AsConfigured")
    assert ("Deployment", NAMESPACE, simulation.status["previous"]["revision"]) in (
        simulation.cluster.objects
    )
