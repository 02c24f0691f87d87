"""What the client gives and takes: frozen values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, IntEnum


class MemoryKind(IntEnum):
    """What sort of memory it is; it only filters."""

    EPISODIC = 1
    SEMANTIC = 2
    PROCEDURAL = 3


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory as the service keeps it."""

    name: str
    text: str
    kind: MemoryKind
    session: str
    session_position: int | None
    subject: str
    labels: Mapping[str, str]
    event_time: datetime
    create_time: datetime
    update_time: datetime
    salience: float
    expire_time: datetime | None
    pinned: bool
    revision: int
    etag: str
    consistency_token: str = field(default="", compare=False)
    """Of the write that answered with it: a read that is given it is not from before that write. Empty from a read."""


@dataclass(frozen=True, slots=True)
class MemoryDraft:
    """A text to be kept; what is left out has the contract's default.

    `vector` is the caller's own, of `encoder_id` (empty: the namespace's); without it the server makes one.
    `request_id` names the write across calls; without it each call is its own.
    """

    text: str
    kind: MemoryKind = MemoryKind.EPISODIC
    session: str = ""
    session_position: int | None = None
    subject: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    event_time: datetime | None = None
    salience: float | None = None
    expire_time: datetime | None = None
    ttl: timedelta | None = None
    pinned: bool = False
    vector: Sequence[float] | None = None
    encoder_id: str = ""
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """How a score came to be; `lexical` is absolute, 0 to 1, and comparable between questions."""

    lexical: float
    lexical_relative: float
    dense: float
    contiguity: float
    recency: float
    salience: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A memory that answers. `breakdown` None: it was not asked for."""

    memory: Memory
    score: float
    breakdown: Breakdown | None


@dataclass(frozen=True, slots=True)
class RecallResult:
    """Hits, best first. `degraded` empty: the answer is all it can be."""

    hits: tuple[Hit, ...]
    degraded: tuple[str, ...]
    cached: bool
    encoder_id: str
    consistency_token: str
    truncated: bool
    best_lexical: float


class Unset(Enum):
    """Says of a setting that it stays as it is, where None takes it away."""

    UNSET = "unchanged"


UNSET = Unset.UNSET


@dataclass(frozen=True, slots=True)
class NamespaceStatistics:
    """What a namespace and its tenant hold; texts in bytes. A limit of 0 is none."""

    memory_count: int
    text_bytes: int
    vector_count: int
    unencoded_count: int
    unanalyzed_count: int
    session_count: int
    term_count: int
    oldest_cursor: str
    tenant_memory_limit: int
    tenant_memory_count: int
    tenant_byte_limit: int
    tenant_byte_count: int


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace as the service keeps it. `statistics` None: it was not asked for."""

    name: str
    display_name: str
    language: str
    encoder: str
    recency_half_life: timedelta | None
    default_ttl: timedelta | None
    feed_retention: timedelta
    version: int
    epoch: str
    etag: str
    statistics: NamespaceStatistics | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Which memories are meant: every set field must hold; within a tuple any may."""

    labels: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[MemoryKind, ...] = ()
    sessions: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    event_time_from: datetime | None = None
    event_time_until: datetime | None = None
    create_time_from: datetime | None = None
    create_time_until: datetime | None = None
    pinned: bool | None = None
