"""Changes are published as events once, and retained until they are published or their grace period ends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from somabrain_service.background.trim_change_feed import TrimChangeFeed
from somabrain_service.commands.batch_remember_memories import RememberItem
from somabrain_service.commands.delete_namespace import delete_namespace
from somabrain_service.domain.changes import Position
from somabrain_service.domain.memory import MemoryDraft
from somabrain_service.events.cloudevents import EventBatch, PendingChanges, build_deletion_event, build_events
from somabrain_service.metrics import Metrics
from somabrain_service.store.maintenance import MaintenanceStore, Shard, WorkerStore
from tests.integration.store.conftest import Brain
from tests.integration.store.jobs import run_until_done
from tests.integration.store.tables import versions
from tests.support.clones import Clone

WEEK = timedelta(days=7)
MONTH = timedelta(days=30)


def at(days: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=days)


async def publish_pending(maintenance: MaintenanceStore, changes: int = 100) -> list[EventBatch]:
    """Build the events that are due, save their cursors, and return them."""
    batches = [build_events("/s", backlog, at(0)) for backlog in await maintenance.pending_changes(None, 100, changes)]
    batches += [build_deletion_event("/s", deletion, at(0)) for deletion in await maintenance.deleted_namespaces(100)]
    await maintenance.save_cursors(batches)
    return batches


def kinds(batches: list[EventBatch]) -> list[str]:
    return [str(event.document["type"]).split(".")[-2] for batch in batches for event in batch.events]


async def test_published_change_is_not_published_again(words: Brain, maintenance: MaintenanceStore) -> None:
    await words.remember("bee")
    assert kinds(await publish_pending(maintenance)) == ["remembered"]
    assert await maintenance.pending_changes(None, 100, 100) == []
    result = await words.remember("bee")
    await words.forget(result.memory.name)
    assert kinds(await publish_pending(maintenance)) == ["remembered", "forgotten"]
    assert await maintenance.pending_changes(None, 100, 100) == []


async def test_version_larger_than_a_batch_is_published_in_parts(words: Brain, maintenance: MaintenanceStore) -> None:
    await words.remember_all(*(RememberItem(MemoryDraft(f"bee {i}")) for i in range(5)))
    parts = [await publish_pending(maintenance, changes=2) for _ in range(3)]
    assert [len(kinds(part)) for part in parts] == [2, 2, 1]
    assert [part[0].new_cursor.position for part in parts if part[0].new_cursor] == [
        Position(1, 1),
        Position(1, 3),
        Position(1),
    ]
    assert await maintenance.pending_changes(None, 100, 2) == []


async def test_pending_changes_are_paged_by_namespace(words: Brain, maintenance: MaintenanceStore) -> None:
    for name in ("n1", "n2", "n3"):
        brain = words.at(name)
        await brain.create(encoder="lexical")
        await brain.remember("bee")
    pending: list[PendingChanges] = []
    after = None
    while page := await maintenance.pending_changes(after, 2, 100):
        pending += page
        after = (page[-1].tenant, page[-1].ns)
    assert [backlog.name.namespace for backlog in pending] == ["n1", "n2", "n3"]


async def test_shards_publish_disjoint_namespaces(words: Brain, workers: WorkerStore) -> None:
    for name in ("n1", "n2", "n3", "n4"):
        brain = words.at(name)
        await brain.create(encoder="lexical")
        await brain.remember("bee")
    namespaces = []
    for number in range(2):
        async with workers.acquire("test", Shard(number, 2)) as session:
            assert session is not None
            namespaces.append({backlog.ns for backlog in await session.pending_changes(None, 100, 100)})
    assert namespaces[0].isdisjoint(namespaces[1])
    assert [len(each) for each in namespaces] == [2, 2]


async def test_namespace_deletion_is_published_once_and_only_after_other_events(
    words: Brain, maintenance: MaintenanceStore
) -> None:
    for name in ("seen", "unseen"):
        await words.at(name).create(encoder="lexical")
    await words.at("seen").remember("bee")
    assert kinds(await publish_pending(maintenance)) == ["remembered"]
    for name in ("seen", "unseen"):
        brain = words.at(name)
        await brain.remember("bee")
        await delete_namespace(brain.services, brain.tenant, brain.parent)
    (end,) = await publish_pending(maintenance)
    assert (kinds([end]), end.old_cursor.name.namespace) == (["deleted"], "seen")
    assert await publish_pending(maintenance) == []


async def test_new_epoch_is_published_immediately(words: Brain, maintenance: MaintenanceStore, database: Clone) -> None:
    await words.remember("bee")
    await publish_pending(maintenance)
    with psycopg.connect(database.owner_dsn) as owner:
        owner.execute("UPDATE namespaces SET epoch = 'another'")
    (again,) = await publish_pending(maintenance)
    assert kinds([again]) == ["reset"]
    assert again.events[0].document["sequence"] == "0000000000000000001.2147483647"
    assert await publish_pending(maintenance) == []


@pytest.mark.parametrize("grace_period", [None, MONTH], ids=["no events", "events"])
async def test_unpublished_changes_are_trimmed_only_without_grace_period(
    words: Brain, maintenance: MaintenanceStore, database: Clone, grace_period: timedelta | None
) -> None:
    for i in range(4):
        await words.remember(f"bee {i}")
    metrics = Metrics()
    await run_until_done(TrimChangeFeed(lambda: at(8), metrics, 1, grace_period), maintenance)
    assert versions(database) == ([(4, 0)] if grace_period is None else [(1, 0), (2, 0), (3, 0), (4, 0)])
    assert b"somabrain_events_lost_total 0.0" in metrics.exposition()


async def test_changes_are_trimmed_once_published(words: Brain, maintenance: MaintenanceStore, database: Clone) -> None:
    await words.remember_all(*(RememberItem(MemoryDraft(f"bee {i}")) for i in range(4)))
    await publish_pending(maintenance, changes=2)
    await run_until_done(TrimChangeFeed(lambda: at(8), Metrics(), 1, MONTH), maintenance)
    assert versions(database) == [(1, 1), (1, 2), (1, 3)]
    await publish_pending(maintenance)
    await run_until_done(TrimChangeFeed(lambda: at(8), Metrics(), 1, MONTH), maintenance)
    assert versions(database) == [(1, 3)]


async def test_unpublished_changes_past_grace_period_are_trimmed_and_counted(
    words: Brain, maintenance: MaintenanceStore, database: Clone
) -> None:
    await words.remember("told")
    await publish_pending(maintenance)
    for i in range(4):
        await words.remember(f"bee {i}")
    metrics = Metrics()
    await run_until_done(TrimChangeFeed(lambda: at(38), metrics, 1, MONTH), maintenance)
    assert versions(database) == [(5, 0)]
    assert b"somabrain_events_lost_total 3.0" in metrics.exposition()
    assert kinds(await publish_pending(maintenance)) == ["reset", "remembered"]
