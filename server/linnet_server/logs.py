"""Log lines as JSON on standard error: about the process and its model, never one per request."""

import json
import sys
import time
from typing import Any

FAILURES_PER_MINUTE = 10
_failures: list[float] = []


def info(message: str, **fields: Any) -> None:
    """Write one line."""
    _write("info", message, fields)


def warning(message: str, **fields: Any) -> None:
    """Write one line about something that a person may want to change."""
    _write("warning", message, fields)


def error(message: str, **fields: Any) -> None:
    """Write one line about something that failed."""
    _write("error", message, fields)


def failure(message: str, **fields: Any) -> None:
    """Write one line about a failed request, at most ten a minute: the counters have them all."""
    now = time.monotonic()
    _failures[:] = [moment for moment in _failures if now - moment < 60]
    if len(_failures) < FAILURES_PER_MINUTE:
        _failures.append(now)
        _write("error", message, fields)


def _write(level: str, message: str, fields: dict[str, Any]) -> None:
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    line = {"time": moment, "level": level, "message": message, **fields}
    print(json.dumps(line, default=str), file=sys.stderr, flush=True)
