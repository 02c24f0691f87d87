"""Deletion of memories: one forgotten, those about a subject, those that expired, and a whole namespace.

Memories are deleted in batches, each a statement that ends well within its timeout, and all in one transaction: all or
nothing. Most are deleted before the namespace's row is locked, so that writers wait only for the rest: the memories
written meanwhile. Rows are locked before the namespace's, as in every writing transaction.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from somabrain_service.domain.changes import ChangeType
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.etag import check_etag
from somabrain_service.domain.idempotency import RequestKey, request_id_reused
from somabrain_service.domain.names import MemoryId, MemoryName, NamespaceName, TenantId
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import Sql, sql
from somabrain_service.store.postgres.queries import idempotency, memories, namespaces, rows
from somabrain_service.store.postgres.queries.commit import (
    Commit,
    Counts,
    bump_version,
    commit_statement,
    committed_version,
    drop_terms_statement,
)
from somabrain_service.store.records import ErasureResult

BATCH_SIZE = 1000
"""Maximum memories that one statement deletes."""

_LOCK_NAMESPACE = sql(
    "SELECT epoch || '-' || revision AS etag, version, epoch FROM namespaces"
    " WHERE tenant_id = :tenant AND id = :ns FOR UPDATE"
)


def _delete_statement(selection: str, condition: str = "") -> Sql:
    """Return the statement that deletes a batch of memories with all that is derived from them.

    Vectors, labels and revisions go by cascade. Ids are passed on as arrays, because those are looked up in the
    database indexes whatever size the planner estimates for a batch.

    Args:
        selection: end of the SELECT of the memories `m` to delete, after its conditions on tenant and namespace.
        condition: checked once more for each row as it is deleted, for a selection that does not lock its rows.
    """
    return sql(f"""
WITH selected AS MATERIALIZED (
    SELECT m.id FROM memories m WHERE m.tenant_id = :tenant AND m.namespace_id = :ns {selection}
), deleted AS (
    DELETE FROM memories m
    WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = ANY(ARRAY(SELECT id FROM selected)) {condition}
    RETURNING m.id, m.revision, octet_length(m.text) AS text_bytes, m.length
), vector AS (
    SELECT v.memory FROM memory_vectors v
    WHERE v.tenant_id = :tenant AND v.namespace_id = :ns AND v.memory = ANY(ARRAY(SELECT id FROM deleted))
), term AS (
    DELETE FROM memory_terms t
    WHERE t.tenant_id = :tenant AND t.namespace_id = :ns AND t.memory = ANY(ARRAY(SELECT id FROM deleted))
    RETURNING t.term
), counted AS (
    SELECT term, count(*) AS df FROM term GROUP BY term
), scrubbed AS (
    UPDATE idempotency_keys k SET body_hash = NULL
    WHERE k.tenant_id = :tenant AND k.namespace_id = :ns AND k.memory = ANY(ARRAY(SELECT id FROM deleted))
)
SELECT ARRAY(SELECT id FROM deleted ORDER BY id) AS ids, ARRAY(SELECT revision FROM deleted ORDER BY id) AS revisions,
    (SELECT coalesce(sum(text_bytes), 0) FROM deleted) AS text_bytes,
    (SELECT coalesce(sum(length), 0) FROM deleted) AS tokens, (SELECT count(*) FROM vector) AS vectors,
    ARRAY(SELECT term FROM counted ORDER BY term) AS terms, ARRAY(SELECT df FROM counted ORDER BY term) AS dfs
""")


_BATCH = "AND m.id > :after{about} ORDER BY m.id LIMIT :batch FOR UPDATE"
_DELETE_ONE = _delete_statement("AND m.id = :id")
_DELETE_ALL = _delete_statement(_BATCH.format(about=""))
_DELETE_SUBJECT = _delete_statement(_BATCH.format(about=" AND m.subject = :subject AND m.subject <> ''"))
DELETE_EXPIRED = _delete_statement(
    "AND m.expire_time <= :now ORDER BY m.expire_time, m.id LIMIT :limit", "AND m.expire_time <= :now"
)
_DELETE_REVISIONS_OF_SUBJECT = sql(
    "DELETE FROM memory_revisions WHERE tenant_id = :tenant AND namespace_id = :ns AND subject = :subject"
)

_DELETE_NAMESPACE = tuple(
    sql(statement)
    for statement in (
        "DELETE FROM terms WHERE tenant_id = :tenant AND namespace_id = :ns",
        "DELETE FROM changes WHERE tenant_id = :tenant AND namespace_id = :ns",
        # The body hash of an erasure is a digest of its subject.
        """UPDATE idempotency_keys SET body_hash = NULL
        WHERE tenant_id = :tenant AND namespace_id = :ns AND memory IS NOT NULL""",
        "DELETE FROM namespaces WHERE tenant_id = :tenant AND id = :ns",  # and its usage
    )
)


@dataclass(slots=True)
class DeletedRows:
    """Totals of the rows that batches have deleted."""

    changed: list[tuple[int, int]] = field(default_factory=list)
    """Deleted memories, each with its revision."""
    text_bytes: int = 0
    term_occurrences: int = 0
    vectors: int = 0
    terms: Counter[str] = field(default_factory=Counter)

    def add(self, batch: Any) -> None:
        """Add the result of one more batch."""
        self.changed += zip(batch.ids, batch.revisions, strict=True)
        self.text_bytes += int(batch.text_bytes)
        self.term_occurrences += int(batch.tokens)
        self.vectors += batch.vectors
        self.terms.update(dict(zip(batch.terms, batch.dfs, strict=True)))

    def commit(self, change: ChangeType) -> Commit:
        """Return the effect of the deletion on the namespace."""
        counts = Counts(
            memories=-len(self.changed),
            text_bytes=-self.text_bytes,
            term_occurrences=-self.term_occurrences,
            vectors=-self.vectors,
            terms={term: -df for term, df in self.terms.items()},
        )
        return Commit(change, self.changed, counts)


async def delete_memory(
    connection: Connection, tenant: TenantId, name: MemoryName, etag: str, now: datetime, request: RequestKey | None
) -> NamespaceVersion | None:
    """Delete a memory; see `Store.delete_memory`."""
    parent = {"name": name.namespace.namespace}
    namespace = (await connection.execute(namespaces.FIND, parent)).one_or_none()
    if namespace is None:
        raise namespaces.namespace_not_found(name.namespace)
    if await idempotency.find(connection, request, now):
        return NamespaceVersion(namespace.epoch, namespace.version)
    parameters = {"tenant": tenant, "ns": namespace.id, "id": name.memory, "now": now}
    row = (await connection.execute(memories.FIND_LIVE_FOR_UPDATE, parameters)).one_or_none()
    if row is None:
        return None
    check_etag(etag, rows.memory(name.namespace, row).etag, "memory")
    deleted = DeletedRows()
    deleted.add((await connection.execute(_DELETE_ONE, parameters)).one())
    await idempotency.save(connection, tenant, request, now, ns=namespace.id, memory=name.memory)
    statement = commit_statement(tenant, namespace.id, deleted.commit(ChangeType.FORGOTTEN), now)
    as_of = committed_version(await connection.execute(*statement))
    await connection.execute_and_commit(*drop_terms_statement(tenant, namespace.id, list(deleted.terms)))
    return as_of


async def delete_namespace(
    connection: Connection,
    tenant: TenantId,
    name: NamespaceName,
    etag: str,
    now: datetime,
    request: RequestKey | None,
    batch_size: int = BATCH_SIZE,
) -> bool:
    """Delete a namespace; see `Store.delete_namespace`."""
    if await idempotency.find(connection, request, now):
        return True
    namespace = (await connection.execute(namespaces.FIND, {"name": name.namespace})).one_or_none()
    if namespace is None:
        # A duplicate of this request may have committed first: then its result is this one's.
        return await idempotency.find(connection, request, now) is not None
    parameters: dict[str, object] = {"tenant": tenant, "ns": namespace.id, "batch": batch_size}
    check_etag(etag, rows.namespace(namespace).etag, "namespace")
    await _delete_in_batches(connection, _DELETE_ALL, parameters, DeletedRows())
    locked = (await connection.execute(_LOCK_NAMESPACE, parameters)).one_or_none()
    if locked is None:
        return await idempotency.find(connection, request, now) is not None
    check_etag(etag, locked.etag, "namespace")
    await _delete_in_batches(connection, _DELETE_ALL, parameters, DeletedRows())
    for statement in _DELETE_NAMESPACE:
        await connection.execute(statement, parameters)
    await idempotency.save(connection, tenant, request, now, ns=namespace.id, memory=None)
    return True


async def erase_subject(
    connection: Connection,
    tenant: TenantId,
    name: NamespaceName,
    subject: str,
    now: datetime,
    request: RequestKey | None,
    batch_size: int = BATCH_SIZE,
) -> ErasureResult:
    """Erase all memories about a subject; see `Store.erase_subject`."""
    namespace = (await connection.execute(namespaces.FIND, {"name": name.namespace})).one_or_none()
    if namespace is None:
        raise namespaces.namespace_not_found(name)
    if stored := await idempotency.find(connection, request, now):
        if stored.erased_count is None:
            raise request_id_reused()
        return ErasureResult(stored.erased_count, NamespaceVersion(namespace.epoch, namespace.version))
    parameters: dict[str, object] = {"tenant": tenant, "ns": namespace.id, "subject": subject, "batch": batch_size}
    deleted = DeletedRows()
    await _delete_in_batches(connection, _DELETE_SUBJECT, parameters, deleted)
    locked = (await connection.execute(_LOCK_NAMESPACE, parameters)).one_or_none()
    if locked is None:
        raise namespaces.namespace_not_found(name)
    await _delete_in_batches(connection, _DELETE_SUBJECT, parameters, deleted)
    await connection.execute(_DELETE_REVISIONS_OF_SUBJECT, parameters)
    count = len(deleted.changed)
    await idempotency.save(connection, tenant, request, now, ns=namespace.id, memory=MemoryId(-count))
    if not count:
        return ErasureResult(0, NamespaceVersion(locked.epoch, locked.version))
    as_of = await bump_version(connection, tenant, namespace.id, deleted.commit(ChangeType.FORGOTTEN), now)
    await connection.execute(*drop_terms_statement(tenant, namespace.id, list(deleted.terms)))
    return ErasureResult(count, as_of)


async def _delete_in_batches(
    connection: Connection, statement: Sql, parameters: Mapping[str, object], deleted: DeletedRows
) -> None:
    """Delete all memories that `statement` selects, and add them to `deleted`."""
    after = -1  # continue after the deleted ids instead of scanning them again
    while True:
        batch = (await connection.execute(statement, {**parameters, "after": after})).one()
        if not batch.ids:
            return
        after = batch.ids[-1]
        deleted.add(batch)
