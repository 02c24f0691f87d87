"""Made-up texts and vectors, the same at each run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import accumulate

import numpy as np

DIMENSIONS = 384
WORDS = 20_000


def texts(count: int, length: int, seed: int) -> Iterator[str]:
    """Texts of made-up words whose frequencies fall as in natural language (Zipf 1935)."""
    drawn = random.Random(seed)
    words = [f"{drawn.choice('bcdfgklmnprst')}{drawn.choice('aeiou')}{number:x}" for number in range(WORDS)]
    weights = list(accumulate(1 / rank for rank in range(1, WORDS + 1)))
    for _ in range(count):
        yield " ".join(drawn.choices(words, cum_weights=weights, k=length))


def vectors(count: int, seed: int) -> list[list[float]]:
    """Vectors of length 1, in no direction more than in another."""
    drawn = np.random.default_rng(seed).standard_normal((count, DIMENSIONS), dtype=np.float32)
    rows: list[list[float]] = (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).tolist()
    return rows
