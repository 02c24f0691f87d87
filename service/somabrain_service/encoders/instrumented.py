"""Encoder wrapper that records metrics and traces."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from common.utils.trace import span
from somabrain_service.encoders.protocols import Encoder
from somabrain_service.metrics import Metrics


class InstrumentedEncoder:
    """Encoder that delegates to another one and records metrics and a span for each call."""

    def __init__(self, encoder: Encoder, metrics: Metrics) -> None:
        self._encoder = encoder
        self._metrics = metrics
        self.encoder_id = encoder.encoder_id
        self.dimensions = encoder.dimensions

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode, and record the number of texts by outcome (`encoded`, `failed`) and the duration."""
        started = time.perf_counter()
        outcome = "failed"
        try:
            with span("encode", encoder=self.encoder_id, texts=len(texts)):
                vectors = await self._encoder.encode(texts)
            outcome = "encoded"
            return vectors
        finally:
            self._metrics.encoder_texts.labels(self.encoder_id, outcome).inc(len(texts))
            self._metrics.encoder_duration.labels(self.encoder_id).observe(time.perf_counter() - started)

    async def close(self) -> None:
        """Close the wrapped encoder."""
        await self._encoder.close()


def instrumented(encoders: Mapping[str, Encoder], metrics: Metrics) -> dict[str, Encoder]:
    """Return the encoders, each wrapped with metrics."""
    return {name: InstrumentedEncoder(encoder, metrics) for name, encoder in encoders.items()}
