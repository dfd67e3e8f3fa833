"""What both controllers are asked for: where their objects lie, how one looks, who stands in."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Protocol

from benchmarks.scale.plane import Plane
from benchmarks.scale.watching import Watching
from tests.e2e.api import Api, Manifest

NAMESPACE = "scale"
LOG = "controller.log"
"""File of a measurement's folder to which the controller writes."""


class Subject(Protocol):
    """One controller."""

    name: str
    collection: str
    """Path of all objects of its kind."""
    children: str
    """Path of all objects that it makes first for one of them."""
    namespaces: tuple[str, ...]
    """Namespaces that it wants besides."""
    settles: float
    """Seconds after which an object that is ready has nothing more to say."""

    def prepare(self, at: Plane) -> None:
        """Put its definitions there."""

    def stop(self) -> None:
        """End what `prepare` has started."""

    def start(self, at: Plane, folder: Path) -> subprocess.Popen[bytes]:
        """Start it."""

    def collection_in(self, namespace: str) -> str:
        """Path of its objects in one namespace."""

    def make(self, name: str) -> Manifest:
        """One object as a user applies it."""

    def is_ready(self, obj: Manifest) -> bool:
        """Whether an object says that all is as asked."""

    def stand_in(self, api: Api) -> Watching:
        """Who stands in for nodes."""
