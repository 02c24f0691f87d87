"""The Secrets and ConfigMaps that a spec names: which keys of them are used, as which settings, and by whom.

One table, from which they are read, mounted, and told from each other when they change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from somabrain_operator.model.platform import Tls
from somabrain_operator.model.spec import SomaBrainSpec
from somabrain_operator.names import MIGRATION, SERVER, variable

User: TypeAlias = Literal["server", "migrate"]
USERS: Final[tuple[User, ...]] = (SERVER, MIGRATION)
POSTGRES, WORKER, OWNER = variable("postgres_dsn"), variable("worker_dsn"), variable("owner_dsn")
_SERVERS_ONLY: Final = (POSTGRES, WORKER)
_DATA: Final = (".json", ".yaml", ".yml")
"""What OPA loads as data."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A Secret or ConfigMap that the spec names."""

    kind: Literal["Secret", "ConfigMap"]
    name: str
    field: str
    """Where the spec names it."""
    keys: tuple[str, ...] = ()
    """The keys that are used; empty: all that end in `suffix` or as `beside` says."""
    suffix: str = ""
    """One such key must be there at least."""
    beside: tuple[str, ...] = ()
    """Endings of keys that are used as well, and need not be there."""
    files: tuple[str, ...] = ()
    """Which file among the settings each key is, in their order; empty: it is mounted elsewhere."""
    users: tuple[User, ...] = (SERVER,)
    """Which pods read it."""
    rolls: bool = True
    """Whether pods read it at their start only, so that a change rolls them."""
    whole: bool = False
    """Each key is a file among the settings."""


def references_of(spec: SomaBrainSpec) -> tuple[Reference, ...]:
    """Return what the spec names."""
    return tuple(_references(spec))


def _references(spec: SomaBrainSpec) -> Iterator[Reference]:
    if spec.database:
        name = spec.database.secret_ref.name
        yield Reference("Secret", name, "spec.database.secretRef", ("app-dsn", "worker-dsn"), files=(POSTGRES, WORKER))
    if spec.migration.enabled and spec.migration.database:
        name = spec.migration.database.secret_ref.name
        yield Reference(
            "Secret", name, "spec.migration.database.secretRef", ("owner-dsn",), files=(OWNER,), users=(MIGRATION,)
        )
    if spec.grpc.tls:
        keys = ("tls.crt", "tls.key", *(("ca.crt",) if spec.grpc.tls.client_ca else ()))
        yield Reference("Secret", spec.grpc.tls.secret_ref.name, "spec.grpc.tls.secretRef", keys, rolls=False)
    if asked := spec.auth.introspection:
        field, client = "spec.auth.introspection", ("auth", "introspection")
        files = (variable(*client, "client_id"), variable(*client, "client_secret"))
        name, keys = asked.secret_ref.name, ("client-id", "client-secret")
        yield Reference("Secret", name, f"{field}.secretRef", keys, files=files)
        if asked.ca_secret_ref:
            name = asked.ca_secret_ref.name
            yield Reference("Secret", name, f"{field}.caSecretRef", ("ca.crt",), files=("auth-ca.crt",))
    for place, endpoint in enumerate(spec.config.encoder.endpoints):
        if endpoint.secret_ref:
            field, name = f"spec.config.encoder.endpoints[{place}].secretRef", endpoint.secret_ref.name
            yield Reference("Secret", name, field, ("api-key",), files=(encoder_key(endpoint.id),), rolls=False)
    if cache := spec.cache:
        if cache.secret_ref:
            url = (variable("cache", "url"),)
            yield Reference("Secret", cache.secret_ref.name, "spec.cache.secretRef", ("url",), files=url)
        yield from _trust("cache", cache.tls)
    if flags := spec.flags:
        if flags.secret_ref:
            yield _login("spec.flags.secretRef", flags.secret_ref.name, ("flags", "username"), ("flags", "password"))
        yield from _trust("flags", flags.tls)
    if events := spec.events:
        if events.sasl:
            field, name = "spec.events.sasl.secretRef", events.sasl.secret_ref.name
            yield _login(field, name, ("events", "sasl_username"), ("events", "sasl_password"))
        if events.tls:
            yield from _trust("events", events.tls)
    if spec.opa.policy:
        name = spec.opa.policy.config_map_ref.name
        yield Reference("ConfigMap", name, "spec.opa.policy.configMapRef", suffix=".rego", beside=_DATA)
    if spec.vault and spec.vault.enabled and spec.vault.ca_secret_ref:
        name = spec.vault.ca_secret_ref.name
        yield Reference("Secret", name, "spec.vault.caSecretRef", ("ca.crt",), users=(SERVER, MIGRATION))
    for place, each in enumerate(spec.secret_refs):
        yield Reference("Secret", each.name, f"spec.secretRefs[{place}]", whole=True)
    for place, each in enumerate(spec.config_map_refs):
        users: tuple[User, ...] = (SERVER, MIGRATION)
        yield Reference("ConfigMap", each.name, f"spec.configMapRefs[{place}]", users=users, whole=True)


def encoder_key(encoder: str) -> str:
    """Return which file among the settings holds the key for an encoder's endpoint."""
    return f"encoder-{encoder}-key"


def _login(field: str, name: str, *settings: tuple[str, str]) -> Reference:
    return Reference("Secret", name, field, ("username", "password"), files=tuple(variable(*each) for each in settings))


def _trust(group: str, tls: Tls) -> Iterator[Reference]:
    if tls.ca_secret_ref:
        field, name = f"spec.{group}.tls.caSecretRef", tls.ca_secret_ref.name
        yield Reference("Secret", name, field, ("ca.crt",), files=(f"{group}-ca.crt",))
    if tls.client_secret_ref:
        field, name = f"spec.{group}.tls.clientSecretRef", tls.client_secret_ref.name
        files = (f"{group}-tls.crt", f"{group}-tls.key")
        yield Reference("Secret", name, field, ("tls.crt", "tls.key"), files=files)


def vault_files(spec: SomaBrainSpec, user: User) -> tuple[str, ...]:
    """Return the files that Vault's agent writes for a pod."""
    if spec.vault is None or not spec.vault.enabled:
        return ()
    foreign = _SERVERS_ONLY if user == MIGRATION else (OWNER,)
    return tuple(each.file for each in spec.vault.secrets if each.file not in foreign)
