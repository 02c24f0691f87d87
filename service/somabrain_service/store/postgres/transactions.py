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
from somabrain_service.store.postgres.errors import (
    DRIVER_ERRORS,
    CommitUnknown,
    ConnectionLost,
    Retry,
    is_retryable,
    redacted_cause,
    translate,
)
from somabrain_service.store.postgres.pipeline import Connection, Result
from somabrain_service.store.postgres.pool import Pool
from somabrain_service.store.postgres.statement import Sql, Statement, sql

T = TypeVar("T")

MAX_ATTEMPTS = 6
BACKOFF_S = 0.005

BEGIN = sql("BEGIN")
_BEGIN_READ_ONLY = sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
_SET_TENANT = sql("SELECT set_config('app.tenant_id', :tenant, true)")
_SET_TENANT_AND_TRACE = sql(
    "SELECT set_config('app.tenant_id', :tenant, true), set_config('app.traceparent', :traceparent, true)"
)
"""A row of the change feed takes its trace from there."""


def backoff_s(attempt: int) -> float:
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
        self, tenant: TenantId, work: Callable[[Connection], Awaitable[T]], *, idempotent: bool = False
    ) -> T:
        """Run `work`, more than once when it lost a race, and commit.

        `repeatable`: it finds out by itself what it has written before.
        """
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                async with self._acquired() as connection:
                    traced = traceparent()
                    set_tenant = _SET_TENANT_AND_TRACE if traced else _SET_TENANT
                    connection.begin((BEGIN, {}), (set_tenant, {"tenant": str(tenant), "traceparent": traced}))
                    result = await work(connection)
                    await connection.commit()
                    return result
            except (*DRIVER_ERRORS, Retry) as exc:
                retryable = is_retryable(exc) or (idempotent and isinstance(exc, CommitUnknown))
                if attempt == MAX_ATTEMPTS or not retryable:
                    raise translate(exc) from redacted_cause(exc)
            await asyncio.sleep(backoff_s(attempt))
        raise AssertionError("the last attempt returns or raises")

    @asynccontextmanager
    async def read(self, tenant: TenantId, *first: Statement) -> AsyncIterator[tuple[Connection, list[Result]]]:
        """One snapshot to read from, and what the first statements found in it."""
        prelude = ((_BEGIN_READ_ONLY, {}), (_SET_TENANT, {"tenant": str(tenant)}), *first)
        async with self._open(*prelude) as (connection, results):
            yield connection, results[2:]

    async def fetch_one(self, statement: Sql) -> tuple[object, ...] | None:
        """One row that is no tenant's."""
        async with self._open((statement, {})) as (_, (result,)):
            row = result.one_or_none()
        return None if row is None else tuple(row)

    @asynccontextmanager
    async def _open(self, *first: Statement) -> AsyncIterator[tuple[Connection, list[Result]]]:
        """A connection and what its first statements found; connections that died while idle are passed over."""
        try:
            for attempt in range(1, MAX_ATTEMPTS + 1):
                async with self._acquired() as connection:
                    try:
                        results = await connection.execute_all(*first)
                    except ConnectionLost:
                        if attempt == MAX_ATTEMPTS:
                            raise
                    else:
                        yield connection, results
                        return
        except DRIVER_ERRORS as exc:
            raise translate(exc) from redacted_cause(exc)

    @asynccontextmanager
    async def _acquired(self) -> AsyncIterator[Connection]:
        """A connection of the pool; when it breaks, the idle ones are not to be trusted either."""
        connection = await self._pool.acquire()
        try:
            yield connection
        finally:
            if connection.lost:
                await self._pool.close_idle()
            await self._pool.release(connection)
