"""The shared platform that a memory service may use: a cache, flags, events. Without them it works all the same."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import ConfigDict, Field

from common.config.settings import CacheSettings, EventsSettings, FlagSettings
from somabrain_operator.model.base import ApiModel, LocalObjectReference, Url, is_url, one_name, rule, rules, without_default

_CACHE: Final = CacheSettings()
_FLAGS: Final = FlagSettings()
_EVENTS: Final = EventsSettings()


class Tls(ApiModel):
    """TLS to a server."""

    ca_secret_ref: LocalObjectReference | None = None
    """A Secret whose key `ca.crt` holds the authority of its certificate. Not set: those that the image trusts."""
    client_secret_ref: LocalObjectReference | None = None
    """A Secret with the keys `tls.crt` and `tls.key` to show, where the server asks for a client's certificate."""


class Cache(ApiModel):
    """Redis, which keeps results of Recall for a while. Lost, it makes the service slower and nothing else."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "has(self.url) != has(self.secretRef)",
                "spec.cache: give either the url or the secretRef whose key `url` holds it",
            ),
            rule(
                "!has(self.url) || self.url.matches(r'^rediss?([+](sentinel|cluster))?://[^@]+$')",
                "spec.cache.url begins with redis://, rediss://, or these with +sentinel or +cluster, and holds no "
                "password; one with a password belongs into spec.cache.secretRef",
            ),
        )
    )

    url: Url | None = None
    """`redis://host[:port][/db]`, `redis+sentinel://host[:port],host[:port]/NAME[/db]` or
    `redis+cluster://host[:port],host[:port]`; `rediss` in place of `redis` is over TLS."""
    secret_ref: LocalObjectReference | None = None
    """A Secret whose key `url` holds the same with its user and password, as `redis://user:password@host`."""
    ttl_seconds: Annotated[int, Field(ge=1, le=86_400)] = int(_CACHE.ttl_s)
    """How long a result is kept at most."""
    tls: Tls = Tls()
    """For a URL that begins with rediss."""


class Flags(ApiModel):
    """Flags in etcd, which act within a second."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                f"self.endpoints.all(e, {is_url('e')})",
                "spec.flags.endpoints: each must be a URL, such as https://etcd-0.etcd:2379",
            )
        )
    )

    endpoints: Annotated[tuple[Url, ...], Field(min_length=1, max_length=9)]
    """URLs of the members."""
    prefix: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^/[!-~]*$")] = _FLAGS.prefix
    """What the keys begin with."""
    secret_ref: LocalObjectReference | None = None
    """A Secret with the keys `username` and `password` of etcd. Not set: nobody is named."""
    tls: Tls = Tls()
    """For endpoints that begin with https."""


class Sasl(ApiModel):
    """A password for Kafka."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = _EVENTS.sasl_mechanism
    """How it is shown."""
    secret_ref: LocalObjectReference
    """A Secret with the keys `username` and `password`."""


class Events(ApiModel):
    """Changes of memories told to Kafka, at least once and in order."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                "self.brokers.all(b, b.matches(r'^[^:]+:[0-9]+$'))",
                "spec.events.brokers: each must be host:port, such as kafka-0.kafka:9092",
            ),
            one_name("spec.events", "holdSeconds", "unpublishedRetentionSeconds", 604_800),
        )
    )

    FORMER_FIELDS = {"holdSeconds": "unpublishedRetentionSeconds"}

    brokers: Annotated[
        tuple[Annotated[str, Field(min_length=3, max_length=260)], ...], Field(min_length=1, max_length=16)
    ]
    """Kafka's first addresses."""
    topic: Annotated[str, Field(min_length=1, max_length=249, pattern=r"^[A-Za-z0-9._-]+$")] = _EVENTS.topic
    """Must be there: it is never made by use."""
    tls: Tls | None = None
    """Not set: plain text."""
    sasl: Sasl | None = None
    """Not set: no password is shown."""
    unpublished_retention_seconds: Annotated[
        int, Field(ge=0, le=365 * 86_400, json_schema_extra=without_default)
    ] = int(_EVENTS.unpublished_retention_s)
    """How long changes past their feed's retention are stored while Kafka is away. Not set: 604800, a week."""
    hold_seconds: Annotated[int | None, Field(ge=0, le=365 * 86_400)] = None
    """Deprecated: the name of `unpublishedRetentionSeconds` until version 0.2."""
