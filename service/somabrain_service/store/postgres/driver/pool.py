"""Pool of connections that are opened on demand.

Not psycopg's: there a background task connects, so a caller waits for the whole timeout while PostgreSQL is down,
instead of getting the refused connection after a millisecond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psycopg

from somabrain_service.store.postgres.driver.errors import PoolTimeout
from somabrain_service.store.postgres.driver.pipeline import Connection


class Pool:
    """At most `size` connections opened by `connect`, reused in LIFO order while `is_current` returns True."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[Connection]],
        size: int,
        timeout_s: float,
        is_current: Callable[[Connection], bool],
    ) -> None:
        self._connect = connect
        self._is_current = is_current
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._in_use = 0

    @property
    def idle(self) -> int:
        """Number of idle connections."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """Number of connections in use."""
        return self._in_use

    async def acquire(self) -> Connection:
        """Return a connection, to be given back by `release`.

        Raises:
            PoolTimeout: no connection became free in time.
            psycopg.OperationalError: PostgreSQL cannot be reached.
        """
        try:
            async with asyncio.timeout(self._timeout_s):
                await self._slots.acquire()
        except TimeoutError:
            raise PoolTimeout from None
        self._in_use += 1
        try:
            while self._idle:
                connection = self._idle.pop()
                if not connection.has_pending_input and self._is_current(connection):
                    return connection
                await connection.close()
            return await self._connect()
        except BaseException:
            self._free_slot()
            raise

    async def release(self, connection: Connection) -> None:
        """Return a connection to the pool; an open transaction is rolled back."""
        try:
            if not connection.lost:
                await connection.rollback()
        except psycopg.Error:
            await connection.close()
        finally:
            if connection.idle:
                self._idle.append(connection)
            self._free_slot()

    async def close_idle(self) -> None:
        """Close the idle connections, after one to the same server broke."""
        while self._idle:
            await self._idle.pop().close()

    def _free_slot(self) -> None:
        self._in_use -= 1
        self._slots.release()
