"""Translation of PostgreSQL's errors into the service's.

PostgreSQL's error messages may contain a row, and so a memory's text: an unforeseen error is therefore reported, and
chained for the log, only by its SQLSTATE and the names of table and constraint.
"""

from __future__ import annotations

import psycopg
from psycopg import errors

from common.errors import Aborted, SomaBrainError, StoreUnavailable

RETRYABLE_ERRORS = (errors.SerializationFailure, errors.DeadlockDetected)
SCHEMA_ERRORS = (errors.UndefinedTable, errors.UndefinedColumn, errors.InsufficientPrivilege)


class Retry(Exception):
    """A conflict with another transaction that PostgreSQL does not report as one."""


class PoolTimeout(Exception):
    """All connections of the pool were in use until the timeout."""


class ConnectionLost(psycopg.OperationalError):
    """The connection broke during a statement."""


class NodeLost(ConnectionLost):
    """A distributed engine lost its own connection to the node that has the rows, before COMMIT; ours is open."""


class NoAnswer(ConnectionLost):
    """No answer came in time: the server hangs, or the connection is broken without a sign. It was given up."""


class CommitUnknown(psycopg.OperationalError):
    """The connection, or that of a distributed engine to its node, broke during COMMIT: it may be committed or not."""


class ReadOnly(psycopg.OperationalError):
    """The server is read-only: a standby, or set read-only. The connection was closed."""


class UnsuitableSession(psycopg.OperationalError):
    """The session cannot be used as it is: `message` is a sentence with the remedy. The connection was closed."""

    def __init__(self, message: str, cause: str) -> None:
        super().__init__(cause)
        self.message = message


class UnreadableResult(psycopg.OperationalError):
    """The session writes times or durations in a style that the driver does not parse. The connection was closed."""


class RedactedError(Exception):
    """An unforeseen error without any contents of rows."""


DRIVER_ERRORS = (psycopg.Error, OSError, PoolTimeout)
"""Errors of PostgreSQL, the driver and the network."""


def is_retryable(exc: BaseException) -> bool:
    """Return whether a transaction that failed with this error before its commit had no effect and may be retried."""
    return isinstance(exc, (Retry, ConnectionLost, ReadOnly, *RETRYABLE_ERRORS))


def violated_constraint(exc: BaseException) -> str:
    """Return the name of the violated unique constraint; empty: another error."""
    return (exc.diag.constraint_name or "") if isinstance(exc, errors.UniqueViolation) else ""


def translate(exc: BaseException) -> SomaBrainError:
    """Return the service's error for an error of the driver."""
    if isinstance(exc, (Retry, *RETRYABLE_ERRORS)):
        return Aborted("Other writes to the same memories conflicted with this one on every attempt; try again.")
    if isinstance(exc, PoolTimeout):
        return StoreUnavailable("All connections to PostgreSQL are busy; try again shortly.")
    if isinstance(exc, errors.QueryCanceled | NoAnswer | errors.ConnectionTimeout):
        return StoreUnavailable("PostgreSQL did not answer in time; try again shortly.")
    if isinstance(exc, ReadOnly):
        return StoreUnavailable(
            "PostgreSQL is read-only: it is a standby or was set read-only; try again once it accepts writes."
        )
    if isinstance(exc, UnsuitableSession):
        return StoreUnavailable(exc.message)
    if isinstance(exc, UnreadableResult):
        return StoreUnavailable(
            "PostgreSQL writes times in a style that this service cannot read; set DateStyle to ISO and IntervalStyle "
            "to postgres for its roles."
        )
    if isinstance(exc, SCHEMA_ERRORS):
        return StoreUnavailable("The database's schema does not match this version; run the migrations.")
    if isinstance(exc, errors.DiskFull):
        return StoreUnavailable("PostgreSQL's disk is full; free space on it, or enlarge it.")
    if isinstance(exc, errors.OutOfMemory | errors.ConfigurationLimitExceeded | errors.InsufficientResources):
        return StoreUnavailable("PostgreSQL has not enough memory or another resource; see its log, then try again.")
    if isinstance(exc, psycopg.OperationalError | psycopg.InterfaceError | OSError):
        return StoreUnavailable("PostgreSQL cannot be reached; try again shortly.")
    return SomaBrainError("The store failed unexpectedly.")


def redacted_cause(exc: BaseException) -> RedactedError:
    """Return an error that describes the cause and is safe to log."""
    if not isinstance(exc, psycopg.Error):
        return RedactedError(f"{type(exc).__name__}: {exc}" if isinstance(exc, OSError) else type(exc).__name__)
    if isinstance(exc, psycopg.OperationalError):
        return RedactedError(f"{type(exc).__name__}: {str(exc).partition(chr(10))[0]}")
    names = [name for name in (exc.diag.table_name, exc.diag.constraint_name) if name]
    return RedactedError(f"{type(exc).__name__} (SQLSTATE {exc.sqlstate}) {' '.join(names)}".strip())
