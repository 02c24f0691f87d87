"""Statements of the outbox: unpublished changes, and the cursors of published ones.

A namespace's cursor is a row of `relayed`, which only the process that owns the job writes. Unpublished changes are
detected by the namespace's version alone; in a partly published version, by the ordinal of its cursor.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any
from uuid import UUID

from somabrain_service.domain.changes import LAST_ORDINAL, Change, ChangeType, Position
from somabrain_service.domain.names import MemoryId, MemoryName, NamespaceName, TenantId
from somabrain_service.events.cloudevents import EventBatch, OutboxCursor, PendingChanges
from somabrain_service.store.maintenance import Shard
from somabrain_service.store.postgres.driver.arrays import numbers
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import sql

# `pending` is materialized as a whole: with a LIMIT to push down the planner would look up each namespace's cursor
# one by one. One change more than requested is read, which shows whether more follow.
_PENDING_CHANGES = sql(f"""
WITH pending AS MATERIALIZED (
    SELECT n.tenant_id, n.id, n.name, n.epoch, n.version AS newest, r.name AS told_name, r.epoch AS told_epoch,
        r.version AS told_version, r.ordinal AS told_ordinal
    FROM namespaces n LEFT JOIN relayed r ON r.tenant_id = n.tenant_id AND r.namespace_id = n.id
    WHERE (:of = 1 OR n.id % :of = :number)
    AND (n.version > coalesce(r.version, 0) OR r.ordinal < {LAST_ORDINAL} OR r.epoch <> n.epoch)
)
SELECT n.*, c.* FROM (
    SELECT * FROM pending WHERE (tenant_id, id) > (:tenant, :ns) ORDER BY tenant_id, id LIMIT :limit
) AS n LEFT JOIN LATERAL (
    SELECT c.version, c.ordinal, c.type, c.memory, c.revision, c.change_time, c.traceparent FROM changes c
    WHERE c.tenant_id = n.tenant_id AND c.namespace_id = n.id
    AND (c.version, c.ordinal) > (coalesce(n.told_version, 0), coalesce(n.told_ordinal, {LAST_ORDINAL}))
    ORDER BY c.version, c.ordinal LIMIT :changes + 1
) AS c ON true
ORDER BY n.tenant_id, n.id, c.version, c.ordinal
""")

_DELETED_NAMESPACES = sql("""
SELECT r.* FROM relayed r LEFT JOIN namespaces n ON n.tenant_id = r.tenant_id AND n.id = r.namespace_id
WHERE n.id IS NULL AND (:of = 1 OR r.namespace_id % :of = :number) ORDER BY r.tenant_id, r.namespace_id LIMIT :limit
""")

_SAVE_CURSORS = sql("""
INSERT INTO relayed (tenant_id, namespace_id, name, epoch, version, ordinal)
SELECT * FROM unnest(CAST(:tenants AS uuid[]), CAST(:ids AS integer[]), CAST(:names AS text[]), CAST(:epochs AS text[]),
    CAST(:versions AS bigint[]), CAST(:ordinals AS integer[]))
ON CONFLICT (tenant_id, namespace_id) DO UPDATE SET name = excluded.name, epoch = excluded.epoch,
    version = excluded.version, ordinal = excluded.ordinal
""")

_DELETE_CURSORS = sql("""
DELETE FROM relayed r USING unnest(CAST(:tenants AS uuid[]), CAST(:ids AS integer[])) AS gone (tenant_id, id)
WHERE r.tenant_id = gone.tenant_id AND r.namespace_id = gone.id
""")

_LOWEST_KEY = (UUID(int=0), -1)


async def pending_changes(
    connection: Connection, shard: Shard, after: tuple[TenantId, int] | None, limit: int, changes: int
) -> list[PendingChanges]:
    """See `MaintenanceStore.pending_changes`."""
    tenant, ns = after or _LOWEST_KEY
    values = {
        "number": shard.number,
        "of": shard.count,
        "tenant": tenant,
        "ns": ns,
        "limit": limit,
        "changes": changes,
    }
    result = await connection.execute(_PENDING_CHANGES, values)
    return [
        _parse_pending_changes(list(rows), changes) for _, rows in groupby(result, lambda row: (row.tenant_id, row.id))
    ]


async def deleted_namespaces(connection: Connection, shard: Shard, limit: int) -> list[OutboxCursor]:
    """See `MaintenanceStore.deleted_namespaces`."""
    values = {"number": shard.number, "of": shard.count, "limit": limit}
    return [
        OutboxCursor(
            row.tenant_id, row.namespace_id, NamespaceName(row.name), row.epoch, Position(row.version, row.ordinal)
        )
        for row in await connection.execute(_DELETED_NAMESPACES, values)
    ]


async def save_cursors(connection: Connection, batches: Sequence[EventBatch]) -> None:
    """See `MaintenanceStore.save_cursors`."""
    cursors = [batch.new_cursor for batch in batches if batch.new_cursor is not None]
    if cursors:
        values = {
            "tenants": [cursor.tenant for cursor in cursors],
            "ids": [cursor.ns for cursor in cursors],
            "names": [cursor.name.namespace for cursor in cursors],
            "epochs": [cursor.epoch for cursor in cursors],
            "versions": numbers(cursor.position.version for cursor in cursors),
            "ordinals": [cursor.position.ordinal for cursor in cursors],
        }
        await connection.execute(_SAVE_CURSORS, values)
    deleted = [batch.old_cursor for batch in batches if batch.new_cursor is None]
    if deleted:
        await connection.execute(
            _DELETE_CURSORS,
            {"tenants": [cursor.tenant for cursor in deleted], "ids": [cursor.ns for cursor in deleted]},
        )


def _parse_pending_changes(rows: Sequence[Any], limit: int) -> PendingChanges:
    first = rows[0]
    name = NamespaceName(first.name)
    cursor = None
    if first.told_version is not None:
        position = Position(first.told_version, first.told_ordinal)
        cursor = OutboxCursor(first.tenant_id, first.id, NamespaceName(first.told_name), first.told_epoch, position)
    changes = tuple(
        Change(
            Position(row.version, row.ordinal),
            ChangeType(row.type),
            MemoryName(name, MemoryId(row.memory)),
            row.revision,
            row.change_time,
            row.traceparent or "",
        )
        for row in rows[:limit]
        if row.version is not None
    )
    return PendingChanges(
        first.tenant_id, first.id, name, first.epoch, first.newest, cursor, changes, more=len(rows) > limit
    )
