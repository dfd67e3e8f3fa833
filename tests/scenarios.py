"""Stories of one object that are told again with an interruption, and what must hold in each."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from simulation import NAMESPACE, ROUTED, Simulation, offer

Manifest = dict[str, Any]
Moment = Callable[[Simulation], bool]
Deed = Callable[[Simulation], object]

HOLD = {"minDuration": "5s", "minCandidateRequests": 20, "maxDuration": "20s"}
QUICK: Manifest = {
    "strategy": {
        "steps": [
            {"weight": 20, "hold": HOLD},
            {"weight": 50, "hold": HOLD},
            {"weight": 100, "hold": {"minDuration": "5s"}},
        ],
    },
    "analysis": {"interval": "5s", "warmup": "2s"},
}
WITH_GATEWAY: Manifest = {**ROUTED, **QUICK}
SHADOWED: Manifest = {
    **WITH_GATEWAY,
    "strategy": {
        "steps": [{"shadow": {"percent": 50}, "hold": HOLD}, *QUICK["strategy"]["steps"][1:]]
    },
}
REPLAYED: Manifest = {
    **SHADOWED,
    "analysis": {
        **QUICK["analysis"],
        "metrics": [
            {"name": "errors", "errorRate": {}},
            {"name": "agreement", "disagreement": {"maxRate": "0.1"}},
        ],
    },
}
REPLAYED_WITHOUT_GATEWAY: Manifest = {
    key: value for key, value in REPLAYED.items() if key != "route"
}
KEPT: Manifest = {
    **WITH_GATEWAY,
    "strategy": {**QUICK["strategy"], "scaleDownDelay": "40s"},
}
ON_PROBATION: Manifest = {
    **WITH_GATEWAY,
    "strategy": {**QUICK["strategy"], "probation": {"duration": "60s"}},
    "analysis": {
        **QUICK["analysis"],
        "metrics": [
            {"name": "errors", "errorRate": {}},
            {"name": "slo", "objective": {"maxRate": "0.05"}},
        ],
    },
}
HELD_BACK: Manifest = {
    **WITH_GATEWAY,
    "strategy": {**QUICK["strategy"], "holdback": {"percent": 10, "duration": "30s"}},
}
WITHOUT_GATEWAY: Manifest = {key: value for key, value in WITH_GATEWAY.items() if key != "route"}


@dataclass(frozen=True, kw_only=True)
class Story:
    """What users do, each deed when its moment has come, and when the story is over.

    The opening is told before anything is interrupted: other stories are about it.
    """

    deeds: tuple[tuple[Moment, Deed], ...]
    end: Moment
    spec: Mapping[str, Any]
    from_nothing: bool = False
    opening: tuple[tuple[Moment, Deed], ...] = ()


def at_weight(weight: int, version: str) -> Moment:
    return lambda s: (
        s.status.get("weight") == weight
        and (s.status.get("candidate") or {}).get("version") == version
    )


def promoted(version: str) -> Moment:
    return lambda s: s.registry.aliases.get("champion") == version


def rejected(version: str) -> Moment:
    return lambda s: (
        any(r["version"] == version for r in s.status.get("rejected", ()))
        and s.status.get("candidate") is None
    )


def withdrawn(s: Simulation) -> bool:
    return s.status.get("candidate") is None and bool(s.held)


def at_once(s: Simulation) -> bool:
    return True


def request(verb: str, version: str) -> Deed:
    """Ask for something about the revision of a version, as far as status has named it."""

    def deed(s: Simulation) -> None:
        names = [s.status.get("candidate") or {}, *s.status.get("rejected", ())]
        s.request(verb, next(n["revision"] for n in names if n.get("version") == version))

    return deed


def alias(version: str) -> Deed:
    return lambda s: s.registry.aliases.update(challenger=version)


def offered(version: str, **behaviour: Any) -> Deed:
    return lambda s: offer(s, version, **behaviour)


def returned(version: str) -> Moment:
    """A version is champion again, and the alias names it."""

    def there(s: Simulation) -> bool:
        champion = s.status.get("champion") or {}
        return champion.get("version") == version and promoted(version)(s)

    return there


def held_back(s: Simulation) -> bool:
    """Every gateway gives the old champion its share after a promotion."""
    return bool((s.status.get("holdback") or {}).get("since"))


def alone(version: str) -> Moment:
    """A version has all traffic again after a share was held back."""

    def there(s: Simulation) -> bool:
        over = bool((s.status.get("holdback") or {}).get("ended"))
        return over and promoted(version)(s)

    return there


def nothing(s: Simulation) -> None:
    """The deed of a moment that is only waited for."""


def worse(version: str) -> Deed:
    """A version that was good begins to fail."""
    return lambda s: setattr(s.behaviours[version], "bad", 0.6)


def _story(*deeds: tuple[Moment, Deed], end: Moment, spec: Mapping[str, Any]) -> Story:
    return Story(deeds=deeds, end=end, spec=spec)


STORIES: dict[str, Story] = {
    "a first revision": Story(deeds=(), end=promoted("1"), spec=WITH_GATEWAY, from_nothing=True),
    "a rollout": _story((at_once, offered("2")), end=promoted("2"), spec=WITH_GATEWAY),
    "a rollback": _story((at_once, offered("2", bad=0.6)), end=rejected("2"), spec=WITH_GATEWAY),
    "an abort": _story(
        (at_once, offered("2")),
        (at_weight(50, "2"), request("abort", "2")),
        end=rejected("2"),
        spec=WITH_GATEWAY,
    ),
    "a rejection before traffic": _story(
        (at_once, offered("2", ready_after=None, fetch_exit=10)),
        end=rejected("2"),
        spec=WITH_GATEWAY,
    ),
    "a withdrawal": _story(
        (at_once, offered("2")),
        (at_weight(20, "2"), alias("1")),
        end=withdrawn,
        spec=WITH_GATEWAY,
    ),
    "a candidate that is superseded": _story(
        (at_once, offered("2")),
        (at_weight(20, "2"), offered("3")),
        end=promoted("3"),
        spec=WITH_GATEWAY,
    ),
    "a retry": _story(
        (at_once, offered("2")),
        (at_weight(20, "2"), request("abort", "2")),
        (rejected("2"), request("retry", "2")),
        end=promoted("2"),
        spec=WITH_GATEWAY,
    ),
    "an undo": _story(
        (at_once, offered("2")),
        (promoted("2"), lambda s: s.request("undo", s.status["champion"]["revision"])),
        end=returned("1"),
        spec=KEPT,
    ),
    "a probation that fails": _story(
        (at_once, offered("2")),
        (promoted("2"), worse("2")),
        end=returned("1"),
        spec=ON_PROBATION,
    ),
    "a share that is held back": Story(
        opening=((at_once, offered("2")), (at_weight(100, "2"), nothing)),
        deeds=(),
        end=alone("2"),
        spec=HELD_BACK,
    ),
    "a holdback that fails": Story(
        opening=((at_once, offered("2")), (held_back, nothing)),
        deeds=((at_once, worse("2")),),
        end=returned("1"),
        spec=HELD_BACK,
    ),
    "a shadow and then weights": _story((at_once, offered("2")), end=promoted("2"), spec=SHADOWED),
    "a shadow by the champion": _story((at_once, offered("2")), end=promoted("2"), spec=REPLAYED),
    "a disagreement by replicas": _story(
        (at_once, offered("2", other=0.6)), end=rejected("2"), spec=REPLAYED_WITHOUT_GATEWAY
    ),
    "a rollout by replicas": _story(
        (at_once, offered("2")), end=promoted("2"), spec=WITHOUT_GATEWAY
    ),
    "a rollback by replicas": _story(
        (at_once, offered("2", bad=0.6)), end=rejected("2"), spec=WITHOUT_GATEWAY
    ),
}


def begin(story: Story) -> Simulation:
    """The world before the story: a serving champion, or nothing."""
    simulation = Simulation(spec=story.spec)
    simulation.registry.add_version("1")
    simulation.registry.aliases["challenger"] = "1"
    if not story.from_nothing:
        assert simulation.run(60, promoted("1")), simulation.message("Ready")
        simulation.run(5)
    simulation.invariants.append(keep)
    _tell(simulation, story.opening)
    return simulation


def tell(simulation: Simulation, story: Story, *, limit: int = 400) -> None:
    """Let the story happen, then let everything come to rest."""
    _tell(simulation, story.deeds, limit=limit)
    assert simulation.run(limit, story.end), simulation.message("Progressing")
    simulation.run(60)


def _tell(
    simulation: Simulation, deeds: tuple[tuple[Moment, Deed], ...], *, limit: int = 400
) -> None:
    for moment, deed in deeds:
        assert simulation.run(limit, moment), simulation.message("Progressing")
        deed(simulation)


def children(simulation: Simulation) -> set[tuple[str, str]]:
    """Everything that exists, pods apart."""
    return {(kind, name) for kind, _, name in simulation.cluster.objects if kind != "Pod"}


def keep(simulation: Simulation) -> None:
    """The invariant: weights sum to 100, the champion serves alone, the alias was earned."""
    route = simulation.cluster.objects.get(("HTTPRoute", NAMESPACE, "delays"))
    if route is not None:
        weights = [ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]]
        assert sum(weights) == 100, weights
    champion = simulation.status.get("champion") or {}
    if champion.get("since"):
        deployment = simulation.cluster.objects.get(("Deployment", NAMESPACE, champion["revision"]))
        assert deployment is not None, "the champion has no Deployment"
        assert deployment["spec"]["replicas"] == simulation.spec["server"]["replicas"]
    named = simulation.registry.aliases.get("champion")
    earned = {held.rpartition("-")[0].rpartition("-v")[2] for held in simulation.held}
    assert named is None or named in earned, f"the alias names {named}, which never held 100 %"
    assert simulation.unanswered == 0, "users' requests found no pod"


def check(story: Story, expected: Simulation, simulation: Simulation) -> None:
    """The end is that of the undisturbed story, and nothing is written any more."""
    assert simulation.facts() == expected.facts()
    assert children(simulation) == children(expected)
    simulation.stays_silent(180)


def settles(simulation: Simulation, *, after: float) -> None:
    """After so many seconds nothing is written any more, and no user was left without an answer."""
    simulation.run(after)
    simulation.stays_silent()
    assert simulation.unanswered == 0


@cache
def _begun(name: str) -> Simulation:
    return begin(STORIES[name])


def interrupted(name: str, after: int, *, lost: bool) -> Simulation:
    """The story with one interruption after that many writes."""
    story = STORIES[name]
    # Making the world before a story takes longer than most stories: it is made once.
    simulation = copy.deepcopy(_begun(name))
    if lost:
        simulation.cluster.lose_after = after
    else:
        simulation.cluster.crash_after = after
    tell(simulation, story)
    return simulation
