"""Leader election by a Lease: the elector owns the process.

Expiry is judged by a locally observed, unchanged resourceVersion and the monotonic clock, never by
the peer's timestamps, so clock skew does not matter. A leader that cannot renew ends its process
before another holder can exist; one that is asked to stop releases the Lease.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from linnet.adapters.kubernetes import KubernetesCluster, path
from linnet.api import labels
from linnet.ports import Conflict, Manifest, Missing, Rejected, Unavailable
from linnet.shell.settings import Settings

LOG = logging.getLogger("linnet.lease")
REQUEST_TIMEOUT = 2.0


def _micro_time() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class Elector:
    """Acquires, keeps and releases the Lease of this install."""

    def __init__(
        self,
        cluster: KubernetesCluster,
        settings: Settings,
        *,
        die: Callable[[int], None] = os._exit,
    ) -> None:
        self._cluster = cluster
        self._settings = settings
        self._die = die
        host = os.environ.get("POD_NAME") or socket.gethostname()
        self.holder = f"{settings.identity}_{host}_{uuid.uuid4().hex[:8]}"
        self._seen_version = ""
        self._seen_at = 0.0
        self._renewed_at = 0.0
        self.leading = False

    def stale(self) -> bool:
        """Whether a leader's last renewal is older than it may be."""
        if not self.leading:
            return False
        age = asyncio.get_running_loop().time() - self._renewed_at
        return age > self._settings.lease_deadline.total_seconds()

    async def acquire(self) -> None:
        """Return when this process holds the Lease."""
        while True:
            try:
                if await self._try():
                    self.leading = True
                    LOG.info("leading as %s", self.holder)
                    return
            except (Unavailable, Rejected) as error:
                LOG.warning("the Lease cannot be acquired: %s", error)
            await asyncio.sleep(self._settings.lease_renew.total_seconds())

    async def keep(self) -> None:
        """Renew until cancelled; end the process when the deadline passes without a renewal."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._settings.lease_renew.total_seconds())
            try:
                renewed = await self._try()
            except (Unavailable, Rejected) as error:
                LOG.warning("the Lease was not renewed: %s", error)
                renewed = None
            # Another holder, or silence for too long: nothing of ours may run any more.
            too_late = loop.time() - self._renewed_at > (
                self._settings.lease_deadline.total_seconds()
            )
            if renewed is False or too_late:
                LOG.critical("the Lease is lost: this process ends")
                self._die(1)

    async def release(self) -> None:
        """Give the Lease back, so that a successor need not wait."""
        if not self.leading:
            return
        self.leading = False
        try:
            lease = await self._read()
            if lease is not None and lease["spec"].get("holderIdentity") == self.holder:
                await self._write(lease, holder="")
        except (Unavailable, Rejected) as error:
            LOG.warning("the Lease was not released: %s", error)

    async def _try(self) -> bool:
        """One attempt to acquire or renew: True = ours now, False = another's."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        lease = await self._read()
        if lease is None:
            return await self._create(started)
        version = lease["metadata"]["resourceVersion"]
        holder = lease["spec"].get("holderIdentity") or ""
        if version != self._seen_version:
            self._seen_version, self._seen_at = version, started
        expired = started - self._seen_at > self._settings.lease_duration.total_seconds()
        if holder not in ("", self.holder) and not expired:
            return False
        try:
            await self._write(lease, holder=self.holder)
        except Conflict:
            return False if not self.leading else await self._still_ours()
        self._renewed_at = started
        return True

    async def _still_ours(self) -> bool:
        lease = await self._read()
        return lease is not None and lease["spec"].get("holderIdentity") == self.holder

    async def _read(self) -> Manifest | None:
        try:
            return await self._cluster.request(
                "GET",
                path("Lease", self._settings.namespace, labels.LEASE),
                timeout=REQUEST_TIMEOUT,
            )
        except Missing:
            return None

    async def _create(self, started: float) -> bool:
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": labels.LEASE, "namespace": self._settings.namespace},
            "spec": self._spec(self.holder, transitions=0, acquired=_micro_time()),
        }
        try:
            await self._cluster.request(
                "POST",
                path("Lease", self._settings.namespace),
                body=body,
                timeout=REQUEST_TIMEOUT,
            )
        except Conflict:
            return False
        self._renewed_at = started
        return True

    async def _write(self, lease: Manifest, *, holder: str) -> None:
        spec = lease["spec"]
        changed = spec.get("holderIdentity") != holder
        body = {
            **lease,
            "spec": self._spec(
                holder,
                transitions=int(spec.get("leaseTransitions") or 0) + (1 if changed else 0),
                acquired=_micro_time() if changed else spec.get("acquireTime", _micro_time()),
            ),
        }
        answer = await self._cluster.request(
            "PUT",
            path("Lease", self._settings.namespace, labels.LEASE),
            body=body,
            timeout=REQUEST_TIMEOUT,
        )
        self._seen_version = answer["metadata"]["resourceVersion"]
        self._seen_at = asyncio.get_running_loop().time()

    def _spec(self, holder: str, *, transitions: int, acquired: str) -> dict[str, object]:
        duration: timedelta = self._settings.lease_duration
        return {
            "holderIdentity": holder,
            "leaseDurationSeconds": max(1, round(duration.total_seconds())),
            "leaseTransitions": transitions,
            "acquireTime": acquired,
            "renewTime": _micro_time(),
        }
