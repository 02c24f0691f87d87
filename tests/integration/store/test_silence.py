"""A PostgreSQL that accepts connections and never answers, as behind a dead node or a broken network."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from common.config.settings import DatabaseSettings
from common.errors import StoreUnavailable
from somabrain_service.domain.database_clock import DatabaseClock
from somabrain_service.domain.names import tenant_id
from somabrain_service.metrics import Metrics
from somabrain_service.server.readiness import PROBE_TIMEOUT_S, Readiness
from somabrain_service.store.maintenance import Shard
from somabrain_service.store.open import open_store, open_worker_store
from somabrain_service.store.postgres.driver.connect import open_pool
from somabrain_service.store.postgres.driver.pipeline import GRACE_S
from somabrain_service.store.postgres.driver.statement import sql
from somabrain_service.store.postgres.driver.transactions import Transactions
from tests.integration.resilience.proxy import Proxy, proxy
from tests.support.clones import Clone

pytestmark = pytest.mark.own_server

SETTINGS = DatabaseSettings(statement_timeout_s=1, connect_timeout_s=3, pool_size=2)
ONE = sql("SELECT 1")
FOREVER_S = 3600.0


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
async def stalling_proxy(database: Clone) -> AsyncIterator[Proxy]:
    """A path to PostgreSQL that can fall silent: data on it then never arrives."""
    async with proxy(database.server.socket / ".s.PGSQL.5432") as running:
        yield running


def dsn(database: Clone, role: str, *addresses: str) -> str:
    return f"postgresql://somabrain_{role}@{','.join(addresses)}/{database.name}"


async def ignore(ready: bool) -> None:
    """Do nothing about a change of readiness."""


async def test_multi_host_dsn_connects_past_a_silent_host(database: Clone, stalling_proxy: Proxy, silent: str) -> None:
    """With two hosts, the first of which is silent, the service becomes ready, and only one connection waits for it."""
    async with open_store(dsn(database, "app", silent, stalling_proxy.address), SETTINGS) as store:
        readiness = Readiness(store, Metrics(), ignore, DatabaseClock())
        async with asyncio.timeout(20):
            while not readiness.state.ready:
                await readiness.probe()
    async with open_pool(dsn(database, "app", silent, stalling_proxy.address), SETTINGS) as pool:
        first = await pool.acquire()
        started = time.monotonic()
        second = await pool.acquire()
        assert time.monotonic() - started < 1
        for connection in (first, second):
            await pool.release(connection)


async def test_short_deadlines_still_find_the_responsive_host(
    database: Clone, stalling_proxy: Proxy, silent: str
) -> None:
    """A caller whose deadline is shorter than the timeout of a connection records that the host was silent."""
    async with open_pool(dsn(database, "app", silent, stalling_proxy.address), SETTINGS) as pool:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1.5):
                await pool.acquire()
        async with asyncio.timeout(1.5):
            await pool.release(await pool.acquire())


async def test_readiness_detects_a_silent_server_and_recovers(database: Clone, stalling_proxy: Proxy) -> None:
    """A server that falls silent makes the process not ready after two seconds, and ready soon after it returns."""
    changes: asyncio.Queue[bool] = asyncio.Queue()
    async with open_store(dsn(database, "app", stalling_proxy.address), SETTINGS) as store:
        readiness = Readiness(store, Metrics(), changes.put, DatabaseClock())
        watching = asyncio.create_task(readiness.watch())
        async with asyncio.timeout(10):
            assert await changes.get()
        stalling_proxy.delay_s = FOREVER_S
        async with asyncio.timeout(PROBE_TIMEOUT_S + 2):
            assert not await changes.get()
        await asyncio.sleep(6)
        assert "did not answer" in readiness.state.reason
        stalling_proxy.delay_s = 0.0
        async with asyncio.timeout(SETTINGS.connect_timeout_s + 4):
            assert await changes.get()
        watching.cancel()


async def test_write_on_a_silent_connection_is_retried_on_another(database: Clone, stalling_proxy: Proxy) -> None:
    """A connection that fell silent is given up once PostgreSQL must have answered; another one does the write."""
    async with open_pool(dsn(database, "app", stalling_proxy.address), SETTINGS) as pool:
        transactions = Transactions(pool)
        used = await pool.acquire()
        await pool.release(used)

        stalling_proxy.delay_s = FOREVER_S
        writing = asyncio.create_task(
            transactions.write(tenant_id("i", "t"), lambda connection: connection.execute(ONE))
        )
        await asyncio.sleep(0.5)
        stalling_proxy.delay_s = 0.0  # for new connections: what the old one holds never arrives
        async with asyncio.timeout(3 * SETTINGS.statement_timeout_s + GRACE_S + 2):
            assert (await writing).scalar_one() == 1
        assert used.lost
        assert pool.in_use == 0


async def test_job_on_a_silent_connection_fails_instead_of_hanging(database: Clone, stalling_proxy: Proxy) -> None:
    """A background job, which has no deadline, ends with an error instead of waiting for hours."""
    async with open_worker_store(dsn(database, "worker", stalling_proxy.address), SETTINGS) as store:
        async with store.acquire("job", Shard(0, 1)) as held:
            assert held is not None
            stalling_proxy.delay_s = FOREVER_S
            with pytest.raises(StoreUnavailable, match="did not answer in time"):
                async with asyncio.timeout(2 * SETTINGS.statement_timeout_s + GRACE_S + 2):
                    await held.unencoded((), ())
        stalling_proxy.delay_s = 0.0
        async with store.acquire("another job", Shard(0, 1)) as again:
            assert again is not None


async def test_cancelled_call_does_not_wait_for_a_silent_server(database: Clone, stalling_proxy: Proxy) -> None:
    """A deadline ends a call and frees its slot in the pool at once: nothing waits for the cancelled statement."""
    async with open_pool(dsn(database, "app", stalling_proxy.address), SETTINGS) as pool:
        transactions = Transactions(pool)
        await transactions.fetch_one(ONE)
        stalling_proxy.delay_s = FOREVER_S
        started = time.monotonic()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(transactions.write(tenant_id("i", "t"), lambda each: each.execute(ONE)), 0.5)
        assert time.monotonic() - started < 1
        assert pool.in_use == 0
