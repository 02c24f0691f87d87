"""The narrow protocol of an encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from common.config.settings import LEXICAL as LEXICAL  # noqa: PLC0414 - re-exported for callers
from common.errors import Unavailable
from somabrain_service.domain.token_vectors import QueryTokens, TokenVectors


class EncoderUnavailable(Unavailable):
    """The encoder failed; Recall continues with words only and reports this in the response."""

    reason = "ENCODER_UNAVAILABLE"


@dataclass(frozen=True, slots=True)
class EncodedText:
    """Output of an encoder for a text to be stored: float32[d] of length 1, and the vectors of its word pieces.

    `tokens` None: the encoder makes none.
    """

    vector: NDArray[np.float32]
    tokens: TokenVectors | None = None


@dataclass(frozen=True, slots=True)
class EncodedQuery:
    """Output of an encoder for a query, as `EncodedText`."""

    vector: NDArray[np.float32]
    tokens: QueryTokens | None = None


class PooledEncoder(ABC):
    """Base of an encoder that makes one vector per text, and none of its word pieces; see `Encoder`."""

    has_token_vectors = False

    @abstractmethod
    async def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode without blocking the event loop."""

    async def encode_texts(self, texts: Sequence[str]) -> list[EncodedText]:
        """Encode texts to be stored; raises as `encode`."""
        return [EncodedText(vector) for vector in await self.encode(texts)]

    async def encode_query(self, query: str) -> EncodedQuery:
        """Encode a query; raises as `encode`."""
        return EncodedQuery((await self.encode([query]))[0])

    async def spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Return the first and the end character of each word piece of each text that has a vector."""
        return [[] for _ in texts]


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

    @property
    def has_token_vectors(self) -> bool:
        """True if texts and queries get vectors of their word pieces, too."""

    async def encode_texts(self, texts: Sequence[str]) -> list[EncodedText]:
        """Encode texts to be stored; raises as `encode`."""
        ...

    async def encode_query(self, query: str) -> EncodedQuery:
        """Encode a query; raises as `encode`."""
        ...

    async def spans(self, texts: Sequence[str]) -> list[list[tuple[int, int]]]:
        """Return the first and the end character of each word piece of each text that has a vector."""
        ...

    async def close(self) -> None:
        """Release threads, connections and memory."""
