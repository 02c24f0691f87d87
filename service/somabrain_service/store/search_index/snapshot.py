"""Snapshot of PostgreSQL that searches in memory if the search index is at exactly the snapshot's version."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.ranking.score import Candidates
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.snapshot import PostgresSnapshot
from somabrain_service.store.records import Search, Statistics
from somabrain_service.store.search_index.index import SearchIndex
from somabrain_service.store.search_index.manager import SearchIndexManager


class SearchIndexSnapshot(PostgresSnapshot):
    """See `Snapshot`."""

    def __init__(
        self,
        connection: Connection,
        namespace: Namespace,
        now: datetime,
        *,
        indexes: SearchIndexManager,
        tenant: TenantId,
    ) -> None:
        super().__init__(connection, namespace, now)
        self._now = now
        self._indexes = indexes
        self._tenant = tenant
        self._index: SearchIndex | None = None
        self._as_of: NamespaceVersion | None = None

    async def statistics(self, terms: Sequence[str] = ()) -> Statistics:
        """See `Snapshot.statistics`."""
        self._index = await self._indexes.get_at_version(self._tenant, self.namespace, self)
        if self._index is None:
            statistics = await super().statistics(terms)
            self._indexes.request_load(self._tenant, statistics)
            return statistics
        self._as_of = self._index.as_of
        statistics = self._index.statistics(self.namespace, terms, self._now)
        self._vector_count = statistics.vectors
        return statistics

    async def candidates(self, search: Search) -> Candidates:
        """See `Snapshot.candidates`."""
        # Another snapshot may have advanced the index meanwhile.
        if self._index is None or self._index.as_of != self._as_of:
            return await super().candidates(search)
        return self._index.candidates(search, self._now)
