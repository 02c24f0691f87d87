"""Snapshot that searches in memory if the search index is at exactly its version, and in the store otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from somabrain_service.domain.changes import Change, Position, StoredVector
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryId, TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.pagination import Order
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

    async def next_expiry(self) -> datetime | None:
        """See `Snapshot.next_expiry`."""
        return await self._snapshot.next_expiry()

    async def changes(self, after: Position, limit: int) -> list[Change] | None:
        """See `Snapshot.changes`."""
        return await self._snapshot.changes(after, limit)

    async def get_many(self, ids: Sequence[MemoryId]) -> dict[MemoryId, Memory]:
        """See `Snapshot.get_many`."""
        return await self._snapshot.get_many(ids)

    async def vectors(self, ids: Sequence[MemoryId]) -> dict[MemoryId, StoredVector]:
        """See `Snapshot.vectors`."""
        return await self._snapshot.vectors(ids)

    async def memories(self, ids: Sequence[int], size_bytes: int, *, end_snapshot: bool = False) -> list[Memory]:
        """See `Snapshot.memories`."""
        return await self._snapshot.memories(ids, size_bytes, end_snapshot=end_snapshot)

    async def memory(self, memory: MemoryId) -> Memory | None:
        """See `Snapshot.memory`."""
        return await self._snapshot.memory(memory)

    async def revisions(
        self, memory: MemoryId, before: int | None, limit: int, size_bytes: int
    ) -> tuple[list[Memory], bool]:
        """See `Snapshot.revisions`."""
        return await self._snapshot.revisions(memory, before, limit, size_bytes)

    async def list_keys(
        self,
        memory_filter: MemoryFilter,
        order: Order,
        after: tuple[str, int] | None,
        limit: int,
        unchanged_since: int | None = None,
    ) -> list[tuple[str, int]]:
        """See `Snapshot.list_keys`."""
        return await self._snapshot.list_keys(memory_filter, order, after, limit, unchanged_since)
