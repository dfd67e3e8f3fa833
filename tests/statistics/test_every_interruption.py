"""Every story of `scenarios`, interrupted after every single write; too slow for `make check`."""

import pytest
from drift_stories import CASES
from drift_stories import begin as begin_days
from scenarios import STORIES, begin, check, interrupted, tell


@pytest.mark.parametrize("lost", [False, True], ids=["crash", "answer lost"])
@pytest.mark.parametrize("name", STORIES)
def test_every_interruption_ends_as_the_undisturbed_story(name: str, lost: bool) -> None:
    story = STORIES[name]
    expected = begin(story)
    before = expected.writes
    tell(expected, story)
    writes = expected.writes - before
    check(story, expected, expected)
    for after in range(writes):
        check(story, expected, interrupted(name, after, lost=lost))


@pytest.mark.parametrize("lost", [False, True], ids=["crash", "answer lost"])
@pytest.mark.parametrize(
    "name", ["two breaches of three train anew", "results by the run's tag alone"]
)
def test_every_interruption_of_a_policy_ends_as_its_undisturbed_days(name: str, lost: bool) -> None:
    case = CASES[name]
    expected = begin_days(case)
    before = expected.writes
    expected.run(case.days * 86_400)
    for after in range(expected.writes - before):
        world = begin_days(case)
        if lost:
            world.cluster.lose_after = after
        else:
            world.cluster.crash_after = after
        world.run(case.days * 86_400)
        assert world.facts() == expected.facts(), f"interrupted after {after} writes"
