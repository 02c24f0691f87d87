"""Similarity of a query's word pieces to those of texts, by the native kernel where it is installed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain import token_vectors
from somabrain_service.domain.token_vectors import QueryTokens
from somabrain_service.store import kernel


def max_similarities(query: QueryTokens, texts: Sequence[bytes]) -> NDArray[np.float64]:
    """Return `token_vectors.max_similarities`, float64[t, n], the same to the last bit with and without the kernel.

    Raises:
        ValueError: a text has another number of dimensions than the query.
    """
    if not kernel.is_installed():
        return token_vectors.max_similarities(query, texts)
    import somabrain_kernel  # after the check: it is a separate package

    buffer = somabrain_kernel.max_similarities(texts, query.codes, query.scales)
    return np.frombuffer(buffer).reshape(len(query.codes), len(texts))
