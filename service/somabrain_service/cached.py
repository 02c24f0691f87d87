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
NEAR_VECTORS = 2_000
"""Query vectors kept in process as well: 3 MB of 384 numbers each."""
NEAR_S = 60.0
TRUNCATED_S = 1.0
"""How long an order is kept that not all vectors took part in: who has the namespace in memory knows the whole one."""


def cached(services: AppContext, cache: Cache | None) -> AppContext:
    """Return the services with what Redis keeps; None: there is none."""
    if cache is None:
        return services
    return replace(
        services,
        ranker=CachedRankings(services.ranker, cache),
        query_vectors=CachedQueryVectors(services.query_vectors, cache),
    )


class CachedRankings:
    """Orders, from Redis where it has them."""

    def __init__(self, rankings: Ranker, cache: Cache) -> None:
        self._rankings = rankings
        self._cache = cache

    async def rank(self, reading: Snapshot, tenant: TenantId, question: RankingRequest) -> RankingResult:
        """See `Rankings.rank`."""
        if question.bypass_cache:
            return await self._rankings.rank(reading, tenant, question)
        namespace = reading.namespace
        now_s = question.now.timestamp()

        async def make() -> CacheEntry[_Order]:
            found = await self._rankings.rank(reading, tenant, question)
            expires = await reading.next_expiry()
            until_s = min(
                math.inf if expires is None else expires.timestamp(),
                score_valid_until(now_s, namespace.settings.recency_half_life),
                now_s + TRUNCATED_S if found.ranking.truncated else math.inf,
            )
            return CacheEntry((found.ranking, found.reencoding), until_s)

        key = ranking_key(tenant, namespace, question)
        (ranking, reencoding), known = await self._cache.get_or_compute("recall", key, _ORDERS, now_s, make)
        return RankingResult(namespace, ranking, reencoding, known)


class CachedQueryVectors:
    """Query vectors: from this process, from Redis, or made."""

    def __init__(self, vectors: QueryVectors, cache: Cache) -> None:
        self._vectors = vectors
        self._cache = cache
        self._near: TTLCache[str, NDArray[np.float32]] = TTLCache(NEAR_VECTORS, time.monotonic)

    async def get(self, tenant: TenantId, encoder: Encoder, query: str) -> NDArray[np.float32]:
        """See `QueryVectors.of`."""
        key = f"somabrain:query:{_digest(tenant, [encoder.encoder_id, query])}"
        if (near := self._near.get(key)) is not None:
            return near

        async def make() -> CacheEntry[NDArray[np.float32]]:
            return CacheEntry(await self._vectors.get(tenant, encoder, query), math.inf)

        vector, _ = await self._cache.get_or_compute("query", key, _Vectors(encoder.dimensions), time.time(), make)
        self._near.put(key, vector, time.monotonic() + NEAR_S)
        return vector


def ranking_key(tenant: TenantId, namespace: Namespace, question: RankingRequest) -> str:
    """Return the key of an order: two that are equal have the same order."""
    vector = question.vector
    parts = [
        VERSION,
        namespace.name,
        namespace.etag,
        namespace.epoch,
        namespace.version,
        question.encoder_id,
        question.terms,
        "" if vector is None else hashlib.blake2b(vector.tobytes(), digest_size=16).hexdigest(),
        question.filter,
        question.top_k,
        question.tuning.contiguity,
        question.tuning.bias,
    ]
    return f"somabrain:recall:{_digest(tenant, parts)}"


def _digest(tenant: TenantId, parts: list[object]) -> str:
    return hashlib.blake2b(canonical_bytes(parts), key=tenant.bytes, digest_size=20).hexdigest()


_Order = tuple[Ranking, bool]
_HEAD = struct.Struct("<d??I")
_NUMBERS = 7


class _Orders:
    """Ids and numbers, as they lie in memory."""

    def encode(self, value: _Order) -> bytes:
        ranking, reencoding = value
        places = ranking.hits
        ids = np.array([place.id for place in places], "<i8")
        numbers = np.array([(place.score, *_parts(place.breakdown)) for place in places], "<f8")
        head = _HEAD.pack(ranking.best_lexical, ranking.truncated, reencoding, len(places))
        return head + ids.tobytes() + numbers.tobytes()

    def decode(self, kept: bytes) -> _Order:
        if len(kept) < _HEAD.size:
            raise ValueError("too short")
        best_lexical, truncated, reencoding, count = _HEAD.unpack_from(kept)
        if len(kept) != _HEAD.size + count * 8 * (1 + _NUMBERS):
            raise ValueError("of another length")
        ids = np.frombuffer(kept, "<i8", count, _HEAD.size).tolist()
        numbers = np.frombuffer(kept, "<f8", count * _NUMBERS, _HEAD.size + count * 8).reshape(count, _NUMBERS).tolist()
        places = tuple(
            ScoredMemory(id_, score, ScoreBreakdown(*parts)) for id_, (score, *parts) in zip(ids, numbers, strict=True)
        )
        return Ranking(places, best_lexical, truncated), reencoding


_ORDERS = _Orders()


def _parts(breakdown: ScoreBreakdown) -> tuple[float, ...]:
    part = breakdown
    return (part.lexical, part.lexical_relative, part.dense, part.contiguity, part.recency, part.salience)


class _Vectors:
    """float32[d]."""

    def __init__(self, dimensions: int) -> None:
        self._dimensions = dimensions

    def encode(self, value: NDArray[np.float32]) -> bytes:
        return value.astype("<f4").tobytes()

    def decode(self, kept: bytes) -> NDArray[np.float32]:
        if len(kept) != 4 * self._dimensions:
            raise ValueError("of another length")
        return np.frombuffer(kept, "<f4").astype(np.float32)
