"""Encoder wrapper that records metrics and traces."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from common.utils.trace import span
from somabrain_service.encoders.protocols import EncodedQuery, EncodedText, Encoder
from somabrain_service.metrics import Metrics

T = TypeVar("T")


class InstrumentedEncoder:
    """Encoder that delegates to another one and records metrics and a span for each call."""

    def __init__(self, encoder: Encoder, metrics: Metrics) -> None:
        self._encoder = encoder
        self._metrics = metrics
        self.encoder_id = encoder.encoder_id
        self.dimensions = encoder.dimensions

    @property
    def has_token_vectors(self) -> bool:
        """True if texts and queries get vectors of their word pieces, too."""
        return self._encoder.has_token_vectors

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode, and record the number of texts by outcome (`encoded`, `failed`) and the duration."""
        return await self._record(len(texts), self._encoder.encode(texts))

    async def encode_texts(self, texts: Sequence[str]) -> list[EncodedText]:
        """Encode texts to be stored, and record as `encode` does."""
        return await self._record(len(texts), self._encoder.encode_texts(texts))

    async def encode_query(self, query: str) -> EncodedQuery:
        """Encode a query, and record as `encode` does."""
        return await self._record(1, self._encoder.encode_query(query))

    async def spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Return the first and the end character of each word piece of each text that has a vector."""
        return await self._encoder.spans(texts)

    async def _record(self, texts: int, encoding: Awaitable[T]) -> T:
        started = time.perf_counter()
        outcome = "failed"
        try:
            with span("encode", encoder=self.encoder_id, texts=texts):
                result = await encoding
            outcome = "encoded"
            return result
        finally:
            self._metrics.encoder_texts.labels(self.encoder_id, outcome).inc(texts)
            self._metrics.encoder_duration.labels(self.encoder_id).observe(time.perf_counter() - started)

    async def close(self) -> None:
        """Close the wrapped encoder."""
        await self._encoder.close()


def instrumented(encoders: Mapping[str, Encoder], metrics: Metrics) -> dict[str, Encoder]:
    """Return the encoders, each wrapped with metrics."""
    return {name: InstrumentedEncoder(encoder, metrics) for name, encoder in encoders.items()}
