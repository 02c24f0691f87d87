"""The encoder gives unit vectors, close for similar meanings, and independent of other texts in the batch."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from common.config.settings import EncoderSettings
from somabrain_service.encoders.minilm import DIMENSIONS, MAX_TOKENS, VOCABULARY
from somabrain_service.encoders.onnx import OnnxEncoder
from somabrain_service.encoders.open import open_encoders

TEXTS = [
    "The cat sat on the mat.",
    "A kitten rested on a rug.",
    "Interest rates rose again.",
    "",
    "🎉 日本語",
    "x" * 9999,
]


async def test_vectors_have_unit_length_and_reflect_meaning(minilm: OnnxEncoder) -> None:
    vectors = await minilm.encode(TEXTS)
    assert vectors.shape == (len(TEXTS), DIMENSIONS)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    near, far = vectors[0] @ vectors[1], vectors[0] @ vectors[2]
    assert near > 0.5 > 0.2 > far


async def test_vector_is_independent_of_batch(minilm: OnnxEncoder) -> None:
    together = await minilm.encode(TEXTS * 12)
    for i, text in enumerate(TEXTS):
        alone = (await minilm.encode([text]))[0]
        assert float(alone @ together[i]) == pytest.approx(1, abs=1e-3)
        assert np.array_equal(alone, (await minilm.encode([text]))[0])


async def test_text_is_truncated_at_max_tokens(minilm: OnnxEncoder) -> None:
    long = "bee " * (MAX_TOKENS + 50)
    vectors = await minilm.encode([long, long + " volcano"])
    assert np.array_equal(vectors[0], vectors[1])
    assert (await minilm.encode([])).shape == (0, DIMENSIONS)


async def test_encoding_does_not_block_event_loop(minilm: OnnxEncoder) -> None:
    turns = 0
    task = asyncio.create_task(minilm.encode(["many words " * 100] * 16))
    while not task.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 100


async def test_lexical_kind_has_no_encoder() -> None:
    async with open_encoders(EncoderSettings(kind="lexical")) as encoders:
        assert encoders == {}


def test_vocabulary_is_bert() -> None:
    words = VOCABULARY.read_text(encoding="utf-8").split("\n")
    assert (words[0], words[101], words[102], words[30521], len(words)) == ("[PAD]", "[CLS]", "[SEP]", "##～", 30523)
