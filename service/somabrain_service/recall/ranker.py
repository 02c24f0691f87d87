"""Rankings of memories for a query: computed, or from a cache.

A ranking depends only on its `RankingRequest` and the namespace's version, so it can be cached by both: see
`somabrain_service.recall.result_cache`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.analyzer import get_analyzer
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.ranking import bm25
from somabrain_service.domain.ranking.late_interaction import SHORTLIST_SIZE, rerank
from somabrain_service.domain.ranking.query_words import query_words
from somabrain_service.domain.ranking.score import Ranking, Tuning, rank
from somabrain_service.domain.token_vectors import QueryTokens
from somabrain_service.store.protocols import Snapshot
from somabrain_service.store.records import Search

MAX_CANDIDATES = 200
"""Maximum candidates by words, and by vector: they contain .95 of the evidence in long conversations."""


@dataclass(frozen=True, slots=True)
class RankingRequest:
    """A query to rank: sorted `terms`, and float32[d] `vector` of `encoder_id`; None: terms only.

    `tokens` are those of the text `query`; None: its words are not compared by meaning. `priors`: a conversation is
    asked, in which the speaker matters. `bypass_cache`: compute the ranking even if it is cached. `skip`:
    number of hits that previous pages had.
    """

    query: str
    terms: tuple[str, ...]
    vector: NDArray[np.float32] | None
    tokens: QueryTokens | None
    encoder_id: str
    filter: MemoryFilter
    top_k: int
    tuning: Tuning
    priors: bool
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
        """Rank the memories of a snapshot."""
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
            top_k=request.top_k if request.tokens is None else max(request.top_k, SHORTLIST_SIZE),
            tuning=request.tuning,
            skip=request.skip if request.tokens is None else 0,
        )
        ranking = await snapshot.indexed_ranking(search)
        if ranking is None:
            ranking = await rank_candidates(snapshot, search, request.now)
        if request.tokens is not None and ranking.hits:
            idf = dict(zip(request.terms, search.idf, strict=True))
            ranking = await _rank_again(snapshot, ranking, request, request.tokens, idf)
        reencoding = request.vector is not None and statistics.vectors < statistics.memories
        return dataclasses.replace(ranking, reencoding=reencoding)


async def _rank_again(
    snapshot: Snapshot, ranking: Ranking, request: RankingRequest, tokens: QueryTokens, idf: Mapping[str, float]
) -> Ranking:
    """Rank the best again by the words of the query; without any token vectors they stay as they are."""
    page = slice(request.skip, request.skip + request.top_k)
    shortlist = await snapshot.shortlist([hit.id for hit in ranking.hits], tokens)
    if not shortlist.compared.any():
        return dataclasses.replace(ranking, hits=ranking.hits[page], tokens_missing=shortlist.missing)
    words = query_words(get_analyzer(snapshot.namespace.analyzer), request.query, tokens, idf)
    reranked = rerank(
        ranking, shortlist, words, top_k=page.stop, context=request.tuning.contiguity, priors=request.priors
    )
    return dataclasses.replace(reranked, hits=reranked.hits[page])


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
