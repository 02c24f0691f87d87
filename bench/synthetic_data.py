"""Synthetic texts and vectors, identical in each run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate

import numpy as np

from somabrain_service.encoders.minilm import VOCABULARY

DIMENSIONS = 384
WORDS = 20_000

TEXT_WORDS = 30
SESSION_SIZE = 20
"""Memories of one session, as in a short conversation; 0: memories without sessions."""
QUESTION_WORDS = 11
"""Words per question: 13 tokens of the default encoder with its special tokens, the average of LoCoMo's questions."""


def texts(count: int, length: int, seed: int) -> Iterator[str]:
    """Yield texts of English words, drawn with the frequencies of natural language (Zipf 1935).

    The words are those of BERT's vocabulary, which is sorted by frequency.
    """
    drawn = random.Random(seed)
    listed = VOCABULARY.read_text("utf-8").splitlines()
    words = [word for word in listed if word.isascii() and word.isalpha() and len(word) > 1][:WORDS]
    weights = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))
    for _ in range(count):
        yield " ".join(drawn.choices(words, cum_weights=weights, k=length))


def session(number: int, size: int = SESSION_SIZE) -> str:
    """Return the session of a memory by its number; empty if `size` is 0."""
    return f"session-{number // size}" if size else ""


def vectors(count: int, seed: int) -> list[list[float]]:
    """Return vectors of length 1, uniformly distributed over directions."""
    drawn = np.random.default_rng(seed).standard_normal((count, DIMENSIONS), dtype=np.float32)
    rows: list[list[float]] = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).tolist()
    return rows
