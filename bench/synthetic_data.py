"""Made-up texts and vectors, the same at each run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate

import numpy as np

from somabrain_service.encoders.minilm import VOCABULARY

DIMENSIONS = 384
WORDS = 20_000

TEXT_WORDS = 30
QUESTION_WORDS = 11
"""With the marks around them 13 tokens of the default encoder, as the questions of LoCoMo have on average."""


def texts(count: int, length: int, seed: int) -> Iterator[str]:
    """Texts of English words, drawn with the frequencies of natural language (Zipf 1935).

    The words are those of BERT's vocabulary, which has them in the order of their frequency.
    """
    drawn = random.Random(seed)
    listed = VOCABULARY.read_text("utf-8").splitlines()
    words = [word for word in listed if word.isascii() and word.isalpha() and len(word) > 1][:WORDS]
    weights = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))
    for _ in range(count):
        yield " ".join(drawn.choices(words, cum_weights=weights, k=length))


def vectors(count: int, seed: int) -> list[list[float]]:
    """Vectors of length 1, in no direction more than in another."""
    drawn = np.random.default_rng(seed).standard_normal((count, DIMENSIONS), dtype=np.float32)
    rows: list[list[float]] = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).tolist()
    return rows
