"""The store over PostgreSQL with search indexes in memory: writes and texts always go through PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from common.config.settings import SearchIndexSettings
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.store.index_source import IndexSource
from somabrain_service.store.postgres.driver.transactions import Transactions
from somabrain_service.store.postgres.snapshot import PostgresSnapshot
from somabrain_service.store.postgres.storage_quota import StorageQuota
from somabrain_service.store.postgres.store import PostgresStore
from somabrain_service.store.protocols import Snapshot
from somabrain_service.store.search_index.manager import SearchIndexManager
from somabrain_service.store.search_index.snapshot import SearchIndexSnapshot
from somabrain_service.store.tasks import TaskSet


class SearchIndexStore(PostgresStore):
    """See `Store`. `indexes` is public for the code that closes it, and for tests."""

    def __init__(
        self, transactions: Transactions, storage_quota: StorageQuota, tasks: TaskSet, search_index: SearchIndexSettings
    ) -> None:
        super().__init__(transactions, storage_quota, tasks)
        self.indexes = SearchIndexManager(search_index.budget_bytes, search_index.idle_timeout_s, self._source, tasks)

    def index_stats(self) -> tuple[int, int]:
        """See `Store.index_stats`."""
        return self.indexes.count, self.indexes.size_bytes

    @asynccontextmanager
    async def snapshot(self, tenant: TenantId, name: NamespaceName, now: datetime) -> AsyncIterator[Snapshot]:
        """See `Store.snapshot`."""
        async with self._open_snapshot(tenant, name) as (connection, namespace):
            yield SearchIndexSnapshot(connection, namespace, now, indexes=self.indexes, tenant=tenant)

    def _invalidate_namespace(self, tenant: TenantId, name: NamespaceName) -> None:
        super()._invalidate_namespace(tenant, name)
        self.indexes.drop(tenant, name)

    @asynccontextmanager
    async def _source(self, tenant: TenantId, name: NamespaceName) -> AsyncIterator[IndexSource]:
        """Open a snapshot to load a search index from."""
        async with self._open_snapshot(tenant, name) as (connection, namespace):
            yield PostgresSnapshot(connection, namespace, datetime.now(UTC))
