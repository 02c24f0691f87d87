"""What goes into a store and comes out of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from common.errors import SomaBrainError
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory, MemoryDraft
from somabrain_service.domain.namespace import Namespace


@dataclass(frozen=True, slots=True)
class SchemaState:
    """The database's schema beside this image's. `current` None: the migrations have not run."""

    current: int | None
    oldest_compatible: int | None
    head: int

    @property
    def compatible(self) -> bool:
        """Whether this image may serve: current >= its head >= oldest compatible."""
        if self.current is None or self.oldest_compatible is None:
            return False
        return self.current >= self.head >= self.oldest_compatible


@dataclass(frozen=True, slots=True)
class NewMemory:
    """A memory about to be kept: its draft with what was worked out from it.

    `terms` are those of its text, `vector` float32[d] of `encoder_id`; None: it has none (yet).
    """

    draft: MemoryDraft
    event_time: datetime
    create_time: datetime
    expire_time: datetime | None
    salience: float
    terms: Mapping[str, int]
    vector: NDArray[np.float32] | None
    encoder_id: str

    def with_vector(self, vector: NDArray[np.float32] | None) -> NewMemory:
        """The same with another vector."""
        return dataclasses.replace(self, vector=vector)


@dataclass(frozen=True, slots=True)
class NewText:
    """What was worked out from a memory's new text, as in `NewMemory`."""

    terms: Mapping[str, int]
    vector: NDArray[np.float32] | None
    encoder_id: str


@dataclass(frozen=True, slots=True)
class MemoryUpdate:
    """A memory about to be changed from the state `before`. `new_text` None: the text stays as it is."""

    before: Memory
    draft: MemoryDraft
    event_time: datetime
    update_time: datetime
    expire_time: datetime | None
    salience: float
    new_text: NewText | None


@dataclass(frozen=True, slots=True)
class WriteResult:
    """A memory as it is kept, and the moment of the write."""

    memory: Memory
    as_of: NamespaceVersion


@dataclass(frozen=True, slots=True)
class BatchWriteResult:
    """What became of each memory of a batch, in their order, and the moment of the write."""

    results: Sequence[Memory | SomaBrainError]
    as_of: NamespaceVersion


@dataclass(frozen=True, slots=True)
class Statistics:
    """A namespace as a reading sees it; counts are of live memories. `df`: in how many each asked term occurs."""

    namespace: Namespace
    memories: int
    term_occurrences: int
    vectors: int
    df: tuple[int, ...]

    @property
    def read_version(self) -> NamespaceVersion:
        """The point in its history that the reading sees."""
        return self.namespace.read_version

    @property
    def mean_length(self) -> float:
        """Terms a memory, on average; 1 when there is none."""
        return self.term_occurrences / self.memories if self.term_occurrences else 1.0


@dataclass(frozen=True, slots=True)
class Search:
    """What candidates are sought for.

    `seeds` are the positions in `terms` of those that make candidates; `idf` and `mean_length` only cut them to the
    best `limit`. `vector` float32[d] of `encoder_id`; None: words alone.
    """

    terms: tuple[str, ...]
    idf: tuple[float, ...]
    seeds: tuple[int, ...]
    mean_length: float
    vector: NDArray[np.float32] | None
    encoder_id: str
    filter: MemoryFilter
    limit: int


@dataclass(frozen=True, slots=True)
class ErasureResult:
    """How many memories an erasure forgot, and the moment of it."""

    count: int
    as_of: NamespaceVersion
