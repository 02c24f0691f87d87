"""The search index holds namespaces within a byte budget and an idle timeout, and answers as PostgreSQL does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from common.config.settings import DatabaseSettings, SearchIndexSettings
from common.errors import NotFound
from somabrain_service.commands.batch_remember_memories import RememberItem
from somabrain_service.commands.delete_namespace import delete_namespace
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory, MemoryDraft
from somabrain_service.domain.names import NamespaceName, tenant_id
from somabrain_service.domain.ranking.score import Tuning
from somabrain_service.encoders.protocols import LEXICAL
from somabrain_service.recall.ranker import rank_candidates
from somabrain_service.store.open import open_store
from somabrain_service.store.protocols import SnapshotOutdated
from somabrain_service.store.records import Search
from somabrain_service.store.search_index.store import SearchIndexStore
from tests.integration.resilience.proxy import proxy
from tests.integration.store.conftest import Brain, wait_until_loaded
from tests.support.clones import Clone

TENANT = tenant_id("https://issuer.test", "a")
MEMORIES = 300


@asynccontextmanager
async def indexed_brain(
    database: Clone, budget_bytes: int = 2**30, idle_s: float = 3600.0, dsn: str = ""
) -> AsyncIterator[Brain]:
    """A process with a search index."""
    replica = SearchIndexSettings(budget_bytes=budget_bytes, idle_timeout_s=idle_s)
    async with open_store(dsn or database.app_dsn, DatabaseSettings(), search_index=replica) as store:
        yield Brain(AppContext(store, {}, LEXICAL), TENANT, NamespaceName.of("a"))


def loaded_namespaces(brain: Brain) -> set[str]:
    """Which of the namespaces are in memory."""
    store = brain.services.store
    assert isinstance(store, SearchIndexStore)
    return {name for name in "abc" if store.indexes.peek(TENANT, NamespaceName.of(name))}


async def recall_before_and_after_load(brain: Brain) -> list[str]:
    """Recall before and after the namespace is loaded, if it ever is; both answers must be equal."""
    first = await brain.recalled_texts("bees dance")
    await wait_until_loaded(brain.services, TENANT, brain.parent)
    assert await brain.recalled_texts("bees dance") == first
    return first


async def fill(brain: Brain, begin: int = 0) -> list[Memory]:
    drafts = [MemoryDraft(f"Bee {number} danced the dance {number % 7}.") for number in range(begin, begin + MEMORIES)]
    return await brain.remember_all(*(RememberItem(draft) for draft in drafts))


@pytest.fixture
async def size_bytes(database: Clone) -> int:
    """The size in memory of one of three equal namespaces."""
    async with indexed_brain(database) as brain:
        for name in "abc":
            await brain.at(name).create(encoder=LEXICAL)
            await fill(brain.at(name))
        await recall_before_and_after_load(brain)
        return brain.services.store.index_stats().size_bytes


async def test_least_recently_used_index_is_evicted(database: Clone, size_bytes: int) -> None:
    budget = size_bytes * 5 // 2
    async with indexed_brain(database, budget) as brain:
        answers = [await recall_before_and_after_load(brain.at(name)) for name in "ab"]
        assert loaded_namespaces(brain) == {"a", "b"}
        await recall_before_and_after_load(brain.at("a"))
        await recall_before_and_after_load(brain.at("c"))
        assert loaded_namespaces(brain) == {"a", "c"}
        assert brain.services.store.index_stats().size_bytes <= budget
        assert [await recall_before_and_after_load(brain.at(name)) for name in "ab"] == answers
        assert len(answers[0]) == 10


async def test_oversized_namespace_is_not_loaded_until_it_shrinks(database: Clone, size_bytes: int) -> None:
    async with indexed_brain(database, size_bytes // 2) as brain:
        assert len(await recall_before_and_after_load(brain)) == 10
        assert loaded_namespaces(brain) == set()
        for memory in (await brain.list_all())[10:]:
            await brain.forget(memory.name)
        assert len(await recall_before_and_after_load(brain)) == 10
        assert loaded_namespaces(brain) == {"a"}


async def test_index_that_outgrows_the_budget_is_evicted_and_recall_continues(database: Clone, size_bytes: int) -> None:
    async with indexed_brain(database, size_bytes * 5 // 4) as brain:
        await recall_before_and_after_load(brain)
        assert loaded_namespaces(brain) == {"a"}
        await fill(brain, MEMORIES)
        await brain.remember("Wasps sting.")
        assert await brain.recalled_texts("wasps") == ["Wasps sting."]
        assert loaded_namespaces(brain) == set()
        assert brain.services.store.index_stats() == (0, 0, 0, 0)


async def test_idle_index_is_evicted(database: Clone, size_bytes: int) -> None:
    async with indexed_brain(database, idle_s=0.2) as brain:
        await recall_before_and_after_load(brain.at("a"))
        assert loaded_namespaces(brain) == {"a"}
        await asyncio.sleep(0.3)
        await recall_before_and_after_load(brain.at("b"))
        assert loaded_namespaces(brain) == {"b"}


@pytest.mark.own_server
async def test_recall_of_cached_namespace_takes_one_round_trip(database: Clone) -> None:
    """A recall whose second response of PostgreSQL would be lost succeeds, since it needs only one."""
    async with proxy(database.server.socket / ".s.PGSQL.5432") as between:
        dsn = f"postgresql://somabrain_app@{between.address}/{database.name}"
        async with indexed_brain(database, dsn=dsn) as brain:
            await brain.create(encoder=LEXICAL)
            await fill(brain)
            answer = await recall_before_and_after_load(brain)
            between.pass_first, between.drop_answers = 1, 1
            assert await brain.recalled_texts("bees dance") == answer
            assert (between.pass_first, between.drop_answers) == (0, 1)
            between.pass_first = 1
            assert await brain.recalled_texts("nothing of it") == []
            assert (between.pass_first, between.drop_answers) == (0, 1)


async def test_write_of_another_process_is_visible_in_next_recall(database: Clone) -> None:
    """A process that assumes a namespace to be unchanged observes each write of another process in its next answer."""
    async with indexed_brain(database) as brain, indexed_brain(database) as other:
        await brain.create(encoder=LEXICAL)
        await fill(brain)
        for number in range(3):
            for _ in range(3):  # unchanged, and assumed to be
                await recall_before_and_after_load(brain)
            wasp = (await other.remember(f"A wasp {number} stings.")).memory
            assert await brain.recalled_texts("wasp stings") == [wasp.text]
            await recall_before_and_after_load(brain)
            await recall_before_and_after_load(brain)
            await other.update(wasp, text="A hornet.")
            assert await brain.recalled_texts("wasp stings") == []
            await other.forget(wasp.name)
            assert await brain.recalled_texts("hornet") == []
        await recall_before_and_after_load(brain)
        await recall_before_and_after_load(brain)
        await delete_namespace(other.services, TENANT, other.parent)
        with pytest.raises(NotFound):
            await brain.recall("bees dance")


async def test_failed_index_search_falls_back_to_postgresql(database: Clone) -> None:
    """More candidates than memory holds make the kernel fail: PostgreSQL searches, and the index stays unchanged."""
    async with indexed_brain(database) as brain:
        await brain.create(encoder=LEXICAL)
        await fill(brain)
        await recall_before_and_after_load(brain)
        store, now = brain.services.store, datetime.now(UTC)
        async with store.snapshot(TENANT, brain.parent, now) as snapshot:
            statistics = await snapshot.statistics(("danc",))
            search = Search(
                terms=("danc",),
                idf=(1.0,),
                seeds=(0,),
                fallback_seeds=(0,),
                mean_length=statistics.mean_length,
                vector=None,
                encoder_id=LEXICAL,
                filter=MemoryFilter(),
                limit=2**62,
                top_k=5,
                tuning=Tuning(contiguity=True, bias=True),
            )
            assert await snapshot.indexed_ranking(search) is None
            ranking = await rank_candidates(snapshot, search, now)
            assert len(ranking.hits) == 5
            assert await snapshot.indexed_ranking(replace(search, limit=MEMORIES)) == ranking
        async with store.snapshot(TENANT, brain.parent, now, assume_unchanged=True) as assumed:
            with pytest.raises(SnapshotOutdated):  # so that the caller begins again with a real one
                await assumed.indexed_ranking(search)
        assert store.index_stats().failures == 2
        assert loaded_namespaces(brain) == {"a"}
