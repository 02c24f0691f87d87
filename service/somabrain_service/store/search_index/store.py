"""Wrapper of a store that searches in memory: writes and texts always go through the store below."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

from common.config.settings import SearchIndexSettings
from common.errors import NotFound
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.idempotency import RequestKey
from somabrain_service.domain.names import MemoryName, NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace, NamespaceChange, NamespaceDraft, NamespaceStatistics
from somabrain_service.store.index_source import IndexableStore, IndexSource
from somabrain_service.store.protocols import Snapshot
from somabrain_service.store.records import (
    BatchWriteResult,
    ErasureResult,
    MemoryUpdate,
    NewMemory,
    SchemaState,
    WriteResult,
)
from somabrain_service.store.search_index.manager import SearchIndexManager
from somabrain_service.store.search_index.snapshot import SearchIndexSnapshot
from somabrain_service.store.tasks import TaskSet


class SearchIndexStore:
    """See `Store`. `indexes` is public for the code that closes it, and for tests."""

    def __init__(self, store: IndexableStore, tasks: TaskSet, search_index: SearchIndexSettings) -> None:
        self._store = store
        self.indexes = SearchIndexManager(search_index.budget_bytes, search_index.idle_timeout_s, self._source, tasks)

    @asynccontextmanager
    async def _source(self, tenant: TenantId, name: NamespaceName) -> AsyncIterator[IndexSource]:
        """Open a snapshot to load a search index from."""
        with self._dropping_missing(tenant, name):
            async with self._store.snapshot(tenant, name, datetime.now(UTC)) as snapshot:
                yield snapshot

    @asynccontextmanager
    async def snapshot(self, tenant: TenantId, name: NamespaceName, now: datetime) -> AsyncIterator[Snapshot]:
        """See `Store.snapshot`."""
        with self._dropping_missing(tenant, name):
            async with self._store.snapshot(tenant, name, now) as snapshot:
                yield SearchIndexSnapshot(snapshot, self.indexes, tenant, now)

    @contextmanager
    def _dropping_missing(self, tenant: TenantId, name: NamespaceName) -> Iterator[None]:
        """Drop the index of a namespace that no longer exists."""
        try:
            yield
        except NotFound as exc:
            if exc.resource_type == "Namespace":
                self.indexes.drop(tenant, name)
            raise

    def index_stats(self) -> tuple[int, int]:
        """See `Store.index_stats`."""
        return self.indexes.count, self.indexes.size_bytes

    async def delete_namespace(
        self, tenant: TenantId, name: NamespaceName, etag: str, now: datetime, request: RequestKey | None
    ) -> bool:
        """See `Store.delete_namespace`."""
        deleted = await self._store.delete_namespace(tenant, name, etag, now, request)
        self.indexes.drop(tenant, name)
        return deleted

    async def namespace(self, tenant: TenantId, name: NamespaceName) -> Namespace:
        """See `Store.namespace`."""
        with self._dropping_missing(tenant, name):
            return await self._store.namespace(tenant, name)

    def connections(self) -> tuple[int, int]:
        """See `Store.connections`."""
        return self._store.connections()

    async def ping(self) -> None:
        """See `Store.ping`."""
        await self._store.ping()

    async def schema_state(self) -> SchemaState:
        """See `Store.schema_state`."""
        return await self._store.schema_state()

    async def create_namespace(
        self, tenant: TenantId, draft: NamespaceDraft, analyzer: str, now: datetime, request: RequestKey | None
    ) -> Namespace:
        """See `Store.create_namespace`."""
        return await self._store.create_namespace(tenant, draft, analyzer, now, request)

    async def measure_namespace(
        self, tenant: TenantId, name: NamespaceName, now: datetime
    ) -> tuple[Namespace, NamespaceStatistics]:
        """See `Store.measure_namespace`."""
        return await self._store.measure_namespace(tenant, name, now)

    async def list_namespaces(self, tenant: TenantId, after: str, limit: int) -> list[Namespace]:
        """See `Store.list_namespaces`."""
        return await self._store.list_namespaces(tenant, after, limit)

    async def update_namespace(
        self, tenant: TenantId, change: NamespaceChange, analyzer: str, now: datetime, request: RequestKey | None
    ) -> Namespace:
        """See `Store.update_namespace`."""
        return await self._store.update_namespace(tenant, change, analyzer, now, request)

    async def erase_subject(
        self, tenant: TenantId, name: NamespaceName, subject: str, now: datetime, request: RequestKey | None
    ) -> ErasureResult:
        """See `Store.erase_subject`."""
        return await self._store.erase_subject(tenant, name, subject, now, request)

    async def insert_memory(
        self, tenant: TenantId, namespace: Namespace, new: NewMemory, request: RequestKey | None
    ) -> WriteResult:
        """See `Store.insert_memory`."""
        return await self._store.insert_memory(tenant, namespace, new, request)

    async def insert_memories(
        self, tenant: TenantId, namespace: Namespace, items: Sequence[tuple[NewMemory, RequestKey | None]]
    ) -> BatchWriteResult:
        """See `Store.insert_memories`."""
        return await self._store.insert_memories(tenant, namespace, items)

    async def find_replay(
        self, tenant: TenantId, parent: NamespaceName, request: RequestKey | None, now: datetime
    ) -> WriteResult | None:
        """See `Store.find_replay`."""
        return await self._store.find_replay(tenant, parent, request, now)

    async def update_memory(
        self, tenant: TenantId, namespace: Namespace, change: MemoryUpdate, request: RequestKey | None
    ) -> WriteResult | None:
        """See `Store.update_memory`."""
        return await self._store.update_memory(tenant, namespace, change, request)

    async def delete_memory(
        self, tenant: TenantId, name: MemoryName, etag: str, now: datetime, request: RequestKey | None
    ) -> NamespaceVersion | None:
        """See `Store.delete_memory`."""
        return await self._store.delete_memory(tenant, name, etag, now, request)
