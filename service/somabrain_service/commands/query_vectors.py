"""The vector of what is asked."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.names import TenantId
from somabrain_service.encoders.protocols import Encoder


class QueryVectors(Protocol):
    """Whoever can tell it: see `somabrain_service.result_cache`."""

    async def get(self, tenant: TenantId, encoder: Encoder, query: str) -> NDArray[np.float32]:
        """The vector of a query.

        Raises:
            EncoderUnavailable: the encoder could not make it.
        """
        ...


class UncachedQueryVectors:
    """Makes each one."""

    async def get(self, tenant: TenantId, encoder: Encoder, query: str) -> NDArray[np.float32]:
        """See `QueryVectors.of`."""
        vector: NDArray[np.float32] = (await encoder.encode([query]))[0]
        return vector
