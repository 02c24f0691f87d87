"""The encoders that a server offers; each default is the service's own."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from common.config.settings import LEXICAL, MINILM, EmbeddingsEndpoint, EncoderId, EncoderSettings
from somabrain_operator.model.base import ApiModel, LocalObjectReference, Url, is_url, one_name, rule, rules, without_default

_ENCODER: Final = EncoderSettings()
_ENDPOINTS: Final = "spec.config.encoder.endpoints[]"
_ENDPOINT: Final = EmbeddingsEndpoint(id="any", url="http://any", model="any", dimensions=1)
_ENCODER_IDS: Final = f"['{LEXICAL}', '{MINILM}'] + " + " + ".join(
    f"(has(self.{each}) ? self.{each}.map(e, e.id) : [])" for each in ("onnx", "endpoints", "client")
)
"""A CEL expression for the ids of all encoders there are."""
_LIST_MAP_BY_ID: Final = Field(
    max_length=8, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"]}
)

Id = Annotated[EncoderId, Field(max_length=63)]
Dimensions = Annotated[int, Field(ge=1, le=4096)]


class OnnxEncoder(ApiModel):
    """A sentence encoder in a folder of the image."""

    id: Id
    """What namespaces choose it by. Other weights are another encoder and need another id."""
    directory: Annotated[str, Field(min_length=1, max_length=512, pattern="^/")]
    """The folder, laid out as on the Hugging Face hub, in an image made from the service's."""
    pooling: Literal["mean", "cls", "max"] | None = None
    """How token vectors become one. Not set: as its 1_Pooling/config.json says."""


class EndpointEncoder(ApiModel):
    """A server with OpenAI's `/v1/embeddings`."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            one_name(_ENDPOINTS, "characters", "maxInputCharacters", 8_000),
            one_name(_ENDPOINTS, "breakerRestSeconds", "breakerResetSeconds", 10),
        )
    )
    FORMER_FIELDS = {"characters": "maxInputCharacters", "breakerRestSeconds": "breakerResetSeconds"}

    id: Id
    """What namespaces choose it by. Another model is another encoder and needs another id."""
    url: Url
    """The whole address, such as https://api.openai.com/v1/embeddings."""
    model: Annotated[str, Field(min_length=1, max_length=256)]
    """The model's name there."""
    dimensions: Dimensions
    """Length of its vectors; an answer of another length is refused."""
    secret_ref: LocalObjectReference | None = None
    """A Secret whose key `api-key` is sent as a bearer token. It may change at any time: it is read again at each
    request. Not set: none is sent."""
    timeout_seconds: Annotated[int, Field(ge=1, le=86_400)] = int(_ENDPOINT.timeout_s)
    """How long one request may take."""
    attempts: Annotated[int, Field(ge=1, le=10)] = _ENDPOINT.attempts
    """How often a request that may succeed next time is sent; callers wait for all of them."""
    batch: Annotated[int, Field(ge=1, le=256)] = _ENDPOINT.batch
    """Texts in a request."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = _ENDPOINT.concurrency
    """Requests of a server at the same time."""
    max_input_characters: Annotated[int, Field(ge=1, le=65_536, json_schema_extra=without_default)] = (
        _ENDPOINT.max_input_characters
    )
    """Maximum characters sent of a text; the rest of a longer one is cut off. Not set: 8000."""
    breaker_failures: Annotated[int, Field(ge=1, le=1000)] = _ENDPOINT.breaker_failures
    """After so many failed requests in a row none is sent for `breakerResetSeconds`."""
    breaker_reset_seconds: Annotated[int, Field(ge=1, le=86_400, json_schema_extra=without_default)] = int(
        _ENDPOINT.breaker_reset_s
    )
    """Pause before requests are sent again. Not set: 10."""
    characters: Annotated[int | None, Field(ge=1, le=65_536)] = None
    """Deprecated: the name of `maxInputCharacters` until version 0.2."""
    breaker_rest_seconds: Annotated[int | None, Field(ge=1, le=86_400)] = None
    """Deprecated: the name of `breakerResetSeconds` until version 0.2."""


class ClientEncoder(ApiModel):
    """An encoder that clients run themselves: they send a vector with each text and each question."""

    id: Id
    """What namespaces choose it by."""
    dimensions: Dimensions
    """Length of its vectors; others are refused."""


class Encoder(ApiModel):
    """How text becomes a vector. Namespaces choose among all that is named here, and `lexical`."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"!has(self.kind) || self.kind in {_ENCODER_IDS}",
                f"spec.config.encoder.kind is no encoder; write {MINILM}, {LEXICAL}, or the id of one of onnx, "
                "endpoints and client",
            ),
            rule(
                f"({_ENCODER_IDS}).all(i, ({_ENCODER_IDS}).exists_one(j, j == i))",
                "spec.config.encoder: an id is there twice, or is one of the image's own; give each encoder its own id",
            ),
            rule(
                f"!has(self.endpoints) || self.endpoints.all(e, {is_url('e.url')})",
                "spec.config.encoder.endpoints: a url is no URL; write the whole address, such as "
                "http://ollama:11434/v1/embeddings",
            ),
        )
    )

    kind: Id = _ENCODER.kind
    """The encoder of namespaces that name none. `minilm-l6-v2-int8`: the sentence encoder in the image. `lexical`: no
    vectors. Or the `id` of one of those below."""
    minilm: bool = _ENCODER.minilm
    """Whether namespaces may choose the image's sentence encoder also where `kind` is another; it takes 150 MB."""
    threads: Annotated[int, Field(ge=1, le=64)] = _ENCODER.threads
    """Threads a text is encoded with."""
    onnx: Annotated[tuple[OnnxEncoder, ...], _LIST_MAP_BY_ID] = ()
    """Models that an image made from the service's holds."""
    endpoints: Annotated[tuple[EndpointEncoder, ...], _LIST_MAP_BY_ID] = ()
    """Servers that are asked."""
    client: Annotated[tuple[ClientEncoder, ...], _LIST_MAP_BY_ID] = ()
    """Encoders that clients run themselves."""
