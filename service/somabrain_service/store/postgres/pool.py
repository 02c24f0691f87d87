"""A pool of connections that are made when they are needed.

Not psycopg's: there a background task connects, so that who asks while PostgreSQL is gone waits for all of the time-out
and not for a refused connection, which takes a millisecond.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import psycopg

from somabrain_service.store.postgres.errors import PoolTimeout
from somabrain_service.store.postgres.pipeline import Connection


class Pool:
    """At most `size` connections by `connect`; the one that was used last is used next."""

    def __init__(self, connect: Callable[[], Awaitable[Connection]], size: int, timeout_s: float) -> None:
        self._connect = connect
        self._timeout_s = timeout_s
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._in_use = 0

    @property
    def idle(self) -> int:
        """How many connections wait for work."""
        return len(self._idle)

    @property
    def in_use(self) -> int:
        """How many are at work."""
        return self._in_use

    async def acquire(self) -> Connection:
        """A connection, to be given back.

        Raises:
            Busy: none became free in time.
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
                if connection.quiet:
                    return connection
                await connection.close()
            return await self._connect()
        except BaseException:
            self._free_slot()
            raise

    async def release(self, connection: Connection) -> None:
        """Give a connection back; what was not committed is undone."""
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
        """Close the idle ones: the server they knew is gone."""
        while self._idle:
            await self._idle.pop().close()

    def _free_slot(self) -> None:
        self._in_use -= 1
        self._slots.release()
