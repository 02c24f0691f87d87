"""A tenant's storage limit applies exactly over all its namespaces, also under concurrent writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from common.config.settings import DatabaseSettings
from common.errors import ResourceExhausted, SomaBrainError
from somabrain_service.commands.batch_remember_memories import RememberItem, batch_remember_memories
from somabrain_service.commands.get_namespace import get_namespace
from somabrain_service.commands.shared.context import AppContext, utc_now
from somabrain_service.domain import limits
from somabrain_service.domain.memory import Memory, MemoryDraft
from somabrain_service.domain.names import NamespaceName, TenantId, tenant_id
from somabrain_service.domain.quota import StorageUsage
from somabrain_service.flags.registry import FixedFlags, Flags
from somabrain_service.store.open import open_store
from somabrain_service.store.postgres.driver.connect import open_pool
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.transactions import Transactions
from somabrain_service.store.postgres.storage_quota import StorageQuota
from tests.integration.store.conftest import Brain
from tests.support.clones import Clone

TENANT = tenant_id("https://issuer.test", "a")


@asynccontextmanager
async def replica(
    database: Clone, allowed: StorageUsage, *, writers: int = 16, clock: Callable[[], datetime] = utc_now
) -> AsyncIterator[Brain]:
    """Open the store of one process of the service."""

    def allow(tenant: TenantId) -> StorageUsage:
        return allowed if tenant == TENANT else StorageUsage()

    flags = FixedFlags(Flags(memories=allowed.memories, text_bytes=allowed.text_bytes))
    async with open_store(database.app_dsn, DatabaseSettings(), StorageQuota(allow, writers)) as store:
        services = AppContext(store, {}, "lexical", flags=flags, clock=clock)
        yield Brain(services, TENANT, NamespaceName.of("n0"))


async def count_accepted(*writes: asyncio.Task[object]) -> int:
    """Count the writes that succeeded; the others must have exceeded the quota."""
    ended = await asyncio.gather(*writes, return_exceptions=True)
    refused = [item for item in ended if isinstance(item, BaseException)]
    assert all(isinstance(item, ResourceExhausted) for item in refused), refused
    return len(ended) - len(refused)


@pytest.mark.parametrize("writers", [1, 16])
async def test_concurrent_writers_fill_the_quota_exactly(database: Clone, writers: int) -> None:
    """Many writers of two processes fill several namespaces up to exactly the limit.

    With one expected writer they take turns only near the limit, with many from the beginning.
    """
    allowed = StorageUsage(memories=530)
    async with (
        replica(database, allowed, writers=writers) as one,
        replica(database, allowed, writers=writers) as other,
    ):
        names = [f"n{number}" for number in range(4)]
        for name in names:
            await one.at(name).create()
        before = await one.remember_all(*(RememberItem(MemoryDraft(f"memory {number}")) for number in range(20)))
        assert len(before) == 20
        stored = 20
        async with asyncio.timeout(60):
            while stored < 530:
                tasks = [
                    asyncio.create_task(brain.at(name).remember(f"memory {number}"))
                    for number in range(10)
                    for name in names
                    for brain in (one, other)
                ]
                stored += await count_accepted(*tasks)
        counted = [(await get_namespace(one.services, TENANT, NamespaceName.of(name)))[1] for name in names]
        assert sum(statistics.memories for statistics in counted) == 530
        assert counted[0].tenant_memories == 530
        assert counted[0].tenant_limit == allowed
        with pytest.raises(
            ResourceExhausted, match="may store 530 memories in all and stores 530; 1 more exceed the limit"
        ):
            await other.remember("one more")


async def test_batch_is_admitted_item_by_item_within_quota(database: Clone) -> None:
    async with replica(database, StorageUsage(memories=3)) as brain:
        await brain.create()
        items = [RememberItem(MemoryDraft(f"memory {number}"), request_id=f"r{number}") for number in range(5)]
        done = await batch_remember_memories(brain.services, TENANT, brain.parent, items)
        assert [isinstance(result, Memory) for result in done.results] == [True, True, True, False, False]
        assert {result.quota for result in done.results if isinstance(result, ResourceExhausted)} == {"memories"}
        again = await batch_remember_memories(brain.services, TENANT, brain.parent, items)
        assert again.results[:3] == done.results[:3], "what was answered before is answered so again"
        await brain.forget(done.results[0].name)  # type: ignore[union-attr]
        once_more = await batch_remember_memories(brain.services, TENANT, brain.parent, items[3:])
        assert [isinstance(result, Memory) for result in once_more.results] == [True, False]


async def test_text_bytes_count_and_growing_update_is_refused(database: Clone) -> None:
    async with replica(database, StorageUsage(text_bytes=20)) as brain:
        await brain.create()
        stored = (await brain.remember("0123456789", request_id="r")).memory
        assert (await brain.update(stored, text="ünd so weiter 20")).memory.text == "ünd so weiter 20"
        with pytest.raises(ResourceExhausted) as caught:
            await brain.update((await brain.list_all())[0], text="x" * 21)
        assert (caught.value.quota, caught.value.limit) == ("text_bytes", 20)
        with pytest.raises(ResourceExhausted, match="stores 17; 4 more exceed the limit"):
            await brain.remember("four")
        await brain.remember("333")
        shorter = (await brain.update((await brain.list_all())[0], text="short")).memory
        assert shorter.text == "short"
        assert (await brain.remember("0123456789", request_id="r")).memory.text == "short", "a replay writes nothing"


async def test_write_over_quota_leaves_nothing_behind(database: Clone) -> None:
    async with replica(database, StorageUsage(memories=1)) as brain:
        await brain.create()
        await brain.remember("first")
        for _ in range(2):
            with pytest.raises(ResourceExhausted):
                await brain.remember("second", request_id="r", session="s")
        assert [memory.text for memory in await brain.list_all()] == ["first"]
        await brain.forget((await brain.list_all())[0].name)
        assert (await brain.remember("second", request_id="r", session="s")).memory.session_position == 0


async def test_expired_memories_do_not_count_for_the_quota(database: Clone) -> None:
    now = [datetime.now(UTC)]
    async with replica(database, StorageUsage(memories=1, text_bytes=5), clock=lambda: now[0]) as brain:
        await brain.create()
        await brain.remember("first", ttl=timedelta(minutes=1))
        with pytest.raises(ResourceExhausted):
            await brain.remember("later")
        now[0] += timedelta(minutes=2)
        await brain.remember("later")


async def test_storage_quotas_of_tenants_are_independent(database: Clone) -> None:
    async with replica(database, StorageUsage(memories=1)) as brain:
        other = replace(brain, tenant=tenant_id("https://issuer.test", "b"))
        for one in (brain, other):
            await one.create()
        for number in range(3):
            await other.remember(f"memory {number}")
        await brain.remember("its own")
        with pytest.raises(SomaBrainError):
            await brain.remember("one more")


async def test_exclusive_quota_check_waits_for_shared_writers(database: Clone) -> None:
    """Near the limit a write waits for those that began without checking the usage, before it checks it."""
    stocks = StorageQuota(lambda _: StorageUsage(memories=limits.MAX_BATCH_ITEMS + 10), writers=1)
    now = utc_now()
    async with await psycopg.AsyncConnection.connect(database.owner_dsn, autocommit=True) as watching:

        async def waiting() -> bool:
            cursor = await watching.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted "
                "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
            )
            return (await cursor.fetchone()) == (1,)

        async with open_pool(database.app_dsn, DatabaseSettings()) as pool:
            transactions, entered, leave = Transactions(pool), asyncio.Event(), asyncio.Event()

            async def far(connection: Connection) -> None:
                assert await stocks.headroom(connection, TENANT, StorageUsage(memories=1), now) is None
                entered.set()
                await leave.wait()

            async def near(connection: Connection) -> StorageUsage | None:
                room = await stocks.headroom(connection, TENANT, StorageUsage(memories=limits.MAX_BATCH_ITEMS), now)
                return None if room is None else room.used

            async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
                tasks.create_task(transactions.write(TENANT, far))
                await entered.wait()
                alone = tasks.create_task(transactions.write(TENANT, near))
                while not await waiting():  # noqa: ASYNC110 - PostgreSQL tells nobody
                    await asyncio.sleep(0.02)
                assert not alone.done()
                leave.set()
                assert await alone == StorageUsage()
