"""Every story of `scenarios`, interrupted after every single write; too slow for `make check`."""

import pytest
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
