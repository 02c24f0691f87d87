"""Deletion of memories: one forgotten, those about a subject, those that expired, and a whole namespace.

Memories are deleted in batches, each of statements that end well within their timeout, and all in one transaction: all
or nothing. Most are deleted before the namespace's row is locked, so that writers wait only for the rest: the memories
written meanwhile. Rows are locked before the namespace's, as in every writing transaction.

A batch is locked by one statement and deleted by the next: a statement sees the database as of its beginning, so one
that waited for an update of a memory would delete the memory but neither its new terms nor its new vector.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from somabrain_service.domain.changes import ChangeType
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.etag import check_etag
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.idempotency import RequestKey, request_id_reused
from somabrain_service.domain.names import MemoryId, MemoryRef, NamespaceName
from somabrain_service.store.postgres.driver.arrays import numbers
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import Sql, sql
from somabrain_service.store.postgres.queries import filters, idempotency, memories, namespaces, rows
from somabrain_service.store.postgres.queries.commit import (
    Commit,
    Counts,
    commit_changes,
)
from somabrain_service.store.records import ErasureResult, ForgettingResult

BATCH_SIZE = 1000
"""Maximum memories that one statement deletes."""

_LOCK_NAMESPACE = sql(
    "SELECT n.epoch || '-' || n.revision AS etag, n.version, n.epoch FROM namespaces n"
    " WHERE n.tenant_id = :tenant AND n.id = :ns FOR UPDATE"
)


def _lock_statement(selection: str) -> Sql:
    """Return the statement that locks a batch of memories, with the end of the SELECT of the memories `m` to lock."""
    return sql(f"SELECT m.id FROM memories m WHERE m.tenant_id = :tenant AND m.namespace_id = :ns {selection}")


_LOCK_BATCH = "AND m.id > :after{about} ORDER BY m.id LIMIT :batch FOR UPDATE"
_LOCK_ALL = _lock_statement(_LOCK_BATCH.format(about=""))
_LOCK_SUBJECT = _lock_statement(_LOCK_BATCH.format(about=" AND m.subject = :subject AND m.subject <> ''"))
LOCK_EXPIRED = _lock_statement(
    "AND m.expire_time <= :now ORDER BY m.expire_time, m.id LIMIT :limit FOR UPDATE SKIP LOCKED"
)
_LOCK_EXPIRED_BY_ID = _lock_statement(
    "AND m.id = ANY(CAST(:ids AS bigint[])) AND m.expire_time <= :now ORDER BY m.id FOR UPDATE"
)

# Vectors, those of tokens, labels and revisions go by cascade. Ids are passed on as arrays, because those are looked up
# in the database indexes at any size that the planner estimates for a batch.
_DELETE_LOCKED = sql(f"""
WITH deleted AS (
    DELETE FROM memories m
    WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = ANY(CAST(:ids AS bigint[]))
    RETURNING m.id, m.revision, {rows.STORED_BYTES} AS text_bytes, m.length
), vector AS (
    SELECT v.memory FROM memory_vectors v
    WHERE v.tenant_id = :tenant AND v.namespace_id = :ns AND v.memory = ANY(CAST(:ids AS bigint[]))
), token_vector AS (
    SELECT v.size_bytes FROM memory_token_vectors v
    WHERE v.tenant_id = :tenant AND v.namespace_id = :ns AND v.memory = ANY(CAST(:ids AS bigint[]))
), term AS (
    DELETE FROM memory_terms t
    WHERE t.tenant_id = :tenant AND t.namespace_id = :ns AND t.memory = ANY(CAST(:ids AS bigint[]))
    RETURNING t.term
), counted AS (
    SELECT term, count(*) AS df FROM term GROUP BY term
), scrubbed AS (
    UPDATE idempotency_keys k SET body_hash = NULL
    WHERE k.tenant_id = :tenant AND k.namespace_id = :ns AND k.memory = ANY(CAST(:ids AS bigint[]))
)
SELECT ARRAY(SELECT id FROM deleted ORDER BY id) AS ids, ARRAY(SELECT revision FROM deleted ORDER BY id) AS revisions,
    (SELECT coalesce(sum(text_bytes), 0) FROM deleted) AS text_bytes,
    (SELECT coalesce(sum(length), 0) FROM deleted) AS tokens, (SELECT count(*) FROM vector) AS vectors,
    (SELECT count(*) FROM token_vector) AS token_texts,
    (SELECT coalesce(sum(size_bytes), 0) FROM token_vector) AS token_bytes,
    ARRAY(SELECT term FROM counted ORDER BY term) AS terms, ARRAY(SELECT df FROM counted ORDER BY term) AS dfs
""")

_DELETE_REVISIONS_OF_SUBJECT = sql(
    "DELETE FROM memory_revisions r WHERE r.tenant_id = :tenant AND r.namespace_id = :ns AND r.subject = :subject"
)

_DELETE_NAMESPACE = tuple(
    sql(statement)
    for statement in (
        # Left by deletions before 0.2.
        "DELETE FROM memory_terms t WHERE t.tenant_id = :tenant AND t.namespace_id = :ns",
        "DELETE FROM terms t WHERE t.tenant_id = :tenant AND t.namespace_id = :ns",
        "DELETE FROM changes c WHERE c.tenant_id = :tenant AND c.namespace_id = :ns",
        # The body hash of an erasure is a digest of its subject.
        """UPDATE idempotency_keys k SET body_hash = NULL
        WHERE k.tenant_id = :tenant AND k.namespace_id = :ns AND k.memory IS NOT NULL""",
        "DELETE FROM namespaces n WHERE n.tenant_id = :tenant AND n.id = :ns",  # and its usage
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
    token_texts: int = 0
    token_bytes: int = 0
    terms: Counter[str] = field(default_factory=Counter)

    def add(self, batch: Any) -> None:
        """Add the result of one more batch."""
        self.changed += zip(batch.ids, batch.revisions, strict=True)
        self.text_bytes += int(batch.text_bytes)
        self.term_occurrences += int(batch.tokens)
        self.vectors += batch.vectors
        self.token_texts += batch.token_texts
        self.token_bytes += int(batch.token_bytes)
        self.terms.update(dict(zip(batch.terms, batch.dfs, strict=True)))

    def commit(self, change: ChangeType) -> Commit:
        """Return the effect of the deletion on the namespace."""
        counts = Counts(
            memories=-len(self.changed),
            text_bytes=-self.text_bytes,
            term_occurrences=-self.term_occurrences,
            vectors=-self.vectors,
            token_texts=-self.token_texts,
            token_bytes=-self.token_bytes,
            terms={term: -df for term, df in self.terms.items()},
        )
        return Commit(change, self.changed, counts)


async def delete_memory(
    connection: Connection, ref: MemoryRef, etag: str, now: datetime, request: RequestKey | None
) -> NamespaceVersion | None:
    """Delete a memory; see `Store.delete_memory`."""
    parent = {"name": ref.namespace.namespace}
    namespace = (await connection.execute(namespaces.FIND, parent)).one_or_none()
    if namespace is None:
        raise namespaces.namespace_not_found(ref.namespace)
    if await idempotency.find(connection, request, now):
        return NamespaceVersion(namespace.epoch, namespace.version)
    row = (await connection.execute(*memories.find_live(ref, namespace.id, now, for_update=True))).one_or_none()
    if row is None:
        return None
    check_etag(etag, rows.memory(ref.namespace, row).etag, "memory")
    deleted = DeletedRows()
    await delete_locked(connection, {"ns": namespace.id}, [row.id], deleted)
    await idempotency.save(connection, request, now, ns=namespace.id, memory=row.id)
    return await commit_changes(connection, namespace.id, deleted.commit(ChangeType.FORGOTTEN), now)


async def expire_key_holders(connection: Connection, ns: int, ids: Sequence[int], now: datetime) -> None:
    """Delete those of the memories that have expired, as the expiry job will, because their keys are claimed now."""
    values = {"ns": ns, "ids": numbers(ids), "now": now}
    if locked := [row.id for row in await connection.execute(_LOCK_EXPIRED_BY_ID, values)]:
        deleted = DeletedRows()
        await delete_locked(connection, values, locked, deleted)
        await commit_changes(connection, ns, deleted.commit(ChangeType.EXPIRED), now)


async def delete_namespace(
    connection: Connection,
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
    parameters: dict[str, object] = {"ns": namespace.id, "batch": batch_size}
    check_etag(etag, rows.namespace(namespace).etag, "namespace")
    await _delete_in_batches(connection, _LOCK_ALL, parameters, DeletedRows())
    locked = (await connection.execute(_LOCK_NAMESPACE, parameters)).one_or_none()
    if locked is None:
        return await idempotency.find(connection, request, now) is not None
    check_etag(etag, locked.etag, "namespace")
    await _delete_in_batches(connection, _LOCK_ALL, parameters, DeletedRows())
    for statement in _DELETE_NAMESPACE:
        await connection.execute(statement, parameters)
    await idempotency.save(connection, request, now, ns=namespace.id, memory=None)
    return True


async def erase_subject(
    connection: Connection,
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
    parameters: dict[str, object] = {"ns": namespace.id, "subject": subject, "batch": batch_size}
    deleted = DeletedRows()
    await _delete_in_batches(connection, _LOCK_SUBJECT, parameters, deleted)
    locked = (await connection.execute(_LOCK_NAMESPACE, parameters)).one_or_none()
    if locked is None:
        raise namespaces.namespace_not_found(name)
    await _delete_in_batches(connection, _LOCK_SUBJECT, parameters, deleted)
    await connection.execute(_DELETE_REVISIONS_OF_SUBJECT, parameters)
    count = len(deleted.changed)
    await idempotency.save(connection, request, now, ns=namespace.id, memory=MemoryId(-count))
    if not count:
        return ErasureResult(0, NamespaceVersion(locked.epoch, locked.version))
    as_of = await commit_changes(connection, namespace.id, deleted.commit(ChangeType.FORGOTTEN), now)
    return ErasureResult(count, as_of)


async def forget_matching(
    connection: Connection,
    name: NamespaceName,
    memory_filter: MemoryFilter,
    limit: int,
    now: datetime,
    request: RequestKey | None,
    batch_size: int = BATCH_SIZE,
) -> ForgettingResult:
    """Delete at most `limit` live memories that match, oldest first; see `Store.forget_memories`."""
    namespace = (await connection.execute(namespaces.FIND, {"name": name.namespace})).one_or_none()
    if namespace is None:
        raise namespaces.namespace_not_found(name)
    statements = matching_statements(memory_filter)
    parameters: dict[str, object] = {"ns": namespace.id, "now": now, **statements.values}
    matching: int = (await connection.execute(statements.count, parameters)).scalar_one()
    as_of = NamespaceVersion(namespace.epoch, namespace.version)
    if stored := await idempotency.find(connection, request, now):
        if stored.erased_count is None:
            raise request_id_reused()
        return ForgettingResult(stored.erased_count, stored.erased_count + matching, as_of)
    deleted = DeletedRows()
    after = -1
    while (batch := min(batch_size, limit - len(deleted.changed))) > 0:
        locked = [
            row.id for row in await connection.execute(statements.lock, {**parameters, "after": after, "batch": batch})
        ]
        if not locked:
            break
        after = locked[-1]
        # A memory that was changed while its lock was waited for may match no longer: look again at what is locked.
        confirmed = await connection.execute(statements.confirm, {**parameters, "ids": numbers(locked)})
        await delete_locked(connection, parameters, [row.id for row in confirmed], deleted)
    count = len(deleted.changed)
    await idempotency.save(connection, request, now, ns=namespace.id, memory=MemoryId(-count))
    if count:
        as_of = await commit_changes(connection, namespace.id, deleted.commit(ChangeType.FORGOTTEN), now)
    return ForgettingResult(count, max(matching, count), as_of)


@dataclass(frozen=True, slots=True)
class MatchingStatements:
    """Statements about the live memories that match a filter, with the values of its conditions.

    `count` also needs :ns and :now, as the others do; `lock` :after and :batch, `confirm` :ids.
    """

    count: Sql
    lock: Sql
    confirm: Sql
    values: Mapping[str, object]


def matching_statements(memory_filter: MemoryFilter) -> MatchingStatements:
    """Return the statements about the live memories that match a filter."""
    conditions, values = filters.conditions(memory_filter)
    matching = f"FROM memories m WHERE {conditions}"
    return MatchingStatements(
        sql(f"SELECT count(*) {matching}"),
        sql(f"SELECT m.id {matching} AND m.id > :after ORDER BY m.id LIMIT :batch FOR UPDATE OF m"),
        sql(f"SELECT m.id {matching} AND m.id = ANY(CAST(:ids AS bigint[])) ORDER BY m.id"),
        values,
    )


async def delete_locked(
    connection: Connection, parameters: Mapping[str, object], ids: Sequence[int], deleted: DeletedRows
) -> None:
    """Delete memories whose rows an earlier statement has locked, with all that is derived; add them to `deleted`."""
    deleted.add((await connection.execute(_DELETE_LOCKED, {**parameters, "ids": numbers(ids)})).one())


async def _delete_in_batches(
    connection: Connection, lock: Sql, parameters: Mapping[str, object], deleted: DeletedRows
) -> None:
    """Delete all memories that `lock` selects, and add them to `deleted`."""
    after = -1  # continue after the deleted ids instead of scanning them again
    while ids := [row.id for row in await connection.execute(lock, {**parameters, "after": after})]:
        after = ids[-1]
        await delete_locked(connection, parameters, ids, deleted)
