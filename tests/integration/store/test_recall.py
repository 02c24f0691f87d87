"""Recall is exact, filters before it limits, does not depend on the order of rows, and reports degradation."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pytest
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from common.config.settings import DatabaseSettings, SearchIndexSettings
from common.errors import InvalidArgument
from somabrain_service.domain import analyzer
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory, MemoryKind, Vector
from somabrain_service.domain.ranking import bm25
from somabrain_service.domain.ranking.contiguity import contiguity
from somabrain_service.domain.recall import DegradedReason
from somabrain_service.encoders.minilm import DIMENSIONS, ENCODER_ID
from somabrain_service.encoders.protocols import EncoderUnavailable, PooledEncoder
from somabrain_service.store.open import open_store
from somabrain_service.store.postgres.queries.candidates import MAX_COMPARED_VECTORS
from somabrain_service.store.search_index.store import SearchIndexStore
from tests.integration.store.conftest import Brain
from tests.support.clones import Clone

WORDS = (
    *("bee", "hive", "meadow", "clover", "queen", "drone", "wax", "honey"),
    *("smoke", "keeper", "frost", "swarm", "pollen", "larva", "comb", "winter"),
)
EPOCH = datetime(2024, 1, 1, tzinfo=UTC)
ENGLISH = analyzer.latest_analyzer("en")


async def remember_summer(brain: Brain, days: int = 60, sessions: int = 3) -> list[Memory]:
    """Remember texts of a few words, many alike, in sessions, an hour apart."""
    chance = random.Random(7)
    memories = []
    for day in range(days):
        text = " ".join(chance.choices(WORDS, weights=range(len(WORDS), 0, -1), k=chance.randint(2, 9)))
        memories.append(
            (
                await brain.remember(
                    text,
                    session=f"s{day % (sessions + 1)}" if day % (sessions + 1) else "",
                    kind=MemoryKind(1 + day % 3),
                    labels={"parity": str(day % 2), "day": str(day)},
                    subject=f"hive-{day % 5}",
                    event_time=EPOCH + timedelta(hours=day),
                    pinned=day % 4 == 0,
                )
            ).memory
        )
    return memories


def reference_scores(memories: Sequence[Memory], query: str) -> list[tuple[float, str]]:
    """Score every memory by the formulas of docs/recall.md, lexically and without limits."""
    documents = [ENGLISH.terms(memory.text) for memory in memories]
    terms = sorted(ENGLISH.terms(query))
    weights = bm25.idf(len(documents), [sum(term in document for document in documents) for term in terms])
    lengths = np.array([sum(document.values()) for document in documents], float)
    tf = np.array([[document[term] for term in terms] for document in documents], float)
    row, term = np.nonzero(tf)
    scores = bm25.scores(weights, bm25.Postings(row, term, tf[row, term]), lengths, lengths.mean())
    relevance = scores / scores.max()
    names = {session: i for i, session in enumerate(sorted({memory.session for memory in memories} - {""}))}
    session = np.array([names.get(memory.session, -1) for memory in memories])
    position = np.array([memory.session_position or 0 for memory in memories])
    score = np.round(relevance + contiguity(relevance, session, position), 6)
    order = sorted(
        range(len(memories)),
        key=lambda i: (-score[i], -memories[i].event_time.timestamp(), str(memories[i].name)),
    )
    return [(float(score[i]), str(memories[i].name)) for i in order if score[i] > 0]


@pytest.mark.parametrize("query", ["swarm of drones in winter", "honey", "wax comb larva pollen frost"])
async def test_recall_equals_exhaustive_scoring(words: Brain, query: str) -> None:
    memories = await remember_summer(words)
    answer = await words.recall(query, top_k=30)
    hits = [(hit.score, str(hit.memory.name)) for hit in answer.hits]
    assert hits == reference_scores(memories, query)[:30]
    assert len(hits) == 30


async def test_dense_scores_are_cosines_of_the_stored_vectors(brain: Brain) -> None:
    chance = np.random.default_rng(3)
    rows = chance.normal(size=(20, DIMENSIONS))
    for i, row in enumerate(rows):
        await brain.remember(f"n{i}", vector=Vector(row))
    query = chance.normal(size=DIMENSIONS)

    def stored(vector: NDArray[np.float64]) -> NDArray[np.float64]:
        rounded = np.rint(vector / np.linalg.norm(vector) * 2048)
        return np.asarray(rounded / np.linalg.norm(rounded))

    expected = {f"n{i}": round(max(0.0, float(stored(row) @ stored(query))), 6) for i, row in enumerate(rows)}
    answer = await brain.recall(vector=Vector(query), top_k=20)
    assert len(answer.hits) == 20
    for hit in answer.hits:
        assert hit.breakdown.dense == pytest.approx(expected[hit.memory.text], abs=1e-12)
        assert hit.score == hit.breakdown.dense


async def test_ties_are_ordered_by_newest_event_then_name(words: Brain) -> None:
    hours = [3, 1, 2, 3, 2, 1, 3]
    for hour in hours:
        await words.remember("the same words", event_time=EPOCH + timedelta(hours=hour))
    hits = (await words.recall("same words", top_k=7)).hits
    assert len({hit.score for hit in hits}) == 1
    keys = [(-hit.memory.event_time.timestamp(), str(hit.memory.name)) for hit in hits]
    assert keys == sorted(keys)


async def test_result_does_not_depend_on_row_order(words: Brain, database: Clone) -> None:
    await remember_summer(words)
    before = await words.recall("honey wax comb", top_k=50)
    with psycopg.connect(database.owner_dsn) as owner:
        for table in ("memories", "memory_terms"):
            cursor = owner.execute(f"SELECT * FROM {table} ORDER BY random()")
            names = [column.name for column in cursor.description or ()]
            shuffled = [[Jsonb(v) if isinstance(v, dict) else v for v in row] for row in cursor]
            owner.execute(f"DELETE FROM {table}")
            insert = f"INSERT INTO {table} ({', '.join(names)}) VALUES ({', '.join(['%s'] * len(names))})"
            owner.cursor().executemany(insert, shuffled)
    after = await words.recall("honey wax comb", top_k=50)
    assert [(hit.memory.name, hit.score) for hit in after.hits] == [(hit.memory.name, hit.score) for hit in before.hits]


@pytest.mark.parametrize(
    "where",
    [
        MemoryFilter(labels={"parity": "1"}),
        MemoryFilter(labels={"parity": "1", "day": "7"}),
        MemoryFilter(kinds=(MemoryKind.SEMANTIC, MemoryKind.PROCEDURAL)),
        MemoryFilter(sessions=("s1", "s2")),
        MemoryFilter(sessions=("",)),
        MemoryFilter(subjects=("hive-3",)),
        MemoryFilter(event_time_from=EPOCH + timedelta(hours=7), event_time_until=EPOCH + timedelta(hours=20)),
        MemoryFilter(pinned=True),
        MemoryFilter(pinned=False, kinds=(MemoryKind.EPISODIC,), labels={"parity": "1"}),
    ],
)
async def test_filtered_recall_returns_up_to_top_k_matches(brain: Brain, where: MemoryFilter) -> None:
    """Recall has as many hits as memories match, up to top_k, and no others; a list has the same memories."""
    memories = await remember_summer(brain, 40)

    def matches(memory: Memory) -> bool:
        return (
            all(memory.labels.get(key) == value for key, value in where.labels.items())
            and (not where.kinds or memory.kind in where.kinds)
            and (not where.sessions or memory.session in where.sessions)
            and (not where.subjects or memory.subject in where.subjects)
            and (where.event_time_from is None or memory.event_time >= where.event_time_from)
            and (where.event_time_until is None or memory.event_time < where.event_time_until)
            and (where.pinned is None or memory.pinned == where.pinned)
        )

    expected = {memory.name for memory in memories if matches(memory)}
    assert expected
    answer = await brain.recall("a swarm in winter", top_k=40, filter=where)
    assert {hit.memory.name for hit in answer.hits} == expected
    assert {memory.name for memory in await brain.list_all(filter=where)} == expected
    few = await brain.recall("a swarm in winter", top_k=1, filter=where)
    assert len(few.hits) == 1


async def test_creation_time_filter_includes_start_and_excludes_end(brain: Brain) -> None:
    first, second = (await brain.remember("a")).memory, (await brain.remember("b")).memory
    until = MemoryFilter(create_time_until=second.create_time)
    since = MemoryFilter(create_time_from=second.create_time)
    assert [m.name for m in await brain.list_all(filter=until)] == [first.name]
    assert [m.name for m in await brain.list_all(filter=since)] == [second.name]


async def test_narrow_filter_is_filled_from_common_terms(words: Brain) -> None:
    for i in range(30):
        await words.remember(f"common ground number{i}", labels={"in": str(i < 3)})
    await words.remember("exquisite ground", labels={"in": "no"})
    answer = await words.recall("exquisite ground", filter=MemoryFilter(labels={"in": "True"}))
    assert len(answer.hits) == 3


async def test_expired_memory_is_not_recalled_listed_or_counted(words: Brain) -> None:
    await words.remember("bees dance", session="s")
    before = await words.recall("bees dance")
    await words.remember("bees dance wildly", session="s", ttl=timedelta(hours=1))
    assert len((await words.recall("bees dance")).hits) == 2
    services = replace(words.services, clock=lambda: datetime.now(UTC) + timedelta(hours=1))
    later = replace(words, services=services)
    after = await later.recall("bees dance")
    assert after.hits == before.hits
    assert after.best_lexical == before.best_lexical
    assert len(await later.list_all()) == 1


async def test_recall_in_empty_namespace_is_empty(brain: Brain) -> None:
    other = brain.at("other")
    await other.create()
    await other.remember("bees dance")
    answer = await brain.recall("bees dance")
    assert (answer.hits, answer.best_lexical, answer.degraded) == ((), 0.0, ())


async def test_min_score_returns_all_hits_or_none(words: Brain) -> None:
    await remember_summer(words)
    whole = await words.recall("honey wax")
    assert len(whole.hits) == 10
    assert (await words.recall("honey wax", min_score=whole.best_lexical)).hits == whole.hits
    below = await words.recall("honey wax", min_score=min(1.0, whole.best_lexical + 1e-6))
    assert (below.hits, below.best_lexical) == ((), whole.best_lexical)


@pytest.mark.parametrize("services", ["postgresql"], indirect=True)
async def test_sql_search_compares_newest_fifty_thousand_vectors_and_reports_it(brain: Brain, database: Clone) -> None:
    """SQL leaves out the oldest vector and reports it; terms, a narrow filter and the search index still find it."""
    oldest = (await brain.remember("the very first words", vector=axis(0), session="old")).memory
    with psycopg.connect(database.owner_dsn) as owner:
        insert_many(owner, oldest.name.memory, MAX_COMPARED_VECTORS)
    by_vector = await brain.recall(vector=axis(0))
    assert by_vector.degraded == (DegradedReason.DENSE_TRUNCATED,)
    assert oldest.name not in {hit.memory.name for hit in by_vector.hits}
    assert (await brain.recall("first words")).hits[0].memory.name == oldest.name
    narrow = await brain.recall(vector=axis(0), filter=MemoryFilter(sessions=("old",)))
    assert (narrow.degraded, [hit.score for hit in narrow.hits]) == ((), [1.0])
    async with open_store(database.app_dsn, DatabaseSettings(), search_index=SearchIndexSettings()) as store:
        indexed = replace(brain, services=replace(brain.services, store=store))
        whole = await indexed.recall(vector=axis(0))
    assert whole.degraded == ()
    assert whole.hits[0].memory.name == oldest.name


def insert_many(owner: psycopg.Connection[Any], first: int, count: int) -> None:
    """Insert memories with equal vectors, as rows of VALUES: that every engine takes, also with forced row security."""
    tenant, ns = owner.execute(
        "UPDATE namespaces SET version = version + 1 WHERE name = 'notes' RETURNING tenant_id, id"
    ).fetchone() or (None, None)
    vector = "CAST(array_prepend(0, array_fill(0.051, ARRAY[383])) AS halfvec)"
    for start in range(first + 1, first + count + 1, 1000):
        ids = range(start, min(start + 1000, first + count + 1))
        memories = (
            f"('{tenant}', {ns}, {i}, 'n', 1, '', '', '{{}}', now(), now(), now(), 0.5, false, 1, 0)" for i in ids
        )
        owner.execute(
            "INSERT INTO memories (tenant_id, namespace_id, id, text, kind, session, subject, labels, event_time,"
            f" create_time, update_time, salience, pinned, revision, length) VALUES {', '.join(memories)}".encode()
        )
        vectors = (f"('{tenant}', {ns}, {i}, '{ENCODER_ID}', {vector})" for i in ids)
        owner.execute(f"INSERT INTO memory_vectors VALUES {', '.join(vectors)}".encode())
    owner.execute(
        "UPDATE usage SET memories = memories + %s, vectors = vectors + %s WHERE tenant_id = %s AND namespace_id = %s",
        [count, count, tenant, ns],
    )


def axis(number: int) -> Vector:
    """A vector along one axis."""
    return Vector.of(tuple(float(i == number) for i in range(DIMENSIONS)))


async def test_query_of_stop_words_is_answered_by_dense_score(brain: Brain) -> None:
    await brain.remember("Ada keeps bees.")
    (hit,) = (await brain.recall("who is it?")).hits
    assert hit.score == hit.breakdown.meaning > 0
    assert hit.breakdown.lexical == 0


@pytest.mark.parametrize("query", ["Will", "The who", "to be or not to be", "?!"])
async def test_query_without_terms_is_reported_and_exempt_from_min_score(brain: Brain, query: str) -> None:
    """A question of stop words or signs alone is reported, and `min_score` does not discard hits of its vector."""
    kept = [(await brain.remember(text)).memory for text in ("Will moved to Boston.", "The Who play on Friday.")]
    answer = await brain.recall(query, min_score=0.05)
    assert answer.degraded == (DegradedReason.NO_TERMS,)
    assert {hit.memory.name for hit in answer.hits} == {memory.name for memory in kept}
    assert answer.best_lexical == 0


@pytest.mark.parametrize("query", ["Will", "The Who"])
async def test_query_without_terms_in_lexical_namespace_is_empty_and_reported(words: Brain, query: str) -> None:
    """Without vectors the answer is empty, with a reason that differs from an empty namespace's."""
    await words.remember("Will moved to Boston.")
    answer = await words.recall(query)
    assert (answer.hits, answer.degraded) == ((), (DegradedReason.NO_TERMS,))


async def test_query_with_one_term_is_subject_to_min_score(brain: Brain) -> None:
    """One term suffices for `min_score`, known or not, and a query that is a vector alone lacks no terms."""
    await brain.remember("Will moved to Boston.")
    known = await brain.recall("did Will move to Boston", min_score=0.05)
    assert (len(known.hits), known.degraded) == (1, ())
    unknown = await brain.recall("was it Will on Friday", min_score=0.05)
    assert (unknown.hits, unknown.degraded) == ((), ())
    assert (await brain.recall(vector=axis(0))).degraded == ()


class Broken(PooledEncoder):
    """An encoder with the real encoder's id that always fails."""

    encoder_id = ENCODER_ID
    dimensions = DIMENSIONS

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        raise EncoderUnavailable("It does not answer.")

    async def close(self) -> None:
        """Do nothing: there is nothing to close."""


async def test_encoder_outage_stores_memories_and_reports_degraded_recall(brain: Brain) -> None:
    await brain.remember("Ada keeps bees.")
    broken = replace(brain, services=replace(brain.services, encoders={ENCODER_ID: Broken()}))
    answer = await broken.recall("bees")
    assert answer.degraded == (DegradedReason.ENCODER_UNAVAILABLE,)
    assert answer.encoder_id == ""
    assert [hit.memory.text for hit in answer.hits] == ["Ada keeps bees."]
    await broken.remember("Ada sells honey.")
    healed = await brain.recall("honey")
    assert healed.degraded == (DegradedReason.REENCODING,)
    assert healed.hits[0].memory.text == "Ada sells honey."
    await brain.forget(healed.hits[0].memory.name)
    assert (await brain.recall("bees")).degraded == ()
    with pytest.raises(EncoderUnavailable):
        await replace(brain, services=replace(brain.services, encoders={})).recall(
            vector=Vector.of((1.0,) * DIMENSIONS)
        )


async def test_hits_are_truncated_at_three_mebibytes_and_reported(words: Brain) -> None:
    text = "swarm " + "x" * (64 * 1024 - 6)
    for _ in range(50):
        await words.remember(text)
    answer = await words.recall("swarm", top_k=200)
    assert answer.truncated
    size = sum(len(hit.memory.text) for hit in answer.hits)
    assert 2.9 * 1024 * 1024 < size <= 3 * 1024 * 1024
    listed = await words.list_all(page_size=1000)
    assert len(listed) == 50


async def test_recency_reorders_near_ties_but_never_overrules_relevance(brain: Brain) -> None:
    ageing = brain.at("ageing")
    await ageing.create(encoder="lexical", recency_half_life=timedelta(days=1))
    now = datetime.now(UTC)
    await ageing.remember("clover honey", event_time=now - timedelta(days=300))
    await ageing.remember("clover honey", event_time=now)
    await ageing.remember("honey wax", event_time=now)
    hits = (await ageing.recall("clover honey")).hits
    assert [hit.memory.text for hit in hits] == ["clover honey", "clover honey", "honey wax"]
    assert hits[0].memory.event_time > hits[1].memory.event_time
    assert hits[1].score / hits[0].score == pytest.approx(0.7, abs=1e-3)


async def test_vector_requires_a_namespace_with_an_encoder(words: Brain) -> None:
    with pytest.raises(InvalidArgument, match="has no vectors"):
        await words.recall(vector=Vector.of((1.0,) * DIMENSIONS))


async def test_second_process_reads_writes_of_the_first(brain: Brain, database: Clone) -> None:
    result = await brain.remember("Ada keeps bees.")
    replica = SearchIndexSettings() if isinstance(brain.services.store, SearchIndexStore) else None
    async with open_store(database.app_dsn, DatabaseSettings(), search_index=replica) as second:
        other = replace(brain, services=replace(brain.services, store=second))
        assert await other.recalled_texts("bees", consistency_token=result.consistency_token) == ["Ada keeps bees."]
        for i in range(5):
            result = await (brain if i % 2 else other).remember(f"Ada keeps {i} bees.")
            for process in (brain, other):
                token = result.consistency_token
                assert len(await process.recalled_texts("bees", consistency_token=token)) == i + 2
