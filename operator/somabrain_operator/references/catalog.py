"""Catalog of the Secrets and ConfigMaps that a spec names: the used keys, their settings and the pods that read them.

Reading, mounting and change detection all use this one table.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from somabrain_operator.api.v1alpha1.mcp import Mcp
from somabrain_operator.api.v1alpha1.platform import Tls
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.names import MCP, MIGRATION, PROVISION, SERVER, env_var

User: TypeAlias = Literal["server", "migrate", "provision", "mcp"]
ADMIN_FIELD: Final = "spec.database.provision.adminSecretRef"
DATABASE_FIELD: Final = "spec.database.secretRef"
OWNER_FIELD: Final = "spec.migration.database.secretRef"
USERS: Final[tuple[User, ...]] = (SERVER, MIGRATION, MCP)
POSTGRES_DSN, WORKER_DSN, OWNER_DSN = env_var("postgres_dsn"), env_var("worker_dsn"), env_var("owner_dsn")
_SERVER_ONLY_DSNS: Final = (POSTGRES_DSN, WORKER_DSN)
_VERIFIERS: Final[tuple[User, ...]] = (SERVER, MCP)
"""Components that verify the tokens of callers."""
_OPA_DATA_SUFFIXES: Final = (".json", ".yaml", ".yml")
"""File name endings that OPA loads as data."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A Secret or ConfigMap that the spec names."""

    kind: Literal["Secret", "ConfigMap"]
    name: str
    field: str
    """Path of the spec field that names it."""
    keys: tuple[str, ...] = ()
    """Used keys; empty: all that end in `suffix` or one of `optional_suffixes`."""
    suffix: str = ""
    """Ending of which at least one key must exist."""
    optional_suffixes: tuple[str, ...] = ()
    """Endings of keys that are used too, and need not exist."""
    files: tuple[str, ...] = ()
    """Names of the settings files of the keys, in their order; empty: it is mounted elsewhere."""
    users: tuple[User, ...] = (SERVER,)
    """Components whose pods read it."""
    triggers_rollout: bool = True
    """True if pods read it only at startup, so that a change rolls them."""
    all_keys: bool = False
    """True if each key is a settings file."""
    required: bool = True
    """True if nothing is done without it. False: the step of `spec.database.provision` decides that."""
    retain_values: bool = False
    """True if the plan needs the contents themselves."""


def references_of(spec: SomaBrainSpec) -> tuple[Reference, ...]:
    """Return the Secrets and ConfigMaps that the spec names."""
    return tuple(_references(spec))


def _references(spec: SomaBrainSpec) -> Iterator[Reference]:
    provision = spec.database.provision if spec.database else None
    if provision:
        name = provision.admin_secret_ref.name
        yield Reference(
            "Secret", name, ADMIN_FIELD, users=(PROVISION,), triggers_rollout=False, required=False, retain_values=True
        )
    if spec.database and spec.database.secret_ref:
        name, files = spec.database.secret_ref.name, (POSTGRES_DSN, WORKER_DSN)
        yield Reference(
            "Secret", name, DATABASE_FIELD, ("app-dsn", "worker-dsn"), files=files, required=provision is None
        )
    if spec.migration.enabled and spec.migration.database:
        name, owner = spec.migration.database.secret_ref.name, ("owner-dsn",)
        yield Reference(
            "Secret", name, OWNER_FIELD, owner, files=(OWNER_DSN,), users=(MIGRATION,), required=provision is None
        )
    if spec.grpc.tls:
        keys = ("tls.crt", "tls.key", *(("ca.crt",) if spec.grpc.tls.client_ca else ()))
        yield Reference(
            "Secret", spec.grpc.tls.secret_ref.name, "spec.grpc.tls.secretRef", keys, triggers_rollout=False
        )
    if introspection := spec.auth.introspection:
        field, client = "spec.auth.introspection", ("auth", "introspection")
        files = (env_var(*client, "client_id"), env_var(*client, "client_secret"))
        name, keys = introspection.secret_ref.name, ("client-id", "client-secret")
        yield Reference("Secret", name, f"{field}.secretRef", keys, files=files, users=_VERIFIERS)
        if introspection.ca_secret_ref:
            name, ca = introspection.ca_secret_ref.name, ("auth-ca.crt",)
            yield Reference("Secret", name, f"{field}.caSecretRef", ("ca.crt",), files=ca, users=_VERIFIERS)
    for index, endpoint in enumerate(spec.config.encoder.endpoints):
        if endpoint.secret_ref:
            field, name = f"spec.config.encoder.endpoints[{index}].secretRef", endpoint.secret_ref.name
            yield Reference(
                "Secret", name, field, ("api-key",), files=(encoder_key(endpoint.id),), triggers_rollout=False
            )
    if cache := spec.cache:
        if cache.secret_ref:
            url = (env_var("cache", "url"),)
            yield Reference("Secret", cache.secret_ref.name, "spec.cache.secretRef", ("url",), files=url)
        yield from _tls_references("cache", cache.tls)
    if flags := spec.flags:
        if flags.secret_ref:
            yield _login_reference(
                "spec.flags.secretRef", flags.secret_ref.name, ("flags", "username"), ("flags", "password")
            )
        yield from _tls_references("flags", flags.tls)
    if events := spec.events:
        if events.sasl:
            field, name = "spec.events.sasl.secretRef", events.sasl.secret_ref.name
            yield _login_reference(field, name, ("events", "sasl_username"), ("events", "sasl_password"))
        if events.tls:
            yield from _tls_references("events", events.tls)
    if spec.opa.policy:
        name = spec.opa.policy.config_map_ref.name
        yield Reference(
            "ConfigMap", name, "spec.opa.policy.configMapRef", suffix=".rego", optional_suffixes=_OPA_DATA_SUFFIXES
        )
    if spec.vault and spec.vault.enabled and spec.vault.ca_secret_ref:
        name = spec.vault.ca_secret_ref.name
        yield Reference("Secret", name, "spec.vault.caSecretRef", ("ca.crt",), users=(SERVER, MIGRATION))
    for index, each in enumerate(spec.secret_refs):
        yield Reference("Secret", each.name, f"spec.secretRefs[{index}]", all_keys=True)
    for index, each in enumerate(spec.config_map_refs):
        users: tuple[User, ...] = (SERVER, MIGRATION, PROVISION)
        yield Reference("ConfigMap", each.name, f"spec.configMapRefs[{index}]", users=users, all_keys=True)
    if spec.mcp:
        yield from _mcp_references(spec.mcp)


def _mcp_references(mcp: Mcp) -> Iterator[Reference]:
    if exchange := mcp.exchange:
        field, client = "spec.mcp.exchange", ("mcp", "exchange")
        files = (env_var(*client, "client_id"), env_var(*client, "client_secret"))
        name, keys = exchange.secret_ref.name, ("client-id", "client-secret")
        yield Reference("Secret", name, f"{field}.secretRef", keys, files=files, users=(MCP,), triggers_rollout=False)
        if exchange.ca_secret_ref:
            name, ca = exchange.ca_secret_ref.name, ("mcp-exchange-ca.crt",)
            yield Reference(
                "Secret", name, f"{field}.caSecretRef", ("ca.crt",), files=ca, users=(MCP,), triggers_rollout=False
            )
    yield from _tls_references("mcp", mcp.tls, (MCP,))
    for index, each in enumerate(mcp.secret_refs):
        yield Reference("Secret", each.name, f"spec.mcp.secretRefs[{index}]", users=(MCP,), all_keys=True)
    for index, each in enumerate(mcp.config_map_refs):
        yield Reference("ConfigMap", each.name, f"spec.mcp.configMapRefs[{index}]", users=(MCP,), all_keys=True)


def encoder_key(encoder: str) -> str:
    """Return the name of the settings file with the API key of an encoder's endpoint."""
    return f"encoder-{encoder}-key"


def _login_reference(field: str, name: str, *settings: tuple[str, str]) -> Reference:
    return Reference("Secret", name, field, ("username", "password"), files=tuple(env_var(*each) for each in settings))


def _tls_references(group: str, tls: Tls, users: tuple[User, ...] = (SERVER,)) -> Iterator[Reference]:
    if tls.ca_secret_ref:
        field, name = f"spec.{group}.tls.caSecretRef", tls.ca_secret_ref.name
        yield Reference("Secret", name, field, ("ca.crt",), files=(f"{group}-ca.crt",), users=users)
    if tls.client_secret_ref:
        field, name = f"spec.{group}.tls.clientSecretRef", tls.client_secret_ref.name
        files = (f"{group}-tls.crt", f"{group}-tls.key")
        yield Reference("Secret", name, field, ("tls.crt", "tls.key"), files=files, users=users)


def vault_files(spec: SomaBrainSpec, user: User) -> tuple[str, ...]:
    """Return the names of the files that Vault's agent writes for a pod of `user`."""
    if spec.vault is None or not spec.vault.enabled or user in {PROVISION, MCP}:  # they have settings of their own
        return ()
    foreign = _SERVER_ONLY_DSNS if user == MIGRATION else (OWNER_DSN,)
    return tuple(each.file for each in spec.vault.secrets if each.file not in foreign)
