"""Input of a search index: all fields of memories that a search needs, without their text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.store.protocols import Snapshot, Store

NEVER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """A memory without its text, its fields in the order of `postgres.index_rows`.

    Times are in microseconds since 1970; `expire_us` is NEVER if it does not expire.
    """

    id: int
    kind: int
    session: str
    position: int
    subject: str
    labels: Mapping[str, str]
    event_us: int
    create_us: int
    expire_us: int
    salience: float
    pinned: bool
    doc_length: int
    key: str = ""


@dataclass(frozen=True, slots=True)
class TermPostings:
    """A term, the ids of the memories with it, int64[p], and its frequency in each, int32[p]."""

    term: str
    memories: NDArray[np.int64]
    tf: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class IndexRows:
    """Memories of one snapshot, including expired ones.

    `encoded` are the ids of memories with a vector of the requested encoder, `vectors`, float32[len(encoded), d], their
    vectors; `other_vectors` are the ids of memories with a vector of another encoder.
    """

    rows: Sequence[MemoryRow]
    terms: Sequence[TermPostings]
    encoded: NDArray[np.int64]
    vectors: NDArray[np.float32]
    other_vectors: NDArray[np.int64]


class IndexSource(Snapshot, Protocol):
    """Snapshot that a search index can be loaded from."""

    async def identifiers(self, after: int, limit: int) -> list[int]:
        """Return at most `limit` sorted ids of memories above `after`, including expired ones."""
        ...

    async def index_rows(self, ids: Sequence[int], encoder_id: str) -> IndexRows:
        """Return the rows of those of the memories that exist."""
        ...

    async def expiries(self, ids: Sequence[int]) -> list[tuple[int, int]]:
        """Return those of the memories that exist, each with its expiry in microseconds since 1970."""
        ...


class IndexableStore(Store, Protocol):
    """Store whose snapshots a search index can be loaded from."""

    def snapshot(
        self, tenant: TenantId, name: NamespaceName, now: datetime, *, assume_unchanged: bool = False
    ) -> AbstractAsyncContextManager[IndexSource]:
        """Open a snapshot of a namespace as of `now`."""
        ...

    async def read_memories(
        self, tenant: TenantId, namespace: Namespace, ids: Sequence[int], size_bytes: int
    ) -> tuple[Namespace, list[Memory]]:
        """Return the namespace as it is, and memories of it as `Snapshot.memories` does, in one exchange.

        Raises:
            NotFound: no such namespace.
            SnapshotOutdated: the connection was lost, such as one that died while idle.
        """
        ...
