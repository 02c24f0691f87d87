"""Statements straight to the driver.

SQLAlchemy keeps the statements, the pool and what it knows of connections that died; between a statement and psycopg
it would, at each execution, look up what it has compiled, switch greenlets and describe every column anew. That was
half of what a Recall cost this process, and nothing here asks for it: parameters and rows are the driver's own.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import lru_cache
from typing import Any

import psycopg
from opentelemetry.trace import Span, SpanKind
from psycopg.pq import TransactionStatus
from sqlalchemy import TextClause, text
from sqlalchemy.dialects.postgresql.psycopg import PGDialectAsync_psycopg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from common.utils import trace

_ALIVE = text("SELECT 1")


class Found:
    """The rows of an answer, by the methods of SQLAlchemy's result that the store uses."""

    def __init__(self, rows: list[Any], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> list[Any]:
        """All rows."""
        return self._rows

    def one_or_none(self) -> Any:
        """The only row; None: there is none."""
        if len(self._rows) > 1:
            raise RuntimeError(f"one row was asked for and {len(self._rows)} came")
        return self._rows[0] if self._rows else None

    def one(self) -> Any:
        """The only row."""
        (row,) = self._rows
        return row

    def scalar_one(self) -> Any:
        """The only number of the only row."""
        ((value,),) = self._rows
        return value


Statement = tuple[TextClause, Mapping[str, object]]


class DirectConnection(AsyncConnection):
    """A connection of the pool. Transactions are the driver's: the first statement begins one, `commit` ends it."""

    def __init__(self, engine: AsyncEngine, *ahead: Statement) -> None:
        """`ahead`: what is executed with the first statement, before it."""
        super().__init__(engine)
        self._ahead = ahead

    async def execute(  # type: ignore[override]  # one of its forms, and rows of the driver
        self, statement: TextClause, parameters: Mapping[str, object] | None = None
    ) -> Any:
        """Execute a statement; errors are those of `execute_all`."""
        (found,) = await self.execute_all((statement, parameters or {}))
        return found

    async def execute_all(self, *statements: Statement) -> list[Any]:
        """Execute statements one after another, all of them sent at once: together they wait once for the answers.

        Raises:
            psycopg.Error: the first that failed; those after it did not happen.
            DBAPIError: the connection is gone; the pool knows.
        """
        given = [(_compiled(statement.text), values) for statement, values in (*self._ahead, *statements)]
        spans = [_span(sql) for sql, _ in given]
        try:
            # A BEGIN that is still to come is one statement more.
            alone = len(given) == 1 and self._driver.info.transaction_status is not TransactionStatus.IDLE
            async with nullcontext() if alone else self._driver.pipeline():
                cursors = [await self._send(sql, values) for sql, values in given]
            self._ahead = ()
            return [await _found(cursor) for cursor in cursors[-len(statements) :]]
        except psycopg.Error as exc:
            for span in spans:
                if span is not None:
                    trace.fail(span, exc)
            if self._driver.closed:
                # Let SQLAlchemy find that out, too: it takes what else died out of the pool.
                await super().execute(_ALIVE)
            raise
        finally:
            for span in spans:
                if span is not None:
                    span.end()

    async def _send(self, sql: str, values: Mapping[str, object]) -> psycopg.AsyncCursor[Any]:
        return await self._driver.cursor(row_factory=_named).execute(sql, values)

    async def commit(self) -> None:
        """End the driver's transaction."""
        await self._driver.commit()

    @property
    def _driver(self) -> psycopg.AsyncConnection[Any]:
        assert self.sync_connection is not None  # noqa: S101 - it was started
        driver = self.sync_connection.connection.driver_connection
        assert isinstance(driver, psycopg.AsyncConnection)  # noqa: S101 - it is what the engine was given
        return driver


def _span(sql: str) -> Span | None:
    operation = sql.split(maxsplit=1)[0]
    described = {"db.system.name": "postgresql", "db.operation.name": operation, "db.query.text": sql}
    return trace.begin(f"{operation} postgresql", SpanKind.CLIENT, described)


async def _found(cursor: psycopg.AsyncCursor[Any]) -> Found:
    result = cursor.pgresult
    return Found(await cursor.fetchall() if result is not None and result.nfields else [], cursor.rowcount)


@lru_cache(maxsize=1024)
def _compiled(statement: str) -> str:
    """The statement as the driver reads it."""
    return str(text(statement).compile(dialect=PGDialectAsync_psycopg()))  # type: ignore[no-untyped-call]


def _named(cursor: psycopg.AsyncCursor[Any]) -> Callable[[Sequence[Any]], Any]:
    """Rows whose columns are known by their names; those without one, or with another's, by their places alone."""
    result = cursor.pgresult
    columns = range(result.nfields if result else 0)
    return _rows_of(tuple((result.fname(i) or b"").decode() if result else "" for i in columns))


@lru_cache(maxsize=1024)
def _rows_of(names: tuple[str, ...]) -> Callable[[Sequence[Any]], Any]:
    kind: Any = namedtuple("Row", names, rename=True)  # type: ignore[misc]
    make: Callable[[Sequence[Any]], Any] = kind._make
    return make
