"""Find the memories that answer a question best."""

from __future__ import annotations

import numpy as np
import structlog
from numpy.typing import NDArray

from common.errors import Aborted, FailedPrecondition
from somabrain_service.commands.rankings import Question
from somabrain_service.commands.services import Services
from somabrain_service.commands.vectors import own_vector
from somabrain_service.domain import analysis, limits
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.recall import DegradedReason, Hit, RecallAnswer, RecallQuery
from somabrain_service.domain.scoring import Tuning
from somabrain_service.domain.tokens import Moment, check_consistency, consistency_token
from somabrain_service.encoders.protocols import LEXICAL, EncoderUnavailable

log = structlog.get_logger(__name__)


async def recall_memories(services: Services, tenant: TenantId, query: RecallQuery) -> RecallAnswer:
    """Answer a question, exactly; say so when the answer is less than it could be.

    Raises:
        InvalidArgument: the vector or the token does not fit the namespace.
        FailedPrecondition: there is nothing but a vector, and vectors are switched off.
        NotFound: no such namespace.
        StoreUnavailable: PostgreSQL is gone.
    """
    namespace = await services.store.namespace(tenant, query.parent)
    encoder_id = namespace.settings.encoder
    flags = services.flags.of(tenant)
    if not flags.dense_recall and not query.query:
        raise FailedPrecondition("Vectors are not compared while the flag dense_recall is off; ask with `query`.")
    degraded: list[DegradedReason] = []
    vector = None
    if flags.dense_recall and (encoder_id != LEXICAL or query.vector is not None):
        try:
            vector = await _query_vector(services, tenant, encoder_id, query)
        except EncoderUnavailable:
            if not query.query:
                raise
            if encoder_id not in services.client_encoders:
                log.warning("answered without vectors", encoder=encoder_id, exc_info=True)
            degraded.append(DegradedReason.ENCODER_UNAVAILABLE)
    question = Question(
        terms=tuple(sorted(analysis.named(namespace.analyzer).terms(query.query))),
        vector=vector,
        encoder_id=encoder_id,
        filter=query.filter,
        top_k=query.top_k,
        tuning=Tuning(flags.contiguity, flags.bias),
        now=services.clock(),
        anew=not flags.recall_cache,
    )
    async with services.store.snapshot(tenant, query.parent, question.now) as reading:
        found = await services.rankings.rank(reading, tenant, question)
        if found.namespace.etag != namespace.etag:
            raise Aborted("The namespace's settings were changed meanwhile; try again.")
        moment = Moment(found.namespace.epoch, found.namespace.version)
        check_consistency(query.consistency_token, query.parent, moment)
        if found.reencoding:
            degraded.append(DegradedReason.REENCODING)
        if found.ranking.truncated:
            degraded.append(DegradedReason.DENSE_TRUNCATED)
        if query.query and found.namespace.reanalyzing:
            degraded.append(DegradedReason.REANALYZING)
        places = found.ranking.places
        if query.min_score is not None and found.ranking.best_lexical < query.min_score:
            places = ()
        memories = (
            await reading.memories([place.id for place in places], limits.ANSWER_BYTES, end_snapshot=True)
            if places
            else []
        )
    hits = tuple(Hit(memory, place.score, place.breakdown) for place, memory in zip(places, memories, strict=False))
    return RecallAnswer(
        hits=hits,
        degraded=tuple(degraded),
        cached=found.cached,
        encoder_id=encoder_id if vector is not None else "",
        consistency_token=consistency_token(query.parent, moment),
        truncated=len(hits) < len(places),
        best_lexical=found.ranking.best_lexical,
    )


async def _query_vector(
    services: Services, tenant: TenantId, encoder_id: str, query: RecallQuery
) -> NDArray[np.float32]:
    if query.vector is not None:
        return own_vector(services, encoder_id, query.vector)
    return await services.query_vectors.of(tenant, services.encoder(encoder_id), query.query)
