"""Statements that reindex stored memories: vectors of the namespace's encoder, terms of its analyzer.

The worker role sees every tenant, so each statement names its tenant. A batch locks its memories, in id order, and the
namespace last, as every write does; it increments the version, by which readers detect the change. Its changes in the
feed are for search indexes and not for clients: the memories themselves are unchanged.

A write that began before a namespace's encoder or analyzer was changed does not commit after it
(`commit.Guard`), so the memories selected here are all that need reindexing.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import numpy as np

from somabrain_service.domain.changes import ChangeType
from somabrain_service.store.maintenance import Encoded, Shard, Unanalyzed, Unencoded, UnencodedText
from somabrain_service.store.postgres.driver import arrays
from somabrain_service.store.postgres.driver.arrays import numbers
from somabrain_service.store.postgres.driver.errors import Retry
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import sql
from somabrain_service.store.postgres.queries.commit import (
    Commit,
    Counts,
    Guard,
    commit_changes,
)

_UNENCODED = sql("""
SELECT n.tenant_id, n.id, n.encoder
FROM namespaces n JOIN usage u ON u.tenant_id = n.tenant_id AND u.namespace_id = n.id
WHERE n.id % :of = :number AND (
    u.vectors < u.memories AND n.encoder = ANY(CAST(:encoders AS text[]))
    OR u.token_texts < u.memories AND n.encoder = ANY(CAST(:with_tokens AS text[]))
)
ORDER BY n.id
""")

_TEXTS = sql("""
SELECT m.id, m.revision, coalesce(m.index_text, m.text) AS text, greatest(m.update_time, n.update_time) AS since
FROM memories m JOIN namespaces n ON n.tenant_id = :tenant AND n.id = m.namespace_id
WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id > :after AND NOT EXISTS (
    SELECT FROM memory_vectors v
    WHERE v.tenant_id = :tenant AND v.namespace_id = :ns AND v.memory = m.id AND v.encoder_id = :encoder_id
        AND (NOT :with_tokens OR EXISTS (
            SELECT FROM memory_token_vectors t
            WHERE t.tenant_id = :tenant AND t.namespace_id = :ns AND t.memory = m.id
        ))
)
ORDER BY m.id LIMIT :limit
""")

_LOCK_MEMORIES = sql("""
SELECT m.id FROM memories m
WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = ANY(CAST(:ids AS bigint[]))
ORDER BY m.id FOR NO KEY UPDATE
""")
# Of the locked memories those that are as they were when they were read.
_ENCODE = sql("""
INSERT INTO memory_vectors (tenant_id, namespace_id, memory, encoder_id, embedding)
SELECT m.tenant_id, m.namespace_id, m.id, n.encoder,
    CAST((CAST(:vectors AS real[]))[(e.n - 1) * :dimensions + 1 : e.n * :dimensions] AS halfvec)
FROM memories m
JOIN namespaces n ON n.tenant_id = :tenant AND n.id = m.namespace_id AND n.encoder = :encoder_id
JOIN unnest(CAST(:ids AS bigint[]), CAST(:revisions AS bigint[])) WITH ORDINALITY AS e (id, revision, n)
    ON e.id = m.id AND e.revision = m.revision
WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = ANY(CAST(:ids AS bigint[]))
ON CONFLICT (tenant_id, namespace_id, memory) DO NOTHING RETURNING memory
""")
# The same, and with a vector of the encoder, which need not be new: it may be a caller's.
_ADD_TOKENS = sql("""
INSERT INTO memory_token_vectors (tenant_id, namespace_id, memory, size_bytes, truncated, questions, speaker, data)
SELECT m.tenant_id, m.namespace_id, m.id, octet_length(e.data), e.truncated, e.questions, e.speaker, e.data
FROM memories m
JOIN namespaces n ON n.tenant_id = :tenant AND n.id = m.namespace_id AND n.encoder = :encoder_id
JOIN unnest(CAST(:token_ids AS bigint[]), CAST(:token_revisions AS bigint[]), CAST(:token_data AS bytea[]),
    CAST(:truncated AS boolean[]), CAST(:questions AS real[]), CAST(:speakers AS text[]))
    AS e (id, revision, data, truncated, questions, speaker) ON e.id = m.id AND e.revision = m.revision
WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND EXISTS (
    SELECT FROM memory_vectors v
    WHERE v.tenant_id = :tenant AND v.namespace_id = :ns AND v.memory = m.id AND v.encoder_id = :encoder_id
)
ON CONFLICT (tenant_id, namespace_id, memory) DO NOTHING RETURNING memory, size_bytes
""")

_UNANALYZED = sql("""
SELECT n.tenant_id, n.id, n.analyzer, n.update_time
FROM namespaces n WHERE n.id % :of = :number AND n.analyzed_after IS NOT NULL ORDER BY n.update_time LIMIT :limit
""")

_NEXT_UNANALYZED = sql("""
SELECT m.id, m.revision, coalesce(m.index_text, m.text) AS text, m.length FROM memories m
WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id > (
    SELECT n.analyzed_after FROM namespaces n WHERE n.tenant_id = :tenant AND n.id = :ns AND n.analyzer = :analyzer
)
ORDER BY m.id LIMIT :limit FOR NO KEY UPDATE
""")

_ANALYZE = sql("""
WITH deleted AS (
    DELETE FROM memory_terms t
    WHERE t.tenant_id = :tenant AND t.namespace_id = :ns AND t.memory = ANY(CAST(:ids AS bigint[])) RETURNING t.term
), measured AS (
    UPDATE memories m SET length = l.length
    FROM unnest(CAST(:ids AS bigint[]), CAST(:lengths AS integer[])) AS l (id, length)
    WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = l.id AND m.length <> l.length
)
SELECT term, count(*) AS df FROM deleted GROUP BY term
""")

_TERMS = sql("""
INSERT INTO memory_terms (tenant_id, namespace_id, term, memory, tf, length)
SELECT n.tenant_id, n.id, t.term, t.memory, t.tf, t.length
FROM namespaces n, unnest(CAST(:terms AS text[]), CAST(:memories AS bigint[]), CAST(:tfs AS integer[]),
    CAST(:lengths AS integer[])) AS t (term, memory, tf, length)
WHERE n.tenant_id = :tenant AND n.id = :ns
""")


async def unencoded(
    connection: Connection, shard: Shard, encoders: Sequence[str], with_tokens: Sequence[str]
) -> list[Unencoded]:
    """Return namespaces of the shard that use one of these encoders and have memories without its vector."""
    values = {
        "number": shard.number,
        "of": shard.count,
        "encoders": list(encoders),
        "with_tokens": list(with_tokens),
    }
    return [Unencoded(row.tenant_id, row.id, row.encoder) for row in await connection.execute(_UNENCODED, values)]


async def texts(
    connection: Connection, namespace: Unencoded, after: int, limit: int, *, with_tokens: bool
) -> list[UnencodedText]:
    """Return at most `limit` memories without a vector, with ids above `after`, in id order."""
    parameters = {"ns": namespace.ns, "encoder_id": namespace.encoder_id, "with_tokens": with_tokens}
    rows = await connection.execute(_TEXTS, {**parameters, "after": after, "limit": limit})
    return [UnencodedText(row.id, row.revision, row.text, row.since) for row in rows]


async def encode(connection: Connection, namespace: Unencoded, encoded: Sequence[Encoded], now: datetime) -> int:
    """Store vectors of memories whose revision is unchanged, in a namespace whose encoder is unchanged."""
    parameters = {
        "ns": namespace.ns,
        "encoder_id": namespace.encoder_id,
        "ids": numbers(each.id for each in encoded),
        "revisions": numbers(each.revision for each in encoded),
        "vectors": np.concatenate([each.vector for each in encoded]),
        "dimensions": len(encoded[0].vector),
    }
    await connection.execute(_LOCK_MEMORIES, parameters)
    inserted = {row.memory for row in await connection.execute(_ENCODE, parameters)}
    sizes = {
        row.memory: row.size_bytes for row in await connection.execute(_ADD_TOKENS, _token_values(parameters, encoded))
    }
    stored = sorted((each.id, each.revision) for each in encoded if each.id in inserted or each.id in sizes)
    if stored:
        counts = Counts(vectors=len(inserted), token_texts=len(sizes), token_bytes=sum(sizes.values()))
        commit = Commit(ChangeType.REINDEXED, stored, counts, Guard.ENCODER, guarded=namespace.encoder_id)
        await commit_changes(connection, namespace.ns, commit, now)
    return len(stored)


def _token_values(parameters: Mapping[str, object], encoded: Sequence[Encoded]) -> dict[str, object]:
    records = [(each, each.tokens) for each in encoded if each.tokens is not None]
    return {
        **parameters,
        "token_ids": numbers(each.id for each, _ in records),
        "token_revisions": numbers(each.revision for each, _ in records),
        "token_data": arrays.blobs(record.vectors.data for _, record in records),
        "truncated": numbers(record.vectors.truncated for _, record in records),
        "questions": numbers(record.questions for _, record in records),
        "speakers": arrays.texts(record.speaker for _, record in records),
    }


async def unanalyzed(connection: Connection, shard: Shard, limit: int) -> list[Unanalyzed]:
    """Return at most `limit` namespaces of the shard with terms of a former analyzer, longest pending first."""
    values = {"number": shard.number, "of": shard.count, "limit": limit}
    rows = await connection.execute(_UNANALYZED, values)
    return [Unanalyzed(row.tenant_id, row.id, row.analyzer, row.update_time) for row in rows]


async def analyze(
    connection: Connection,
    namespace: Unanalyzed,
    terms: Callable[[str], Counter[str]],
    now: datetime,
    limit: int,
) -> int:
    """Replace the terms of the namespace's next memories, at most `limit`, and return the number of memories."""
    namespace_key = {"ns": namespace.ns}
    parameters = {**namespace_key, "analyzer": namespace.analyzer, "limit": limit}
    memory_rows = (await connection.execute(_NEXT_UNANALYZED, parameters)).all()
    terms_by_memory: dict[int, Counter[str]] = {}
    for row in memory_rows:
        terms_by_memory[row.id] = terms(row.text)
        await asyncio.sleep(0)  # megabytes of text take a while; let other tasks run meanwhile
    lengths = {memory: counts.total() for memory, counts in terms_by_memory.items()}
    ids = {"ids": numbers(terms_by_memory), "lengths": numbers(lengths.values())}
    df = Counter(term for counts in terms_by_memory.values() for term in counts)
    df.subtract({row.term: row.df for row in await connection.execute(_ANALYZE, {**namespace_key, **ids})})
    occurrences = [(term, memory, tf) for memory, counts in terms_by_memory.items() for term, tf in counts.items()]
    posting_columns = {
        "terms": [term for term, _, _ in occurrences],
        "memories": numbers(memory for _, memory, _ in occurrences),
        "tfs": numbers(tf for _, _, tf in occurrences),
        "lengths": numbers(lengths[memory] for _, memory, _ in occurrences),
    }
    await connection.execute(_TERMS, {**namespace_key, **posting_columns})
    changed = [(row.id, row.revision) for row in memory_rows]
    counts = Counts(
        term_occurrences=sum(lengths.values()) - sum(row.length for row in memory_rows),
        terms={term: change for term, change in df.items() if change},
    )
    commit = Commit(
        ChangeType.REINDEXED,
        changed,
        counts,
        Guard.ANALYZER,
        guarded=namespace.analyzer,
        analyzed_after=changed[-1][0] if len(changed) == limit else None,
    )
    try:
        await commit_changes(connection, namespace.ns, commit, now)
    except Retry:
        if changed:
            raise  # without a memory left, another process has finished the namespace
    return len(changed)
