"""Who watches in this process: how many at most, one look at PostgreSQL for all watchers of a namespace, their end.

A poll and not LISTEN/NOTIFY: a commit that notifies takes a lock on the whole database, so every writer of every
tenant would pay for a watcher of one; the poll reads one row by its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from common.errors import ResourceExhausted, SomaBrainError, Unavailable
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.names import NamespaceName, TenantId

MAX_WATCHES = 256
"""Watches in one process: each holds at most a page of the feed in memory, 1.4 MB when full of the largest."""
MIN_POLL_INTERVAL_S = 0.05
MAX_POLL_INTERVAL_S = 1.0
RETRY_AFTER_S = 5.0

ReadVersion = Callable[[], Awaitable[NamespaceVersion]]


class VersionPoller:
    """The version of one namespace, looked at for all its watchers, less often the longer nothing happens."""

    def __init__(self, closing: asyncio.Event) -> None:
        self.watchers = 0
        self._closing = closing
        self._lock = asyncio.Lock()
        self._polls = 0
        self._result: NamespaceVersion | SomaBrainError | None = None
        self._interval_s = MIN_POLL_INTERVAL_S

    async def wait_for_change(self, read_version: ReadVersion) -> NamespaceVersion:
        """Wait a while and return where the namespace is then.

        Of all who wait the first looks, with its `look`, and the others take what it saw. No task: when the first is
        cancelled, the second is the first.

        Raises:
            SomaBrainError: what looking raised.
            Unavailable: the process drains.
        """
        polls_before = self._polls
        async with self._lock:
            if self._closing.is_set():
                raise draining()
            if self._polls == polls_before:
                await self._sleep()
                await self._poll(read_version)
        if isinstance(self._result, NamespaceVersion):
            return self._result
        raise self._result or draining()

    async def _sleep(self) -> None:
        try:
            async with asyncio.timeout(self._interval_s):
                await self._closing.wait()
        except TimeoutError:
            return
        raise draining()

    async def _poll(self, read_version: ReadVersion) -> None:
        previous = self._result
        try:
            self._result = await read_version()
        except SomaBrainError as exc:
            self._result = exc
        self._interval_s = (
            min(2 * self._interval_s, MAX_POLL_INTERVAL_S) if self._result == previous else MIN_POLL_INTERVAL_S
        )
        self._polls += 1


class WatchHub:
    """All watches of the process."""

    def __init__(self) -> None:
        self._pollers: dict[tuple[TenantId, NamespaceName], VersionPoller] = {}
        self._closing = asyncio.Event()

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(poller.watchers for poller in self._pollers.values())

    def close(self) -> None:
        """End all watches now, and refuse new ones: their clients resume elsewhere."""
        self._closing.set()

    def check(self) -> None:
        """Raise Unavailable when the process drains."""
        if self._closing.is_set():
            raise draining()

    @asynccontextmanager
    async def subscribe(self, tenant: TenantId, name: NamespaceName) -> AsyncIterator[VersionPoller]:
        """Be counted as a watcher of the namespace.

        Raises:
            ResourceExhausted: there are as many as this process bears.
        """
        self.check()
        if self.count >= MAX_WATCHES:
            raise ResourceExhausted(
                f"This server has {MAX_WATCHES} watches, as many as it bears; try again, perhaps at another replica.",
                retry_after_s=RETRY_AFTER_S,
            )
        poller = self._pollers.setdefault((tenant, name), VersionPoller(self._closing))
        poller.watchers += 1
        try:
            yield poller
        finally:
            poller.watchers -= 1
            if not poller.watchers:
                del self._pollers[tenant, name]


def draining() -> Unavailable:
    """What ends a watch when the process is asked to stop."""
    return Unavailable("The server is being stopped; resume from the last cursor.")
