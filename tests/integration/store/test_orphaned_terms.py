"""Terms without a memory, left by deletions before 0.2, are removed, and their counts corrected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from common.config.settings import DatabaseSettings
from somabrain_service.background.remove_orphaned_terms import PAGE_INTERVAL_S, RemoveOrphanedTerms
from somabrain_service.commands.watch_memories import watch_memories
from somabrain_service.domain.changes import ChangeType, WatchQuery
from somabrain_service.store.maintenance import MaintenanceStore, OrphanedTerms, Shard, TermPosition
from somabrain_service.store.open import open_worker_store
from tests.integration.store.conftest import Brain
from tests.integration.store.tables import counted_exactly
from tests.support.clones import Clone

IDLE_S = 10.0


@pytest.fixture
async def maintenance(database: Clone) -> AsyncIterator[MaintenanceStore]:
    async with (
        open_worker_store(database.worker_dsn, DatabaseSettings()) as store,
        store.acquire("test", Shard(0, 1)) as session,
    ):
        assert session is not None
        yield session


@pytest.fixture
def owner(database: Clone) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.owner_dsn, autocommit=True) as connection:
        yield connection


def plant(owner: psycopg.Connection, brain: Brain, number: int, memories: range, *terms: str) -> None:
    """Leave the result of the race: terms of deleted memories, counted in `terms`, and a vector counted in `usage`."""
    for memory in memories:
        for term in terms:
            key = [brain.tenant, number, term]
            owner.execute("INSERT INTO memory_terms VALUES (%s, %s, %s, %s, 1, 2)", [*key, memory])
            owner.execute(
                "INSERT INTO terms VALUES (%s, %s, %s, 1) "
                "ON CONFLICT (tenant_id, namespace_id, term) DO UPDATE SET df = terms.df + 1",
                key,
            )
    owner.execute(
        "UPDATE usage SET vectors = vectors + 1 WHERE tenant_id = %s AND namespace_id = %s", [brain.tenant, number]
    )


async def run_pass(job: RemoveOrphanedTerms, store: MaintenanceStore) -> int:
    """Run the job until its pass is over, and return for how many memories it removed terms."""
    removed = (await job.run_once(store)).rows
    while job.interval_s == PAGE_INTERVAL_S:
        removed += (await job.run_once(store)).rows
    return removed


async def test_orphaned_terms_are_deleted_and_counts_corrected(
    brain: Brain, maintenance: MaintenanceStore, owner: psycopg.Connection, database: Clone
) -> None:
    """In each tenant's namespaces: no term without a memory, exact counts, other terms unchanged."""
    for each in (brain, brain.at("second"), brain.of("other")):
        if each is not brain:
            await each.create()
        for number in range(3):
            await each.remember(f"The heron number {number} stands in the reeds.")
    before = await brain.recall("heron")
    for each in (brain, brain.of("other")):
        plant(owner, each, (await each.namespace()).number, range(10, 40), "heron", "vanish")
    with pytest.raises(AssertionError):
        counted_exactly(database)
    job = RemoveOrphanedTerms(lambda: datetime.now(UTC), IDLE_S)
    assert await run_pass(job, maintenance) == 60
    counted_exactly(database)
    after = await brain.recall("heron")
    assert [(hit.memory.text, hit.score) for hit in after.hits] == [(h.memory.text, h.score) for h in before.hits]
    assert owner.execute("SELECT count(*) FROM terms WHERE term = 'vanish'").fetchone() == (0,)


async def test_pass_without_orphans_changes_nothing(
    brain: Brain, maintenance: MaintenanceStore, owner: psycopg.Connection, database: Clone
) -> None:
    await brain.remember("The heron stands in the reeds.")
    version = (await brain.namespace()).version
    assert await run_pass(RemoveOrphanedTerms(lambda: datetime.now(UTC), IDLE_S), maintenance) == 0
    assert (await brain.namespace()).version == version
    counted_exactly(database)


async def test_next_orphan_pass_runs_a_day_later(
    brain: Brain, maintenance: MaintenanceStore, owner: psycopg.Connection, database: Clone
) -> None:
    """Terms that a pod of an earlier version left after the first pass are removed by the next one."""
    ahead = timedelta(0)
    job = RemoveOrphanedTerms(lambda: datetime.now(UTC) + ahead, IDLE_S)
    await run_pass(job, maintenance)
    plant(owner, brain, (await brain.namespace()).number, range(10, 11), "late")
    ahead = timedelta(hours=23)
    assert await run_pass(job, maintenance) == 0
    ahead = timedelta(hours=25)
    assert await run_pass(job, maintenance) == 1
    counted_exactly(database)


async def test_orphan_scan_pages_cover_every_namespace_once(
    brain: Brain, maintenance: MaintenanceStore, owner: psycopg.Connection, database: Clone
) -> None:
    """Pages far smaller than a memory's terms find every orphan of every namespace once."""
    expected = set()
    for each in (brain, brain.at("second"), brain.of("other")):
        if each is not brain:
            await each.create()
        await each.remember("The heron stands in the reeds by the river.")
        number = (await each.namespace()).number
        plant(owner, each, number, range(10, 14), "heron", "reed")
        expected |= {(each.tenant, number, memory) for memory in range(10, 14)}
    found: list[tuple[object, int, int]] = []
    position: TermPosition | None = None
    while page := await maintenance.next_terms(position, 3):
        position = page.end
        found += [(each.tenant, each.ns, memory) for each in page.orphans for memory in each.memories]
        for orphaned in page.orphans:
            await maintenance.remove_orphaned_terms(orphaned, datetime.now(UTC))
    assert sorted(map(str, found)) == sorted(map(str, expected))


async def test_live_memory_keeps_its_terms(brain: Brain, maintenance: MaintenanceStore, database: Clone) -> None:
    """Even if it is named as an orphan: the statement that deletes checks again."""
    memory = (await brain.remember("The heron stands in the reeds.")).memory
    namespace = await brain.namespace()
    named = OrphanedTerms(brain.tenant, namespace.number, (int(memory.name.memory), 99))
    assert await maintenance.remove_orphaned_terms(named, datetime.now(UTC)) == 0
    assert await brain.recalled_texts("heron") == ["The heron stands in the reeds."]
    counted_exactly(database)


async def test_orphan_removal_is_invisible_to_writers_and_watchers(
    brain: Brain, maintenance: MaintenanceStore, owner: psycopg.Connection, database: Clone
) -> None:
    """Counts stay exact while others write, and a watch from before shows their memories alone."""
    number = (await brain.namespace()).number
    cursor = ""
    async with aclosing(watch_memories(brain.services, brain.tenant, WatchQuery(brain.parent))) as events:
        async for event in events:
            cursor = event.cursor
            break
    plant(owner, brain, number, range(10, 200), "heron", "reed")
    job = RemoveOrphanedTerms(lambda: datetime.now(UTC), IDLE_S)
    removed, *written = await asyncio.gather(
        run_pass(job, maintenance), *(brain.remember(f"The heron {i} stands in the reeds.") for i in range(20))
    )
    assert removed == 190
    counted_exactly(database)
    assert len(await brain.recalled_texts("heron", top_k=50)) == len(written) == 20
    seen: list[ChangeType] = []
    async with aclosing(watch_memories(brain.services, brain.tenant, WatchQuery(brain.parent, cursor))) as events:
        async for event in events:
            seen += [] if event.change is None else [event.change.type]
            if len(seen) == len(written):
                break
    assert set(seen) == {ChangeType.REMEMBERED}
