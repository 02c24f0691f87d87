"""The change feed of a namespace: what happened to its memories, in commit order."""

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
    """What happened; numbers as in the contract, which has no REINDEXED.

    REINDEXED: a memory's vector or terms were made anew by another encoder or analyzer. Nothing happened to the memory,
    so no watch tells of it; what follows the index in memory needs to know.
    """

    REMEMBERED = 1
    UPDATED = 2
    FORGOTTEN = 3
    EXPIRED = 4
    REINDEXED = 5


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in the feed of one epoch: after the change `ordinal` of `version`; `LAST_ORDINAL`: after all of it."""

    version: int
    ordinal: int = LAST_ORDINAL


@dataclass(frozen=True, slots=True)
class Change:
    """One change, and its place in the feed. `traceparent` (W3C) of the call that made it, where it was traced."""

    position: Position
    type: ChangeType
    name: MemoryName
    revision: int
    change_time: datetime
    traceparent: str = ""


@dataclass(frozen=True, slots=True)
class WatchQuery:
    """What is watched, and after which cursor; empty: from now on."""

    parent: NamespaceName
    cursor: str = ""
    include_memory: bool = False


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """A change with its memory as it is now, or a checkpoint (`change` None) at `time`; `cursor` resumes after it."""

    change: Change | None
    memory: Memory | None
    time: datetime
    cursor: str


@dataclass(frozen=True, slots=True)
class ExportQuery:
    """What is exported, and after which token; empty: from the beginning."""

    parent: NamespaceName
    filter: MemoryFilter = field(default_factory=MemoryFilter)
    include_vectors: bool = False
    resume_token: str = ""


@dataclass(frozen=True, slots=True)
class StoredVector:
    """float32[d], and the encoder that made it."""

    values: NDArray[np.float32]
    encoder_id: str

    @property
    def size_bytes(self) -> int:
        """No less than the vector takes in a message."""
        return 64 + 4 * len(self.values) + len(self.encoder_id.encode())


@dataclass(frozen=True, slots=True)
class ExportPage:
    """Memories, each with its vector (None: there is none, or it was not asked for).

    `resume_token` goes on after it; a watch from `cursor` tells of everything that is not in the export.
    """

    memories: tuple[tuple[Memory, StoredVector | None], ...]
    resume_token: str
    cursor: str
