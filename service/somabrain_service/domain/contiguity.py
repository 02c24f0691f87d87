"""What was near a memory in time is recalled with it, forward more than backward (Howard & Kahana 2002).

Within a session the memory Δ places before lends 1/2 · 2^(1-Δ) of its relevance, the one Δ places after 0.3 · 2^(1-Δ),
Δ ≤ 4. Where neighbours are missing, at a session's edge, the sum is scaled by the whole kernel's weight over the weight
that is there, or memories at the edge are punished for standing there. The scale is bounded so that no memory lends
more than 0.8 of its relevance, which is what a long session's edges reach (1/2 · 1.5 / 0.9375 = 0.3 · 1.5 / 0.5625);
without the bound the neighbour in a session of two would outrank the answer itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.lexical import Floats

BEFORE = 0.5
AFTER = 0.3
REACH = 4
MOST = 0.8
WHOLE = (BEFORE + AFTER) * (2 - 2.0 ** (1 - REACH))


def contiguity(relevance: Floats, session: NDArray[np.int64], position: NDArray[np.int64]) -> Floats:
    """What each memory is lent.

    Args:
        relevance: float64[n].
        session: int64[n], equal numbers for one session; negative: none.
        position: int64[n], unique within a session.

    Returns:
        float64[n], 0 where there is no neighbour.
    """
    order = np.lexsort((position, session))
    r, s, p = relevance[order], session[order], position[order]
    lent, there, largest = np.zeros(len(r)), np.zeros(len(r)), np.zeros(len(r))
    # Positions are distinct integers, so neighbours within REACH places are within REACH rows.
    for rows in range(1, min(REACH, len(r) - 1) + 1):
        distance = p[rows:] - p[:-rows]
        near = (s[rows:] == s[:-rows]) & (s[rows:] >= 0) & (distance <= REACH)
        decay = np.where(near, 2.0 ** (1.0 - np.where(near, distance, 1)), 0.0)
        for share, lender, taker in (
            (BEFORE, slice(None, -rows), slice(rows, None)),
            (AFTER, slice(rows, None), slice(None, -rows)),
        ):
            lent[taker] += share * decay * r[lender]
            there[taker] += share * decay
            largest[taker] = np.maximum(largest[taker], share * decay)
    some = there > 0
    scale = np.minimum(WHOLE / np.where(some, there, 1.0), MOST / np.where(some, largest, 1.0))
    lent *= np.where(some, scale, 0.0)
    result = np.empty_like(lent)
    result[order] = lent
    return result
