"""A key that the caller chose names one live memory of its namespace, byte for byte, also under concurrency."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from common.errors import Aborted, AlreadyExists, InvalidArgument, NotFound, ResourceExhausted, SomaBrainError
from somabrain_service.commands.batch_remember_memories import RememberItem, batch_remember_memories
from somabrain_service.commands.list_memories import list_memories
from somabrain_service.commands.list_revisions import list_revisions
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory, MemoryDraft
from somabrain_service.domain.names import MemoryKey
from somabrain_service.domain.pagination import ListQuery, Order, RevisionQuery
from tests.integration.store.conftest import Brain

WRITERS = 32
BY_KEY = Order.parse("key")


def at(brain: Brain, clock: Callable[[], datetime]) -> Brain:
    """The same namespace at another time."""
    return replace(brain, services=replace(brain.services, clock=clock))


async def outcomes(*calls: object) -> list[object]:
    return list(await asyncio.gather(*calls, return_exceptions=True))  # type: ignore[call-overload]


async def test_key_addresses_its_memory_in_every_call(words: Brain) -> None:
    """Get, update, revisions and forget work by key as by name, and the memory has its key in each answer."""
    stored = (await words.remember("bees", key="notes/a.md")).memory
    assert stored.key == "notes/a.md"
    assert await words.get("notes/a.md") == stored
    changed = await words.upsert("notes/a.md", "wasps")
    assert (changed.name, changed.revision, changed.key) == (stored.name, 2, "notes/a.md")
    page = await list_revisions(words.services, words.tenant, RevisionQuery(words.key("notes/a.md")))
    assert [(former.text, former.key) for former in page.memories] == [("bees", "notes/a.md")]
    await words.forget(words.key("notes/a.md"))
    with pytest.raises(NotFound):
        await words.get("notes/a.md")
    assert await words.list_all() == []


async def test_taken_key_is_refused_with_name_of_its_memory(words: Brain) -> None:
    holder = (await words.remember("bees", key="a")).memory
    other = (await words.remember("wasps", key="b")).memory
    for attempt in (
        words.remember("ants", key="a"),
        words.update(other, key="a"),
        words.upsert("a", "x", etag="absent"),
    ):
        with pytest.raises(AlreadyExists) as caught:
            await attempt
        assert caught.value.holder == str(holder.name)
        assert str(holder.name) in caught.value.message
    assert [await words.get("a"), await words.get("b")] == [holder, other]


async def test_duplicate_key_in_a_batch_fails_alone(words: Brain) -> None:
    """A duplicate within a batch, and a key that is taken, fail alone; the other items are stored."""
    held = (await words.remember("held", key="held")).memory
    items = [RememberItem(MemoryDraft(f"text {key}", key=key)) for key in ("a", "b", "a", "held", "")]
    batch = await batch_remember_memories(words.services, words.tenant, words.parent, items)
    first = batch.results[0]
    assert isinstance(first, Memory)
    holders = [result.holder if isinstance(result, AlreadyExists) else "" for result in batch.results]
    assert holders == ["", "", str(first.name), str(held.name), ""]
    assert sorted(memory.key for memory in await words.list_all()) == ["", "a", "b", "held"]


async def test_stale_etag_neither_updates_nor_creates(words: Brain) -> None:
    stored = await words.upsert("a", "one", etag="absent")
    changed = await words.upsert("a", "two", etag=stored.etag)
    with pytest.raises(Aborted):
        await words.upsert("a", "three", etag=stored.etag)
    assert await words.get("a") == changed
    await words.forget(words.key("a"), etag=changed.etag)
    with pytest.raises(Aborted):
        await words.upsert("a", "three", etag=changed.etag)
    assert await words.list_all() == []


async def test_keys_are_compared_byte_by_byte(words: Brain) -> None:
    """Keys that differ in case, normalisation, trailing space or a control character are different keys."""
    keys = ["a", "A", "a ", "a\n", "a\x01", "é", "e\u0301", "a/b", "a//b", "\U0010ffff", "\U0010ffff!", "k" * 2048]
    for key in keys:
        await words.upsert(key, f"text of {key!r}"[:60], etag="absent")
    assert {(await words.get(key)).key for key in keys} == set(keys)
    assert len(await words.list_all()) == len(keys)


@pytest.mark.parametrize("page_size", [1, 3, 1000])
@pytest.mark.parametrize("way", ["", " desc"])
async def test_keys_are_listed_by_prefix_in_byte_order(words: Brain, way: str, page_size: int) -> None:
    """Pages by key contain each key with the prefix once, in byte order, and no memory without a key."""
    keys = ["a", "a/", "a/b", "a/b\n", "a/é", "a/\U0001f41d", "a/\uffff", "a0", "b", "é", "k" * 2048]
    await words.remember_all(*(RememberItem(MemoryDraft("text", key=key)) for key in [*keys, "", ""]))
    for prefix in ("", "a", "a/", "a/\uffff", "k" * 2048, "none"):
        listed = await words.list_all(
            page_size=page_size, order=Order.parse(f"key{way}"), filter=MemoryFilter(key_prefix=prefix)
        )
        wanted = sorted((key for key in keys if key.startswith(prefix)), key=str.encode, reverse=bool(way))
        assert [memory.key for memory in listed] == wanted


async def test_recall_with_key_prefix_finds_only_matching_memories(words: Brain) -> None:
    for key in ("ada/1", "ada/2", "adam", ""):
        await words.remember(f"bees {key}", key=key)
    assert sorted(await words.recalled_texts("bees", filter=MemoryFilter(key_prefix="ada/"))) == [
        "bees ada/1",
        "bees ada/2",
    ]


@pytest.mark.parametrize("key", ["k" * 2049, "a\0b", "é" * 1025])
async def test_invalid_key_is_refused(words: Brain, key: str) -> None:
    with pytest.raises(InvalidArgument, match=r"memory\.key"):
        await words.remember("bees", key=key)
    with pytest.raises(InvalidArgument, match=r"filter\.key_prefix"):
        await words.recall("bees", filter=MemoryFilter(key_prefix=key))
    with pytest.raises(InvalidArgument, match=r"memory\.key"):
        MemoryKey.of(words.parent, key)


async def test_renamed_memory_frees_its_key_and_keeps_its_name(words: Brain) -> None:
    stored = (await words.remember("bees", key="old")).memory
    renamed = (await words.update(stored, key="new")).memory
    assert (renamed.name, renamed.key, renamed.revision) == (stored.name, "new", 2)
    with pytest.raises(NotFound):
        await words.get("old")
    assert (await words.get("new")).name == stored.name
    other = (await words.remember("wasps", key="old")).memory
    assert other.name != stored.name
    without = (await words.update(renamed, key="")).memory
    assert without.key == ""
    assert (await words.upsert("new", "ants")).name != stored.name


async def test_expired_memory_frees_its_key_on_time(words: Brain) -> None:
    """A key is taken until its memory expires, and free from then on, although no job has deleted the memory."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    early, late = at(words, lambda: start), at(words, lambda: start + timedelta(seconds=5))
    holder = (await early.remember("bees", key="a", ttl=timedelta(seconds=5))).memory
    renamed = (await early.remember("ants", key="b")).memory
    expiring = (await early.remember("moths", key="c", ttl=timedelta(seconds=5))).memory
    just_before = at(words, lambda: start + timedelta(seconds=4, microseconds=999_999))
    with pytest.raises(AlreadyExists):
        await just_before.remember("wasps", key="a")
    successor = await late.upsert("a", "wasps", etag="absent")
    assert successor.name != holder.name
    assert (await late.update(renamed, key="c")).memory.key == "c"
    assert {memory.name for memory in await late.list_all()} == {successor.name, renamed.name}
    assert (await words.statistics()).memories == 2
    for gone in (holder, expiring):
        with pytest.raises(NotFound):
            await late.update(gone, text="back")


async def test_repeated_upsert_by_key_is_replayed(words: Brain) -> None:
    first = await words.upsert("a", "one", request_id="r-1")
    second = await words.upsert("a", "two", request_id="r-2")
    again = await words.upsert("a", "one", request_id="r-1")
    assert (first.revision, second.revision, again) == (1, 2, second)
    with pytest.raises(AlreadyExists):
        await words.upsert("a", "another text", request_id="r-1")
    await words.forget(words.key("a"), request_id="r-3")
    assert await words.forget(words.key("a"), request_id="r-3")
    with pytest.raises(NotFound):
        await words.upsert("a", "one", request_id="r-1")


async def test_repeated_remember_by_key_returns_its_own_memory(words: Brain) -> None:
    """The result is the stored memory, not a conflict with it, also in a batch."""
    first = (await words.remember("bees", key="a", request_id="r-1")).memory
    assert (await words.remember("bees", key="a", request_id="r-1")).memory == first
    assert await words.remember_all(RememberItem(MemoryDraft("bees", key="a"), request_id="r-1")) == [first]
    with pytest.raises(AlreadyExists):
        await words.remember("bees", key="a", request_id="r-2")


async def test_key_bytes_count_for_the_quota(words: Brain) -> None:
    stored = (await words.remember("bees", key="é" * 10)).memory
    assert (await words.statistics()).text_bytes == 4 + 20
    await words.update(stored, key="k")
    assert (await words.statistics()).text_bytes == 4 + 1
    await words.update(stored, text="wasps", key="")
    assert (await words.statistics()).text_bytes == 5
    await words.upsert("a/b", "ants")
    assert (await words.statistics()).text_bytes == 5 + 7
    await words.forget(words.key("a/b"))
    assert (await words.statistics()).text_bytes == 5


async def test_race_32_writers_upsert_one_key(words: Brain) -> None:
    """One memory is left; every acknowledged text is in its revisions exactly once."""
    texts = [f"text {number}" for number in range(WRITERS)]
    written = await outcomes(*(words.upsert("a", text, request_id=text) for text in texts))
    failed = [result for result in written if not isinstance(result, Memory)]
    assert failed == []
    (left,) = await words.list_all()
    page = await list_revisions(words.services, words.tenant, RevisionQuery(words.key("a"), page_size=1000))
    assert sorted([left.text, *(former.text for former in page.memories)]) == sorted(texts)
    assert left.revision == WRITERS


async def test_race_32_writers_create_one_key(words: Brain) -> None:
    """One creates it, all others get its name."""
    results = await outcomes(*(words.remember(f"text {number}", key="a") for number in range(WRITERS)))
    (left,) = await words.list_all()
    refused = [result for result in results if isinstance(result, AlreadyExists)]
    assert len(refused) == WRITERS - 1
    assert {result.holder for result in refused} == {str(left.name)}


async def test_race_rename_against_get(words: Brain) -> None:
    """A reader of both keys at once finds a renamed memory by exactly one of them at each moment."""
    stored = (await words.remember("bees", key="a")).memory

    async def rename() -> None:
        for number in range(20):
            await words.update(stored, key="ab"[(number + 1) % 2])

    renaming = asyncio.create_task(rename())
    while not renaming.done():
        page = await list_memories(words.services, words.tenant, ListQuery(words.parent, order=BY_KEY))
        assert [memory.name for memory in page.memories] == [stored.name]
        for key in "ab":
            with contextlib.suppress(NotFound):
                assert (await words.get(key)).key == key
    await renaming


async def test_race_renames_to_one_key(words: Brain) -> None:
    """Of many memories renamed to one key, one gets it and the others retain theirs."""
    stored = await words.remember_all(*(RememberItem(MemoryDraft("bees", key=f"k{n}")) for n in range(WRITERS)))
    results = await outcomes(*(words.update(memory, key="one") for memory in stored))
    refused = [result for result in results if isinstance(result, AlreadyExists)]
    assert len(refused) == WRITERS - 1
    assert sorted(memory.key for memory in await words.list_all()).count("one") == 1
    assert len(await words.list_all()) == WRITERS


async def test_race_forget_against_upsert(words: Brain) -> None:
    """Every call succeeds, and at the end there is one memory or none; the counts match the rows."""
    calls: list[object] = []
    for number in range(WRITERS):
        calls.append(words.upsert("a", f"text {number}"))
        calls.append(words.forget(words.key("a"), allow_missing=True))
    results = await outcomes(*calls)
    assert [result for result in results if isinstance(result, BaseException)] == []
    left = await words.list_all()
    assert len(left) <= 1
    statistics = await words.statistics()
    assert (statistics.memories, statistics.text_bytes) == (len(left), sum(memory.stored_bytes for memory in left))


async def test_race_expiry_against_create_if_absent(words: Brain) -> None:
    """Of many that create the key of a memory that has just expired, one succeeds; the others get only its name."""
    start = datetime(2026, 1, 1, tzinfo=UTC)
    await at(words, lambda: start).remember("bees", key="a", ttl=timedelta(seconds=1))
    late = at(words, lambda: start + timedelta(seconds=1))
    results = await outcomes(*(late.upsert("a", f"text {n}", etag="absent") for n in range(WRITERS)))
    (left,) = await late.list_all()
    assert [result for result in results if isinstance(result, Memory)] == [left]
    assert {result.holder for result in results if isinstance(result, AlreadyExists)} == {str(left.name)}
    unexpected = [result for result in results if not isinstance(result, Memory | AlreadyExists)]
    assert unexpected == []


async def test_errors_do_not_contain_the_key(words: Brain) -> None:
    """A key is the caller's data: no message has it."""
    key = "secret/path"
    await words.remember("bees", key=key)
    errors: list[SomaBrainError] = []
    for attempt in (
        words.remember("ants", key=key),
        words.upsert(key, "x", etag="absent"),
        words.upsert(key, "x", etag="0" * 24),
        words.get(key + "2"),
        words.forget(words.key(key + "2")),
    ):
        with pytest.raises((AlreadyExists, Aborted, NotFound, ResourceExhausted)) as caught:
            await attempt
        errors.append(caught.value)
    assert [error.message for error in errors if "secret" in error.message] == []
