"""Connections that speak in pipelines: statements are sent together and waited for once.

psycopg connects, waits, and knows types and errors. Its cursors are left out: of what a transaction takes this process
they were two thirds. How a pipeline goes stands in libpq's chapter "Pipeline Mode".
"""

from __future__ import annotations

import select
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import Any, NoReturn

import psycopg
from opentelemetry.trace import Span, SpanKind
from psycopg import errors
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

from common.utils import trace
from somabrain_service.store.postgres.faults import CommitLost, ConnectionLost, ReadOnly
from somabrain_service.store.postgres.sql import Sql, Statement, sql

PREPARED = 256
"""Statements that a connection keeps prepared, about; those that are made for a filter come and go."""

_COMMIT = sql("COMMIT")
_ROLLBACK = sql("ROLLBACK")
_DEALLOCATE = sql("DEALLOCATE ALL")
_Key = tuple[bytes, tuple[int, ...]]
_DONE = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class Found:
    """The rows of an answer; columns are known by their names."""

    __slots__ = ("_rows",)

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

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
        """The only value of the only row."""
        ((value,),) = self._rows
        return value


class Connection:
    """A connection for one task at a time. `begin` begins a transaction, `commit` or `rollback` ends it."""

    def __init__(self, driver: psycopg.AsyncConnection[Any]) -> None:
        self._driver = driver
        self._pg: PGconn = driver.pgconn
        self._types = Transformer(driver)
        self._input = select.poll()
        self._input.register(driver.pgconn.socket, select.POLLIN)
        self._prepared: dict[_Key, bytes] = {}
        self._numbers = count()
        self._ahead: tuple[Statement, ...] = ()

    @property
    def lost(self) -> bool:
        """Whether it is gone."""
        return self._pg.status != ConnStatus.OK

    @property
    def idle(self) -> bool:
        """Whether it is there, and no transaction under way."""
        return not self.lost and self._pg.transaction_status == TransactionStatus.IDLE

    @property
    def quiet(self) -> bool:
        """Whether nothing has come that nobody asked for: at rest, that is the server's farewell, or the end."""
        return not self._input.poll(0)

    async def close(self) -> None:
        """Close it; what was not committed did not happen."""
        await self._driver.close()

    def begin(self, *ahead: Statement) -> None:
        """Begin a transaction by these statements; they are sent with the first of those that follow."""
        self._ahead = ahead
        if len(self._prepared) > PREPARED:
            self._prepared.clear()
            self._ahead = ((_DEALLOCATE, {}), *ahead)

    async def commit(self) -> None:
        """End the transaction, where one is under way.

        Raises:
            CommitLost: it may have been committed, or not.
        """
        self._ahead = ()
        if not self.idle:
            await self._committing((_COMMIT, {}))

    async def rollback(self) -> None:
        """Undo the transaction, where one is under way."""
        self._ahead = ()
        if not self.idle:
            await self.execute(_ROLLBACK)

    async def execute(self, statement: Sql, values: Mapping[str, object] | None = None) -> Found:
        """Execute a statement; errors are those of `execute_all`."""
        (found,) = await self.execute_all((statement, values or {}))
        return found

    async def execute_last(self, statement: Sql, values: Mapping[str, object]) -> Found:
        """Execute a statement and commit; errors are those of `execute_all`, and of `commit`."""
        found, _ = await self._committing((statement, values), (_COMMIT, {}))
        return found

    async def execute_all(self, *statements: Statement) -> list[Found]:
        """Execute statements one after another, all of them sent at once: together they wait once for the answers.

        Raises:
            ConnectionLost: it broke meanwhile.
            psycopg.Error: of the first that failed; those after it did not happen.
        """
        given, self._ahead = (*self._ahead, *statements), ()
        spans = [span for statement, _ in given if (span := _span(statement.text)) is not None]
        try:
            found = await self._exchange(given)
        except psycopg.Error as exc:
            for span in spans:
                trace.record_error(span, exc)
            raise
        finally:
            for span in spans:
                span.end()
        return found[-len(statements) :]

    async def _committing(self, *statements: Statement) -> list[Found]:
        try:
            return await self.execute_all(*statements)
        except ConnectionLost as exc:
            raise CommitLost(str(exc)) from None

    async def _exchange(self, statements: Sequence[Statement]) -> list[Found]:
        # Before anything is sent, because a value that cannot be written raises.
        written = [(statement, *self._write(statement, values)) for statement, values in statements]
        try:
            self._pg.enter_pipeline_mode()
            sent = [key for each in written for key in self._send(*each)]
            self._pg.pipeline_sync()
            results = await self._driver.wait(_answers(self._pg))
            self._pg.exit_pipeline_mode()
        except psycopg.OperationalError as exc:
            self._pg.finish()
            raise ConnectionLost(str(exc)) from None
        except BaseException:
            # What it was told, and what it keeps prepared, is not known any more.
            self._pg.finish()
            raise
        failed = None
        for key, result in zip(sent, results, strict=True):
            if result.status not in _DONE:
                failed = failed or result
                if key is not None:
                    del self._prepared[key]
        if failed is not None:
            self._refuse(errors.error_from_result(failed))
        return [Found(self._read(result)) for key, result in zip(sent, results, strict=True) if key is None]

    def _refuse(self, error: psycopg.Error) -> NoReturn:
        if isinstance(error, errors.ReadOnlySqlTransaction):
            # After a fail-over a new connection leads to the new primary, and this one never.
            self._pg.finish()
            raise ReadOnly(str(error)) from None
        raise error

    def _write(
        self, statement: Sql, values: Mapping[str, object]
    ) -> tuple[Sequence[Buffer | None], tuple[int, ...], Sequence[Format]]:
        """The values as they are sent, their types and formats."""
        given = [values[name] for name in statement.names]
        written = self._types.dump_sequence(given, [PyFormat.AUTO] * len(given))
        return written, self._types.types or (), self._types.formats or ()

    def _send(
        self, statement: Sql, values: Sequence[Buffer | None], types: tuple[int, ...], formats: Sequence[Format]
    ) -> Iterator[_Key | None]:
        """Put a statement into the pipeline; yields the key of one that is prepared for it, and None for its answer."""
        if not statement.names:
            self._pg.send_query_params(statement.sent, None)
            yield None
            return
        key = statement.sent, types
        name = self._prepared.get(key)
        if name is None:
            name = self._prepared[key] = b"s%d" % next(self._numbers)
            self._pg.send_prepare(name, statement.sent, types)
            yield key
        self._pg.send_query_prepared(name, values, formats)
        yield None

    def _read(self, result: PGresult) -> list[Any]:
        if not result.nfields:
            return []
        self._types.set_pgresult(result)
        row = _row(tuple(result.fname(i) for i in range(result.nfields)))
        return self._types.load_rows(0, result.ntuples, row)


def _answers(pg: PGconn) -> PQGen[list[PGresult]]:
    """Write what is sent, reading what comes meanwhile, and read all answers, to the one that ends the pipeline.

    Raises:
        psycopg.OperationalError: the connection broke.
    """
    while pg.flush():
        if (yield Wait.RW) & Ready.R:
            pg.consume_input()
    results: list[PGresult] = []
    while True:
        while pg.is_busy():
            if (yield Wait.R):
                pg.consume_input()
        result = pg.get_result()
        if result is not None and result.status == ExecStatus.PIPELINE_SYNC:
            return results
        if result is not None:
            results.append(result)
        elif pg.status != ConnStatus.OK:
            raise psycopg.OperationalError("the connection broke")


def _span(statement: str) -> Span | None:
    operation = statement.split(maxsplit=1)[0]
    described = {"db.system.name": "postgresql", "db.operation.name": operation, "db.query.text": statement}
    return trace.start_span(f"{operation} postgresql", SpanKind.CLIENT, described)


@lru_cache(maxsize=1024)
def _row(names: tuple[bytes | None, ...]) -> Callable[[Sequence[Any]], Any]:
    """Make rows of these columns; those without a name, or with another's, are known by their places alone."""
    kind: Any = namedtuple("Row", [(name or b"").decode() for name in names], rename=True)  # type: ignore[misc]
    make: Callable[[Sequence[Any]], Any] = kind._make
    return make
