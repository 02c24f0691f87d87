"""The product's encoder for the other systems: the same weights, tokenizer and threads, in the caller's process."""

from __future__ import annotations

from functools import cache

from common.config.groups.encoders import EncoderSettings
from somabrain_service.encoders import minilm
from somabrain_service.encoders.onnx import Network


def encode(texts: list[str]) -> list[list[float]]:
    """Return a vector of length 1 for each text."""
    rows: list[list[float]] = network().vectors(texts).tolist()
    return rows


@cache
def network() -> Network:
    """Load the encoder with as many threads as the product gives it."""
    return minilm.load_network(EncoderSettings().threads)
