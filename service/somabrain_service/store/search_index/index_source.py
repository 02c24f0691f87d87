"""Memories on their way into a replica: all that searching needs of them, and not their text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from somabrain_service.store.protocols import Snapshot

NEVER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class MemoryRow:
    """A memory without its text; times in microseconds since 1970, `expire_us` NEVER where it does not expire."""

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


@dataclass(frozen=True, slots=True)
class TermPostings:
    """A term, and which of the memories hold it how often: int64[p], int32[p]."""

    term: str
    memories: NDArray[np.int64]
    tf: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class IndexRows:
    """Memories as one reading sees them, also those that have expired.

    `vectors` is float32[len(encoded), d], those of the encoder that was asked for; `other_vectors` are the memories
    that have one of another encoder.
    """

    rows: Sequence[MemoryRow]
    terms: Sequence[TermPostings]
    encoded: NDArray[np.int64]
    vectors: NDArray[np.float32]
    other_vectors: NDArray[np.int64]


class IndexSource(Snapshot, Protocol):
    """A reading that a replica can be filled from."""

    async def identifiers(self, after: int, limit: int) -> list[int]:
        """Ids of memories above `after`, in order, at most `limit`; also of those that have expired."""
        ...

    async def index_rows(self, ids: Sequence[int], encoder_id: str) -> IndexRows:
        """Those of the memories that are there."""
        ...
