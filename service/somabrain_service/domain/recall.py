"""Recall queries and their results."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from common.errors import InvalidArgument
from somabrain_service.domain import limits
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory, Vector
from somabrain_service.domain.names import NamespaceName


class DegradedReason(IntEnum):
    """Reasons for a degraded result; numbers as in the contract."""

    ENCODER_UNAVAILABLE = 1
    DENSE_TRUNCATED = 2
    REENCODING = 3
    REANALYZING = 4
    NO_TERMS = 5
    TOKEN_VECTORS_MISSING = 6


@dataclass(frozen=True, slots=True)
class RecallQuery:
    """Search by text, a vector, or both. `top_k` 0: the default.

    `min_score` is compared with the best candidate's absolute lexical score, so it requires `query`; a query without
    terms has no such score, so it is not applied to one. `min_match` is compared with `RecallResult.best_match`, and
    not applied where that is None. `explain`: return the words that matched.
    """

    parent: NamespaceName
    query: str = ""
    vector: Vector | None = None
    top_k: int = 0
    filter: MemoryFilter = field(default_factory=MemoryFilter)
    min_score: float | None = None
    consistency_token: str = ""
    min_match: float | None = None
    explain: bool = False
    page_token: str = ""

    def __post_init__(self) -> None:
        """Validate the fields; afterwards `top_k` is 1 to 200.

        Raises:
            InvalidArgument: naming the field.
        """
        limits.check_text("query", self.query, limits.MAX_QUERY_BYTES)
        if not self.query and self.vector is None:
            raise InvalidArgument("query", "is required, 1 byte to 64 KiB, unless `vector` is set")
        object.__setattr__(
            self, "top_k", limits.check_count("top_k", self.top_k, limits.MAX_TOP_K, limits.DEFAULT_TOP_K)
        )
        for name, value in (("min_score", self.min_score), ("min_match", self.min_match)):
            if value is not None:
                limits.check_range(name, value, 0, 1)
                if not self.query:
                    raise InvalidArgument(name, "is compared with a score of words and requires `query`; set it too")


@dataclass(frozen=True, slots=True)
class WordMatch:
    """A word of the query with the word of a memory that is most similar to it, and their cosine."""

    query_word: str
    memory_word: str
    similarity: float


class ScoreBreakdown(NamedTuple):
    """Components of a score; see docs/recall.md. `truncated`: some word pieces of the memory have no vector.

    A tuple, which takes a third of the time of a frozen dataclass to create: a Recall has hundreds of them.
    """

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
class Hit:
    """A matching memory with its score. Hits are ordered by score, then event time (newest first), then name."""

    memory: Memory
    score: float
    breakdown: ScoreBreakdown
    matches: tuple[WordMatch, ...] = ()


@dataclass(frozen=True, slots=True)
class RecallResult:
    """Result of a Recall. `encoder_id` empty: no vectors were compared. `truncated`: hits beyond 3 MiB were omitted.

    `cached`: the ranking came from the cache. `best_match`: the best candidate's absolute similarity by words; None:
    no words were compared by meaning. `next_page_token` empty: no hits follow. `state_changed`: the namespace is no
    longer as it was at the first page.
    """

    hits: tuple[Hit, ...]
    degraded: tuple[DegradedReason, ...]
    encoder_id: str
    consistency_token: str
    truncated: bool
    best_lexical: float
    best_match: float | None = None
    cached: bool = False
    next_page_token: str = ""
    state_changed: bool = False
