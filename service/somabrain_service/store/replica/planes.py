"""Vectors as two planes of bytes: the upper one is searched, and both together are the vector to the last bit.

A vector in fixed point is a row of whole numbers m, of 1/2048 each. It is kept as m = s·u + l: u and l are bytes, and
the step s is the least whole number that lets them be. All products of bytes are whole numbers, so they are exact on
every processor.

The upper plane alone bounds a cosine. With x = s·u + l and q = t·v + p, where ρ = |l|/|x| and δ = |p|/|q|, by Cauchy
and Schwarz

    | x·q - s·t·(u·v) | = | s·u·p + l·q | ≤ |x|·|q|·((1 + ρ)·δ + ρ)

So the k nearest are among those whose upper bound reaches the k-th highest lower bound, and only those few are
multiplied out. It reads a quarter of what float32 would take.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import simsimd
from numpy.typing import NDArray

from somabrain_service.domain.fixed_point import STEPS

Bytes = NDArray[np.int8]
Floats = NDArray[np.float64]

_MOST = 127
_ROUNDED = 1e-9
"""More than a bound can lose by being computed in float64."""


@dataclass(frozen=True, slots=True)
class Planes:
    """n vectors in fixed point, `step`·`upper` + `lower` in steps of 1/2048; int8[n, d], and float64[n] the others.

    `norm2` is the square of the length. `scale` is `step` / length and `rest` the length of `lower` / length; both 0
    for a vector of zeros.
    """

    upper: Bytes
    lower: Bytes
    step: Floats
    norm2: Floats
    scale: Floats
    rest: Floats

    @classmethod
    def of(cls, vectors: NDArray[np.float32]) -> Planes:
        """Vectors of length 1 at most, float32[n, d], to the nearest step."""
        whole = np.rint(vectors * np.float32(STEPS))
        largest = np.abs(whole).max(axis=1, initial=0)
        step = np.maximum(np.ceil(largest / _MOST), 1).astype(np.float64)
        upper = np.rint(whole / step[:, np.newaxis])
        lower = whole - step[:, np.newaxis] * upper
        norm2 = np.einsum("ij,ij->i", whole, whole, dtype=np.float64)
        length = np.sqrt(np.maximum(norm2, 1))
        rest = np.sqrt(np.einsum("ij,ij->i", lower, lower)) / length
        return cls(upper.astype(np.int8), lower.astype(np.int8), step, norm2, np.sign(norm2) * step / length, rest)

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        return int(self.upper.shape[1])

    def __getitem__(self, rows: NDArray[np.int64]) -> Planes:
        return Planes(*(getattr(self, name)[rows] for name in self.__slots__))

    def __setitem__(self, rows: NDArray[np.int64], vectors: Planes) -> None:
        for name in self.__slots__:
            getattr(self, name)[rows] = getattr(vectors, name)

    def distances(self, query: Planes) -> Floats:
        """Cosine distances to the query, one vector, as pgvector's `<=>` gives them; 1 to a vector of zeros."""
        both = np.concatenate((query.upper, query.lower))
        by_upper, by_lower = _products(both, self.upper), _products(both, self.lower)
        step = query.step[0]
        product = self.step * (step * by_upper[0] + by_upper[1]) + (step * by_lower[0] + by_lower[1])
        # At least 1 where there is a direction; without one the product is 0.
        lengths = np.sqrt(np.maximum(self.norm2 * query.norm2[0], 1))
        return np.asarray(1 - np.clip(product / lengths, -1, 1))

    def bounds(self, query: Planes) -> tuple[Floats, Floats]:
        """What the cosines to the query are not below, and what they are not above."""
        about = _products(query.upper, self.upper)[0]
        about *= self.scale * query.scale[0]
        margin = self.rest * (1 + query.rest[0]) + (query.rest[0] + _ROUNDED)
        return about - margin, about + margin


def _products(few: Bytes, many: Bytes) -> Floats:
    """Inner products of all with all, float64[len(few), len(many)], exact."""
    return np.asarray(simsimd.cdist(few, many, metric="dot"), np.float64)
