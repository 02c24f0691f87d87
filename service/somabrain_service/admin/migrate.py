"""Migrate the database's schema to this image's version: `alembic upgrade head`, under a lock."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import sqlalchemy
from alembic import command
from alembic.config import Config

from common.config.settings import DatabaseSettings
from somabrain_service.admin.migrations_folder import migrations_folder
from somabrain_service.admin.owner_connection import OwnerFailed, admin_connection
from somabrain_service.store import schema
from somabrain_service.store.postgres.driver import session
from somabrain_service.store.records import SchemaState

_SELECT_EXTENSION = """
SELECT n.nspname, e.extversion, EXISTS (SELECT FROM pg_type AS t WHERE t.typnamespace = n.oid AND t.typname = 'halfvec')
FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace WHERE e.extname = 'vector'
"""
_SELECT_ROLES_WITHOUT_USAGE = """
SELECT rolname FROM pg_roles
WHERE rolname IN (CURRENT_USER, :app, :worker) AND NOT has_schema_privilege(oid, CAST(:schema AS text), 'USAGE')
ORDER BY rolname
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """Result of a migration: schema numbers before (None: empty database) and after; equal if nothing changed."""

    before: int | None
    after: int


def migrate(
    owner_dsn: str, database: DatabaseSettings, report: Callable[[str], None], *, revision: str = "head"
) -> Migration:
    """Run `alembic upgrade` under a lock; do nothing if the database is newer and compatible. Blocks.

    Args:
        owner_dsn: libpq URL of the owner role.
        database: role names and the timeout of the lock.
        report: receives progress messages, one sentence each.
        revision: target revision; one lower than the database's, or `base`, downgrades.

    Raises:
        OwnerFailed: the migration failed; the message is one sentence and never contains the DSN.
    """
    with admin_connection(owner_dsn, database, "migration", report) as connection:
        before = _schema_state(connection)
        if revision == "head" and before.current is not None and before.current >= before.head:
            if not before.compatible:
                raise OwnerFailed(
                    f"The database's schema {before.current} no longer supports images older than schema "
                    f"{before.oldest_compatible}, and this one is {before.head}; use a newer image."
                )
            report(f"The schema is {before.current}; nothing to migrate.")
            return Migration(before.current, before.current)
        report(f"Migrating the schema from {before.current or 'nothing'} to {revision}.")
        downgrade = _is_downgrade(revision, before)
        if not downgrade:
            _check_extension(connection, database)
        _run_alembic(connection, database, revision, downgrade=downgrade)
        after = _schema_state(connection).current or 0
        report(f"The schema is {after}.")
        return Migration(before.current, after)


def _schema_state(connection: sqlalchemy.Connection) -> SchemaState:
    exists = connection.exec_driver_sql("SELECT to_regclass('schema_info') IS NOT NULL").scalar_one()
    row = connection.exec_driver_sql(schema.SELECT_SCHEMA_INFO).one_or_none() if exists else None
    connection.commit()
    return SchemaState(row[0] if row else None, row[1] if row else None, schema.HEAD)


def _check_extension(connection: sqlalchemy.Connection, database: DatabaseSettings) -> None:
    """Check that pgvector has the type that the tables use, in a schema that each role may use.

    Raises:
        OwnerFailed: it has not; the message has the remedy.
    """
    row = connection.exec_driver_sql(_SELECT_EXTENSION).one_or_none()
    if row is None:
        raise OwnerFailed(
            "The database has no extension vector; let an administrator run bootstrap.sql, or in this database: "
            "CREATE EXTENSION vector."
        )
    schema_name, version, has_type = row
    result = connection.execute(
        sqlalchemy.text(_SELECT_ROLES_WITHOUT_USAGE),
        {"schema": schema_name, "app": database.app_role, "worker": database.worker_role},
    )
    if roles := [str(name) for name in result.scalars()]:
        raise OwnerFailed(session.unusable_schema(schema_name, *roles))
    if not has_type:
        raise OwnerFailed(
            f"The extension vector is {version} and has no type halfvec, which 0.7 has; let an administrator run: "
            "ALTER EXTENSION vector UPDATE."
        )
    connection.commit()


def _is_downgrade(revision: str, before: SchemaState) -> bool:
    return revision == "base" or (revision.isdigit() and int(revision) < (before.current or 0))


def _run_alembic(
    connection: sqlalchemy.Connection, database: DatabaseSettings, revision: str, *, downgrade: bool
) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes.update(connection=connection, app_role=database.app_role, worker_role=database.worker_role)
    (command.downgrade if downgrade else command.upgrade)(config, revision)
    connection.commit()
