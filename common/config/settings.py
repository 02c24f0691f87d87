"""The one frozen Settings, and the only reader of the environment.

Every field can be given as `SOMABRAIN_<FIELD>`, a field of a group as `SOMABRAIN_<GROUP>__<FIELD>`.
Entry points import `settings` and pass down what a part needs; nothing below them imports it.
A variable with the prefix that names no field is an error, so a typo is never silently ignored.

Secrets need not be variables, which every process in a container can read of every other: a file in a folder that
`SOMABRAIN_SECRETS_DIR` names, called as the variable would be, holds the same setting.
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
"""The encoder in the image."""
LEXICAL = "lexical"
"""The encoder id of namespaces that keep no vectors."""
Port = Annotated[int, Field(ge=0, le=65_535)]


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class LogSettings(_Group):
    """How the process speaks."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least that is said."""
    format: Literal["json", "console"] = "json"
    """`json`: one object a line, for machines; `console`: for people."""


class TlsSettings(_Group):
    """Certificates of the gRPC server, PEM in files that are read again every second."""

    cert_file: Path | None = None
    """The server's certificate and those between it and its authority. None: plain text, for meshes that encrypt by
    themselves and for loopback."""
    key_file: Path | None = None
    """Its private key, not encrypted. Given if, and only if, `cert_file` is."""
    client_ca_file: Path | None = None
    """Authorities of clients. Given: mutual TLS, and who has no certificate of theirs is refused in the handshake."""

    @model_validator(mode="after")
    def _check_complete(self) -> TlsSettings:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file are given together or not at all; give both")
        if self.client_ca_file is not None and self.cert_file is None:
            raise ValueError("client_ca_file needs cert_file and key_file; give them")
        return self


class GrpcSettings(_Group):
    """The gRPC server."""

    host: str = "0.0.0.0"  # noqa: S104 - a pod is reached by its address; `auth.mode=none` refuses it
    """Address to listen on."""
    port: Port = 50052
    """0 picks a free port, which is logged."""
    max_connection_age_s: Seconds = 300.0
    """After this a client is asked to reconnect, so that new replicas get their share."""
    drain_s: Annotated[float, Field(ge=0, le=600)] = 20.0
    """How long calls in flight may finish once the process was asked to stop."""
    shutdown_delay_s: Annotated[float, Field(ge=0, le=60)] = 3.0
    """How long the process keeps accepting calls after it turned NOT_SERVING, so that clients leave first."""
    reflection: bool = True
    """Whether tools such as grpcurl may ask what is served."""
    tls: TlsSettings = TlsSettings()


class HttpSettings(_Group):
    """Probes and metrics."""

    host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    """Address to listen on."""
    port: Port = 8080
    """0 picks a free port, which is logged."""


class DatabaseSettings(_Group):
    """PostgreSQL."""

    app_role: str = "somabrain_app"
    """The role that serves calls; it owns nothing and sees one tenant a transaction."""
    worker_role: str = "somabrain_worker"
    """The role of background work."""
    pool_size: Annotated[int, Field(ge=1, le=100)] = 8
    """Connections a process."""
    connect_timeout_s: Seconds = 5.0
    """How long a new connection, or one of the pool, is waited for."""
    statement_timeout_s: Seconds = 10.0
    """The server ends a statement that takes longer."""
    migration_lock_timeout_s: Seconds = 300.0
    """How long a migration waits for another one that holds the lock."""


class WorkersSettings(_Group):
    """Background work, done by the processes that have `worker_dsn`."""

    shards: Annotated[int, Field(ge=1, le=64)] = 1
    """In how many parts namespaces are dealt with; each work has one process a part. More than one only when one
    process cannot keep up (`somabrain_worker_lag_seconds`); each takes a connection for each work."""
    sweep_interval_s: Seconds = 10.0
    """How long a sweep rests when nothing is left to remove: how long rows outlive their time, at most."""
    reindex_interval_s: Seconds = 2.0
    """How long re-encoding and re-analysis rest when nothing is left: how long a changed setting waits, at most."""


class IntrospectionSettings(_Group):
    """The central identity service that is asked about tokens (RFC 7662)."""

    address: Annotated[str, Field(pattern="^https?://[^/]")] = "http://auth.soma-infra.svc.cluster.local:8080"
    """Where it listens; the default is where soma-infra puts it. Tokens and our secret go there: give an address with
    https unless the network encrypts by itself."""
    path: Annotated[str, Field(pattern="^/")] = "/realms/somabrain/protocol/openid-connect/token/introspect"
    """Of the introspection endpoint; the default is Keycloak's for a realm `somabrain`."""
    client_id: str | None = None
    """The client that we ask as. Required with `auth.mode=introspection`."""
    client_secret: SecretStr | None = None
    """Its secret. Required with `auth.mode=introspection`."""
    ca_file: Path | None = None
    """PEM bundle that signs `address`'s certificate. None: the system's."""
    timeout_s: Annotated[float, Field(gt=0, le=30)] = 2.0
    """How long an answer may take; past it the caller is told UNAVAILABLE, and tries again."""


class SearchIndexSettings(_Group):
    """Namespaces held in memory, so that Recall searches arrays and not tables."""

    budget_bytes: Annotated[int, Field(ge=0, le=2**40)] = 256 * 1024 * 1024
    """What all of them may take, about; 0: none is held. A memory with a vector of 384 numbers takes 1.5 kB, so the
    default holds 170,000; with the encoder it leaves half of a pod's default limit of 1 GiB free. A namespace that does
    not fit is searched in PostgreSQL."""
    idle_timeout_s: Seconds = 3600.0
    """One that nobody asks for goes after this long."""


class EventsSettings(_Group):
    """Changes told to Kafka. Needs `worker_dsn`."""

    brokers: tuple[str, ...] = ()
    """Kafka's first addresses, each `host:port`. Empty: no events."""
    topic: str = "somabrain.changes"
    """Must be there: it is never made by use."""
    source: str = "/somabrain"
    """What each event's `source` begins with. Different for each SomaBrain that shares a topic."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """As Kafka names them."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ca_file: Path | None = None
    """PEM bundle that signs the brokers' certificates. None: the system's."""
    cert_file: Path | None = None
    """PEM, where Kafka asks for a client's certificate."""
    key_file: Path | None = None
    poll_interval_s: Annotated[float, Field(ge=0.01, le=60)] = 0.5
    """How long the relay rests when there is nothing to tell."""
    timeout_s: Seconds = 15.0
    """How long Kafka may take to keep what it was told, before the relay begins again."""
    unpublished_retention_s: Annotated[float, Field(ge=0, le=365 * 86_400)] = 7 * 86_400.0
    """How long changes past their feed's retention are kept for a Kafka that is away. After that they are removed
    untold, which `somabrain_events_lost_total` counts and an event says once Kafka is back."""

    @model_validator(mode="after")
    def _check_complete(self) -> EventsSettings:
        for broker in self.brokers:
            host, _, port = broker.rpartition(":")
            if not host or not port.isdigit():
                raise ValueError("brokers: each must be host:port")
        if self.security_protocol.startswith("SASL") and not (self.sasl_username and self.sasl_password):
            raise ValueError("sasl_username, sasl_password: are required by this security_protocol; set both")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file, key_file: belong together; set both or none")
        if not self.source.startswith("/") or any(char.isspace() for char in self.source):
            raise ValueError("source: must begin with / and hold no space")
        return self


class AuthSettings(_Group):
    """Who calls."""

    mode: Literal["jwt", "introspection", "none"] = "jwt"
    """`jwt`: signed tokens checked against the issuer's keys. `introspection`: the identity service is asked, which
    knows of tokens that were revoked. `none`: everybody is the tenant `none_tenant`; only on loopback."""
    issuer: str = "https://kubernetes.default.svc.cluster.local"
    """The `iss` that tokens must carry. The default is a cluster's own issuer."""
    audience: str = "somabrain"
    """The `aud` that tokens must carry."""
    jwks_url: str = "https://kubernetes.default.svc/openid/v1/jwks"
    """Where the issuer's public keys are read."""
    jwks_ca_file: Path | None = None
    """PEM bundle that signs `jwks_url`'s certificate. None: the system's."""
    jwks_token_file: Path | None = None
    """Bearer token for `jwks_url`, read again at each fetch because it is rotated on disk. None: none is sent."""
    tenant_claim: str = "/kubernetes.io/namespace"
    """JSON Pointer (RFC 6901) to the claim that names the tenant."""
    scope_claim: str | None = None
    """JSON Pointer to the claim that holds the scopes: a list, or a space-separated string. None: none are asked."""
    leeway_s: Annotated[float, Field(ge=0, le=300)] = 10.0
    """Clock difference that `exp` and `nbf` forgive."""
    cache_s: Annotated[float, Field(ge=0, le=60)] = 60.0
    """How long a checked token is believed without checking again, never past its `exp`."""
    refusal_cache_s: Annotated[float, Field(ge=0, le=5)] = 5.0
    """How long a refused token is refused without checking again."""
    anonymous_tenant: str = "local"
    """The tenant of every caller when `mode` is `none`."""
    introspection: IntrospectionSettings = IntrospectionSettings()


class PolicySettings(_Group):
    """What a caller may do."""

    enabled: bool = True
    """Off only with `auth.mode=none`: the embedded server on loopback."""
    url: str = "http://localhost:8181/v1/data/sb/policy"
    """The rule that decides, in OPA's data API."""
    timeout_s: Seconds = 1.0
    """How long its answer is waited for; without one the call is denied."""
    cache_s: Annotated[float, Field(ge=0, le=5)] = 5.0
    """How long a decision is kept."""


class OnnxDirectory(_Group):
    """A sentence encoder in a folder, laid out as on the Hugging Face hub."""

    id: EncoderId
    """What namespaces choose it by. Other weights are another encoder and need another id."""
    directory: Path
    """Holds model.onnx, the tokenizer and the pooling's configuration; docs/service.md lists the files."""
    pooling: Literal["mean", "cls", "max"] | None = None
    """How token vectors become one. None: as 1_Pooling/config.json says."""


class EmbeddingsEndpoint(_Group):
    """A server with OpenAI's `/v1/embeddings`."""

    id: EncoderId
    """What namespaces choose it by. Another model is another encoder and needs another id."""
    url: Annotated[str, Field(pattern=r"^https?://")]
    """The whole address, such as `https://api.openai.com/v1/embeddings`."""
    model: Annotated[str, Field(min_length=1, max_length=256)]
    """The model's name there."""
    dimensions: Annotated[int, Field(ge=1, le=4096)]
    """Length of its vectors; an answer of another length is refused."""
    api_key: SecretStr | None = None
    """Sent as a bearer token. None: `api_key_file`'s, or none."""
    api_key_file: Path | None = None
    """Holds the key, and is read again at each request because secrets are rotated on disk."""
    timeout_s: Seconds = 5.0
    """For one request."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """How often a request that may succeed next time is sent; callers wait for all of them."""
    batch: Annotated[int, Field(ge=1, le=256)] = 32
    """Texts in a request."""
    concurrency: Annotated[int, Field(ge=1, le=64)] = 4
    """Requests at the same time."""
    max_input_characters: Annotated[int, Field(ge=1, le=65_536)] = 8_000
    """Of a longer text only so many are sent, because servers refuse what is longer than their model reads."""
    breaker_failures: Annotated[int, Field(ge=1, le=1_000)] = 4
    """After so many failed requests in a row none is sent for `breaker_reset_s`."""
    breaker_reset_s: Seconds = 10.0

    @model_validator(mode="before")
    @classmethod
    def _accept_former_names(cls, values: object) -> object:
        return with_present_names(values, FORMER_ENDPOINT_KEYS) if isinstance(values, Mapping) else values


class ClientEncoder(_Group):
    """An encoder that clients run themselves: they send a vector with each text and each question."""

    id: EncoderId
    """What namespaces choose it by."""
    dimensions: Annotated[int, Field(ge=1, le=4096)]
    """Length of its vectors; others are refused."""


class EncoderSettings(_Group):
    """How text becomes a vector. Namespaces choose among all that is named here, and `lexical`."""

    kind: str = MINILM
    """The encoder of namespaces that name none: `minilm-l6-v2-int8`, the sentence encoder in the image; `lexical`, no
    vectors; or the id of one of those below."""
    minilm: bool = False
    """Whether namespaces may choose the image's sentence encoder also where `kind` is another; it takes 150 MB."""
    threads: Annotated[int, Field(ge=1, le=64)] = 1
    """Threads a text is encoded with."""
    onnx: tuple[OnnxDirectory, ...] = ()
    """As JSON: `[{"id": "bge-small", "directory": "/models/bge-small"}]`."""
    endpoints: tuple[EmbeddingsEndpoint, ...] = ()
    """As JSON: `[{"id": "nomic", "url": "http://ollama:11434/v1/embeddings", "model": "nomic-embed-text",
    "dimensions": 768}]`."""
    client: tuple[ClientEncoder, ...] = ()
    """As JSON: `[{"id": "ours", "dimensions": 1024}]`."""

    @property
    def offers_minilm(self) -> bool:
        """Whether the image's sentence encoder is loaded."""
        return self.minilm or self.kind == MINILM

    @model_validator(mode="after")
    def _check_ids(self) -> EncoderSettings:
        configured: tuple[OnnxDirectory | EmbeddingsEndpoint | ClientEncoder, ...]
        configured = (*self.onnx, *self.endpoints, *self.client)
        ids = [LEXICAL, MINILM, *(encoder.id for encoder in configured)]
        if duplicates := sorted({each for each in ids if ids.count(each) > 1}):
            raise ValueError(
                f"has the id {duplicates[0]!r} twice; name each encoder once, and none like the image's own"
            )
        if self.kind not in ids:
            raise ValueError(f"kind: must be one of {', '.join(ids)}")
        return self


class TraceSettings(_Group):
    """Where spans go (OpenTelemetry, service name `sb`)."""

    endpoint: Annotated[str, Field(pattern=r"^https?://")] | None = None
    """Base URL of a collector's OTLP over HTTP, such as `http://otel-collector:4318`. None: nothing is traced."""
    sample_ratio: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of the traces that begin here and are kept; one that begins at the caller keeps the caller's choice."""
    timeout_s: Seconds = 5.0
    """How long the collector may take to accept a batch, also at the end of the process."""


class CacheSettings(_Group):
    """Redis, which keeps results of Recall for a while. Lost, it makes the service slower and nothing else."""

    url: SecretStr | None = None
    """`redis://[user:password@]host[:port][/db]`, `redis+sentinel://[user:password@]host[:port][,host[:port]]/NAME[/db]`
    (the Sentinels that watch over NAME), or `redis+cluster://[user:password@]host[:port][,host[:port]]`; `rediss` in
    place of `redis` is over TLS. None: nothing is kept."""
    sentinel_username: str | None = None
    """Of the Sentinels themselves, where they ask for it. None: none is sent."""
    sentinel_password: SecretStr | None = None
    """Of `sentinel_username`; alone, of the Sentinels' default user."""
    ca_file: Path | None = None
    """PEM bundle that signs Redis' certificate. None: the system's."""
    cert_file: Path | None = None
    """PEM certificate to show to Redis, with `key_file`. None: none is shown."""
    key_file: Path | None = None
    """PEM key of `cert_file`."""
    ttl_s: Seconds = 300.0
    """How long a result is kept at most."""
    timeout_s: Annotated[float, Field(gt=0, le=5)] = 0.05
    """How long a call waits for Redis; after that it is answered without, and so are all until Redis answers again."""


class FlagSettings(_Group):
    """etcd, where flags are read."""

    endpoints: tuple[str, ...] = ()
    """URLs of the members, as `https://etcd-0:2379`. Empty: no etcd, and every flag has its default."""
    prefix: str = "/somabrain/flags"
    """What the keys begin with; services that are to be told apart take different ones."""
    username: str | None = None
    """Who asks, where etcd wants a password. None: nobody is named."""
    password: SecretStr | None = None
    """Of `username`."""
    ca_file: Path | None = None
    """PEM bundle that signs etcd's certificate. None: the system's."""
    cert_file: Path | None = None
    """PEM certificate to show to etcd, with `key_file`. None: none is shown."""
    key_file: Path | None = None
    """PEM key of `cert_file`."""
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 2.0
    """How long one member may take to answer."""


class QuotaSettings(_Group):
    """What a tenant may use, where no flag says otherwise. 0: no limit."""

    requests_per_second: Annotated[float, Field(ge=0)] = 0
    """Calls; a stream counts when it begins."""
    writes_per_second: Annotated[float, Field(ge=0)] = 0
    """What changes or forgets something; each item of a batch counts."""
    memories: Annotated[int, Field(ge=0)] = 0
    """Memories in all namespaces of the tenant."""
    text_bytes: Annotated[int, Field(ge=0)] = 0
    """Bytes of their text."""
    replicas: Annotated[int, Field(ge=1, le=10_000)] = 1
    """Processes that share a tenant's calls: each gives out a rate divided by it. The operator sets it."""
    burst_s: Annotated[float, Field(ge=0.1, le=60)] = 2.0
    """A tenant that was quiet may use a rate of so many seconds at once."""


class OperatorSettings(_Group):
    """The operator."""

    namespaces: tuple[str, ...] = ()
    """Namespaces to watch. Empty: all."""
    service_repository: str = "ghcr.io/somabrain/somabrain-service"
    """Image of the service when a resource names only a version."""
    service_version: str | None = None
    """Version of the service when a resource names neither image nor version. None: the operator's own."""
    opa_image: str = "docker.io/openpolicyagent/opa:1.22.2-static"
    """Image of the policy side-car, when a resource names none."""
    vault_image: str = "docker.io/hashicorp/vault:1.21.0"
    """Image of Vault's agent, when a resource names none."""
    resync_period_s: Seconds = 600.0
    """Every resource is looked at again after this long, with jitter, also when nothing happened."""
    reference_poll_interval_s: Seconds = 60.0
    """Referenced Secrets and ConfigMaps are read again after this long at most; up to 150 every 5 seconds."""
    max_concurrent_reconciles: Annotated[int, Field(ge=1, le=256)] = 16
    """Resources reconciled at the same time."""
    lease_name: str = "somabrain-operator"
    """The Lease that operators of the same resources share: only its holder writes."""
    lease_namespace: str | None = None
    """Where it is. None: the first of `namespaces`; without them, `default`."""
    lease_duration_s: Annotated[int, Field(ge=2, le=300)] = 15
    """A holder that is not heard of for so many seconds has lost it."""
    identity: str | None = None
    """Name of this operator in it, unlike any other's; the pod's. None: the host's name and a random part."""


class Settings(BaseSettings):
    """What a process was told at its start."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )

    secrets_dir: str = ""
    """Folders whose files are settings too, each called as its variable; several are separated by colons. Other files
    in them are not looked at. A setting stands in one place only."""
    postgres_dsn: SecretStr | None = None
    """libpq URL of the app role. The service needs it."""
    worker_dsn: SecretStr | None = None
    """libpq URL of the worker role. None: this process does no background work, such as removing what has expired.
    A pooler on the way must give a session, not a connection a transaction: background work holds session locks."""
    owner_dsn: SecretStr | None = None
    """libpq URL of the owner role. Only migrations need it."""
    termination_log: Path | None = Path("/dev/termination-log")
    """Where the last words of a failed migration go, for `kubectl describe`. Written only where it exists."""

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
    valid = variable_names()
    unknown = sorted(name for name in names if name.upper().startswith(PREFIX))
    unknown = [name for name in unknown if name.upper() not in valid and name.upper() not in FORMER_NAMES]
    return [
        f"{name} (did you mean {close_matches[0]}?)"
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
    """Read the environment, and the folders that it names.

    Raises:
        ConfigurationError: a value is out of its bounds, or a variable or file is unknown, given twice or cannot be
            read; says which, never its value.
    """
    sources = _sources()
    if unknown := unknown_variables(name for names in sources.values() for name in names):
        raise ConfigurationError(f"No such setting: {', '.join(unknown)}. Remove or correct it.")
    if duplicates := _duplicates(sources):
        raise ConfigurationError(f"A setting is given twice: {'; '.join(duplicates)}. Keep one.")
    try:
        return Settings(_secrets_dir=_secrets_folders())
    except ValidationError as exc:
        raise ConfigurationError(f"The settings are invalid. {' '.join(map(_describe, exc.errors()))}") from None
    except SettingsError as exc:
        # Its message names the group only. The one cause is a list that is not written as JSON.
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
    """Return a setting as it is written in the environment or in a file; empty where it is not given."""
    files = [folder / name for folder in _secrets_folders() for name in _file_names(folder) if name.upper() == variable]
    given = [value for name, value in os.environ.items() if name.upper() == variable]
    return "".join([*given, *(file.read_text() for file in files)])


def _file_names(folder: Path) -> list[str]:
    """Return the names of a folder's files."""
    try:
        return sorted(entry.name for entry in folder.iterdir() if entry.is_file())
    except OSError as exc:
        raise ConfigurationError(
            f"{PREFIX}SECRETS_DIR: {folder} cannot be read ({exc.strerror}); mount it, or correct the name."
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
    """Make `settings` on first use, so that importing this module reads nothing."""
    if name != "settings":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()["settings"] = loaded = load()
    return loaded
