"""`linnet-server serve` with a stub for a model: the process, its ports and signals are real."""

import os
import sys
from pathlib import Path
from typing import Any

from harness import Stub  # type: ignore[import-not-found]
from linnet_server import serve
from linnet_server.contract import ExitCode


def load(folder: Path) -> tuple[Any, str]:
    """Return the stub, or fail as a broken model would."""
    if "STUB_FAILURE" in os.environ:
        raise serve.Failed(ExitCode.LOAD_FAILED, os.environ["STUB_FAILURE"])
    return Stub(seconds=float(os.environ.get("STUB_SECONDS", "0"))), "a stub"


if __name__ == "__main__":
    serve._load = load
    sys.exit(serve.main())
