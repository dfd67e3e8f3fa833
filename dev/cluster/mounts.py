"""Mounts below a folder: what has to be gone before the folder may be removed."""

import shutil
from pathlib import Path

from . import commands, console


def below(folder: Path) -> list[str]:
    """The mount points at or below a folder, in the order in which they were mounted."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    targets = [line.split()[4].encode().decode("unicode_escape") for line in lines]
    return [target for target in targets if Path(target).is_relative_to(folder)]


def unmount(folder: Path) -> None:
    """Unmount everything below a folder, the last mounted first."""
    # Twice, because mounts can be stacked.
    for _ in range(2):
        for mount in reversed(below(folder)):
            if not commands.succeeds("umount", mount):
                commands.succeeds("umount", "--lazy", mount)


def remove(folder: Path) -> None:
    """Remove a folder with everything in it, but never what is only mounted there."""
    unmount(folder)
    if left := below(folder):
        raise console.Failure(f"These mounts cannot be removed: {', '.join(left)}")
    shutil.rmtree(folder, ignore_errors=True)
