"""The worker's role deletes expired data and everything derived from it, with exact counts and entries in the feed."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from common.errors import NotFound, OutOfRange, StoreUnavailable
from somabrain_service.background.expire_memories import ExpireMemories
from somabrain_service.background.job import BatchResult
from somabrain_service.background.purge_idempotency_keys import PurgeIdempotencyKeys
from somabrain_service.background.trim_change_feed import TrimChangeFeed
from somabrain_service.commands.batch_remember_memories import RememberItem
from somabrain_service.commands.get_namespace import get_namespace
from somabrain_service.commands.watch_memories import watch_memories
from somabrain_service.domain.changes import WatchEvent, WatchQuery
from somabrain_service.domain.memory import Memory, MemoryDraft
from somabrain_service.metrics import Metrics
from somabrain_service.store.maintenance import MaintenanceStore, Shard, WorkerStore
from tests.integration.store.conftest import Brain
from tests.integration.store.jobs import run_until_done
from tests.integration.store.tables import dump, end_sessions, versions
from tests.support.clones import Clone

HOUR = timedelta(hours=1)
ALL = Shard(0, 1)


def now() -> datetime:
    return datetime.now(UTC)


def later() -> datetime:
    """The clock of an expiry run in an hour, when all that expires within the hour has expired."""
    return now() + HOUR


def rows_of(database: Clone, memory: Memory) -> dict[str, int]:
    """Count the rows of a memory in each table; the owner's role sees all rows."""
    number = memory.name.memory
    with psycopg.connect(database.owner_dsn) as owner:
        counts = {}
        for table, column in (
            ("memories", "id"),
            ("memory_revisions", "memory"),
            ("memory_vectors", "memory"),
            ("memory_labels", "memory"),
            ("memory_terms", "memory"),
        ):
            row = owner.execute(f"SELECT count(*) FROM {table} WHERE {column} = %s", [number]).fetchone()
            assert row is not None
            counts[table] = row[0]
        return counts


def counted(database: Clone) -> tuple[object, ...]:
    """Check the stored counts of memories, bytes, tokens, vectors and terms against the rows; return the usage."""
    with psycopg.connect(database.owner_dsn) as owner:
        usage = owner.execute(
            """SELECT sum(memories)::bigint, sum(text_bytes)::bigint, sum(tokens)::bigint, sum(vectors)::bigint
               FROM usage"""
        ).fetchone()
        true = owner.execute(
            """SELECT count(*), coalesce(sum(octet_length(text)), 0)::bigint, coalesce(sum(length), 0)::bigint
               FROM memories"""
        ).fetchone()
        vectors = owner.execute("SELECT count(*) FROM memory_vectors").fetchone()
        terms = owner.execute("SELECT namespace_id, term, df FROM terms ORDER BY 1, 2").fetchall()
        recounted = owner.execute(
            "SELECT namespace_id, term, count(*) FROM memory_terms GROUP BY 1, 2 ORDER BY 1, 2"
        ).fetchall()
    assert usage == (true or ()) + (vectors or ())
    assert terms == recounted
    assert usage is not None
    return usage


async def feed(brain: Brain, cursor: str, count: int) -> list[WatchEvent]:
    """The next `count` changes after a cursor."""
    collected: list[WatchEvent] = []
    query = WatchQuery(brain.parent, cursor, include_memory=True)
    async with aclosing(watch_memories(brain.services, brain.tenant, query)) as events:
        async for event in events:
            if event.change is not None:
                collected.append(event)
            if len(collected) == count:
                return collected
    raise AssertionError("a watch ends only by an error")


async def test_expired_memory_is_deleted_with_its_rows_and_counts(
    brain: Brain, maintenance: MaintenanceStore, database: Clone
) -> None:
    live = await brain.remember("Ada keeps bees.", labels={"k": "v"})
    doomed = await brain.remember("Ada sold the quixotic hive.", labels={"k": "v"}, ttl=HOUR / 2, request_id="r-1")
    await brain.update(doomed.memory, text="Ada sold the quixotic old hive.")
    assert min(rows_of(database, doomed.memory).values()) > 0
    before = counted(database)
    assert [done.rows for done in await run_until_done(ExpireMemories(later, 1), maintenance)] == [1]
    assert set(rows_of(database, doomed.memory).values()) == {0}
    assert min(v for t, v in rows_of(database, live.memory).items() if t != "memory_revisions") > 0
    assert counted(database) != before
    statistics = (await get_namespace(brain.services, brain.tenant, brain.parent))[1]
    assert (statistics.memories, statistics.vectors) == (1, 1)
    stored = await asyncio.to_thread(dump, database)
    assert "bees" in stored
    assert "quixot" not in stored


async def test_unexpired_memory_is_not_deleted(brain: Brain, maintenance: MaintenanceStore) -> None:
    unexpired = await brain.remember("later", ttl=2 * HOUR)
    forever = await brain.remember("forever")
    assert await run_until_done(ExpireMemories(later, 1), maintenance) == [BatchResult(0)]
    assert {memory.name for memory in await brain.list_all()} == {unexpired.memory.name, forever.memory.name}


async def test_memory_made_permanent_before_expiry_is_not_deleted(brain: Brain, maintenance: MaintenanceStore) -> None:
    memory = (await brain.remember("short", ttl=HOUR / 2)).memory
    await brain.update(memory, expire_time=None)
    assert await run_until_done(ExpireMemories(later, 1), maintenance) == [BatchResult(0)]
    assert len(await brain.list_all()) == 1


async def test_change_feed_has_one_version_per_expiry_batch(words: Brain, maintenance: MaintenanceStore) -> None:
    """Expired memories are in the feed in order: one version per batch of a namespace, one ordinal per memory.

    Their events contain no memory.
    """
    first = await words.remember("first")
    cursor = await feed_from_now(words)
    await words.remember("short one", ttl=HOUR / 2)
    await words.remember("short two", ttl=HOUR / 2)
    await run_until_done(ExpireMemories(later, 1), maintenance)
    await words.remember("last")
    events = await feed(words, cursor, 5)
    assert [event.change.type.name for event in events if event.change] == [
        "REMEMBERED",
        "REMEMBERED",
        "EXPIRED",
        "EXPIRED",
        "REMEMBERED",
    ]
    expired = [event for event in events if event.change and event.change.type.name == "EXPIRED"]
    assert [event.memory for event in expired] == [None, None]
    positions = [event.change.position for event in expired if event.change]
    assert positions[0].version == positions[1].version
    assert [position.ordinal for position in positions] == [0, 1]
    assert first.memory.name not in {event.change.name for event in expired if event.change}


async def feed_from_now(brain: Brain) -> str:
    """The cursor of the current end of the feed."""
    query = WatchQuery(brain.parent)
    async with aclosing(watch_memories(brain.services, brain.tenant, query)) as events:
        return (await anext(events)).cursor


async def test_replayed_request_of_expired_memory_writes_nothing_and_has_no_hash(
    words: Brain, maintenance: MaintenanceStore, database: Clone
) -> None:
    await words.remember("short", ttl=HOUR / 2, request_id="r-1")
    await run_until_done(ExpireMemories(later, 1), maintenance)
    with psycopg.connect(database.owner_dsn) as owner:
        assert owner.execute("SELECT body_hash FROM idempotency_keys").fetchall() == [(None,)]
    with pytest.raises(NotFound):
        await words.remember("short", ttl=HOUR / 2, request_id="r-1")
    assert await words.list_all() == []


async def test_expiry_batches_are_bounded_and_cover_every_tenant(
    words: Brain, maintenance: MaintenanceStore, database: Clone
) -> None:
    for tenant in ("a", "b"):
        brain = words.of(tenant)
        if tenant == "b":
            await brain.create(encoder="lexical")
        await asyncio.gather(*(brain.remember(f"short {i}", ttl=HOUR / 2) for i in range(12)))
    assert await maintenance.expire((await maintenance.expired(later(), 1))[0], later(), 5) == 5
    assert counted(database)[0] == 19
    assert sum(done.rows for done in await run_until_done(ExpireMemories(later, 1), maintenance)) == 19
    assert counted(database)[0] == 0
    expired = await maintenance.expired(later(), 10)
    assert expired == []


async def test_shards_partition_the_namespaces(words: Brain, workers: WorkerStore) -> None:
    for name in ("n1", "n2", "n3", "n4"):
        brain = words.at(name)
        await brain.create(encoder="lexical")
        await brain.remember("short", ttl=HOUR / 2)
    namespaces = []
    for number in range(2):
        async with workers.acquire("test", Shard(number, 2)) as session:
            assert session is not None
            namespaces.append({expired.ns for expired in await session.expired(later(), 10)})
    assert namespaces[0].isdisjoint(namespaces[1])
    assert [len(each) for each in namespaces] == [2, 2]


async def test_expiry_concurrent_with_writes_and_deletes_keeps_counts_exact(
    words: Brain, maintenance: MaintenanceStore, database: Clone
) -> None:
    """Counts stay exact while eight tasks write and forget and an expiry run works in the same namespace."""
    stop = asyncio.Event()

    async def write(number: int) -> None:
        for i in range(15):
            ttl = HOUR / 2 if i % 2 else None
            result = await words.remember(f"writer {number} bee {i}", subject=f"s{i % 3}", ttl=ttl)
            if i % 10 == 0:
                await words.forget(result.memory.name)

    async def sweep() -> None:
        while not stop.is_set():
            await ExpireMemories(later, 1).run_once(maintenance)
            await asyncio.sleep(0)

    sweeping = asyncio.create_task(sweep())
    await asyncio.gather(*(write(number) for number in range(8)))
    stop.set()
    await sweeping
    await run_until_done(ExpireMemories(later, 1), maintenance)
    usage = counted(database)
    assert usage[0] == len(await words.list_all()) == 8 * (8 - 2)  # even numbers stay, but 0 and 10 are forgotten


WEEK = timedelta(days=7)
NONE = timedelta(0)


def after_a_week() -> datetime:
    return now() + WEEK + HOUR


async def test_feed_trim_keeps_the_newest_change(words: Brain, maintenance: MaintenanceStore, database: Clone) -> None:
    cursors = []
    for i in range(4):
        await words.remember(f"bee {i}")
        cursors.append(await feed_from_now(words))
    assert await run_until_done(TrimChangeFeed(now, Metrics(), 1), maintenance) == [BatchResult(0)]
    assert sum(done.rows for done in await run_until_done(TrimChangeFeed(after_a_week, Metrics(), 1), maintenance)) == 3
    assert versions(database) == [(4, 0)]
    await words.remember("bee 4")
    assert len(await words.list_all()) == 5
    # Today nothing is past the retention, and yet what is missing is noticed.
    for cursor in cursors[:2]:
        with pytest.raises(OutOfRange, match="export the namespace"):
            await feed(words, cursor, 1)
    events = await feed(words, cursors[2], 2)
    assert [event.change.position.version for event in events if event.change] == [4, 5]


async def test_cursor_within_partially_trimmed_version_is_out_of_range(
    words: Brain, maintenance: MaintenanceStore, database: Clone
) -> None:
    """A cursor is out of range when its version was trimmed in part, as one with more changes than a batch."""
    start = await feed_from_now(words)
    await words.remember_all(*(RememberItem(MemoryDraft(f"bee {i}")) for i in range(6)))
    events = await feed(words, start, 6)
    (due,) = await maintenance.namespaces_to_trim(after_a_week(), NONE, 10)
    assert (await maintenance.trim_changes(due, after_a_week(), NONE, 3)).count == 3
    assert versions(database) == [(1, 3), (1, 4), (1, 5)]
    for cursor in (start, events[0].cursor, events[1].cursor):
        with pytest.raises(OutOfRange):
            await feed(words, cursor, 1)
    assert len(await feed(words, events[3].cursor, 2)) == 2


async def test_feed_is_trimmed_only_from_its_beginning(
    words: Brain, maintenance: MaintenanceStore, database: Clone
) -> None:
    """The feed is trimmed only at its beginning, because the clocks of writers differ."""
    for i in range(4):
        await words.remember(f"bee {i}")
    with psycopg.connect(database.owner_dsn) as owner:
        owner.execute("UPDATE changes SET change_time = %s WHERE version IN (1, 2, 4)", [now() - timedelta(days=8)])
    await run_until_done(TrimChangeFeed(now, Metrics(), 1), maintenance)
    assert versions(database) == [(2, 0), (3, 0), (4, 0)]


async def test_request_ids_are_purged_after_a_day(words: Brain, maintenance: MaintenanceStore, database: Clone) -> None:
    result = await words.remember("bee", request_id="r-1")
    assert await run_until_done(PurgeIdempotencyKeys(now, 1), maintenance) == [BatchResult(0)]
    assert (await words.remember("bee", request_id="r-1")).memory == result.memory
    (done,) = await run_until_done(PurgeIdempotencyKeys(lambda: now() + 25 * HOUR, 1), maintenance)
    assert (done.rows, done.has_more, round(done.lag_s / 3600)) == (1, False, 1)
    with psycopg.connect(database.owner_dsn) as owner:
        assert owner.execute("SELECT count(*) FROM idempotency_keys").fetchone() == (0,)
    assert (await words.remember("bee", request_id="r-1")).memory.name != result.memory.name


async def test_job_lock_is_exclusive_per_shard_and_job(workers: WorkerStore) -> None:
    async with workers.acquire("sweep", ALL) as first:
        assert first is not None
        async with workers.acquire("sweep", ALL) as second:
            assert second is None
        async with workers.acquire("sweep", Shard(1, 2)) as other_shard, workers.acquire("relay", ALL) as other_work:
            assert other_shard is not None
            assert other_work is not None
    async with workers.acquire("sweep", ALL) as after:
        assert after is not None


async def test_lost_maintenance_connection_releases_lock_and_blocks_writes(
    words: Brain, workers: WorkerStore, database: Clone
) -> None:
    await words.remember("short", ttl=HOUR / 2)
    async with workers.acquire("sweep", ALL) as first:
        assert first is not None
        expired = await first.expired(later(), 1)
        end_sessions(database.worker_dsn)
        async with workers.acquire("sweep", ALL) as second:
            assert second is not None
            with pytest.raises(StoreUnavailable):
                await first.expire(expired[0], later(), 10)
            with pytest.raises(StoreUnavailable):
                await first.expire(expired[0], later(), 10)
            assert await second.expire(expired[0], later(), 10) == 1
