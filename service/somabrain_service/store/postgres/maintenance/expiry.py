"""Statements of expiry, trim and purge.

The worker role sees every tenant, so each statement names its tenant or, across tenants, joins tables by it.

A feed is trimmed from its oldest change on, but keeps the newest change past the retention: from there on the feed is
complete. Memories are deleted as by erasure, rows first and the namespace's row last; one that a call has locked waits
for the next run, so a memory that is promoted meanwhile stays.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from somabrain_service.domain.changes import ChangeType
from somabrain_service.store.maintenance import PendingNamespace, PurgeResult, Shard, TrimResult
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import sql
from somabrain_service.store.postgres.queries.commit import commit_changes
from somabrain_service.store.postgres.queries.delete import LOCK_EXPIRED, DeletedRows, delete_locked

_EXPIRED = sql("""
SELECT n.tenant_id, n.id, oldest.expire_time AS since
FROM namespaces n CROSS JOIN LATERAL (
    SELECT m.expire_time FROM memories m
    WHERE m.tenant_id = n.tenant_id AND m.namespace_id = n.id AND m.expire_time <= :now
    ORDER BY m.expire_time LIMIT 1
) AS oldest
WHERE n.id % :of = :number ORDER BY oldest.expire_time LIMIT :limit
""")

# An unpublished change stays for the grace period beyond the retention.
_TRIMMABLE = """(
    {c}.change_time < :now - n.feed_retention - CAST(:grace_period AS interval)
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

# Times may go back a little, since PostgreSQL's clock may be set back: only changes before the first one that must stay
# are deleted.
_TRIM_CHANGES = sql(f"""
WITH oldest AS (
    SELECT c.version, c.ordinal, {_TRIMMABLE.format(c="c")} AS old,
        ((c.version, c.ordinal) > (r.version, r.ordinal)) IS NOT FALSE AS unpublished
    FROM changes c JOIN namespaces n ON n.tenant_id = :tenant AND n.id = c.namespace_id
        LEFT JOIN relayed r ON r.tenant_id = :tenant AND r.namespace_id = c.namespace_id
    WHERE c.tenant_id = :tenant AND c.namespace_id = :ns ORDER BY c.version, c.ordinal LIMIT :limit + 1
), ranked AS (
    SELECT version, ordinal, unpublished, bool_and(old) OVER (ORDER BY version, ordinal) AS old FROM oldest
), stays AS (
    SELECT version, ordinal FROM ranked WHERE old ORDER BY version DESC, ordinal DESC LIMIT 1
), deleted AS (
    DELETE FROM changes c USING stays
    WHERE c.tenant_id = :tenant AND c.namespace_id = :ns AND (c.version, c.ordinal) < (stays.version, stays.ordinal)
    RETURNING c.version, c.ordinal
)
SELECT count(*) AS changes, count(*) FILTER (WHERE unpublished) AS unpublished
FROM deleted JOIN ranked USING (version, ordinal)
""")

_PURGE_KEYS = sql("""
WITH old AS (
    SELECT tenant_id, key FROM idempotency_keys WHERE expire_time <= :now AND namespace_id % :of = :number
    ORDER BY expire_time LIMIT :limit
), deleted AS (
    DELETE FROM idempotency_keys k USING old
    WHERE k.tenant_id = old.tenant_id AND k.key = old.key AND k.expire_time <= :now
    RETURNING k.expire_time
)
SELECT count(*) AS keys, min(expire_time) AS since FROM deleted
""")


async def expired(connection: Connection, shard: Shard, now: datetime, limit: int) -> list[PendingNamespace]:
    """Return at most `limit` namespaces of the shard with expired memories, longest pending first."""
    values = {"now": now, "number": shard.number, "of": shard.count, "limit": limit}
    return [PendingNamespace(row.tenant_id, row.id, row.since) for row in await connection.execute(_EXPIRED, values)]


async def namespaces_to_trim(
    connection: Connection, shard: Shard, now: datetime, grace_period: timedelta, limit: int
) -> list[PendingNamespace]:
    """Return at most `limit` namespaces of the shard whose feeds have changes to trim, oldest first."""
    values = {"now": now, "grace_period": grace_period, "number": shard.number, "of": shard.count, "limit": limit}
    return [
        PendingNamespace(row.tenant_id, row.id, row.since)
        for row in await connection.execute(_NAMESPACES_TO_TRIM, values)
    ]


async def trim_changes(
    connection: Connection, pending: PendingNamespace, now: datetime, grace_period: timedelta, limit: int
) -> TrimResult:
    """Delete at most `limit` changes past the retention, oldest first, except the newest of them."""
    values = {"ns": pending.ns, "now": now, "grace_period": grace_period, "limit": limit}
    row = (await connection.execute(_TRIM_CHANGES, values)).one()
    return TrimResult(row.changes, row.unpublished)


async def purge_keys(connection: Connection, shard: Shard, now: datetime, limit: int) -> PurgeResult:
    """Delete at most `limit` expired request ids."""
    values = {"now": now, "number": shard.number, "of": shard.count, "limit": limit}
    row = (await connection.execute(_PURGE_KEYS, values)).one()
    return PurgeResult(row.keys, row.since or now)


async def expire(connection: Connection, pending: PendingNamespace, now: datetime, limit: int) -> int:
    """Delete at most `limit` expired memories with their derived rows, append to the feed, return their number."""
    values = {"ns": pending.ns, "now": now, "limit": limit}
    deleted = DeletedRows()
    if ids := [row.id for row in await connection.execute(LOCK_EXPIRED, values)]:
        await delete_locked(connection, values, ids, deleted)
        await commit_changes(connection, pending.ns, deleted.commit(ChangeType.EXPIRED), now)
    return len(deleted.changed)
