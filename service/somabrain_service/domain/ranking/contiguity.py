"""Temporal contiguity: a relevant memory boosts its neighbours, forward more than backward (Howard & Kahana 2002).

Within a session the memory Δ positions before contributes 1/2 · 2^(1-Δ) of its relevance, the one Δ positions after
0.3 · 2^(1-Δ), Δ ≤ 4. Where neighbours are missing, at a session's edge, the sum is scaled by the full kernel weight
over the weight of the present neighbours; otherwise memories at the edge would be penalised. The scale is bounded so
that no memory contributes more than 0.8 of its relevance, which is what a long session's edges reach (1/2 · 1.5 /
0.9375 = 0.3 · 1.5 / 0.5625); without the bound the neighbour in a session of two would outrank the match itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from somabrain_service.domain.ranking.bm25 import Floats

FORWARD_WEIGHT = 0.5
BACKWARD_WEIGHT = 0.3
KERNEL_WIDTH = 4
MAX_SHARE = 0.8
KERNEL_WEIGHT = (FORWARD_WEIGHT + BACKWARD_WEIGHT) * (2 - 2.0 ** (1 - KERNEL_WIDTH))


@dataclass(frozen=True, slots=True)
class _Pairs:
    """Pairs of neighbours, by row: earlier[i] is distance[i] positions before later[i]."""

    earlier: NDArray[np.int64]
    later: NDArray[np.int64]
    distance: NDArray[np.int64]


def _neighbours(session: NDArray[np.int64], position: NDArray[np.int64]) -> Iterator[_Pairs]:
    """Yield all pairs of one session within KERNEL_WIDTH positions.

    Positions are distinct integers, so neighbours within KERNEL_WIDTH positions are within KERNEL_WIDTH rows once
    sorted; in each yield a row is in at most one pair on either side.
    """
    order = np.lexsort((position, session))
    s, p = session[order], position[order]
    for rows in range(1, min(KERNEL_WIDTH, len(order) - 1) + 1):
        distance = p[rows:] - p[:-rows]
        within = (s[rows:] == s[:-rows]) & (s[rows:] >= 0) & (distance <= KERNEL_WIDTH)
        yield _Pairs(order[:-rows][within], order[rows:][within], distance[within])


def within_reach(
    seeds: NDArray[np.bool_], session: NDArray[np.int64], position: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Return a mask, bool[n], of the seeds and the rows within reach of one. Arguments as in `contiguity`."""
    reached = seeds.copy()
    for pairs in _neighbours(session, position):
        reached[pairs.later] |= seeds[pairs.earlier]
        reached[pairs.earlier] |= seeds[pairs.later]
    return reached


def contiguity(relevance: Floats, session: NDArray[np.int64], position: NDArray[np.int64]) -> Floats:
    """Return the boost of each memory from its neighbours.

    Args:
        relevance: float64[n].
        session: int64[n], equal numbers for one session; negative: no session.
        position: int64[n], unique within a session.

    Returns:
        float64[n], 0 without neighbours.
    """
    boost, present_weight, largest = np.zeros_like(relevance), np.zeros_like(relevance), np.zeros_like(relevance)
    for pairs in _neighbours(session, position):
        decay = np.exp2(1.0 - pairs.distance)
        for share, source, target in (
            (FORWARD_WEIGHT, pairs.earlier, pairs.later),
            (BACKWARD_WEIGHT, pairs.later, pairs.earlier),
        ):
            boost[target] += share * decay * relevance[source]
            present_weight[target] += share * decay
            largest[target] = np.maximum(largest[target], share * decay)
    has_neighbour = present_weight > 0
    scale = np.minimum(
        KERNEL_WEIGHT / np.where(has_neighbour, present_weight, 1.0), MAX_SHARE / np.where(has_neighbour, largest, 1.0)
    )
    return np.where(has_neighbour, boost * scale, 0.0)
