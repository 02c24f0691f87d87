"""The one frozen Settings, and the only reader of the environment.

Every field is set by the variable `SOMABRAIN_<FIELD>`, a field of a group by `SOMABRAIN_<GROUP>__<FIELD>`.
Entry points import `settings` and pass down what each part needs; no other module imports it.
A variable with the prefix that names no field is an error, so a typo is never silently ignored.

Secrets need not be variables, which other processes in the container can read: a file named as the variable, in a
directory listed in `SOMABRAIN_SECRETS_DIR`, sets the same field.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NestedSecretsSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from common.config.former_names import FORMER_ENDPOINT_KEYS, FORMER_NAMES, with_present_names
from common.errors import ConfigurationError

PREFIX = "SOMABRAIN_"
DELIMITER = "__"

Seconds = Annotated[float, Field(gt=0, le=86_400)]
EncoderId = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$")]

MINILM = "minilm-l6-v2-int8"
"""Id of the sentence encoder in the image."""
LEXICAL = "lexical"
"""Encoder id of namespaces without vectors."""
Port = Annotated[int, Field(ge=0, le=65_535)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class LogSettings(_Group):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum level of logged events."""
    format: Literal["json", "console"] = "json"
    """`json`: one JSON object per line; `console`: readable text."""


class TlsSettings(_Group):
    """TLS of the gRPC server. The PEM files are read again every second, because certificates are rotated on disk."""

    cert_file: Path | None = None
    """Certificate of the server, followed by its intermediate certificates. None: plain text, for service meshes that
    encrypt, and for loopback."""
    key_file: Path | None = None
    """Private key of `cert_file`, not encrypted. Set if, and only if, `cert_file` is."""
    client_ca_file: Path | None = None
    """Authorities of client certificates. Set: mutual TLS, and clients without a certificate from them are rejected in
    the handshake. None: no client certificates are requested."""

    @model_validator(mode="after")
    def _check_complete(self) -> TlsSettings:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file must be set together; set both")
        if self.client_ca_file is not None and self.cert_file is None:
            raise ValueError("client_ca_file requires cert_file and key_file; set them")
        return self


class GrpcSettings(_Group):
    """The gRPC server."""

    host: str = "0.0.0.0"  # noqa: S104 - a pod is reached by its address; `auth.mode=none` refuses it
    """IP address or name to listen on."""
    port: Port = 50052
    """Port to listen on. 0: a free port, which is logged."""
    max_connection_age_s: Seconds = 300.0
    """Seconds after which a client must reconnect, so that new pods get their share of the calls."""
    drain_s: Annotated[float, Field(ge=0, le=600)] = 20.0
    """Maximum seconds for calls in flight to finish, at shutdown and after `max_connection_age_s`; then they are
    cancelled."""
    shutdown_delay_s: Annotated[float, Field(ge=0, le=60)] = 3.0
    """Seconds at shutdown between NOT_SERVING and closing the port. Calls are still accepted, so that clients leave
    first."""
    reflection: bool = True
    """Serve gRPC reflection, which tools such as grpcurl use."""
    tls: TlsSettings = TlsSettings()


class HttpSettings(_Group):
    """HTTP server for probes and metrics."""

    host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    """IP address or name to listen on."""
    port: Port = 8080
    """Port to listen on. 0: a free port, which is logged."""


class DatabaseSettings(_Group):
    """PostgreSQL."""

    app_role: str = "somabrain_app"
    """PostgreSQL role that serves calls; it owns nothing and sees one tenant per transaction."""
    worker_role: str = "somabrain_worker"
    """PostgreSQL role of background jobs."""
    pool_size: Annotated[int, Field(ge=1, le=100)] = 8
    """Maximum pooled connections per process."""
    connect_timeout_s: Seconds = 5.0
    """Maximum seconds to wait for a new connection, or for a free one of the pool."""
    statement_timeout_s: Seconds = 10.0
    """Maximum seconds per statement; PostgreSQL cancels a longer one."""
    migration_lock_timeout_s: Seconds = 300.0
    """Maximum seconds that a migration waits for the lock of another one."""


class WorkersSettings(_Group):
    """Background jobs, run by the processes that have `worker_dsn`."""

    shards: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of shards of the namespaces; each job runs in one process per shard. More than one only when one process
    cannot keep up (`somabrain_background_job_lag_seconds`), because every shard takes one connection per job."""
    sweep_interval_s: Seconds = 10.0
    """Seconds between runs of the expiry, trim and purge jobs when nothing is left to remove: rows outlive their
    expiry by at most this time."""
    reindex_interval_s: Seconds = 2.0
    """Seconds between runs of the reencode and reanalyze jobs when nothing is left to do: after a change of
    encoder or language, reindexing starts within this time."""


class IntrospectionSettings(_Group):
    """Token introspection at a central identity service (RFC 7662)."""

    address: Annotated[str, Field(pattern="^https?://[^/]")] = "http://auth.soma-infra.svc.cluster.local:8080"
    """Base URL of the identity service; the default is its address in soma-infra. Bearer tokens and `client_secret` are
    sent there: use https unless the network encrypts."""
    path: Annotated[str, Field(pattern="^/")] = "/realms/somabrain/protocol/openid-connect/token/introspect"
    """Path of the introspection endpoint; the default is Keycloak's for a realm `somabrain`."""
    client_id: str | None = None
    """Client id with which the service authenticates there. Required with `auth.mode=introspection`."""
    client_secret: SecretStr | None = None
    """Secret of `client_id`. Required with `auth.mode=introspection`."""
    ca_file: Path | None = None
    """PEM authorities of `address`'s certificate. None: the system's."""
    timeout_s: Annotated[float, Field(gt=0, le=30)] = 2.0
    """Maximum seconds per request; after that the call fails with UNAVAILABLE, which clients retry."""


class SearchIndexSettings(_Group):
    """Search indexes: namespaces in memory, so that Recall searches arrays instead of tables."""

    budget_bytes: Annotated[int, Field(ge=0, le=2**40)] = 256 * 1024 * 1024
    """Approximate maximum bytes of all search indexes of a process; 0: no search indexes. A memory with a vector of 384
    dimensions takes 1.5 kB, so the default is enough for 170,000; with the encoder it leaves half of a pod's default
    limit of 1 GiB free. A namespace that does not fit is searched in PostgreSQL."""
    idle_timeout_s: Seconds = 3600.0
    """Seconds without use after which a search index is evicted."""


class EventsSettings(_Group):
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


class AuthSettings(_Group):
    """Authentication of callers."""

    mode: Literal["jwt", "introspection", "none"] = "jwt"
    """`jwt`: signed tokens, verified with the issuer's keys. `introspection`: tokens verified by the identity service,
    which knows revoked ones. `none`: every caller is the tenant `anonymous_tenant`; only on loopback."""
    issuer: str = "https://kubernetes.default.svc.cluster.local"
    """Required `iss` of tokens. The default is a Kubernetes cluster's own issuer."""
    audience: str = "somabrain"
    """Required `aud` of tokens."""
    jwks_url: str = "https://kubernetes.default.svc/openid/v1/jwks"
    """URL of the issuer's public keys (JWKS)."""
    jwks_ca_file: Path | None = None
    """PEM authorities of `jwks_url`'s certificate. None: the system's."""
    jwks_token_file: Path | None = None
    """File with the bearer token for `jwks_url`, read again at each fetch because it is rotated on disk. None: no token
    is sent."""
    tenant_claim: str = "/kubernetes.io/namespace"
    """JSON Pointer (RFC 6901) to the claim that names the tenant."""
    scope_claim: str | None = None
    """JSON Pointer to the claim with the scopes: a list, or a space-separated string. None: scopes are not checked."""
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 10.0
    """Tolerated clock difference for `exp` and `nbf`, in seconds."""
    cache_s: Annotated[float, Field(ge=0, le=60)] = 60.0
    """Maximum seconds that a verified token, never past its `exp`, and the issuer's keys are cached."""
    refusal_cache_s: Annotated[float, Field(ge=0, le=5)] = 5.0
    """Seconds that the rejection of a token is cached."""
    anonymous_tenant: str = "local"
    """Tenant of every caller when `mode` is `none`."""
    introspection: IntrospectionSettings = IntrospectionSettings()


class PolicySettings(_Group):
    """Authorization of calls by a policy engine (OPA)."""

    enabled: bool = True
    """Require a decision for each call. May be false only with `auth.mode=none`: the embedded server on loopback."""
    url: str = "http://localhost:8181/v1/data/sb/policy"
    """URL of the rule that decides, in OPA's data API."""
    timeout_s: Seconds = 1.0
    """Maximum seconds to wait for a decision; without one the call is denied."""
    cache_s: Annotated[float, Field(ge=0, le=5)] = 5.0
    """Seconds that a decision is cached."""


class OnnxDirectory(_Group):
    """A sentence encoder in a directory, laid out as on the Hugging Face hub."""

    id: EncoderId
    """Encoder id, by which namespaces select it. Other weights are another encoder and need another id."""
    directory: Path
    """Directory with model.onnx, the tokenizer and the pooling configuration; docs/service.md lists the files."""
    pooling: Literal["mean", "cls", "max"] | None = None
    """Pooling of token vectors into one. None: as configured in 1_Pooling/config.json."""


class EmbeddingsEndpoint(_Group):
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


class ClientEncoder(_Group):
    """An encoder that clients run themselves: they send a vector with each text and each query."""

    id: EncoderId
    """Encoder id, by which namespaces select it."""
    dimensions: Annotated[int, Field(ge=1, le=4096)]
    """Length of its vectors; others are rejected."""


class EncoderSettings(_Group):
    """Encoders, which turn text into vectors. Namespaces select one of those configured here, or `lexical`."""

    kind: str = MINILM
    """Default encoder of namespaces: `minilm-l6-v2-int8`, the sentence encoder in the image; `lexical`, no vectors; or
    the id of one of those below."""
    minilm: bool = False
    """Load the image's sentence encoder for namespaces to select, even if `kind` is another; it takes 150 MB."""
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of threads that encode a text."""
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


class TraceSettings(_Group):
    """Export of traces (OpenTelemetry, service name `sb`)."""

    endpoint: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """Base URL of a collector's OTLP over HTTP, such as `http://otel-collector:4318`. None: tracing is off."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the traces started here that are sampled; a caller's trace keeps the caller's sampling decision."""
    timeout_s: Seconds = 5.0
    """Maximum seconds for the collector to accept a batch, also at shutdown."""


class CacheSettings(_Group):
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


class FlagSettings(_Group):
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


class QuotaSettings(_Group):
    """Default quotas of a tenant, which flags override. 0: no limit."""

    requests_per_second: Annotated[float, Field(ge=0)] = 0
    """Maximum calls per second; a stream counts when it starts."""
    writes_per_second: Annotated[float, Field(ge=0)] = 0
    """Maximum creations, changes and deletions per second; each item of a batch counts."""
    memories: Annotated[int, Field(ge=0)] = 0
    """Maximum memories in all namespaces of the tenant."""
    text_bytes: Annotated[int, Field(ge=0)] = 0
    """Maximum bytes of text of these memories."""
    replicas: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Number of pods that share a tenant's calls: each enforces the rates divided by it. The operator sets it."""
    burst_s: Annotated[float, Field(ge=0.1, le=60)] = 2.0
    """Seconds of a rate that an idle tenant accumulates and may use at once."""


class OperatorSettings(_Group):
    """The operator."""

    namespaces: tuple[str, ...] = ()
    """Kubernetes namespaces to watch. Empty: all."""
    service_repository: str = "ghcr.io/somabrain/somabrain-service"
    """Image repository of the service, for resources that set only a version."""
    service_version: str | None = None
    """Version of the service, for resources that set neither image nor version. None: the operator's own."""
    opa_image: str = "docker.io/openpolicyagent/opa:1.22.2-static"
    """Image of the policy sidecar, for resources that do not set it."""
    vault_image: str = "docker.io/hashicorp/vault:1.21.0"
    """Image of Vault's agent, for resources that do not set it."""
    resync_period_s: Seconds = 600.0
    """Seconds after which every resource is reconciled again even without events, with jitter."""
    reference_poll_interval_s: Seconds = 60.0
    """Maximum seconds between reads of referenced Secrets and ConfigMaps; up to 150 of them are read every 5
    seconds."""
    max_concurrent_reconciles: Annotated[int, Field(ge=1, le=256)] = 16
    """Maximum resources reconciled concurrently."""
    lease_name: str = "somabrain-operator"
    """Name of the Lease that operators of the same resources share: only its holder writes."""
    lease_namespace: str | None = None
    """Kubernetes namespace of the Lease. None: the first of `namespaces`, or `default` if that is empty."""
    lease_duration_s: Annotated[int, Field(ge=2, le=300)] = 15
    """Seconds without renewal after which the holder has lost the Lease."""
    identity: str | None = None
    """Identity of this operator in the Lease, unique among operators: the pod's name. None: the host's name and a
    random suffix."""


class Settings(BaseSettings):
    """Settings of a process, read once at its start."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    secrets_dir: str = ""
    """Directories whose files are settings, too, each named as its variable; several are separated by colons. Other
    files in them are ignored. Each setting must be given in one place only."""
    postgres_dsn: SecretStr | None = None
    """libpq URL of the app role. Required by the service."""
    worker_dsn: SecretStr | None = None
    """libpq URL of the worker role. None: this process runs no background jobs, such as expiry. A pooler in between
    must pool sessions, not transactions, because background jobs hold session-level advisory locks."""
    owner_dsn: SecretStr | None = None
    """libpq URL of the owner role. Required by migrations only."""
    termination_log: Path | None = Path("/dev/termination-log")
    """File for the error of a failed migration, which `kubectl describe` shows. Written only if it exists; None: not
    written."""

    log: LogSettings = LogSettings()
    grpc: GrpcSettings = GrpcSettings()
    http: HttpSettings = HttpSettings()
    database: DatabaseSettings = DatabaseSettings()
    workers: WorkersSettings = WorkersSettings()
    search_index: SearchIndexSettings = SearchIndexSettings()
    events: EventsSettings = EventsSettings()
    auth: AuthSettings = AuthSettings()
    policy: PolicySettings = PolicySettings()
    encoder: EncoderSettings = EncoderSettings()
    cache: CacheSettings = CacheSettings()
    flags: FlagSettings = FlagSettings()
    quota: QuotaSettings = QuotaSettings()
    trace: TraceSettings = TraceSettings()
    operator: OperatorSettings = OperatorSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return variables and files, groups included, under present names; no file of variables is ever read."""
        files = NestedSecretsSettingsSource(file_secret_settings)
        former = {before.lower(): now.lower() for before, now in FORMER_NAMES.items()}
        for source in (env_settings, files):
            if isinstance(source, EnvSettingsSource):
                source.env_vars = with_present_names(source.env_vars, former)
        return init_settings, env_settings, files

    @model_validator(mode="after")
    def _check_policy_off_needs_auth_off(self) -> Settings:
        if not self.policy.enabled and self.auth.mode != "none":
            raise ValueError("policy.enabled: may be false only with auth.mode=none; leave it true")
        return self


def variable_names() -> list[str]:
    """Return every variable that sets a field."""
    return list(_variable_names(Settings, PREFIX))


def unknown_variables(names: Iterable[str]) -> list[str]:
    """Return the variables with our prefix that name no field, each with the nearest name that does."""
    valid = {**{name: name for name in variable_names()}, **FORMER_NAMES}
    unknown = sorted(name for name in names if name.upper().startswith(PREFIX) and name.upper() not in valid)
    return [
        f"{name} (did you mean {valid[close_matches[0]]}?)"
        if (close_matches := difflib.get_close_matches(name.upper(), valid, 1))
        else name
        for name in unknown
    ]


def _variable_names(model: type[BaseModel], prefix: str) -> Iterator[str]:
    for name, field in model.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, _Group):
            yield from _variable_names(annotation, f"{prefix}{name}{DELIMITER}")
        else:
            yield f"{prefix}{name}".upper()


def load() -> Settings:
    """Return the settings from the environment, and from the directories that `SOMABRAIN_SECRETS_DIR` lists.

    Raises:
        ConfigurationError: a value is out of its bounds, or a variable or file is unknown, given twice or cannot be
            read; the message names it, and never contains its value.
    """
    sources = _sources()
    if unknown := unknown_variables(name for names in sources.values() for name in names):
        raise ConfigurationError(f"Unknown setting: {', '.join(unknown)}. Remove or correct it.")
    if duplicates := _duplicates(sources):
        raise ConfigurationError(f"A setting is given twice: {'; '.join(duplicates)}. Keep one.")
    try:
        return Settings(_secrets_dir=_secrets_folders())
    except ValidationError as exc:
        raise ConfigurationError(f"The settings are invalid. {' '.join(map(_describe, exc.errors()))}") from None
    except SettingsError as exc:
        # Its message names the group only. The only cause is a list that is not written as JSON.
        raise ConfigurationError(f'The settings are invalid: {exc}; write lists as JSON, such as ["a", "b"].') from None
    except UnicodeDecodeError:
        raise ConfigurationError("A file in secrets_dir is not UTF-8 text; keep other files elsewhere.") from None


def former_names_in_use() -> list[tuple[str, str]]:
    """Return the settings that are given under a former name, each with its present one, for the log of the process."""
    given = {name.upper() for names in _sources().values() for name in names}
    endpoints = _value(f"{PREFIX}ENCODER{DELIMITER}ENDPOINTS")
    return [
        *((former, present) for former, present in FORMER_NAMES.items() if former in given),
        *((former, present) for former, present in FORMER_ENDPOINT_KEYS.items() if f'"{former}"' in endpoints),
    ]


def _secrets_folders() -> list[Path]:
    return [Path(path) for path in os.environ.get(f"{PREFIX}SECRETS_DIR", "").split(":") if path]


def _sources() -> dict[str, list[str]]:
    """Return the names that each source of settings has: the environment, and each folder of files."""
    return {"the environment": list(os.environ), **{str(each): _file_names(each) for each in _secrets_folders()}}


def _value(variable: str) -> str:
    """Return the raw value of a setting in the environment or in a file; empty: it is not set."""
    files = [folder / name for folder in _secrets_folders() for name in _file_names(folder) if name.upper() == variable]
    given = [value for name, value in os.environ.items() if name.upper() == variable]
    return "".join([*given, *(file.read_text() for file in files)])


def _file_names(folder: Path) -> list[str]:
    """Return the names of a directory's files."""
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError as exc:
        raise ConfigurationError(
            f"{PREFIX}SECRETS_DIR: {folder} cannot be read ({exc.strerror}); mount it, or correct the path."
        ) from None


def _duplicates(sources: Mapping[str, list[str]]) -> list[str]:
    """Return each setting that is given more than once, and where; its former name counts as its present one."""
    places: dict[str, list[str]] = {}
    for source, names in sources.items():
        for name in sorted({each.upper() for each in names if each.upper().startswith(PREFIX)}):
            present = FORMER_NAMES.get(name, name)
            former = f" by its former name {name}" if name != present else ""
            places.setdefault(present, []).append(f"in {source}{former}")
    return [f"{name} {' and '.join(each)}" for name, each in sorted(places.items()) if len(each) > 1]


def _describe(error: ErrorDetails) -> str:
    """Return what is invalid about a setting: the variable that sets it and its bound, never the value."""
    name = DELIMITER.join(str(part) for part in error["loc"]).upper()
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "must be", 1)
    return f"{PREFIX}{name}: {message}." if name else f"{message}."


settings: Settings


def __getattr__(name: str) -> Settings:
    """Load `settings` on first use, so that importing this module reads nothing."""
    if name != "settings":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["settings"] = loaded = load()
    return loaded
