"""Connections in pipeline mode: statements are sent together, with one wait for all results.

psycopg connects, waits, and converts types and errors. Its cursors are not used: they took two thirds of this process'
time of a transaction. libpq's chapter "Pipeline Mode" describes the protocol.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import select
from collections import namedtuple
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count
from typing import Any, NoReturn

import psycopg
import structlog
from opentelemetry.trace import Span, SpanKind
from psycopg import errors
from psycopg.abc import Buffer, PQGen
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus, Format, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait, wait_async

from common.utils import trace
from somabrain_service.domain.names import TenantId
from somabrain_service.store.postgres.driver.dsn import Target
from somabrain_service.store.postgres.driver.errors import (
    CommitUnknown,
    ConnectionLost,
    NoAnswer,
    NodeLost,
    ReadOnly,
    UnreadableResult,
    UnsuitableSession,
)
from somabrain_service.store.postgres.driver.session import SHARED
from somabrain_service.store.postgres.driver.statement import Sql, Statement, sql

MAX_PREPARED_STATEMENTS = 256
"""Approximate maximum of prepared statements per connection; those built for filters vary."""

GRACE_S = 5.0
"""Seconds beyond PostgreSQL's own timeouts within which results must arrive."""
CANCEL_TIMEOUT_S = 5.0
WAIT_INTERVAL_S = 60.0
"""Seconds after which a wait checks its socket even if it was not woken."""

_log = structlog.stdlib.get_logger(__name__)
_cancellations: set[asyncio.Task[None]] = set()
"""Running cancellations: the event loop itself keeps only weak references."""

_COMMIT = sql("COMMIT")
_ROLLBACK = sql("ROLLBACK")
_DEALLOCATE = sql("DEALLOCATE ALL")
_CONNECTION_EXCEPTION, _INTERNAL_ERROR = "08", "XX"
"""Classes of SQLSTATEs."""
_Key = tuple[bytes, tuple[int, ...]]
_OK_STATUSES = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class Result:
    """Rows of a statement, with columns as attributes."""

    __slots__ = ("_rows",)

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> list[Any]:
        """Return all rows."""
        return self._rows

    def one_or_none(self) -> Any:
        """Return the only row; None: no row."""
        if len(self._rows) > 1:
            raise RuntimeError(f"expected at most one row, got {len(self._rows)}")
        return self._rows[0] if self._rows else None

    def one(self) -> Any:
        """Return the only row."""
        (row,) = self._rows
        return row

    def scalar_one(self) -> Any:
        """Return the only value of the only row."""
        ((value,),) = self._rows
        return value


class Connection:
    """A connection for one task at a time. `begin` starts a transaction, `commit` or `rollback` ends it."""

    def __init__(
        self,
        driver: psycopg.AsyncConnection[Any],
        *,
        max_prepared_statements: int = MAX_PREPARED_STATEMENTS,
        statement_timeout_s: float = math.inf,
    ) -> None:
        """Use an open connection.

        Args:
            driver: the connection.
            max_prepared_statements: approximate maximum of prepared statements.
            statement_timeout_s: when PostgreSQL cancels a statement. If no answer comes within `GRACE_S` after that,
                none will: the server hangs, or the connection is broken without a sign.
        """
        self._driver = driver
        self._abandoned = False
        self._max_prepared_statements = max_prepared_statements
        self._statement_timeout_s = statement_timeout_s
        self._pg: PGconn = driver.pgconn
        self._types = Transformer(driver)
        self._input = select.poll()
        self._input.register(driver.pgconn.socket, select.POLLIN)
        self._prepared: dict[_Key, bytes] = {}
        # No other connection has these names: a pooler that exchanges sessions cannot make one run another's statement.
        self._name_prefix = b"s%s_" % secrets.token_hex(4).encode()
        self._statement_numbers = count()
        self.backend: int | None = None
        """Process id of this session's backend; None: not asked for."""
        self.target: Target | None = None
        """Target of the DSN that it was opened with; None: not set."""
        self._prelude: tuple[Statement, ...] = ()
        self.tenant: TenantId | None = None
        """Tenant of the transaction: the value of `:tenant` in each of its statements. None: it has no one tenant."""

    @property
    def lost(self) -> bool:
        """True if the connection is broken, closed, or given up while a statement runs."""
        return self._abandoned or self._pg.status != ConnStatus.OK

    @property
    def idle(self) -> bool:
        """True if the connection is open and has no open transaction."""
        return not self.lost and self._pg.transaction_status == TransactionStatus.IDLE

    @property
    def has_pending_input(self) -> bool:
        """True if the idle socket has pending input, which means FATAL or EOF."""
        return bool(self._input.poll(0))

    def check_backend(self, backend: int) -> None:
        """Check that this backend, asked for now, is the one that the session was begun with.

        Raises:
            UnsuitableSession: it is another's; the connection was closed.
        """
        if self.backend not in (None, backend):
            self._pg.finish()
            raise UnsuitableSession(SHARED, "the connection was given another backend")

    async def close(self) -> None:
        """Close the connection; an open transaction is rolled back."""
        if not self._abandoned:  # otherwise it is closed once the statement is cancelled
            await self._driver.close()

    def begin(self, *prelude: Statement) -> None:
        """Start a transaction with these statements; they are sent together with the next one."""
        self._prelude = (*self._deallocation(), *prelude)

    async def commit(self) -> None:
        """Commit the transaction, if one is open.

        Raises:
            CommitUnknown: the connection broke; the transaction may be committed or not.
        """
        self._prelude = ()
        if not self.idle:
            await self._execute_with_commit((_COMMIT, {}))

    async def rollback(self) -> None:
        """Roll back the transaction, if one is open, and forget prepared statements if there are too many."""
        self._prelude = ()
        open_transaction: tuple[Statement, ...] = () if self.idle else ((_ROLLBACK, {}),)
        if statements := (*open_transaction, *self._deallocation()):
            await self.execute_all(*statements)

    def _deallocation(self) -> tuple[Statement, ...]:
        """Return what forgets all prepared statements if there are too many.

        It is sent before a BEGIN or after a transaction's end. Before the BEGIN of a snapshot it would be refused: sent
        together with it, it is a query before SET TRANSACTION ISOLATION LEVEL (25001). So reads leave it to `rollback`.
        """
        if len(self._prepared) <= self._max_prepared_statements:
            return ()
        self._prepared.clear()
        return ((_DEALLOCATE, {}),)

    async def execute(self, statement: Sql, values: Mapping[str, object] | None = None) -> Result:
        """Execute a statement; raises as `execute_all` does."""
        (result,) = await self.execute_all((statement, values or {}))
        return result

    async def execute_and_commit(self, *statements: Statement) -> list[Result]:
        """Execute statements in order and commit, sent at once; raises as `execute_all` and `commit` do."""
        return (await self._execute_with_commit(*statements, (_COMMIT, {})))[:-1]

    async def execute_all(self, *statements: Statement, timeout_s: float | None = None) -> list[Result]:
        """Execute statements in order, sent at once, with one wait for all results.

        Args:
            statements: the statements, each with its values.
            timeout_s: maximum seconds for all results; None: as long as PostgreSQL allows the statements.

        Raises:
            ConnectionLost: the connection broke; NoAnswer: no answer came in time.
            ReadOnly: the server is read-only.
            UnsuitableSession: the connection was given another session.
            psycopg.Error: of the first statement that failed; those after it were not executed.
        """
        pipelined, self._prelude = (*self._prelude, *statements), ()
        spans = [span for statement, _ in pipelined if (span := _span(statement.text)) is not None]
        try:
            results = await self._exchange(pipelined, timeout_s)
        except psycopg.Error as exc:
            for span in spans:
                trace.record_error(span, exc)
            raise
        finally:
            for span in spans:
                span.end()
        return results[-len(statements) :]

    async def _execute_with_commit(self, *statements: Statement) -> list[Result]:
        try:
            return await self.execute_all(*statements)
        except NodeLost:
            raise  # before COMMIT, which was therefore not executed
        except ConnectionLost as exc:
            raise CommitUnknown(str(exc)) from None

    async def _exchange(self, statements: Sequence[Statement], timeout_s: float | None) -> list[Result]:
        # Before anything is sent, because a value that cannot be encoded raises.
        dumped = [(statement, *self._dump(statement, values)) for statement, values in statements]
        try:
            self._pg.enter_pipeline_mode()
            sent = [key for each in dumped for key in self._send(*each)]
            self._pg.pipeline_sync()
            results = await self._wait_for_results(timeout_s or len(statements) * self._statement_timeout_s + GRACE_S)
            self._pg.exit_pipeline_mode()
        except TimeoutError:
            self._abandon()
            raise NoAnswer("PostgreSQL did not answer in time") from None
        except asyncio.CancelledError:
            self._abandon()
            raise
        except psycopg.OperationalError as exc:
            self._pg.finish()
            raise ConnectionLost(str(exc)) from None
        except BaseException:
            # It is unknown which statements were sent and prepared, so the connection cannot be used any more.
            self._pg.finish()
            raise
        failed = None
        for key, result in zip(sent, results, strict=True):
            if result.status not in _OK_STATUSES:
                failed = failed or result
                if key is not None:
                    del self._prepared[key]
        if failed is not None:
            # COMMIT is last, so it failed if nothing else did.
            at_commit = statements[-1][0] is _COMMIT and failed is results[-1]
            self._raise_error(errors.error_from_result(failed), at_commit=at_commit)
        return [Result(self._load(result)) for key, result in zip(sent, results, strict=True) if key is None]

    async def _wait_for_results(self, timeout_s: float) -> list[PGresult]:
        # Not by the driver's own method: cancelled, it waits up to ten seconds for a server that does not answer.
        async with asyncio.timeout(None if math.isinf(timeout_s) else timeout_s):
            return await wait_async(_fetch_results(self._pg), self._pg.socket, interval=WAIT_INTERVAL_S)

    def _abandon(self) -> None:
        """Give up the connection; its statement is cancelled in the background, without waiting."""
        self._abandoned = True
        task = asyncio.create_task(self._cancel_and_close())
        _cancellations.add(task)
        task.add_done_callback(_cancellations.discard)

    async def _cancel_and_close(self) -> None:
        try:
            await self._driver.cancel_safe(timeout=CANCEL_TIMEOUT_S)
        except (psycopg.Error, OSError) as exc:
            # PostgreSQL ends the statement itself at its timeout, or when it notices that the connection is closed.
            _log.info("statement not cancelled", reason=str(exc).partition("\n")[0])
        finally:
            self._pg.finish()

    def _raise_error(self, error: psycopg.Error, *, at_commit: bool) -> NoReturn:
        # The connection is that to a coordinator; what is lost is its connection to the node that has the rows.
        state = error.sqlstate or ""
        if at_commit and state.startswith((_CONNECTION_EXCEPTION, _INTERNAL_ERROR)):
            raise CommitUnknown(str(error)) from None
        if state.startswith(_CONNECTION_EXCEPTION):
            raise NodeLost(str(error)) from None
        if isinstance(error, errors.ReadOnlySqlTransaction):
            # After a failover a new connection reaches the new primary, and this one never does.
            self._pg.finish()
            raise ReadOnly(str(error)) from None
        if isinstance(error, (errors.DuplicatePreparedStatement, errors.InvalidSqlStatementName)):
            self._pg.finish()
            raise UnsuitableSession(
                SHARED, f"{type(error).__name__}, for a name that only this connection uses"
            ) from None
        raise error

    def _dump(
        self, statement: Sql, values: Mapping[str, object]
    ) -> tuple[Sequence[Buffer | None], tuple[int, ...], Sequence[Format]]:
        """Return the encoded values, their types and formats."""
        parameters = [self._tenant(statement) if name == "tenant" else values[name] for name in statement.names]
        dumped = self._types.dump_sequence(parameters, [PyFormat.AUTO] * len(parameters))
        return dumped, self._types.types or (), self._types.formats or ()

    def _tenant(self, statement: Sql) -> TenantId:
        if self.tenant is None:
            raise RuntimeError(f"a statement of one tenant in a transaction of none: {statement.text}")
        return self.tenant

    def _send(
        self, statement: Sql, values: Sequence[Buffer | None], types: tuple[int, ...], formats: Sequence[Format]
    ) -> Iterator[_Key | None]:
        """Send a statement; yield the key of the Parse before it, if any, and None for the statement itself."""
        if not statement.names:
            self._pg.send_query_params(statement.query, None)
            yield None
            return
        key = statement.query, types
        name = self._prepared.get(key)
        if name is None:
            name = self._prepared[key] = self._name_prefix + b"%d" % next(self._statement_numbers)
            self._pg.send_prepare(name, statement.query, types)
            yield key
        self._pg.send_query_prepared(name, values, formats)
        yield None

    def _load(self, result: PGresult) -> list[Any]:
        if not result.nfields:
            return []
        row = _row(tuple(result.fname(i) for i in range(result.nfields)))
        try:
            self._types.set_pgresult(result)
            return self._types.load_rows(0, result.ntuples, row)
        except (NotImplementedError, psycopg.DataError) as exc:
            styles = [self._pg.parameter_status(name) or b"" for name in (b"DateStyle", b"IntervalStyle")]
            if styles[0].startswith(b"ISO") and styles[1] == b"postgres":
                raise
            self._pg.finish()
            raise UnreadableResult(f"the styles are {b' and '.join(styles).decode()}") from exc


def _fetch_results(pg: PGconn) -> PQGen[list[PGresult]]:
    """Flush the output, reading input meanwhile, and read all results up to the pipeline's sync.

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
    attributes = {"db.system.name": "postgresql", "db.operation.name": operation, "db.query.text": statement}
    return trace.start_span(f"{operation} postgresql", SpanKind.CLIENT, attributes)


@lru_cache(maxsize=1024)
def _row(names: tuple[bytes | None, ...]) -> Callable[[Sequence[Any]], Any]:
    """Return a factory of rows with these columns; unnamed and duplicate ones are accessible by index only."""
    row_type: Any = namedtuple("Row", [(name or b"").decode() for name in names], rename=True)  # type: ignore[misc]
    make: Callable[[Sequence[Any]], Any] = row_type._make
    return make
