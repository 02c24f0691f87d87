"""Vectors of queries."""

from __future__ import annotations

from typing import Protocol

from somabrain_service.domain.names import TenantId
from somabrain_service.encoders.protocols import EncodedQuery, Encoder


class QueryVectors(Protocol):
    """Source of query vectors; implemented here and, with a cache, in `somabrain_service.recall.result_cache`."""

    async def get(self, tenant: TenantId, encoder: Encoder, query: str) -> EncodedQuery:
        """Return the vectors of a query.

        Raises:
            EncoderUnavailable: the encoder failed.
        """
        ...


class UncachedQueryVectors:
    """Encodes each query, without a cache."""

    async def get(self, tenant: TenantId, encoder: Encoder, query: str) -> EncodedQuery:
        """Return the vectors of a query."""
        return await encoder.encode_query(query)
