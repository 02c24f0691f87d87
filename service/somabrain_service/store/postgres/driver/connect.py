"""Connections to PostgreSQL: a pool for the app role, one connection per acquired job for the worker role."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg

from common.config.settings import DatabaseSettings
from common.errors import ConfigurationError
from somabrain_service.store.postgres.driver import arrays
from somabrain_service.store.postgres.driver.dsn import validate_dsn
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.pool import Pool

Connect = Callable[[], Awaitable[Connection]]

# A filter's matches are looked up in a hash as long as PostgreSQL estimates that it fits work_mem: a million do.
_OPTIONS = "-c timezone=UTC -c work_mem=32MB"

# The server probes a silent client from 30 seconds on and drops it after a minute.
_KEEPALIVE_OPTIONS = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"


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
    connect = _connector(dsn, database, "somabrain-service", "")
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
    return _connector(dsn, database, "somabrain-worker", _KEEPALIVE_OPTIONS)


def _connector(dsn: str, database: DatabaseSettings, name: str, options: str) -> Connect:
    async def connect() -> Connection:
        driver = await psycopg.AsyncConnection.connect(
            dsn,
            autocommit=True,  # transactions are started by explicit statements
            connect_timeout=max(2, round(database.connect_timeout_s)),  # libpq accepts whole seconds, at least two
            application_name=name,
            options=f"-c statement_timeout={round(database.statement_timeout_s * 1000)} {_OPTIONS} {options}",
        )
        arrays.register_adapters(driver)
        return Connection(driver)

    return connect
