"""What PostgreSQL's failures mean to us.

What PostgreSQL says of a failure may hold a row, and so a memory's text: an unforeseen one is therefore told, and
chained for the log, by its SQLSTATE and the names of table and constraint only.
"""

from __future__ import annotations

import psycopg
from psycopg import errors
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from common.errors import Aborted, SomaBrainError, StoreUnavailable

RACES = (errors.SerializationFailure, errors.DeadlockDetected)
UNREADY = (errors.UndefinedTable, errors.UndefinedColumn, errors.InsufficientPrivilege)


class Retry(Exception):
    """The transaction lost a race that PostgreSQL does not report as one."""


class StoreFault(Exception):
    """An unforeseen failure, without a word of what the rows hold."""


def cause(exc: BaseException) -> BaseException:
    """The driver's error inside SQLAlchemy's."""
    return exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc


def connection_lost(exc: BaseException) -> bool:
    """Whether the connection broke under the statement."""
    return isinstance(exc, DBAPIError) and exc.connection_invalidated


def may_run_again(exc: BaseException) -> bool:
    """Whether a transaction that failed so before its commit left nothing behind and may well succeed now."""
    return isinstance(exc, Retry) or isinstance(cause(exc), RACES) or connection_lost(exc)


def violated(exc: BaseException) -> str:
    """The constraint that a write hit; empty: none."""
    found = cause(exc)
    return (found.diag.constraint_name or "") if isinstance(found, errors.UniqueViolation) else ""


def told(exc: BaseException) -> SomaBrainError:
    """The error of ours that a failure becomes."""
    found = cause(exc)
    if isinstance(found, RACES) or isinstance(exc, Retry):
        return Aborted("Other writes to the same memories went first, again and again; try again.")
    if isinstance(exc, PoolTimeout):
        return StoreUnavailable("All connections to PostgreSQL are busy; try again shortly.")
    if isinstance(found, errors.QueryCanceled):
        return StoreUnavailable("PostgreSQL did not answer in time; try again shortly.")
    if isinstance(found, UNREADY):
        return StoreUnavailable("The database's schema is not this version's; run the migrations.")
    if isinstance(found, psycopg.OperationalError | psycopg.InterfaceError | OSError):
        return StoreUnavailable("PostgreSQL cannot be reached; try again shortly.")
    return SomaBrainError("The store could not do this.")


def fault(exc: BaseException) -> StoreFault:
    """What may stand in the log for a failure."""
    found = cause(exc)
    if not isinstance(found, psycopg.Error):
        return StoreFault(f"{type(found).__name__}: {found}" if isinstance(found, OSError) else type(found).__name__)
    if isinstance(found, psycopg.OperationalError):
        return StoreFault(f"{type(found).__name__}: {str(found).partition(chr(10))[0]}")
    where = [name for name in (found.diag.table_name, found.diag.constraint_name) if name]
    return StoreFault(f"{type(found).__name__} (SQLSTATE {found.sqlstate}) {' '.join(where)}".strip())
