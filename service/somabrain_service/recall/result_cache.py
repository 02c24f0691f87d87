"""Result cache: rankings and query vectors cached in Redis, as decorators of `Ranker` and `QueryVectors`.

The key of a ranking includes every input of it: tenant, the namespace with its settings, epoch and version, the
query's terms and vector, the filter, and the flags that affect it. The version is read from PostgreSQL in the snapshot
that also returns the texts, so a cached ranking equals the computed one. It expires when the first memory of the
namespace expires, and with the step of a half-life. Redis stores ids and scores and no text; its keys are digests,
keyed by the tenant, that reveal nothing.

The vector of a query is cached by tenant, encoder and the query's digest. The vectors of memories are not cached: they
would outlive the memories.
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

from common.aio.ttl_cache import TTLCache
from common.utils.cache import Cache, CacheEntry
from somabrain_service.domain.canonical import canonical_bytes
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.ranking.score import Ranking, ScoredMemory, score_valid_until
from somabrain_service.domain.recall import ScoreBreakdown
from somabrain_service.encoders.protocols import Encoder
from somabrain_service.recall.query_vectors import QueryVectors
from somabrain_service.recall.ranker import Ranker, RankingRequest
from somabrain_service.store.protocols import Snapshot, SnapshotOutdated

VERSION = version("somabrain")
"""Package version, part of every ranking's key, because another version may score differently."""
LOCAL_VECTORS = 2_000
"""Maximum query vectors cached in this process as well: 3 MB at 384 dimensions."""
LOCAL_TTL_S = 60.0
TRUNCATED_TTL_S = 1.0
"""Seconds that a truncated ranking is cached: a process with the namespace in its search index computes it in full."""


class CachedRanker:
    """Ranker that returns cached rankings from Redis."""

    def __init__(self, ranker: Ranker, cache: Cache) -> None:
        self._ranker = ranker
        self._cache = cache

    async def rank(self, snapshot: Snapshot, tenant: TenantId, request: RankingRequest) -> Ranking:
        """See `Ranker.rank`."""
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
            # Of another caller, whose computation this one shared: it says nothing about this snapshot.
            return await self._ranker.rank(snapshot, tenant, request)
        return replace(ranking, cached=is_cached)


class CachedQueryVectors:
    """Query vectors from this process' cache, from Redis, or computed."""

    def __init__(self, vectors: QueryVectors, cache: Cache) -> None:
        self._vectors = vectors
        self._cache = cache
        self._local_cache: TTLCache[str, NDArray[np.float32]] = TTLCache(LOCAL_VECTORS, time.monotonic)

    async def get(self, tenant: TenantId, encoder: Encoder, query: str) -> NDArray[np.float32]:
        """See `QueryVectors.get`."""
        key = f"somabrain:query:{_digest(tenant, [encoder.encoder_id, query])}"
        if (cached_vector := self._local_cache.get(key)) is not None:
            return cached_vector

        async def compute() -> CacheEntry[NDArray[np.float32]]:
            return CacheEntry(await self._vectors.get(tenant, encoder, query), math.inf)

        vector, _ = await self._cache.get_or_compute(
            "query", key, _VectorCodec(encoder.dimensions), time.time(), compute
        )
        self._local_cache.put(key, vector, time.monotonic() + LOCAL_TTL_S)
        return vector


def ranking_key(tenant: TenantId, namespace: Namespace, request: RankingRequest) -> str:
    """Return the cache key of a ranking: requests with equal keys have equal rankings."""
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


_HEADER = struct.Struct("<d??I")
_NUMBERS_PER_HIT = 7


class _RankingCodec:
    """Codec of a ranking: header, then ids as int64 and scores as float64, little-endian."""

    def encode(self, value: Ranking) -> bytes:
        hits = value.hits
        ids = np.array([hit.id for hit in hits], "<i8")
        numbers = np.array([(hit.score, *_breakdown_values(hit.breakdown)) for hit in hits], "<f8")
        header = _HEADER.pack(value.best_lexical, value.truncated, value.reencoding, len(hits))
        return header + ids.tobytes() + numbers.tobytes()

    def decode(self, data: bytes) -> Ranking:
        if len(data) < _HEADER.size:
            raise ValueError("too short")
        best_lexical, truncated, reencoding, count = _HEADER.unpack_from(data)
        if len(data) != _HEADER.size + count * 8 * (1 + _NUMBERS_PER_HIT):
            raise ValueError("unexpected length")
        ids = np.frombuffer(data, "<i8", count, _HEADER.size).tolist()
        numbers = (
            np.frombuffer(data, "<f8", count * _NUMBERS_PER_HIT, _HEADER.size + count * 8)
            .reshape(count, _NUMBERS_PER_HIT)
            .tolist()
        )
        hits = tuple(
            ScoredMemory(id_, score, ScoreBreakdown(*parts)) for id_, (score, *parts) in zip(ids, numbers, strict=True)
        )
        return Ranking(hits, best_lexical, truncated, reencoding)


_RANKING_CODEC = _RankingCodec()


def _breakdown_values(breakdown: ScoreBreakdown) -> tuple[float, ...]:
    part = breakdown
    return (part.lexical, part.lexical_relative, part.dense, part.contiguity, part.recency, part.salience)


class _VectorCodec:
    """Codec of a vector: float32[d], little-endian."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions

    def encode(self, value: NDArray[np.float32]) -> bytes:
        return value.astype("<f4").tobytes()

    def decode(self, data: bytes) -> NDArray[np.float32]:
        if len(data) != 4 * self._dimensions:
            raise ValueError("unexpected length")
        return np.frombuffer(data, "<f4").astype(np.float32)
