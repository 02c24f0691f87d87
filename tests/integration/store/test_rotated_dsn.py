"""A DSN that is changed to another server, database or role: connections to the previous one are not used any more."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from common.config.settings import DatabaseSettings
from common.errors import StoreUnavailable
from somabrain_service.admin.embedded_postgres import DATABASE, EmbeddedDatabase
from somabrain_service.store.maintenance import Shard
from somabrain_service.store.open import open_worker_store
from somabrain_service.store.postgres.driver.connect import open_pool
from somabrain_service.store.postgres.driver.current_dsn import FOLLOW_INTERVAL_S
from somabrain_service.store.postgres.driver.statement import sql
from tests.support.clones import Clone, make_clone
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.own_server

NAME = sql("SELECT current_database()")


@pytest.fixture
def other(database_server: EmbeddedDatabase) -> Iterator[Clone]:
    yield from make_clone(database_server, DATABASE)


def sessions(database: Clone, application: str) -> int:
    with psycopg.connect(database.superuser_dsn) as superuser:
        row = superuser.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND datname = %s",
            [application, database.name],
        ).fetchone()
    assert row is not None
    return int(row[0])


async def test_calls_use_the_new_database_after_dsn_change(database: Clone, other: Clone) -> None:
    """Within a second of the change all calls are sent to the new database, and the previous connections are closed."""
    now = database.app_dsn
    async with open_pool(database.app_dsn, DatabaseSettings(pool_size=2), lambda: now) as pool:
        used = [await pool.acquire() for _ in range(2)]
        await pool.release(used.pop())
        now = other.app_dsn

        async def in_other() -> bool:
            connection = await pool.acquire()
            name = (await connection.execute(NAME)).scalar_one()
            await pool.release(connection)
            return bool(name == other.name)

        await eventually_async(in_other, timeout_s=FOLLOW_INTERVAL_S + 1)
        await pool.release(used.pop())
        assert await in_other()
        assert await in_other(), "the one that was in use at the change is closed, not used again"

        async def closed() -> bool:
            return sessions(database, "somabrain-service") == 0

        await eventually_async(closed, timeout_s=5)


async def test_password_change_keeps_open_connections(database: Clone) -> None:
    """An open connection outlives a change of the password, as PostgreSQL's sessions do."""
    now = database.app_dsn
    async with open_pool(database.app_dsn, DatabaseSettings(pool_size=1), lambda: now) as pool:
        connection = await pool.acquire()
        await pool.release(connection)
        now = database.app_dsn.replace("@", ":new@", 1)

        async def again() -> bool:
            taken = await pool.acquire()
            await pool.release(taken)
            return taken is not connection

        with pytest.raises(AssertionError, match="not within"):
            await eventually_async(again, timeout_s=FOLLOW_INTERVAL_S + 0.5)


async def test_background_job_moves_to_the_new_database(database: Clone, other: Clone) -> None:
    """A job that holds a lock in the previous database releases it, and acquires the one of the new database."""
    now = database.worker_dsn
    async with open_worker_store(database.worker_dsn, DatabaseSettings(), lambda: now) as store:
        async with store.acquire("job", Shard(0, 1)) as held:
            assert held is not None
            await held.unencoded((), ())
            now = other.worker_dsn

            async def refused() -> bool:
                try:
                    await held.unencoded((), ())
                except StoreUnavailable as exc:
                    return "DSN of the worker role was changed" in exc.message
                return False

            await eventually_async(refused, timeout_s=FOLLOW_INTERVAL_S + 1)
        async with store.acquire("job", Shard(0, 1)) as again:
            assert again is not None
            assert sessions(other, "somabrain-worker") == 1
