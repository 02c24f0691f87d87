"""The encoder that is part of the image."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from common.config.settings import EncoderSettings
from somabrain_service.encoders.minilm import ENCODER_ID
from somabrain_service.encoders.onnx import OnnxEncoder
from somabrain_service.encoders.open import open_encoders


@pytest.fixture
async def minilm() -> AsyncIterator[OnnxEncoder]:
    async with open_encoders(EncoderSettings()) as encoders:
        encoder = encoders[ENCODER_ID]
        assert isinstance(encoder, OnnxEncoder)
        yield encoder
