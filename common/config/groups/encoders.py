"""Encoders: the sentence encoder of the image, directories, endpoints, and clients that encode themselves."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from common.config.former_names import FORMER_ENDPOINT_KEYS, with_present_names
from common.config.groups.base import Group, Seconds

EncoderId = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]

MINILM = "minilm-l6-v2-int8"
"""Id of the sentence encoder in the image."""
LEXICAL = "lexical"
"""Encoder id of namespaces without vectors."""


class OnnxDirectory(Group):
    """A sentence encoder in a directory, laid out as on the Hugging Face hub."""

    id: EncoderId
    """Encoder id, by which namespaces select it. Other weights are another encoder and need another id."""
    directory: Path
    """Directory with model.onnx, the tokenizer and the pooling configuration; docs/service.md lists the files."""
    pooling: Literal["mean", "cls", "max"] | None = None
    """Pooling of token vectors into one. None: as configured in 1_Pooling/config.json."""


class EmbeddingsEndpoint(Group):
    """An encoder behind OpenAI's API `/v1/embeddings`."""

    id: EncoderId
    """Encoder id, by which namespaces select it. Another model is another encoder and needs another id."""
    url: Annotated[str, Field(pattern=r"^https?://")]
    """Full URL, such as `https://api.openai.com/v1/embeddings`."""
    model: Annotated[str, Field(min_length=1, max_length=256)]
    """Name of the model at the server."""
    dimensions: Annotated[int, Field(ge=1, le=4096)]
    """Length of its vectors; responses with another length are rejected."""
    api_key: SecretStr | None = None
    """API key, sent as a bearer token. None: the key in `api_key_file`, or no key."""
    api_key_file: Path | None = None
    """File with the API key, read again at each request because secrets are rotated on disk. It takes precedence over
    `api_key`. None: `api_key` is used."""
    timeout_s: Seconds = 5.0
    """Maximum seconds per request."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """Maximum attempts per request, repeated after transient failures only; callers wait for all of them."""
    batch: Annotated[int, Field(ge=1, le=256)] = 32
    """Maximum texts per request."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    """Maximum concurrent requests."""
    max_input_characters: Annotated[int, Field(ge=1, le=65_536)] = 8_000
    """Maximum characters sent per text; a longer text is truncated, because servers reject input longer than their
    model accepts."""
    breaker_failures: Annotated[int, Field(ge=1, le=1_000)] = 4
    """Failed requests in a row that open the circuit breaker."""
    breaker_reset_s: Seconds = 10.0
    """Seconds that an open circuit breaker lets no request through."""

    @model_validator(mode="before")
    @classmethod
    def _accept_former_names(cls, values: object) -> object:
        return with_present_names(values, FORMER_ENDPOINT_KEYS) if isinstance(values, Mapping) else values


class ClientEncoder(Group):
    """An encoder that clients run themselves: they send a vector with each text and each query."""

    id: EncoderId
    """Encoder id, by which namespaces select it."""
    dimensions: Annotated[int, Field(ge=1, le=4096)]
    """Length of its vectors; others are rejected."""


class EncoderSettings(Group):
    """Encoders, which turn text into vectors. Namespaces select one of those configured here, or `lexical`."""

    kind: str = MINILM
    """Default encoder of namespaces: `minilm-l6-v2-int8`, the sentence encoder in the image; `lexical`, no vectors; or
    the id of one of those below."""
    minilm: bool = False
    """Load the image's sentence encoder for namespaces to select, even if `kind` is another; it takes 150 MB."""
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of threads of a run of the network."""
    concurrency: Annotated[int, Field(ge=0, le=64)] = 0
    """Maximum concurrent runs of a network, each on the texts that wait; 0: as many as the processors that the process
    may use are enough for."""
    token_vectors: Annotated[int, Field(ge=0, le=256)] = 256
    """Maximum word pieces of a text that get a vector of their own, by which Recall compares words; 0: none. With 384
    dimensions each takes 98 bytes in PostgreSQL, 3.7 KB for a turn of a conversation, and as much in the search
    index."""
    onnx: tuple[OnnxDirectory, ...] = ()
    """Encoders in directories, as JSON: `[{"id": "bge-small", "directory": "/models/bge-small"}]`."""
    endpoints: tuple[EmbeddingsEndpoint, ...] = ()
    """Encoders behind HTTP servers, as JSON: `[{"id": "nomic", "url": "http://ollama:11434/v1/embeddings",
    "model": "nomic-embed-text", "dimensions": 768}]`."""
    client: tuple[ClientEncoder, ...] = ()
    """Encoders that clients run, as JSON: `[{"id": "ours", "dimensions": 1024}]`."""

    @property
    def offers_minilm(self) -> bool:
        """True if the image's sentence encoder is loaded."""
        return self.minilm or self.kind == MINILM

    @model_validator(mode="after")
    def _check_ids(self) -> EncoderSettings:
        configured: tuple[OnnxDirectory | EmbeddingsEndpoint | ClientEncoder, ...]
        configured = (*self.onnx, *self.endpoints, *self.client)
        ids = [LEXICAL, MINILM, *(encoder.id for encoder in configured)]
        if duplicates := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(
                f"has the id {duplicates[0]!r} twice; give each encoder an id of its own, other than the built-in ones"
            )
        if self.kind not in ids:
            raise ValueError(f"kind: must be one of {', '.join(ids)}")
        return self
