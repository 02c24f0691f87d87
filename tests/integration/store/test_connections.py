"""Connections over libpq, and their pool."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import errors

from common.config.settings import DatabaseSettings
from common.errors import StoreUnavailable
from somabrain_service.domain.names import tenant_id
from somabrain_service.store.postgres.driver.arrays import texts
from somabrain_service.store.postgres.driver.connect import open_pool
from somabrain_service.store.postgres.driver.errors import (
    CommitUnknown,
    ConnectionLost,
    PoolTimeout,
    is_retryable,
    translate,
)
from somabrain_service.store.postgres.driver.pipeline import MAX_PREPARED_STATEMENTS, Connection
from somabrain_service.store.postgres.driver.pool import Pool
from somabrain_service.store.postgres.driver.statement import Statement, sql
from somabrain_service.store.postgres.driver.transactions import Transactions
from tests.support.clones import Clone

SIZE = 2
BEGIN: Statement = (sql("BEGIN"), {})
ADD = sql("INSERT INTO numbers VALUES (:number)")
NUMBERS = sql("SELECT coalesce(array_agg(number ORDER BY number), '{}') FROM numbers")
BACKEND_PID = sql("SELECT pg_backend_pid()")
PREPARED = sql("SELECT count(*) FROM pg_prepared_statements")
SLEEP = sql("SELECT pg_sleep(:seconds)")


@pytest.fixture
async def pool(database: Clone) -> AsyncIterator[Pool]:
    with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
        owner.execute("CREATE TABLE numbers (number bigint PRIMARY KEY)")
        owner.execute(f'GRANT ALL ON numbers TO "{database.settings.app_role}"')
    async with open_pool(database.app_dsn, DatabaseSettings(pool_size=SIZE, connect_timeout_s=0.5)) as pool:
        yield pool
    with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
        owner.execute("DROP VIEW IF EXISTS late")
        owner.execute("DROP TABLE numbers")
        owner.execute("DROP FUNCTION IF EXISTS fail()")


@pytest.fixture
async def connection(pool: Pool) -> AsyncIterator[Connection]:
    connection = await pool.acquire()
    yield connection
    await pool.release(connection)


async def test_failed_statement_cancels_the_rest_of_its_pipeline(connection: Connection) -> None:
    """When one of several statements sent together fails, none takes effect, and the connection stays usable."""
    await connection.execute(ADD, {"number": 1})
    connection.begin(BEGIN)
    with pytest.raises(errors.UniqueViolation):
        await connection.execute_all((ADD, {"number": 2}), (ADD, {"number": 1}), (ADD, {"number": 3}))
    await connection.rollback()
    assert (await connection.execute(NUMBERS)).scalar_one() == [1]
    await connection.execute(ADD, {"number": 2})
    assert (await connection.execute(NUMBERS)).scalar_one() == [1, 2]


async def test_commit_pipelined_with_failing_statement_commits_nothing(connection: Connection) -> None:
    """`execute_and_commit` commits all that its transaction wrote, or nothing."""
    connection.begin(BEGIN)
    await connection.execute_and_commit((ADD, {"number": 1}))
    assert connection.idle
    connection.begin(BEGIN)
    await connection.execute(ADD, {"number": 2})
    with pytest.raises(errors.UniqueViolation):
        await connection.execute_and_commit((ADD, {"number": 1}))
    await connection.rollback()
    assert (await connection.execute(NUMBERS)).scalar_one() == [1]


async def test_released_connection_rolls_back_uncommitted_work(pool: Pool) -> None:
    """A connection taken from the pool has no open transaction of its previous use."""
    connection = await pool.acquire()
    connection.begin(BEGIN)
    await connection.execute(ADD, {"number": 1})
    await pool.release(connection)
    again = await pool.acquire()
    assert again is connection
    assert (await again.execute(NUMBERS)).scalar_one() == []
    await pool.release(again)


async def test_prepared_statements_per_connection_are_bounded(database: Clone) -> None:
    """A connection keeps about `max_prepared_statements` of them, and executes any number of others."""
    driver = await psycopg.AsyncConnection.connect(database.app_dsn, autocommit=True)
    connection = Connection(driver, max_prepared_statements=8)
    for number in range(40):
        connection.begin(BEGIN)
        (result,) = await connection.execute_and_commit((sql(f"SELECT {number} + CAST(:more AS int)"), {"more": 1}))
        assert result.scalar_one() == number + 1
        assert (await connection.execute(PREPARED)).scalar_one() <= 9
    assert (await connection.execute(PREPARED)).scalar_one() > 1
    await connection.close()


@pytest.mark.parametrize("failing", [False, True])
async def test_prepared_statements_of_readers_are_bounded(database: Clone, failing: bool) -> None:
    """A pooled connection that only reads keeps about `MAX_PREPARED_STATEMENTS`, however many it has executed."""
    async with open_pool(database.app_dsn, DatabaseSettings(pool_size=1)) as pool:
        transactions = Transactions(pool)
        for number in range(MAX_PREPARED_STATEMENTS + 50):
            different = (sql(f"SELECT {number} + CAST(:more AS int) / CAST(:by AS int)"), {"more": 1, "by": 1})
            async with transactions.read(tenant_id("i", "t"), different) as (connection, (result,)):
                assert result.scalar_one() == number + 1
                if failing:
                    with pytest.raises(errors.DivisionByZero):
                        await connection.execute(different[0], {"more": 1, "by": 0})
        connection = await pool.acquire()
        assert 1 <= (await connection.execute(PREPARED)).scalar_one() < 60
        await pool.release(connection)


async def test_failed_preparation_can_be_retried(connection: Connection, database: Clone) -> None:
    """A statement whose preparation failed is prepared once its cause is fixed: no stale name is kept."""
    late = sql("SELECT count(*) + CAST(:number AS int) FROM late")
    for _ in range(2):
        with pytest.raises(errors.UndefinedTable):
            await connection.execute(late, {"number": 1})
    with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
        owner.execute(
            f'CREATE VIEW late AS SELECT 1 WHERE false; GRANT SELECT ON late TO "{database.settings.app_role}"'
        )
    assert (await connection.execute(late, {"number": 1})).scalar_one() == 1


async def test_pipeline_transfers_values_of_megabytes(connection: Connection) -> None:
    """Values larger than the buffers of both ends are transferred, several in one pipeline."""
    echo = sql("SELECT CAST(:text AS text)")
    texts = [chr(97 + i) * 3_000_000 for i in range(8)]
    results = await connection.execute_all(*((echo, {"text": text}) for text in texts))
    assert [answer.scalar_one() for answer in results] == texts


async def test_broken_connection_raises_connection_lost(pool: Pool, database: Clone) -> None:
    """A connection that the server closed raises ConnectionLost and is not reused by the pool."""
    connection = await pool.acquire()
    number = (await connection.execute(BACKEND_PID)).scalar_one()
    with psycopg.connect(database.app_dsn, autocommit=True) as app:
        app.execute("SELECT pg_terminate_backend(CAST(%s AS integer))", [number])
    with pytest.raises(ConnectionLost):
        await connection.execute(NUMBERS)
    assert connection.lost
    await pool.release(connection)
    assert (pool.idle, pool.in_use) == (0, 0)
    another = await pool.acquire()
    assert (await another.execute(BACKEND_PID)).scalar_one() != number
    await pool.release(another)


async def test_cancellation_cancels_the_statement_on_the_server(pool: Pool, database: Clone) -> None:
    """Cancelling a caller also cancels its statement in PostgreSQL."""
    connection = await pool.acquire()
    number = (await connection.execute(BACKEND_PID)).scalar_one()
    task = asyncio.create_task(connection.execute(SLEEP, {"seconds": 60}))
    async with await psycopg.AsyncConnection.connect(database.app_dsn, autocommit=True) as watching:

        async def is_running() -> bool:
            cursor = await watching.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND state = 'active'", [number]
            )
            return (await cursor.fetchone()) == (1,)

        async with asyncio.timeout(20):
            while not await is_running():  # noqa: ASYNC110 - PostgreSQL tells nobody
                await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while await is_running():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
    await pool.release(connection)
    assert pool.in_use == 0


async def test_exhausted_pool_raises_pool_timeout_and_recovers(pool: Pool) -> None:
    """A pool without a free connection raises PoolTimeout after its timeout, and serves again afterwards."""
    connections = [await pool.acquire() for _ in range(SIZE)]
    began = time.monotonic()
    with pytest.raises(PoolTimeout):
        await pool.acquire()
    assert time.monotonic() - began >= 0.5
    waiting = asyncio.create_task(pool.acquire())
    await asyncio.sleep(0)
    await pool.release(connections.pop())
    connections.append(await waiting)
    for connection in connections:
        await pool.release(connection)
    assert (pool.idle, pool.in_use) == (SIZE, 0)


async def test_cancelled_callers_leak_no_pool_connections(pool: Pool) -> None:
    """However many callers are cancelled as they wait, connect or query, all connections are available afterwards."""

    async def query() -> None:
        connection = await pool.acquire()
        try:
            await connection.execute(SLEEP, {"seconds": 0.002})
        finally:
            await pool.release(connection)

    for rest in range(60):
        tasks = [asyncio.create_task(query()) for _ in range(5)]
        await asyncio.sleep(rest / 4000)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert pool.in_use == 0
    connections = [await pool.acquire() for _ in range(SIZE)]
    assert pool.in_use == SIZE
    for connection in connections:
        await pool.release(connection)


async def test_text_arrays_round_trip_unchanged(connection: Connection) -> None:
    """Arrays of texts arrive unchanged, also with characters special in array literals; a NUL is refused."""
    echo = sql("SELECT CAST(:texts AS text[])")
    for values in (
        [],
        [""],
        ["", ""],
        ['"', "\\", '\\"', '","'],
        ["NULL", "{", "}", "a,b", " ", "\n"],
        ["naïve", "蜂", "🐝"],
    ):
        assert (await connection.execute(echo, {"texts": texts(values)})).scalar_one() == values
    for broken in (["\0"], ["a", "b\0c"]):
        with pytest.raises(ValueError, match="NUL"):
            texts(broken)


_RAISE = "DO $$ BEGIN RAISE EXCEPTION 'connection to the remote node lost' USING ERRCODE = '{state}'; END $$"
_FAIL_AT_COMMIT = """
CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql
AS $$ BEGIN RAISE EXCEPTION 'could not commit on a node' USING ERRCODE = '{state}'; END $$;
CREATE CONSTRAINT TRIGGER fails AFTER INSERT ON numbers DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION fail()
"""


async def test_node_loss_before_commit_is_connection_lost(connection: Connection) -> None:
    """A statement that fails because a distributed engine lost a node had no effect, and its connection stays open."""
    connection.begin(BEGIN)
    with pytest.raises(ConnectionLost) as lost:
        await connection.execute_and_commit((ADD, {"number": 1}), (sql(_RAISE.format(state="08006")), {}))
    assert is_retryable(lost.value)
    assert not isinstance(lost.value, CommitUnknown)
    assert not connection.lost
    await connection.rollback()
    assert (await connection.execute(NUMBERS)).scalar_one() == []


@pytest.mark.parametrize("state", ["XX000", "08006"])
async def test_node_loss_during_commit_is_commit_unknown(connection: Connection, database: Clone, state: str) -> None:
    """A COMMIT that a distributed engine could not bring to a node may be committed: it is not simply retried."""
    with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
        owner.execute(_FAIL_AT_COMMIT.format(state=state).encode())
    connection.begin(BEGIN)
    with pytest.raises(CommitUnknown) as unknown:
        await connection.execute_and_commit((ADD, {"number": 1}))
    assert not is_retryable(unknown.value)
    assert isinstance(translate(unknown.value), StoreUnavailable)
    connection.begin(BEGIN)
    await connection.execute(ADD, {"number": 1})
    with pytest.raises(CommitUnknown):
        await connection.commit()
    assert not connection.lost
