"""Token vectors: one per word piece of a text, in two bits per number, and their similarity to those of a query.

The form is that of ColBERT (Khattab & Zaharia 2020); the network is the one that makes the pooled vector anyway. Of a
vector x of length 1 with d numbers, each is kept as the nearest of -3, -1, 1 and 3 half steps of its root mean square,
v, with the norm Σ x·v that makes the estimated product of x with itself exactly 1 (as RaBitQ does, Gao & Long 2024):

    sim(q, x) = Σ q·v · scale(q) / norm(x)          q in whole numbers from -127 to 127

Σ q·v is a whole number below 2^24, so it is the same in any order and precision, and with it everything that follows:
the native kernel and `max_similarities` agree to the last bit.

A text's data is its norms, uint16[n] in units of √d / 2^14, and then its codes, uint8[n, d/4]: the codes 0 to 3 of
numbers j, j + d/4, j + d/2 and j + 3d/4 are the bits 0-1, 2-3, 4-5 and 6-7 of byte j. d is rounded up to a multiple of
four, and queries have zeros there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_WORD_PIECES = 256
"""Maximum word pieces of a text with a vector."""
NORM_UNITS = 2**14
_NORM_BYTES = 2
_QUERY_MAX = 127
_PER_BYTE = 4
_SHIFTS = np.array([0, 2, 4, 6], np.uint8)


@dataclass(frozen=True, slots=True)
class TokenVectors:
    """Quantized vectors of a text's word pieces. `truncated`: the text has more pieces than vectors."""

    data: bytes
    truncated: bool


NO_TOKEN_VECTORS = TokenVectors(b"", truncated=False)
"""Token vectors of a text whose words are not to be compared."""


@dataclass(frozen=True, slots=True, eq=False)
class QueryTokens:
    """Vectors of a query's word pieces: int8[t, d], d a multiple of four, their scales, float64[t], and where they are.

    `spans` are the first and the end character of each piece in the query, int32[t, 2].
    """

    codes: NDArray[np.int8]
    scales: NDArray[np.float64]
    spans: NDArray[np.int32]


def bytes_per_piece(dimensions: int) -> int:
    """Return the bytes that a word piece takes."""
    return _NORM_BYTES + _padded(dimensions) // _PER_BYTE


def quantize(vectors: NDArray[np.float32]) -> bytes:
    """Return the data of word pieces with these vectors, float32[n, d]; their lengths do not matter."""
    count, dimensions = vectors.shape
    root_mean_square = np.sqrt(np.mean(np.square(vectors), axis=1, keepdims=True))
    steps = np.floor(vectors / np.where(root_mean_square > 0, root_mean_square, 1))
    codes = np.clip(steps + 2, 0, 3).astype(np.uint8)
    lengths = np.where(root_mean_square > 0, root_mean_square, 1)[:, 0] * math.sqrt(dimensions)
    products = np.sum(vectors * (2.0 * codes - 3.0), axis=1) / lengths
    norms = np.clip(np.rint(products / math.sqrt(dimensions) * NORM_UNITS), 1, 2**16 - 1).astype("<u2")
    padded = _padded(dimensions)
    codes = np.pad(codes, ((0, 0), (0, padded - dimensions)))
    shifted = codes.reshape(count, _PER_BYTE, padded // _PER_BYTE) << _SHIFTS[:, None]
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(shifted, axis=1)
    return bytes(norms.tobytes() + packed.tobytes())


def query_tokens(vectors: NDArray[np.float32], spans: NDArray[np.int32]) -> QueryTokens:
    """Return the tokens of a query with these vectors, float32[t, d] of length 1."""
    largest = np.abs(vectors).max(axis=1, keepdims=True, initial=1e-9)
    codes = np.rint(vectors * (_QUERY_MAX / largest)).astype(np.int8)
    dimensions = vectors.shape[1]
    scales = largest[:, 0].astype(np.float64) / _QUERY_MAX * (NORM_UNITS / math.sqrt(dimensions))
    return QueryTokens(np.pad(codes, ((0, 0), (0, _padded(dimensions) - dimensions))), scales, spans)


def max_similarities(query: QueryTokens, texts: Sequence[bytes]) -> NDArray[np.float64]:
    """Return the similarity of each piece of a query to its nearest piece of each text, float64[t, n].

    At least 0, which it also is for a text without pieces.
    """
    result = np.zeros((len(query.codes), len(texts)))
    for number, data in enumerate(texts):
        if data:
            result[:, number] = similarities(query, data).max(axis=1, initial=0.0)
    return result


def similarities(query: QueryTokens, data: bytes) -> NDArray[np.float64]:
    """Return the similarity of each piece of a query to each of a text, float64[t, n], exactly as the kernel does."""
    width = query.codes.shape[1] // _PER_BYTE
    count = len(data) // (_NORM_BYTES + width)
    norms = np.frombuffer(data, "<u2", count).astype(np.float64)
    packed = np.frombuffer(data, np.uint8, offset=count * _NORM_BYTES).reshape(count, width)
    codes = (packed[:, None, :] >> _SHIFTS[:, None]) & np.uint8(3)
    values = codes.reshape(count, -1).astype(np.float32) * 2 - 3
    products = query.codes.astype(np.float32) @ values.T  # whole numbers below 2^24: exact
    return np.asarray(products.astype(np.float64) * (1.0 / norms) * query.scales[:, None])


def _padded(dimensions: int) -> int:
    return -(-dimensions // _PER_BYTE) * _PER_BYTE
