"""Similarities of a question's word pieces to those of every turn, with vectors kept in a number of bits."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.dialogue import Conversation
from somabrain_service.domain import token_vectors
from somabrain_service.encoders import minilm
from somabrain_service.encoders.onnx import Output, WordPieces

BATCH = 16
BITS = (1, 2, 4, 8)
DEFAULT_BITS = 2
STEP = {1: 1.6, 2: 1.0, 4: 0.35, 8: 0.03}
"""Step between neighbouring levels, in root mean squares of a vector, by bits: near the least error of a normal one."""
NORM_BYTES = 2

Vectors = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class EncodedConversation:
    """A conversation, and what the network makes of its turns and its questions."""

    conversation: Conversation
    turns: list[Output]
    questions: list[Output]

    @property
    def pieces(self) -> NDArray[np.int64]:
        """Number of word pieces with a vector of each turn, int64[n]."""
        return np.array([len(word_pieces(turn).vectors) for turn in self.turns], np.int64)


def encode(conversations: Sequence[Conversation]) -> list[EncodedConversation]:
    """Encode turns and questions with the image's encoder."""
    network = minilm.load_network(1)

    def outputs(texts: list[str]) -> list[Output]:
        starts = range(0, len(texts), BATCH)
        return [output for start in starts for output in network.run(texts[start : start + BATCH])]

    return [
        EncodedConversation(one, outputs([turn.text for turn in one.turns]), outputs([q.text for q in one.questions]))
        for one in conversations
    ]


def word_pieces(output: Output) -> WordPieces:
    """Return the word pieces of a text; the image's encoder makes them for every text."""
    assert output.pieces is not None
    return output.pieces


def bytes_per_piece(dimensions: int, bits: int) -> int:
    """Return the bytes that a word piece takes: its numbers and one norm."""
    return NORM_BYTES + math.ceil(dimensions * bits / 8)


def quantized(vectors: Vectors, bits: int) -> Vectors:
    """Return what vectors, float32[n, d], are taken for if each number is kept in this many bits.

    Levels are symmetric about zero and equally spaced, and the estimated product of a vector with itself is exact, as
    in `somabrain_service.domain.token_vectors`, which for two bits gives the same up to the rounding of norms.
    """
    levels = 2**bits
    root_mean_square = np.sqrt(np.mean(np.square(vectors), axis=1, keepdims=True))
    step = STEP[bits] * np.where(root_mean_square > 0, root_mean_square, 1)
    codes = np.clip(np.floor(vectors / step) + 0.5, -(levels - 1) / 2, (levels - 1) / 2)
    products = np.sum(vectors * codes, axis=1, keepdims=True)
    return np.asarray(codes / np.maximum(products, 1e-9), np.float32)


def similarities(encoded: EncodedConversation, bits: int | None) -> Iterator[Floats]:
    """Yield, for each question, the similarity of each piece to its nearest one of each turn, float64[t, n], 0 to 1.

    With two bits exactly as the service does. `bits` None: with the vectors as the network makes them.
    """
    counts = encoded.pieces
    products = _products(np.concatenate([word_pieces(turn).vectors for turn in encoded.turns]), bits)
    filled = np.flatnonzero(counts)
    starts = np.cumsum(counts[filled]) - counts[filled]
    for question in encoded.questions:
        pieces = word_pieces(question)
        nearest = np.zeros((len(pieces.vectors), len(counts)))
        nearest[:, filled] = np.maximum.reduceat(products(pieces), starts, axis=1)
        yield np.clip(nearest, 0.0, 1.0)


def _products(vectors: Vectors, bits: int | None) -> Callable[[WordPieces], Floats | Vectors]:
    """Return the function of a question's pieces to their similarities to these vectors, [t, n]."""
    if bits == DEFAULT_BITS:
        data = token_vectors.quantize(vectors)
        return lambda pieces: token_vectors.similarities(token_vectors.query_tokens(pieces.vectors, pieces.spans), data)
    memories = vectors if bits is None else quantized(vectors, bits)
    return lambda pieces: pieces.vectors @ memories.T
