"""Exclusive connection as the database's owner; errors are one sentence that never contains the DSN.

The lock is polled: waiting inside `pg_advisory_lock` holds a snapshot, on which CREATE INDEX CONCURRENTLY waits,
which is a deadlock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy

from common.config.settings import DatabaseSettings
from common.errors import SomaBrainError
from somabrain_service.store.postgres.driver import locks, session
from somabrain_service.store.postgres.driver.dsn import validate_dsn

LOCK_POLL_INTERVAL_S = 0.5


class OwnerFailed(SomaBrainError):
    """An operation of the database's owner failed; the message is one sentence without secrets."""

    reason = "OWNER_FAILED"


@contextmanager
def admin_connection(
    dsn: str, database: DatabaseSettings, operation: str, report: Callable[[str], None]
) -> Iterator[sqlalchemy.Connection]:
    """Yield the owner's connection, exclusive by an advisory lock. Blocks.

    Args:
        dsn: libpq URL of the owner role.
        database: timeouts of the connection and of the lock.
        operation: noun for error messages: "The <operation> failed: ...".
        report: receives a message when the lock must be waited for.

    Raises:
        OwnerFailed: the connection, the lock or a statement failed.
    """
    with _translated_errors(operation), _connect(dsn, database) as connection:
        _acquire_lock(connection, database.migration_lock_timeout_s, report)
        try:
            yield connection
        finally:
            if not connection.invalidated:
                connection.rollback()
                connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")
                connection.commit()


@contextmanager
def _translated_errors(operation: str) -> Iterator[None]:
    """Translate database errors to OwnerFailed with PostgreSQL's primary message, which never contains the DSN."""
    try:
        yield
    except sqlalchemy.exc.DBAPIError as exc:
        cause = exc.orig
        message = cause.diag.message_primary if isinstance(cause, psycopg.Error) else None
        raise OwnerFailed(f"The {operation} failed: {message or type(cause).__name__}.") from exc


@contextmanager
def _connect(dsn: str, database: DatabaseSettings) -> Iterator[sqlalchemy.Connection]:
    """Yield a connection.

    libpq's error for a malformed DSN repeats parts of it, so the DSN is validated before libpq receives it.
    """
    if problem := validate_dsn(dsn):
        raise OwnerFailed(f"The owner's DSN {problem}; correct owner-dsn in its Secret.")
    timeout_s = max(2, round(database.connect_timeout_s))
    try:
        raw_connection = psycopg.connect(
            dsn, connect_timeout=timeout_s, application_name="somabrain-owner", client_encoding="utf8"
        )
    except psycopg.OperationalError as exc:
        raise OwnerFailed(f"PostgreSQL cannot be reached with the owner's DSN: {unreachable_reason(exc)}.") from exc
    try:
        prepare_owner_session(raw_connection)
        _check_pooler(raw_connection, dsn, timeout_s)
    except psycopg.Error as exc:
        raw_connection.close()
        raise OwnerFailed(f"The owner's session cannot be prepared: {exc.diag.message_primary or exc}.") from exc
    except OwnerFailed:
        raw_connection.close()
        raise
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: raw_connection, poolclass=sqlalchemy.pool.NullPool
    )
    with engine.connect() as connection:
        yield connection


def unreachable_reason(error: psycopg.OperationalError) -> str:
    """Return why a connection could not be made, as the end of a sentence without any part of the DSN."""
    return str(error).partition("\n")[0].rpartition("failed: ")[2].removeprefix("FATAL:").strip().rstrip(".")


def prepare_owner_session(connection: psycopg.Connection[Any]) -> None:
    """Set the search path: the schema of the tables, or the role's own, and that of pgvector's types.

    And row security: with it off, statements fail instead of passing the owner's own policy. And no time-outs: one of
    the role or database is meant for calls, and would end a long migration. And keepalives: the server would keep the
    lock of a migration whose node died for hours, and the next one would wait for it in vain.
    """
    settings = {"row_security": "on", "statement_timeout": "0", "lock_timeout": "0", **session.KEEPALIVES}
    set_all = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in settings.items())
    connection.execute(f"SELECT set_config('search_path', {session.SEARCH_PATH}, false), {set_all}")
    connection.commit()


def _check_pooler(connection: psycopg.Connection[Any], dsn: str, timeout_s: int) -> None:
    """Refuse a pooler that gives each transaction another session: the lock would stay in one that others get."""
    backend = _backend(connection)
    if backend == connection.info.backend_pid:
        return  # a pooler reports its own process ids to clients
    connection.commit()
    try:
        with psycopg.connect(dsn, connect_timeout=timeout_s, application_name="somabrain-owner") as other:
            shared = _backend(other) == backend
    except psycopg.OperationalError:
        return  # the pooler has no session for a second client
    if shared:
        raise OwnerFailed(session.SHARED)


def _backend(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(session.BACKEND.query).fetchone()
    return int(row[0]) if row else 0


def _acquire_lock(connection: sqlalchemy.Connection, timeout_s: float, report: Callable[[str], None]) -> None:
    deadline = time.monotonic() + timeout_s
    reported = False
    while True:
        acquired = connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({locks.ADMIN})").scalar_one()
        connection.commit()
        if acquired:
            return
        if time.monotonic() >= deadline:
            raise OwnerFailed(f"Another migration has held the lock for {timeout_s:g} seconds; check what it is doing.")
        if not reported:
            report("Another migration is running; waiting for it.")
            reported = True
        time.sleep(LOCK_POLL_INTERVAL_S)
