"""Top k by score, ties by id."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def top_k(score: NDArray[np.float64], ids: NDArray[np.int64], limit: int) -> NDArray[np.int64]:
    """Return the positions of the `limit` highest scores, unsorted; ties at the cut go to the lowest ids."""
    if len(score) <= limit:
        return np.arange(len(score))
    cut = np.partition(score, len(score) - limit)[len(score) - limit]
    above, equal = np.flatnonzero(score > cut), np.flatnonzero(score == cut)
    return np.concatenate((above, equal[np.argsort(ids[equal])][: limit - len(above)]))
