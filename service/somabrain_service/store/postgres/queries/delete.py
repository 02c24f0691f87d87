"""Deletion of namespaces with everything in them, and erasure of all memories about a subject.

Memories are deleted in batches, each a statement that ends well within its timeout, and all in one transaction: all or
nothing. Most are deleted before the namespace's row is locked, so that writers wait only for the rest: the memories
written meanwhile. Rows are locked before the namespace's, as in every writing transaction.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from common.errors import Aborted
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.idempotency import RequestKey, request_id_reused
from somabrain_service.domain.names import MemoryId, NamespaceName, TenantId
from somabrain_service.store.postgres.driver.arrays import numbers
from somabrain_service.store.postgres.driver.errors import Retry
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import sql
from somabrain_service.store.postgres.queries import idempotency, namespaces, rows
from somabrain_service.store.postgres.queries.commit import ChangeType
from somabrain_service.store.records import ErasureResult

BATCH = 1000

LOCK_NAMESPACE = sql(
    "SELECT epoch || '-' || revision AS etag, version, epoch FROM namespaces WHERE id = :ns FOR UPDATE"
)

# Arrays, because they are looked up in the database indexes whatever size the planner estimates for a batch.
_DELETE_BATCH = """
WITH doomed AS MATERIALIZED (
    SELECT m.id FROM memories m WHERE m.namespace_id = :ns AND m.id > :after{about}
    ORDER BY m.id LIMIT :batch FOR UPDATE
), gone AS (
    DELETE FROM memories m WHERE m.namespace_id = :ns AND m.id = ANY(ARRAY(SELECT id FROM doomed))
    RETURNING m.id, m.revision, octet_length(m.text) AS text_bytes, m.length
), vector AS (
    DELETE FROM memory_vectors v WHERE v.namespace_id = :ns AND v.memory = ANY(ARRAY(SELECT id FROM doomed))
    RETURNING v.memory
), term AS (
    DELETE FROM memory_terms t WHERE t.namespace_id = :ns AND t.memory = ANY(ARRAY(SELECT id FROM doomed))
    RETURNING t.term
), counted AS (
    SELECT term, count(*) AS df FROM term GROUP BY term
), scrubbed AS (
    UPDATE idempotency_keys k SET body_hash = NULL
    WHERE k.namespace_id = :ns AND k.memory = ANY(ARRAY(SELECT id FROM doomed))
)
SELECT ARRAY(SELECT id FROM gone ORDER BY id) AS ids, ARRAY(SELECT revision FROM gone ORDER BY id) AS revisions,
    (SELECT coalesce(sum(text_bytes), 0) FROM gone) AS text_bytes,
    (SELECT coalesce(sum(length), 0) FROM gone) AS tokens, (SELECT count(*) FROM vector) AS vectors,
    ARRAY(SELECT term FROM counted ORDER BY term) AS terms, ARRAY(SELECT df FROM counted ORDER BY term) AS dfs
"""
_DELETE_BATCH_OF_ALL = sql(_DELETE_BATCH.format(about=""))
_DELETE_BATCH_OF_SUBJECT = sql(_DELETE_BATCH.format(about=" AND m.subject = :subject AND m.subject <> ''"))
_DELETE_REVISIONS_OF_SUBJECT = sql("DELETE FROM memory_revisions WHERE namespace_id = :ns AND subject = :subject")

_BUMP_VERSION = sql("""
WITH raised AS (
    UPDATE namespaces SET version = version + 1 WHERE tenant_id = :tenant AND id = :ns RETURNING id, version, epoch
), counted AS (
    UPDATE usage u SET memories = u.memories - :memories, text_bytes = u.text_bytes - :text_bytes,
        tokens = u.tokens - :tokens, vectors = u.vectors - :vectors
    FROM raised WHERE u.tenant_id = :tenant AND u.namespace_id = raised.id
), change AS (
    INSERT INTO changes (tenant_id, namespace_id, version, ordinal, type, memory, revision, change_time)
    SELECT :tenant, raised.id, version, c.ordinal - 1, :type, c.memory, c.revision, :now
    FROM raised, unnest(CAST(:ids AS bigint[]), CAST(:revisions AS bigint[])) WITH ORDINALITY
        AS c (memory, revision, ordinal)
), term AS (
    UPDATE terms t SET df = t.df - gone.df
    FROM raised, unnest(CAST(:terms AS text[]), CAST(:dfs AS bigint[])) AS gone (term, df)
    WHERE t.tenant_id = :tenant AND t.namespace_id = raised.id AND t.term = gone.term
)
SELECT version, epoch FROM raised
""")
_DROP_TERMS = sql("DELETE FROM terms WHERE namespace_id = :ns AND df = 0")

_DELETE_NAMESPACE = tuple(
    sql(statement)
    for statement in (
        "DELETE FROM terms WHERE namespace_id = :ns",
        "DELETE FROM changes WHERE namespace_id = :ns",
        # The body hash of an erasure is a digest of its subject.
        "UPDATE idempotency_keys SET body_hash = NULL WHERE namespace_id = :ns AND memory IS NOT NULL",
        "DELETE FROM namespaces WHERE id = :ns",  # and its usage
    )
)


@dataclass(slots=True)
class DeletedRows:
    """Totals of the rows that batches have deleted."""

    ids: list[int] = field(default_factory=list)
    revisions: list[int] = field(default_factory=list)
    text_bytes: int = 0
    term_occurrences: int = 0
    vectors: int = 0
    terms: Counter[str] = field(default_factory=Counter)

    def add(self, batch: Any) -> None:
        """Add the result of one more batch."""
        self.ids += batch.ids
        self.revisions += batch.revisions
        self.text_bytes += int(batch.text_bytes)
        self.term_occurrences += int(batch.tokens)
        self.vectors += batch.vectors
        self.terms.update(dict(zip(batch.terms, batch.dfs, strict=True)))


async def delete_namespace(
    connection: Connection,
    tenant: TenantId,
    name: NamespaceName,
    etag: str,
    now: datetime,
    request: RequestKey | None,
) -> bool:
    """See `Store.delete_namespace`."""
    if await idempotency.find(connection, request, now):
        return True
    namespace = (await connection.execute(namespaces.FIND, {"name": name.namespace})).one_or_none()
    if namespace is None:
        # A duplicate of this request may have committed first: then its result is this one's.
        return await idempotency.find(connection, request, now) is not None
    parameters: dict[str, object] = {"ns": namespace.id}
    _check_etag(etag, rows.namespace(namespace).etag)
    await _delete_in_batches(connection, parameters, DeletedRows())
    locked = (await connection.execute(LOCK_NAMESPACE, parameters)).one_or_none()
    if locked is None:
        return await idempotency.find(connection, request, now) is not None
    _check_etag(etag, locked.etag)
    await _delete_in_batches(connection, parameters, DeletedRows())
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
) -> ErasureResult:
    """See `Store.erase_subject`."""
    namespace = (await connection.execute(namespaces.FIND, {"name": name.namespace})).one_or_none()
    if namespace is None:
        raise namespaces.namespace_not_found(name)
    if stored := await idempotency.find(connection, request, now):
        if stored.erased_count is None:
            raise request_id_reused()
        return ErasureResult(stored.erased_count, NamespaceVersion(namespace.epoch, namespace.version))
    parameters: dict[str, object] = {"ns": namespace.id, "subject": subject}
    deleted = DeletedRows()
    await _delete_in_batches(connection, parameters, deleted)
    locked = (await connection.execute(LOCK_NAMESPACE, {"ns": namespace.id})).one_or_none()
    if locked is None:
        raise namespaces.namespace_not_found(name)
    await _delete_in_batches(connection, parameters, deleted)
    await connection.execute(_DELETE_REVISIONS_OF_SUBJECT, parameters)
    count = len(deleted.ids)
    await idempotency.save(connection, tenant, request, now, ns=namespace.id, memory=MemoryId(-count))
    if not count:
        return ErasureResult(0, NamespaceVersion(locked.epoch, locked.version))
    as_of = await bump_version(connection, tenant, namespace.id, ChangeType.FORGOTTEN, now, deleted)
    # Terms that no memory has any more are deleted.
    await connection.execute(_DROP_TERMS, {"ns": namespace.id})
    return ErasureResult(count, as_of)


async def bump_version(
    connection: Connection, tenant: TenantId, ns: int, change: ChangeType, now: datetime, deleted: DeletedRows
) -> NamespaceVersion:
    """Increment the version, append the deletions to the feed, and update the counts; before terms are dropped."""
    values = {
        "tenant": tenant,
        "ns": ns,
        "type": int(change),
        "now": now,
        "memories": len(deleted.ids),
        "text_bytes": deleted.text_bytes,
        "tokens": deleted.term_occurrences,
        "vectors": deleted.vectors,
        "ids": numbers(deleted.ids),
        "revisions": numbers(deleted.revisions),
        "terms": list(deleted.terms),
        "dfs": numbers(list(deleted.terms.values())),
    }
    row = (await connection.execute(_BUMP_VERSION, values)).one_or_none()
    if row is None:
        # The namespace was deleted concurrently: the next attempt detects that.
        raise Retry
    return NamespaceVersion(row.epoch, row.version)


async def _delete_in_batches(connection: Connection, parameters: dict[str, object], deleted: DeletedRows) -> None:
    """Delete all memories, or all about the subject in `parameters`, and add them to `deleted`."""
    statement = _DELETE_BATCH_OF_SUBJECT if "subject" in parameters else _DELETE_BATCH_OF_ALL
    after = -1  # continue after the deleted ids instead of scanning them again
    while True:
        batch = (await connection.execute(statement, {**parameters, "after": after, "batch": BATCH})).one()
        if not batch.ids:
            return
        after = batch.ids[-1]
        deleted.add(batch)


def _check_etag(etag: str, current: str) -> None:
    if etag and etag != current:
        raise Aborted("etag: is not the current one; read the namespace again and retry with its etag.")
