"""The database that a user names: what it is, whether it may be used, and the state between tests.

Until `prepare` nothing is written: every look at the database is in a read-only transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from common.config.settings import DatabaseSettings
from somabrain_service.admin.migrate import migrate
from somabrain_service.store.postgres.driver.dsn import validate_dsn

MARK = "somabrain_conformance"
"""Table that marks a database as this command's own: what is in it was made by it."""
OLDEST_POSTGRESQL = 16
OLDEST_PGVECTOR = (0, 7)
TENANT_TABLES = (
    "relayed",
    "idempotency_keys",
    "changes",
    "memory_terms",
    "terms",
    "memory_labels",
    "memory_token_vectors",
    "memory_vectors",
    "memory_revisions",
    "memories",
    "usage",
    "namespaces",
)
OWN_TABLES = {MARK, "schema_info", "alembic_version", *TENANT_TABLES}

_TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e')
ORDER BY 1, 2
"""
_ROLE = """
SELECT current_user, current_database(), rolsuper, rolbypassrls, pg_postmaster_start_time(),
    has_schema_privilege('public', 'USAGE'), has_schema_privilege('public', 'CREATE')
FROM pg_roles WHERE rolname = current_user
"""
_VERSIONS = """
SELECT current_setting('server_version_num')::integer / 10000, current_setting('server_version'),
    (SELECT extversion FROM pg_extension WHERE extname = 'vector')
"""


class Refused(Exception):
    """The database may not be used: `problems` are sentences with the remedy."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__(" ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Role:
    """A role as its DSN reaches it."""

    dsn: str
    name: str
    database: str
    is_superuser: bool
    bypasses_row_security: bool
    server: str
    may_use_public: bool
    may_create: bool


@dataclass(frozen=True, slots=True)
class Target:
    """A database of a user, with the interface of the tests' own databases."""

    owner_dsn: str
    app_dsn: str
    worker_dsn: str
    name: str
    settings: DatabaseSettings
    version: str
    """PostgreSQL and pgvector, for a person."""

    @property
    def superuser_dsn(self) -> NoReturn:
        raise NotImplementedError("this test needs a server of its own: mark it own_server")

    @property
    def server(self) -> NoReturn:
        raise NotImplementedError("this test needs a server of its own: mark it own_server")

    def prepare(self, after_migration: Path | None = None) -> None:
        """Mark the database as this command's own, migrate it, and run the SQL in the file as the owner.

        What an interrupted run left is taken away first.
        """
        with psycopg.connect(self.owner_dsn) as owner:
            interrupted = owner.execute("SELECT to_regclass(%s) IS NOT NULL", [MARK]).fetchone() == (True,)
        if interrupted:
            self.remove()
        with psycopg.connect(self.owner_dsn) as owner:
            owner.execute(sql.SQL("CREATE TABLE {} ()").format(sql.Identifier(MARK)))
        migrate(self.owner_dsn, self.settings, lambda _: None)
        if after_migration is not None:
            with psycopg.connect(self.owner_dsn, autocommit=True) as owner:
                owner.execute(after_migration.read_bytes())

    def empty(self) -> None:
        """Delete the rows of all tenants, between two tests."""
        with psycopg.connect(self.owner_dsn) as owner:
            for table in TENANT_TABLES:
                owner.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))

    def remove(self) -> None:
        """Take away what was made, the mark last."""
        migrate(self.owner_dsn, self.settings, lambda _: None, revision="base")
        with psycopg.connect(self.owner_dsn) as owner:
            for table in ("alembic_version", MARK):
                owner.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(table)))


def inspect(owner_dsn: str, app_dsn: str, worker_dsn: str) -> Target:
    """Look at the database of three DSNs, without writing.

    Raises:
        Refused: it may not be used.
    """
    named = {"OWNER_DSN": owner_dsn, "APP_DSN": app_dsn, "WORKER_DSN": worker_dsn}
    if missing := [name for name, dsn in named.items() if not dsn]:
        raise Refused([f"{' and '.join(missing)} not set; give the DSN of each of the three roles of bootstrap.sql."])
    if wrong := [f"{name} {problem}." for name, dsn in named.items() if (problem := validate_dsn(dsn))]:
        raise Refused(wrong)
    roles = {name: _role(name, dsn) for name, dsn in named.items()}
    owner, app, worker = roles.values()
    with _reading("OWNER_DSN", owner_dsn) as connection:
        number, version, pgvector = connection.execute(_VERSIONS).fetchone() or (0, "", None)
        tables = [(str(schema), str(name)) for schema, name in connection.execute(_TABLES)]
    problems = [
        *_role_problems(roles),
        *version_problems(number, version, pgvector),
        *_table_problems(owner.database, tables),
    ]
    if problems:
        raise Refused(problems)
    settings = DatabaseSettings(app_role=app.name, worker_role=worker.name)
    return Target(
        owner_dsn, app_dsn, worker_dsn, owner.database, settings, f"PostgreSQL {version} with pgvector {pgvector}"
    )


def _role_problems(roles: dict[str, Role]) -> Iterator[str]:
    for variable, role in roles.items():
        excess = [
            word for word, has in (("a superuser", role.is_superuser), ("BYPASSRLS", role.bypasses_row_security)) if has
        ]
        if excess:
            yield (
                f"{variable}: the role {role.name} is or has {' and '.join(excess)}, so row security would not hold; "
                "give a role that bootstrap.sql made."
            )
        elif not role.may_use_public:
            yield f"{variable}: the role {role.name} may not use the schema public; run bootstrap.sql."
    owner = roles["OWNER_DSN"]
    if not owner.may_create:
        yield f"OWNER_DSN: the role {owner.name} may not create tables in the schema public; run bootstrap.sql."
    for variable, role in list(roles.items())[1:]:
        if (role.database, role.server) != (owner.database, owner.server):
            yield (
                f"{variable} leads to the database {role.database} and OWNER_DSN to {owner.database}, or to another "
                "server; give three DSNs of one database."
            )
    names = [role.name for role in roles.values()]
    if len(set(names)) < len(names):
        yield f"The three DSNs have the roles {', '.join(names)}; give three different roles."


def version_problems(number: int, version: str, pgvector: str | None) -> Iterator[str]:
    """Yield a sentence for each of server (major number and version) and extension (None: missing) that is too old."""
    if number < OLDEST_POSTGRESQL:
        yield f"The server is PostgreSQL {version}; {OLDEST_POSTGRESQL} is the oldest that is tested."
    if pgvector is None:
        yield "The database has no extension vector; let an administrator run in it: CREATE EXTENSION vector."
    elif tuple(int(part) for part in pgvector.split(".")[:2]) < OLDEST_PGVECTOR:
        yield f"The extension vector is {pgvector}; 0.7 is needed: ALTER EXTENSION vector UPDATE."


def _table_problems(database: str, tables: Sequence[tuple[str, str]]) -> Iterator[str]:
    names = {name for _, name in tables}
    if not names or (MARK in names and names <= OWN_TABLES):  # the latter is what an interrupted run left
        return
    some = ", ".join(f"{schema}.{name}" for schema, name in tables[:3])
    yield (
        f"The database {database} has {len(tables)} table{'s' if len(tables) > 1 else ''} ({some}"
        f"{', …' if len(tables) > 3 else ''}); these tests empty their database, so give an empty one."
    )


def _role(variable: str, dsn: str) -> Role:
    with _reading(variable, dsn) as connection:
        row: Any = connection.execute(_ROLE).fetchone()
    name, database, is_superuser, bypasses, started, may_use, may_create = row
    return Role(dsn, name, database, is_superuser, bypasses, str(started), may_use, may_create)


@contextmanager
def _reading(variable: str, dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """Connect, for a read-only transaction."""
    try:
        with psycopg.connect(dsn, connect_timeout=10, options="-c default_transaction_read_only=on") as connection:
            yield connection
    except psycopg.OperationalError as exc:
        where = conninfo_to_dict(dsn)
        place = f"{where.get('dbname', 'a database')} at {where.get('host', 'the default host')}"
        reason = str(exc).strip().splitlines()[-1].rpartition("FATAL: ")[2].strip()
        raise Refused([f"{variable}: cannot connect to {place} ({reason})."]) from None
