"""Statements that store and read token vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from somabrain_service.domain.ranking.late_interaction import MAX_TOKEN_BYTES, Shortlist
from somabrain_service.domain.token_vectors import QueryTokens
from somabrain_service.store.postgres.driver.arrays import blobs, numbers, texts
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import Statement, sql
from somabrain_service.store.records import TokenRecord, TokenRow
from somabrain_service.store.token_similarity import max_similarities

_INSERT = sql("""
INSERT INTO memory_token_vectors (tenant_id, namespace_id, memory, size_bytes, truncated, questions, speaker, data)
SELECT n.tenant_id, n.id, v.memory, octet_length(v.data), v.truncated, v.questions, v.speaker, v.data
FROM namespaces n, unnest(CAST(:token_ids AS bigint[]), CAST(:token_data AS bytea[]), CAST(:truncated AS boolean[]),
    CAST(:questions AS real[]), CAST(:speakers AS text[])) AS v (memory, data, truncated, questions, speaker)
WHERE n.tenant_id = :tenant AND n.id = :ns
""")

# In the order of TokenRow's fields. The subject of a memory is who it is by, if its text does not say.
_SPEAKER = "CASE WHEN t.speaker = '' THEN lower(m.subject) ELSE t.speaker END"
_ROWS = sql(f"""
SELECT t.memory, t.data, t.truncated, t.questions, {_SPEAKER} AS speaker
FROM memory_token_vectors t JOIN memories m
    ON m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = t.memory
WHERE t.tenant_id = :tenant AND t.namespace_id = :ns AND t.memory = ANY(CAST(:ids AS bigint[]))
""")

_SHORTLIST = sql(f"""
SELECT m.session, coalesce(m.position, 0) AS position, date_part('epoch', m.event_time) AS event_time_s,
    coalesce(CASE WHEN m.ordinal = 1 OR m.total_bytes <= :max_bytes THEN m.data END, '') AS data,
    m.data IS NULL AS missing, coalesce(m.truncated, false) AS truncated, coalesce(m.questions, 0) AS questions,
    m.speaker
FROM (
    SELECT m.*, t.data, t.truncated, t.questions, r.ordinal,
        coalesce({_SPEAKER}, '') AS speaker,
        sum(coalesce(t.size_bytes, 0)) OVER (ORDER BY r.ordinal) AS total_bytes
    FROM unnest(CAST(:ids AS bigint[])) WITH ORDINALITY AS r (id, ordinal)
    CROSS JOIN LATERAL (
        SELECT s.session, s.position, s.event_time, s.subject FROM memories s
        WHERE s.tenant_id = :tenant AND s.namespace_id = :ns AND s.id = r.id OFFSET 0
    ) AS m
    LEFT JOIN LATERAL (
        SELECT v.* FROM memory_token_vectors v
        WHERE v.tenant_id = :tenant AND v.namespace_id = :ns AND v.memory = r.id OFFSET 0
    ) AS t ON true
) AS m
ORDER BY m.ordinal
""")


def insert_statement(ns: int, records: Sequence[tuple[int, TokenRecord]]) -> list[Statement]:
    """Return the statement that inserts records of memories whose vectors are inserted before; [] without records."""
    if not records:
        return []
    values = {
        "ns": ns,
        "token_ids": numbers(memory for memory, _ in records),
        "token_data": blobs(record.vectors.data for _, record in records),
        "truncated": numbers(record.vectors.truncated for _, record in records),
        "questions": numbers(record.questions for _, record in records),
        "speakers": texts(record.speaker for _, record in records),
    }
    return [(_INSERT, values)]


async def rows(connection: Connection, ns: int, ids: Sequence[int]) -> list[TokenRow]:
    """Return the token vectors of those of the memories that have them."""
    return [TokenRow(*row) for row in await connection.execute(_ROWS, {"ns": ns, "ids": numbers(ids)})]


async def shortlist(connection: Connection, ns: int, ids: Sequence[int], query: QueryTokens) -> Shortlist:
    """Return the memories of a first ranking, with the similarity of the words of their texts to the query's."""
    values = {"ns": ns, "ids": numbers(ids), "max_bytes": MAX_TOKEN_BYTES}
    memories = (await connection.execute(_SHORTLIST, values)).all()
    sessions: dict[str, int] = {"": -1}
    return Shortlist(
        similarity=max_similarities(query, [bytes(row.data) for row in memories]),
        compared=np.array([len(row.data) > 0 for row in memories], np.bool_),
        session=np.array([sessions.setdefault(row.session, len(sessions)) for row in memories], np.int64),
        position=np.array([row.position for row in memories], np.int64),
        event_time_s=np.array([row.event_time_s for row in memories], np.float64),
        questions=np.array([row.questions for row in memories], np.float64),
        speakers=[row.speaker for row in memories],
        truncated=[row.truncated for row in memories],
        missing=any(row.missing for row in memories),
    )
