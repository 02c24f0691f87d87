"""Snapshot that assumes a namespace to be as its search index has it, and asks PostgreSQL only with the texts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NoReturn

from somabrain_service.domain.changes import Change, Position, StoredVector
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryId, MemoryRef, TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.pagination import GroupField, MemoryGroup, Order
from somabrain_service.domain.ranking.late_interaction import Shortlist
from somabrain_service.domain.ranking.score import Candidates, Ranking
from somabrain_service.domain.token_vectors import QueryTokens
from somabrain_service.store.index_source import IndexableStore
from somabrain_service.store.protocols import SnapshotOutdated
from somabrain_service.store.records import Search, Statistics, TokenRow
from somabrain_service.store.search_index.manager import AssumedIndex, SearchIndexManager


class AssumedSnapshot:
    """`Snapshot` at an assumed version; reading what the index lacks raises SnapshotOutdated, so the caller retries."""

    def __init__(
        self, store: IndexableStore, indexes: SearchIndexManager, tenant: TenantId, assumed: AssumedIndex, now: datetime
    ) -> None:
        self._store = store
        self._indexes = indexes
        self._tenant = tenant
        self._index = assumed.index
        self.namespace: Namespace = assumed.namespace
        self._now = now

    async def statistics(self, terms: Sequence[str] = ()) -> Statistics:
        """Return the namespace's counts; to be called before `candidates`."""
        statistics = self._index.statistics(self.namespace, terms, self._now)
        return statistics if statistics is not None else self._begin_again()

    async def indexed_ranking(self, search: Search) -> Ranking | None:
        """Return the ranking from the search index; None: it does not have this version, so rank `candidates`."""
        ranking = await self._indexes.threads.rank(self._index, self.namespace, search, self._now)
        return ranking if ranking is not None else self._begin_again()

    async def shortlist(self, ids: Sequence[int], query: QueryTokens) -> Shortlist:
        """Return the memories of a first ranking, with the similarity of the words of their texts to the query's."""
        shortlist = await self._indexes.threads.shortlist(self._index, self.namespace, ids, query)
        if shortlist is None:
            self._indexes.request_tokens(self._tenant, self.namespace.name)
            self._begin_again()
        return shortlist

    async def memories(self, ids: Sequence[int], size_bytes: int, *, end_snapshot: bool = False) -> list[Memory]:
        """Return memories as `Snapshot.memories` does; even without ids it compares the namespace with PostgreSQL's."""
        del end_snapshot
        namespace, memories = await self._store.read_memories(self._tenant, self.namespace, ids, size_bytes)
        if (namespace.read_version, namespace.etag) != (self.namespace.read_version, self.namespace.etag):
            self._indexes.doubt(self._tenant, self.namespace.name)
            self._begin_again()
        return memories

    async def next_expiry(self) -> datetime | None:
        """Return the earliest expiry of a memory that is live, or may prove renewed; None: no memory expires."""
        self._begin_again()

    async def changes(self, after: Position, limit: int) -> list[Change] | None:
        """Return at most `limit` changes after `after` in commit order; None: some of them were trimmed."""
        self._begin_again()

    async def get_many(self, ids: Sequence[MemoryId]) -> dict[MemoryId, Memory]:
        """Return those of the memories that exist, by id, without a bound on their size."""
        self._begin_again()

    async def vectors(self, ids: Sequence[MemoryId]) -> dict[MemoryId, StoredVector]:
        """Return the vectors of those of the memories that have one."""
        self._begin_again()

    async def token_rows(self, ids: Sequence[int]) -> list[TokenRow]:
        """Return the token vectors of those of the memories that have them."""
        self._begin_again()

    async def candidates(self, search: Search) -> Candidates:
        """Return the top by words, the top by vector, their session neighbours, and the neighbours of these."""
        self._begin_again()

    async def memory(self, ref: MemoryRef) -> Memory | None:
        """Return a memory; None: no such memory."""
        self._begin_again()

    async def revisions(
        self, memory: MemoryId, before: int | None, limit: int, size_bytes: int
    ) -> tuple[list[Memory], bool]:
        """Return former revisions, newest first, before revision `before` (None: all); bounded as `memories` is."""
        self._begin_again()

    async def list_groups(
        self, memory_filter: MemoryFilter, group_by: GroupField, after: str, limit: int
    ) -> list[MemoryGroup]:
        """Return at most `limit` groups after `after`, in the order of their bytes."""
        self._begin_again()

    async def list_keys(
        self,
        memory_filter: MemoryFilter,
        order: Order,
        after: tuple[str, int] | None,
        limit: int,
        unchanged_since: int | None = None,
    ) -> list[tuple[str, int]]:
        """Return at most `limit` sort keys after `after`, each with its memory's id."""
        self._begin_again()

    def _begin_again(self) -> NoReturn:
        raise SnapshotOutdated
