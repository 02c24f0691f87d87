"""Similarity of token vectors: by the native kernel where it is installed, or by the reference."""

from __future__ import annotations

from collections.abc import Sequence

from somabrain_service.domain import token_vectors
from somabrain_service.domain.ranking.bm25 import Floats
from somabrain_service.domain.token_vectors import QueryTokens


def max_similarities(query: QueryTokens, texts: Sequence[bytes]) -> Floats:
    """See `token_vectors.max_similarities`."""
    return token_vectors.max_similarities(query, texts)
