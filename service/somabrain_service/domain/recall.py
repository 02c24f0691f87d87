"""A question to a namespace and its answer."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from common.errors import InvalidArgument
from somabrain_service.domain import limits
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory, Vector
from somabrain_service.domain.names import NamespaceName


class DegradedReason(IntEnum):
    """Why an answer is less than it could be; numbers as in the contract."""

    ENCODER_UNAVAILABLE = 1
    DENSE_TRUNCATED = 2
    REENCODING = 3
    REANALYZING = 4


@dataclass(frozen=True, slots=True)
class RecallQuery:
    """What is sought: words, a vector, or both. `top_k` 0: the default.

    `min_score` is held against the best candidate's absolute lexical score, so it needs words.
    """

    parent: NamespaceName
    query: str = ""
    vector: Vector | None = None
    top_k: int = 0
    filter: MemoryFilter = field(default_factory=MemoryFilter)
    min_score: float | None = None
    consistency_token: str = ""

    def __post_init__(self) -> None:
        """Hold the bounds; afterwards `top_k` is 1 to 200.

        Raises:
            InvalidArgument: naming the field.
        """
        limits.check_text("query", self.query, limits.TEXT_BYTES)
        if not self.query and self.vector is None:
            raise InvalidArgument("query", "is required, 1 byte to 64 KiB, unless `vector` is set")
        object.__setattr__(self, "top_k", limits.check_count("top_k", self.top_k, limits.TOP_K, limits.DEFAULT_TOP_K))
        if self.min_score is not None:
            limits.check_range("min_score", self.min_score, 0, 1)
            if not self.query:
                raise InvalidArgument("min_score", "is held against the lexical score and needs `query`; set it too")


@dataclass(frozen=True, slots=True)
class ScoreBreakdown:
    """How a score came to be; see docs/recall.md."""

    lexical: float
    lexical_relative: float
    dense: float
    contiguity: float
    recency: float
    salience: float


@dataclass(frozen=True, slots=True)
class Hit:
    """A memory that answers, best first by score, then event time (newest first), then name."""

    memory: Memory
    score: float
    breakdown: ScoreBreakdown


@dataclass(frozen=True, slots=True)
class RecallResult:
    """`encoder_id` empty: no vectors took part. `truncated`: hits were left out because of the 3 MiB.

    `cached`: their order was known from before.
    """

    hits: tuple[Hit, ...]
    degraded: tuple[DegradedReason, ...]
    encoder_id: str
    consistency_token: str
    truncated: bool
    best_lexical: float
    cached: bool = False
