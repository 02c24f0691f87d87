"""Statements of the outbox: unpublished changes, and the cursors of published ones.

A namespace's cursor is a row of `relayed`, which only the process that owns the job writes. Unpublished changes are
detected by the namespace's version alone; in a partly published version, by the ordinal of its cursor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from somabrain_service.domain.changes import LAST_ORDINAL, Change, ChangeType, Position
from somabrain_service.domain.names import MemoryId, MemoryName, NamespaceName, TenantId
from somabrain_service.events.cloudevents import EventBatch, OutboxCursor, PendingChanges
from somabrain_service.store.maintenance import Shard
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import Statement, sql

# Materialized as a whole: with a LIMIT to push down the planner would look up each namespace's cursor one by one.
_PENDING_NAMESPACES = sql(f"""
WITH pending AS MATERIALIZED (
    SELECT n.tenant_id, n.id, n.name, n.epoch, n.version AS newest, r.name AS told_name, r.epoch AS told_epoch,
        r.version AS told_version, r.ordinal AS told_ordinal
    FROM namespaces n LEFT JOIN relayed r ON r.tenant_id = n.tenant_id AND r.namespace_id = n.id
    WHERE (:of = 1 OR n.id % :of = :number)
    AND (n.version > coalesce(r.version, 0) OR r.ordinal < {LAST_ORDINAL} OR r.epoch <> n.epoch)
)
SELECT * FROM pending WHERE (tenant_id, id) > (:after_tenant, :after_ns) ORDER BY tenant_id, id LIMIT :limit
""")

# One change more than requested is read, which shows whether more follow. Those committed since the statement before
# belong to the next batch.
_CHANGES = sql("""
SELECT c.version, c.ordinal, c.type, c.memory, c.revision, c.change_time, c.traceparent FROM changes c
WHERE c.tenant_id = :of_tenant AND c.namespace_id = :ns AND (c.version, c.ordinal) > (:version, :ordinal)
    AND c.version <= :newest
ORDER BY c.version, c.ordinal LIMIT :changes + 1
""")

_DELETED_NAMESPACES = sql("""
SELECT r.* FROM relayed r LEFT JOIN namespaces n ON n.tenant_id = r.tenant_id AND n.id = r.namespace_id
WHERE n.id IS NULL AND (:of = 1 OR r.namespace_id % :of = :number) ORDER BY r.tenant_id, r.namespace_id LIMIT :limit
""")

_SAVE_CURSOR = sql("""
INSERT INTO relayed (tenant_id, namespace_id, name, epoch, version, ordinal)
VALUES (:of_tenant, :ns, :name, :epoch, :version, :ordinal)
ON CONFLICT (tenant_id, namespace_id) DO UPDATE SET name = excluded.name, epoch = excluded.epoch,
    version = excluded.version, ordinal = excluded.ordinal
""")

_DELETE_CURSOR = sql("DELETE FROM relayed r WHERE r.tenant_id = :of_tenant AND r.namespace_id = :ns")

_LOWEST_KEY = (UUID(int=0), -1)


async def pending_changes(
    connection: Connection, shard: Shard, after: tuple[TenantId, int] | None, limit: int, changes: int
) -> list[PendingChanges]:
    """Return namespaces with unpublished changes, in key order, after the key `after`."""
    tenant, ns = after or _LOWEST_KEY
    values = {"number": shard.number, "of": shard.count, "after_tenant": tenant, "after_ns": ns, "limit": limit}
    pending = (await connection.execute(_PENDING_NAMESPACES, values)).all()
    results = await connection.execute_all(*(_changes_statement(row, changes) for row in pending)) if pending else []
    return [_parse_pending_changes(row, result.all(), changes) for row, result in zip(pending, results, strict=True)]


def _changes_statement(pending: Any, changes: int) -> Statement:
    after = (0, LAST_ORDINAL) if pending.told_version is None else (pending.told_version, pending.told_ordinal)
    return _CHANGES, {
        "of_tenant": pending.tenant_id,
        "ns": pending.id,
        "version": after[0],
        "ordinal": after[1],
        "newest": pending.newest,
        "changes": changes,
    }


async def deleted_namespaces(connection: Connection, shard: Shard, limit: int) -> list[OutboxCursor]:
    """Return the cursors of at most `limit` deleted namespaces whose deletion is not published yet."""
    values = {"number": shard.number, "of": shard.count, "limit": limit}
    return [
        OutboxCursor(
            row.tenant_id, row.namespace_id, NamespaceName(row.name), row.epoch, Position(row.version, row.ordinal)
        )
        for row in await connection.execute(_DELETED_NAMESPACES, values)
    ]


async def save_cursors(connection: Connection, batches: Sequence[EventBatch]) -> None:
    """Save the cursors of published batches; delete those of deleted namespaces."""
    if batches:
        await connection.execute_all(*map(_cursor_statement, batches))


def _cursor_statement(batch: EventBatch) -> Statement:
    cursor = batch.new_cursor or batch.old_cursor
    values: dict[str, object] = {"of_tenant": cursor.tenant, "ns": cursor.ns}
    if batch.new_cursor is None:
        return _DELETE_CURSOR, values
    return _SAVE_CURSOR, {
        **values,
        "name": cursor.name.namespace,
        "epoch": cursor.epoch,
        "version": cursor.position.version,
        "ordinal": cursor.position.ordinal,
    }


def _parse_pending_changes(first: Any, rows: Sequence[Any], limit: int) -> PendingChanges:
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
    )
    return PendingChanges(
        first.tenant_id, first.id, name, first.epoch, first.newest, cursor, changes, more=len(rows) > limit
    )
