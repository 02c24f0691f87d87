"""Values kept in Redis for a while, made once however many ask.

Redis is never needed: whatever it does, `through` gives what `make` would have given, only slower. A call waits for it
`timeout_s` at most; after `FAILURES` in a row it is lost, and nobody asks it until it answers a PING, which is sent
every `EVERY_S`. So a Redis that is dead, or answers in five seconds, costs a few calls their wait and no other any.

A value carries a digest of itself and its key, until when it holds, and what it cost. One that was damaged, or written
under another key, is no value; so is one whose time is over, whatever Redis thinks.
"""

from __future__ import annotations

import asyncio
import hashlib
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, Literal, NamedTuple, Protocol, TypeVar, cast

import structlog
from opentelemetry.trace import SpanKind
from prometheus_client import Counter
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError, ResponseError

from common.config.settings import CacheSettings
from common.health import Check
from common.redis_client import Client, connected
from common.single_flight import SingleFlight
from common.utils.trace import span

EVERY_S = 1.0
FAILURES = 3

# A Cluster's are not among the others.
FAULTS = (RedisError, RedisClusterException, OSError, TimeoutError)

_log = structlog.get_logger(__name__)

T = TypeVar("T")
Outcome = Literal["hit", "miss", "shared", "error", "skipped"]


class Counters(NamedTuple):
    """What is counted. `asked`: by cache and `Outcome`; `saved_s`: seconds that hits spared, by cache."""

    asked: Counter
    saved_s: Counter


class Codec(Protocol[T]):
    """How a value becomes bytes."""

    def encode(self, value: T) -> bytes:
        """Return the value as bytes."""
        ...

    def decode(self, kept: bytes) -> T:
        """Return what was encoded.

        Raises:
            ValueError: it is none of this codec's.
        """
        ...


@dataclass(frozen=True, slots=True)
class Made(Generic[T]):
    """A value, and until when it holds: seconds since 1970, infinite where only `ttl_s` ends it."""

    value: T
    until_s: float


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    """A value with what came with it; `cached`: Redis had it."""

    made: Made[T]
    cached: bool


class Cache:
    """One Redis."""

    def __init__(self, client: Client, settings: CacheSettings, counters: Counters) -> None:
        self._client = client
        self._timeout_s = settings.timeout_s
        self._ttl_s = settings.ttl_s
        self._counters = counters
        self._flights: SingleFlight[str, _Kept[Any]] = SingleFlight()
        self._failures = 0
        self._refusal = ""
        self._check = Check(False, "Redis has not been asked yet; everything is worked out anew.")

    def found(self) -> Check:
        """Return how Redis was found last."""
        return self._check

    async def watch(self) -> None:
        """Ask every second whether it answers, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> None:
        """Ask now whether it answers."""
        started = time.monotonic()
        try:
            async with asyncio.timeout(EVERY_S):
                await self._client.ping()
        except FAULTS as exc:
            self._lost(exc)
            return
        latency_s = time.monotonic() - started
        if latency_s > self._timeout_s:
            self._lost(TimeoutError(f"it took {latency_s * 1000:.0f} ms to answer"))
            return
        if not self._check.ok:
            _log.info("redis answers", latency_ms=round(latency_s * 1000, 3))
        self._failures = 0
        self._check = Check(True, "Redis answers.", latency_s)

    async def through(
        self, cache: str, key: str, codec: Codec[T], now_s: float, make: Callable[[], Awaitable[Made[T]]]
    ) -> tuple[T, bool]:
        """Return the value of a key, from Redis or else made, and whether it came from Redis.

        Args:
            cache: what kind of value it is, for metrics.
            key: all that the value rests on; it begins with the kind and holds nothing that is secret.
            codec: of the value.
            now_s: seconds since 1970, at which the value must hold.
            make: makes the value; what it raises is raised here.
        """
        leading = False

        async def lead() -> _Kept[T]:
            nonlocal leading
            leading = True
            return await self._lead(cache, key, codec, now_s, make)

        found: _Kept[T] = await self._flights.run(key, lead)
        if not leading:
            self._counters.asked.labels(cache, "shared").inc()
            if now_s >= found.made.until_s:
                return (await make()).value, False
        return found.made.value, found.cached and leading

    async def _lead(
        self, cache: str, key: str, codec: Codec[T], now_s: float, make: Callable[[], Awaitable[Made[T]]]
    ) -> _Kept[T]:
        started = time.perf_counter()
        outcome, value = await self._get(key)
        if value is not None and (read := _unwrap(key, value)) and now_s < read.until_s:
            try:
                made = Made(codec.decode(read.payload), read.until_s)
            except ValueError:
                outcome = "error"
            else:
                self._counters.asked.labels(cache, "hit").inc()
                self._counters.saved_s.labels(cache).inc(max(0.0, read.cost_s - (time.perf_counter() - started)))
                return _Kept(made, cached=True)
        self._counters.asked.labels(cache, outcome).inc()
        started = time.perf_counter()
        made = await make()
        cost_s = time.perf_counter() - started
        lasts_s = min(self._ttl_s, made.until_s - now_s)
        if lasts_s >= 0.001:
            await self._put(key, _wrap(key, made.until_s, cost_s, codec.encode(made.value)), lasts_s)
        return _Kept(made, cached=False)

    async def _get(self, key: str) -> tuple[Outcome, bytes | None]:
        if not self._check.ok:
            return "skipped", None
        try:
            with span("cache.get", SpanKind.CLIENT):
                async with asyncio.timeout(self._timeout_s):
                    value = cast("bytes | None", await self._client.get(key))
        except FAULTS as exc:
            self._failed(exc)
            return "error", None
        self._failures = 0
        return "miss", value

    async def _put(self, key: str, value: bytes, lasts_s: float) -> None:
        if not self._check.ok:
            return
        try:
            with span("cache.set", SpanKind.CLIENT):
                async with asyncio.timeout(self._timeout_s):
                    await self._client.set(key, value, px=int(lasts_s * 1000))
        except FAULTS as exc:
            self._failed(exc)
        else:
            self._failures, self._refusal = 0, ""

    def _failed(self, exc: BaseException) -> None:
        if isinstance(exc, ResponseError) and not isinstance(exc, RedisConnectionError):
            # It answers, and refuses: full, or a replica. Said once, until it takes something again.
            if self._refusal != (refusal := f"{type(exc).__name__}: {exc}"):
                self._refusal = refusal
                _log.warning("redis refuses", reason=refusal)
            return
        self._failures += 1
        if self._failures >= FAILURES:
            self._lost(exc)

    def _lost(self, exc: BaseException) -> None:
        said = str(exc) or f"no answer within {self._timeout_s * 1000:.0f} ms"
        check = Check(False, f"Redis does not answer ({said}); everything is worked out anew until it does.")
        if self._check.ok or self._failures == 0:
            _log.warning("redis is lost", reason=check.reason)
        self._failures = max(self._failures, FAILURES)
        self._check = check


_HEADER = struct.Struct("<dd")
_DIGEST_BYTES = 8


class _Read(NamedTuple):
    until_s: float
    cost_s: float
    payload: bytes


def _wrap(key: str, until_s: float, cost_s: float, payload: bytes) -> bytes:
    body = _HEADER.pack(until_s, cost_s) + payload
    return _digest(key, body) + body


def _unwrap(key: str, value: bytes) -> _Read | None:
    """Return what was wrapped; None: it was not, under this key."""
    digest, body = value[:_DIGEST_BYTES], value[_DIGEST_BYTES:]
    if len(body) < _HEADER.size or digest != _digest(key, body):
        return None
    until_s, cost_s = _HEADER.unpack_from(body)
    return _Read(until_s, cost_s, body[_HEADER.size :])


def _digest(key: str, body: bytes) -> bytes:
    return hashlib.blake2b(body, key=hashlib.blake2b(key.encode(), digest_size=16).digest(), digest_size=8).digest()


@asynccontextmanager
async def open_cache(settings: CacheSettings, counters: Counters) -> AsyncIterator[Cache | None]:
    """Open Redis as the settings say; None: they name none. It opens without a Redis, and connects on first use.

    Raises:
        ConfigurationError: the address or a file for TLS is none.
    """
    if settings.url is None:
        yield None
        return
    async with connected(settings) as client:
        cache = Cache(client, settings, counters)
        await cache.look()
        yield cache
