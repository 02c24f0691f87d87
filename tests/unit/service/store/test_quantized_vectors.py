"""Quantized vectors are lossless in two planes, and the upper plane's bounds exclude no nearest neighbour."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from somabrain_service.domain.ranking.fixed_point import fixed_point
from somabrain_service.store.search_index.quantized_vectors import QuantizedVectors


@st.composite
def vectors(draw: st.DrawFn) -> NDArray[np.float32]:
    """Vectors of length 1 or 0: in any direction, along an axis, close together, or equal."""
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dimensions = draw(st.integers(1, 400))
    some = chance.normal(size=(draw(st.integers(1, 60)), dimensions))
    near = some[0] + draw(st.sampled_from([0.01, 0.1])) * chance.normal(size=(draw(st.integers(0, 60)), dimensions))
    spiked = some * chance.choice([1e-3, 1.0], size=some.shape, p=[0.9, 0.1])
    axes = np.eye(dimensions)[:: max(1, dimensions // 5)]
    rows = np.concatenate((some, near, spiked, axes, -axes, np.zeros((1, dimensions)), some[:1]))
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    rows = np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)
    return chance.permutation(rows).astype(np.float32)


def cosines(rows: NDArray[np.float32], query: NDArray[np.float32]) -> NDArray[np.float64]:
    """Cosines in float64, which represents the products exactly; 0 for a vector of zeros."""
    a, b = fixed_point(rows).astype(np.float64), fixed_point(query).astype(np.float64)
    lengths = np.sqrt((a * a).sum(axis=1) * (b @ b))
    cosine: NDArray[np.float64] = np.clip(np.divide(a @ b, lengths, out=np.zeros(len(a)), where=lengths > 0), -1, 1)
    return cosine


@settings(deadline=None)
@given(vectors())
def test_both_planes_are_the_vector(matrix: NDArray[np.float32]) -> None:
    planes = QuantizedVectors.quantize(matrix)
    assert np.array_equal(planes.step[:, np.newaxis] * planes.coarse + planes.residual, fixed_point(matrix) * 2048)


@settings(deadline=None)
@given(vectors())
def test_distances_are_those_of_exact_arithmetic_to_the_last_bit(matrix: NDArray[np.float32]) -> None:
    distances = QuantizedVectors.quantize(matrix).distances(QuantizedVectors.quantize(matrix[:1]))
    assert np.array_equal(distances, 1 - cosines(matrix, matrix[0]))


@settings(deadline=None)
@given(vectors())
def test_a_cosine_is_within_the_bounds_of_the_upper_plane(matrix: NDArray[np.float32]) -> None:
    low, high = QuantizedVectors.quantize(matrix).cosine_bounds(QuantizedVectors.quantize(matrix[:1]))
    exact = cosines(matrix, matrix[0])
    assert (low <= exact).all()
    assert (exact <= high).all()


def test_the_bounds_leave_few_to_multiply_out() -> None:
    chance = np.random.default_rng(1)
    matrix = chance.normal(size=(10_001, 384))
    planes = QuantizedVectors.quantize((matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32))
    low, high = planes[np.arange(10_000)].cosine_bounds(planes[np.array([10_000])])
    assert 200 < np.count_nonzero(high >= np.sort(low)[-200]) < 1_500
