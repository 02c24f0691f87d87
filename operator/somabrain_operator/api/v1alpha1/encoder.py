"""Encoders of a server; each default is that of the service."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

from common.config.settings import LEXICAL, MINILM, EmbeddingsEndpoint, EncoderId, EncoderSettings
from somabrain_operator.api.v1alpha1.base import (
    ApiModel,
    LocalObjectReference,
    Url,
    is_url,
    one_name,
    rule,
    rules,
    without_default,
)

_ENCODER: Final = EncoderSettings()
_ENDPOINTS: Final = "spec.config.encoder.endpoints[]"
_ENDPOINT: Final = EmbeddingsEndpoint(id="any", url="http://any", model="any", dimensions=1)
_ENCODER_IDS: Final = f"['{LEXICAL}', '{MINILM}'] + " + " + ".join(
    f"(has(self.{each}) ? self.{each}.map(e, e.id) : [])" for each in ("onnx", "endpoints", "client")
)
"""CEL expression for the ids of all configured encoders."""
_LIST_MAP_BY_ID: Final = Field(
    max_length=8, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]}
)

Id = Annotated[EncoderId, Field(max_length=63)]
Dimensions = Annotated[int, Field(ge=1, le=4096)]


class OnnxEncoder(ApiModel):
    """Sentence encoder as an ONNX model in a folder of the image."""

    id: Id
    """Id by which namespaces select it. Other weights are another encoder and need another id."""
    directory: Annotated[str, Field(min_length=1, max_length=512, pattern="^/")]
    """Path of the folder, laid out as on the Hugging Face hub, in an image built from the service's."""
    pooling: Literal["mean", "cls", "max"] | None = None
    """Pooling of token vectors into one vector. Not set: as in its 1_Pooling/config.json."""


class EndpointEncoder(ApiModel):
    """Server with OpenAI's `/v1/embeddings` API."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            one_name(_ENDPOINTS, "characters", "maxInputCharacters", 8_000),
            one_name(_ENDPOINTS, "breakerRestSeconds", "breakerResetSeconds", 10),
        )
    )
    FORMER_FIELDS: ClassVar[Mapping[str, str]] = {
        "characters": "maxInputCharacters",
        "breakerRestSeconds": "breakerResetSeconds",
    }

    id: Id
    """Id by which namespaces select it. Another model is another encoder and needs another id."""
    url: Url
    """Full URL, such as https://api.openai.com/v1/embeddings."""
    model: Annotated[str, Field(min_length=1, max_length=256)]
    """Name of the model on that server."""
    dimensions: Dimensions
    """Length of its vectors; a response with another length is an error."""
    secret_ref: LocalObjectReference | None = None
    """A Secret whose key `api-key` is sent as a bearer token. It may change at any time: it is read for each request.
    Not set: no token is sent."""
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = int(_ENDPOINT.timeout_s)
    """Time-out of one request, in seconds."""
    attempts: Annotated[int, Field(ge=1, le=10)] = _ENDPOINT.attempts
    """Maximum attempts of a request whose failure may be temporary; callers wait for all attempts."""
    batch: Annotated[int, Field(ge=1, le=256)] = _ENDPOINT.batch
    """Maximum texts per request."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = _ENDPOINT.concurrency
    """Maximum concurrent requests per server."""
    max_input_characters: Annotated[int, Field(ge=1, le=65_536, json_schema_extra=without_default)] = (
        _ENDPOINT.max_input_characters
    )
    """Maximum characters sent of a text; a longer text is truncated. Not set: 8000."""
    breaker_failures: Annotated[int, Field(ge=1, le=1000)] = _ENDPOINT.breaker_failures
    """Consecutive failed requests after which no request is sent for `breakerResetSeconds`."""
    breaker_reset_seconds: Annotated[int, Field(ge=1, le=86_400, json_schema_extra=without_default)] = int(
        _ENDPOINT.breaker_reset_s
    )
    """Seconds until requests are sent again. Not set: 10."""
    characters: Annotated[int | None, Field(ge=1, le=65_536)] = None
    """Deprecated: former name of `maxInputCharacters`, until version 0.2."""
    breaker_rest_seconds: Annotated[int | None, Field(ge=1, le=86_400)] = None
    """Deprecated: former name of `breakerResetSeconds`, until version 0.2."""


class ClientEncoder(ApiModel):
    """Encoder that clients run themselves: they send a vector with each text and each query."""

    id: Id
    """Id by which namespaces select it."""
    dimensions: Dimensions
    """Length of its vectors; vectors of another length are rejected."""


class Encoder(ApiModel):
    """Encoders, which turn text into vectors. Namespaces select one of those configured here, or `lexical`."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!has(self.kind) || self.kind in {_ENCODER_IDS}",
                f"spec.config.encoder.kind is not the id of an encoder; write {MINILM}, {LEXICAL}, or an id of onnx, "
                "endpoints or client",
            ),
            rule(
                f"({_ENCODER_IDS}).all(i, ({_ENCODER_IDS}).exists_one(j, j == i))",
                "spec.config.encoder: an id is used twice, or is one of the image's own; give each encoder its own id",
            ),
            rule(
                f"!has(self.endpoints) || self.endpoints.all(e, {is_url('e.url')})",
                "spec.config.encoder.endpoints: a url is not an HTTP URL; write the full URL, such as "
                "http://ollama:11434/v1/embeddings",
            ),
        )
    )

    kind: Id = _ENCODER.kind
    """Default encoder of namespaces. `minilm-l6-v2-int8`: the sentence encoder in the image. `lexical`: no vectors. Or
    an `id` of `onnx`, `endpoints` or `client`."""
    minilm: bool = _ENCODER.minilm
    """True: namespaces may select the image's sentence encoder even if `kind` is another; it uses 150 MB of memory."""
    threads: Annotated[int, Field(ge=1, le=64)] = _ENCODER.threads
    """Threads per encoding."""
    onnx: Annotated[tuple[OnnxEncoder, ...], _LIST_MAP_BY_ID] = ()
    """ONNX models in an image built from the service's."""
    endpoints: Annotated[tuple[EndpointEncoder, ...], _LIST_MAP_BY_ID] = ()
    """Servers with an embeddings API."""
    client: Annotated[tuple[ClientEncoder, ...], _LIST_MAP_BY_ID] = ()
    """Encoders that clients run themselves."""
