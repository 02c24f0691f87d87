"""A touched memory expires later and is otherwise unchanged; sessions and subjects are listed with their counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.errors import InvalidArgument, NotFound
from somabrain_service.commands.batch_remember_memories import RememberItem
from somabrain_service.commands.get_memory import get_memory
from somabrain_service.commands.list_groups import list_groups
from somabrain_service.commands.list_memories import list_memories
from somabrain_service.commands.list_revisions import list_revisions
from somabrain_service.commands.recall_memories import recall_memories
from somabrain_service.commands.touch_memory import touch_memory
from somabrain_service.domain.changes import Position
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory, MemoryDraft
from somabrain_service.domain.names import MemoryRef
from somabrain_service.domain.pagination import GroupField, GroupQuery, ListQuery, MemoryGroup, RevisionQuery
from somabrain_service.domain.recall import RecallQuery
from tests.integration.store.conftest import Brain

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(brain: Brain, seconds: float) -> Brain:
    """The namespace so many seconds after the start."""
    now = START + timedelta(seconds=seconds)
    return replace(brain, services=replace(brain.services, clock=lambda: now))


async def touch(brain: Brain, ref: MemoryRef, seconds: float) -> Memory:
    return await touch_memory(brain.services, brain.tenant, ref, timedelta(seconds=seconds))


async def test_touch_extends_expiry_and_changes_nothing_else(words: Brain) -> None:
    """No revision, no new etag, version or update_time, and nothing in the feed; it is found past its former expiry."""
    stored = (await at(words, 0).remember("bees", key="a", ttl=timedelta(seconds=10))).memory
    assert await at(words, 0).recalled_texts("bees") == ["bees"]
    before = await words.namespace()
    touched = await touch(at(words, 5), words.key("a"), 20)
    assert touched == replace(stored, expire_time=START + timedelta(seconds=25))
    assert touched.etag == stored.etag
    assert (await words.namespace()).version == before.version
    page = await list_revisions(at(words, 6).services, words.tenant, RevisionQuery(stored.name))
    assert page.memories == ()
    async with words.services.store.snapshot(words.tenant, words.parent, START) as snapshot:
        assert await snapshot.changes(Position(before.version), 10) == []
    for second in (9, 10, 11, 24.9):
        assert await at(words, second).recalled_texts("bees") == ["bees"], second
        assert await at(words, second).get("a") == touched
    for second in (25, 26, 60):
        assert await at(words, second).recalled_texts("bees") == [], second
        with pytest.raises(NotFound):
            await at(words, second).get("a")
        with pytest.raises(NotFound):
            await touch(at(words, second), words.key("a"), 100)


async def test_touch_never_shortens_expiry(words: Brain) -> None:
    forever = (await at(words, 0).remember("bees")).memory
    pinned = (await at(words, 0).remember("wasps", pinned=True)).memory
    long = (await at(words, 0).remember("ants", ttl=timedelta(seconds=100))).memory
    for memory in (forever, pinned, long):
        assert await touch(at(words, 1), memory.name, 5) == memory


async def test_memory_touched_by_another_process_is_found_past_its_old_expiry(words: Brain) -> None:
    """Also by an index that has already observed its expiry, while the touch was in flight."""
    stored = (await at(words, 0).remember("bees", ttl=timedelta(seconds=10))).memory
    await at(words, 0).remember("other bees")
    assert len(await at(words, 1).recalled_texts("bees")) == 2
    assert await at(words, 10).recalled_texts("bees") == ["other bees"]
    await touch(at(words, 9.9), stored.name, 100)
    assert sorted(await at(words, 10.1).recalled_texts("bees")) == ["bees", "other bees"]
    assert await at(words, 200).recalled_texts("bees") == ["other bees"]


async def test_refresh_ttl_extends_only_returned_memories(words: Brain) -> None:
    """GetMemory, ListMemories and Recall with a refresh_ttl extend the returned memories, and no others."""
    for number in range(6):
        await at(words, 0).remember(
            f"bees {number}", key=f"k{number}", ttl=timedelta(seconds=10), session="ab"[number % 2]
        )
    version = (await words.namespace()).version
    end, ttl, now = START + timedelta(seconds=31), timedelta(seconds=30), at(words, 1)
    assert (await get_memory(now.services, now.tenant, now.key("k0"), refresh_ttl=ttl)).expire_time == end
    listed = await list_memories(
        now.services, now.tenant, ListQuery(now.parent, filter=MemoryFilter(sessions=("b",))), refresh_ttl=ttl
    )
    assert {memory.expire_time for memory in listed.memories} == {end}
    query = RecallQuery(now.parent, "bees", filter=MemoryFilter(key_prefix="k2"))
    hits = (await recall_memories(now.services, now.tenant, query, refresh_ttl=ttl)).hits
    assert [hit.memory.expire_time for hit in hits] == [end]
    assert sorted(memory.key for memory in await at(words, 12).list_all()) == ["k0", "k1", "k2", "k3", "k5"]
    assert (await words.namespace()).version == version


@pytest.mark.parametrize("ttl", [None, timedelta(0), timedelta(seconds=-1), timedelta(days=3_000_000)])
async def test_invalid_touch_ttl_is_refused(words: Brain, ttl: timedelta | None) -> None:
    stored = (await words.remember("bees", ttl=timedelta(hours=1))).memory
    with pytest.raises(InvalidArgument, match="ttl"):
        await touch_memory(words.services, words.tenant, stored.name, ttl)
    if ttl is not None:
        with pytest.raises(InvalidArgument, match="refresh_ttl"):
            await get_memory(words.services, words.tenant, stored.name, refresh_ttl=ttl)


async def test_touched_memory_keeps_its_key(words: Brain) -> None:
    """Its key is taken until the new expiry, and the expiry job leaves the memory."""
    stored = (await at(words, 0).remember("bees", key="a", ttl=timedelta(seconds=10))).memory
    await touch(at(words, 9), stored.name, 10)
    assert (await at(words, 15).upsert("a", "wasps")).name == stored.name


async def grouped(brain: Brain, group_by: GroupField, **options: object) -> list[MemoryGroup]:
    groups: list[MemoryGroup] = []
    token = ""
    while True:
        query = GroupQuery(brain.parent, group_by, page_token=token, **options)  # type: ignore[arg-type]
        page = await list_groups(brain.services, brain.tenant, query)
        groups += page.groups
        token = page.next_page_token
        if not token:
            return groups


names = st.sampled_from(["", "a", "B", "é", "e\u0301", "a ", "\U0001f41d", "\uffff"])


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drafts=st.lists(st.tuples(names, names, st.sampled_from([None, 5])), max_size=12), page_size=st.integers(1, 4))
async def test_sessions_and_subjects_are_listed_with_counts_and_last_times(
    words: Brain, drafts: list[tuple[str, str, int | None]], page_size: int
) -> None:
    """ListSessions and ListSubjects, in byte order, without expired memories, each once however the pages fall."""
    await words.forget_all()
    items = [
        RememberItem(
            MemoryDraft(
                "x",
                session=session,
                subject=subject,
                ttl=timedelta(seconds=ttl) if ttl else None,
                event_time=START - timedelta(days=number % 5),
            )
        )
        for number, (session, subject, ttl) in enumerate(drafts)
    ]
    if items:
        await at(words, 0).remember_all(*items)
    later = at(words, 6)
    live = await later.list_all()
    for group_by in GroupField:
        values = sorted({getattr(memory, group_by.value) for memory in live} - {""}, key=str.encode)
        expected = [
            MemoryGroup(
                value,
                len(members := [memory for memory in live if getattr(memory, group_by.value) == value]),
                max(memory.event_time for memory in members),
                max(memory.create_time for memory in members),
                max(memory.update_time for memory in members),
            )
            for value in values
        ]
        assert await grouped(later, group_by, page_size=page_size) == expected


async def test_group_lists_apply_filters_and_refuse_foreign_page_tokens(words: Brain) -> None:
    for number in range(6):
        await words.remember(f"x {number}", session=f"s{number % 3}", subject="ada" if number < 3 else "ben")
    of_ada = MemoryFilter(subjects=("ada",))
    assert [(group.value, group.memories) for group in await grouped(words, GroupField.SESSION, filter=of_ada)] == [
        ("s0", 1),
        ("s1", 1),
        ("s2", 1),
    ]
    query = GroupQuery(words.parent, GroupField.SESSION, page_size=1)
    token = (await list_groups(words.services, words.tenant, query)).next_page_token
    for changed in (
        replace(query, page_size=2),
        replace(query, group_by=GroupField.SUBJECT),
        replace(query, filter=of_ada),
    ):
        with pytest.raises(InvalidArgument, match="page_token"):
            await list_groups(words.services, words.tenant, replace(changed, page_token=token))
    for size in (-1, 1001):
        with pytest.raises(InvalidArgument, match="page_size"):
            GroupQuery(words.parent, GroupField.SESSION, page_size=size)
