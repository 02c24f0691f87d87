"""Vectors of queries."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.names import TenantId
from somabrain_service.encoders.protocols import Encoder


class QueryVectors(Protocol):
    """Source of query vectors; implemented here and, with a cache, in `somabrain_service.recall.result_cache`."""

    async def get(self, tenant: TenantId, encoder: Encoder, query: str) -> NDArray[np.float32]:
        """Return the vector of a query, float32[d].

        Raises:
            EncoderUnavailable: the encoder failed.
        """
        ...


class UncachedQueryVectors:
    """Encodes each query, without a cache."""

    async def get(self, tenant: TenantId, encoder: Encoder, query: str) -> NDArray[np.float32]:
        """See `QueryVectors.get`."""
        vector: NDArray[np.float32] = (await encoder.encode([query]))[0]
        return vector
