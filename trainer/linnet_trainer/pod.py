"""What a pod of a Job finds and leaves: `spec.json`, scratch, and the termination message."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from linnet_trainer import contract


def read_spec(environ: Mapping[str, str]) -> Mapping[str, object]:
    """Read `spec.json`.

    Raises:
        ValueError: it cannot be read or is no object; the text says which file.
    """
    path = environ.get(contract.ENV_SPEC, contract.SPEC_PATH)
    try:
        document = json.loads(Path(path).read_text())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path} must hold a JSON object")
    return document


def index(environ: Mapping[str, str]) -> int:
    """Return which pod of its Job this is; 0 outside of an Indexed Job."""
    return int(environ.get(contract.ENV_INDEX) or 0)


@contextmanager
def scratch(environ: Mapping[str, str]) -> Iterator[Path]:
    """A folder that is gone afterwards."""
    home = environ.get(contract.ENV_WORK_DIR, contract.WORK_DIR)
    parent = home if os.access(home, os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=parent, prefix="linnet-") as folder:
        yield Path(folder)


def leave(text: str, environ: Mapping[str, str]) -> str:
    """Write the termination message; return why that failed, or an empty text.

    The run's tag is the durable copy: without a file the operator reads that one.
    """
    path = Path(environ.get(contract.ENV_TERMINATION_LOG, contract.TERMINATION_LOG))
    try:
        path.write_text(text)
    except OSError as error:
        return f"{path} cannot be written: {error}"
    return ""
