"""The narrow protocols of the store for background work, which is no tenant's.

Whatever a process does in the background, it does on the connection that holds the lock of that work: a process that
lost the lock, because PostgreSQL or the network gave its connection up, has with it lost the means to write.
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

from somabrain_service.domain.events import EventBatch, OutboxCursor, PendingChanges
from somabrain_service.domain.names import TenantId


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `of` parts of all namespaces: those whose id leaves the remainder `number`."""

    number: int
    count: int


@dataclass(frozen=True, slots=True)
class PendingNamespace:
    """A namespace in which something waits to be done, the oldest of it `since` then."""

    tenant: TenantId
    ns: int
    since: datetime


@dataclass(frozen=True, slots=True)
class PurgeResult:
    """How many were dropped, and when the first of them was due."""

    count: int
    since: datetime


@dataclass(frozen=True, slots=True)
class TrimResult:
    """How many changes were dropped, and how many of them no event had told."""

    count: int
    unpublished: int


@dataclass(frozen=True, slots=True)
class Unencoded:
    """A namespace in which memories have no vector of its encoder."""

    tenant: TenantId
    ns: int
    encoder_id: str


@dataclass(frozen=True, slots=True)
class UnencodedText:
    """A memory without a vector, and since when it waits for one."""

    id: int
    revision: int
    text: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Encoded:
    """The vector, float32[d], of a memory as it was at `revision`."""

    id: int
    revision: int
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Unanalyzed:
    """A namespace in which memories have terms of another analyzer than its own, `since` then."""

    tenant: TenantId
    ns: int
    analyzer: str
    since: datetime


class MaintenanceStore(Protocol):
    """What the one holder of a shard may do. Every call is a transaction, small enough to end soon.

    Raises:
        StoreUnavailable: of every method: PostgreSQL is gone, and the shard with it.
    """

    async def expired(self, now: datetime, limit: int) -> list[PendingNamespace]:
        """Namespaces of the shard that hold expired memories, at most `limit`, those waiting longest first."""
        ...

    async def expire(self, pending: PendingNamespace, now: datetime, limit: int) -> int:
        """Remove at most `limit` expired memories with all that came of them, and tell the feed; says how many."""
        ...

    async def namespaces_to_trim(self, now: datetime, grace_period: timedelta, limit: int) -> list[PendingNamespace]:
        """Namespaces of the shard whose feeds hold changes that may go, at most `limit`, the oldest first."""
        ...

    async def trim_changes(
        self, pending: PendingNamespace, now: datetime, grace_period: timedelta, limit: int
    ) -> TrimResult:
        """Drop at most `limit` changes past the retention, oldest first, but the newest of them.

        `hold`: how much longer those stay that have not been told by events; 0: none are.
        """
        ...

    async def pending_changes(
        self, after: tuple[TenantId, int] | None, limit: int, changes: int
    ) -> list[PendingChanges]:
        """Namespaces of which something is to be told, in the order of their keys and after the one given.

        At most `limit` of them, and of each at most `changes`.
        """
        ...

    async def deleted_namespaces(self, limit: int) -> list[OutboxCursor]:
        """Namespaces of which something was told and that are no more, at most `limit`."""
        ...

    async def save_cursors(self, batches: Sequence[EventBatch]) -> None:
        """Note what has been told."""
        ...

    async def purge_keys(self, now: datetime, limit: int) -> PurgeResult:
        """Drop at most `limit` request ids whose time has passed."""

    async def unencoded(self, encoders: Sequence[str]) -> list[Unencoded]:
        """Namespaces of the shard that have one of these encoders, and memories without a vector of it."""
        ...

    async def texts(self, namespace: Unencoded, after: int, limit: int) -> list[UnencodedText]:
        """Memories without a vector, with ids above `after`, in their order."""
        ...

    async def encode(self, namespace: Unencoded, encoded: Sequence[Encoded], now: datetime) -> int:
        """Keep vectors of memories that are still as they were, in a namespace whose encoder is still that one.

        Returns:
            How many were kept.
        """
        ...

    async def unanalyzed(self, limit: int) -> list[Unanalyzed]:
        """Namespaces of the shard with terms of a former analyzer, at most `limit`, those waiting longest first."""
        ...

    async def analyze(
        self, namespace: Unanalyzed, terms: Callable[[str], Counter[str]], now: datetime, limit: int
    ) -> int:
        """Give the next memories of the namespace, at most `limit`, the terms of their texts; says how many there were.

        Fewer than `limit`: they were the last.
        """
        ...


class WorkerStore(Protocol):
    """Where background work is held."""

    def acquire(self, job: str, shard: Shard) -> AbstractAsyncContextManager[MaintenanceStore | None]:
        """Be the one who does this work in the shard, as long as the context lasts; None: somebody else is.

        Raises:
            StoreUnavailable: PostgreSQL is gone.
        """
        ...
