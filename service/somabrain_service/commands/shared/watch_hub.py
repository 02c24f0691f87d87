"""All watches of this process: their maximum, one poll of PostgreSQL per watched namespace, and their shutdown.

Polling and not LISTEN/NOTIFY: a commit that notifies takes a lock on the whole database, so one watcher would slow
down every writer of every tenant; a poll reads one row by its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from common.errors import ResourceExhausted, SomaBrainError, Unavailable
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.names import NamespaceName, TenantId

MAX_WATCHES = 256
"""Maximum watches per process: each buffers at most one page of the feed, up to 1.4 MB."""
MIN_POLL_INTERVAL_S = 0.05
MAX_POLL_INTERVAL_S = 1.0
RETRY_AFTER_S = 5.0

ReadVersion = Callable[[], Awaitable[NamespaceVersion]]


class VersionPoller:
    """Polls the version of one namespace for all its watchers; the interval doubles while nothing changes."""

    def __init__(self, closing: asyncio.Event) -> None:
        self.watchers = 0
        self._closing = closing
        self._lock = asyncio.Lock()
        self._polls = 0
        self._result: NamespaceVersion | SomaBrainError | None = None
        self._interval_s = MIN_POLL_INTERVAL_S

    async def wait_for_change(self, read_version: ReadVersion) -> NamespaceVersion:
        """Wait for the next poll and return the namespace's version then.

        The first of the waiting watchers polls, with its `read_version`, and the others share its result. There is no
        task: if the first is cancelled, the next one polls.

        Raises:
            SomaBrainError: the poll failed; its error.
            Unavailable: the process is draining.
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
    """Registry of all watches of the process."""

    def __init__(self) -> None:
        self._pollers: dict[tuple[TenantId, NamespaceName], VersionPoller] = {}
        self._closing = asyncio.Event()

    @property
    def count(self) -> int:
        """Number of active watches."""
        return sum(poller.watchers for poller in self._pollers.values())

    def close(self) -> None:
        """End all watches now and reject new ones; their clients resume on another pod."""
        self._closing.set()

    def check(self) -> None:
        """Raise Unavailable if the process is draining."""
        if self._closing.is_set():
            raise draining()

    @asynccontextmanager
    async def subscribe(self, tenant: TenantId, name: NamespaceName) -> AsyncIterator[VersionPoller]:
        """Register a watch of the namespace for the duration of the context.

        Raises:
            ResourceExhausted: this process has `MAX_WATCHES` watches.
            Unavailable: the process is draining.
        """
        self.check()
        if self.count >= MAX_WATCHES:
            raise ResourceExhausted(
                f"This server has {MAX_WATCHES} watches, its maximum; try again, possibly on another replica.",
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
    """Return the error that ends a watch when the process shuts down."""
    return Unavailable("The server is shutting down; resume from the last cursor.")
