"""Statements that remove what is past its time. The worker sees every tenant, so each of them names the one it means.

Memories go as by erasure, rows first and the namespace's row last, but without locking before deleting: whether a
memory has expired is asked again of each row as it is deleted, so one that was promoted meanwhile stays.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from somabrain_service.store.postgres import erasing
from somabrain_service.store.postgres.writing import ChangeType
from somabrain_service.store.working import Due, Shard

_EXPIRED = text("""
SELECT n.tenant_id, n.id, oldest.expire_time AS since
FROM namespaces n CROSS JOIN LATERAL (
    SELECT m.expire_time FROM memories m
    WHERE m.tenant_id = n.tenant_id AND m.namespace_id = n.id AND m.expire_time <= :now
    ORDER BY m.expire_time LIMIT 1
) AS oldest
WHERE n.id % :of = :number ORDER BY oldest.expire_time LIMIT :limit
""")

_EXPIRE = text("""
WITH gone AS (
    DELETE FROM memories m WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.expire_time <= :now
    AND m.id = ANY(ARRAY(
        SELECT d.id FROM memories d WHERE d.tenant_id = :tenant AND d.namespace_id = :ns AND d.expire_time <= :now
        ORDER BY d.expire_time, d.id LIMIT :limit
    ))
    RETURNING m.id, m.revision, octet_length(m.text) AS text_bytes, m.length
), vector AS (
    SELECT v.memory FROM memory_vectors v
    WHERE v.tenant_id = :tenant AND v.namespace_id = :ns AND v.memory = ANY(ARRAY(SELECT id FROM gone))
), term AS (
    DELETE FROM memory_terms t
    WHERE t.tenant_id = :tenant AND t.namespace_id = :ns AND t.memory = ANY(ARRAY(SELECT id FROM gone))
    RETURNING t.term
), counted AS (
    SELECT term, count(*) AS df FROM term GROUP BY term
), scrubbed AS (
    UPDATE idempotency_keys k SET body_hash = NULL
    WHERE k.tenant_id = :tenant AND k.namespace_id = :ns AND k.memory = ANY(ARRAY(SELECT id FROM gone))
)
SELECT ARRAY(SELECT id FROM gone ORDER BY id) AS ids, ARRAY(SELECT revision FROM gone ORDER BY id) AS revisions,
    (SELECT coalesce(sum(text_bytes), 0) FROM gone) AS text_bytes,
    (SELECT coalesce(sum(length), 0) FROM gone) AS tokens, (SELECT count(*) FROM vector) AS vectors,
    ARRAY(SELECT term FROM counted ORDER BY term) AS terms, ARRAY(SELECT df FROM counted ORDER BY term) AS dfs
""")

_DROP_TERMS = text("""
DELETE FROM terms
WHERE tenant_id = :tenant AND namespace_id = :ns AND term = ANY(CAST(:terms AS text[])) AND df = 0
""")


async def expired(connection: AsyncConnection, shard: Shard, now: datetime, limit: int) -> list[Due]:
    """See `Holding.expired`."""
    values = {"now": now, "number": shard.number, "of": shard.of, "limit": limit}
    return [Due(row.tenant_id, row.id, row.since) for row in await connection.execute(_EXPIRED, values)]


async def expire(connection: AsyncConnection, due: Due, now: datetime, limit: int) -> int:
    """See `Holding.expire`."""
    which = {"tenant": due.tenant, "ns": due.ns}
    gone = erasing.Gone()
    gone.add((await connection.execute(_EXPIRE, {**which, "now": now, "limit": limit})).one())
    if gone.ids:
        await erasing.raise_version(connection, due.tenant, due.ns, ChangeType.EXPIRED, now, gone)
        # What no memory holds any more goes with the last that held it; the namespace's row is locked by now.
        await connection.execute(_DROP_TERMS, {**which, "terms": list(gone.terms)})
    return len(gone.ids)
