"""Cache of computed values in Redis, with one computation per key at a time.

Redis is optional: without it, `get_or_compute` returns what `compute` would have returned, only slower. A call
waits for it at most `timeout_s`; after `FAILURE_THRESHOLD` failures in a row it is unavailable, and no call uses it
until it answers a PING, which is sent every `PROBE_INTERVAL_S`. So a Redis that is dead, or takes five seconds, delays
a few calls and no other.

A stored value carries a digest of itself and its key, its expiry, and its cost. A value that was damaged, or written
under another key, is ignored; so is an expired one, even if Redis still returns it.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, Protocol, TypeVar, cast

import structlog
from opentelemetry.trace import SpanKind
from prometheus_client import Counter

from common.aio.single_flight import SingleFlight
from common.config.settings import CacheSettings
from common.health import HealthCheck
from common.utils.trace import span

if TYPE_CHECKING:
    from common.net.redis import RedisConnector

PROBE_INTERVAL_S = 1.0
FAILURE_THRESHOLD = 3

_log = structlog.stdlib.get_logger(__name__)

T = TypeVar("T")
Outcome = Literal["hit", "miss", "shared", "error", "skipped"]


class CacheMetrics(NamedTuple):
    """Counters. `requests`: by cache and `Outcome`; `saved_seconds`: compute seconds saved by hits, by cache."""

    requests: Counter
    saved_seconds: Counter


class Codec(Protocol[T]):
    """Serialization of a value."""

    def encode(self, value: T) -> bytes:
        """Return the value as bytes."""
        ...

    def decode(self, data: bytes) -> T:
        """Return the value that `encode` serialized.

        Raises:
            ValueError: `data` was not written by this codec.
        """
        ...


@dataclass(frozen=True, slots=True)
class CacheEntry(Generic[T]):
    """A value and its expiry: Unix time in seconds, infinite when only `ttl_s` limits it."""

    value: T
    expires_at: float


@dataclass(frozen=True, slots=True)
class _Lookup(Generic[T]):
    """Result of a lookup; `cached`: it came from Redis."""

    entry: CacheEntry[T]
    cached: bool


class Cache:
    """Cache in one Redis."""

    def __init__(self, redis: RedisConnector, settings: CacheSettings, metrics: CacheMetrics) -> None:
        self._redis = redis
        self._timeout_s = settings.timeout_s
        self._ttl_s = settings.ttl_s
        self._metrics = metrics
        self._in_flight: SingleFlight[str, _Lookup[Any]] = SingleFlight()
        self._failures = 0
        self._refusal = ""
        self._check = HealthCheck(False, "Redis has not been queried yet; all results are computed without the cache.")

    def last_check(self) -> HealthCheck:
        """Return the last health check of Redis."""
        return self._check

    async def watch(self) -> None:
        """Probe Redis every `PROBE_INTERVAL_S`, until cancelled."""
        while True:
            await self.probe()
            await asyncio.sleep(PROBE_INTERVAL_S)

    async def probe(self) -> None:
        """Send a PING and update the health check; first follow files, a URL and passwords that changed."""
        await self._redis.reopen_if_changed()
        started = time.monotonic()
        try:
            async with asyncio.timeout(PROBE_INTERVAL_S):
                await self._redis.client.ping()
        except self._redis.errors as exc:
            self._redis.prefer_next_sentinel()
            self._mark_unavailable(exc)
            return
        latency_s = time.monotonic() - started
        if latency_s > self._timeout_s:
            self._mark_unavailable(TimeoutError(f"it took {latency_s * 1000:.0f} ms to answer"))
            return
        if not self._check.ok:
            _log.info("redis available", latency_ms=round(latency_s * 1000, 3))
        self._failures = 0
        self._check = HealthCheck(True, "Redis answers.", latency_s)

    async def get_or_compute(
        self, cache: str, key: str, codec: Codec[T], now_s: float, compute: Callable[[], Awaitable[CacheEntry[T]]]
    ) -> tuple[T, bool]:
        """Return the value of a key, from Redis or else computed, and whether it came from Redis.

        Args:
            cache: name of the kind of value, for metrics.
            key: everything that the value depends on; it starts with the kind and contains no secret.
            codec: of the value.
            now_s: Unix time in seconds at which the value must be valid.
            compute: computes the value; its errors are raised.
        """
        leading = False

        async def compute_once() -> _Lookup[T]:
            nonlocal leading
            leading = True
            return await self._compute(cache, key, codec, now_s, compute)

        lookup: _Lookup[T] = await self._in_flight.run(key, compute_once)
        if not leading:
            self._metrics.requests.labels(cache, "shared").inc()
            if now_s >= lookup.entry.expires_at:
                return (await compute()).value, False
        return lookup.entry.value, lookup.cached and leading

    async def _compute(
        self, cache: str, key: str, codec: Codec[T], now_s: float, compute: Callable[[], Awaitable[CacheEntry[T]]]
    ) -> _Lookup[T]:
        started = time.perf_counter()
        outcome, value = await self._get(key)
        if value is not None and (stored := _unpack(key, value)) and now_s < stored.expires_at:
            try:
                entry = CacheEntry(codec.decode(stored.payload), stored.expires_at)
            except ValueError:
                outcome = "error"
            else:
                self._metrics.requests.labels(cache, "hit").inc()
                self._metrics.saved_seconds.labels(cache).inc(max(0.0, stored.cost_s - (time.perf_counter() - started)))
                return _Lookup(entry, cached=True)
        self._metrics.requests.labels(cache, outcome).inc()
        started = time.perf_counter()
        entry = await compute()
        cost_s = time.perf_counter() - started
        ttl_s = min(self._ttl_s, entry.expires_at - now_s)
        if ttl_s >= 0.001:
            await self._put(key, _pack(key, entry.expires_at, cost_s, codec.encode(entry.value)), ttl_s)
        return _Lookup(entry, cached=False)

    async def _get(self, key: str) -> tuple[Outcome, bytes | None]:
        if not self._check.ok:
            return "skipped", None
        try:
            with span("cache.get", SpanKind.CLIENT):
                async with asyncio.timeout(self._timeout_s):
                    value = cast("bytes | None", await self._redis.client.get(key))
        except self._redis.errors as exc:
            self._on_failure(exc)
            return "error", None
        self._failures = 0
        return "miss", value

    async def _put(self, key: str, value: bytes, ttl_s: float) -> None:
        if not self._check.ok:
            return
        try:
            with span("cache.set", SpanKind.CLIENT):
                async with asyncio.timeout(self._timeout_s):
                    await self._redis.client.set(key, value, px=int(ttl_s * 1000))
        except self._redis.errors as exc:
            self._on_failure(exc)
        else:
            self._failures, self._refusal = 0, ""

    def _on_failure(self, exc: BaseException) -> None:
        if self._redis.is_rejection(exc):
            # Logged once, until a write succeeds again.
            if self._refusal != (refusal := f"{type(exc).__name__}: {exc}"):
                self._refusal = refusal
                _log.warning("redis command rejected", reason=refusal)
            return
        self._failures += 1
        if self._failures >= FAILURE_THRESHOLD:
            self._mark_unavailable(exc)

    def _mark_unavailable(self, exc: BaseException) -> None:
        detail = str(exc) or f"no answer within {self._timeout_s * 1000:.0f} ms"
        check = HealthCheck(
            False, f"Redis does not answer ({detail}); until it does, all results are computed without the cache."
        )
        if self._check.ok or self._failures == 0:
            _log.warning("redis unavailable", reason=check.reason)
        self._failures = max(self._failures, FAILURE_THRESHOLD)
        self._check = check


_HEADER = struct.Struct("<dd")
_DIGEST_BYTES = 8


class _StoredValue(NamedTuple):
    expires_at: float
    cost_s: float
    payload: bytes


def _pack(key: str, expires_at: float, cost_s: float, payload: bytes) -> bytes:
    body = _HEADER.pack(expires_at, cost_s) + payload
    return _digest(key, body) + body


def _unpack(key: str, value: bytes) -> _StoredValue | None:
    """Return the parts of a stored value; None: it is damaged, or was written under another key."""
    digest, body = value[:_DIGEST_BYTES], value[_DIGEST_BYTES:]
    if len(body) < _HEADER.size or digest != _digest(key, body):
        return None
    expires_at, cost_s = _HEADER.unpack_from(body)
    return _StoredValue(expires_at, cost_s, body[_HEADER.size :])


def _digest(key: str, body: bytes) -> bytes:
    return hashlib.blake2b(body, key=hashlib.blake2b(key.encode(), digest_size=16).digest(), digest_size=8).digest()


@asynccontextmanager
async def open_cache(
    settings: CacheSettings, metrics: CacheMetrics, current: Callable[[], CacheSettings] | None = None
) -> AsyncIterator[Cache | None]:
    """Yield the cache in the configured Redis, or None when `cache.url` is not set.

    It opens also while Redis is unavailable.

    Args:
        settings: the settings.
        metrics: counters of requests.
        current: returns the settings as they are now, for a URL, user or password that was rotated; None: it never is.

    Raises:
        ConfigurationError: the URL or a file for TLS is invalid.
    """
    if settings.url is None:
        yield None
        return
    # Here, because importing it takes a twentieth of a second.
    from common.net.redis import RedisConnector

    async with RedisConnector(settings, current) as redis:
        cache = Cache(redis, settings, metrics)
        await cache.probe()
        yield cache
