"""The narrow protocol of a store. Commands import this and its values, and nothing else of the store."""

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
from somabrain_service.domain.names import MemoryId, MemoryName, NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace, NamespaceChange, NamespaceDraft, NamespaceStatistics
from somabrain_service.domain.pagination import Order
from somabrain_service.domain.score import Candidates
from somabrain_service.store.records import (
    BatchWriteResult,
    ErasureResult,
    MemoryUpdate,
    NewMemory,
    SchemaState,
    Search,
    Statistics,
    WriteResult,
)


class Snapshot(Protocol):
    """One consistent view of a namespace; what has expired is not in it."""

    @property
    def namespace(self) -> Namespace:
        """The namespace as it is in this view."""
        ...

    async def statistics(self, terms: Sequence[str] = ()) -> Statistics:
        """The namespace's counts, to be asked before `candidates`."""
        ...

    async def next_expiry(self) -> datetime | None:
        """When the first of the memories that are there will not be any longer; None: none of them expires."""
        ...

    async def changes(self, after: Position, limit: int) -> list[Change] | None:
        """Changes that follow `after` in commit order, at most `limit`; None: some that did are no longer kept."""
        ...

    async def get_many(self, ids: Sequence[MemoryId]) -> dict[MemoryId, Memory]:
        """Those of the memories that are there, in no order and of any size."""
        ...

    async def vectors(self, ids: Sequence[MemoryId]) -> dict[MemoryId, StoredVector]:
        """The vectors of those of the memories that have one."""
        ...

    async def candidates(self, search: Search) -> Candidates:
        """The best by words, the best by vector, their neighbours in the session, and those who lend to these."""
        ...

    async def memories(self, ids: Sequence[int], size_bytes: int, *, end_snapshot: bool = False) -> list[Memory]:
        """Memories in the order of `ids`; ends, after one at least, where the next would pass the size.

        `last`: nothing is asked after it, so that the view can end with it.
        """
        ...

    async def memory(self, memory: MemoryId) -> Memory | None:
        """One memory; None: there is none."""
        ...

    async def revisions(
        self, memory: MemoryId, before: int | None, limit: int, size_bytes: int
    ) -> tuple[list[Memory], bool]:
        """Former states, newest first, from before the revision given; ends as `memories` does.

        Returns:
            The states, and whether more follow.
        """
        ...

    async def list_keys(
        self,
        memory_filter: MemoryFilter,
        order: Order,
        after: tuple[str, int] | None,
        limit: int,
        unchanged_since: int | None = None,
    ) -> list[tuple[str, int]]:
        """Keys of the order, each with its memory's id, that follow `after`; at most `limit`.

        `unchanged_since`: only memories without a change after that version. None: all.

        Raises:
            InvalidArgument: `after` holds no key of this order.
        """
        ...


class Store(Protocol):
    """Every call is one transaction of one tenant.

    Raises:
        StoreUnavailable: of every method: PostgreSQL is gone.
    """

    def connections(self) -> tuple[int, int]:
        """How many connections are idle and in use, for metrics; asks nobody."""
        ...

    def index_stats(self) -> tuple[int, int]:
        """How many namespaces this process holds in memory, and the bytes they take, for metrics; asks nobody."""
        ...

    async def ping(self) -> None:
        """Ask the database for a sign of life."""

    async def schema_state(self) -> SchemaState:
        """Compare schemas, for /ready."""
        ...

    async def create_namespace(
        self, tenant: TenantId, draft: NamespaceDraft, analyzer: str, now: datetime, request: RequestKey | None
    ) -> Namespace:
        """Make a namespace; every setting of `draft` is filled in.

        Raises:
            AlreadyExists: the name is taken, or the request's id came with another body.
        """
        ...

    async def namespace(self, tenant: TenantId, name: NamespaceName) -> Namespace:
        """A namespace, perhaps from memory: what may change (version, times) may be old.

        Raises:
            NotFound: no such namespace.
        """
        ...

    async def measure_namespace(
        self, tenant: TenantId, name: NamespaceName, now: datetime
    ) -> tuple[Namespace, NamespaceStatistics]:
        """A namespace as it is now, and what it holds.

        Raises:
            NotFound: no such namespace.
        """
        ...

    async def list_namespaces(self, tenant: TenantId, after: str, limit: int) -> list[Namespace]:
        """At most `limit` namespaces whose names' last part follows `after`, in the order of its bytes."""
        ...

    async def update_namespace(
        self, tenant: TenantId, change: NamespaceChange, analyzer: str, now: datetime, request: RequestKey | None
    ) -> Namespace:
        """Change a namespace's settings; `analyzer` is that of its language where that changes.

        Another encoder's vectors go with the change; what there is to be indexed anew is done by `Holding`.

        Raises:
            NotFound: no such namespace.
            Aborted: the change's etag is set and not the current one.
            AlreadyExists: the request's id came with another body.
        """
        ...

    async def delete_namespace(
        self, tenant: TenantId, name: NamespaceName, etag: str, now: datetime, request: RequestKey | None
    ) -> bool:
        """Delete a namespace with everything in it; False: there is none.

        Raises:
            Aborted: `etag` is set and not the current one.
            AlreadyExists: the request's id came with another body.
        """
        ...

    async def erase_subject(
        self, tenant: TenantId, name: NamespaceName, subject: str, now: datetime, request: RequestKey | None
    ) -> ErasureResult:
        """Forget every memory about a subject, also those that have expired, and every revision that was about it.

        Raises:
            NotFound: no such namespace.
            AlreadyExists: the request's id came with another body.
        """
        ...

    def snapshot(self, tenant: TenantId, name: NamespaceName, now: datetime) -> AbstractAsyncContextManager[Snapshot]:
        """Look at a namespace as it is now.

        Raises:
            NotFound: no such namespace.
        """
        ...

    async def insert_memory(
        self, tenant: TenantId, namespace: Namespace, new: NewMemory, request: RequestKey | None
    ) -> WriteResult:
        """Keep a memory, durably.

        Raises:
            Aborted: the namespace is no longer as given; `namespace` knows it anew.
            NotFound: no such namespace, or the request's memory has been forgotten since.
            AlreadyExists: the request's id came with another body, or the place in the session is taken.
            ResourceExhausted: the tenant holds as much as it may.
        """
        ...

    async def insert_memories(
        self, tenant: TenantId, namespace: Namespace, items: Sequence[tuple[NewMemory, RequestKey | None]]
    ) -> BatchWriteResult:
        """Keep memories, durably, in one transaction; one that cannot be kept has its error, as of `insert_memory`.

        Raises:
            Aborted: the namespace is no longer as given; `namespace` knows it anew.
            NotFound: no such namespace.
        """
        ...

    async def find_replay(
        self, tenant: TenantId, parent: NamespaceName, request: RequestKey | None, now: datetime
    ) -> WriteResult | None:
        """The answer to a request that was answered before: its memory as it is now. None: it was not.

        Raises:
            NotFound: the memory has been forgotten since.
            AlreadyExists: the request's id came with another body.
        """
        ...

    async def update_memory(
        self, tenant: TenantId, namespace: Namespace, change: MemoryUpdate, request: RequestKey | None
    ) -> WriteResult | None:
        """Change a memory; its former state becomes a revision. None: it is no longer as it was before.

        Raises:
            Aborted: the namespace is no longer as given; `namespace` knows it anew.
            NotFound: no such namespace or memory.
            AlreadyExists: the request's id came with another body, or the place in the session is taken.
            ResourceExhausted: the tenant holds as much as it may.
        """
        ...

    async def delete_memory(
        self, tenant: TenantId, name: MemoryName, etag: str, now: datetime, request: RequestKey | None
    ) -> NamespaceVersion | None:
        """Forget a memory with all that came of it. None: there is no such memory; the namespace there is.

        Raises:
            NotFound: no such namespace.
            Aborted: `etag` is set and not the current one.
            AlreadyExists: the request's id came with another body.
        """
        ...
