"""The way in which a check cannot go on and another try does not mend it.

What another try may mend is `linnet_trainer.errors.Unavailable`.
"""

from __future__ import annotations

from linnet_monitor.contract import Reason


class Failure(Exception):
    """Another try does not mend it: the document says why and what to do (exit code 2)."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
