"""Statements of expiry, trim and purge. The worker role sees every tenant, so each statement names its tenant.

A feed is trimmed from its oldest change on, but keeps the newest change past the retention: from there on the feed is
complete. Memories are deleted as by erasure, rows first and the namespace's row last, but without locking before
deleting: the expiry is checked again for each row as it is deleted, so a memory that was promoted meanwhile stays.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from somabrain_service.store.maintenance import PendingNamespace, PurgeResult, Shard, TrimResult
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import sql
from somabrain_service.store.postgres.queries import delete
from somabrain_service.store.postgres.queries.commit import ChangeType

_EXPIRED = sql("""
SELECT n.tenant_id, n.id, oldest.expire_time AS since
FROM namespaces n CROSS JOIN LATERAL (
    SELECT m.expire_time FROM memories m
    WHERE m.tenant_id = n.tenant_id AND m.namespace_id = n.id AND m.expire_time <= :now
    ORDER BY m.expire_time LIMIT 1
) AS oldest
WHERE n.id % :of = :number ORDER BY oldest.expire_time LIMIT :limit
""")

_EXPIRE = sql("""
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

_DROP_TERMS = sql("""
DELETE FROM terms
WHERE tenant_id = :tenant AND namespace_id = :ns AND term = ANY(CAST(:terms AS text[])) AND df = 0
""")

# An unpublished change stays for the grace period beyond the retention.
_TRIMMABLE = """(
    {c}.change_time < :now - n.feed_retention - CAST(:hold AS interval)
    OR {c}.change_time < :now - n.feed_retention AND ({c}.version, {c}.ordinal) <= (r.version, r.ordinal)
) IS TRUE"""

_NAMESPACES_TO_TRIM = sql(f"""
SELECT n.tenant_id, n.id, second.change_time + n.feed_retention AS since
FROM namespaces n CROSS JOIN LATERAL (
    SELECT c.change_time, c.version, c.ordinal FROM changes c
    WHERE c.tenant_id = n.tenant_id AND c.namespace_id = n.id ORDER BY c.version, c.ordinal OFFSET 1 LIMIT 1
) AS second LEFT JOIN relayed r ON r.tenant_id = n.tenant_id AND r.namespace_id = n.id
WHERE n.id % :of = :number AND {_TRIMMABLE.format(c="second")}
ORDER BY since LIMIT :limit
""")

# Times may go back a little, since clocks differ: only changes before the first one that must stay are deleted.
_TRIM_CHANGES = sql(f"""
WITH oldest AS (
    SELECT c.version, c.ordinal, {_TRIMMABLE.format(c="c")} AS old,
        ((c.version, c.ordinal) > (r.version, r.ordinal)) IS NOT FALSE AS untold
    FROM changes c JOIN namespaces n ON n.tenant_id = c.tenant_id AND n.id = c.namespace_id
        LEFT JOIN relayed r ON r.tenant_id = c.tenant_id AND r.namespace_id = c.namespace_id
    WHERE c.tenant_id = :tenant AND c.namespace_id = :ns ORDER BY c.version, c.ordinal LIMIT :limit + 1
), judged AS (
    SELECT version, ordinal, untold, bool_and(old) OVER (ORDER BY version, ordinal) AS old FROM oldest
), stays AS (
    SELECT version, ordinal FROM judged WHERE old ORDER BY version DESC, ordinal DESC LIMIT 1
), gone AS (
    DELETE FROM changes c USING stays
    WHERE c.tenant_id = :tenant AND c.namespace_id = :ns AND (c.version, c.ordinal) < (stays.version, stays.ordinal)
    RETURNING c.version, c.ordinal
)
SELECT count(*) AS changes, count(*) FILTER (WHERE untold) AS untold FROM gone JOIN judged USING (version, ordinal)
""")

_PURGE_KEYS = sql("""
WITH old AS (
    SELECT tenant_id, key FROM idempotency_keys WHERE expire_time <= :now AND namespace_id % :of = :number
    ORDER BY expire_time LIMIT :limit
), gone AS (
    DELETE FROM idempotency_keys k USING old
    WHERE k.tenant_id = old.tenant_id AND k.key = old.key AND k.expire_time <= :now
    RETURNING k.expire_time
)
SELECT count(*) AS keys, min(expire_time) AS since FROM gone
""")


async def expired(connection: Connection, shard: Shard, now: datetime, limit: int) -> list[PendingNamespace]:
    """See `MaintenanceStore.expired`."""
    values = {"now": now, "number": shard.number, "of": shard.count, "limit": limit}
    return [PendingNamespace(row.tenant_id, row.id, row.since) for row in await connection.execute(_EXPIRED, values)]


async def namespaces_to_trim(
    connection: Connection, shard: Shard, now: datetime, grace_period: timedelta, limit: int
) -> list[PendingNamespace]:
    """See `MaintenanceStore.namespaces_to_trim`."""
    values = {"now": now, "hold": grace_period, "number": shard.number, "of": shard.count, "limit": limit}
    return [
        PendingNamespace(row.tenant_id, row.id, row.since)
        for row in await connection.execute(_NAMESPACES_TO_TRIM, values)
    ]


async def trim_changes(
    connection: Connection, pending: PendingNamespace, now: datetime, grace_period: timedelta, limit: int
) -> TrimResult:
    """See `MaintenanceStore.trim_changes`."""
    values = {"tenant": pending.tenant, "ns": pending.ns, "now": now, "hold": grace_period, "limit": limit}
    row = (await connection.execute(_TRIM_CHANGES, values)).one()
    return TrimResult(row.changes, row.untold)


async def purge_keys(connection: Connection, shard: Shard, now: datetime, limit: int) -> PurgeResult:
    """See `MaintenanceStore.purge_keys`."""
    values = {"now": now, "number": shard.number, "of": shard.count, "limit": limit}
    row = (await connection.execute(_PURGE_KEYS, values)).one()
    return PurgeResult(row.keys, row.since or now)


async def expire(connection: Connection, pending: PendingNamespace, now: datetime, limit: int) -> int:
    """See `MaintenanceStore.expire`."""
    namespace_key = {"tenant": pending.tenant, "ns": pending.ns}
    deleted = delete.DeletedRows()
    deleted.add((await connection.execute(_EXPIRE, {**namespace_key, "now": now, "limit": limit})).one())
    if deleted.ids:
        await delete.bump_version(connection, pending.tenant, pending.ns, ChangeType.EXPIRED, now, deleted)
        # Terms that no memory has any more are deleted; the namespace's row is locked by now.
        await connection.execute(_DROP_TERMS, {**namespace_key, "terms": list(deleted.terms)})
    return len(deleted.ids)
