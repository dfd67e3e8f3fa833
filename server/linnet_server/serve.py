"""`linnet-server serve`: one process's life, from the first probe to the last answer.

Probes are answered from the start. The model is loaded, checked on its samples and warmed before
the data ports open and `/readyz` turns 200. On SIGTERM the order that loses no request: readiness
503 and `connection: close` while the listeners stay open, then close the listeners, then idle
connections, then wait for the busy ones.
"""

import asyncio
import errno
import importlib.metadata
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop

from linnet_server import contract, features, logs, settings
from linnet_server.app import App, Management
from linnet_server.batching import Batcher
from linnet_server.contract import ExitCode
from linnet_server.counters import Counters
from linnet_server.features import Features
from linnet_server.fetch import say
from linnet_server.protocol import Connection, Limits, Site
from linnet_server.settings import Settings
from linnet_server.shadow import Shadow

if TYPE_CHECKING:
    from linnet_server.model import Model

SWEEP_SECONDS = 0.5
GRACE_SECONDS = 0.2
BACKLOG = 1024


class Failed(Exception):
    """Why the server does not start: the exit code and one sentence."""

    def __init__(self, code: ExitCode, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


def main() -> int:
    """Serve until SIGTERM and return the exit code."""
    try:
        chosen = settings.parse(os.environ)
        uvloop.run(Server(chosen).run())
    except settings.InvalidSetting as error:
        return _give_up(ExitCode.INVALID_SETTING, str(error))
    except Failed as error:
        return _give_up(error.code, str(error))
    except OSError as error:
        return _give_up(1, f"the server cannot listen: {error}")
    # A thread that still computes for a client that was given up must not keep the process.
    sys.stderr.flush()
    sys.stdout.flush()
    os._exit(ExitCode.OK)


def _give_up(code: int, sentence: str) -> int:
    say(sentence)
    logs.error(sentence, reason=contract.REASON_BY_EXIT_CODE.get(code, ""), exit_code=int(code))
    return int(code)


class Server:
    """The listeners of one process and what they share."""

    def __init__(self, chosen: Settings) -> None:
        self._settings = chosen
        self._counters = Counters(
            model=chosen.name, version=chosen.version, revision=chosen.revision
        )
        self._management = Management(self._counters)
        self._limits = Limits(body=chosen.max_request_bytes)
        self._sites: list[Site] = []
        self._listeners: list[asyncio.Server] = []
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._stop = asyncio.Event()
        self._shadow: asyncio.Task[None] | None = None
        self._features: Features | None = None

    async def run(self) -> None:
        """Start, serve, drain; raise Failed where the model is at fault."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        probes = self._site("management", self._management)
        probe_listener = await self._listen(probes, contract.PORT_MANAGEMENT)
        sweeper = asyncio.create_task(self._sweep([probes]))
        stopping = asyncio.create_task(self._stop.wait())
        starting = asyncio.create_task(self._start(loop))
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            app = starting.result()
            await stopping
            await self._drain(app)
        probe_listener.close()
        sweeper.cancel()

    async def _start(self, loop: asyncio.AbstractEventLoop) -> App:
        began = time.monotonic()
        model, sentence = await loop.run_in_executor(self._executor, _load, self._settings.folder)
        self._counters.know_model(form=model.format, provenance=model.provenance)
        if self._settings.features_url:
            self._features = await self._open_features(model)
        shadow = Shadow(
            file=self._settings.shadow_file,
            revision=self._settings.revision,
            counters=self._counters,
        )
        app = App(
            model,
            name=self._settings.name,
            version=self._settings.version,
            counters=self._counters,
            batcher=Batcher(model, self._executor),
            server_version=importlib.metadata.version("linnet"),
            shadow=shadow,
            features=self._features,
        )
        self._shadow = asyncio.create_task(shadow.run(), name="shadow")
        for port, kind in contract.KIND_BY_PORT.items():
            site = self._site(kind, app)
            self._sites.append(site)
            self._listeners.append(await self._listen(site, port))
        self._management.ready = True
        logs.info(
            "ready",
            model=self._settings.name,
            version=self._settings.version,
            revision=self._settings.revision,
            provenance=model.provenance,
            check=sentence,
            seconds=round(time.monotonic() - began, 2),
        )
        return app

    async def _open_features(self, model: "Model") -> Features:
        """Wait for the sidecar, and see that it serves what the model was trained on."""
        self._management.reason = "the feature sidecar does not answer yet"
        found = Features(url=self._settings.features_url, timeout=self._settings.features_timeout)
        await found.open()
        columns = [column.name for column in model.columns]
        try:
            features.check(found.set, trained_service=model.feature_service, columns=columns)
        except features.Mismatch as error:
            raise Failed(ExitCode.FEATURES_INVALID, str(error)) from error
        if model.feature_digest and model.feature_digest != found.set.digest:
            logs.warning(
                "the feature service changed under its name since the model was trained",
                service=found.set.service,
                trained=model.feature_digest,
                now=found.set.digest,
            )
        return found

    def _site(self, kind: str, application: App | Management) -> Site:
        return Site(
            kind=kind,
            application=application,
            observer=self._counters,
            limits=self._limits,
            version=self._settings.version,
            revision=self._settings.revision,
        )

    async def _listen(self, site: Site, port: int) -> asyncio.Server:
        """Listen on every address; on a node without IPv6, on those of IPv4."""
        loop = asyncio.get_running_loop()
        number = port - contract.PORT_WEIGHTED + self._settings.port_base

        def make() -> Connection:
            return Connection(site)

        try:
            return await loop.create_server(make, None, number, backlog=BACKLOG)
        except OSError as error:
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                raise
            return await loop.create_server(make, "0.0.0.0", number, backlog=BACKLOG)

    async def _sweep(self, probes: list[Site]) -> None:
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            for site in (*self._sites, *probes):
                site.sweep(time.monotonic())

    async def _drain(self, app: App) -> None:
        """End without losing a request; the probe port answers until the very end."""
        logs.info("draining", seconds=self._settings.drain_delay)
        self._management.reason = "draining"
        self._management.ready = False
        app.ready = False
        for site in self._sites:
            site.draining = True
        await asyncio.sleep(self._settings.drain_delay)
        for listener in self._listeners:
            listener.close()
        await asyncio.sleep(GRACE_SECONDS)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._settings.drain_timeout
        while loop.time() < deadline:
            # Those that were busy are idle once answered.
            for site in self._sites:
                site.close_idle()
            if not any(site.connections for site in self._sites):
                break
            await asyncio.sleep(0.05)
        if self._shadow is not None:
            self._shadow.cancel()
            await asyncio.gather(self._shadow, return_exceptions=True)
        if self._features is not None:
            await self._features.close()
        left = sum(len(site.connections) for site in self._sites)
        for site in self._sites:
            site.abort()
        logs.info("drained", dropped_connections=left)


def _load(folder: Path) -> tuple["Model", str]:
    """Load, check and warm the model; return it and what to say about the check."""
    # Imported here, in the worker thread, so that probes are answered while scikit-learn loads.
    from linnet_server import model as models

    try:
        model = models.load(folder)
        rows = models.check(model, folder)
    except models.LoadFailed as error:
        raise Failed(ExitCode.LOAD_FAILED, str(error)) from error
    except models.SelfCheckFailed as error:
        raise Failed(ExitCode.SELF_CHECK_FAILED, str(error)) from error
    trouble = models.warm(model, folder)
    if trouble:
        logs.warning("the warm-up failed", reason=trouble)
    return model, f"{rows} sample rows reproduced" if rows else "no samples to check"
