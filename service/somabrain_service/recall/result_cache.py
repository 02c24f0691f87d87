"""Result cache: rankings and query vectors cached in Redis, as decorators of `Ranker` and `QueryVectors`.

The key of a ranking includes every input of it: tenant, the namespace with its settings, epoch and version, the
query's terms and vector, the filter, and the flags that affect it. The version is read from PostgreSQL in the snapshot
that also returns the texts, so a cached ranking equals the computed one. It expires when the first memory of the
namespace expires, and with the step of a half-life. Redis stores ids and scores and no text; its keys are digests,
keyed by the tenant, that reveal nothing.

The vectors of a query are cached by tenant, encoder and the query's digest. The vectors of memories are not cached:
they would outlive the memories.
"""

from __future__ import annotations

import hashlib
import math
import struct
import time
from dataclasses import replace
from importlib.metadata import version

import numpy as np

from common.aio.ttl_cache import TTLCache
from common.utils.cache import Cache, CacheEntry
from somabrain_service.domain.canonical import canonical_bytes
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.ranking.score import Ranking, ScoredMemory, score_valid_until
from somabrain_service.domain.recall import ScoreBreakdown
from somabrain_service.domain.token_vectors import QueryTokens
from somabrain_service.encoders.protocols import EncodedQuery, Encoder
from somabrain_service.recall.query_vectors import QueryVectors
from somabrain_service.recall.ranker import Ranker, RankingRequest
from somabrain_service.store.protocols import Snapshot, SnapshotOutdated

VERSION = version("somabrain")
"""Package version, part of every ranking's key, because another version may score differently."""
LOCAL_VECTORS = 2_000
"""Maximum queries whose vectors are cached in this process as well: 12 MB at 384 dimensions and 12 word pieces."""
LOCAL_TTL_S = 60.0
TRUNCATED_TTL_S = 1.0
"""Seconds that a truncated ranking is cached: a process with the namespace in its search index computes it in full."""


class CachedRanker:
    """Ranker that returns cached rankings from Redis."""

    def __init__(self, ranker: Ranker, cache: Cache) -> None:
        self._ranker = ranker
        self._cache = cache

    async def rank(self, snapshot: Snapshot, tenant: TenantId, request: RankingRequest) -> Ranking:
        """Rank the memories of a snapshot."""
        if request.bypass_cache:
            return await self._ranker.rank(snapshot, tenant, request)
        namespace = snapshot.namespace
        now_s = request.now.timestamp()
        is_computing = False

        async def compute() -> CacheEntry[Ranking]:
            nonlocal is_computing
            is_computing = True
            next_expiry = await snapshot.next_expiry()  # first: a snapshot that assumes its state does not know it
            ranking = await self._ranker.rank(snapshot, tenant, request)
            expires_at = min(
                math.inf if next_expiry is None else next_expiry.timestamp(),
                score_valid_until(now_s, namespace.settings.recency_half_life),
                now_s + TRUNCATED_TTL_S if ranking.truncated else math.inf,
            )
            return CacheEntry(ranking, expires_at)

        key = ranking_key(tenant, namespace, request)
        try:
            ranking, is_cached = await self._cache.get_or_compute("recall", key, _RANKING_CODEC, now_s, compute)
        except SnapshotOutdated:
            if is_computing:
                raise
            # An error of another caller, whose computation this one shared; it is not about this snapshot.
            return await self._ranker.rank(snapshot, tenant, request)
        return replace(ranking, cached=is_cached)


class CachedQueryVectors:
    """Query vectors from this process' cache, from Redis, or computed."""

    def __init__(self, vectors: QueryVectors, cache: Cache) -> None:
        self._vectors = vectors
        self._cache = cache
        self._local_cache: TTLCache[str, EncodedQuery] = TTLCache(LOCAL_VECTORS, time.monotonic)

    async def get(self, tenant: TenantId, encoder: Encoder, query: str) -> EncodedQuery:
        """Return the vectors of a query."""
        key = f"somabrain:query:{_digest(tenant, [encoder.encoder_id, encoder.has_token_vectors, query])}"
        if (cached := self._local_cache.get(key)) is not None:
            return cached

        async def compute() -> CacheEntry[EncodedQuery]:
            return CacheEntry(await self._vectors.get(tenant, encoder, query), math.inf)

        encoded, _ = await self._cache.get_or_compute(
            "query", key, _QueryCodec(encoder.dimensions), time.time(), compute
        )
        self._local_cache.put(key, encoded, time.monotonic() + LOCAL_TTL_S)
        return encoded


def ranking_key(tenant: TenantId, namespace: Namespace, request: RankingRequest) -> str:
    """Return the cache key of a ranking: requests with equal keys have equal rankings."""
    vector, tokens = request.vector, request.tokens
    parts = [
        VERSION,
        namespace.name,
        namespace.etag,
        namespace.epoch,
        namespace.version,
        request.encoder_id,
        request.terms,
        "" if vector is None else hashlib.blake2b(vector.tobytes(), digest_size=16).hexdigest(),
        request.filter,
        request.top_k,
        request.tuning.contiguity,
        request.tuning.bias,
        "" if tokens is None else hashlib.blake2b(tokens.codes.tobytes() + request.query.encode()).hexdigest(),
        request.priors,
    ]
    return f"somabrain:recall:{_digest(tenant, parts)}"


def _digest(tenant: TenantId, parts: list[object]) -> str:
    return hashlib.blake2b(canonical_bytes(parts), key=tenant.bytes, digest_size=20).hexdigest()


_HEADER = struct.Struct("<dd???I")
_NUMBERS_PER_HIT = 12


class _RankingCodec:
    """Codec of a ranking: header, then ids as int64 and scores as float64, little-endian."""

    def encode(self, value: Ranking) -> bytes:
        hits = value.hits
        ids = np.array([hit.id for hit in hits], "<i8")
        numbers = np.array([(hit.score, *_breakdown_values(hit.breakdown)) for hit in hits], "<f8")
        best_match = math.nan if value.best_match is None else value.best_match
        flags = (value.truncated, value.reencoding, value.tokens_missing)
        header = _HEADER.pack(value.best_lexical, best_match, *flags, len(hits))
        return header + ids.tobytes() + numbers.tobytes()

    def decode(self, data: bytes) -> Ranking:
        if len(data) < _HEADER.size:
            raise ValueError("too short")
        best_lexical, best_match, truncated, reencoding, tokens_missing, count = _HEADER.unpack_from(data)
        if len(data) != _HEADER.size + count * 8 * (1 + _NUMBERS_PER_HIT):
            raise ValueError("unexpected length")
        ids = np.frombuffer(data, "<i8", count, _HEADER.size).tolist()
        numbers = (
            np.frombuffer(data, "<f8", count * _NUMBERS_PER_HIT, _HEADER.size + count * 8)
            .reshape(count, _NUMBERS_PER_HIT)
            .tolist()
        )
        hits = tuple(
            ScoredMemory(id_, score, ScoreBreakdown(*parts)._replace(truncated=bool(is_truncated)))
            for id_, (score, *parts, is_truncated) in zip(ids, numbers, strict=True)
        )
        return Ranking(
            hits,
            best_lexical,
            truncated,
            reencoding,
            best_match=None if math.isnan(best_match) else best_match,
            tokens_missing=tokens_missing,
        )


_RANKING_CODEC = _RankingCodec()


def _breakdown_values(breakdown: ScoreBreakdown) -> tuple[float, ...]:
    return tuple(map(float, breakdown))


_COUNTS = struct.Struct("<II")


class _QueryCodec:
    """Codec of a query's vectors: the counts of word pieces and of numbers of each, then the arrays."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions

    def encode(self, value: EncodedQuery) -> bytes:
        vector = value.vector.astype("<f4").tobytes()
        if value.tokens is None:
            return _COUNTS.pack(0, 0) + vector
        codes, scales, spans = value.tokens.codes, value.tokens.scales, value.tokens.spans
        parts = (codes.tobytes(), scales.astype("<f8").tobytes(), spans.astype("<i4").tobytes())
        return _COUNTS.pack(*codes.shape) + vector + b"".join(parts)

    def decode(self, data: bytes) -> EncodedQuery:
        if len(data) < _COUNTS.size:
            raise ValueError("too short")
        pieces, numbers = _COUNTS.unpack_from(data)
        ends = np.cumsum([_COUNTS.size, 4 * self._dimensions, pieces * numbers, 8 * pieces, 8 * pieces]).tolist()
        if len(data) != ends[-1]:
            raise ValueError("unexpected length")
        vector = np.frombuffer(data[ends[0] : ends[1]], "<f4").astype(np.float32)
        if not pieces:
            return EncodedQuery(vector)
        codes = np.frombuffer(data[ends[1] : ends[2]], np.int8).reshape(pieces, numbers)
        scales = np.frombuffer(data[ends[2] : ends[3]], "<f8").astype(np.float64)
        spans = np.frombuffer(data[ends[3] :], "<i4").astype(np.int32).reshape(pieces, 2)
        return EncodedQuery(vector, QueryTokens(codes, scales, spans))
