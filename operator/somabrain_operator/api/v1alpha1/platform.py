"""Optional shared platform of a memory service: cache, feature flags, events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

from common.config.settings import CacheSettings, EventsSettings, FlagSettings
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

_CACHE: Final = CacheSettings()
_FLAGS: Final = FlagSettings()
_EVENTS: Final = EventsSettings()


class Tls(ApiModel):
    """TLS of connections to a server."""

    ca_secret_ref: LocalObjectReference | None = None
    """A Secret whose key `ca.crt` holds the CA of its certificate. Not set: the CAs that the image trusts."""
    client_secret_ref: LocalObjectReference | None = None
    """A Secret with the keys `tls.crt` and `tls.key`, for a server that requires a client certificate."""


class Cache(ApiModel):
    """Redis, which caches results of Recall. Its loss only makes the service slower."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.url) != has(self.secretRef)",
                "spec.cache: set either url or secretRef, whose key `url` holds it",
            ),
            rule(
                "!has(self.url) || self.url.matches(r'^rediss?([+](sentinel|cluster))?://[^@]+$')",
                "spec.cache.url must begin with redis://, rediss://, or these with +sentinel or +cluster, and have no "
                "password; put a URL with a password into the Secret of spec.cache.secretRef",
            ),
        )
    )

    url: Url | None = None
    """`redis://host[:port][/db]`, `redis+sentinel://host[:port],host[:port]/NAME[/db]` or
    `redis+cluster://host[:port],host[:port]`; `rediss` in place of `redis` is over TLS."""
    secret_ref: LocalObjectReference | None = None
    """A Secret whose key `url` holds the same with its user and password, as `redis://user:password@host`."""
    ttl_seconds: Annotated[int, Field(ge=1, le=86_400)] = int(_CACHE.ttl_s)
    """Maximum seconds for which a result is cached."""
    tls: Tls = Tls()
    """TLS, for a URL that begins with rediss."""


class FlagsConnection(ApiModel):
    """Feature flags in etcd; a change takes effect within a second."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"self.endpoints.all(e, {is_url('e')})",
                "spec.flags.endpoints: each must be a URL, such as https://etcd-0.etcd:2379",
            )
        )
    )

    endpoints: Annotated[tuple[Url, ...], Field(min_length=1, max_length=9)]
    """URLs of the etcd members."""
    prefix: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^/[!-~]*$")] = _FLAGS.prefix
    """Prefix of the keys."""
    secret_ref: LocalObjectReference | None = None
    """A Secret with the keys `username` and `password` of etcd. Not set: no authentication."""
    tls: Tls = Tls()
    """TLS, for endpoints that begin with https."""


class Sasl(ApiModel):
    """SASL authentication to Kafka."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = _EVENTS.sasl_mechanism
    """SASL mechanism."""
    secret_ref: LocalObjectReference
    """A Secret with the keys `username` and `password`."""


class Events(ApiModel):
    """Publishing of changes of memories to Kafka, at least once and in order."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.brokers.all(b, b.matches(r'^[^:]+:[0-9]+$'))",
                "spec.events.brokers: each must be host:port, such as kafka-0.kafka:9092",
            ),
            one_name("spec.events", "holdSeconds", "unpublishedRetentionSeconds", 604_800),
        )
    )

    FORMER_FIELDS: ClassVar[Mapping[str, str]] = {"holdSeconds": "unpublishedRetentionSeconds"}

    brokers: Annotated[
        tuple[Annotated[str, Field(min_length=3, max_length=260)], ...], Field(min_length=1, max_length=16)
    ]
    """Bootstrap addresses of Kafka, as host:port."""
    topic: Annotated[str, Field(min_length=1, max_length=249, pattern=r"^[A-Za-z0-9._-]+$")] = _EVENTS.topic
    """Topic to publish to. It must exist: it is not created automatically."""
    tls: Tls | None = None
    """TLS to Kafka. Not set: plain text."""
    sasl: Sasl | None = None
    """SASL authentication. Not set: none."""
    unpublished_retention_seconds: Annotated[int, Field(ge=0, le=365 * 86_400, json_schema_extra=without_default)] = (
        int(_EVENTS.unpublished_retention_s)
    )
    """Seconds for which unpublished changes are retained past their feed's retention. Not set: 604800, a week."""
    hold_seconds: Annotated[int | None, Field(ge=0, le=365 * 86_400)] = None
    """Deprecated: former name of `unpublishedRetentionSeconds`, until version 0.2."""
