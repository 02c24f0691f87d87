"""Token vectors in memory: the same shortlists as PostgreSQL's, within the rest of the budget, and evicted first."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from common.config.settings import DatabaseSettings, SearchIndexSettings
from somabrain_service.commands.batch_remember_memories import RememberItem
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.shared.prepare_memory import Vectors, new_memory
from somabrain_service.domain.memory import Memory, MemoryDraft
from somabrain_service.domain.names import NamespaceName, tenant_id
from somabrain_service.domain.ranking.late_interaction import Shortlist
from somabrain_service.domain.token_vectors import QueryTokens, TokenVectors, quantize, query_tokens
from somabrain_service.encoders.minilm import DIMENSIONS, ENCODER_ID
from somabrain_service.encoders.onnx import OnnxEncoder
from somabrain_service.store.open import open_store
from somabrain_service.store.postgres.snapshot import PostgresSnapshot
from somabrain_service.store.protocols import SnapshotOutdated, Store
from somabrain_service.store.records import TokenRecord
from somabrain_service.store.search_index.entry import TOKEN_PAGE_SIZE, IndexEntry
from somabrain_service.store.search_index.index import SearchIndex
from somabrain_service.store.search_index.store import SearchIndexStore
from tests.integration.store.conftest import Brain, wait_until_loaded
from tests.support.clones import Clone

TENANT = tenant_id("https://issuer.test", "a")
PIECES = 40
BATCH = 100


def units(chance: np.random.Generator, count: int) -> NDArray[np.float32]:
    """Vectors of length 1 in any direction."""
    drawn = chance.standard_normal((count, DIMENSIONS))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def question(seed: int = 0, pieces: int = 5) -> QueryTokens:
    """The word pieces of a query."""
    return query_tokens(units(np.random.default_rng(seed), pieces), np.zeros((pieces, 2), np.int32))


@asynccontextmanager
async def postgres_snapshot(brain: Brain) -> AsyncIterator[PostgresSnapshot]:
    """A snapshot that an index can be loaded from."""
    async with brain.services.store.snapshot(TENANT, brain.parent, datetime.now(UTC)) as snapshot:
        assert isinstance(snapshot, PostgresSnapshot)
        yield snapshot


@asynccontextmanager
async def open_brain(
    database: Clone, minilm: OnnxEncoder, budget_bytes: int | None = None, name: str = "a"
) -> AsyncIterator[Brain]:
    """A process with a search index of this budget; None: without one."""
    search_index = SearchIndexSettings(budget_bytes=budget_bytes) if budget_bytes else None
    async with open_store(database.app_dsn, DatabaseSettings(), search_index=search_index) as store:
        yield Brain(AppContext(store, {ENCODER_ID: minilm}, ENCODER_ID), TENANT, NamespaceName.of(name))


async def fill(brain: Brain, count: int, seed: int = 0) -> list[int]:
    """Store memories with drawn vectors, most of them with token vectors; return their ids."""
    chance = np.random.default_rng(seed)
    namespace = await brain.namespace()
    ids: list[int] = []
    for begin in range(0, count, BATCH):
        batch = []
        for number in range(begin, min(begin + BATCH, count)):
            draft = MemoryDraft(
                f"Bee {number} danced.",
                session=["", "s", "t"][number % 3],
                subject=["", "Ada", "Ben"][chance.integers(3)],
            )
            pieces = 0 if number % 50 == 7 else int(chance.integers(1, 2 * PIECES))
            tokens = TokenVectors(quantize(units(chance, pieces)), truncated=number % 9 == 0)
            record = TokenRecord(tokens, float(chance.integers(4)) / 3, ["", "cleo"][number % 2])
            vectors = Vectors(units(chance, 1)[0], None if number % 40 == 5 else record)
            batch.append((new_memory(namespace, draft, datetime.now(UTC), vectors), None))
        written = await brain.services.store.insert_memories(TENANT, namespace, batch)
        for result in written.results:
            assert isinstance(result, Memory), result
            ids.append(int(result.name.memory))
    return ids


def indexes(store: Store) -> SearchIndexStore:
    assert isinstance(store, SearchIndexStore)
    return store


def in_memory(brain: Brain, name: str = "a") -> tuple[bool, bool]:
    """Return whether a namespace's index is in memory, and whether its token vectors are."""
    index = indexes(brain.services.store).indexes.peek(TENANT, NamespaceName.of(name))
    return index is not None, index is not None and index.has_tokens


async def shortlist(brain: Brain, ids: Sequence[int], query: QueryTokens, *, assume: bool = False) -> Shortlist:
    """The shortlist that a Recall would get now."""
    now = datetime.now(UTC)
    async with brain.services.store.snapshot(TENANT, brain.parent, now, assume_unchanged=assume) as snapshot:
        await snapshot.statistics()
        return await snapshot.shortlist(ids, query)


def check_equal(one: Shortlist, other: Shortlist) -> None:
    """Check that both are the same to the last bit; numbers of sessions are those of the same sessions."""
    assert one.similarity.tobytes() == other.similarity.tobytes()
    for name in ("compared", "position", "event_time_s", "questions"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist(), name
    assert (list(one.speakers), list(one.truncated)) == (list(other.speakers), list(other.truncated))
    assert one.missing == other.missing
    numbers = set(zip(one.session.tolist(), other.session.tolist(), strict=True))
    assert len(numbers) == len({number for number, _ in numbers}) == len({number for _, number in numbers})
    assert all((number < 0) == (of_other < 0) for number, of_other in numbers)


async def test_postgresql_and_index_give_the_same_shortlist(database: Clone, minilm: OnnxEncoder) -> None:
    """Both are the same to the last bit, before and after changes; beyond the limit of bytes nothing is compared."""
    async with open_brain(database, minilm, 2**30) as brain, open_brain(database, minilm) as sql:
        await brain.create()
        ids = await fill(brain, 350)
        chance = np.random.default_rng(1)
        for step in range(4):
            await wait_until_loaded(brain.services, TENANT, brain.parent)
            assert in_memory(brain) == (True, True)
            for count in (len(ids), 300, 1, 0):
                chosen = chance.permutation(ids)[:count].tolist()
                query = question(step, pieces=int(chance.integers(1, 40)))
                found = await shortlist(brain, chosen, query)
                check_equal(found, await shortlist(sql, chosen, query))
                assert len(found.speakers) == count
                if count == len(ids):
                    assert 200 < found.compared.sum() < count - 50, "a million bytes are less than all"
                    assert found.missing
                    assert {"", "ada", "ben", "cleo"} == set(found.speakers)
            memories = {int(memory.name.memory): memory for memory in await brain.list_all()}
            await brain.update(memories[ids[3]], subject="Dora")
            await brain.update(memories[ids[4]], text=f"Ada: Do bees dance at noon {step}? They do.")
            await brain.forget(memories[ids.pop(5)].name)
            ids.append(int((await brain.remember("Ben: Wasps sting.")).memory.name.memory))


async def test_index_assumed_current_needs_no_postgresql(database: Clone, minilm: OnnxEncoder) -> None:
    """An index is assumed to be current only with its token vectors in memory."""
    async with open_brain(database, minilm, 2**30) as brain, open_brain(database, minilm) as sql:
        await brain.create()
        ids = await fill(brain, 20)
        await wait_until_loaded(brain.services, TENANT, brain.parent)
        await shortlist(brain, ids, question())
        manager = indexes(brain.services.store).indexes
        assumed = manager.assume_unchanged(TENANT, brain.parent, brain.services.clock())
        assert assumed is not None
        check_equal(await shortlist(brain, ids, question(), assume=True), await shortlist(sql, ids, question()))
        assumed.index.drop_tokens()
        with pytest.raises(SnapshotOutdated):
            await shortlist(brain, ids, question(), assume=True)
        assert manager.assume_unchanged(TENANT, brain.parent, brain.services.clock()) is None
        await manager.wait_until_loaded()
        assert in_memory(brain) == (True, True)
        assert manager.assume_unchanged(TENANT, brain.parent, brain.services.clock()) is not None
        check_equal(await shortlist(brain, ids, question(), assume=True), await shortlist(sql, ids, question()))


async def test_stale_token_vector_pages_do_not_overwrite_newer_changes(database: Clone, minilm: OnnxEncoder) -> None:
    """Pages of an older snapshot overwrite no newer change, and do not restore deleted memories."""
    async with open_brain(database, minilm) as brain:
        await brain.create()
        ids = await fill(brain, TOKEN_PAGE_SIZE + 20)
        memories = {int(memory.name.memory): memory for memory in await brain.list_all()}
        async with postgres_snapshot(brain) as old:
            index = SearchIndex(old.namespace)
            index.apply((), await old.index_rows(ids, ENCODER_ID), index.as_of)
            entry = IndexEntry(index, 0.0)
            assert await entry.begin_token_load() == old.namespace.read_version
            for number in (0, 1, len(ids) - 1):
                await brain.update(memories[ids[number]], text=f"Wasp {number} stings.")
            await brain.forget(memories[ids.pop(2)].name)
            ids.append(int((await brain.remember("Wasps sting.")).memory.name.memory))
            async with postgres_snapshot(brain) as new:
                async with entry.lock:
                    assert await entry.catch_up(new.namespace.read_version, new)
                await entry.load_tokens(old, lambda: True)
                entry.end_token_load()
                assert index.has_tokens
                for begin in (0, len(ids) // 2):
                    chosen = ids[begin:]
                    found = index.shortlist(new.namespace, chosen, question())
                    assert found is not None
                    check_equal(found, await new.shortlist(chosen, question()))


async def test_aborted_load_of_token_vectors_leaves_nothing(database: Clone, minilm: OnnxEncoder) -> None:
    async with open_brain(database, minilm) as brain:
        await brain.create()
        ids = await fill(brain, 30)
        async with postgres_snapshot(brain) as snapshot:
            index = SearchIndex(snapshot.namespace)
            index.apply((), await snapshot.index_rows(ids, ENCODER_ID), index.as_of)
            entry = IndexEntry(index, 0.0)
            await entry.begin_token_load()
            await entry.load_tokens(snapshot, lambda: False)
            assert entry.expected_token_bytes == index.token_bytes > 30 * PIECES * DIMENSIONS / 4 / 2
            entry.end_token_load()
            assert (index.has_tokens, index.token_bytes) == (False, 0)
            await entry.begin_token_load()
            entry.drop_tokens()
            await entry.load_tokens(snapshot, lambda: True)
            entry.end_token_load()
            assert (index.has_tokens, index.token_bytes) == (False, 0)
            assert index.shortlist(snapshot.namespace, ids, question()) is None


async def test_token_vectors_are_evicted_before_any_index(database: Clone, minilm: OnnxEncoder) -> None:
    """Within each budget as many indexes as fit are in memory, and token vectors only beside them."""
    async with open_brain(database, minilm, 2**30) as brain, open_brain(database, minilm) as sql:
        ids = {}
        for seed, name in enumerate("ab"):
            await brain.at(name).create()
            ids[name] = await fill(brain.at(name), 200, seed)
        answers = {name: await shortlist(sql.at(name), ids[name], question()) for name in "ab"}
        await wait_until_loaded(brain.services, TENANT, brain.parent)
        _, total, tokens, _ = brain.services.store.index_stats()
        index = total - tokens
        assert 200 * PIECES * DIMENSIONS / 4 < tokens < 250 * PIECES * DIMENSIONS / 4

    async def loaded_parts(budget_bytes: int) -> list[tuple[bool, bool]]:
        """Parts of each namespace that are in memory after a recall in one, and then in the other."""
        async with open_brain(database, minilm, budget_bytes) as brain:
            for _ in range(2):
                for name in "ab":
                    await wait_until_loaded(brain.services, TENANT, NamespaceName.of(name))
                    check_equal(await shortlist(brain.at(name), ids[name], question()), answers[name])
                    await indexes(brain.services.store).indexes.wait_until_loaded()
                    assert brain.services.store.index_stats().size_bytes <= budget_bytes
            return [in_memory(brain, name) for name in "ab"]

    assert await loaded_parts(3 * (index + tokens)) == [(True, True), (True, True)]
    assert await loaded_parts(2 * index + tokens * 3 // 2) == [(True, True), (True, False)]
    assert await loaded_parts(index * 5 // 2) == [(True, False), (True, False)]
    assert await loaded_parts(index * 3 // 2) == [(False, False), (True, False)]


async def test_loading_an_index_evicts_token_vectors(database: Clone, minilm: OnnxEncoder) -> None:
    """An index that is loaded, or grows, takes the place of the token vectors of the least recently used one."""
    async with open_brain(database, minilm, 2**30) as brain:
        for seed, name in enumerate("ab"):
            await brain.at(name).create()
            await fill(brain.at(name), 200, seed)
        await wait_until_loaded(brain.services, TENANT, brain.parent)
        _, total, tokens, _ = brain.services.store.index_stats()
    index = total - tokens
    async with open_brain(database, minilm, index * 3 // 2 + tokens) as brain:
        for name, expected in {"a": [(True, True), (False, False)], "b": [(True, False), (True, False)]}.items():
            await wait_until_loaded(brain.services, TENANT, NamespaceName.of(name))
            assert [in_memory(brain, each) for each in "ab"] == expected
        indexes(brain.services.store).indexes.drop(TENANT, NamespaceName.of("a"))
        await shortlist(brain.at("b"), [], question())
        await indexes(brain.services.store).indexes.wait_until_loaded()
        assert [in_memory(brain, each) for each in "ab"] == [(False, False), (True, True)]
    async with open_brain(database, minilm, index * 9 // 4 + tokens) as brain:
        for name in "ab":
            await wait_until_loaded(brain.services, TENANT, NamespaceName.of(name))
        assert [in_memory(brain, name) for name in "ab"] == [(True, True), (True, False)]
        ids = await fill(brain.at("b"), 100, seed=3)
        await shortlist(brain.at("b"), ids, question())
        assert [in_memory(brain, name) for name in "ab"] == [(True, False), (True, False)]
        for name in "aabb":
            await shortlist(brain.at(name), [], question())
            await indexes(brain.services.store).indexes.wait_until_loaded()
        assert [in_memory(brain, name) for name in "ab"] == [(True, False), (True, False)]
        assert brain.services.store.index_stats().size_bytes <= index * 9 // 4 + tokens


async def test_postgresql_and_index_recall_with_identical_scores(database: Clone, minilm: OnnxEncoder) -> None:
    """Memories, scores and every part of them, in one round trip too, before and after a change."""
    names, things = ["Ada", "Ben", "Cleo"], ["bees", "the old hive", "wax candles", "a frost in May", "clover honey"]
    async with open_brain(database, minilm, 2**30) as brain, open_brain(database, minilm) as sql:
        await brain.create()
        items = [
            RememberItem(
                MemoryDraft(
                    f"{names[number % 3]}: Did {names[number % 2]} talk about {thing} on day {number}?"
                    if number % 4 == 1
                    else f"{names[number % 3]}: I saw {thing} near the mill on day {number}.",
                    session=["", "s", "t"][number // 20],
                )
            )
            for number, thing in ((number, things[number * 7 % 5]) for number in range(60))
        ]
        await brain.remember_all(*items)
        queries = ["What did Ada say about bees?", "When was there frost?", "honey", "Is the mill old?", "who is it"]
        for step in range(2):
            await wait_until_loaded(brain.services, TENANT, brain.parent)
            assert in_memory(brain) == (True, True)
            for query in queries:
                for top_k in (3, 40):
                    answer = await sql.recall(query, top_k=top_k, explain=True)
                    assert any(hit.breakdown.match > 0 for hit in answer.hits)
                    for _ in range(2):  # and assumed to be unchanged
                        again = await brain.recall(query, top_k=top_k, explain=True)
                        # A page token has the time of its call in it.
                        assert replace(again, next_page_token=answer.next_page_token) == answer
            assert in_memory(brain) == (True, True)
            await brain.remember(f"Dora: The mill burned down, step {step}.", session="s")
            await brain.forget((await brain.list_all())[0].name)
