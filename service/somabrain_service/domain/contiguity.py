"""What was near a memory in time is recalled with it, forward more than backward (Howard & Kahana 2002).

Within a session the memory Δ places before lends 1/2 · 2^(1-Δ) of its relevance, the one Δ places after 0.3 · 2^(1-Δ),
Δ ≤ 4. Where neighbours are missing, at a session's edge, the sum is scaled by the whole kernel's weight over the weight
that is there, or memories at the edge are punished for standing there. The scale is bounded so that no memory lends
more than 0.8 of its relevance, which is what a long session's edges reach (1/2 · 1.5 / 0.9375 = 0.3 · 1.5 / 0.5625);
without the bound the neighbour in a session of two would outrank the answer itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.lexical import Floats

BEFORE = 0.5
AFTER = 0.3
REACH = 4
MOST = 0.8
WHOLE = (BEFORE + AFTER) * (2 - 2.0 ** (1 - REACH))


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs of neighbours, by row: before[i] stands distance[i] places before after[i]."""

    before: NDArray[np.int64]
    after: NDArray[np.int64]
    distance: NDArray[np.int64]


def _neighbours(session: NDArray[np.int64], position: NDArray[np.int64]) -> Iterator[_Pairs]:
    """All pairs within REACH places of one session.

    Positions are distinct integers, so neighbours within REACH places are within REACH rows, once sorted; a row is in
    at most one pair of each yield on either side.
    """
    order = np.lexsort((position, session))
    s, p = session[order], position[order]
    for rows in range(1, min(REACH, len(order) - 1) + 1):
        distance = p[rows:] - p[:-rows]
        near = (s[rows:] == s[:-rows]) & (s[rows:] >= 0) & (distance <= REACH)
        yield _Pairs(order[:-rows][near], order[rows:][near], distance[near])


def within_reach(
    seeds: NDArray[np.bool_], session: NDArray[np.int64], position: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which memories are seeds or within reach of one: bool[n]. Arguments as of `contiguity`."""
    reached = seeds.copy()
    for pairs in _neighbours(session, position):
        reached[pairs.after] |= seeds[pairs.before]
        reached[pairs.before] |= seeds[pairs.after]
    return reached


def contiguity(relevance: Floats, session: NDArray[np.int64], position: NDArray[np.int64]) -> Floats:
    """What each memory is lent.

    Args:
        relevance: float64[n].
        session: int64[n], equal numbers for one session; negative: none.
        position: int64[n], unique within a session.

    Returns:
        float64[n], 0 where there is no neighbour.
    """
    lent, there, largest = np.zeros_like(relevance), np.zeros_like(relevance), np.zeros_like(relevance)
    for pairs in _neighbours(session, position):
        decay = np.exp2(1.0 - pairs.distance)
        for share, lender, taker in ((BEFORE, pairs.before, pairs.after), (AFTER, pairs.after, pairs.before)):
            lent[taker] += share * decay * relevance[lender]
            there[taker] += share * decay
            largest[taker] = np.maximum(largest[taker], share * decay)
    some = there > 0
    scale = np.minimum(WHOLE / np.where(some, there, 1.0), MOST / np.where(some, largest, 1.0))
    return np.where(some, lent * scale, 0.0)
