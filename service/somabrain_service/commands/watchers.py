"""Who watches in this process: how many at most, one look at PostgreSQL for all watchers of a namespace, their end.

A poll and not LISTEN/NOTIFY: a commit that notifies takes a lock on the whole database, so every writer of every
tenant would pay for a watcher of one; the poll reads one row by its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from common.errors import ResourceExhausted, SomaBrainError, Unavailable
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.tokens import Moment

MOST = 256
"""Watches in one process: each holds at most a page of the feed in memory, 1.4 MB when full of the largest."""
SOONEST_S = 0.05
LATEST_S = 1.0
RETRY_S = 5.0

Look = Callable[[], Awaitable[Moment]]


class Pulse:
    """The version of one namespace, looked at for all its watchers, less often the longer nothing happens."""

    def __init__(self, closing: asyncio.Event) -> None:
        self.watchers = 0
        self._closing = closing
        self._turn = asyncio.Lock()
        self._looks = 0
        self._outcome: Moment | SomaBrainError | None = None
        self._wait_s = SOONEST_S

    async def next(self, look: Look) -> Moment:
        """Wait a while and return where the namespace is then.

        Of all who wait the first looks, with its `look`, and the others take what it saw. No task: when the first is
        cancelled, the second is the first.

        Raises:
            SomaBrainError: what looking raised.
            Unavailable: the process drains.
        """
        seen = self._looks
        async with self._turn:
            if self._closing.is_set():
                raise draining()
            if self._looks == seen:
                await self._rest()
                await self._see(look)
        if isinstance(self._outcome, Moment):
            return self._outcome
        raise self._outcome or draining()

    async def _rest(self) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                await self._closing.wait()
        except TimeoutError:
            return
        raise draining()

    async def _see(self, look: Look) -> None:
        before = self._outcome
        try:
            self._outcome = await look()
        except SomaBrainError as exc:
            self._outcome = exc
        self._wait_s = min(2 * self._wait_s, LATEST_S) if self._outcome == before else SOONEST_S
        self._looks += 1


class Watchers:
    """All watches of the process."""

    def __init__(self) -> None:
        self._pulses: dict[tuple[TenantId, NamespaceName], Pulse] = {}
        self._closing = asyncio.Event()

    @property
    def count(self) -> int:
        """How many there are."""
        return sum(pulse.watchers for pulse in self._pulses.values())

    def close(self) -> None:
        """End all watches now, and refuse new ones: their clients resume elsewhere."""
        self._closing.set()

    def check(self) -> None:
        """Raise Unavailable when the process drains."""
        if self._closing.is_set():
            raise draining()

    @asynccontextmanager
    async def watching(self, tenant: TenantId, name: NamespaceName) -> AsyncIterator[Pulse]:
        """Be counted as a watcher of the namespace.

        Raises:
            ResourceExhausted: there are as many as this process bears.
        """
        self.check()
        if self.count >= MOST:
            raise ResourceExhausted(
                f"This server has {MOST} watches, as many as it bears; try again, perhaps at another replica.",
                retry_after_s=RETRY_S,
            )
        pulse = self._pulses.setdefault((tenant, name), Pulse(self._closing))
        pulse.watchers += 1
        try:
            yield pulse
        finally:
            pulse.watchers -= 1
            if not pulse.watchers:
                del self._pulses[tenant, name]


def draining() -> Unavailable:
    """What ends a watch when the process is asked to stop."""
    return Unavailable("The server is being stopped; resume from the last cursor.")
