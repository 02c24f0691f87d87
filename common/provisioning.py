"""Contract of the operator and `somabrain-service provision`: an administrator's login, and the roles of a database.

A database that is provisioned has four kinds of roles. The owner migrates and owns the tables. `app` and `worker` have
the rights of calls and of background jobs, and nobody logs in as them. Logins are members of these two and have a
number: a rotation makes the next ones while the former ones still work, because PostgreSQL has one password a role.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.errors import ConfigurationError

ADMIN_KEYS: Final = ("uri", "host", "port", "username", "password", "dbname", "sslmode")
"""Keys of the administrator's Secret that are read; others are ignored."""
PUBLIC_ADMIN_KEYS: Final = frozenset({"host", "port", "username", "dbname", "sslmode"})
"""Those that hold no secret."""
MAX_DATABASE_LENGTH: Final = 45
"""Characters of a database's name: PostgreSQL cuts off names of roles after 63, and theirs are longer."""
_MAINTENANCE_DATABASE: Final = "postgres"
_DEFAULT_PORT: Final = "5432"
_SCHEMES: Final = ("postgresql", "postgres")


@dataclass(frozen=True, slots=True)
class AdminLogin:
    """Login of an administrator: a role with CREATEROLE and CREATEDB, or a superuser."""

    hosts: str
    """Servers as in a URL, such as `pg.db.svc:5432`; empty: `parameters` name one."""
    user: str
    password: str | None = field(repr=False)
    database: str
    """Database to connect to while the other one does not exist."""
    parameters: tuple[tuple[str, str], ...] = ()
    """Parameters of libpq, such as sslmode, which apply to every role."""

    @property
    def address(self) -> str:
        """The server without anybody's login, as a part of a URL."""
        return f"{self.hosts}?{urlencode(self.parameters)}" if self.parameters else self.hosts

    def dsn(self, role: str, password: str | None, database: str) -> str:
        """Return the libpq URL of a role."""
        return role_dsn(self.address, role, password, database)


def parse_admin(values: Mapping[str, str]) -> AdminLogin:
    """Return the login that a Secret's values hold: `uri`, or else `host`, `username` and `password`.

    These are the keys of a superuser's Secret of CloudNativePG; `port`, `dbname` and `sslmode` are optional.

    Raises:
        ConfigurationError: a key is missing or invalid; the message names it and repeats no value.
    """
    given = {name: value.strip() for name, value in values.items() if value.strip()}
    if "uri" in given:
        return _parse_uri(given["uri"], given.get("password"))
    if missing := [name for name in ("host", "username", "password") if name not in given]:
        raise ConfigurationError(
            f"lacks {', '.join(missing)} or has it empty; it needs uri, or host, username and password, and may have "
            "port, dbname and sslmode"
        )
    port = given.get("port", _DEFAULT_PORT)
    if not port.isdecimal():
        raise ConfigurationError("has a port that is not a number; correct it")
    host = f"[{given['host']}]" if ":" in given["host"] else given["host"]
    sslmode = (("sslmode", given["sslmode"]),) if "sslmode" in given else ()
    database = _maintenance(given.get("dbname", ""))
    return AdminLogin(f"{host}:{port}", given["username"], given["password"], database, sslmode)


def _parse_uri(uri: str, password: str | None) -> AdminLogin:
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise ConfigurationError("has a uri that is not a URL; write postgresql://user:password@host:port/") from None
    login, at, hosts = parts.netloc.rpartition("@")
    user, _, secret = login.partition(":")
    parameters = tuple(parse_qsl(parts.query, keep_blank_values=True))
    is_complete = parts.scheme in _SCHEMES and at and user and (hosts or dict(parameters).get("host"))
    if not is_complete or not all(map(_is_host, filter(None, hosts.split(",")))):
        raise ConfigurationError(
            "has a uri that is not postgresql://user:password@host:port/database; correct it, and write %40 for @ and "
            "%2F for / in its password"
        )
    database = _maintenance(unquote(parts.path.removeprefix("/")))
    return AdminLogin(hosts, unquote(user), unquote(secret) or password, database, parameters)


def _is_host(host: str) -> bool:
    """Return whether a part of a URL is a host with or without a port."""
    _, colon, port = host.rpartition(":")
    return not colon or port.endswith("]") or port.isdecimal()


def _maintenance(name: str) -> str:
    """Return the database to connect to: CloudNativePG writes * where it means any."""
    return _MAINTENANCE_DATABASE if name in ("", "*") else name


def role_dsn(address: str, role: str, password: str | None, database: str) -> str:
    """Return the libpq URL of a role at an address."""
    hosts, _, query = address.partition("?")
    secret = f":{quote(password, safe='')}" if password else ""
    url = f"postgresql://{quote(role, safe='')}{secret}@{hosts}/{quote(database, safe='')}"
    return f"{url}?{query}" if query else url


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


Password = Annotated[str, Field(min_length=16, max_length=128, repr=False)]


class Login(_Frozen):
    """A pair of roles that log in: one serves calls, the other runs background jobs."""

    number: Annotated[int, Field(ge=1)]
    app_password: Password
    worker_password: Password


class ProvisionedDatabase(_Frozen):
    """A database with its roles, as they must be."""

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    """Mark in the comments of what was made for it; only that is changed or dropped."""
    resource: Annotated[str, Field(max_length=200)]
    """Namespace and name of the SomaBrain, for people."""
    database: Annotated[str, Field(min_length=1, max_length=MAX_DATABASE_LENGTH)]
    address: Annotated[str, Field(max_length=4096)]
    """`AdminLogin.address` of the server that it is on."""
    owner_password: Password
    logins: Annotated[tuple[Login, ...], Field(min_length=1, max_length=2)]
    """The newest last."""
    rotation: Annotated[str, Field(max_length=256)] = ""
    """Value of the annotation that requested the newest passwords."""

    @property
    def comment(self) -> str:
        """Comment on everything that was made for it."""
        return f"SomaBrain {self.resource} ({self.id})"

    @property
    def owner(self) -> str:
        """Name of the owner's role."""
        return owner_role(self.database)

    @property
    def groups(self) -> tuple[str, str]:
        """Names of the roles that have rights and do not log in: app and worker."""
        return app_role(self.database), worker_role(self.database)

    def dsns(self) -> dict[str, str]:
        """Return the connection strings by key of a SomaBrain's Secret, those of the newest login."""
        newest = self.logins[-1]
        passwords = {
            "owner": (self.owner, self.owner_password),
            "app": (login_role(app_role(self.database), newest.number), newest.app_password),
            "worker": (login_role(worker_role(self.database), newest.number), newest.worker_password),
        }
        return {
            f"{kind}-dsn": role_dsn(self.address, role, password, self.database)
            for kind, (role, password) in passwords.items()
        }


def owner_role(database: str) -> str:
    """Return the name of the role that owns a database."""
    return f"{database}_owner"


def app_role(database: str) -> str:
    """Return the name of the role with the rights of calls."""
    return f"{database}_app"


def worker_role(database: str) -> str:
    """Return the name of the role with the rights of background jobs."""
    return f"{database}_worker"


def login_role(group: str, number: int) -> str:
    """Return the name of a role that logs in with the rights of another."""
    return f"{group}_{number}"


def parse_provisioned(text: str | bytes) -> ProvisionedDatabase:
    """Return the database that JSON describes.

    Raises:
        ConfigurationError: it is invalid; the message names the fields and repeats no value.
    """
    try:
        return ProvisionedDatabase.model_validate_json(text)
    except ValidationError as exc:
        fields = ", ".join(sorted({".".join(map(str, each["loc"])) or "the document" for each in exc.errors()}))
        raise ConfigurationError(f"is invalid in {fields}") from None
