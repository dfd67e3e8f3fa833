"""Watches that the benchmark itself holds: one to write down what came when, one to answer it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import urllib3

from tests.e2e.api import Api, Manifest, Refused


@dataclass
class Watching:
    """Takes every state of the objects of a collection, in a thread of its own."""

    api: Api
    collection: str

    def __post_init__(self) -> None:
        self._ended = threading.Event()

    def take(self, obj: Manifest) -> None:
        """One state of one object."""
        raise NotImplementedError

    def start(self) -> None:
        """Begin to watch."""
        threading.Thread(target=self._run, daemon=True).start()

    def stop(self) -> None:
        """Watch no more."""
        self._ended.set()

    def _run(self) -> None:
        version = "0"
        while not self._ended.is_set():
            with suppress(Refused, urllib3.exceptions.HTTPError, OSError):
                query = {"watch": "1", "resourceVersion": version, "allowWatchBookmarks": "true"}
                for line in self.api.lines(self.collection, timeoutSeconds="600", **query):
                    version = str(line["object"]["metadata"].get("resourceVersion", "0"))
                    if line["type"] in ("ADDED", "MODIFIED"):
                        with suppress(Refused):
                            self.take(line["object"])
                    if self._ended.is_set():
                        return


@dataclass
class Following(Watching):
    """When an object, or one that belongs to it, was first seen, and when it was as asked."""

    wanted: Callable[[Manifest], bool] = lambda obj: True
    first: dict[str, float] = field(default_factory=dict)
    reached: dict[str, float] = field(default_factory=dict)

    def take(self, obj: Manifest) -> None:
        now = time.monotonic()
        owners = obj["metadata"].get("ownerReferences") or [{}]
        name = owners[0].get("name") or obj["metadata"]["name"]
        self.first.setdefault(name, now)
        if name not in self.reached and self.wanted(obj):
            self.reached[name] = now
