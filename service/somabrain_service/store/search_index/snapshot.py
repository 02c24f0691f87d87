"""Snapshot that searches in memory if the search index is at exactly its version, and in the store otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.ranking.late_interaction import Shortlist
from somabrain_service.domain.ranking.score import Candidates, Ranking
from somabrain_service.domain.token_vectors import QueryTokens
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
        # Everything but the search is the store's.
        self.next_expiry = snapshot.next_expiry
        self.changes = snapshot.changes
        self.get_many = snapshot.get_many
        self.vectors = snapshot.vectors
        self.token_rows = snapshot.token_rows
        self.memories = snapshot.memories
        self.memory = snapshot.memory
        self.revisions = snapshot.revisions
        self.list_keys = snapshot.list_keys
        self.list_groups = snapshot.list_groups

    @property
    def namespace(self) -> Namespace:
        """The namespace at this snapshot."""
        return self._snapshot.namespace

    async def statistics(self, terms: Sequence[str] = ()) -> Statistics:
        """Return the namespace's counts; to be called before `candidates`."""
        self._index = await self._indexes.get_at_version(self._tenant, self.namespace, self._snapshot, self._now)
        if self._index is not None:
            statistics = self._index.statistics(self.namespace, terms, self._now)
            if statistics is not None:
                return statistics
            self._index = None
        statistics = await self._snapshot.statistics(terms)
        self._indexes.request_load(self._tenant, statistics)
        return statistics

    async def candidates(self, search: Search) -> Candidates:
        """Return the top by words, the top by vector, their session neighbours, and the neighbours of these."""
        return await self._snapshot.candidates(search)

    async def indexed_ranking(self, search: Search) -> Ranking | None:
        """Return the ranking from the search index; None: it does not have this version, so rank `candidates`."""
        # None as well if another snapshot has advanced the index meanwhile.
        if self._index is None:
            return None
        return await self._indexes.threads.rank(self._index, self.namespace, search, self._now)

    async def shortlist(self, ids: Sequence[int], query: QueryTokens) -> Shortlist:
        """Return the memories of a first ranking, with the similarity of the words of their texts to the query's."""
        if self._index is not None:
            shortlist = await self._indexes.threads.shortlist(self._index, self.namespace, ids, query)
            if shortlist is not None:
                return shortlist
            self._indexes.request_tokens(self._tenant, self.namespace.name)
        return await self._snapshot.shortlist(ids, query)
