"""Labels and pairs that a collector tells, through the real loop in virtual time.

The collector is a later part: a stand-in exports its counters. The fields that ask for them are
not live, so these tests say that they are.
"""

from collections.abc import Sequence
from typing import Any

import pytest
from linnet.api import labels, support
from linnet.core.rollout.state import ScrapedPage, ScrapeTarget
from linnet_server import contract
from scenarios import at_weight, promoted, rejected
from simulation import NAMESPACE, ROUTED, Manifest, Simulation, offer

HOLD = {"minDuration": "60s", "minCandidateRequests": 50, "maxDuration": "300s"}
SHADOW = {"shadow": {"percent": 50}, "hold": HOLD}
WEIGHTS = [{"weight": 20, "hold": HOLD}, {"weight": 50, "hold": HOLD}, {"weight": 100}]
ERRORS = {"name": "errors", "errorRate": {}}
WRONG = 0.1
"""How often the champion is wrong."""


class Collected(Simulation):
    """A world with a collector, which learns of labels and pairs some seconds late."""

    def __post_init__(self) -> None:
        self.results: dict[str, dict[str, dict[str, int]]] = {}
        self.pairs: dict[str, list[int]] = {}
        self.wrong: dict[str, float] = {}
        """How often a version is wrong, if not as often as the champion."""
        self.told_before: dict[str, int] = {}
        self.collector_up = True
        self.scraped: list[ScrapeTarget] = []
        super().__post_init__()

    def _kubelet(self) -> None:
        super()._kubelet()
        name = "delays-log-0"
        if ("Pod", NAMESPACE, name) in self.cluster.objects:
            return
        own = {
            labels.MANAGED_BY: labels.MANAGED_BY_LINNET,
            labels.COMPONENT: labels.COLLECTOR,
            labels.MODEL_DEPLOYMENT: "delays",
        }
        conditions = [{"type": "Ready", "status": "True"}]
        pod: Manifest = {
            "kind": "Pod",
            "metadata": {
                "name": name,
                "namespace": NAMESPACE,
                "labels": own,
                "creationTimestamp": "2026-11-25T08:00:00Z",
            },
            "status": {"podIP": name, "conditions": conditions},
        }
        self.cluster.put(pod)

    def _ready_pods(self, revision: str) -> list[Manifest]:
        return [
            obj
            for (kind, _, name), obj in self.cluster.objects.items()
            if kind == "Pod"
            and name != "delays-log-0"
            and obj["metadata"]["labels"][labels.REVISION] == revision
            and obj["status"]["conditions"][0]["status"] == "True"
        ]

    def tick(self, seconds: float) -> None:
        super().tick(seconds)
        for (uid, kind), counted in self.counters.items():
            revision = self.revisions_of[uid]
            total = counted.get("200", 0)
            new = total - self.told_before.get(f"{uid}/{kind}", 0)
            self.told_before[f"{uid}/{kind}"] = total
            version = revision.rpartition("-")[0].rpartition("-v")[2]
            rate = self.wrong.get(version, WRONG)
            wrong = sum(self.random.random() < rate for _ in range(new))
            if kind == "weighted":
                self._count(revision, contract.OUTCOME_LABELLED, bad=wrong, ok=new - wrong)
            elif kind == "mirrored":
                theirs = sum(self.random.random() < WRONG for _ in range(new))
                self._count(
                    revision,
                    contract.OUTCOME_PAIRED,
                    candidate_only=wrong,
                    champion_only=theirs,
                    neither=max(0, new - wrong - theirs),
                )
                # Scores differ by 0.1 where the candidate alone is wrong.
                pairs = self.pairs.setdefault(revision, [0] * len(contract.PAIR_DIFFERENCES))
                pairs[contract.PAIR_DIFFERENCES.index("0.10")] += wrong
                pairs[contract.PAIR_DIFFERENCES.index("-0.10")] += theirs
                pairs[contract.PAIR_DIFFERENCES.index("0.00")] += max(0, new - wrong - theirs)

    def _count(self, revision: str, metric: str, **results: int) -> None:
        counts = self.results.setdefault(revision, {}).setdefault(metric, {})
        for result, count in results.items():
            counts[result] = counts.get(result, 0) + count

    async def scrape(self, targets: Sequence[ScrapeTarget]) -> Sequence[ScrapedPage]:
        self.scraped = [target for target in targets if target.port == labels.PORT_COLLECTOR]
        pages = await super().scrape([t for t in targets if t.port != labels.PORT_COLLECTOR])
        if not self.collector_up:
            return pages
        told = [
            ScrapedPage(
                target=target,
                started="1",
                requests={},
                outcomes={name: dict(found) for name, found in self.results.items()},
                differences={name: tuple(counts) for name, counts in self.pairs.items()},
            )
            for target in self.scraped
        ]
        return [*pages, *told]


@pytest.fixture(autouse=True)
def live(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fields of the later issue do something."""
    monkeypatch.setattr(support.not_yet_supported, "__defaults__", (5,))


def judged(metric: dict[str, Any], *steps: dict[str, Any]) -> Collected:
    spec = {
        **ROUTED,
        "predictionLog": {"uri": "s3://log/"},
        "strategy": {"steps": [*steps, *WEIGHTS]},
        "analysis": {"metrics": [ERRORS, metric], "interval": "5s", "warmup": "5s"},
    }
    simulation = Collected(spec=spec)
    simulation.registry.add_version("1")
    simulation.registry.aliases["challenger"] = "1"
    assert simulation.run(150, promoted("1")), simulation.message("Ready")
    simulation.run(5)
    return simulation


LABELS = {"name": "accuracy", "labelledOutcome": {}}
PAIRS = {"name": "pairs", "pairedOutcome": {}}
SCORES = {"name": "scores", "pairedScore": {}}


@pytest.mark.parametrize(
    ("metric", "steps", "words"),
    [
        (LABELS, (), "candidate requests"),
        (PAIRS, (SHADOW,), "were answered wrong"),
        (SCORES, (SHADOW,), "were scored lower than the other's"),
    ],
)
def test_a_candidate_that_is_wrong_more_often_is_rolled_back(
    metric: dict[str, Any], steps: tuple[dict[str, Any], ...], words: str
) -> None:
    simulation = judged(metric, *steps)
    simulation.wrong["2"] = 0.25
    offer(simulation, "2")
    assert simulation.run(900, rejected("2")), simulation.message("Progressing")
    assert words in simulation.status["rejected"][0]["message"]
    assert [target.port for target in simulation.scraped] == [8090]
    if steps:
        assert "2" not in simulation.served


@pytest.mark.parametrize(
    ("metric", "steps"), [(LABELS, ()), (PAIRS, (SHADOW,)), (SCORES, (SHADOW,))]
)
def test_a_candidate_that_is_wrong_as_often_is_promoted(
    metric: dict[str, Any], steps: tuple[dict[str, Any], ...]
) -> None:
    simulation = judged(metric, *steps)
    offer(simulation, "2")
    assert simulation.run(3600, promoted("2")), simulation.message("Progressing")


def test_a_collector_that_is_away_tells_everything_later() -> None:
    simulation = judged(LABELS)
    offer(simulation, "2")
    assert simulation.run(600, at_weight(20, "2"))
    simulation.run(20)
    simulation.wrong["2"] = 0.3
    simulation.collector_up = False
    simulation.run(120)
    assert not simulation.status.get("rejected")
    simulation.collector_up = True
    assert simulation.run(60, rejected("2")), simulation.message("Progressing")
