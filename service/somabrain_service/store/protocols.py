"""Narrow protocol of a store. Commands import this and its records, and nothing else of the store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from somabrain_service.domain.changes import Change, Position, StoredVector
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.idempotency import RequestKey
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryId, MemoryRef, NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace, NamespaceChange, NamespaceDraft, NamespaceStatistics
from somabrain_service.domain.pagination import GroupField, MemoryGroup, Order
from somabrain_service.domain.ranking.late_interaction import Shortlist
from somabrain_service.domain.ranking.score import Candidates, Ranking
from somabrain_service.domain.token_vectors import QueryTokens
from somabrain_service.store.records import (
    BatchWriteResult,
    ErasureResult,
    ForgettingResult,
    IndexStats,
    MemoryUpdate,
    NewMemory,
    SchemaState,
    Search,
    Statistics,
    TokenRow,
    WriteResult,
)


class SnapshotOutdated(Exception):
    """A snapshot assumed a state that PostgreSQL no longer has, or did not ask for: begin again without assuming."""


class Snapshot(Protocol):
    """Consistent view of a namespace, without expired memories."""

    @property
    def namespace(self) -> Namespace:
        """The namespace at this snapshot."""
        ...

    async def statistics(self, terms: Sequence[str] = ()) -> Statistics:
        """Return the namespace's counts; to be called before `candidates`."""
        ...

    async def next_expiry(self) -> datetime | None:
        """Return the earliest expiry of a memory that is live, or may prove renewed; None: no memory expires."""
        ...

    async def changes(self, after: Position, limit: int) -> list[Change] | None:
        """Return at most `limit` changes after `after` in commit order; None: some of them were trimmed."""
        ...

    async def get_many(self, ids: Sequence[MemoryId]) -> dict[MemoryId, Memory]:
        """Return those of the memories that exist, by id, without a bound on their size."""
        ...

    async def vectors(self, ids: Sequence[MemoryId]) -> dict[MemoryId, StoredVector]:
        """Return the vectors of those of the memories that have one."""
        ...

    async def candidates(self, search: Search) -> Candidates:
        """Return the top by words, the top by vector, their session neighbours, and the neighbours of these."""
        ...

    async def indexed_ranking(self, search: Search) -> Ranking | None:
        """Return the ranking from the search index; None: it does not have this version, so rank `candidates`."""
        ...

    async def shortlist(self, ids: Sequence[int], query: QueryTokens) -> Shortlist:
        """Return the memories of a first ranking, with the similarity of the words of their texts to the query's."""
        ...

    async def token_rows(self, ids: Sequence[int]) -> list[TokenRow]:
        """Return the token vectors of those of the memories that have them."""
        ...

    async def memories(self, ids: Sequence[int], size_bytes: int, *, end_snapshot: bool = False) -> list[Memory]:
        """Return memories in the order of `ids`; stops, after at least one, before `size_bytes` would be exceeded.

        `end_snapshot`: this is the last call, so the transaction may end with it.
        """
        ...

    async def memory(self, ref: MemoryRef) -> Memory | None:
        """Return a memory; None: no such memory."""
        ...

    async def revisions(
        self, memory: MemoryId, before: int | None, limit: int, size_bytes: int
    ) -> tuple[list[Memory], bool]:
        """Return former revisions, newest first, before revision `before` (None: all); bounded as `memories` is.

        Returns:
            The revisions, and whether more follow.
        """
        ...

    async def list_groups(
        self, memory_filter: MemoryFilter, group_by: GroupField, after: str, limit: int
    ) -> list[MemoryGroup]:
        """Return at most `limit` groups after `after`, in the order of their bytes."""
        ...

    async def list_keys(
        self,
        memory_filter: MemoryFilter,
        order: Order,
        after: tuple[str, int] | None,
        limit: int,
        unchanged_since: int | None = None,
    ) -> list[tuple[str, int]]:
        """Return at most `limit` sort keys after `after`, each with its memory's id.

        `unchanged_since`: only memories without a change after that version. None: all.

        Raises:
            InvalidArgument: `after` is not a key of this order.
        """
        ...


class Store(Protocol):
    """Storage of namespaces and memories; every call is one transaction of one tenant.

    Raises:
        StoreUnavailable: by every method: PostgreSQL is unavailable.
    """

    def connections(self) -> tuple[int, int]:
        """Return the numbers of idle and used connections, for metrics; without a query."""
        ...

    def index_stats(self) -> IndexStats:
        """Return the state of the search index, for metrics; without a query."""
        ...

    async def ping(self) -> datetime:
        """Return the current time of the database's clock."""
        ...

    async def schema_state(self) -> SchemaState:
        """Return the database's schema version and this image's, for /ready."""
        ...

    async def create_namespace(
        self, tenant: TenantId, draft: NamespaceDraft, analyzer: str, now: datetime, request: RequestKey | None
    ) -> Namespace:
        """Create a namespace; every setting of `draft` is set.

        Raises:
            AlreadyExists: the name is taken, or the request id was used with another body.
        """
        ...

    async def namespace(self, tenant: TenantId, name: NamespaceName) -> Namespace:
        """Return a namespace, possibly cached: its version and times may be stale.

        Raises:
            NotFound: no such namespace.
        """
        ...

    async def measure_namespace(
        self, tenant: TenantId, name: NamespaceName, now: datetime
    ) -> tuple[Namespace, NamespaceStatistics]:
        """Return a namespace as it is now, with its statistics.

        Raises:
            NotFound: no such namespace.
        """
        ...

    async def list_namespaces(self, tenant: TenantId, after: str, limit: int) -> list[Namespace]:
        """Return at most `limit` namespaces whose names' last part is after `after`, in byte order."""
        ...

    async def update_namespace(
        self, tenant: TenantId, change: NamespaceChange, analyzer: str, now: datetime, request: RequestKey | None
    ) -> Namespace:
        """Change a namespace's settings; `analyzer` is that of its language where that changes.

        A change of the encoder deletes the former one's vectors; `MaintenanceStore` reindexes the memories.

        Raises:
            NotFound: no such namespace.
            Aborted: the change has an etag, and it is not the current one.
            AlreadyExists: the request id was used with another body.
        """
        ...

    async def delete_namespace(
        self, tenant: TenantId, name: NamespaceName, etag: str, now: datetime, request: RequestKey | None
    ) -> bool:
        """Delete a namespace with everything in it; False: no such namespace.

        Raises:
            Aborted: `etag` is not empty and not the current one.
            AlreadyExists: the request id was used with another body.
        """
        ...

    async def erase_subject(
        self, tenant: TenantId, name: NamespaceName, subject: str, now: datetime, request: RequestKey | None
    ) -> ErasureResult:
        """Erase all memories about a subject, expired ones too, and all revisions about it.

        Raises:
            NotFound: no such namespace.
            AlreadyExists: the request id was used with another body.
        """
        ...

    async def forget_memories(
        self,
        tenant: TenantId,
        name: NamespaceName,
        memory_filter: MemoryFilter,
        limit: int,
        now: datetime,
        request: RequestKey | None,
    ) -> ForgettingResult:
        """Forget at most `limit` live memories that match, oldest first: all of them or, on failure, none.

        Raises:
            NotFound: no such namespace.
            AlreadyExists: the request id was used with another body.
        """
        ...

    async def count_memories(
        self, tenant: TenantId, name: NamespaceName, memory_filter: MemoryFilter, now: datetime
    ) -> ForgettingResult:
        """Return the result of `forget_memories` without a memory forgotten.

        Raises:
            NotFound: no such namespace.
        """
        ...

    def snapshot(
        self, tenant: TenantId, name: NamespaceName, now: datetime, *, assume_unchanged: bool = False
    ) -> AbstractAsyncContextManager[Snapshot]:
        """Open a snapshot of a namespace as of `now`.

        `assume_unchanged`: statistics and ranking may be those of the last known version, which `memories` compares
        with PostgreSQL's; any method may raise SnapshotOutdated.

        Raises:
            NotFound: no such namespace.
        """
        ...

    async def insert_memory(
        self, tenant: TenantId, namespace: Namespace, new: NewMemory, request: RequestKey | None
    ) -> WriteResult:
        """Store a memory durably.

        Raises:
            Aborted: the settings of `namespace` are stale; call `namespace()` again, which reloads it.
            NotFound: no such namespace, or the request's memory has since been forgotten.
            AlreadyExists: the request id was used with another body, or the session position or the key is taken.
            ResourceExhausted: the tenant's storage quota is used up.
        """
        ...

    async def insert_memories(
        self, tenant: TenantId, namespace: Namespace, items: Sequence[tuple[NewMemory, RequestKey | None]]
    ) -> BatchWriteResult:
        """Store memories durably in one transaction; one that fails has its error as a result, as of `insert_memory`.

        Raises:
            Aborted: the settings of `namespace` are stale; call `namespace()` again, which reloads it.
            NotFound: no such namespace.
        """
        ...

    async def find_replay(
        self, tenant: TenantId, parent: NamespaceName, request: RequestKey | None, now: datetime
    ) -> WriteResult | None:
        """Return the result of a request that was answered before, with its memory as it is now. None: not answered.

        Raises:
            NotFound: the memory has since been forgotten.
            AlreadyExists: the request id was used with another body.
        """
        ...

    async def update_memory(
        self, tenant: TenantId, namespace: Namespace, change: MemoryUpdate, request: RequestKey | None
    ) -> WriteResult | None:
        """Change a memory; its former state becomes a revision. None: the memory is no longer equal to `change.before`.

        Raises:
            Aborted: the settings of `namespace` are stale; call `namespace()` again, which reloads it.
            NotFound: no such namespace, or the request's memory has since been forgotten.
            AlreadyExists: the request id was used with another body, or the session position or the key is taken.
            ResourceExhausted: the tenant's storage quota is used up.
        """
        ...

    async def touch_memory(
        self, tenant: TenantId, ref: MemoryRef, expire_time: datetime, now: datetime
    ) -> Memory | None:
        """Let a memory expire at `expire_time`, unless it expires later or never. None: no such memory.

        Neither its revision nor the namespace's version changes, and a search index finds it out by itself.

        Raises:
            NotFound: no such namespace.
        """
        ...

    async def touch_memories(
        self, tenant: TenantId, namespace: Namespace, ids: Sequence[MemoryId], expire_time: datetime, now: datetime
    ) -> set[MemoryId]:
        """Do so with memories by their ids; return those that now expire at `expire_time`."""
        ...

    async def delete_memory(
        self, tenant: TenantId, ref: MemoryRef, etag: str, now: datetime, request: RequestKey | None
    ) -> NamespaceVersion | None:
        """Delete a memory with its derived rows. None: no such memory in the namespace.

        Raises:
            NotFound: no such namespace.
            Aborted: `etag` is not empty and not the current one.
            AlreadyExists: the request id was used with another body.
        """
        ...
