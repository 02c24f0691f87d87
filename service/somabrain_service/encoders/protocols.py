"""The narrow protocol of an encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from common.config.settings import LEXICAL as LEXICAL  # noqa: PLC0414 - said to callers by this name
from common.errors import Unavailable


class EncoderUnavailable(Unavailable):
    """The encoder did not answer; Recall goes on with words alone and says so."""

    reason = "ENCODER_UNAVAILABLE"


class Encoder(Protocol):
    """Turns texts into vectors; only vectors of one `encoder_id` are ever compared."""

    @property
    def encoder_id(self) -> str:
        """Names weights and method: other numbers, another id."""

    @property
    def dimensions(self) -> int:
        """Length of every vector."""

    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode without holding up the event loop.

        Returns:
            float32[len(texts), dimensions], every row of length 1.

        Raises:
            EncoderUnavailable: it could not.
        """
        ...

    async def close(self) -> None:
        """Give back threads and memory."""
