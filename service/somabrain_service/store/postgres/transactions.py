"""Transactions of tenants.

One that lost a race (serialisation, deadlock) or its connection before it was committed has left nothing behind, so it
is tried again here. A connection lost while committing may have kept the write: that is tried again where the write has
a request id, by which it is found.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from common.utils.trace import traceparent
from somabrain_service.domain.names import TenantId
from somabrain_service.store.postgres.connection import Connection, Found
from somabrain_service.store.postgres.faults import (
    FOREIGN,
    CommitLost,
    ConnectionLost,
    Retry,
    fault,
    may_run_again,
    told,
)
from somabrain_service.store.postgres.pool import Pool
from somabrain_service.store.postgres.sql import Sql, Statement, sql

T = TypeVar("T")

ATTEMPTS = 6
BACKOFF_S = 0.005

BEGIN = sql("BEGIN")
_BEGIN_READING = sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
_ENTER = sql("SELECT set_config('app.tenant_id', :tenant, true)")
_ENTER_TRACED = sql(
    "SELECT set_config('app.tenant_id', :tenant, true), set_config('app.traceparent', :traceparent, true)"
)
"""A row of the change feed takes its trace from there."""


def pause(attempt: int) -> float:
    """Seconds to wait before a transaction that lost a race is tried again."""
    return float(BACKOFF_S * 2**attempt * (0.5 + secrets.randbelow(1000) / 1000))


class Transactions:
    """Runs work as one transaction of one tenant."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def connections(self) -> tuple[int, int]:
        """How many connections of the pool are idle and in use."""
        return self._pool.idle, self._pool.in_use

    async def write(
        self, tenant: TenantId, work: Callable[[Connection], Awaitable[T]], *, repeatable: bool = False
    ) -> T:
        """Run `work`, more than once when it lost a race, and commit.

        `repeatable`: it finds out by itself what it has written before.
        """
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self._taken() as connection:
                    traced = traceparent()
                    enter = _ENTER_TRACED if traced else _ENTER
                    connection.begin((BEGIN, {}), (enter, {"tenant": str(tenant), "traceparent": traced}))
                    result = await work(connection)
                    await connection.commit()
                    return result
            except (*FOREIGN, Retry) as exc:
                again = may_run_again(exc) or (repeatable and isinstance(exc, CommitLost))
                if attempt == ATTEMPTS or not again:
                    raise told(exc) from fault(exc)
            await asyncio.sleep(pause(attempt))
        raise AssertionError("the last attempt returns or raises")

    @asynccontextmanager
    async def read(self, tenant: TenantId, *first: Statement) -> AsyncIterator[tuple[Connection, list[Found]]]:
        """One snapshot to read from, and what the first statements found in it."""
        opening = ((_BEGIN_READING, {}), (_ENTER, {"tenant": str(tenant)}), *first)
        async with self._opened(*opening) as (connection, found):
            yield connection, found[2:]

    async def ask(self, question: Sql) -> tuple[object, ...] | None:
        """One row that is no tenant's."""
        async with self._opened((question, {})) as (_, (found,)):
            row = found.one_or_none()
        return None if row is None else tuple(row)

    @asynccontextmanager
    async def _opened(self, *first: Statement) -> AsyncIterator[tuple[Connection, list[Found]]]:
        """A connection and what its first statements found; connections that died while idle are passed over."""
        try:
            for attempt in range(1, ATTEMPTS + 1):
                async with self._taken() as connection:
                    try:
                        found = await connection.execute_all(*first)
                    except ConnectionLost:
                        if attempt == ATTEMPTS:
                            raise
                    else:
                        yield connection, found
                        return
        except FOREIGN as exc:
            raise told(exc) from fault(exc)

    @asynccontextmanager
    async def _taken(self) -> AsyncIterator[Connection]:
        """A connection of the pool; when it breaks, the idle ones are not to be trusted either."""
        connection = await self._pool.take()
        try:
            yield connection
        finally:
            if connection.lost:
                await self._pool.drop()
            await self._pool.give(connection)
