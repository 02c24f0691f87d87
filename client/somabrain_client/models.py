"""Frozen values that the client accepts and returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, IntEnum


class MemoryKind(IntEnum):
    """Kind of memory; used only by filters."""

    EPISODIC = 1
    SEMANTIC = 2
    PROCEDURAL = 3


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory as the service stores it."""

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
    key: str = ""
    index_text: str = ""
    consistency_token: str = field(default="", compare=False)
    """Token of the write that returned this memory: a read with it sees that write. Empty for memories from a read."""


@dataclass(frozen=True, slots=True)
class MemoryDraft:
    """A memory to be stored; fields that are not given take the contract's defaults.

    `vector` is the caller's own, of encoder `encoder_id` (empty: the namespace's); None: the server encodes the text.
    `request_id` makes the write idempotent across calls; empty: each call is a new write. A time without a zone is the
    machine's local time.
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
    key: str = ""
    index_text: str = ""


@dataclass(frozen=True, slots=True)
class Breakdown:
    """Components of a score; `lexical` and `match` are absolute, 0 to 1, and comparable between queries."""

    lexical: float
    lexical_relative: float
    dense: float
    contiguity: float
    recency: float
    salience: float
    match: float = 0.0
    meaning: float = 0.0
    question: float = 1.0
    speaker: float = 1.0
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class WordMatch:
    """A word of a query, the word of a memory that is most similar to it, and their cosine."""

    query_word: str
    memory_word: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A recalled memory with its score. `breakdown` None: it was not requested, and neither were `matches`."""

    memory: Memory
    score: float
    breakdown: Breakdown | None
    matches: tuple[WordMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class RecallResult:
    """Hits, best first. `degraded`: reasons for reduced quality; empty: full quality.

    `best_match`: the best candidate's absolute similarity by words; None: words were not compared by meaning.
    """

    hits: tuple[Hit, ...]
    degraded: tuple[str, ...]
    cached: bool
    encoder_id: str
    consistency_token: str
    truncated: bool
    best_lexical: float
    best_match: float | None = None
    next_page_token: str = ""
    """For `page_token` of the next call; empty: no hits follow."""
    state_changed: bool = False
    """The namespace has changed since the first page: hits may be missing, or be repeated."""


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """The memories of a session or about a subject: their number, and the latest of their times."""

    value: str
    memory_count: int
    last_event_time: datetime
    last_create_time: datetime
    last_update_time: datetime


@dataclass(frozen=True, slots=True)
class MemoryPage:
    """A page of memories. `next_page_token`: for the call that returns the next one; empty: this is the last."""

    memories: tuple[Memory, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class MemoryGroupPage:
    """A page of groups. `next_page_token`: for the call that returns the next one; empty: this is the last."""

    groups: tuple[MemoryGroup, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Numbers of memories that were forgotten, and that matched before. More match if the bound was reached."""

    count: int
    matching: int
    consistency_token: str


class Unset(Enum):
    """Type of UNSET, which leaves a setting unchanged where None removes it."""

    UNSET = "unchanged"


UNSET = Unset.UNSET


@dataclass(frozen=True, slots=True)
class NamespaceStatistics:
    """Counts of a namespace and its tenant; sizes of texts in bytes. A limit of 0: unlimited."""

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
    token_vector_count: int = 0
    token_bytes: int = 0
    tenant_token_byte_limit: int = 0
    tenant_token_byte_count: int = 0


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace as the service stores it. `statistics` None: they were not requested."""

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
    content: str = ""
    statistics: NamespaceStatistics | None = None


OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "in", "prefix", "exists")


@dataclass(frozen=True, slots=True)
class Condition:
    """Condition on a label: `operator` is =, !=, <, <=, >, >=, `in`, `prefix` or `exists`.

    A value is a text or a number; `in` takes a tuple of them, `exists` takes none. Labels that are numbers compare as
    numbers with numbers, exactly; all others by their bytes.
    """

    label: str
    operator: str
    value: str | float | Sequence[str | float] | None = None


@dataclass(frozen=True, slots=True)
class Filter:
    """Filter of memories: all set fields must match; of a tuple, any one value.

    But a memory must meet all `conditions`, and match no filter of `none_of`. A time without a zone is the machine's
    local time.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    kinds: tuple[MemoryKind, ...] = ()
    sessions: tuple[str, ...] = ()
    subjects: tuple[str, ...] = ()
    event_time_from: datetime | None = None
    event_time_until: datetime | None = None
    create_time_from: datetime | None = None
    create_time_until: datetime | None = None
    pinned: bool | None = None
    key_prefix: str = ""
    conditions: tuple[Condition, ...] = ()
    any_of: tuple[Filter, ...] = ()
    none_of: tuple[Filter, ...] = ()
