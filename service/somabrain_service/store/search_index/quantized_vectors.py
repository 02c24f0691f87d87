"""Vectors as two planes of bytes: coarse, which is searched, and residual; together they are exact to the last bit.

A vector in fixed point is a row of integers m, in units of 1/2048. It is stored as m = s·u + l: u (coarse) and l
(residual) are bytes, and the step s is the least integer that makes that possible. All products of bytes are integers,
so they are exact on every processor.

The coarse plane alone bounds a cosine. With x = s·u + l and q = t·v + p, where ρ = |l|/|x| and δ = |p|/|q|, by Cauchy
and Schwarz

    | x·q - s·t·(u·v) | = | s·u·p + l·q | ≤ |x|·|q|·((1 + ρ)·δ + ρ)

So the k nearest are among those whose upper bound reaches the k-th highest lower bound, and only for those few the
exact products are computed. The search reads a quarter of the bytes of float32.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import simsimd
from numpy.typing import NDArray

from somabrain_service.domain.ranking.fixed_point import FIXED_POINT_SCALE

Bytes = NDArray[np.int8]
Floats = NDArray[np.float64]

_INT8_MAX = 127
_ROUNDING_ERROR = 1e-9
"""Upper bound of the rounding error of a bound computed in float64."""


@dataclass(frozen=True, slots=True)
class QuantizedVectors:
    """n vectors, `step`·`coarse` + `residual` in units of 1/2048; these two are int8[n, d], the others float64[n].

    `scale` is `step` / length and `residual_ratio` the length of `residual` / length; both 0 for a vector of zeros.
    """

    coarse: Bytes
    residual: Bytes
    step: Floats
    squared_norm: Floats
    scale: Floats
    residual_ratio: Floats

    @classmethod
    def quantize(cls, vectors: NDArray[np.float32]) -> QuantizedVectors:
        """Round vectors of length at most 1, float32[n, d], to fixed point."""
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
        """Number of dimensions of a vector."""
        return int(self.coarse.shape[1])

    def __getitem__(self, rows: NDArray[np.int64]) -> QuantizedVectors:
        return QuantizedVectors(*(getattr(self, name)[rows] for name in self.__slots__))

    def __setitem__(self, rows: NDArray[np.int64], vectors: QuantizedVectors) -> None:
        for name in self.__slots__:
            getattr(self, name)[rows] = getattr(vectors, name)

    def distances(self, query: QuantizedVectors) -> Floats:
        """Return cosine distances to the query, one vector, as pgvector's `<=>` does; 1 for a vector of zeros."""
        query_parts = np.concatenate((query.coarse, query.residual))
        coarse_products, residual_products = (
            _inner_products(query_parts, self.coarse),
            _inner_products(query_parts, self.residual),
        )
        step = query.step[0]
        product = self.step * (step * coarse_products[0] + coarse_products[1]) + (
            step * residual_products[0] + residual_products[1]
        )
        # At least 1 unless a vector is zero; then the product is 0.
        norms = np.sqrt(np.maximum(self.squared_norm * query.squared_norm[0], 1))
        return np.asarray(1 - np.clip(product / norms, -1, 1))

    def cosine_bounds(self, query: QuantizedVectors) -> tuple[Floats, Floats]:
        """Return lower and upper bounds of the cosines to the query."""
        estimate = _inner_products(query.coarse, self.coarse)[0]
        estimate *= self.scale * query.scale[0]
        margin = self.residual_ratio * (1 + query.residual_ratio[0]) + (query.residual_ratio[0] + _ROUNDING_ERROR)
        return estimate - margin, estimate + margin


def _inner_products(queries: Bytes, vectors: Bytes) -> Floats:
    """Return the exact inner products of all pairs, float64[len(queries), len(vectors)]."""
    return np.asarray(simsimd.cdist(queries, vectors, metric="dot"), np.float64)
