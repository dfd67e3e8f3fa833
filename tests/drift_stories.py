"""Days of a DriftPolicy, and what is true in the end: shared by tests of the planner."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drifting import DAY, POLICY, RETRAINING, Drift
from simulation import NAMESPACE, START

Deed = Callable[[Drift], object]


def always(outcome: str) -> Callable[[datetime], str]:
    return lambda slot: outcome


def after_days(days: int, outcome: str) -> Callable[[datetime], str]:
    """Within at first, then `outcome`."""
    return lambda slot: outcome if slot >= START + days * DAY else "Within"


def retrain(**changes: Any) -> dict[str, Any]:
    return {**RETRAINING, "retrain": {**RETRAINING["retrain"], **changes}}


@dataclass(frozen=True, kw_only=True)
class Case:
    """Some days of a policy, and what is true in the end."""

    spec: dict[str, Any]
    outcome: Callable[[datetime], str] = lambda slot: "Within"
    trained: Callable[[int], str] = lambda number: "Passed"
    before: Deed = lambda s: None
    days: int = 3
    ready: tuple[str, str] = ("True", "Monitoring")
    drifted: tuple[str, str]
    retraining: tuple[str, str]
    checks: int = 3
    retrained: int = 0
    message_lost: bool = False


CASES = {
    "no drift": Case(
        spec=POLICY, drifted=("False", "WithinThreshold"), retraining=("False", "NotAsked")
    ),
    "no drift, with a retraining": Case(
        spec=RETRAINING, drifted=("False", "WithinThreshold"), retraining=("False", "NotNeeded")
    ),
    "results by the run's tag alone": Case(
        spec=POLICY,
        message_lost=True,
        drifted=("False", "WithinThreshold"),
        retraining=("False", "NotAsked"),
    ),
    "one breach waits for another": Case(
        spec=RETRAINING,
        outcome=after_days(2, "Drifted"),
        drifted=("True", "FeatureDrift"),
        retraining=("False", "WaitingForBreaches"),
    ),
    "two breaches of three train anew": Case(
        spec=RETRAINING,
        outcome=after_days(1, "Drifted"),
        drifted=("True", "FeatureDrift"),
        retraining=("False", "NotNeeded"),
        retrained=1,
    ),
    "a suggestion starts nothing": Case(
        spec=retrain(mode="Suggest"),
        outcome=always("Drifted"),
        drifted=("True", "FeatureDrift"),
        retraining=("False", "Suggested"),
    ),
    "failures end retraining": Case(
        spec=retrain(cooldown="1h"),
        outcome=always("Drifted"),
        trained=lambda number: "Refused",
        days=6,
        checks=6,
        drifted=("True", "FeatureDrift"),
        retraining=("False", "RetrainingFailed"),
        retrained=2,
    ),
    "a budget bounds retrainings": Case(
        spec=retrain(cooldown="1h", budget={"jobs": 1, "per": "720h"}),
        outcome=always("Drifted"),
        drifted=("True", "FeatureDrift"),
        days=4,
        checks=4,
        retraining=("False", "BudgetSpent"),
        retrained=1,
    ),
    "one in flight": Case(
        spec=retrain(cooldown="1h"),
        outcome=always("Drifted"),
        trained=lambda number: "Running",
        days=4,
        checks=4,
        drifted=("True", "FeatureDrift"),
        retraining=("True", "JobRunning"),
        retrained=1,
    ),
    "none while the deployment rolls out": Case(
        spec=retrain(when={"breaches": 1, "of": 1}),
        outcome=always("Drifted"),
        before=lambda s: s.serve("1", since=START - 9 * DAY, rolling_out=True),
        drifted=("True", "FeatureDrift"),
        retraining=("False", "RolloutInProgress"),
    ),
    "none soon after a promotion": Case(
        spec=retrain(when={"breaches": 1, "of": 1}, cooldown="240h"),
        outcome=always("Drifted"),
        before=lambda s: s.serve("1", since=START - 1 * DAY),
        drifted=("True", "FeatureDrift"),
        retraining=("False", "Cooldown"),
    ),
    "none without new rows": Case(
        spec=retrain(minNewSamples=2000),
        outcome=always("Drifted"),
        drifted=("True", "FeatureDrift"),
        retraining=("False", "TooFewNewSamples"),
    ),
    "too few rows": Case(
        spec=RETRAINING,
        outcome=always("TooFewSamples"),
        ready=("False", "TooFewSamples"),
        drifted=("Unknown", "TooFewSamples"),
        retraining=("False", "NotNeeded"),
    ),
    "another schema": Case(
        spec=RETRAINING,
        outcome=always("Error"),
        ready=("False", "SchemaMismatch"),
        drifted=("Unknown", "NotJudgedYet"),
        retraining=("False", "NotNeeded"),
    ),
    "checks that leave nothing": Case(
        spec=RETRAINING,
        outcome=always("Crash"),
        ready=("False", "CheckFailed"),
        drifted=("Unknown", "NotJudgedYet"),
        retraining=("False", "NotNeeded"),
    ),
    "no deployment": Case(
        spec=POLICY,
        before=lambda s: s.cluster.remove("ModelDeployment", NAMESPACE, "delays"),
        ready=("False", "DeploymentNotFound"),
        drifted=("Unknown", "NotJudgedYet"),
        retraining=("False", "NotAsked"),
        checks=0,
    ),
}


def begin(case: Case) -> Drift:
    world = Drift(
        spec=case.spec, outcome=case.outcome, trained=case.trained, message_lost=case.message_lost
    )
    case.before(world)
    world.run(60)
    return world
