"""Input and result records of a store."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from common.errors import SomaBrainError
from somabrain_service.domain import utterance
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory, MemoryDraft
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.ranking.score import Tuning
from somabrain_service.domain.token_vectors import TokenVectors


@dataclass(frozen=True, slots=True)
class SchemaState:
    """Schema versions of the database and of this image (`head`). `current` None: the migrations have not run."""

    current: int | None
    oldest_compatible: int | None
    head: int

    @property
    def compatible(self) -> bool:
        """True if this image may serve: current >= head >= oldest compatible."""
        if self.current is None or self.oldest_compatible is None:
            return False
        return self.current >= self.head >= self.oldest_compatible


class IndexStats(NamedTuple):
    """State of the in-memory search index: `token_bytes` of its `size_bytes` are those of token vectors.

    `failures` counts searches that failed and were left to PostgreSQL.
    """

    namespaces: int
    size_bytes: int
    token_bytes: int
    failures: int


@dataclass(frozen=True, slots=True)
class TokenRecord:
    """Token vectors of a text, and what else is derived from it for a ranking by them.

    `questions`, 0 to 1, and `speaker`: see `domain.utterance`.
    """

    vectors: TokenVectors
    questions: float
    speaker: str

    @property
    def size_bytes(self) -> int:
        """Bytes of the vectors, which the tenant's quota counts."""
        return len(self.vectors.data)


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A memory's token vectors, and what else is known of its text, in the order of `postgres.queries.token_vectors`.

    `data` and `truncated`: see `domain.token_vectors`; `questions` and `speaker`: see `late_interaction.Shortlist`.
    """

    memory: int
    data: bytes
    truncated: bool
    questions: float
    speaker: str


def token_record(text: str, vectors: TokenVectors | None) -> TokenRecord | None:
    """Return the record of a text with these token vectors; None: it has none."""
    if vectors is None:
        return None
    return TokenRecord(vectors, utterance.question_share(text), utterance.speaker(text))


@dataclass(frozen=True, slots=True)
class NewMemory:
    """A memory to insert: its draft with the values derived from it.

    `terms` are those of its text, `vector` is float32[d] of `encoder_id`; None: no vector (yet), and no `tokens`.
    """

    draft: MemoryDraft
    event_time: datetime
    create_time: datetime
    expire_time: datetime | None
    salience: float
    terms: Mapping[str, int]
    vector: NDArray[np.float32] | None
    encoder_id: str
    tokens: TokenRecord | None = None

    def with_vectors(self, vector: NDArray[np.float32] | None, tokens: TokenRecord | None) -> NewMemory:
        """Return a copy with other vectors."""
        return dataclasses.replace(self, vector=vector, tokens=tokens)


@dataclass(frozen=True, slots=True)
class NewText:
    """Values derived from a memory's new text, as in `NewMemory`."""

    terms: Mapping[str, int]
    vector: NDArray[np.float32] | None
    encoder_id: str
    tokens: TokenRecord | None = None


@dataclass(frozen=True, slots=True)
class MemoryUpdate:
    """An update of a memory from the state `before`. `new_text` None: the text is unchanged."""

    before: Memory
    draft: MemoryDraft
    event_time: datetime
    update_time: datetime
    expire_time: datetime | None
    salience: float
    new_text: NewText | None


@dataclass(frozen=True, slots=True)
class WriteResult:
    """A memory as stored, and the namespace's version after the write."""

    memory: Memory
    as_of: NamespaceVersion


@dataclass(frozen=True, slots=True)
class BatchWriteResult:
    """The result of each memory of a batch, in order, and the namespace's version after the write."""

    results: Sequence[Memory | SomaBrainError]
    as_of: NamespaceVersion


@dataclass(frozen=True, slots=True)
class Statistics:
    """Counts of a namespace's live memories in a snapshot. `df`: document frequency of each requested term."""

    namespace: Namespace
    memories: int
    term_occurrences: int
    vectors: int
    df: tuple[int, ...]

    @property
    def read_version(self) -> NamespaceVersion:
        """Version of the namespace that the snapshot sees."""
        return self.namespace.read_version

    @property
    def mean_length(self) -> float:
        """Mean number of terms per memory; 1 if there are no terms."""
        return self.term_occurrences / self.memories if self.term_occurrences else 1.0


@dataclass(frozen=True, slots=True)
class Search:
    """Query of a search.

    `seeds` are the positions in `terms` of the terms that produce candidates; `fallback_seeds` the same if these are
    fewer than `top_k`. `idf` and `mean_length` cut candidates to the top `limit`. `vector` is float32[d] of
    `encoder_id`; None: words alone. `top_k` and `tuning` are those of the ranking, whose best `skip` are left out.
    """

    terms: tuple[str, ...]
    idf: tuple[float, ...]
    seeds: tuple[int, ...]
    fallback_seeds: tuple[int, ...]
    mean_length: float
    vector: NDArray[np.float32] | None
    encoder_id: str
    filter: MemoryFilter
    limit: int
    top_k: int
    tuning: Tuning
    skip: int = 0


@dataclass(frozen=True, slots=True)
class ForgettingResult:
    """Numbers of memories that were forgotten, and that matched before; the namespace's version after it."""

    count: int
    matching: int
    as_of: NamespaceVersion


@dataclass(frozen=True, slots=True)
class ErasureResult:
    """Number of erased memories, and the namespace's version after it."""

    count: int
    as_of: NamespaceVersion
