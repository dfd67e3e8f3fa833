"""`/healthz`, `/readyz` and `/metrics` of the operator, on one port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from linnet.shell.telemetry import REGISTRY

Check = Callable[[], str | None]
"""Says what is wrong, or None."""


def _answer(checks: dict[str, Check]) -> web.Response:
    problems = [f"{name}: {text}" for name, check in checks.items() if (text := check())]
    if problems:
        return web.Response(status=503, text="\n".join(problems) + "\n")
    return web.Response(text="ok\n")


class Health:
    """The small web server; checks are added by whoever knows how it can be unwell."""

    def __init__(self, listen: str) -> None:
        host, _, port = listen.rpartition(":")
        self._host, self._port = host, int(port)
        self.live: dict[str, Check] = {}
        self.ready: dict[str, Check] = {}
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer(self.live)

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(self.ready)

    async def _metrics(self, _: web.Request) -> web.Response:
        # Thousands of objects take their time; the loop goes on meanwhile.
        page = await asyncio.to_thread(generate_latest, REGISTRY)
        return web.Response(body=page, headers={"Content-Type": CONTENT_TYPE_LATEST})
