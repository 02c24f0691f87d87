"""Rankings of memories for a query: computed, or from a cache.

A ranking depends only on its `RankingRequest` and the namespace's version, so it can be cached by both: see
`somabrain_service.recall.result_cache`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.ranking import bm25
from somabrain_service.domain.ranking.score import Ranking, Tuning, rank
from somabrain_service.store.protocols import Snapshot
from somabrain_service.store.records import Search

MAX_CANDIDATES = 200
"""Maximum candidates by words, and by vector: they contain .95 of the evidence in long conversations."""


@dataclass(frozen=True, slots=True)
class RankingRequest:
    """A query to rank: sorted `terms`, and float32[d] `vector` of `encoder_id`; None: terms only.

    `bypass_cache`: compute the ranking even if it is cached. `skip`: number of hits that previous pages had.
    """

    terms: tuple[str, ...]
    vector: NDArray[np.float32] | None
    encoder_id: str
    filter: MemoryFilter
    top_k: int
    tuning: Tuning
    now: datetime
    bypass_cache: bool = False
    skip: int = 0


class Ranker(Protocol):
    """Ranks the memories of a namespace."""

    async def rank(self, snapshot: Snapshot, tenant: TenantId, request: RankingRequest) -> Ranking:
        """Rank the memories of a snapshot.

        Raises:
            NotFound: no such namespace.
        """
        ...


class ExactRanker:
    """Computes each ranking, without a cache."""

    async def rank(self, snapshot: Snapshot, tenant: TenantId, request: RankingRequest) -> Ranking:
        """See `Ranker.rank`."""
        statistics = await snapshot.statistics(request.terms)
        weights = bm25.idf(statistics.memories, statistics.df)
        search = Search(
            terms=request.terms,
            idf=tuple(weights.tolist()),
            seeds=_true_positions(bm25.selective_terms(statistics.memories, statistics.df)),
            fallback_seeds=_true_positions(n > 0 for n in statistics.df),
            mean_length=statistics.mean_length,
            vector=request.vector,
            encoder_id=request.encoder_id,
            filter=request.filter,
            limit=MAX_CANDIDATES,
            top_k=request.top_k,
            tuning=request.tuning,
            skip=request.skip,
        )
        ranking = await snapshot.indexed_ranking(search)
        if ranking is None:
            ranking = await rank_candidates(snapshot, search, request.now)
        reencoding = request.vector is not None and statistics.vectors < statistics.memories
        return dataclasses.replace(ranking, reencoding=reencoding)


async def rank_candidates(snapshot: Snapshot, search: Search, now: datetime) -> Ranking:
    """Rank the candidates of a snapshot: what `Snapshot.indexed_ranking` does with an index, without one."""
    candidates = await snapshot.candidates(search)
    if candidates.eligible.sum() < search.top_k and search.fallback_seeds != search.seeds:
        # The selective terms matched too few memories, as with a narrow filter: use the common terms, too.
        candidates = await snapshot.candidates(dataclasses.replace(search, seeds=search.fallback_seeds))
    return rank(
        candidates,
        idf=np.asarray(search.idf, np.float64),
        mean_length=search.mean_length,
        top_k=search.top_k,
        now_s=now.timestamp(),
        half_life=snapshot.namespace.settings.recency_half_life,
        tuning=search.tuning,
        skip=search.skip,
    )


def _true_positions(flags: Iterable[bool]) -> tuple[int, ...]:
    return tuple(i for i, flag in enumerate(flags) if flag)
