"""Narrow protocols of the store for background jobs, which span all tenants.

A job does everything on the connection that holds its advisory lock: a process that loses the lock, because PostgreSQL
or the network dropped the connection, also loses the means to write.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.names import TenantId
from somabrain_service.events.cloudevents import EventBatch, OutboxCursor, PendingChanges
from somabrain_service.store.records import TokenRecord


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` parts of all namespaces: those whose id modulo `count` is `number`."""

    number: int
    count: int


@dataclass(frozen=True, slots=True)
class PendingNamespace:
    """A namespace with pending work, the oldest of it pending since `since`."""

    tenant: TenantId
    ns: int
    since: datetime


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """Number of deleted request ids, and the expiry of the oldest; the current time if there were none."""

    count: int
    since: datetime


@dataclass(frozen=True, slots=True)
class TrimResult:
    """Number of deleted changes, and how many of them had not been published."""

    count: int
    unpublished: int


@dataclass(frozen=True, slots=True)
class Unencoded:
    """A namespace with memories that have no vector of its encoder."""

    tenant: TenantId
    ns: int
    encoder_id: str


@dataclass(frozen=True, slots=True)
class UnencodedText:
    """A memory without a vector, pending since `since`."""

    id: int
    revision: int
    text: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Encoded:
    """Vector, float32[d], of a memory at `revision`, and its token vectors; None: its encoder makes none."""

    id: int
    revision: int
    vector: NDArray[np.float32]
    tokens: TokenRecord | None


@dataclass(frozen=True, slots=True)
class Unanalyzed:
    """A namespace with memories that have terms of another analyzer than its own, pending since `since`."""

    tenant: TenantId
    ns: int
    analyzer: str
    since: datetime


@dataclass(frozen=True, slots=True)
class TermPosition:
    """The key of a memory's terms, in the order in which all terms are read."""

    tenant: TenantId
    ns: int
    memory: int


@dataclass(frozen=True, slots=True)
class OrphanedTerms:
    """Ids in a namespace that have terms, and no memory."""

    tenant: TenantId
    ns: int
    memories: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class TermPage:
    """Some terms in order, up to `end`, and those of them that are orphans."""

    end: TermPosition
    orphans: tuple[OrphanedTerms, ...]


class MaintenanceStore(Protocol):
    """Operations of the process that owns a shard. Every call is one short transaction.

    Raises:
        StoreUnavailable: by every method: PostgreSQL is unavailable, and the shard is lost with it.
    """

    async def expired(self, now: datetime, limit: int) -> list[PendingNamespace]:
        """Return at most `limit` namespaces of the shard with expired memories, longest pending first."""
        ...

    async def expire(self, pending: PendingNamespace, now: datetime, limit: int) -> int:
        """Delete at most `limit` expired memories with their derived rows, append to the feed, return their number."""
        ...

    async def namespaces_to_trim(self, now: datetime, grace_period: timedelta, limit: int) -> list[PendingNamespace]:
        """Return at most `limit` namespaces of the shard whose feeds have changes to trim, oldest first."""
        ...

    async def trim_changes(
        self, pending: PendingNamespace, now: datetime, grace_period: timedelta, limit: int
    ) -> TrimResult:
        """Delete at most `limit` changes past the retention, oldest first, except the newest of them.

        `grace_period`: how much longer unpublished changes stay; 0: no longer than the others.
        """
        ...

    async def pending_changes(
        self, after: tuple[TenantId, int] | None, limit: int, changes: int
    ) -> list[PendingChanges]:
        """Return namespaces with unpublished changes, in key order, after the key `after`.

        At most `limit` namespaces, each with at most `changes` changes.
        """
        ...

    async def deleted_namespaces(self, limit: int) -> list[OutboxCursor]:
        """Return the cursors of at most `limit` deleted namespaces whose deletion is not published yet."""
        ...

    async def save_cursors(self, batches: Sequence[EventBatch]) -> None:
        """Save the cursors of published batches; delete those of deleted namespaces."""
        ...

    async def purge_keys(self, now: datetime, limit: int) -> PurgeResult:
        """Delete at most `limit` expired request ids."""

    async def unencoded(self, encoders: Sequence[str], with_tokens: Sequence[str]) -> list[Unencoded]:
        """Return namespaces of the shard that use one of these encoders and have memories without its vector.

        With an encoder of `with_tokens`, also those that have memories without token vectors.
        """
        ...

    async def texts(
        self, namespace: Unencoded, after: int, limit: int, *, with_tokens: bool = False
    ) -> list[UnencodedText]:
        """Return at most `limit` memories without a vector, with ids above `after`, in id order.

        `with_tokens`: also those without token vectors.
        """
        ...

    async def encode(self, namespace: Unencoded, encoded: Sequence[Encoded], now: datetime) -> int:
        """Store vectors of memories whose revision is unchanged, in a namespace whose encoder is unchanged.

        Returns:
            The number of memories that got a vector or token vectors.
        """
        ...

    async def unanalyzed(self, limit: int) -> list[Unanalyzed]:
        """Return at most `limit` namespaces of the shard with terms of a former analyzer, longest pending first."""
        ...

    async def analyze(
        self, namespace: Unanalyzed, terms: Callable[[str], Counter[str]], now: datetime, limit: int
    ) -> int:
        """Replace the terms of the namespace's next memories, at most `limit`, and return the number of memories.

        Fewer than `limit`: they were the last.
        """
        ...

    async def next_terms(self, after: TermPosition | None, limit: int) -> TermPage | None:
        """Read at most `limit` terms of the shard's memories, from the first `after` on; None: there are no more."""
        ...

    async def remove_orphaned_terms(self, orphaned: OrphanedTerms, now: datetime) -> int:
        """Delete these terms where their memory does not exist, and correct the namespace's counts.

        Returns:
            The number of memories whose terms were deleted.
        """
        ...


class WorkerStore(Protocol):
    """Access to background jobs, one process per job and shard."""

    def acquire(self, job: str, shard: Shard) -> AbstractAsyncContextManager[MaintenanceStore | None]:
        """Own this job in the shard while the context is open; it yields None if another process owns it.

        Raises:
            StoreUnavailable: PostgreSQL is unavailable.
        """
        ...
