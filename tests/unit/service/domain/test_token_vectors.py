"""Quantized token vectors: their size, and how close a similarity is to the cosine."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from somabrain_service.domain.token_vectors import bytes_per_piece, max_similarities, quantize, query_tokens


def directions(count: int, dimensions: int, seed: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Vectors of length 1 in directions drawn at random."""
    drawn = np.random.default_rng(seed).standard_normal((count, dimensions)).astype(np.float32)
    return np.asarray(drawn / np.linalg.norm(drawn, axis=1, keepdims=True), np.float32)


def spans(count: int) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    return np.zeros((count, 2), np.int32)


@given(st.integers(0, 2**32 - 1), st.sampled_from([8, 384, 386, 1024]), st.integers(1, 20))
def test_similarity_of_vector_to_itself_is_one(seed: int, dimensions: int, count: int) -> None:
    """The norm makes a vector's product with itself 1, but for the query's rounding to bytes."""
    vectors = directions(count, dimensions, seed)
    texts = [quantize(vector[None]) for vector in vectors]
    assert all(len(text) == bytes_per_piece(dimensions) for text in texts)
    similarity = max_similarities(query_tokens(vectors, spans(count)), texts)
    assert np.allclose(np.diag(similarity), 1, atol=0.02)


@given(st.integers(0, 2**32 - 1))
def test_similarity_approximates_cosine(seed: int) -> None:
    """With 384 dimensions two bits a number move a cosine by less than .12."""
    one, other = directions(6, 384, seed), directions(6, 384, seed + 1)
    mixed = one + 0.5 * other
    mixed /= np.linalg.norm(mixed, axis=1, keepdims=True)
    texts = [quantize(vector[None]) for vector in mixed]
    similarity = max_similarities(query_tokens(one, spans(6)), texts)
    assert np.abs(similarity - np.maximum(one @ mixed.T, 0)).max() < 0.12


def test_max_similarity_is_of_nearest_word_piece() -> None:
    """The most similar word piece of a text counts, and a similarity is never negative."""
    vectors = directions(3, 384, 7)
    query = query_tokens(vectors[:1], spans(1))
    one, two, all_three = (max_similarities(query, [quantize(vectors[:n])])[0, 0] for n in (1, 2, 3))
    assert one == two == all_three
    assert max_similarities(query, [quantize(-vectors[:1]), b""]).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize("dimensions", [384, 386])
def test_text_without_word_pieces_has_no_bytes(dimensions: int) -> None:
    """A text without word pieces has no bytes, and a vector of zeros is similar to nothing."""
    assert quantize(np.zeros((0, dimensions), np.float32)) == b""
    query = query_tokens(directions(2, dimensions, 1), spans(2))
    assert np.isfinite(max_similarities(query, [quantize(np.zeros((1, dimensions), np.float32))])).all()
