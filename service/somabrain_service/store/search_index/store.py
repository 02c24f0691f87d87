"""Wrapper of a store that searches in memory: writes and texts always go through the store below."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime

from common.config.settings import SearchIndexSettings
from common.errors import NotFound
from somabrain_service.domain.idempotency import RequestKey
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.store.index_source import IndexableStore, IndexSource
from somabrain_service.store.protocols import Snapshot
from somabrain_service.store.records import IndexStats
from somabrain_service.store.search_index.assumed_snapshot import AssumedSnapshot
from somabrain_service.store.search_index.manager import SearchIndexManager
from somabrain_service.store.search_index.snapshot import SearchIndexSnapshot
from somabrain_service.store.tasks import TaskSet


class SearchIndexStore:
    """`Store` that searches in memory. `indexes` is public for the code that closes it, and for tests."""

    def __init__(self, store: IndexableStore, tasks: TaskSet, search_index: SearchIndexSettings) -> None:
        self._store = store
        # Everything but snapshots and what drops an index is the store's.
        self.connections = store.connections
        self.ping = store.ping
        self.schema_state = store.schema_state
        self.create_namespace = store.create_namespace
        self.measure_namespace = store.measure_namespace
        self.list_namespaces = store.list_namespaces
        self.update_namespace = store.update_namespace
        self.erase_subject = store.erase_subject
        self.forget_memories = store.forget_memories
        self.count_memories = store.count_memories
        self.insert_memory = store.insert_memory
        self.insert_memories = store.insert_memories
        self.find_replay = store.find_replay
        self.update_memory = store.update_memory
        self.touch_memory = store.touch_memory
        self.touch_memories = store.touch_memories
        self.delete_memory = store.delete_memory
        self.indexes = SearchIndexManager(search_index.budget_bytes, search_index.idle_timeout_s, self._source, tasks)

    @asynccontextmanager
    async def _source(self, tenant: TenantId, name: NamespaceName) -> AsyncIterator[IndexSource]:
        """Open a snapshot to load a search index from."""
        with self._dropping_missing(tenant, name):
            async with self._store.snapshot(tenant, name, datetime.now(UTC)) as snapshot:
                yield snapshot

    @asynccontextmanager
    async def snapshot(
        self, tenant: TenantId, name: NamespaceName, now: datetime, *, assume_unchanged: bool = False
    ) -> AsyncIterator[Snapshot]:
        """Open a snapshot of a namespace as of `now`."""
        with self._dropping_missing(tenant, name):
            if assume_unchanged and (assumed := self.indexes.assume_unchanged(tenant, name, now)):
                yield AssumedSnapshot(self._store, self.indexes, tenant, assumed, now)
                return
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

    def index_stats(self) -> IndexStats:
        """Return the state of the search index, for metrics; without a query."""
        indexes = self.indexes
        return IndexStats(indexes.count, indexes.size_bytes, indexes.token_bytes, indexes.threads.failures)

    async def delete_namespace(
        self, tenant: TenantId, name: NamespaceName, etag: str, now: datetime, request: RequestKey | None
    ) -> bool:
        """Delete a namespace with everything in it; False: no such namespace."""
        deleted = await self._store.delete_namespace(tenant, name, etag, now, request)
        self.indexes.drop(tenant, name)
        return deleted

    async def namespace(self, tenant: TenantId, name: NamespaceName) -> Namespace:
        """Return a namespace, possibly cached: its version and times may be stale."""
        with self._dropping_missing(tenant, name):
            return await self._store.namespace(tenant, name)
