"""Vectors from an HTTP server with OpenAI's `/v1/embeddings`: hosted models, Ollama, vLLM, text-embeddings-inference.

Texts are sent in batches. Transient failures (no connection, a time-out, 408, 429, 5xx) are retried, after the
server's Retry-After; others are not. After failures in a row a circuit breaker opens, so that callers get a result by
words at once and not after a time-out. Every failure becomes EncoderUnavailable: another encoder's vectors are never
used. Neither texts nor the server's error messages, which may repeat them, are logged.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager

import aiohttp
import numpy as np
from numpy.typing import NDArray

from common.aio.backoff import Backoff
from common.config.settings import EmbeddingsEndpoint
from common.json_document import parse_json
from common.net.http_client import http_client
from common.net.tls import ClientTls
from somabrain_service.encoders.circuit_breaker import CircuitBreaker
from somabrain_service.encoders.protocols import EncoderUnavailable, PooledEncoder

RETRYABLE_STATUS_CODES = frozenset({408, 429, 500, 502, 503, 504})
BACKOFF = Backoff(initial_s=0.1, jitter=(0.5, 1.5))

Floats = NDArray[np.float32]


class _AttemptFailed(Exception):
    """Failed attempt. `retry_after_s`: minimum delay before the next one; None: not retryable."""

    def __init__(self, reason: str, retry_after_s: float | None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class EndpointEncoder(PooledEncoder):
    """`Encoder` over HTTP. Created by `open_endpoint`."""

    def __init__(self, endpoint: EmbeddingsEndpoint, session: aiohttp.ClientSession) -> None:
        self.encoder_id = endpoint.id
        self.dimensions = endpoint.dimensions
        self._endpoint = endpoint
        self._session = session
        self._tls = ClientTls("encoder.endpoints.", None)
        self._slots = asyncio.Semaphore(endpoint.concurrency)
        self._breaker = CircuitBreaker(endpoint.breaker_failures, endpoint.breaker_reset_s, time.monotonic)

    async def encode(self, texts: Sequence[str]) -> Floats:
        """Encode without blocking the event loop."""
        size = self._endpoint.batch
        batches = [texts[start : start + size] for start in range(0, len(texts), size)]
        if not batches:
            return np.empty((0, self.dimensions), np.float32)
        tasks: list[asyncio.Task[Floats]] = []
        try:
            async with asyncio.TaskGroup() as group:
                tasks += [group.create_task(self._encode_batch(batch)) for batch in batches]
        except* EncoderUnavailable as failures:
            raise failures.exceptions[0] from None
        return np.concatenate([task.result() for task in tasks])

    async def close(self) -> None:
        """Close its connections."""
        await self._session.close()

    async def _encode_batch(self, texts: Sequence[str]) -> Floats:
        async with self._slots:
            for attempt in range(1, self._endpoint.attempts + 1):
                if not self._breaker.may_call():
                    raise self._unavailable("has failed repeatedly; its circuit breaker is open")
                try:
                    vectors = await self._request_vectors(texts)
                except _AttemptFailed as exc:
                    self._breaker.record_failure()
                    if exc.retry_after_s is None or attempt == self._endpoint.attempts:
                        raise self._unavailable(str(exc)) from None
                    backoff_s = BACKOFF.delay_s(attempt, random.random())  # noqa: S311 - no secret
                    await asyncio.sleep(min(max(exc.retry_after_s, backoff_s), self._endpoint.timeout_s))
                else:
                    self._breaker.record_success()
                    return vectors
        raise AssertionError("the last attempt returns or raises")

    async def _request_vectors(self, texts: Sequence[str]) -> Floats:
        payload = {
            "model": self._endpoint.model,
            # Many servers refuse an empty text.
            "input": [text[: self._endpoint.max_input_characters] or " " for text in texts],
            "encoding_format": "float",
        }
        try:
            headers = await asyncio.to_thread(self._headers)
        except (OSError, ValueError) as exc:
            reason = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it is not one line of text"
            raise _AttemptFailed(f"was not called, as its API key cannot be used ({reason}); correct it", 0.0) from None
        try:
            async with self._session.post(
                self._endpoint.url, json=payload, headers=headers, ssl=self._tls.for_url(self._endpoint.url)
            ) as response:
                if response.status != 200:
                    retry_after_s = (
                        _retry_after_s(response.headers) if response.status in RETRYABLE_STATUS_CODES else None
                    )
                    raise _AttemptFailed(f"answered {response.status}", retry_after_s)
                body = await response.read()
        except TimeoutError:
            raise _AttemptFailed(f"did not answer within {self._endpoint.timeout_s:g} s", 0.0) from None
        except (aiohttp.ClientError, OSError) as exc:
            raise _AttemptFailed(f"cannot be reached ({type(exc).__name__})", 0.0) from None
        return await asyncio.to_thread(self._parse_vectors, body, len(texts))

    def _headers(self) -> dict[str, str]:
        if self._endpoint.api_key_file is not None:
            key = self._endpoint.api_key_file.read_text("utf-8").strip()
        elif self._endpoint.api_key is not None:
            key = self._endpoint.api_key.get_secret_value()
        else:
            return {}
        if not key.isprintable():
            raise ValueError("a header has one line")
        return {"Authorization": f"Bearer {key}"}

    def _parse_vectors(self, body: bytes, count: int) -> Floats:
        """Return the response's vectors in the order of the texts, each normalized to length 1."""
        try:
            rows = {int(item["index"]): item["embedding"] for item in parse_json(body)["data"]}
            vectors = np.array([rows[i] for i in range(count)], np.float64)
        except (KeyError, TypeError, ValueError, OverflowError):  # JSON has integers of any length
            raise _AttemptFailed("did not return one vector per text", None) from None
        if vectors.shape != (count, self.dimensions):
            raise _AttemptFailed(f"returned vectors that do not have the configured {self.dimensions} dimensions", None)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or not lengths.all():
            raise _AttemptFailed("returned a vector of zero or non-finite length", None)
        return np.asarray(vectors / lengths, np.float32)

    def _unavailable(self, reason: str) -> EncoderUnavailable:
        return EncoderUnavailable(f"The server of the encoder {self.encoder_id!r} {reason}.")


@asynccontextmanager
async def open_endpoint(endpoint: EmbeddingsEndpoint) -> AsyncIterator[EndpointEncoder]:
    """Yield an encoder with its own connections, closed on exit. Connects on first use."""
    timeout = aiohttp.ClientTimeout(total=endpoint.timeout_s)
    encoder = EndpointEncoder(endpoint, http_client(timeout=timeout, raise_for_status=False))
    try:
        yield encoder
    finally:
        await encoder.close()


def _retry_after_s(headers: Mapping[str, str]) -> float:
    """Return the seconds of Retry-After (RFC 9110, 10.2.3); 0: missing, or a date."""
    value = headers.get("Retry-After", "")
    return float(value) if value.isdecimal() else 0.0
