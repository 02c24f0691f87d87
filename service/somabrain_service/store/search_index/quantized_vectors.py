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

from somabrain_service.domain.fixed_point import FIXED_POINT_SCALE

Bytes = NDArray[np.int8]
Floats = NDArray[np.float64]

_INT8_MAX = 127
_ROUNDING_ERROR = 1e-9
"""More than a bound can lose by being computed in float64."""


@dataclass(frozen=True, slots=True)
class QuantizedVectors:
    """n vectors in fixed point, `step`·`upper` + `lower` in steps of 1/2048; int8[n, d], and float64[n] the others.

    `norm2` is the square of the length. `scale` is `step` / length and `rest` the length of `lower` / length; both 0
    for a vector of zeros.
    """

    coarse: Bytes
    residual: Bytes
    step: Floats
    squared_norm: Floats
    scale: Floats
    residual_ratio: Floats

    @classmethod
    def quantize(cls, vectors: NDArray[np.float32]) -> QuantizedVectors:
        """Vectors of length 1 at most, float32[n, d], to the nearest step."""
        scaled = np.rint(vectors * np.float32(FIXED_POINT_SCALE))
        largest = np.abs(scaled).max(axis=1, initial=0)
        step = np.maximum(np.ceil(largest / _INT8_MAX), 1).astype(np.float64)
        coarse = np.rint(scaled / step[:, np.newaxis])
        residual = scaled - step[:, np.newaxis] * coarse
        squared_norm = np.einsum("ij,ij->i", scaled, scaled, dtype=np.float64)
        length = np.sqrt(np.maximum(squared_norm, 1))
        residual_ratio = np.sqrt(np.einsum("ij,ij->i", residual, residual)) / length
        return cls(
            coarse.astype(np.int8),
            residual.astype(np.int8),
            step,
            squared_norm,
            np.sign(squared_norm) * step / length,
            residual_ratio,
        )

    @property
    def dimensions(self) -> int:
        """How many numbers a vector has."""
        return int(self.coarse.shape[1])

    def __getitem__(self, rows: NDArray[np.int64]) -> QuantizedVectors:
        return QuantizedVectors(*(getattr(self, name)[rows] for name in self.__slots__))

    def __setitem__(self, rows: NDArray[np.int64], vectors: QuantizedVectors) -> None:
        for name in self.__slots__:
            getattr(self, name)[rows] = getattr(vectors, name)

    def distances(self, query: QuantizedVectors) -> Floats:
        """Cosine distances to the query, one vector, as pgvector's `<=>` gives them; 1 to a vector of zeros."""
        query_parts = np.concatenate((query.coarse, query.residual))
        coarse_products, residual_products = (
            _inner_products(query_parts, self.coarse),
            _inner_products(query_parts, self.residual),
        )
        step = query.step[0]
        product = self.step * (step * coarse_products[0] + coarse_products[1]) + (
            step * residual_products[0] + residual_products[1]
        )
        # At least 1 where there is a direction; without one the product is 0.
        norms = np.sqrt(np.maximum(self.squared_norm * query.squared_norm[0], 1))
        return np.asarray(1 - np.clip(product / norms, -1, 1))

    def cosine_bounds(self, query: QuantizedVectors) -> tuple[Floats, Floats]:
        """What the cosines to the query are not below, and what they are not above."""
        estimate = _inner_products(query.coarse, self.coarse)[0]
        estimate *= self.scale * query.scale[0]
        margin = self.residual_ratio * (1 + query.residual_ratio[0]) + (query.residual_ratio[0] + _ROUNDING_ERROR)
        return estimate - margin, estimate + margin


def _inner_products(queries: Bytes, vectors: Bytes) -> Floats:
    """Inner products of all with all, float64[len(few), len(many)], exact."""
    return np.asarray(simsimd.cdist(queries, vectors, metric="dot"), np.float64)
