"""The in-memory search index of one namespace: exact search and scoring, without the interpreter's lock."""

from collections.abc import Sequence
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

class _MemoryRow(Protocol):
    """Fields of a memory; times are in microseconds since 1970."""

    @property
    def id(self) -> int: ...
    @property
    def kind(self) -> int: ...

class _TermPostings(Protocol):
    """A term; buffers of int64 ids of the memories with it and of int32 frequencies in each."""

    @property
    def term(self) -> str: ...

class _IndexRows(Protocol):
    """See `somabrain_service.store.index_source.IndexRows`."""

    @property
    def rows(self) -> Sequence[_MemoryRow]: ...
    @property
    def terms(self) -> Sequence[_TermPostings]: ...

class _TokenRow(Protocol):
    """See `somabrain_service.store.index_source.TokenRow`."""

    @property
    def memory(self) -> int: ...
    @property
    def data(self) -> bytes: ...
    @property
    def truncated(self) -> bool: ...
    @property
    def questions(self) -> float: ...
    @property
    def speaker(self) -> str: ...

class Filter(Protocol):
    """Filter of memories: a memory must match every field, of a sequence any value; empty or None: all match.

    Times are in microseconds since 1970; `..._from_us` is inclusive, `..._until_us` exclusive.
    """

    @property
    def labels(self) -> Sequence[tuple[str, str]]: ...
    @property
    def kinds(self) -> Sequence[int]: ...
    @property
    def sessions(self) -> Sequence[str]: ...
    @property
    def subjects(self) -> Sequence[str]: ...
    @property
    def event_from_us(self) -> int | None: ...
    @property
    def event_until_us(self) -> int | None: ...
    @property
    def create_from_us(self) -> int | None: ...
    @property
    def create_until_us(self) -> int | None: ...
    @property
    def pinned(self) -> bool | None: ...
    @property
    def key_prefix(self) -> str: ...
    @property
    def conditions(self) -> Sequence[tuple[str, int, Sequence[str]]]:
        """Label, number of the operator in the contract, and values."""

    @property
    def any_of(self) -> Sequence[Filter]: ...
    @property
    def none_of(self) -> Sequence[Filter]: ...

@final
class Index:
    """A namespace's memories as of `version`; initially empty. Its methods may be called from any thread.

    A fault of the kernel is a RuntimeError.

    `instruction_set` is one of `instruction_sets()`, for tests; None: the fastest of this processor.
    """

    def __new__(cls, version: int, instruction_set: str | None = None) -> Index: ...
    @property
    def size_bytes(self) -> int:
        """Size in memory without token vectors, estimated where the allocator decides."""

    @property
    def token_bytes(self) -> int:
        """Size of token vectors in memory."""

    @property
    def has_tokens(self) -> bool:
        """Whether the token vectors of all memories that have them are in memory."""

    @property
    def memories(self) -> int:
        """Number of memories, including expired ones."""

    def keys(self) -> list[str]:
        """Return the terms, labels, sessions, subjects and keys of all memories, each after the letter of its kind."""

    def apply(
        self,
        changed_ids: Sequence[int],
        index_rows: _IndexRows,
        version: int,
        token_rows: Sequence[_TokenRow] = (),
    ) -> None:
        """Remove the memories with these ids, add `index_rows` with `token_rows`, and advance to `version`.

        Raises:
            RuntimeError: this update, or one before, failed; the index is of no use any more.
        """

    def expired(self, after_us: int, until_us: int) -> list[int]:
        """Return the ids of memories whose expiry is after `after_us` and not after `until_us`."""

    def set_expiries(self, expiries: Sequence[tuple[int, int]]) -> None:
        """Change when memories expire, each by its id, in microseconds since 1970; unknown ids are ignored.

        Raises:
            RuntimeError: as of `apply`.
        """

    def set_tokens(self, token_rows: Sequence[_TokenRow], complete: bool) -> None:
        """Set the token vectors of those of the memories that are in the index.

        `complete`: with these, every memory that has token vectors has them in memory.

        Raises:
            RuntimeError: as of `apply`.
        """

    def drop_tokens(self) -> None:
        """Remove all token vectors.

        Raises:
            RuntimeError: as of `apply`.
        """

    def statistics(self, version: int, now_us: int, terms: Sequence[str]) -> tuple[int, int, int, list[int]] | None:
        """Return the live memories, their term occurrences and vectors, and the document frequency of each term.

        None: the index is at another version.
        """

    def search(
        self,
        version: int,
        *,
        now_us: int,
        terms: Sequence[str],
        idf: Sequence[float],
        seeds: Sequence[int],
        fallback_seeds: Sequence[int],
        mean_length: float,
        max_lexical: float,
        vector: NDArray[np.float32] | None,
        memory_filter: Filter | None,
        limit: int,
        top_k: int,
        skip: int,
        contiguity: bool,
        bias: bool,
        age_from_s: float,
        half_life_s: float | None,
    ) -> tuple[list[tuple[int, float, tuple[float, float, float, float, float, float]]], float] | None:
        """Return the `top_k` best, best first, and the best BM25 sum of all candidates. None: at another version.

        Each is its id, its score, and the parts of it: lexical, lexical relative, dense, contiguity, recency, salience.

        Args:
            version: version that the index must be at.
            now_us: current time in microseconds since 1970: expired memories are excluded.
            terms: the query's terms, in the order in which their scores are summed.
            idf: inverse document frequency of each term.
            seeds: positions in `terms` of the terms that select candidates.
            fallback_seeds: the same if there are fewer candidates than `top_k`.
            mean_length: mean number of terms of live memories.
            max_lexical: upper bound of BM25 for the query.
            vector: float32[d] of the namespace's encoder; None: words alone.
            memory_filter: what memories must match.
            limit: maximum candidates by words, and by vector.
            top_k: maximum number of memories returned.
            skip: number of the best memories to leave out before.
            contiguity: whether neighbours in a session boost each other.
            bias: whether recency and salience count.
            age_from_s: time that age is measured from, in seconds since 1970.
            half_life_s: half-life of recency; None: age does not count.
        """

    def shortlist(
        self, version: int, ids: Sequence[int], codes: NDArray[np.int8], scales: NDArray[np.float64], max_bytes: int
    ) -> tuple[bytes, bytes, bytes, bytes, bytes, bytes, list[str], list[bool], bool] | None:
        """Return the memories, compared in their order until `max_bytes` of token vectors are, the first in any case.

        None: the index is at another version, or does not have all token vectors.

        Returns:
            The fields of `somabrain_service.domain.ranking.late_interaction.Shortlist` in their order, arrays as the
            bytes of a buffer. `session` is the number of a session in this index.

        Raises:
            ValueError: the query, int8[t, d] and float64[t], has other dimensions than a memory, or `ids` has one that
                does not exist.
        """

    def distances(self, ids: Sequence[int], vector: NDArray[np.float32]) -> list[float | None]:
        """Return the exact cosine distances of memories to float32[d]; None without a vector."""

def instruction_sets() -> list[str]:
    """Return the names of the instruction sets that this processor has, the fastest last."""

def max_similarities(
    texts: Sequence[bytes],
    codes: NDArray[np.int8],
    scales: NDArray[np.float64],
    instruction_set: str | None = None,
) -> bytes:
    """Return the buffer of float64[t, n]: `somabrain_service.domain.token_vectors.max_similarities`, to the last bit.

    Args:
        texts: data of the word pieces of n texts.
        codes: int8[t, d] of a query's word pieces, d a multiple of four.
        scales: float64[t] of the same.
        instruction_set: as of `Index`.

    Raises:
        ValueError: a text has another number of dimensions than the query.
    """
