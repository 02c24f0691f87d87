"""Reference implementation of the search index: every formula over every memory, without index or pruning.

It finds the candidates that PostgreSQL's statements find, and the product's scorer in Python ranks them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.names import NamespaceName
from somabrain_service.domain.namespace import Namespace, NamespaceSettings
from somabrain_service.domain.ranking import bm25
from somabrain_service.domain.ranking.bm25 import Postings
from somabrain_service.domain.ranking.contiguity import KERNEL_WIDTH
from somabrain_service.domain.ranking.fixed_point import FIXED_POINT_SCALE
from somabrain_service.domain.ranking.score import Candidates, Ranking, Tuning, rank
from somabrain_service.store.index_source import IndexRows, MemoryRow, TermPostings
from somabrain_service.store.records import Search, Statistics
from somabrain_service.store.search_index.filters import unix_microseconds

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class StoredMemory:
    """A memory with its terms' frequencies; `vector` is float32[d] of the namespace's encoder.

    `other_vector`: it has a vector of another encoder.
    """

    row: MemoryRow
    terms: Mapping[str, int]
    vector: NDArray[np.float32] | None = None
    other_vector: bool = False


def namespace(version: int, half_life: timedelta | None = None) -> Namespace:
    """A namespace at a version."""
    settings = NamespaceSettings(language="en", encoder="e", recency_half_life=half_life)
    return Namespace(
        NamespaceName.of("a"), "", settings, "en-1", False, UNIX_EPOCH, UNIX_EPOCH, version, "epoch", "etag", 1
    )


def index_rows(memories: Sequence[StoredMemory]) -> IndexRows:
    """The memories as a store returns them."""
    terms = sorted({term for memory in memories for term in memory.terms})
    having = {term: [memory for memory in memories if term in memory.terms] for term in terms}
    encoded = [memory for memory in memories if memory.vector is not None]
    vectors = [memory.vector for memory in encoded if memory.vector is not None]
    return IndexRows(
        rows=[memory.row for memory in memories],
        terms=[
            TermPostings(
                term,
                np.array([memory.row.id for memory in having[term]], np.int64),
                np.array([memory.terms[term] for memory in having[term]], np.int32),
            )
            for term in terms
        ],
        encoded=np.array([memory.row.id for memory in encoded], np.int64),
        vectors=np.array(vectors, np.float32) if vectors else np.zeros((0, 0), np.float32),
        other_vectors=np.array([memory.row.id for memory in memories if memory.other_vector], np.int64),
    )


def distances(vectors: Sequence[NDArray[np.float32]], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosine distances in float64, which represents every product exactly; 1 for a vector of zeros."""
    if not len(vectors):
        return np.zeros(0)
    units = np.rint(np.array(vectors, np.float32) * np.float32(FIXED_POINT_SCALE)).astype(np.float64)
    q = np.rint(query * np.float32(FIXED_POINT_SCALE)).astype(np.float64)
    lengths = np.sqrt(np.maximum((units * units).sum(axis=1) * (q @ q), 1))
    return np.asarray(1 - np.clip(units @ q / lengths, -1, 1))


@dataclass
class ReferenceIndex:
    """Memories by id."""

    memories: dict[int, StoredMemory]

    def apply(self, changed_ids: Sequence[int], memories: Sequence[StoredMemory]) -> None:
        for id_ in changed_ids:
            self.memories.pop(id_, None)
        self.memories |= {memory.row.id: memory for memory in memories}

    def keys(self) -> set[str]:
        keys = set()
        for memory in self.memories.values():
            keys |= {f"t{term}" for term in memory.terms}
            keys |= {f"l{key}\0{value}" for key, value in memory.row.labels.items()}
            keys |= {f"s{memory.row.session}", f"u{memory.row.subject}"}
            keys |= {f"k{memory.row.key}"} if memory.row.key else set()
        return keys

    def statistics(self, of: Namespace, terms: Sequence[str], now: datetime) -> Statistics:
        live = self._matching(MemoryFilter(), now)
        return Statistics(
            of,
            len(live),
            sum(memory.row.doc_length for memory in live),
            sum(memory.vector is not None or memory.other_vector for memory in live),
            tuple(sum(term in memory.terms for memory in live) for term in terms),
        )

    def rank(self, of: Namespace, search: Search, now: datetime) -> Ranking:
        candidates = self._candidates(search, now)
        if candidates.eligible.sum() < search.top_k and search.fallback_seeds != search.seeds:
            candidates = self._candidates(replace(search, seeds=search.fallback_seeds), now)
        return rank(
            candidates,
            idf=np.array(search.idf, np.float64),
            mean_length=search.mean_length,
            top_k=search.top_k,
            now_s=now.timestamp(),
            half_life=of.settings.recency_half_life,
            tuning=search.tuning,
        )

    def _candidates(self, search: Search, now: datetime) -> Candidates:
        matching = self._matching(search.filter, now)
        seeds = self._lexical_seeds(matching, search) | self._dense_seeds(matching, search)
        pool = [
            memory
            for memory in matching
            if memory.row.id in seeds
            or any(
                memory.row.session
                and memory.row.session == seed.row.session
                and abs(memory.row.position - seed.row.position) <= 2 * KERNEL_WIDTH
                for seed in (self.memories[id_] for id_ in seeds)
            )
        ]
        sessions = {"": -1}
        entries = [
            (row, number, memory.terms[term])
            for row, memory in enumerate(pool)
            for number, term in enumerate(search.terms)
            if term in memory.terms
        ]
        return Candidates(
            ids=np.array([memory.row.id for memory in pool], np.int64),
            seeds=np.array([memory.row.id in seeds for memory in pool], np.bool_),
            session=np.array([sessions.setdefault(memory.row.session, len(sessions)) for memory in pool], np.int64),
            position=np.array([memory.row.position for memory in pool], np.int64),
            event_time_s=np.array([memory.row.event_us / 1e6 for memory in pool], np.float64),
            salience=np.array([memory.row.salience for memory in pool], np.float64),
            doc_length=np.array([memory.row.doc_length for memory in pool], np.float64),
            postings=_postings(entries),
            cosine=None if search.vector is None else self._cosines(pool, search.vector),
        )

    def _matching(self, memory_filter: MemoryFilter, now: datetime) -> list[StoredMemory]:
        """The live memories that match, by id."""
        return [
            memory
            for _, memory in sorted(self.memories.items())
            if memory.row.expire_us > unix_microseconds(now) and _matches(memory.row, memory_filter)
        ]

    @staticmethod
    def _lexical_seeds(matching: Sequence[StoredMemory], search: Search) -> set[int]:
        if not search.seeds or not matching:
            return set()
        entries = [
            (row, number, memory.terms[search.terms[i]])
            for row, memory in enumerate(matching)
            for number, i in enumerate(search.seeds)
            if search.terms[i] in memory.terms
        ]
        scores = bm25.scores(
            np.array([search.idf[i] for i in search.seeds]),
            _postings(entries),
            np.array([memory.row.doc_length for memory in matching], np.float64),
            search.mean_length,
        )
        best = sorted((-round(s * 1e6), memory.row.id) for s, memory in zip(scores, matching, strict=True) if s > 0)
        return {id_ for _, id_ in best[: search.limit]}

    @staticmethod
    def _dense_seeds(matching: Sequence[StoredMemory], search: Search) -> set[int]:
        if search.vector is None:
            return set()
        encoded = [memory for memory in matching if memory.vector is not None]
        measured = distances([memory.vector for memory in encoded if memory.vector is not None], search.vector)
        best = sorted((distance, memory.row.id) for distance, memory in zip(measured.tolist(), encoded, strict=True))
        return {id_ for _, id_ in best[: search.limit]}

    @staticmethod
    def _cosines(pool: Sequence[StoredMemory], query: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.array(
            [0.0 if memory.vector is None else 1 - distances([memory.vector], query)[0] for memory in pool], np.float64
        )


def search(
    statistics: Statistics,
    terms: Sequence[str],
    vector: NDArray[np.float32] | None,
    *,
    memory_filter: MemoryFilter | None = None,
    limit: int = 200,
    top_k: int = 10,
    tuning: Tuning | None = None,
) -> Search:
    """A search as the product's ranker makes it of these statistics."""
    selective = bm25.selective_terms(statistics.memories, statistics.df)
    return Search(
        terms=tuple(terms),
        idf=tuple(bm25.idf(statistics.memories, statistics.df).tolist()),
        seeds=tuple(i for i, is_selective in enumerate(selective) if is_selective),
        fallback_seeds=tuple(i for i, n in enumerate(statistics.df) if n),
        mean_length=statistics.mean_length,
        vector=vector,
        encoder_id="e",
        filter=memory_filter or MemoryFilter(),
        limit=limit,
        top_k=top_k,
        tuning=tuning or Tuning(),
    )


def _postings(entries: Sequence[tuple[int, int, int]]) -> Postings:
    """Postings of rows, terms and frequencies."""
    columns = np.array(entries, np.int64).reshape(-1, 3)
    return Postings(columns[:, 0], columns[:, 1], columns[:, 2].astype(np.float64))


def _within(time_us: int, begin: datetime | None, end: datetime | None) -> bool:
    return (begin is None or time_us >= unix_microseconds(begin)) and (end is None or time_us < unix_microseconds(end))


def _matches(row: MemoryRow, f: MemoryFilter) -> bool:
    return (
        f.labels.items() <= row.labels.items()
        and (not f.kinds or row.kind in f.kinds)
        and (not f.sessions or row.session in f.sessions)
        and (not f.subjects or row.subject in f.subjects)
        and _within(row.event_us, f.event_time_from, f.event_time_until)
        and _within(row.create_us, f.create_time_from, f.create_time_until)
        and f.pinned in (None, row.pinned)
        and row.key.startswith(f.key_prefix)
        and all(condition.matches(row.labels) for condition in f.conditions)
        and (not f.any_of or any(_matches(row, each) for each in f.any_of))
        and not any(_matches(row, each) for each in f.none_of)
    )
