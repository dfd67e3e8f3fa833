"""Programs of the machine, run to their end."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

from . import console


def run(*command: str | Path, env: Mapping[str, str] | None = None, cwd: Path | None = None) -> str:
    """Run a program; return what it printed, or fail with what it said."""
    words = [str(word) for word in command]
    done = subprocess.run(words, capture_output=True, text=True, env=env, cwd=cwd)
    if done.returncode:
        told = (done.stdout + done.stderr).strip()[-4000:]
        raise console.Failure(f"{' '.join(words)}\nfailed with {done.returncode}:\n{told}")
    return done.stdout


def succeeds(*command: str | Path) -> bool:
    """Whether a program ends well; what it says is of no interest."""
    return not subprocess.run([str(word) for word in command], capture_output=True).returncode
