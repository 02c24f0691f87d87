"""Erased subjects and deleted namespaces leave no trace in the live database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import psycopg
import pytest

from common.errors import Aborted, AlreadyExists, FailedPrecondition, InvalidArgument, NotFound
from somabrain_service.background.expire_memories import ExpireMemories
from somabrain_service.commands.delete_namespace import delete_namespace
from somabrain_service.commands.erase_subject import EraseSubjectResult, erase_subject
from somabrain_service.commands.get_namespace import get_namespace
from somabrain_service.commands.shared.context import utc_now
from somabrain_service.store.maintenance import MaintenanceStore
from tests.integration.store.conftest import Brain
from tests.integration.store.jobs import run_until_done
from tests.integration.store.tables import counted_exactly, dump, wait_for_lock_waiters
from tests.support.clones import Clone

WORDS = ("zanzibarit", "xylograph", "quinacridone", "wollstonecraft", "s-hidden")


async def erase(brain: Brain, subject: str, request_id: str = "") -> EraseSubjectResult:
    return await erase_subject(brain.services, brain.tenant, brain.parent, subject, request_id=request_id)


async def erased(brain: Brain) -> None:
    await erase(brain, "wollstonecraft")


async def delete(brain: Brain, **fields: str | bool) -> None:
    await delete_namespace(brain.services, brain.tenant, brain.parent, **fields)  # type: ignore[arg-type]


async def fill(brain: Brain) -> None:
    await brain.remember("The meadow hums.", session="s", labels={"place": "meadow"}, subject="ann")
    for number in range(3):
        await brain.remember(
            f"The zanzibarite meadow is worth {number} xylographs.",
            session="s-hidden",
            labels={"colour": "quinacridone"},
            subject="wollstonecraft",
            request_id=f"r{number}",
        )


def copy_to_revisions(database: Clone) -> None:
    """Copy each memory into its revisions, as a former state."""
    with psycopg.connect(database.owner_dsn) as owner:
        rows = owner.execute(
            """SELECT tenant_id, namespace_id, id, revision, text, kind, session, position, subject,
               CAST(labels AS text), event_time, create_time, update_time, salience, expire_time, pinned
               FROM memories"""
        ).fetchall()
        for row in rows:
            owner.execute(f"INSERT INTO memory_revisions VALUES ({', '.join(['%s'] * len(row))})", row)


@pytest.mark.parametrize("delete_batch_size", [1, 2, 1000])
async def test_backup_contains_no_word_about_an_erased_subject(brain: Brain, database: Clone) -> None:
    await fill(brain)
    copy_to_revisions(database)
    with psycopg.connect(database.owner_dsn) as owner:  # a memory that was about another one before
        owner.execute(
            "UPDATE memory_revisions SET subject = 'wollstonecraft', text = 'A xylograph.' WHERE subject = 'ann'"
        )
    before = dump(database)
    assert [word for word in WORDS if word not in before] == []
    assert (await erase(brain, "wollstonecraft")).count == 3
    after = dump(database)
    assert [word for word in WORDS if word in after] == []
    assert "meadow" in after
    counted_exactly(database)
    assert [memory.subject for memory in await brain.list_all()] == ["ann"]
    assert (await brain.recall("meadow")).degraded == ()


async def test_erasure_is_one_version_with_a_change_per_memory(brain: Brain, database: Clone) -> None:
    await fill(brain)
    ids = [memory.name.memory for memory in await brain.list_all() if memory.subject != "ann"]
    erased = await erase(brain, "wollstonecraft")
    assert len(await brain.list_all(consistency_token=erased.consistency_token)) == 1
    with psycopg.connect(database.owner_dsn) as owner:
        feed = owner.execute("SELECT version, ordinal, memory FROM changes WHERE type = 3 ORDER BY 1, 2").fetchall()
    assert feed == [(5, ordinal, memory) for ordinal, memory in enumerate(ids)]


async def test_repeated_erasure_replays_count_and_spares_later_memories(brain: Brain) -> None:
    await fill(brain)
    assert (await erase(brain, "nobody", "e0")).count == 0
    first = await erase(brain, "wollstonecraft", "e")
    await brain.remember("Anew.", subject="wollstonecraft")
    assert [(await erase(brain, "nobody", "e0")).count, (await erase(brain, "wollstonecraft", "e")).count] == [0, 3]
    assert first.count == 3
    assert len(await brain.list_all()) == 2
    with pytest.raises(AlreadyExists, match="request_id"):
        await erase(brain, "ann", "e")
    with pytest.raises(NotFound, match="since been forgotten"):
        await brain.remember(
            "The zanzibarite meadow is worth 0 xylographs.",
            session="s-hidden",
            labels={"colour": "quinacridone"},
            subject="wollstonecraft",
            request_id="r0",
        )
    with pytest.raises(InvalidArgument, match="subject"):
        await erase(brain, "")


async def test_erasure_deletes_and_counts_expired_memories(brain: Brain, database: Clone) -> None:
    await brain.remember("A zanzibarite.", subject="ann", ttl=timedelta(milliseconds=20))
    await asyncio.sleep(0.05)
    assert await brain.list_all() == []
    assert (await erase(brain, "ann")).count == 1
    assert "zanzibarit" not in dump(database)
    counted_exactly(database)


async def test_concurrent_erasures_writes_and_deletes_keep_counts_exact(words: Brain, database: Clone) -> None:
    results = [await words.remember(f"Bee {number}.", subject="ann") for number in range(6)]
    await asyncio.gather(
        erase(words, "ann"),
        *(words.remember(f"Wasp {number}.", subject="ann", session="s") for number in range(6)),
        *(words.forget(one.memory.name, allow_missing=True) for one in results[:3]),
        erase(words, "ann"),
    )
    counted_exactly(database)
    await erase(words, "ann")
    assert await words.list_all() == []
    counted_exactly(database)
    with psycopg.connect(database.owner_dsn) as owner:
        kinds = owner.execute("SELECT type, count(DISTINCT memory), count(*) FROM changes GROUP BY 1 ORDER BY 1")
        assert kinds.fetchall() == [(1, 12, 12), (3, 12, 12)]


@pytest.mark.parametrize("whole_namespace", [False, True])
async def test_namespace_deletion_waiting_for_update_leaves_no_terms(
    words: Brain, database: Clone, *, whole_namespace: bool
) -> None:
    """A deletion that begins while a memory is updated also deletes the terms that the update writes."""
    memory = (await words.remember("The meadow hums.", subject="wollstonecraft")).memory
    async with await psycopg.AsyncConnection.connect(database.owner_dsn) as holder:
        await holder.execute("SELECT FROM memories WHERE tenant_id = %s FOR UPDATE", [words.tenant])
        update = asyncio.create_task(words.update(memory, text="A zanzibarite."))
        await wait_for_lock_waiters(database, 1)
        deletion = asyncio.create_task(delete(words) if whole_namespace else erased(words))
        await wait_for_lock_waiters(database, 2)
    await asyncio.gather(update, deletion)
    assert "zanzibarit" not in dump(database)
    counted_exactly(database)


async def test_expiry_skips_memory_locked_by_update_until_next_run(
    words: Brain, maintenance: MaintenanceStore, database: Clone
) -> None:
    """Expiry does not wait for an update: it deletes the memory afterwards, with the terms of its new text."""
    expiry = ExpireMemories(lambda: utc_now() + timedelta(hours=2), 1)
    memory = (await words.remember("The meadow hums.", ttl=timedelta(hours=1))).memory
    async with await psycopg.AsyncConnection.connect(database.owner_dsn) as holder:
        await holder.execute("SELECT FROM memories WHERE tenant_id = %s FOR UPDATE", [words.tenant])
        update = asyncio.create_task(words.update(memory, text="A zanzibarite."))
        await wait_for_lock_waiters(database, 1)
        assert [done.rows for done in await run_until_done(expiry, maintenance)] == [0]
    await update
    assert [done.rows for done in await run_until_done(expiry, maintenance)] == [1]
    assert "zanzibarit" not in dump(database)
    counted_exactly(database)


async def test_deleted_namespace_leaves_no_row_and_old_tokens_are_invalid(
    brain: Brain, words: Brain, database: Clone
) -> None:
    await fill(brain)
    copy_to_revisions(database)
    spared = await words.remember("The meadow stays.", request_id="w")
    token = (await brain.remember("Bees dance.", request_id="b")).consistency_token
    await erase(brain, "nobody", "n")
    old, _ = await get_namespace(brain.services, brain.tenant, brain.parent)
    with pytest.raises(Aborted, match="etag"):
        await delete(brain, etag="old")
    assert len(await brain.list_all()) == 5
    await delete(brain, etag=old.etag, request_id="d")
    assert [word for word in (*WORDS, "hums", "ann", "danc") if word in dump(database)] == []
    assert [memory.name for memory in await words.list_all()] == [spared.memory.name]
    counted_exactly(database)
    with pytest.raises(NotFound):
        await brain.recall("bees")
    with pytest.raises(NotFound):
        await brain.remember("Bees dance.")
    await delete(brain, etag=old.etag, request_id="d")
    with pytest.raises(AlreadyExists, match="request_id"):
        await delete(brain, request_id="d")
    with pytest.raises(NotFound):
        await delete(brain)
    await delete(brain, allow_missing=True)

    new = await brain.create()
    assert new.epoch != old.epoch
    with pytest.raises(FailedPrecondition, match="recreated"):
        await brain.recall("bees", consistency_token=token)
    await delete(brain, etag=old.etag, request_id="d")  # the answer of then
    with pytest.raises(NotFound, match="since been forgotten"):
        await brain.remember("Bees dance.", request_id="b")
    await brain.remember("Wasps dance.")
    assert await brain.recalled_texts("dance") == ["Wasps dance."]


async def test_concurrent_writes_and_namespace_deletion_leave_no_rows(words: Brain, database: Clone) -> None:
    await asyncio.gather(*(words.remember(f"Bee {number}.") for number in range(4)))
    results = await asyncio.gather(
        delete(words, request_id="d"),
        delete(words, request_id="d"),
        *(words.remember(f"Wasp {number}.", session="s") for number in range(8)),
        return_exceptions=True,
    )
    assert results[:2] == [None, None]
    assert {type(result).__name__ for result in results[2:]} <= {"NotFound", "RememberResult"}
    with psycopg.connect(database.owner_dsn) as owner:
        for table in (
            "namespaces",
            "usage",
            "memories",
            "memory_terms",
            "memory_vectors",
            "memory_token_vectors",
            "terms",
            "changes",
        ):
            (count,) = owner.execute(f"SELECT count(*) FROM {table}").fetchone() or (None,)
            assert count == 0, table


async def test_statistics_are_exact_without_expired_memories(brain: Brain, words: Brain) -> None:
    await brain.remember("Bees dance.", session="s")
    await brain.remember("Bees sing.", session="s")
    await brain.remember("A hive.", session="t")
    before = (await get_namespace(brain.services, brain.tenant, brain.parent))[1]
    await brain.remember("Bees vanish soon.", session="u", ttl=timedelta(milliseconds=20))
    await words.remember("Wörter.")
    await asyncio.sleep(0.05)
    namespace, after = await get_namespace(brain.services, brain.tenant, brain.parent)
    texts = ("Bees dance.", "Bees sing.", "A hive.")
    assert (after.memories, after.text_bytes) == (3, sum(map(len, texts)))
    assert (after.vectors, after.unencoded, after.sessions, after.terms) == (3, 0, 2, before.terms)
    assert (after.tenant_memories, after.tenant_bytes) == (4, after.text_bytes + len("Wörter.".encode()))
    assert namespace.version == 4
    voiceless = replace(brain, services=replace(brain.services, encoders={}))
    await voiceless.remember("No vector.")
    later = (await get_namespace(brain.services, brain.tenant, brain.parent))[1]
    assert (later.memories, later.vectors, later.unencoded) == (4, 3, 1)
    plain = (await get_namespace(words.services, words.tenant, words.parent))[1]
    assert (plain.memories, plain.vectors, plain.unencoded) == (1, 0, 0)
