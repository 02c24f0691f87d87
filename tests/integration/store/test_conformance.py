"""Searched in PostgreSQL or in memory, a namespace gives the same answer: the same list, the same scores to the bit."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from common.config.settings import DatabaseSettings, SearchIndexSettings
from common.errors import AlreadyExists, NotFound
from somabrain_service.commands.batch_remember_memories import RememberItem, batch_remember_memories
from somabrain_service.commands.delete_namespace import delete_namespace
from somabrain_service.commands.erase_subject import erase_subject
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.touch_memory import touch_memory
from somabrain_service.domain import analyzer
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory, MemoryDraft, MemoryKind, Vector
from somabrain_service.domain.names import NamespaceName, tenant_id
from somabrain_service.domain.ranking import bm25
from somabrain_service.domain.ranking.score import Tuning
from somabrain_service.encoders.minilm import DIMENSIONS, ENCODER_ID
from somabrain_service.encoders.onnx import OnnxEncoder
from somabrain_service.recall.ranker import rank_candidates
from somabrain_service.store.open import open_store
from somabrain_service.store.records import Search
from somabrain_service.store.search_index.index import SearchIndex
from somabrain_service.store.search_index.store import SearchIndexStore
from tests.drawn_filters import labels, nested
from tests.integration.store.conftest import Brain, wait_until_loaded
from tests.support.clones import Clone

TENANT = tenant_id("https://issuer.test", "a")
BEGINNING = datetime(2026, 1, 1, tzinfo=UTC)
_numbers = itertools.count()

words = st.lists(
    st.sampled_from(["bee", "hive", "meadow", "clover", "queen", "drone", "wax", "honey", "frost"]), min_size=1
)
vectors = st.integers(0, 5).map(lambda seed: Vector.of(np.random.default_rng(seed).normal(size=DIMENSIONS).tolist()))
sessions = st.sampled_from(["", "s1", "s2"])
subjects = st.sampled_from(["", "ada", "ben"])
keys = st.sampled_from(["", "", "a/1", "a/2", "b", "é/1", "e\u0301/1"])
hours = st.integers(-50, 50).map(lambda n: BEGINNING + timedelta(hours=n))


@dataclass(frozen=True)
class Remember:
    items: Sequence[RememberItem]


@dataclass(frozen=True)
class Update:
    number: int
    changes: dict[str, Any]


@dataclass(frozen=True)
class Forget:
    number: int


@dataclass(frozen=True)
class Touch:
    number: int
    hours: int


@dataclass(frozen=True)
class Erase:
    subject: str


@dataclass(frozen=True)
class Pass:
    hours: int


@dataclass(frozen=True)
class Recreate:
    pass


@dataclass(frozen=True)
class RecallStep:
    query: str
    vector: Vector | None
    filter: MemoryFilter
    limit: int


items = st.builds(
    RememberItem,
    st.builds(
        MemoryDraft,
        words.map(" ".join),
        kind=st.sampled_from(MemoryKind),
        session=sessions,
        subject=subjects,
        labels=labels,
        event_time=hours,
        salience=st.sampled_from([0.0, 0.5, 1.0]),
        ttl=st.sampled_from([None, timedelta(hours=2), timedelta(hours=5)]),
        key=keys,
    ),
    vectors,
)
changes = st.fixed_dictionaries(
    {},
    optional={
        "text": words.map(" ".join),
        "session": sessions,
        "subject": subjects,
        "labels": labels,
        "kind": st.sampled_from(MemoryKind),
        "salience": st.sampled_from([0.0, 1.0]),
        "event_time": hours,
        "key": keys,
    },
).filter(bool)
filters = st.builds(
    MemoryFilter,
    labels=labels,
    kinds=st.lists(st.sampled_from(MemoryKind), max_size=2).map(tuple),
    sessions=st.lists(sessions, max_size=2).map(tuple),
    subjects=st.lists(subjects, max_size=2).map(tuple),
    event_time_from=st.none() | hours,
    create_time_until=st.none() | hours,
    pinned=st.sampled_from([None, None, False, True]),
    key_prefix=st.sampled_from(["", "", "", "a/", "é"]),
)
recall_steps = st.builds(
    RecallStep,
    words.map(" ".join),
    st.none() | vectors,
    st.just(MemoryFilter()) | filters | nested(filters),
    st.sampled_from([1, 2, 5, 200]),
)
steps = st.lists(
    st.builds(Remember, st.lists(items, min_size=1, max_size=12))
    | st.builds(Update, st.integers(0, 50), changes)
    | st.builds(Forget, st.integers(0, 50))
    | st.builds(Touch, st.integers(0, 50), st.integers(1, 6))
    | st.builds(Erase, st.sampled_from(["ada", "ben"]))
    | st.builds(Pass, st.integers(1, 3))
    | st.builds(Recreate)
    | recall_steps
    | recall_steps,
    min_size=4,
    max_size=20,
)


@dataclass
class Pair:
    """A namespace, accessed through both stores and as the database's owner."""

    sql: Brain
    replica: Brain
    owner: psycopg.Connection
    now: datetime = BEGINNING
    memories: list[Memory] = field(default_factory=list)

    async def do(self, step: object) -> None:
        self.now += timedelta(seconds=1)
        match step:
            case Remember(drafts):
                self.memories += await self._remember(drafts)
            case Update(number, fields):
                await self._update(number, fields)
            case Forget(number) if self.memories:
                memory = self.memories.pop(number % len(self.memories))
                await self.sql.forget(memory.name, allow_missing=True)
            case Touch(number, count) if self.memories:
                name = self.memories[number % len(self.memories)].name
                with suppress(NotFound):
                    await touch_memory(self.sql.services, TENANT, name, timedelta(hours=count))
            case Erase(subject):
                await erase_subject(self.sql.services, TENANT, self.sql.parent, subject)
            case Pass(count):
                self.now += timedelta(hours=count)
            case Recreate():
                await delete_namespace(self.sql.services, TENANT, self.sql.parent)
                await self.sql.create(recency_half_life=timedelta(days=1))
                self.memories.clear()
            case RecallStep():
                await self.compare(step)

    async def _remember(self, drafts: Sequence[RememberItem]) -> list[Memory]:
        """Store a batch; only a key that is taken is refused."""
        sql = self.sql
        batch = await batch_remember_memories(sql.services, TENANT, sql.parent, drafts)
        refused = [result for result in batch.results if not isinstance(result, Memory)]
        assert all(isinstance(result, AlreadyExists) and result.holder for result in refused), refused
        return [result for result in batch.results if isinstance(result, Memory)]

    async def _update(self, number: int, fields: dict[str, Any]) -> None:
        live = {memory.name for memory in await self.sql.list_all(page_size=1000)}
        live_positions = [i for i, memory in enumerate(self.memories) if memory.name in live]
        if live_positions:
            i = live_positions[number % len(live_positions)]
            with suppress(AlreadyExists):  # of a key
                self.memories[i] = (await self.sql.update(self.memories[i], **fields)).memory

    async def compare(self, step: RecallStep) -> None:
        """Recall with both stores; the answers must be equal, and one must come from the search index.

        PostgreSQL's candidates are ranked by the scorer in Python, the index is searched and scored by the kernel.
        """
        await wait_until_loaded(self.replica.services, TENANT, self.replica.parent)
        terms = tuple(sorted(analyzer.latest_analyzer("en").terms(step.query)))
        async with (
            self.sql.services.store.snapshot(TENANT, self.sql.parent, self.now) as in_sql,
            self.replica.services.store.snapshot(TENANT, self.replica.parent, self.now) as indexed,
        ):
            statistics = await in_sql.statistics(terms)
            assert await indexed.statistics(terms) == statistics
            search = Search(
                terms=terms,
                idf=tuple(bm25.idf(statistics.memories, statistics.df).tolist()),
                seeds=tuple(i for i, yes in enumerate(bm25.selective_terms(statistics.memories, statistics.df)) if yes),
                fallback_seeds=tuple(i for i, n in enumerate(statistics.df) if n),
                mean_length=statistics.mean_length,
                vector=None if step.vector is None else unit(step.vector),
                encoder_id=ENCODER_ID,
                filter=step.filter,
                limit=step.limit,
                top_k=step.limit,
                tuning=Tuning(contiguity=step.limit != 2, bias=step.limit != 5),
            )
            ranking = await indexed.indexed_ranking(search)
            assert ranking is not None
            assert ranking == await rank_candidates(in_sql, search, self.now)
        replica = self.loaded_index()
        assert replica.as_of == statistics.read_version
        assert set(replica.keys) == self.stored_keys()
        answers = [
            await brain.recall(step.query, vector=step.vector, filter=step.filter, top_k=min(step.limit, 200))
            for brain in (self.sql, self.replica)
        ]
        assert answers[1] == answers[0]

    def loaded_index(self) -> SearchIndex:
        store = self.replica.services.store
        assert isinstance(store, SearchIndexStore)
        replica = store.indexes.peek(TENANT, self.replica.parent)
        assert replica is not None
        return replica

    def stored_keys(self) -> set[str]:
        """Every word, label, session and subject that a row of the database still has."""
        rows = self.owner.execute(
            """
            WITH m AS (
                SELECT m.* FROM memories m JOIN namespaces n ON n.tenant_id = m.tenant_id AND n.id = m.namespace_id
                WHERE n.name = %(name)s
            )
            SELECT 't' || t.term FROM memory_terms t JOIN m ON m.tenant_id = t.tenant_id AND m.id = t.memory
            UNION SELECT 'l' || l.key || '/' || l.value
            FROM memory_labels l JOIN m ON m.tenant_id = l.tenant_id AND m.id = l.memory
            UNION SELECT 's' || session FROM m UNION SELECT 'u' || subject FROM m
            UNION SELECT 'k' || replace(key, '/', '|') FROM m WHERE key IS NOT NULL
            """,
            {"name": self.sql.parent.namespace},
        )
        return {key.replace("/", "\0").replace("|", "/") for (key,) in rows}


def unit(vector: Vector) -> np.ndarray:
    values = np.array(vector.values)
    return np.asarray(values / np.linalg.norm(values), np.float32)


@pytest.mark.timeout(600)
@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(steps=steps, last=st.lists(recall_steps, min_size=2, max_size=4))
async def test_both_stores_give_the_same_answers(
    database: Clone, minilm: OnnxEncoder, steps: list[object], last: list[RecallStep]
) -> None:
    """Both stores answer alike after any sequence of writes, deletions, re-creations and expiries.

    The search index contains no word that is no longer in the database.
    """
    parent = NamespaceName.of(f"n{next(_numbers)}")
    async with (
        open_store(database.app_dsn, DatabaseSettings()) as sql,
        open_store(database.app_dsn, DatabaseSettings(), search_index=SearchIndexSettings()) as replica,
    ):
        with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
            encoders = {ENCODER_ID: minilm}
            brains = [
                Brain(AppContext(store, encoders, ENCODER_ID, clock=lambda: pair.now), TENANT, parent)
                for store in (sql, replica)
            ]
            pair = Pair(brains[0], brains[1], owner)
            await pair.sql.create(recency_half_life=timedelta(days=1))
            for step in (*steps, *last):
                await pair.do(step)


async def test_search_index_drops_forgotten_memory_before_next_answer(database: Clone, minilm: OnnxEncoder) -> None:
    """The index drops words, labels, session and subject of a memory that another store forgot, before it answers."""
    async with (
        open_store(database.app_dsn, DatabaseSettings()) as sql,
        open_store(database.app_dsn, DatabaseSettings(), search_index=SearchIndexSettings()) as store,
    ):
        assert isinstance(store, SearchIndexStore)
        indexed, writer = (
            Brain(AppContext(each, {ENCODER_ID: minilm}, ENCODER_ID), TENANT, NamespaceName.of("kept"))
            for each in (store, sql)
        )
        await writer.create()
        await writer.remember("Ada keeps bees.", session="s1", subject="ada", labels={"colour": "red"})
        result = await writer.remember("Ben loathes wasps.", session="s2", subject="ben", labels={"size": "big"})
        assert len((await indexed.recall("bees wasps")).hits) == 2
        replica = store.indexes.peek(TENANT, indexed.parent)
        assert replica is not None
        assert {"twasp", "lsize\0big", "ss2", "uben"} <= set(replica.keys)
        await writer.forget(result.memory.name)
        assert len((await indexed.recall("bees wasps")).hits) == 1
        assert set(replica.keys) == {"tada", "tkeep", "tbee", "lcolour\0red", "ss1", "uada"}
