"""Orders and query vectors, each kept in Redis for a while: wrappers over those who make them.

An order is kept under everything that it rests on: tenant, the namespace with its settings, epoch and version, the
question's terms and vector, its filter, and the flags that bear on it. The version is read from PostgreSQL in the
snapshot that also gives the texts, so what is found is what would be worked out. It ends when the first memory of the
namespace expires, and with the step of a half-life. Redis holds ids and scores and no text; its keys are digests, keyed
by the tenant, of which nothing can be told.

The vector of a query is kept under tenant, encoder and the query's digest. The vectors of memories are not: they would
outlive what they were made from.
"""

from __future__ import annotations

import hashlib
import math
import struct
import time
from dataclasses import replace
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from common.ttl_cache import TTLCache
from common.utils.cache import Cache, CacheEntry
from somabrain_service.commands.context import AppContext
from somabrain_service.commands.query_vectors import QueryVectors
from somabrain_service.commands.ranker import Ranker, RankingRequest, RankingResult
from somabrain_service.domain.canonical import canonical_bytes
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.recall import ScoreBreakdown
from somabrain_service.domain.score import Ranking, ScoredMemory, score_valid_until
from somabrain_service.encoders.protocols import Encoder
from somabrain_service.store.protocols import Snapshot

VERSION = version("somabrain")
"""Another version may score otherwise."""
LOCAL_VECTORS = 2_000
"""Query vectors kept in process as well: 3 MB of 384 numbers each."""
LOCAL_TTL_S = 60.0
TRUNCATED_TTL_S = 1.0
"""How long an order is kept that not all vectors took part in: who has the namespace in memory knows the whole one."""


def with_result_cache(context: AppContext, cache: Cache | None) -> AppContext:
    """Return the services with what Redis keeps; None: there is none."""
    if cache is None:
        return context
    return replace(
        context,
        ranker=CachedRanker(context.ranker, cache),
        query_vectors=CachedQueryVectors(context.query_vectors, cache),
    )


class CachedRanker:
    """Orders, from Redis where it has them."""

    def __init__(self, ranker: Ranker, cache: Cache) -> None:
        self._ranker = ranker
        self._cache = cache

    async def rank(self, snapshot: Snapshot, tenant: TenantId, request: RankingRequest) -> RankingResult:
        """See `Rankings.rank`."""
        if request.bypass_cache:
            return await self._ranker.rank(snapshot, tenant, request)
        namespace = snapshot.namespace
        now_s = request.now.timestamp()

        async def compute() -> CacheEntry[_CachedRanking]:
            result = await self._ranker.rank(snapshot, tenant, request)
            next_expiry = await snapshot.next_expiry()
            expires_at = min(
                math.inf if next_expiry is None else next_expiry.timestamp(),
                score_valid_until(now_s, namespace.settings.recency_half_life),
                now_s + TRUNCATED_TTL_S if result.ranking.truncated else math.inf,
            )
            return CacheEntry((result.ranking, result.reencoding), expires_at)

        key = ranking_key(tenant, namespace, request)
        (ranking, reencoding), is_cached = await self._cache.get_or_compute(
            "recall", key, _RANKING_CODEC, now_s, compute
        )
        return RankingResult(namespace, ranking, reencoding, is_cached)


class CachedQueryVectors:
    """Query vectors: from this process, from Redis, or made."""

    def __init__(self, vectors: QueryVectors, cache: Cache) -> None:
        self._vectors = vectors
        self._cache = cache
        self._local_cache: TTLCache[str, NDArray[np.float32]] = TTLCache(LOCAL_VECTORS, time.monotonic)

    async def get(self, tenant: TenantId, encoder: Encoder, query: str) -> NDArray[np.float32]:
        """See `QueryVectors.of`."""
        key = f"somabrain:query:{_digest(tenant, [encoder.encoder_id, query])}"
        if (near := self._local_cache.get(key)) is not None:
            return near

        async def make() -> CacheEntry[NDArray[np.float32]]:
            return CacheEntry(await self._vectors.get(tenant, encoder, query), math.inf)

        vector, _ = await self._cache.get_or_compute("query", key, _VectorCodec(encoder.dimensions), time.time(), make)
        self._local_cache.put(key, vector, time.monotonic() + LOCAL_TTL_S)
        return vector


def ranking_key(tenant: TenantId, namespace: Namespace, request: RankingRequest) -> str:
    """Return the key of an order: two that are equal have the same order."""
    vector = request.vector
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
    ]
    return f"somabrain:recall:{_digest(tenant, parts)}"


def _digest(tenant: TenantId, parts: list[object]) -> str:
    return hashlib.blake2b(canonical_bytes(parts), key=tenant.bytes, digest_size=20).hexdigest()


_CachedRanking = tuple[Ranking, bool]
_HEADER = struct.Struct("<d??I")
_NUMBERS_PER_HIT = 7


class _RankingCodec:
    """Ids and numbers, as they lie in memory."""

    def encode(self, value: _CachedRanking) -> bytes:
        ranking, reencoding = value
        hits = ranking.hits
        ids = np.array([hit.id for hit in hits], "<i8")
        numbers = np.array([(hit.score, *_breakdown_values(hit.breakdown)) for hit in hits], "<f8")
        header = _HEADER.pack(ranking.best_lexical, ranking.truncated, reencoding, len(hits))
        return header + ids.tobytes() + numbers.tobytes()

    def decode(self, data: bytes) -> _CachedRanking:
        if len(data) < _HEADER.size:
            raise ValueError("too short")
        best_lexical, truncated, reencoding, count = _HEADER.unpack_from(data)
        if len(data) != _HEADER.size + count * 8 * (1 + _NUMBERS_PER_HIT):
            raise ValueError("of another length")
        ids = np.frombuffer(data, "<i8", count, _HEADER.size).tolist()
        numbers = (
            np.frombuffer(data, "<f8", count * _NUMBERS_PER_HIT, _HEADER.size + count * 8)
            .reshape(count, _NUMBERS_PER_HIT)
            .tolist()
        )
        hits = tuple(
            ScoredMemory(id_, score, ScoreBreakdown(*parts)) for id_, (score, *parts) in zip(ids, numbers, strict=True)
        )
        return Ranking(hits, best_lexical, truncated), reencoding


_RANKING_CODEC = _RankingCodec()


def _breakdown_values(breakdown: ScoreBreakdown) -> tuple[float, ...]:
    part = breakdown
    return (part.lexical, part.lexical_relative, part.dense, part.contiguity, part.recency, part.salience)


class _VectorCodec:
    """float32[d]."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions

    def encode(self, value: NDArray[np.float32]) -> bytes:
        return value.astype("<f4").tobytes()

    def decode(self, data: bytes) -> NDArray[np.float32]:
        if len(data) != 4 * self._dimensions:
            raise ValueError("of another length")
        return np.frombuffer(data, "<f4").astype(np.float32)
