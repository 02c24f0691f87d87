"""The platform's servers that the service uses where they exist: Kafka, Redis, etcd, a trace collector."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import Field, SecretStr, model_validator

from common.config.groups.base import Group, Seconds


class EventsSettings(Group):
    """Publication of changes to Kafka. Requires `worker_dsn`."""

    brokers: tuple[str, ...] = ()
    """Bootstrap servers of Kafka, each `host:port`. Empty: no events are published."""
    topic: str = "somabrain.changes"
    """Topic of the events. It must exist: it is never created automatically."""
    source: str = "/somabrain"
    """Prefix of each event's `source`. Must be unique among the SomaBrains that share a topic."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """Security protocol of the brokers, as Kafka names it."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """SASL mechanism, with `security_protocol` SASL_PLAINTEXT or SASL_SSL."""
    sasl_username: str | None = None
    """SASL user name. Required with `security_protocol` SASL_PLAINTEXT or SASL_SSL."""
    sasl_password: SecretStr | None = None
    """Password of `sasl_username`. Required with it."""
    ca_file: Path | None = None
    """PEM authorities of the brokers' certificates. None: the system's."""
    cert_file: Path | None = None
    """PEM client certificate, for brokers that require one. None: no client certificate."""
    key_file: Path | None = None
    """PEM private key of `cert_file`. Set if, and only if, `cert_file` is."""
    poll_interval_s: Annotated[float, Field(ge=0.01, le=60)] = 0.5
    """Seconds between reads of the outbox when nothing is left to publish."""
    timeout_s: Seconds = 15.0
    """Maximum seconds for Kafka to acknowledge events; after that they are published again."""
    unpublished_retention_s: Annotated[float, Field(ge=0, le=365 * 86_400)] = 7 * 86_400.0
    """Seconds past the retention of their change feed for which unpublished changes are retained while Kafka is
    unavailable. After that they are removed unpublished, which `somabrain_events_lost_total` counts and an event
    reports once Kafka is available again."""

    @model_validator(mode="after")
    def _check_complete(self) -> EventsSettings:
        for broker in self.brokers:
            host, _, port = broker.rpartition(":")
            if not host or not port.isdigit():
                raise ValueError("brokers: each must be host:port")
        if self.security_protocol.startswith("SASL") and not (self.sasl_username and self.sasl_password):
            raise ValueError("sasl_username, sasl_password: are required by this security_protocol; set both")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file, key_file: must be set together; set both or neither")
        if not self.source.startswith("/") or any(char.isspace() for char in self.source):
            raise ValueError("source: must start with / and contain no whitespace")
        return self


class CacheSettings(Group):
    """Redis, which caches rankings of Recall and vectors of queries. Without it the service is only slower."""

    url: SecretStr | None = None
    """URL: `redis://[user:password@]host[:port][/db]`,
    `redis+sentinel://[user:password@]host[:port][,host[:port]]/NAME[/db]` (the Sentinels that monitor NAME), or
    `redis+cluster://[user:password@]host[:port][,host[:port]]`; `rediss` instead of `redis` for TLS. None: no cache."""
    sentinel_username: str | None = None
    """User name at the Sentinels themselves. None: no user name is sent."""
    sentinel_password: SecretStr | None = None
    """Password of `sentinel_username`, or of the Sentinels' default user if that is not set. None: no password is
    sent."""
    ca_file: Path | None = None
    """PEM authorities of Redis' certificate. None: the system's."""
    cert_file: Path | None = None
    """PEM client certificate for Redis, with `key_file`. None: no client certificate."""
    key_file: Path | None = None
    """PEM private key of `cert_file`."""
    ttl_s: Seconds = 300.0
    """Maximum seconds that a result is cached."""
    timeout_s: Annotated[float, Field(gt=0, le=5)] = 0.05
    """Maximum seconds that a call waits for Redis before it continues without it. After three failures in a row all
    calls do, until Redis answers again."""


class FlagSettings(Group):
    """Flags, read from etcd."""

    endpoints: tuple[str, ...] = ()
    """URLs of etcd's members, such as `https://etcd-0:2379`. Empty: no etcd, and every flag has its default."""
    prefix: str = "/somabrain/flags"
    """Prefix of the keys; services with separate flags need different prefixes."""
    username: str | None = None
    """User name at etcd. None: requests are not authenticated."""
    password: SecretStr | None = None
    """Password of `username`."""
    ca_file: Path | None = None
    """PEM authorities of etcd's certificate. None: the system's."""
    cert_file: Path | None = None
    """PEM client certificate for etcd, with `key_file`. None: no client certificate."""
    key_file: Path | None = None
    """PEM private key of `cert_file`."""
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 2.0
    """Maximum seconds per request to one member."""


class QuotaSettings(Group):
    """Default quotas of a tenant, which flags override. 0: no limit."""

    requests_per_second: Annotated[float, Field(ge=0)] = 0
    """Maximum calls per second; a stream counts when it starts."""
    writes_per_second: Annotated[float, Field(ge=0)] = 0
    """Maximum creations, changes and deletions per second; each item of a batch counts."""
    memories: Annotated[int, Field(ge=0)] = 0
    """Maximum memories in all namespaces of the tenant."""
    text_bytes: Annotated[int, Field(ge=0)] = 0
    """Maximum bytes of text of these memories."""
    token_bytes: Annotated[int, Field(ge=0)] = 0
    """Maximum bytes of token vectors of these memories."""
    replicas: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Number of pods that share a tenant's calls: each enforces the rates divided by it. The operator sets it."""
    burst_s: Annotated[float, Field(ge=0.1, le=60)] = 2.0
    """Seconds of a rate that an idle tenant accumulates and may use at once."""


class TraceSettings(Group):
    """Export of traces (OpenTelemetry, service name `sb`)."""

    endpoint: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """Base URL of a collector's OTLP over HTTP, such as `http://otel-collector:4318`. None: tracing is off."""
    headers: SecretStr | None = None
    """Headers of the requests to the collector, such as its token: `name=value`, several separated by commas, values
    percent-encoded. Followed when its file changes. None: those of `OTEL_EXPORTER_OTLP_HEADERS`, which is read once."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the traces started here that are sampled; a caller's trace keeps the caller's sampling decision."""
    timeout_s: Seconds = 5.0
    """Maximum seconds for the collector to accept a batch, also at shutdown."""

    @model_validator(mode="after")
    def _check_headers(self) -> TraceSettings:
        parse_headers(self.headers)
        return self


_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2


def parse_headers(headers: SecretStr | None) -> dict[str, str]:
    """Return the headers of `trace.headers`, in the form of OpenTelemetry's variable.

    Raises:
        ValueError: they are invalid; the message repeats no part of them.
    """
    parsed: dict[str, str] = {}
    for item in headers.get_secret_value().split(",") if headers is not None else ():
        name, equals, value = item.partition("=")
        name, value = name.strip(), unquote(value.strip())
        if not equals or not _HEADER_NAME.fullmatch(name) or not (value.isascii() and value.isprintable()):
            raise ValueError("headers: must be name=value, several separated by commas, values percent-encoded")
        parsed[name] = value
    return parsed
