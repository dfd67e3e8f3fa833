"""Progress on the terminal: plain lines that say what happens and how long it took."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class Failure(Exception):
    """Something the user has to know; the message says what to do."""


def say(text: str) -> None:
    """Print one line of progress at once, also into a pipe."""
    print(text, file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Render seconds as a person would: ``0.4 s``, ``17 s``, ``3 min 05 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"


@contextmanager
def step(title: str) -> Iterator[None]:
    """Say what starts and, when it took a moment, how long it took."""
    say(f"  {title} ...")
    start = time.monotonic()
    yield
    say(f"  {title}: {duration(time.monotonic() - start)}")
