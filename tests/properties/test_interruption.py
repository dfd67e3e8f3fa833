"""Wherever the operator dies, or an answer is lost, every story ends as if nothing had happened.

`tests/statistics` tells every story with every interruption; here a few are drawn.
"""

from functools import cache

from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scenarios import STORIES, begin, check, interrupted, tell
from simulation import Simulation


@cache
def undisturbed(name: str) -> tuple[Simulation, int]:
    """The end of the undisturbed story and the number of its writes."""
    story = STORIES[name]
    simulation = begin(story)
    before = simulation.writes
    tell(simulation, story)
    return simulation, simulation.writes - before


@settings(
    max_examples=14,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
@given(st.sampled_from(sorted(STORIES)), st.floats(0, 1, exclude_max=True), st.booleans())
def test_an_interruption_changes_no_end(name: str, where: float, lost: bool) -> None:
    expected, writes = undisturbed(name)
    simulation = interrupted(name, int(where * writes), lost=lost)
    check(STORIES[name], expected, simulation)


@settings(
    max_examples=5,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
@given(
    st.sampled_from(["a rollout", "a rollback", "an abort"]),
    st.lists(st.integers(0, 25), min_size=2, max_size=4),
)
def test_many_interruptions_change_no_end(name: str, gaps: list[int]) -> None:
    expected, _ = undisturbed(name)
    simulation = begin(STORIES[name])
    pending = iter(gaps)

    def again(s: Simulation) -> None:
        if s.cluster.crash_after is None:
            s.cluster.crash_after = next(pending, None)

    simulation.invariants.append(again)
    tell(simulation, STORIES[name])
    simulation.cluster.crash_after = None
    assert simulation.restarts > 0
    check(STORIES[name], expected, simulation)
