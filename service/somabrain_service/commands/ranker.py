"""The order of the memories that answer a question: worked out, or known from before.

Everything that an order rests on stands in `Question` and in the namespace's version, so whoever knows both may give
the order without working it out: see `somabrain_service.result_cache`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain import bm25
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.score import LexicalQuery, Ranking, Tuning, rank
from somabrain_service.store.protocols import Snapshot
from somabrain_service.store.records import Search, Statistics

MAX_CANDIDATES = 200
"""The best so many by words, and by vector: they hold .95 of the evidence in long conversations."""


@dataclass(frozen=True, slots=True)
class RankingRequest:
    """What is sought: `terms` sorted, and float32[d] `vector` of `encoder_id`; None: words alone.

    `anew`: it is to be worked out, whatever is known from before.
    """

    terms: tuple[str, ...]
    vector: NDArray[np.float32] | None
    encoder_id: str
    filter: MemoryFilter
    top_k: int
    tuning: Tuning
    now: datetime
    bypass_cache: bool = False


@dataclass(frozen=True, slots=True)
class RankingResult:
    """The order, and the namespace as the reading sees it. `reencoding`: some memories have no vector yet."""

    namespace: Namespace
    ranking: Ranking
    reencoding: bool
    cached: bool = False


class Ranker(Protocol):
    """Whoever can tell the order."""

    async def rank(self, snapshot: Snapshot, tenant: TenantId, request: RankingRequest) -> RankingResult:
        """Order the memories that a reading sees.

        Raises:
            NotFound: no such namespace.
        """
        ...


class ExactRanker:
    """Works each order out."""

    async def rank(self, snapshot: Snapshot, tenant: TenantId, request: RankingRequest) -> RankingResult:
        """See `Rankings.rank`."""
        statistics = await snapshot.statistics(request.terms)
        reencoding = request.vector is not None and statistics.vectors < statistics.memories
        return RankingResult(statistics.namespace, await _rank_candidates(snapshot, statistics, request), reencoding)


async def _rank_candidates(snapshot: Snapshot, statistics: Statistics, request: RankingRequest) -> Ranking:
    weights = bm25.idf(statistics.memories, statistics.df)
    search = Search(
        terms=request.terms,
        idf=tuple(weights.tolist()),
        seeds=_true_positions(bm25.selective_terms(statistics.memories, statistics.df)),
        mean_length=statistics.mean_length,
        vector=request.vector,
        encoder_id=request.encoder_id,
        filter=request.filter,
        limit=MAX_CANDIDATES,
    )
    candidates = await snapshot.candidates(search)
    all_terms = _true_positions(n > 0 for n in statistics.df)
    if candidates.eligible.sum() < request.top_k and all_terms != search.seeds:
        # The rare terms found too few for the answer, as within a narrow filter: then the common ones, too.
        candidates = await snapshot.candidates(dataclasses.replace(search, seeds=all_terms))
    return rank(
        candidates,
        LexicalQuery(weights, statistics.mean_length),
        top_k=request.top_k,
        now_s=request.now.timestamp(),
        half_life=statistics.namespace.settings.recency_half_life,
        tuning=request.tuning,
    )


def _true_positions(flags: Iterable[bool]) -> tuple[int, ...]:
    return tuple(i for i, flag in enumerate(flags) if flag)
