"""Find the memories that answer a question best."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable

import numpy as np
import structlog
from numpy.typing import NDArray

from common.errors import Aborted
from somabrain_service.commands.services import Services
from somabrain_service.commands.vectors import own_vector
from somabrain_service.domain import analysis, lexical, limits
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.recall import DegradedReason, Hit, RecallAnswer, RecallQuery
from somabrain_service.domain.scoring import LexicalQuery, Ranking, rank
from somabrain_service.domain.tokens import check_consistency, consistency_token
from somabrain_service.encoders.protocols import LEXICAL, EncoderUnavailable
from somabrain_service.store.protocols import Reading, Search, Statistics

CANDIDATES = 200
"""The best so many by words, and by vector: they hold .95 of the evidence in long conversations."""

log = structlog.get_logger(__name__)


async def recall_memories(services: Services, tenant: TenantId, query: RecallQuery) -> RecallAnswer:
    """Answer a question, exactly; say so when the answer is less than it could be.

    Raises:
        InvalidArgument: the vector or the token does not fit the namespace.
        NotFound: no such namespace.
        StoreUnavailable: PostgreSQL is gone.
    """
    namespace = await services.store.namespace(tenant, query.parent)
    encoder_id = namespace.settings.encoder
    degraded: list[DegradedReason] = []
    vector = None
    if encoder_id != LEXICAL or query.vector is not None:
        try:
            vector = await _query_vector(services, encoder_id, query)
        except EncoderUnavailable:
            if not query.query:
                raise
            if encoder_id not in services.client_encoders:
                log.warning("answered without vectors", encoder=encoder_id, exc_info=True)
            degraded.append(DegradedReason.ENCODER_UNAVAILABLE)
    now = services.clock()
    terms = tuple(sorted(analysis.named(namespace.analyzer).terms(query.query)))
    async with services.store.reading(tenant, query.parent, now) as reading:
        seen = await reading.statistics(terms)
        if seen.namespace.etag != namespace.etag:
            raise Aborted("The namespace's settings were changed meanwhile; try again.")
        check_consistency(query.consistency_token, query.parent, seen.moment)
        if vector is not None and seen.vectors < seen.memories:
            degraded.append(DegradedReason.REENCODING)
        ranking = await _ranking(reading, seen, query, terms, vector, now.timestamp())
        places = ranking.places
        if query.min_score is not None and ranking.best_lexical < query.min_score:
            places = ()
        memories = await reading.memories([place.id for place in places], limits.ANSWER_BYTES) if places else []
    hits = tuple(Hit(memory, place.score, place.breakdown) for place, memory in zip(places, memories, strict=False))
    return RecallAnswer(
        hits=hits,
        degraded=tuple(degraded),
        encoder_id=encoder_id if vector is not None else "",
        consistency_token=consistency_token(query.parent, seen.moment),
        truncated=len(hits) < len(places),
        best_lexical=ranking.best_lexical,
    )


async def _query_vector(services: Services, encoder_id: str, query: RecallQuery) -> NDArray[np.float32]:
    if query.vector is not None:
        return own_vector(services, encoder_id, query.vector)
    encoded: NDArray[np.float32] = (await services.encoder(encoder_id).encode([query.query]))[0]
    return encoded


async def _ranking(
    reading: Reading,
    seen: Statistics,
    query: RecallQuery,
    terms: tuple[str, ...],
    vector: NDArray[np.float32] | None,
    now_s: float,
) -> Ranking:
    weights = lexical.idf(seen.memories, seen.df)
    search = Search(
        terms=terms,
        idf=tuple(weights.tolist()),
        seeds=_positions(lexical.rare(seen.memories, seen.df)),
        mean_length=seen.mean_length,
        vector=vector,
        encoder_id=seen.namespace.settings.encoder,
        filter=query.filter,
        limit=CANDIDATES,
    )
    found = await reading.candidates(search)
    every = _positions(n > 0 for n in seen.df)
    if found.answers.sum() < query.top_k and every != search.seeds:
        # The rare terms found too few for the answer, as within a narrow filter: then the common ones, too.
        found = await reading.candidates(dataclasses.replace(search, seeds=every))
    return rank(
        found,
        LexicalQuery(weights, seen.mean_length),
        top_k=query.top_k,
        now_s=now_s,
        half_life=seen.namespace.settings.recency_half_life,
    )


def _positions(chosen: Iterable[bool]) -> tuple[int, ...]:
    return tuple(i for i, yes in enumerate(chosen) if yes)
