"""Snapshot that searches in memory if the search index is at exactly its version, and in the store otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.ranking.score import Candidates
from somabrain_service.store.index_source import IndexSource
from somabrain_service.store.records import Search, Statistics
from somabrain_service.store.search_index.index import SearchIndex
from somabrain_service.store.search_index.manager import SearchIndexManager


class SearchIndexSnapshot:
    """Wrapper of a store's snapshot; see `Snapshot`."""

    def __init__(self, snapshot: IndexSource, indexes: SearchIndexManager, tenant: TenantId, now: datetime) -> None:
        self._snapshot = snapshot
        self._indexes = indexes
        self._tenant = tenant
        self._now = now
        self._index: SearchIndex | None = None
        self._as_of: NamespaceVersion | None = None
        # Everything but the search is the store's.
        self.next_expiry = snapshot.next_expiry
        self.changes = snapshot.changes
        self.get_many = snapshot.get_many
        self.vectors = snapshot.vectors
        self.memories = snapshot.memories
        self.memory = snapshot.memory
        self.revisions = snapshot.revisions
        self.list_keys = snapshot.list_keys

    @property
    def namespace(self) -> Namespace:
        """See `Snapshot.namespace`."""
        return self._snapshot.namespace

    async def statistics(self, terms: Sequence[str] = ()) -> Statistics:
        """See `Snapshot.statistics`."""
        self._index = await self._indexes.get_at_version(self._tenant, self.namespace, self._snapshot)
        if self._index is None:
            statistics = await self._snapshot.statistics(terms)
            self._indexes.request_load(self._tenant, statistics)
            return statistics
        self._as_of = self._index.as_of
        return self._index.statistics(self.namespace, terms, self._now)

    async def candidates(self, search: Search) -> Candidates:
        """See `Snapshot.candidates`."""
        # Another snapshot may have advanced the index meanwhile.
        if self._index is None or self._index.as_of != self._as_of:
            return await self._snapshot.candidates(search)
        return self._index.candidates(search, self._now)
