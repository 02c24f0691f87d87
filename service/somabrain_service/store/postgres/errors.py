"""What PostgreSQL's failures mean to us.

What PostgreSQL says of a failure may hold a row, and so a memory's text: an unforeseen one is therefore told, and
chained for the log, by its SQLSTATE and the names of table and constraint only.
"""

from __future__ import annotations

import psycopg
from psycopg import errors

from common.errors import Aborted, SomaBrainError, StoreUnavailable

RETRYABLE_ERRORS = (errors.SerializationFailure, errors.DeadlockDetected)
SCHEMA_ERRORS = (errors.UndefinedTable, errors.UndefinedColumn, errors.InsufficientPrivilege)


class Retry(Exception):
    """The transaction lost a race that PostgreSQL does not report as one."""


class PoolTimeout(Exception):
    """All connections were in use for as long as one is waited for."""


class ConnectionLost(psycopg.OperationalError):
    """The connection broke under a statement."""


class CommitUnknown(psycopg.OperationalError):
    """The connection broke while a transaction was being committed: whether it was is not known."""


class ReadOnly(psycopg.OperationalError):
    """The server takes no writes: a standby, or one that was set read-only. The connection was closed."""


class RedactedError(Exception):
    """An unforeseen failure, without a word of what the rows hold."""


DRIVER_ERRORS = (psycopg.Error, OSError, PoolTimeout)
"""Whatever comes up from PostgreSQL and the way to it."""


def is_retryable(exc: BaseException) -> bool:
    """Whether a transaction that failed so before its commit left nothing behind and may well succeed now."""
    return isinstance(exc, (Retry, ConnectionLost, ReadOnly, *RETRYABLE_ERRORS))


def violated_constraint(exc: BaseException) -> str:
    """The constraint that a write hit; empty: none."""
    return (exc.diag.constraint_name or "") if isinstance(exc, errors.UniqueViolation) else ""


def translate(exc: BaseException) -> SomaBrainError:
    """The error of ours that a failure becomes."""
    if isinstance(exc, (Retry, *RETRYABLE_ERRORS)):
        return Aborted("Other writes to the same memories went first, again and again; try again.")
    if isinstance(exc, PoolTimeout):
        return StoreUnavailable("All connections to PostgreSQL are busy; try again shortly.")
    if isinstance(exc, errors.QueryCanceled):
        return StoreUnavailable("PostgreSQL did not answer in time; try again shortly.")
    if isinstance(exc, ReadOnly):
        return StoreUnavailable(
            "PostgreSQL takes no writes here: it is a standby or was set read-only; try again once it takes them."
        )
    if isinstance(exc, SCHEMA_ERRORS):
        return StoreUnavailable("The database's schema is not this version's; run the migrations.")
    if isinstance(exc, psycopg.OperationalError | psycopg.InterfaceError | OSError):
        return StoreUnavailable("PostgreSQL cannot be reached; try again shortly.")
    return SomaBrainError("The store could not do this.")


def redacted_cause(exc: BaseException) -> RedactedError:
    """What may stand in the log for a failure."""
    if not isinstance(exc, psycopg.Error):
        return RedactedError(f"{type(exc).__name__}: {exc}" if isinstance(exc, OSError) else type(exc).__name__)
    if isinstance(exc, psycopg.OperationalError):
        return RedactedError(f"{type(exc).__name__}: {str(exc).partition(chr(10))[0]}")
    names = [name for name in (exc.diag.table_name, exc.diag.constraint_name) if name]
    return RedactedError(f"{type(exc).__name__} (SQLSTATE {exc.sqlstate}) {' '.join(names)}".strip())
