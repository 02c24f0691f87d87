"""Connections and transactions: the only place that knows what PostgreSQL's failures mean.

A transaction that lost a race (serialisation, deadlock) or its connection before it was committed has left nothing
behind, so it is tried again here. A connection lost while committing may have kept the write: only the caller can try
that again, with its request id.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TypeVar

import psycopg
from sqlalchemy import TextClause, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool, QueuePool

from common.config.settings import DatabaseSettings
from common.errors import ConfigurationError
from common.utils.trace import traceparent
from somabrain_service.domain.names import TenantId
from somabrain_service.store.postgres import arrays
from somabrain_service.store.postgres.direct import DirectConnection
from somabrain_service.store.postgres.dsn import fault_of
from somabrain_service.store.postgres.faults import Retry, connection_lost, fault, may_run_again, told
from somabrain_service.store.postgres.tracing import trace_statements

T = TypeVar("T")

FOREIGN = (DBAPIError, PoolTimeout, psycopg.Error, OSError)
ATTEMPTS = 6
BACKOFF_S = 0.005

# A filter's matches are looked up in a hash as long as PostgreSQL thinks that it fits work_mem: a million do.
_OPTIONS = "-c timezone=UTC -c work_mem=32MB"

# The server looks after a silent client from 30 seconds on and gives it up after a minute.
_NOTICE_THE_DEAD = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"

_ENTER = text("SELECT set_config('app.tenant_id', :tenant, true)")
_ENTER_TRACED = text(
    "SELECT set_config('app.tenant_id', :tenant, true), set_config('app.traceparent', :traceparent, true)"
)
"""A row of the change feed takes its trace from there."""


@asynccontextmanager
async def open_engine(dsn: str, database: DatabaseSettings) -> AsyncIterator[AsyncEngine]:
    """A pool of connections of the app role that connects on first use, closed on leaving.

    Raises:
        ConfigurationError: the DSN can never connect.
    """
    if wrong := fault_of(dsn):
        raise ConfigurationError(
            f"postgres_dsn: {wrong}; correct SOMABRAIN_POSTGRES_DSN, in a cluster the key app-dsn."
        )
    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=_connector(dsn, database, "somabrain-service", ""),
        pool_size=database.pool_size,
        max_overflow=0,
        pool_timeout=database.connect_timeout_s,
        hide_parameters=True,
    )
    trace_statements(engine)
    try:
        yield engine
    finally:
        await engine.dispose()


@asynccontextmanager
async def open_connections(dsn: str, database: DatabaseSettings) -> AsyncIterator[AsyncEngine]:
    """Connections of the worker role, each closed when it is given back: with it go the locks of its session.

    Raises:
        ConfigurationError: the DSN can never connect.
    """
    if wrong := fault_of(dsn):
        raise ConfigurationError(f"worker_dsn: {wrong}; correct SOMABRAIN_WORKER_DSN, in a cluster the key worker-dsn.")
    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=_connector(dsn, database, "somabrain-worker", _NOTICE_THE_DEAD),
        poolclass=NullPool,
        hide_parameters=True,
    )
    try:
        yield engine
    finally:
        await engine.dispose()


def _connector(
    dsn: str, database: DatabaseSettings, name: str, options: str
) -> Callable[[], Awaitable[psycopg.AsyncConnection[tuple[object, ...]]]]:
    async def connect() -> psycopg.AsyncConnection[tuple[object, ...]]:
        connection = await psycopg.AsyncConnection.connect(
            dsn,
            connect_timeout=max(2, round(database.connect_timeout_s)),  # libpq takes whole seconds, two at least
            application_name=name,
            options=f"-c statement_timeout={round(database.statement_timeout_s * 1000)} {_OPTIONS} {options}",
        )
        arrays.teach(connection)
        return connection

    return connect


def pause(attempt: int) -> float:
    """Seconds to wait before a transaction that lost a race is tried again."""
    return float(BACKOFF_S * 2**attempt * (0.5 + secrets.randbelow(1000) / 1000))


class Transactions:
    """Runs work as one transaction of one tenant."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._writer = engine
        self._reader = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def connections(self) -> tuple[int, int]:
        """How many connections of the pool are idle and in use."""
        pool = self._writer.pool
        return (pool.checkedin(), pool.checkedout()) if isinstance(pool, QueuePool) else (0, 0)

    async def write(self, tenant: TenantId, work: Callable[[DirectConnection], Awaitable[T]]) -> T:
        """Run `work`, more than once when it lost a race, and commit."""
        for attempt in range(1, ATTEMPTS + 1):
            committing = False
            try:
                traced = traceparent()
                enter = _ENTER_TRACED if traced else _ENTER
                values = {"tenant": str(tenant), "traceparent": traced}
                async with (connection := DirectConnection(self._writer, (enter, values))):
                    result = await work(connection)
                    committing = True
                    await connection.commit()
                    return result
            except (*FOREIGN, Retry) as exc:
                if committing or attempt == ATTEMPTS or not may_run_again(exc):
                    raise told(exc) from fault(exc)
            await asyncio.sleep(pause(attempt))
        raise AssertionError("the last attempt returns or raises")

    @asynccontextmanager
    async def read(self, tenant: TenantId) -> AsyncIterator[AsyncConnection]:
        """One snapshot to read from."""
        try:
            connection, _ = await self._begun(self._reader, _ENTER, {"tenant": str(tenant)})
            try:
                yield connection
                # Not left to be rolled back: the driver takes a rollback as a reason to forget what it has prepared.
                await connection.commit()
            finally:
                await connection.close()
        except FOREIGN as exc:
            raise told(exc) from fault(exc)

    async def ask(self, question: TextClause) -> tuple[object, ...] | None:
        """One row that is no tenant's."""
        try:
            connection, row = await self._begun(self._writer, question, {})
            try:
                await connection.commit()
            finally:
                await connection.close()
        except FOREIGN as exc:
            raise told(exc) from fault(exc)
        return row

    async def _begun(
        self, engine: AsyncEngine, first: TextClause, values: Mapping[str, object]
    ) -> tuple[AsyncConnection, tuple[object, ...] | None]:
        """A connection and the first statement's row; connections that died while idle are passed over."""
        for attempt in range(1, ATTEMPTS + 1):
            connection = await DirectConnection(engine)
            try:
                row = (await connection.execute(first, values)).one_or_none()
            except BaseException as exc:
                await connection.close()
                if attempt == ATTEMPTS or not connection_lost(exc):
                    raise
            else:
                return connection, None if row is None else tuple(row)
        raise AssertionError("the last attempt returns or raises")
