"""Statements that load a search index: memories without their text, many per row of the result."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from somabrain_service.store.index_source import NEVER, IndexRows, MemoryRow, TermPostings
from somabrain_service.store.postgres.driver.arrays import numbers
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import sql

_IDENTIFIERS = sql(
    "SELECT m.id FROM memories m WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id > :after"
    " ORDER BY m.id LIMIT :limit"
)

# In the order of MemoryRow's fields.
_FIELDS = sql(f"""
SELECT m.id, m.kind, m.session, coalesce(m.position, 0) AS position, m.subject, m.labels,
    CAST(extract(epoch FROM m.event_time) * 1000000 AS bigint) AS event_us,
    CAST(extract(epoch FROM m.create_time) * 1000000 AS bigint) AS create_us,
    coalesce(CAST(extract(epoch FROM m.expire_time) * 1000000 AS bigint), {NEVER}) AS expire_us,
    m.salience, m.pinned, m.length, coalesce(m.key, '') AS key
FROM memories m WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = ANY(CAST(:ids AS bigint[]))
""")

_EXPIRIES = sql(f"""
SELECT m.id, coalesce(CAST(extract(epoch FROM m.expire_time) * 1000000 AS bigint), {NEVER}) AS expire_us
FROM memories m WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = ANY(CAST(:ids AS bigint[]))
""")

_TERMS = sql("""
SELECT t.term, array_agg(t.memory) AS memories, array_agg(t.tf) AS tf FROM memory_terms t
WHERE t.tenant_id = :tenant AND t.namespace_id = :ns AND t.memory = ANY(CAST(:ids AS bigint[])) GROUP BY t.term
""")

# As bytes, because as numbers each would be formatted and parsed again.
_VECTORS = sql("""
SELECT v.encoder_id, array_agg(v.memory ORDER BY v.memory) AS memories,
    CASE WHEN v.encoder_id = :encoder_id THEN string_agg(halfvec_send(v.embedding), CAST('' AS bytea) ORDER BY v.memory)
    END AS embeddings
FROM memory_vectors v WHERE v.tenant_id = :tenant AND v.namespace_id = :ns AND v.memory = ANY(CAST(:ids AS bigint[]))
GROUP BY v.encoder_id
""")
_HEADER = 2
"""Number of two-byte fields before a vector's halves in binary form: its dimension and an unused one."""


async def identifiers(connection: Connection, ns: int, after: int, limit: int) -> list[int]:
    """Return at most `limit` sorted ids of memories above `after`, including expired ones."""
    rows = await connection.execute(_IDENTIFIERS, {"ns": ns, "after": after, "limit": limit})
    return [row.id for row in rows]


async def expiries(connection: Connection, ns: int, ids: Sequence[int]) -> list[tuple[int, int]]:
    """Return those of the memories that exist, each with its expiry in microseconds since 1970."""
    rows = await connection.execute(_EXPIRIES, {"ns": ns, "ids": numbers(ids)})
    return [(row.id, row.expire_us) for row in rows]


async def index_rows(connection: Connection, ns: int, ids: Sequence[int], encoder_id: str) -> IndexRows:
    """Return the rows of those of the memories that exist."""
    parameters = {"ns": ns, "ids": numbers(ids)}
    fields = [MemoryRow(*row) for row in await connection.execute(_FIELDS, parameters)]
    terms = [
        TermPostings(row.term, np.array(row.memories, np.int64), np.array(row.tf, np.int32))
        for row in await connection.execute(_TERMS, parameters)
    ]
    encoded, vectors, others = np.zeros(0, np.int64), np.zeros((0, 0), np.float32), [np.zeros(0, np.int64)]
    for row in await connection.execute(_VECTORS, {**parameters, "encoder_id": encoder_id}):
        if row.embeddings is None:
            others.append(np.array(row.memories, np.int64))
            continue
        encoded = np.array(row.memories, np.int64)
        halves = np.frombuffer(row.embeddings, ">f2").reshape(len(encoded), -1)
        vectors = halves[:, _HEADER:].astype(np.float32)
    return IndexRows(fields, terms, encoded, vectors, np.concatenate(others))
