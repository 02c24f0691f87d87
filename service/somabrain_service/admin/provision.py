"""Make a database with its roles as an administrator, keep them as they must be, and drop them.

What it makes has a comment with the id of the SomaBrain's Secret. Whatever lies under one of the names without that
comment is refused before anything is written, and never dropped. Each step may be repeated and interrupted at any
point. Passwords are sent as SCRAM verifiers, so that no statement and no log of the server contains one.

A role with CREATEROLE and CREATEDB suffices; it becomes a member of the owner, for whom it makes the database.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, LiteralString

import psycopg
from psycopg import sql

from common.config.settings import DatabaseSettings
from common.errors import SomaBrainError
from common.provisioning import AdminLogin, ProvisionedDatabase, app_role, login_role, worker_role
from somabrain_service.admin.owner_connection import LOCK_POLL_INTERVAL_S, unreachable_reason
from somabrain_service.store.postgres.driver import locks, session

_EXTENSION_REMEDY: Final = (
    "let a superuser, or whom your provider lets create extensions, run in the database {}: CREATE EXTENSION vector; "
    "pgvector 0.7 or newer must be installed on the server"
)
_RIGHTS_REMEDY: Final = (
    "the administrator's role needs CREATEROLE and CREATEDB, and ADMIN OPTION on roles that another administrator made"
)
_SELECT_ROLE: Final = """
SELECT shobj_description(oid, 'pg_authid'),
    concat(CASE WHEN rolsuper THEN ' SUPERUSER' END, CASE WHEN rolcreatedb THEN ' CREATEDB' END,
        CASE WHEN rolcreaterole THEN ' CREATEROLE' END, CASE WHEN rolbypassrls THEN ' BYPASSRLS' END,
        CASE WHEN rolreplication THEN ' REPLICATION' END)
FROM pg_roles WHERE rolname = %s
"""
_SELECT_DATABASE: Final = """
SELECT shobj_description(oid, 'pg_database'), pg_get_userbyid(datdba) FROM pg_database WHERE datname = %s
"""
_SELECT_MARKED_ROLES: Final = """
SELECT rolname FROM pg_roles WHERE shobj_description(oid, 'pg_authid') = %s ORDER BY length(rolname) DESC, rolname
"""
_SELECT_IS_SUPERUSER: Final = "SELECT rolsuper FROM pg_roles WHERE rolname = current_user"

Connection = psycopg.Connection[Any]
Report = Callable[[str], None]


class ProvisionFailed(SomaBrainError):
    """The database could not be made or dropped; the message is one sentence without secrets."""

    reason = "PROVISION_FAILED"


def provision(admin: AdminLogin, desired: ProvisionedDatabase, database: DatabaseSettings, report: Report) -> None:
    """Make the database with its roles, or correct what differs; logins that are no longer named are dropped. Blocks.

    Args:
        admin: the administrator.
        desired: the database and its roles.
        database: timeouts of the connection and of the lock.
        report: receives progress messages, one sentence each.

    Raises:
        ProvisionFailed: PostgreSQL cannot be reached or refused a step, or something else has one of the names.
    """
    with _connected(admin, admin.database, database) as connection, _locked(connection, desired, database, report):
        _refuse_foreign(connection, desired)
        _make_roles(connection, desired)
        _make_database(connection, desired, report)
        with _connected(admin, desired.database, database) as inside, _transaction(inside):
            _make_extension(inside, desired)
            _grant_schema(inside, desired)
        for role in _marked_roles(connection, desired):
            if role not in _role_names(desired):
                _execute(connection, "DROP ROLE {}", role)
                report(f"Role {role}, which no login needs any more, is dropped.")
    report(f"Database {desired.database} is as it must be, with login {desired.logins[-1].number}.")


def drop(admin: AdminLogin, desired: ProvisionedDatabase, database: DatabaseSettings, report: Report) -> None:
    """Drop the database and the roles that were made for it, and nothing else. Blocks.

    Raises:
        ProvisionFailed: PostgreSQL cannot be reached or refused a step.
    """
    with _connected(admin, admin.database, database) as connection, _locked(connection, desired, database, report):
        marked = _marked_roles(connection, desired)
        row = connection.execute(_SELECT_DATABASE, [desired.database]).fetchone()
        if row is not None and _is_ours(row[0], row[1], desired):
            for role in marked:
                _execute(connection, "ALTER ROLE {} NOLOGIN", role)  # those that are thrown out must not return
                _join(connection, role)
            _execute(connection, "DROP DATABASE IF EXISTS {} WITH (FORCE)", desired.database)
            report(f"Database {desired.database} is dropped.")
        else:
            report(f"There is no database {desired.database} that was made for this SomaBrain; nothing to drop.")
        for role in marked:
            _execute(connection, "DROP ROLE IF EXISTS {}", role)
            report(f"Role {role} is dropped.")


def _role_names(desired: ProvisionedDatabase) -> dict[str, str | None]:
    """Return the roles by name, with their passwords; None: the role cannot log in."""
    roles: dict[str, str | None] = {desired.owner: desired.owner_password, **dict.fromkeys(desired.groups)}
    for login in desired.logins:
        roles[login_role(app_role(desired.database), login.number)] = login.app_password
        roles[login_role(worker_role(desired.database), login.number)] = login.worker_password
    return roles


def _refuse_foreign(connection: Connection, desired: ProvisionedDatabase) -> None:
    """Refuse names that something else has, before anything is written."""
    row = connection.execute(_SELECT_DATABASE, [desired.database]).fetchone()
    if row is not None and not _is_ours(row[0], row[1], desired):
        raise ProvisionFailed(
            f'The database "{desired.database}" exists, belongs to the role "{row[1]}" and was not made for this '
            "SomaBrain; name another one in spec.database.provision.database, or use this one by "
            "spec.database.secretRef. If it was made for this SomaBrain, whose Secret is lost: restore the Secret."
        )
    for role in _role_names(desired):
        row = connection.execute(_SELECT_ROLE, [role]).fetchone()
        if row is None:
            continue
        if row[0] != desired.comment:
            raise ProvisionFailed(
                f'The role "{role}" exists and was not made for this SomaBrain; name another database in '
                "spec.database.provision.database, or let an administrator drop or rename the role."
            )
        if row[1]:
            undo = row[1].replace(" ", " NO")
            raise ProvisionFailed(
                f'The role "{role}" has{row[1]}, which it must not have; let a superuser run: '
                f'ALTER ROLE "{role}"{undo}.'
            )


def _is_ours(comment: str | None, owner: str, desired: ProvisionedDatabase) -> bool:
    """Return whether a database was made for this SomaBrain. One whose making was interrupted has no comment yet."""
    return comment == desired.comment or (comment is None and owner == desired.owner)


def _make_roles(connection: Connection, desired: ProvisionedDatabase) -> None:
    with _transaction(connection):
        for role, password in _role_names(desired).items():
            if connection.execute(_SELECT_ROLE, [role]).fetchone() is None:
                _execute(connection, "CREATE ROLE {}", role)
                _execute(connection, "COMMENT ON ROLE {} IS {}", role, sql.Literal(desired.comment))
            if password is None:
                _execute(connection, "ALTER ROLE {} NOLOGIN PASSWORD NULL", role)
            else:
                verifier = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
                _execute(connection, "ALTER ROLE {} LOGIN PASSWORD {}", role, sql.Literal(verifier.decode()))
        for login in desired.logins:
            for group in desired.groups:
                _execute(connection, "GRANT {} TO {}", group, sql.Identifier(login_role(group, login.number)))
        _join(connection, desired.owner)


def _join(connection: Connection, role: str) -> None:
    """Become a member of a role, to act for it; a superuser acts for any without that."""
    row = connection.execute(_SELECT_IS_SUPERUSER).fetchone()
    if row is None or not row[0]:
        _execute(connection, "GRANT {} TO CURRENT_USER", role)


def _make_database(connection: Connection, desired: ProvisionedDatabase, report: Report) -> None:
    name, owner = desired.database, sql.Identifier(desired.owner)
    row = connection.execute(_SELECT_DATABASE, [name]).fetchone()
    if row is None:
        statement: LiteralString = "CREATE DATABASE {} OWNER {} ENCODING 'UTF8' LOCALE 'C' TEMPLATE template0"
        _execute(connection, statement, name, owner)
        report(f"Database {name} is created.")
    elif row[1] != desired.owner:
        _execute(connection, "ALTER DATABASE {} OWNER TO {}", name, owner)
    if row is None or row[0] is None:
        _execute(connection, "COMMENT ON DATABASE {} IS {}", name, sql.Literal(desired.comment))
    _execute(connection, "REVOKE ALL ON DATABASE {} FROM PUBLIC", name)
    for role in (desired.owner, *desired.groups):
        _execute(connection, "GRANT CONNECT ON DATABASE {} TO {}", name, sql.Identifier(role))


def _make_extension(connection: Connection, desired: ProvisionedDatabase) -> None:
    if connection.execute("SELECT FROM pg_extension WHERE extname = 'vector'").fetchone() is not None:
        return
    try:
        connection.execute("CREATE EXTENSION vector SCHEMA public")
    except psycopg.Error as exc:
        raise _refusal(exc, _EXTENSION_REMEDY.format(desired.database)) from exc


def _grant_schema(connection: Connection, desired: ProvisionedDatabase) -> None:
    """Close the schema public to others, and open that of pgvector's types, which may be another, to these roles."""
    _execute(connection, "REVOKE ALL ON SCHEMA {} FROM PUBLIC", "public")
    _execute(connection, "GRANT USAGE, CREATE ON SCHEMA {} TO {}", "public", sql.Identifier(desired.owner))
    for role in desired.groups:
        _execute(connection, "GRANT USAGE ON SCHEMA {} TO {}", "public", sql.Identifier(role))
    row = connection.execute(
        "SELECT nspname FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace"
        " WHERE extname = 'vector' AND nspname <> 'public'"
    ).fetchone()
    if row is None:
        return
    for role in (desired.owner, *desired.groups):
        usable = connection.execute("SELECT has_schema_privilege(%s, %s, 'USAGE')", [role, row[0]]).fetchone()
        if usable is not None and not usable[0]:
            _execute(connection, "GRANT USAGE ON SCHEMA {} TO {}", row[0], sql.Identifier(role))


def _marked_roles(connection: Connection, desired: ProvisionedDatabase) -> list[str]:
    """Return the roles that were made for it, those that are members of others first."""
    return [str(row[0]) for row in connection.execute(_SELECT_MARKED_ROLES, [desired.comment]).fetchall()]


def _execute(connection: Connection, statement: LiteralString, name: str, *arguments: sql.Composable) -> None:
    """Execute a statement about an object of this name.

    Raises:
        ProvisionFailed: PostgreSQL refused it.
    """
    try:
        connection.execute(sql.SQL(statement).format(sql.Identifier(name), *arguments))
    except psycopg.Error as exc:
        remedy = _RIGHTS_REMEDY if isinstance(exc, psycopg.errors.InsufficientPrivilege) else ""
        raise _refusal(exc, remedy) from exc


def _refusal(error: psycopg.Error, remedy: str = "") -> ProvisionFailed:
    """Return the error with PostgreSQL's own sentence; its detail may repeat values, so it is left out."""
    sentence = (error.diag.message_primary or type(error).__name__).rstrip(".")
    return ProvisionFailed(f"PostgreSQL refused: {sentence}{'; ' if remedy else ''}{remedy}.")


@contextmanager
def _transaction(connection: Connection) -> Iterator[None]:
    """Commit all statements of the block or none."""
    try:
        with connection.transaction():
            yield
    except psycopg.Error as exc:
        raise _refusal(exc) from exc


@contextmanager
def _connected(admin: AdminLogin, name: str, database: DatabaseSettings) -> Iterator[Connection]:
    """Yield a connection of the administrator that commits each statement."""
    try:
        connection = psycopg.connect(
            admin.dsn(admin.user, admin.password, name),
            autocommit=True,
            connect_timeout=max(2, round(database.connect_timeout_s)),
            application_name="somabrain-provision",
            client_encoding="utf8",
        )
    except psycopg.OperationalError as exc:
        raise ProvisionFailed(f"PostgreSQL cannot be reached as the administrator: {unreachable_reason(exc)}.") from exc
    with connection:
        try:
            for setting, value in {"search_path": "public", **session.KEEPALIVES}.items():
                connection.execute("SELECT set_config(%s, %s, false)", [setting, value])
            yield connection
        except psycopg.Error as exc:
            raise _refusal(exc) from exc


@contextmanager
def _locked(
    connection: Connection, desired: ProvisionedDatabase, database: DatabaseSettings, report: Report
) -> Iterator[None]:
    """Keep others from making or dropping the same database meanwhile. The lock ends with the session."""
    keys = [locks.PROVISION, locks.database_key(desired.database)]
    deadline, reported = time.monotonic() + database.migration_lock_timeout_s, False
    while connection.execute("SELECT pg_try_advisory_lock(%s::int, %s::int)", keys).fetchone() != (True,):
        if time.monotonic() >= deadline:
            raise ProvisionFailed(
                f"Another process has held the lock of the database {desired.database} for "
                f"{database.migration_lock_timeout_s:g} seconds; check what it is doing."
            )
        if not reported:
            report("Another process makes or drops the database; waiting for it.")
            reported = True
        time.sleep(LOCK_POLL_INTERVAL_S)
    yield
