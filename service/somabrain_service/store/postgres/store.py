"""The store over PostgreSQL: the transaction of each call."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TypeVar

from common.errors import Aborted, NotFound, SomaBrainError, StoreUnavailable
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.idempotency import RequestKey
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryId, MemoryRef, NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace, NamespaceChange, NamespaceDraft, NamespaceStatistics
from somabrain_service.domain.quota import StorageUsage
from somabrain_service.store import schema
from somabrain_service.store.index_source import IndexSource
from somabrain_service.store.postgres import insert_batch
from somabrain_service.store.postgres.driver import locks
from somabrain_service.store.postgres.driver.arrays import numbers
from somabrain_service.store.postgres.driver.errors import Retry
from somabrain_service.store.postgres.driver.pipeline import Connection, Result
from somabrain_service.store.postgres.driver.statement import sql
from somabrain_service.store.postgres.driver.transactions import Transactions
from somabrain_service.store.postgres.group_commit import GroupCommit
from somabrain_service.store.postgres.namespace_cache import NamespaceCache
from somabrain_service.store.postgres.queries import (
    delete,
    idempotency,
    memories,
    namespaces,
    precheck,
    rows,
    update,
)
from somabrain_service.store.postgres.snapshot import PostgresSnapshot
from somabrain_service.store.postgres.storage_quota import MAX_WRITE, StorageQuota
from somabrain_service.store.protocols import SnapshotOutdated
from somabrain_service.store.records import (
    BatchWriteResult,
    ErasureResult,
    ForgettingResult,
    IndexStats,
    MemoryUpdate,
    NewMemory,
    SchemaState,
    WriteResult,
)
from somabrain_service.store.tasks import TaskSet

T = TypeVar("T")

# Not now(), which is the start of the transaction.
_PING = sql("SELECT clock_timestamp()")
_SCHEMA_EXISTS = sql("SELECT to_regclass('schema_info') IS NOT NULL")
_SCHEMA = sql(schema.SELECT_SCHEMA_INFO)


class PostgresStore:
    """`Store` on PostgreSQL; every call is one transaction of one tenant."""

    def __init__(
        self,
        transactions: Transactions,
        storage_quota: StorageQuota,
        tasks: TaskSet,
        *,
        delete_batch_size: int = delete.BATCH_SIZE,
    ) -> None:
        self._transactions = transactions
        self._delete_batch_size = delete_batch_size
        self._storage_quota = storage_quota
        self._group_commit = GroupCommit(self._insert_group, MAX_WRITE, tasks)
        self._namespace_cache = NamespaceCache()

    async def _write_freeing_keys(
        self, tenant: TenantId, work: Callable[[Connection], Awaitable[T]], now: datetime, *, idempotent: bool
    ) -> T:
        """Run `work` in a transaction; the expired holders of keys that it claims are deleted before, in their own.

        So a key is free from the moment at which its memory expires, and a memory that was deleted is not renewed.
        """
        while True:
            try:
                return await self._transactions.write(tenant, work, idempotent=idempotent)
            except precheck.ExpiredKeyHolders as exc:
                holders = exc

            async def free(connection: Connection, holders: precheck.ExpiredKeyHolders = holders) -> None:
                await delete.expire_key_holders(connection, holders.ns, holders.ids, now)

            await self._transactions.write(tenant, free, idempotent=True)

    def connections(self) -> tuple[int, int]:
        """Return the numbers of idle and used connections, for metrics; without a query."""
        return self._transactions.connections()

    def index_stats(self) -> IndexStats:
        """Return the state of the search index, for metrics; without a query."""
        return IndexStats(0, 0, 0, 0)

    async def ping(self) -> datetime:
        """Return the current time of the database's clock."""
        match await self._transactions.fetch_one(_PING):
            case (datetime() as database_time,):
                return database_time
            case _:
                raise StoreUnavailable("PostgreSQL did not return its time; try again shortly.")

    async def schema_state(self) -> SchemaState:
        """Return the database's schema version and this image's, for /ready."""
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
        """Create a namespace; every setting of `draft` is set."""

        async def work(connection: Connection) -> Namespace:
            return await namespaces.create(connection, draft, analyzer, now, request)

        return await self._transactions.write(tenant, work, idempotent=request is not None)

    async def namespace(self, tenant: TenantId, name: NamespaceName) -> Namespace:
        """Return a namespace, possibly cached: its version and times may be stale."""
        if cached := self._namespace_cache.get(tenant, name):
            return cached
        async with self._open_snapshot(tenant, name) as (_, namespace):
            return namespace

    async def measure_namespace(
        self, tenant: TenantId, name: NamespaceName, now: datetime
    ) -> tuple[Namespace, NamespaceStatistics]:
        """Return a namespace as it is now, with its statistics."""
        async with self._transactions.read(tenant) as (connection, _):
            return await namespaces.measure(connection, name, now)

    async def list_namespaces(self, tenant: TenantId, after: str, limit: int) -> list[Namespace]:
        """Return at most `limit` namespaces whose names' last part is after `after`, in byte order."""
        async with self._transactions.read(tenant) as (connection, _):
            return await namespaces.page(connection, after, limit)

    async def update_namespace(
        self, tenant: TenantId, change: NamespaceChange, analyzer: str, now: datetime, request: RequestKey | None
    ) -> Namespace:
        """Change a namespace's settings; `analyzer` is that of its language where that changes."""

        async def work(connection: Connection) -> Namespace:
            return await namespaces.update(connection, change, analyzer, now, request)

        return self._namespace_cache.put(
            tenant, await self._transactions.write(tenant, work, idempotent=request is not None)
        )

    async def delete_namespace(
        self, tenant: TenantId, name: NamespaceName, etag: str, now: datetime, request: RequestKey | None
    ) -> bool:
        """Delete a namespace with everything in it; False: no such namespace."""

        async def work(connection: Connection) -> bool:
            return await delete.delete_namespace(connection, name, etag, now, request, self._delete_batch_size)

        deleted = await self._transactions.write(tenant, work, idempotent=request is not None)
        self._namespace_cache.invalidate(tenant, name)
        return deleted

    async def erase_subject(
        self, tenant: TenantId, name: NamespaceName, subject: str, now: datetime, request: RequestKey | None
    ) -> ErasureResult:
        """Erase all memories about a subject, expired ones too, and all revisions about it."""

        async def work(connection: Connection) -> ErasureResult:
            return await delete.erase_subject(connection, name, subject, now, request, self._delete_batch_size)

        return await self._transactions.write(tenant, work, idempotent=request is not None)

    async def forget_memories(
        self,
        tenant: TenantId,
        name: NamespaceName,
        memory_filter: MemoryFilter,
        limit: int,
        now: datetime,
        request: RequestKey | None,
    ) -> ForgettingResult:
        """Forget at most `limit` live memories that match, oldest first: all of them or, on failure, none."""

        async def work(connection: Connection) -> ForgettingResult:
            return await delete.forget_matching(
                connection, name, memory_filter, limit, now, request, self._delete_batch_size
            )

        return await self._transactions.write(tenant, work, idempotent=request is not None)

    async def count_memories(
        self, tenant: TenantId, name: NamespaceName, memory_filter: MemoryFilter, now: datetime
    ) -> ForgettingResult:
        """Return the result of `forget_memories` without a memory forgotten."""
        async with self._open_snapshot(tenant, name) as (connection, namespace):
            statements = delete.matching_statements(memory_filter)
            values = {"ns": namespace.number, "now": now, **statements.values}
            count = (await connection.execute(statements.count, values)).scalar_one()
            return ForgettingResult(0, count, namespace.read_version)

    @asynccontextmanager
    async def snapshot(
        self, tenant: TenantId, name: NamespaceName, now: datetime, *, assume_unchanged: bool = False
    ) -> AsyncIterator[IndexSource]:
        """Open a snapshot of a namespace; no version is assumed."""
        del assume_unchanged
        async with self._open_snapshot(tenant, name) as (connection, namespace):
            yield PostgresSnapshot(connection, namespace, now)

    async def read_memories(
        self, tenant: TenantId, namespace: Namespace, ids: Sequence[int], size_bytes: int
    ) -> tuple[Namespace, list[Memory]]:
        """Return the namespace as it is, and memories of it as `Snapshot.memories` does, in one exchange."""
        find = (namespaces.FIND, {"name": namespace.name.namespace})
        read = memories.by_ids_statement(namespace.number, ids, size_bytes)
        try:
            async with self._transactions.deferred_read(tenant) as (connection, begin, end):
                *_, found, texts, _ = await connection.execute_all(*begin, find, read, end)
        except Retry:
            raise SnapshotOutdated from None
        current = self._namespace_of(tenant, namespace.name, found)
        return current, [rows.memory(namespace.name, row) for row in texts]

    def _namespace_of(self, tenant: TenantId, name: NamespaceName, result: Result) -> Namespace:
        """Return the namespace in a result, and cache it.

        Raises:
            NotFound: no such namespace.
        """
        row = result.one_or_none()
        if row is None:
            self._namespace_cache.invalidate(tenant, name)
            raise namespaces.namespace_not_found(name)
        return self._namespace_cache.put(tenant, rows.namespace(row))

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
            yield connection, self._namespace_of(tenant, name, result)

    async def insert_memory(
        self, tenant: TenantId, namespace: Namespace, new: NewMemory, request: RequestKey | None
    ) -> WriteResult:
        """Store a memory durably."""
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
        """Store memories in one transaction; one that fails has its error as a result."""
        total = sum((insert_batch.usage_of(new) for new, _ in items), StorageUsage())
        now = items[0][0].create_time if items else datetime.now(UTC)

        assumed = precheck.assumed_preconditions(namespace, items)

        async def work(connection: Connection) -> BatchWriteResult:
            nonlocal assumed
            headroom = await self._storage_quota.headroom(connection, tenant, total, now)
            preconditions, assumed = assumed if headroom is None else None, None
            if preconditions is None:
                preconditions = await precheck.load_preconditions(connection, tenant, namespace.name, items, now)
                self._check_etag(tenant, namespace, preconditions.namespace if preconditions else None)
            if preconditions is None:
                raise namespaces.namespace_not_found(namespace.name)
            return await insert_batch.insert(connection, preconditions, items, headroom)

        return await self._write_freeing_keys(tenant, work, now, idempotent=all(request for _, request in items))

    async def find_replay(
        self, tenant: TenantId, parent: NamespaceName, request: RequestKey | None, now: datetime
    ) -> WriteResult | None:
        """Return the result of a request that was answered before, with its memory as it is now. None: not answered."""
        if request is None:
            return None
        async with self._transactions.read(tenant) as (connection, _):
            if await idempotency.find(connection, request, now) is None:
                return None
            return await _replay(connection, parent, request, now)

    async def update_memory(
        self, tenant: TenantId, namespace: Namespace, change: MemoryUpdate, request: RequestKey | None
    ) -> WriteResult | None:
        """Change a memory; its former state becomes a revision. None: it no longer equals `change.before`."""
        now, draft = change.update_time, change.draft
        tokens = change.new_text.tokens if change.new_text else None
        growth = StorageUsage(
            text_bytes=draft.stored_bytes - change.before.stored_bytes,
            token_bytes=tokens.size_bytes if tokens else 0,
        )

        async def work(connection: Connection) -> WriteResult | None:
            await self._check_storage_quota(connection, tenant, growth, request, now)
            if draft.session:
                session = locks.session_key(tenant, namespace.name, draft.session)
                await connection.execute(locks.SESSIONS, {"sessions": numbers([session])})
            if await idempotency.find(connection, request, now):
                return await _replay(connection, namespace.name, request, now)
            row = (await connection.execute(namespaces.FIND, {"name": namespace.name.namespace})).one_or_none()
            current = None if row is None else rows.namespace(row)
            self._check_etag(tenant, namespace, current)
            return await update.update_memory(connection, namespace, change, request)

        return await self._write_freeing_keys(tenant, work, now, idempotent=request is not None)

    async def touch_memory(
        self, tenant: TenantId, ref: MemoryRef, expire_time: datetime, now: datetime
    ) -> Memory | None:
        """Let a memory expire at `expire_time`, unless it expires later or never. None: no such memory."""

        async def work(connection: Connection) -> Memory | None:
            find = (namespaces.FIND, {"name": ref.namespace.namespace})
            namespace = self._namespace_of(tenant, ref.namespace, await connection.execute(*find))
            found = await connection.execute(*memories.find_live(ref, namespace.number, now, for_update=True))
            row = found.one_or_none()
            if row is None:
                return None
            values = {"ns": namespace.number, "ids": numbers([row.id]), "now": now, "expire_time": expire_time}
            touched = (await connection.execute(memories.TOUCH, values)).one_or_none()
            return rows.memory(namespace.name, touched or row)

        return await self._transactions.write(tenant, work, idempotent=True)

    async def touch_memories(
        self, tenant: TenantId, namespace: Namespace, ids: Sequence[MemoryId], expire_time: datetime, now: datetime
    ) -> set[MemoryId]:
        """Extend the lives of memories by their ids; return those that now expire at `expire_time`."""
        values = {"ns": namespace.number, "ids": numbers(ids), "now": now, "expire_time": expire_time}

        async def work(connection: Connection) -> set[MemoryId]:
            return {row.id for row in await connection.execute(memories.TOUCH, values)}

        return await self._transactions.write(tenant, work, idempotent=True)

    async def delete_memory(
        self, tenant: TenantId, ref: MemoryRef, etag: str, now: datetime, request: RequestKey | None
    ) -> NamespaceVersion | None:
        """Delete a memory with its derived rows. None: no such memory in the namespace."""

        async def work(connection: Connection) -> NamespaceVersion | None:
            return await delete.delete_memory(connection, ref, etag, now, request)

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

    def _check_etag(self, tenant: TenantId, namespace: Namespace, current: Namespace | None) -> None:
        """Compare a cached namespace with the current one; None: it was deleted.

        Raises:
            NotFound: the namespace was deleted.
            Aborted: its settings were changed.
        """
        if current is not None and current.etag == namespace.etag:
            return
        self._namespace_cache.invalidate(tenant, namespace.name)
        if current is None:
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
        row = (await connection.execute(memories.FIND_LIVE, parameters)).one_or_none()
    if row is None:
        raise NotFound("Memory", f"{name}/memories/{stored.memory or 0:016x}", "It has since been forgotten.")
    return WriteResult(rows.memory(name, row), stored.as_of)
