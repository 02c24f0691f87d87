"""Transactions of tenants, with retries.

A transaction that failed before its commit, by a conflict (serialisation, deadlock) or a lost connection, had no effect
and is retried here. If the connection is lost during the commit, the write may be stored: it is retried only if it has
a request id, by which the retry detects that.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from common.aio.backoff import Backoff
from common.utils.trace import traceparent
from somabrain_service.domain.names import TenantId
from somabrain_service.store.postgres.driver import session
from somabrain_service.store.postgres.driver.errors import (
    DRIVER_ERRORS,
    CommitUnknown,
    ConnectionLost,
    NoAnswer,
    Retry,
    is_retryable,
    redacted_cause,
    translate,
)
from somabrain_service.store.postgres.driver.pipeline import Connection, Result
from somabrain_service.store.postgres.driver.pool import Pool
from somabrain_service.store.postgres.driver.statement import Sql, Statement, sql

T = TypeVar("T")

MAX_ATTEMPTS = 6
BACKOFF = Backoff(initial_s=0.01, jitter=(0.5, 1.5))

PROBE_TIMEOUT_S = 2.0
"""Maximum seconds for the answer to a probe on an open connection, which is given up then."""

BEGIN = sql("BEGIN")
_BEGIN_READ_ONLY = sql("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
_END = sql("COMMIT")
_PLAIN = re.compile(r"[0-9a-f-]+")


def _set_local(name: str, value: str) -> Statement:
    """Return the statement that sets a variable for the transaction.

    SET and not set_config(), because a distributed engine hands on only SET to the nodes that have the rows. It takes
    no parameters, so the value is part of it; traces contain only the name.
    """
    if not _PLAIN.fullmatch(value):
        raise ValueError(f"{name} can only have a value of hexadecimal digits and hyphens")
    return Sql(f"SET LOCAL {name}", f"SET LOCAL {name} = '{value}'".encode(), ()), {}


def _set_tenant(tenant: TenantId) -> Statement:
    """Return the statement that sets the tenant whose rows row security admits."""
    return _set_local("app.tenant_id", str(tenant))


def backoff_s(attempt: int) -> float:
    """Return the seconds to wait before a conflicting transaction is retried, with jitter."""
    return BACKOFF.delay_s(attempt, secrets.randbelow(1000) / 1000)


async def retried(attempt: Callable[[], Awaitable[T]], may_retry: Callable[[Exception], bool]) -> T:
    """Run a transaction until it succeeds, at most `MAX_ATTEMPTS` times.

    Raises:
        SomaBrainError: translated from the driver's error, after the last attempt or if it may not be retried.
    """
    for number in range(1, MAX_ATTEMPTS + 1):
        try:
            return await attempt()
        except (*DRIVER_ERRORS, Retry) as exc:
            if number == MAX_ATTEMPTS or not may_retry(exc):
                raise translate(exc) from redacted_cause(exc)
        await asyncio.sleep(backoff_s(number))
    raise AssertionError("the last attempt returns or raises")


class Transactions:
    """Runner of transactions, each of one tenant."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def connections(self) -> tuple[int, int]:
        """Return the numbers of idle and used connections of the pool."""
        return self._pool.idle, self._pool.in_use

    async def write(
        self, tenant: TenantId, work: Callable[[Connection], Awaitable[T]], *, idempotent: bool = False
    ) -> T:
        """Run `work` in a transaction and commit, with retries after conflicts.

        `idempotent`: `work` detects by itself that an earlier attempt was committed, so it is retried even if the
        connection is lost during the commit.

        Raises:
            SomaBrainError: translated from the driver's error, after the last attempt.
        """

        async def attempt() -> T:
            async with self._acquired(tenant) as connection:
                traced = traceparent()  # rows of the change feed take their trace context from the variable
                trace_context = [_set_local("app.traceparent", traced)] if traced else []
                connection.begin((BEGIN, {}), _set_tenant(tenant), *trace_context)
                result = await work(connection)
                await connection.commit()
                return result

        return await retried(attempt, lambda exc: is_retryable(exc) or (idempotent and isinstance(exc, CommitUnknown)))

    @asynccontextmanager
    async def read(self, tenant: TenantId, *first: Statement) -> AsyncIterator[tuple[Connection, list[Result]]]:
        """Open a read-only snapshot, with the results of the statements `first`."""
        async with self._open(tenant, (_BEGIN_READ_ONLY, {}), _set_tenant(tenant), *first) as (connection, results):
            yield connection, results[2:]

    @asynccontextmanager
    async def deferred_read(
        self, tenant: TenantId
    ) -> AsyncIterator[tuple[Connection, tuple[Statement, ...], Statement]]:
        """Take a connection, and the statements that begin and end a read-only snapshot, to be sent with those between.

        Raises:
            Retry: the connection was lost, such as one that died while idle.
        """
        try:
            async with self._acquired(tenant) as connection:
                yield connection, ((_BEGIN_READ_ONLY, {}), _set_tenant(tenant)), (_END, {})
        except DRIVER_ERRORS as exc:
            if isinstance(exc, ConnectionLost) and not isinstance(exc, NoAnswer):
                raise Retry from None
            raise translate(exc) from redacted_cause(exc)

    async def fetch_one(self, statement: Sql) -> tuple[object, ...] | None:
        """Return one row of data that belongs to no tenant, None: no row; and check the session in the same exchange.

        Raises:
            StoreUnavailable: also if the session is another's, or writes times in an unknown style.
        """
        first: tuple[Statement, ...] = ((session.PROBE, {}), (statement, {}))
        async with self._open(None, *first, timeout_s=PROBE_TIMEOUT_S) as (connection, (probe, result)):
            connection.check_backend(probe.one().backend)
            row = result.one_or_none()
        return None if row is None else tuple(row)

    @asynccontextmanager
    async def _open(
        self, tenant: TenantId | None, *first: Statement, timeout_s: float | None = None
    ) -> AsyncIterator[tuple[Connection, list[Result]]]:
        """Open a connection with the results of the statements `first`; skip connections that died while idle."""
        try:
            for attempt in range(1, MAX_ATTEMPTS + 1):
                async with self._acquired(tenant) as connection:
                    try:
                        results = await connection.execute_all(*first, timeout_s=timeout_s)
                    except ConnectionLost:
                        if attempt == MAX_ATTEMPTS:
                            raise
                    else:
                        yield connection, results
                        return
        except DRIVER_ERRORS as exc:
            raise translate(exc) from redacted_cause(exc)

    @asynccontextmanager
    async def _acquired(self, tenant: TenantId | None) -> AsyncIterator[Connection]:
        """Take a connection of the pool for a tenant; if it breaks, close the idle ones, which may be broken too."""
        connection = await self._pool.acquire()
        connection.tenant = tenant
        try:
            yield connection
        finally:
            connection.tenant = None
            if connection.lost:
                await self._pool.close_idle()
            await self._pool.release(connection)
