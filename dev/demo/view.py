"""What the demo shows while it waits: a live picture in a terminal, else plain lines."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

Manifest = Mapping[str, Any]
BAR = 40


def duration(seconds: float) -> str:
    """`75` as `1 min 15 s`."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


class Screen:
    """Prints the story; inside `watch` it shows a rollout as it goes."""

    def __init__(self) -> None:
        self.console = Console(highlight=False)
        self.phases: list[tuple[str, float]] = []

    def say(self, text: str) -> None:
        self.console.print(text, markup=False)

    def phase(self, title: str) -> Phase:
        """A phase of the story, timed."""
        return Phase(self, title)


class Phase:
    """One phase: its title first, how long it took last."""

    def __init__(self, screen: Screen, title: str) -> None:
        self._screen, self._title = screen, title
        self._live: Live | None = None
        self._last = ""

    def __enter__(self) -> Phase:
        self._start = time.monotonic()
        self._screen.console.print(f"\n[bold]{self._title}[/bold]")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()
        took = time.monotonic() - self._start
        self._screen.phases.append((self._title, took))
        if error is None:
            self._screen.say(f"  done in {duration(took)}")

    def show(self, deployment: Manifest | None, totals: Mapping[str, Any]) -> None:
        """Show where a rollout stands."""
        line = _line(deployment, totals)
        if not self._screen.console.is_terminal:
            if line != self._last:
                self._screen.say(f"  {line}")
                self._last = line
            return
        if self._live is None:
            self._live = Live(console=self._screen.console, refresh_per_second=4)
            self._live.start()
        self._live.update(_picture(deployment, totals))


def _line(deployment: Manifest | None, totals: Mapping[str, Any]) -> str:
    status = (deployment or {}).get("status") or {}
    ready = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), {})
    traffic = ", ".join(f"v{t['version']} {t['weight']} %" for t in status.get("traffic", ()))
    return f"{ready.get('reason', '…')}: {traffic or 'no traffic yet'}"


def _picture(deployment: Manifest | None, totals: Mapping[str, Any]) -> Table:
    status = (deployment or {}).get("status") or {}
    table = Table.grid(padding=(0, 2))
    for entry in status.get("traffic", ()):
        filled = round(BAR * entry["weight"] / 100)
        bar = Text("█" * filled, style="green") + Text("░" * (BAR - filled), style="dim")
        counts = totals.get(entry["version"], {})
        answers = "  ".join(f"{code}: {count}" for code, count in sorted(counts.items()))
        table.add_row(f"  version {entry['version']}", bar, f"{entry['weight']} %", answers)
    analysis = status.get("analysis") or {}
    ready = next((c for c in status.get("conditions", ()) if c["type"] == "Ready"), {})
    table.add_row("  verdict", str(analysis.get("verdict", "")), f"E {analysis.get('e', '–')}",
                  f"rollback at {analysis.get('rollbackAt', '–')}")  # fmt: skip
    table.add_row("  status", str(ready.get("reason", "…")), "", "")
    return table
