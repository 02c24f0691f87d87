"""Connections to PostgreSQL: a pool for the app role, one connection per acquired job for the worker role."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from common.config.settings import DatabaseSettings
from somabrain_service.store.postgres.driver import arrays, session
from somabrain_service.store.postgres.driver.addresses import SilentAddresses, conninfo, resolve
from somabrain_service.store.postgres.driver.current_dsn import CurrentDsn
from somabrain_service.store.postgres.driver.dsn import Target, dsn_target
from somabrain_service.store.postgres.driver.errors import NoAnswer, UnsuitableSession
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.pool import Pool
from somabrain_service.store.postgres.driver.statement import sql

OpenDriver = Callable[[], Awaitable[psycopg.AsyncConnection[Any]]]

SILENCE_S = 1.0
"""Seconds without an answer after which an address is taken for silent if the caller gives up."""

_BEGIN = sql("BEGIN")


@asynccontextmanager
async def open_pool(
    dsn: str, database: DatabaseSettings, current_dsn: Callable[[], str | None] | None = None
) -> AsyncIterator[Pool]:
    """Open a pool of connections of the app role that connects on first use; closed on exit.

    Args:
        dsn: libpq URL.
        database: size and timeouts.
        current_dsn: returns the URL as it is now, if it was rotated, None if it is missing; None: it never is.

    Raises:
        ConfigurationError: the DSN is invalid.
    """
    source = CurrentDsn("postgres_dsn", "the key app-dsn", dsn, current_dsn)
    connector = Connector(source, database, "somabrain-service", {}, check_each=False)  # readiness checks it regularly
    pool = Pool(connector.connect, database.pool_size, database.connect_timeout_s, connector.is_current)
    try:
        yield pool
    finally:
        await pool.close_idle()


def worker_connector(
    dsn: str, database: DatabaseSettings, current_dsn: Callable[[], str | None] | None = None
) -> Connector:
    """Return a connector of the worker role. Closing a connection releases the locks of its session.

    Raises:
        ConfigurationError: the DSN is invalid.
    """
    source = CurrentDsn("worker_dsn", "the key worker-dsn", dsn, current_dsn)
    return Connector(source, database, "somabrain-worker", session.KEEPALIVES, check_each=True)


class Connector:
    """Opens connections of one role, each with the DSN as it is then."""

    def __init__(
        self, dsn: CurrentDsn, database: DatabaseSettings, name: str, more: dict[str, str], *, check_each: bool
    ) -> None:
        """Prepare the connections.

        Args:
            dsn: where to connect.
            database: timeouts.
            name: application name, as PostgreSQL shows it.
            more: further settings of each session.
            check_each: check at each connection if a pooler in between pools by session; otherwise until
                one of them was found to.
        """
        self._dsn, self._name, self._check_each = dsn, name, check_each
        self._timeout_s = max(2, round(database.connect_timeout_s))  # libpq accepts whole seconds, at least two
        self._prepare = session.prepare({"statement_timeout": str(round(database.statement_timeout_s * 1000)), **more})
        self._statement_timeout_s = database.statement_timeout_s
        self._checked_pooler: Target | None = None
        self._silent = SilentAddresses()

    async def connect(self) -> Connection:
        """Open a connection.

        Raises:
            psycopg.OperationalError: PostgreSQL cannot be reached, or the session is unsuitable.
        """
        dsn = self._dsn.get()
        driver = await self._open_driver(dsn)
        try:
            return await self._begin_session(driver, dsn)
        except BaseException:
            await driver.close()
            raise

    def is_current(self, connection: Connection) -> bool:
        """Return False if the DSN has another server, database or role now than the connection was opened with."""
        return connection.target == self._dsn.target()

    async def _open_driver(self, dsn: str) -> psycopg.AsyncConnection[Any]:
        """Connect to the first address that accepts it, those last that were silent a moment ago."""
        failure: psycopg.OperationalError | None = None
        for address in self._silent.last(await resolve(dsn)):
            started = time.monotonic()
            try:
                driver = await self._open_address(conninfo(dsn, address))
            except psycopg.errors.ConnectionTimeout as exc:
                self._silent.add(address)
                failure = exc
            except asyncio.CancelledError:
                if time.monotonic() - started > SILENCE_S:
                    self._silent.add(address)
                raise
            except psycopg.OperationalError as exc:
                self._silent.remove(address)
                failure = exc
            else:
                self._silent.remove(address)
                return driver
        raise failure or psycopg.OperationalError("the DSN has no address")

    async def _open_address(self, conninfo: str) -> psycopg.AsyncConnection[Any]:
        return await psycopg.AsyncConnection.connect(
            conninfo,
            autocommit=True,  # transactions are started by explicit statements
            connect_timeout=self._timeout_s,
            application_name=self._name,
            client_encoding="utf8",
        )

    async def _begin_session(self, driver: psycopg.AsyncConnection[Any], dsn: str) -> Connection:
        arrays.register_adapters(driver)
        connection = Connection(driver, statement_timeout_s=self._statement_timeout_s)
        try:
            row = (await connection.execute_all((self._prepare, {}), timeout_s=self._timeout_s))[0].one()
        except NoAnswer as exc:  # not to be tried again at once, as a connection that broke is
            raise psycopg.OperationalError(str(exc)) from None
        if row.unusable_schema:
            raise UnsuitableSession(session.unusable_schema(row.unusable_schema, row.role), "no USAGE")
        connection.backend, connection.target = row.backend, dsn_target(dsn)
        # A pooler reports its own process ids to clients.
        if driver.pgconn.backend_pid != row.backend and (self._check_each or self._checked_pooler != connection.target):
            own = await _gives_own_sessions(connection, lambda: self._open_driver(dsn), self._timeout_s)
            self._checked_pooler = connection.target if own else None
        return connection


async def _gives_own_sessions(connection: Connection, open_driver: OpenDriver, timeout_s: float) -> bool:
    """Return True if the pooler in between gives each client a session, not one for each transaction.

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
