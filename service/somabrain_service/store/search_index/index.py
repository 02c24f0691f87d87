"""Search index of one namespace: what the native kernel holds of it, and at which version. `manager` loads it.

Every number is the one that PostgreSQL's candidates and the scorer give for the same state: the same formulas over the
same values, in the same precision and order, with the same cuts.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

import numpy as np
import somabrain_kernel

from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.memory import MAX_RENEWAL
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.ranking import bm25
from somabrain_service.domain.ranking.late_interaction import MAX_TOKEN_BYTES, Shortlist
from somabrain_service.domain.ranking.score import DECIMALS, Ranking, ScoredMemory, quantized_now
from somabrain_service.domain.recall import ScoreBreakdown
from somabrain_service.domain.token_vectors import QueryTokens
from somabrain_service.store.index_source import IndexRows
from somabrain_service.store.records import Search, Statistics, TokenRow
from somabrain_service.store.search_index.filters import index_filter, unix_microseconds


class SearchIndex:
    """A namespace's memories as of version `as_of`; vectors are those of `encoder_id`. Initially empty.

    `instruction_set` is the kernel's; None: the fastest of this processor.
    """

    def __init__(self, namespace: Namespace, instruction_set: str | None = None) -> None:
        self.as_of = namespace.read_version
        self.encoder_id = namespace.settings.encoder
        self._analyzer = namespace.analyzer
        self._kernel = somabrain_kernel.Index(self.as_of.version, instruction_set)
        self._confirmed_us = -(2**62)
        """Time up to which memories have expired for good."""
        # Not read from the kernel at each use, which would wait for a running update.
        self.memories = 0
        """Number of memories, including expired ones."""
        self.size_bytes = self._kernel.size_bytes
        """Approximate size in memory, without token vectors."""
        self.token_bytes = 0
        """Approximate size of token vectors in memory."""
        self.has_tokens = False
        """Whether token vectors of all memories that have them are in memory."""

    @property
    def keys(self) -> Iterable[str]:
        """Terms, labels, sessions, subjects and keys in the index, each prefixed with the letter of its kind."""
        return self._kernel.keys()

    def can_advance_to(self, namespace: Namespace) -> bool:
        """Return whether the index can advance to `namespace`; another epoch, encoder or analyzer needs a reload."""
        built_from = (self.as_of.epoch, self.encoder_id, self._analyzer)
        return built_from == (namespace.epoch, namespace.settings.encoder, namespace.analyzer)

    def apply(
        self,
        changed_ids: Sequence[int],
        index_rows: IndexRows,
        as_of: NamespaceVersion,
        token_rows: Sequence[TokenRow] = (),
    ) -> None:
        """Advance to version `as_of`: of the memories changed until then, those in `index_rows` still exist."""
        self._kernel.apply(changed_ids, index_rows, as_of.version, token_rows)
        self.memories, self.size_bytes = self._kernel.memories, self._kernel.size_bytes
        self.token_bytes = self._kernel.token_bytes
        self.as_of = as_of

    def unconfirmed(self, now: datetime) -> Sequence[int]:
        """Return the ids of memories that expired in the index and may have been renewed in PostgreSQL before."""
        return self._kernel.expired(self._confirmed_us, unix_microseconds(now))

    def confirm(self, expiries: Sequence[tuple[int, int]], now: datetime) -> None:
        """Record when memories expire, in microseconds since 1970, as read from a snapshot opened at `now` or later.

        One that has expired stays so; but a renewal that began before may be committed a little later.
        """
        self._kernel.set_expiries(expiries)
        self._confirmed_us = max(self._confirmed_us, unix_microseconds(now - MAX_RENEWAL))

    def add_tokens(self, token_rows: Sequence[TokenRow], *, complete: bool) -> None:
        """Add token vectors at this version. `complete`: with these, every memory that has some has them in memory."""
        self._kernel.set_tokens(token_rows, complete)
        self.token_bytes, self.has_tokens = self._kernel.token_bytes, complete

    def drop_tokens(self) -> None:
        """Remove all token vectors."""
        self.has_tokens = False
        self._kernel.drop_tokens()
        self.token_bytes = self._kernel.token_bytes

    def statistics(self, namespace: Namespace, terms: Sequence[str], now: datetime) -> Statistics | None:
        """Return the namespace's counts. None: the index is no longer at the version of `namespace`."""
        counts = self._kernel.statistics(namespace.version, unix_microseconds(now), terms)
        if counts is None:
            return None
        memories, term_occurrences, vectors, df = counts
        return Statistics(namespace, memories, term_occurrences, vectors, tuple(df))

    def rank(self, namespace: Namespace, search: Search, now: datetime) -> Ranking | None:
        """Return the ranking of a search. None: the index is no longer at the version of `namespace`."""
        half_life = namespace.settings.recency_half_life
        max_score = bm25.max_score(np.asarray(search.idf))
        result = self._kernel.search(
            namespace.version,
            now_us=unix_microseconds(now),
            terms=search.terms,
            idf=search.idf,
            seeds=search.seeds,
            fallback_seeds=search.fallback_seeds,
            mean_length=search.mean_length,
            max_lexical=max_score,
            vector=search.vector,
            memory_filter=index_filter(search.filter),
            limit=search.limit,
            top_k=search.top_k,
            skip=search.skip,
            contiguity=search.tuning.contiguity,
            bias=search.tuning.bias,
            age_from_s=quantized_now(now.timestamp(), half_life),
            half_life_s=None if half_life is None else half_life.total_seconds(),
        )
        if result is None:
            return None
        hits, best_score = result
        return Ranking(
            tuple(ScoredMemory(id_, score, ScoreBreakdown(*parts)) for id_, score, parts in hits),
            round(best_score / max_score, DECIMALS) if max_score > 0 else 0.0,
            truncated=False,
        )

    def shortlist(self, namespace: Namespace, ids: Sequence[int], query: QueryTokens) -> Shortlist | None:
        """Return the shortlist with its similarities. None: as for `rank`, or the index has no token vectors."""
        result = self._kernel.shortlist(namespace.version, ids, query.codes, query.scales, MAX_TOKEN_BYTES)
        if result is None:
            return None
        similarity, compared, session, position, event_time_s, questions, speakers, truncated, missing = result
        return Shortlist(
            np.frombuffer(similarity).reshape(len(query.codes), len(ids)),
            np.frombuffer(compared, np.bool_),
            np.frombuffer(session, np.int64),
            np.frombuffer(position, np.int64),
            np.frombuffer(event_time_s),
            np.frombuffer(questions),
            speakers,
            truncated,
            missing,
        )
