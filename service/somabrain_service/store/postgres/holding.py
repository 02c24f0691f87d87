"""Holding background work: an advisory lock of a session, and the transactions of that same session.

A lock of a session ends with it, however it ends; so nobody who lost the lock can still write, and nobody has to
give it back. The server is told to look after silent connections (`connecting.worker_connector`), or a holder whose
network is gone would keep its lock for hours.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import TypeVar

from common.errors import StoreUnavailable
from somabrain_service.domain.events import Backlog, Telling, Told
from somabrain_service.domain.names import TenantId
from somabrain_service.store.postgres import indexing, relaying, sweeping
from somabrain_service.store.postgres.connecting import Connect
from somabrain_service.store.postgres.connection import Connection
from somabrain_service.store.postgres.faults import FOREIGN, Retry, fault, may_run_again, told
from somabrain_service.store.postgres.sql import sql
from somabrain_service.store.postgres.transactions import ATTEMPTS, BEGIN, pause
from somabrain_service.store.working import (
    Dropped,
    DroppedChanges,
    Due,
    Encoded,
    Holding,
    Shard,
    Unanalyzed,
    Unencoded,
    UnencodedText,
)

T = TypeVar("T")

_LOCK = sql("SELECT pg_try_advisory_lock(:work, :shard)")


class PostgresWorkerStore:
    """See `WorkerStore`."""

    def __init__(self, connect: Connect) -> None:
        self._connect = connect

    @asynccontextmanager
    async def hold(self, work: str, shard: Shard) -> AsyncIterator[Holding | None]:
        """See `WorkerStore.hold`."""
        try:
            connection = await self._connect()
        except FOREIGN as exc:
            raise told(exc) from fault(exc)
        try:
            held = PostgresHolding(connection, shard)
            yield held if await held.lock(work) else None
        finally:
            await connection.close()


class PostgresHolding:
    """See `Holding`."""

    def __init__(self, connection: Connection, shard: Shard) -> None:
        self._connection = connection
        self._shard = shard

    async def lock(self, work: str) -> bool:
        """Get the lock, or do not: nobody waits for it."""
        values = {"work": lock_number(work), "shard": self._shard.number}

        async def attempt(connection: Connection) -> bool:
            return bool((await connection.execute(_LOCK, values)).scalar_one())

        return await self._do(attempt)

    async def expired(self, now: datetime, limit: int) -> list[Due]:
        """See `Holding.expired`."""
        return await self._do(lambda connection: sweeping.expired(connection, self._shard, now, limit))

    async def expire(self, due: Due, now: datetime, limit: int) -> int:
        """See `Holding.expire`."""
        return await self._do(lambda connection: sweeping.expire(connection, due, now, limit))

    async def old_feeds(self, now: datetime, hold: timedelta, limit: int) -> list[Due]:
        """See `Holding.old_feeds`."""
        return await self._do(lambda connection: sweeping.old_feeds(connection, self._shard, now, hold, limit))

    async def drop_changes(self, due: Due, now: datetime, hold: timedelta, limit: int) -> DroppedChanges:
        """See `Holding.drop_changes`."""
        return await self._do(lambda connection: sweeping.drop_changes(connection, due, now, hold, limit))

    async def backlogs(self, after: tuple[TenantId, int] | None, limit: int, changes: int) -> list[Backlog]:
        """See `Holding.backlogs`."""
        return await self._do(lambda connection: relaying.backlogs(connection, self._shard, after, limit, changes))

    async def vanished(self, limit: int) -> list[Told]:
        """See `Holding.vanished`."""
        return await self._do(lambda connection: relaying.vanished(connection, self._shard, limit))

    async def note(self, tellings: Sequence[Telling]) -> None:
        """See `Holding.note`."""
        await self._do(lambda connection: relaying.note(connection, tellings))

    async def drop_keys(self, now: datetime, limit: int) -> Dropped:
        """See `Holding.drop_keys`."""
        return await self._do(lambda connection: sweeping.drop_keys(connection, self._shard, now, limit))

    async def unencoded(self, encoders: Sequence[str]) -> list[Unencoded]:
        """See `Holding.unencoded`."""
        return await self._do(lambda connection: indexing.unencoded(connection, self._shard, encoders))

    async def texts(self, where: Unencoded, after: int, limit: int) -> list[UnencodedText]:
        """See `Holding.texts`."""
        return await self._do(lambda connection: indexing.texts(connection, where, after, limit))

    async def encode(self, where: Unencoded, encoded: Sequence[Encoded], now: datetime) -> int:
        """See `Holding.encode`."""
        return await self._do(lambda connection: indexing.encode(connection, where, encoded, now))

    async def unanalyzed(self, limit: int) -> list[Unanalyzed]:
        """See `Holding.unanalyzed`."""
        return await self._do(lambda connection: indexing.unanalyzed(connection, self._shard, limit))

    async def analyze(self, where: Unanalyzed, terms: Callable[[str], Counter[str]], now: datetime, limit: int) -> int:
        """See `Holding.analyze`."""
        return await self._do(lambda connection: indexing.analyze(connection, where, terms, now, limit))

    async def _do(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Run `work` as a transaction, more than once when it lost a race. After a failure the shard is to be left."""
        if self._connection.lost:
            raise StoreUnavailable("The connection that held this work is gone.")
        for attempt in range(1, ATTEMPTS + 1):
            try:
                self._connection.begin((BEGIN, {}))
                result = await work(self._connection)
                await self._connection.commit()
            except (*FOREIGN, Retry) as exc:
                if attempt == ATTEMPTS or self._connection.lost or not may_run_again(exc):
                    raise told(exc) from fault(exc)
                await self._connection.rollback()
            else:
                return result
            await asyncio.sleep(pause(attempt))
        raise AssertionError("the last attempt returns or raises")


def lock_number(work: str) -> int:
    """The number that stands for a work among advisory locks of two numbers; all others here are of one."""
    return int.from_bytes(hashlib.blake2b(work.encode(), digest_size=4).digest(), signed=True)
