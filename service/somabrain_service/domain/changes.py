"""The change feed of a namespace: changes of its memories in commit order; watch and export queries."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryName, NamespaceName

LAST_ORDINAL = 2**31 - 1


class ChangeType(IntEnum):
    """Type of a change; numbers as in the contract, which has no REINDEXED.

    REINDEXED: a memory's vector or terms were recomputed by another encoder or analyzer. The memory itself did not
    change, so no watch reports it; the search index needs it to catch up.
    """

    REMEMBERED = 1
    UPDATED = 2
    FORGOTTEN = 3
    EXPIRED = 4
    REINDEXED = 5


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Position in the feed of one epoch: after change `ordinal` of `version`; `LAST_ORDINAL`: after all of it."""

    version: int
    ordinal: int = LAST_ORDINAL


@dataclass(frozen=True, slots=True)
class Change:
    """One change and its position in the feed. `traceparent` (W3C) is that of the causing call; empty if not traced."""

    position: Position
    type: ChangeType
    name: MemoryName
    revision: int
    change_time: datetime
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class WatchQuery:
    """Query of a watch: events after `cursor`; empty: from now on."""

    parent: NamespaceName
    cursor: str = ""
    include_memory: bool = False


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """A change with the current memory, or a checkpoint (`change` None) at `time`; `cursor` resumes after it."""

    change: Change | None
    memory: Memory | None
    time: datetime
    cursor: str


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """Query of an export: memories after `resume_token`; empty: from the beginning."""

    parent: NamespaceName
    filter: MemoryFilter = field(default_factory=MemoryFilter)
    include_vectors: bool = False
    resume_token: str = ""


@dataclass(frozen=True, slots=True)
class StoredVector:
    """A stored vector, float32[d], and the encoder that produced it."""

    values: NDArray[np.float32]
    encoder_id: str

    @property
    def size_bytes(self) -> int:
        """Upper bound of the vector's size in a message."""
        return 64 + 4 * len(self.values) + len(self.encoder_id.encode())


@dataclass(frozen=True, slots=True)
class ExportPage:
    """A page of memories, each with its vector (None: it has no vector, or vectors were not requested).

    `resume_token` continues after this page; a watch from `cursor` delivers every change that is not in the export.
    """

    memories: tuple[tuple[Memory, StoredVector | None], ...]
    resume_token: str
    cursor: str
