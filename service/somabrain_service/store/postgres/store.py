"""The store over PostgreSQL: the transaction of each call."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from psycopg import IntegrityError

from common.errors import Aborted, AlreadyExists, NotFound, SomaBrainError
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.idempotency import RequestKey
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryName, NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace, NamespaceChange, NamespaceDraft, NamespaceStatistics
from somabrain_service.domain.quota import StorageUsage
from somabrain_service.store import schema
from somabrain_service.store.postgres import insert_batch
from somabrain_service.store.postgres.driver.errors import Retry, violated_constraint
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import sql
from somabrain_service.store.postgres.driver.transactions import Transactions
from somabrain_service.store.postgres.group_commit import GroupCommit
from somabrain_service.store.postgres.namespace_cache import NamespaceCache
from somabrain_service.store.postgres.queries import (
    commit,
    delete,
    filters,
    idempotency,
    namespaces,
    precheck,
    rows,
    update,
)
from somabrain_service.store.postgres.snapshot import PostgresSnapshot
from somabrain_service.store.postgres.storage_quota import MAX_WRITE, StorageQuota
from somabrain_service.store.protocols import Snapshot
from somabrain_service.store.records import (
    BatchWriteResult,
    ErasureResult,
    MemoryUpdate,
    NewMemory,
    SchemaState,
    WriteResult,
)
from somabrain_service.store.tasks import TaskSet

_PING = sql("SELECT 1")
_SCHEMA_EXISTS = sql("SELECT to_regclass('schema_info') IS NOT NULL")
_SCHEMA = sql(schema.SELECT_SCHEMA_INFO)
_INSERT_NAMESPACE = sql(f"""
WITH n AS (
    INSERT INTO namespaces (tenant_id, name, display_name, analyzer, language, encoder, recency_half_life, default_ttl,
        feed_retention, create_time, update_time, epoch)
    VALUES (:tenant, :name, :display_name, :analyzer, :language, :encoder, :recency_half_life, :default_ttl,
        :feed_retention, :now, :now, :epoch)
    ON CONFLICT (tenant_id, name) DO NOTHING RETURNING *
), u AS (INSERT INTO usage (tenant_id, namespace_id) SELECT tenant_id, id FROM n)
SELECT {rows.NAMESPACE} FROM n
""")
_LIVE_MEMORY = sql(f"SELECT {rows.MEMORY} FROM memories m WHERE m.namespace_id = :ns AND m.id = :id AND {filters.LIVE}")
_LOCKED_MEMORY = sql(f"{_LIVE_MEMORY.text} FOR UPDATE")


class PostgresStore:
    """See `Store`."""

    def __init__(self, transactions: Transactions, storage_quota: StorageQuota, tasks: TaskSet) -> None:
        self._transactions = transactions
        self._storage_quota = storage_quota
        self._group_commit = GroupCommit(self._insert_group, MAX_WRITE, tasks)
        self._namespace_cache = NamespaceCache()

    def connections(self) -> tuple[int, int]:
        """See `Store.connections`."""
        return self._transactions.connections()

    def index_stats(self) -> tuple[int, int]:
        """See `Store.index_stats`."""
        return 0, 0

    async def ping(self) -> None:
        """See `Store.ping`."""
        await self._transactions.fetch_one(_PING)

    async def schema_state(self) -> SchemaState:
        """See `Store.schema_state`."""
        exists = await self._transactions.fetch_one(_SCHEMA_EXISTS)
        row = await self._transactions.fetch_one(_SCHEMA) if exists and exists[0] else None
        match row:
            case (int(current), int(oldest_compatible)):
                return SchemaState(current, oldest_compatible, schema.HEAD)
            case _:
                return SchemaState(None, None, schema.HEAD)

    async def create_namespace(
        self, tenant: TenantId, draft: NamespaceDraft, analyzer: str, now: datetime, request: RequestKey | None
    ) -> Namespace:
        """See `Store.create_namespace`."""

        async def work(connection: Connection) -> Namespace:
            if await idempotency.find(connection, request, now):
                row = (await connection.execute(namespaces.FIND, {"name": draft.name.namespace})).one_or_none()
                if row is None:
                    raise NotFound("Namespace", str(draft.name), "It has since been deleted; use a new request id.")
                return rows.namespace(row)
            values = {
                "tenant": tenant,
                "name": draft.name.namespace,
                "display_name": draft.display_name,
                "analyzer": analyzer,
                "language": draft.settings.language,
                "encoder": draft.settings.encoder,
                "recency_half_life": draft.settings.recency_half_life,
                "default_ttl": draft.settings.default_ttl,
                "feed_retention": draft.settings.feed_retention,
                "now": now,
                "epoch": secrets.token_hex(6),
            }
            row = (await connection.execute(_INSERT_NAMESPACE, values)).one_or_none()
            if row is None:
                # A duplicate of this request may have committed first: then its result is this one's.
                if await idempotency.find(connection, request, now):
                    raise Retry
                raise AlreadyExists(f"{draft.name} exists already; choose another name or use it as it is.")
            await idempotency.save(connection, tenant, request, now, ns=row.id, memory=None)
            return rows.namespace(row)

        return await self._transactions.write(tenant, work, idempotent=request is not None)

    async def namespace(self, tenant: TenantId, name: NamespaceName) -> Namespace:
        """See `Store.namespace`."""
        if cached := self._namespace_cache.get(tenant, name):
            return cached
        async with self._open_snapshot(tenant, name) as (_, namespace):
            return namespace

    async def measure_namespace(
        self, tenant: TenantId, name: NamespaceName, now: datetime
    ) -> tuple[Namespace, NamespaceStatistics]:
        """See `Store.measure_namespace`."""
        async with self._transactions.read(tenant) as (connection, _):
            return await namespaces.measure(connection, name, now)

    async def list_namespaces(self, tenant: TenantId, after: str, limit: int) -> list[Namespace]:
        """See `Store.list_namespaces`."""
        async with self._transactions.read(tenant) as (connection, _):
            return await namespaces.page(connection, after, limit)

    async def update_namespace(
        self, tenant: TenantId, change: NamespaceChange, analyzer: str, now: datetime, request: RequestKey | None
    ) -> Namespace:
        """See `Store.update_namespace`."""

        async def work(connection: Connection) -> Namespace:
            return await namespaces.update(connection, tenant, change, analyzer, now, request)

        return self._namespace_cache.put(
            tenant, await self._transactions.write(tenant, work, idempotent=request is not None)
        )

    async def delete_namespace(
        self, tenant: TenantId, name: NamespaceName, etag: str, now: datetime, request: RequestKey | None
    ) -> bool:
        """See `Store.delete_namespace`."""

        async def work(connection: Connection) -> bool:
            return await delete.delete_namespace(connection, tenant, name, etag, now, request)

        deleted = await self._transactions.write(tenant, work, idempotent=request is not None)
        self._invalidate_namespace(tenant, name)
        return deleted

    async def erase_subject(
        self, tenant: TenantId, name: NamespaceName, subject: str, now: datetime, request: RequestKey | None
    ) -> ErasureResult:
        """See `Store.erase_subject`."""

        async def work(connection: Connection) -> ErasureResult:
            return await delete.erase_subject(connection, tenant, name, subject, now, request)

        return await self._transactions.write(tenant, work, idempotent=request is not None)

    @asynccontextmanager
    async def snapshot(self, tenant: TenantId, name: NamespaceName, now: datetime) -> AsyncIterator[Snapshot]:
        """See `Store.snapshot`."""
        async with self._open_snapshot(tenant, name) as (connection, namespace):
            yield PostgresSnapshot(connection, namespace, now)

    @asynccontextmanager
    async def _open_snapshot(
        self, tenant: TenantId, name: NamespaceName
    ) -> AsyncIterator[tuple[Connection, Namespace]]:
        """Open a snapshot, with the namespace in it.

        Raises:
            NotFound: no such namespace.
        """
        find = (namespaces.FIND, {"name": name.namespace})
        async with self._transactions.read(tenant, find) as (connection, (result,)):
            row = result.one_or_none()
            if row is None:
                self._invalidate_namespace(tenant, name)
                raise namespaces.namespace_not_found(name)
            yield connection, self._namespace_cache.put(tenant, rows.namespace(row))

    def _invalidate_namespace(self, tenant: TenantId, name: NamespaceName) -> None:
        """Remove a deleted namespace from the caches."""
        self._namespace_cache.invalidate(tenant, name)

    async def insert_memory(
        self, tenant: TenantId, namespace: Namespace, new: NewMemory, request: RequestKey | None
    ) -> WriteResult:
        """See `Store.insert_memory`."""
        key = (tenant, namespace.name, namespace.etag)
        return await self._group_commit.submit(key, (namespace, new, request), insert_batch.usage_of(new))

    async def _insert_group(
        self, key: tuple[TenantId, NamespaceName, str], items: Sequence[tuple[Namespace, NewMemory, RequestKey | None]]
    ) -> Sequence[WriteResult | SomaBrainError]:
        """Insert a group of memories of one namespace."""
        tenant, (namespace, *_) = key[0], items[0]
        batch_result = await self.insert_memories(tenant, namespace, [(new, request) for _, new, request in items])
        return [
            WriteResult(outcome, batch_result.as_of) if isinstance(outcome, Memory) else outcome
            for outcome in batch_result.results
        ]

    async def insert_memories(
        self, tenant: TenantId, namespace: Namespace, items: Sequence[tuple[NewMemory, RequestKey | None]]
    ) -> BatchWriteResult:
        """See `Store.insert_memories`."""
        total = sum((insert_batch.usage_of(new) for new, _ in items), StorageUsage())
        now = items[0][0].create_time if items else datetime.now(UTC)

        assumed = precheck.assumed_preconditions(namespace, items)

        async def work(connection: Connection) -> BatchWriteResult:
            nonlocal assumed
            headroom = await self._storage_quota.headroom(connection, tenant, total, now)
            preconditions, assumed = assumed if headroom is None else None, None
            if preconditions is None:
                preconditions = await precheck.load_preconditions(connection, tenant, namespace.name, items, now)
                self._check_etag(tenant, namespace, preconditions.namespace.etag if preconditions else None)
            if preconditions is None:
                raise namespaces.namespace_not_found(namespace.name)
            return await insert_batch.insert(connection, tenant, preconditions, items, headroom)

        return await self._transactions.write(tenant, work, idempotent=all(request for _, request in items))

    async def find_replay(
        self, tenant: TenantId, parent: NamespaceName, request: RequestKey | None, now: datetime
    ) -> WriteResult | None:
        """See `Store.find_replay`."""
        if request is None:
            return None
        async with self._transactions.read(tenant) as (connection, _):
            if await idempotency.find(connection, request, now) is None:
                return None
            return await _replay(connection, parent, request, now)

    async def update_memory(
        self, tenant: TenantId, namespace: Namespace, change: MemoryUpdate, request: RequestKey | None
    ) -> WriteResult | None:
        """See `Store.update_memory`."""
        name, now, draft = change.before.name, change.update_time, change.draft
        growth = len(draft.text.encode()) - len(change.before.text.encode())

        async def work(connection: Connection) -> WriteResult | None:
            await self._check_storage_quota(connection, tenant, StorageUsage(text_bytes=growth), request, now)
            if draft.session:
                lock = commit.session_lock_key(tenant, namespace.name, draft.session)
                await connection.execute(commit.LOCK_SESSION, {"session": lock})
            if await idempotency.find(connection, request, now):
                return await _replay(connection, namespace.name, request, now)
            namespace_row = (
                await connection.execute(namespaces.FIND, {"name": namespace.name.namespace})
            ).one_or_none()
            self._check_etag(tenant, namespace, None if namespace_row is None else rows.namespace(namespace_row).etag)
            if namespace_row is None:
                raise namespaces.namespace_not_found(namespace.name)
            parameters = {"ns": namespace_row.id, "id": name.memory, "now": now}
            memory_row = (await connection.execute(_LOCKED_MEMORY, parameters)).one_or_none()
            if memory_row is None:
                raise NotFound("Memory", str(name))
            if rows.memory(namespace.name, memory_row) != change.before:
                return None
            try:
                memory, counts = await update.update_memory(connection, tenant, namespace_row.id, change)
            except IntegrityError as exc:
                if violated_constraint(exc) == "memories_position":
                    raise commit.position_conflict(draft.session_position) from None
                raise
            await idempotency.save(connection, tenant, request, now, ns=namespace_row.id, memory=name.memory)
            changed = [(name.memory, memory.revision)]
            statement = commit.commit_statement(
                tenant, namespace_row.id, commit.ChangeType.UPDATED, changed, now, counts, namespace.etag
            )
            as_of = commit.committed_version(await connection.execute(*statement))
            removed_terms = [term for term, df in counts.terms.items() if df < 0]
            await connection.execute_and_commit(commit.DROP_TERMS, {"ns": namespace_row.id, "terms": removed_terms})
            return WriteResult(memory, as_of)

        return await self._transactions.write(tenant, work, idempotent=request is not None)

    async def delete_memory(
        self, tenant: TenantId, name: MemoryName, etag: str, now: datetime, request: RequestKey | None
    ) -> NamespaceVersion | None:
        """See `Store.delete_memory`."""

        async def work(connection: Connection) -> NamespaceVersion | None:
            parent = {"name": name.namespace.namespace}
            namespace_row = (await connection.execute(namespaces.FIND, parent)).one_or_none()
            if namespace_row is None:
                raise namespaces.namespace_not_found(name.namespace)
            if await idempotency.find(connection, request, now):
                return NamespaceVersion(namespace_row.epoch, namespace_row.version)
            parameters = {"ns": namespace_row.id, "id": name.memory, "now": now}
            row = (await connection.execute(_LOCKED_MEMORY, parameters)).one_or_none()
            if row is None:
                return None
            if etag and etag != rows.memory(name.namespace, row).etag:
                raise Aborted("etag: is not the current one; read the memory again and retry with its etag.")
            deleted = (await connection.execute(commit.DELETE_MEMORY, parameters)).one()
            await idempotency.save(connection, tenant, request, now, ns=namespace_row.id, memory=name.memory)
            counts = commit.Counts(
                memories=-1,
                text_bytes=-deleted.text_bytes,
                term_occurrences=-deleted.length,
                vectors=-deleted.vectors,
                terms=dict.fromkeys(deleted.terms, -1),
            )
            changed = [(name.memory, deleted.revision)]
            statement = commit.commit_statement(
                tenant, namespace_row.id, commit.ChangeType.FORGOTTEN, changed, now, counts
            )
            as_of = commit.committed_version(await connection.execute(*statement))
            # Terms that no memory has any more are deleted; the namespace's row is locked by now.
            await connection.execute_and_commit(commit.DROP_TERMS, {"ns": namespace_row.id, "terms": deleted.terms})
            return as_of

        return await self._transactions.write(tenant, work, idempotent=request is not None)

    async def _check_storage_quota(
        self, connection: Connection, tenant: TenantId, more: StorageUsage, request: RequestKey | None, now: datetime
    ) -> None:
        """Check a write against the tenant's storage quota; a request that was answered before always passes.

        Raises:
            ResourceExhausted: the write exceeds the quota.
        """
        headroom = await self._storage_quota.headroom(connection, tenant, more, now)
        exhausted = headroom.reserve(more) if headroom else None
        if exhausted and await idempotency.find(connection, request, now) is None:
            raise exhausted

    def _check_etag(self, tenant: TenantId, namespace: Namespace, etag: str | None) -> None:
        """Compare a cached namespace with its current etag; None: it was deleted.

        Raises:
            NotFound: the namespace was deleted.
            Aborted: its settings were changed.
        """
        if etag == namespace.etag:
            return
        self._namespace_cache.invalidate(tenant, namespace.name)
        if etag is None:
            raise namespaces.namespace_not_found(namespace.name)
        raise Aborted("The namespace's settings were changed meanwhile; try again.")


async def _replay(
    connection: Connection, name: NamespaceName, request: RequestKey | None, now: datetime
) -> WriteResult:
    """Return the result of a request that was answered before, with its memory as it is now.

    Raises:
        NotFound: the memory has since been forgotten.
        Retry: the request is no longer stored.
    """
    stored = await idempotency.find(connection, request, now)
    if stored is None:
        raise Retry
    row = None
    if stored.memory is not None and not stored.forgotten:
        parameters = {"ns": stored.ns, "id": stored.memory, "now": now}
        row = (await connection.execute(_LIVE_MEMORY, parameters)).one_or_none()
    if row is None:
        raise NotFound("Memory", f"{name}/memories/{stored.memory or 0:016x}", "It has since been forgotten.")
    return WriteResult(rows.memory(name, row), stored.as_of)
