"""Data of a run: synthetic texts and vectors, and the vectors of the product's encoder for the searched memories."""

from __future__ import annotations

import numpy as np

from bench.peers.dataset import Dataset, Floats
from bench.synthetic_data import DIMENSIONS, QUESTION_WORDS, TEXT_WORDS, texts, vectors
from somabrain_service.encoders import minilm
from somabrain_service.encoders.onnx import MAX_BATCH

ADDED = 10_000
"""Memories that are added one by one; after them the texts repeat, in a store where they are new."""
QUESTIONS = 8_000
THREADS = 2
"""Threads of the encoder while nothing is measured."""


def prepare(memories: int) -> Dataset:
    """Return the data of a run in which `memories` are searched."""
    drawn = list(texts(memories + ADDED, TEXT_WORDS, 1))
    return Dataset(
        texts=drawn,
        given=np.array(vectors(len(drawn), 2), np.float32),
        encoded=_encode(drawn[:memories]),
        questions=list(texts(QUESTIONS, QUESTION_WORDS, 3)),
        question_vectors=np.array(vectors(QUESTIONS, 4), np.float32),
    )


def _encode(memory_texts: list[str]) -> Floats:
    network = minilm.load_network(THREADS)
    rows = np.empty((len(memory_texts), DIMENSIONS), np.float32)
    # Texts of one length share a run, which needs little padding.
    order = sorted(range(len(memory_texts)), key=lambda index: len(memory_texts[index]))
    for start in range(0, len(order), MAX_BATCH):
        batch = order[start : start + MAX_BATCH]
        rows[batch] = network.vectors([memory_texts[index] for index in batch])
    return rows
