"""The narrow protocol of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from common.config.settings import LEXICAL as LEXICAL  # noqa: PLC0414 - re-exported for callers
from common.errors import Unavailable


class EncoderUnavailable(Unavailable):
    """The encoder failed; Recall goes on by words only and reports it in the response."""

    reason = "ENCODER_UNAVAILABLE"


class Encoder(Protocol):
    """Encoder of texts into vectors; only vectors of the same `encoder_id` are ever compared."""

    @property
    def encoder_id(self) -> str:
        """Identifier of weights and method: an encoder with other vectors has another id."""

    @property
    def dimensions(self) -> int:
        """Number of dimensions of every vector."""

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode without blocking the event loop.

        Returns:
            float32[len(texts), dimensions], every row of length 1.

        Raises:
            EncoderUnavailable: the texts could not be encoded.
        """
        ...

    async def close(self) -> None:
        """Release threads, connections and memory."""
