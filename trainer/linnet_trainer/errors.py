"""The two ways in which a run cannot go on: another try does not mend it, or it may."""

from __future__ import annotations

from linnet_trainer.contract import Reason


class Refusal(Exception):
    """Another try does not mend it: the result says why and what to do (exit code 2)."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


class Unavailable(Exception):
    """The registry or the store did not answer: no result is written, the Job retries (exit 1)."""
