"""Connections to PostgreSQL: a pool for the app role, one connection per acquired job for the worker role."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from common.config.settings import DatabaseSettings
from common.errors import ConfigurationError
from somabrain_service.store.postgres.driver import arrays, session
from somabrain_service.store.postgres.driver.dsn import validate_dsn
from somabrain_service.store.postgres.driver.errors import UnsuitableSession
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.pool import Pool
from somabrain_service.store.postgres.driver.statement import sql

Connect = Callable[[], Awaitable[Connection]]

_BEGIN = sql("BEGIN")
# The server probes a silent client from 30 seconds on and drops it after a minute.
_KEEPALIVES = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}


@asynccontextmanager
async def open_pool(dsn: str, database: DatabaseSettings) -> AsyncIterator[Pool]:
    """Open a pool of connections of the app role that connects on first use; closed on exit.

    Raises:
        ConfigurationError: the DSN is invalid.
    """
    if problem := validate_dsn(dsn):
        raise ConfigurationError(
            f"postgres_dsn: {problem}; correct SOMABRAIN_POSTGRES_DSN, in a cluster the key app-dsn."
        )
    connect = _connector(dsn, database, "somabrain-service", {}, check_each=False)  # readiness goes on checking
    pool = Pool(connect, database.pool_size, database.connect_timeout_s)
    try:
        yield pool
    finally:
        await pool.close_idle()


def worker_connector(dsn: str, database: DatabaseSettings) -> Connect:
    """Return a function that connects as the worker role. Closing a connection releases the locks of its session.

    Raises:
        ConfigurationError: the DSN is invalid.
    """
    if problem := validate_dsn(dsn):
        raise ConfigurationError(
            f"worker_dsn: {problem}; correct SOMABRAIN_WORKER_DSN, in a cluster the key worker-dsn."
        )
    return _connector(dsn, database, "somabrain-worker", _KEEPALIVES, check_each=True)


def _connector(dsn: str, database: DatabaseSettings, name: str, more: dict[str, str], *, check_each: bool) -> Connect:
    timeout_s = max(2, round(database.connect_timeout_s))  # libpq accepts whole seconds, at least two
    pooler_checked = False
    prepare = session.prepare({"statement_timeout": str(round(database.statement_timeout_s * 1000)), **more})

    async def open_driver() -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            dsn,
            autocommit=True,  # transactions are started by explicit statements
            connect_timeout=timeout_s,
            application_name=name,
            client_encoding="utf8",
        )

    async def begin_session(driver: psycopg.AsyncConnection[Any]) -> Connection:
        nonlocal pooler_checked
        arrays.register_adapters(driver)
        connection = Connection(driver)
        async with asyncio.timeout(timeout_s):
            row = (await connection.execute(prepare)).one()
        if row.unusable_schema:
            raise UnsuitableSession(session.unusable_schema(row.unusable_schema, row.role), "no USAGE")
        connection.backend = row.backend
        # A pooler gives its clients process ids of its own.
        if driver.pgconn.backend_pid != row.backend and (check_each or not pooler_checked):
            pooler_checked = await _gives_own_sessions(connection, open_driver, timeout_s)
        return connection

    async def connect() -> Connection:
        driver = await open_driver()
        try:
            return await begin_session(driver)
        except BaseException:
            await driver.close()
            raise

    return connect


async def _gives_own_sessions(
    connection: Connection, open_driver: Callable[[], Awaitable[psycopg.AsyncConnection[Any]]], timeout_s: float
) -> bool:
    """Return True if the pooler in between gives a client a session of its own, not one for each transaction.

    While a second client is in a transaction, that has another backend, and the first still its own. If the pooler has
    no session left for a second client, nothing is known: False, and the next connection is checked.

    Raises:
        UnsuitableSession: the pooler shares sessions.
    """
    try:
        other = await open_driver()
    except psycopg.OperationalError:
        return False
    try:
        second = Connection(other)
        second.begin((_BEGIN, {}))
        try:
            async with asyncio.timeout(timeout_s):
                backend = (await second.execute(session.BACKEND)).scalar_one()
        except TimeoutError:
            return False
        if backend == connection.backend:
            raise UnsuitableSession(session.SHARED, "two connections were given the same backend")
        try:
            async with asyncio.timeout(timeout_s):
                connection.check_backend((await connection.execute(session.BACKEND)).scalar_one())
        except TimeoutError:
            raise UnsuitableSession(session.SHARED, "a connection waits for another's transaction") from None
        return True
    finally:
        await other.close()
