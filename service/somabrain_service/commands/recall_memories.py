"""Find the memories that match a query best."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta

import structlog

from common.errors import Aborted, FailedPrecondition
from somabrain_service.commands.shared.caller_vectors import validate_caller_vector
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.commands.shared.explain import explain
from somabrain_service.commands.touch_memory import refresh, renewed_expiry
from somabrain_service.domain import analyzer, limits
from somabrain_service.domain.cursors import (
    RecallPosition,
    check_consistency,
    consistency_token,
    parse_recall_page_token,
    recall_page_token,
)
from somabrain_service.domain.names import MemoryId, TenantId
from somabrain_service.domain.namespace import CONVERSATION
from somabrain_service.domain.ranking.score import Tuning
from somabrain_service.domain.recall import DegradedReason, Hit, RecallQuery, RecallResult, WordMatch
from somabrain_service.encoders.protocols import LEXICAL, EncodedQuery, EncoderUnavailable
from somabrain_service.recall.ranker import RankingRequest
from somabrain_service.store.protocols import SnapshotOutdated

_log = structlog.stdlib.get_logger(__name__)


async def recall_memories(
    context: AppContext, tenant: TenantId, query: RecallQuery, *, refresh_ttl: timedelta | None = None
) -> RecallResult:
    """Return the best matching memories, exactly; `degraded` lists why the result may be incomplete.

    With `refresh_ttl` the lives of the returned memories are renewed.

    Raises:
        InvalidArgument: the vector or the token does not fit the namespace.
        FailedPrecondition: the query has only a vector, and the flag dense_recall is off.
        NotFound: no such namespace.
        StoreUnavailable: PostgreSQL is unavailable.
    """
    namespace = await context.store.namespace(tenant, query.parent)
    encoder_id = namespace.settings.encoder
    flags = context.flags.for_tenant(tenant)
    if not flags.dense_recall and not query.query:
        raise FailedPrecondition("Vectors are not compared while the flag dense_recall is off; set `query`.")
    degraded: list[DegradedReason] = []
    vector = tokens = None
    if flags.dense_recall and (encoder_id != LEXICAL or query.vector is not None):
        try:
            encoded = await _encode_query(context, tenant, encoder_id, query)
            vector = encoded.vector
            tokens = encoded.tokens if flags.late_interaction else None
        except EncoderUnavailable:
            if not query.query:
                raise
            if encoder_id not in context.client_encoders:
                _log.warning("recalled without vectors", encoder=encoder_id, exc_info=True)
            degraded.append(DegradedReason.ENCODER_UNAVAILABLE)
    terms = tuple(sorted(analyzer.get_analyzer(namespace.analyzer).terms(query.query)))
    if query.query and not terms:
        degraded.append(DegradedReason.NO_TERMS)
    now = context.clock()
    expire_time = None if refresh_ttl is None else renewed_expiry(refresh_ttl, "refresh_ttl", now)
    position = parse_recall_page_token(tenant, query, now)
    skip = position.skip if position else 0
    request = RankingRequest(
        query=query.query,
        terms=terms,
        vector=vector,
        tokens=tokens,
        encoder_id=encoder_id,
        filter=query.filter,
        top_k=query.top_k,
        tuning=Tuning(flags.contiguity, flags.bias),
        priors=flags.priors and namespace.settings.content == CONVERSATION,
        now=position.now if position else now,  # so that age changes no score between pages
        bypass_cache=not flags.recall_cache or position is not None,
        skip=skip,
    )
    for assume_unchanged in (True, False):
        with suppress(SnapshotOutdated):
            async with context.store.snapshot(
                tenant, query.parent, request.now, assume_unchanged=assume_unchanged
            ) as snapshot:
                current = snapshot.namespace
                ranking = await context.ranker.rank(snapshot, tenant, request)
                # Without terms `best_lexical` is 0 for want of a measure, not of likeness.
                if query.min_score is not None and terms and ranking.best_lexical < query.min_score:
                    ranking = replace(ranking, hits=())
                if query.min_match is not None and ranking.best_match is not None:
                    ranking = ranking if ranking.best_match >= query.min_match else replace(ranking, hits=())
                ids = [entry.id for entry in ranking.hits]
                explained = query.explain and ranking.best_match is not None
                token_rows = await snapshot.token_rows(ids) if explained else []
                memories = await snapshot.memories(ids, limits.MAX_RESPONSE_BYTES, end_snapshot=True)
            break
    else:
        raise Aborted("The namespace changed during each attempt; try again.")
    if current.etag != namespace.etag:
        raise Aborted("The namespace's settings were changed meanwhile; try again.")
    as_of = current.read_version
    check_consistency(query.consistency_token, query.parent, as_of)
    if ranking.reencoding:
        degraded.append(DegradedReason.REENCODING)
    # A memory without a vector has no token vectors either.
    lacks_tokens = ranking.tokens_missing and not ranking.reencoding
    if lacks_tokens or (query.min_match is not None and ranking.best_match is None):
        degraded.append(DegradedReason.TOKEN_VECTORS_MISSING)
    if ranking.truncated:
        degraded.append(DegradedReason.DENSE_TRUNCATED)
    if query.query and current.reanalyzing:
        degraded.append(DegradedReason.REANALYZING)
    matches: Mapping[MemoryId, tuple[WordMatch, ...]] = {}
    if tokens is not None and token_rows:
        matches = await explain(context, current, encoder_id, query.query, tokens, memories, token_rows)
    returned = await refresh(context, tenant, current, memories, expire_time, now)
    hits = tuple(
        Hit(memory, entry.score, entry.breakdown, matches.get(memory.name.memory, ()))
        for entry, memory in zip(ranking.hits, returned, strict=False)
        if memory.expire_time is None or memory.expire_time > now
    )
    first = position or RecallPosition(as_of, request.now, 0)
    following = replace(first, skip=skip + len(memories))
    more = len(memories) < len(ranking.hits) or len(ranking.hits) == query.top_k
    return RecallResult(
        hits=hits,
        degraded=tuple(degraded),
        cached=ranking.cached,
        encoder_id=encoder_id if vector is not None else "",
        consistency_token=consistency_token(query.parent, as_of),
        truncated=len(memories) < len(ranking.hits),
        best_lexical=ranking.best_lexical,
        best_match=ranking.best_match,
        next_page_token=recall_page_token(tenant, query, following) if more else "",
        state_changed=first.as_of != as_of,
    )


async def _encode_query(context: AppContext, tenant: TenantId, encoder_id: str, query: RecallQuery) -> EncodedQuery:
    if query.vector is not None:
        return EncodedQuery(validate_caller_vector(context, encoder_id, query.vector))
    return await context.query_vectors.get(tenant, context.encoder(encoder_id), query.query)
