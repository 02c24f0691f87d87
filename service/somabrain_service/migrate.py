"""Bring the database's schema to this image's version: `alembic upgrade head`, once, whoever else tries.

The lock is polled: waiting inside `pg_advisory_lock` holds a snapshot, on which CREATE INDEX CONCURRENTLY waits,
which is a deadlock. Nothing here ever says the DSN.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import sqlalchemy
from alembic import command
from alembic.config import Config

from common.config.settings import DatabaseSettings
from common.errors import SomaBrainError
from somabrain_service.store import schema
from somabrain_service.store.postgres.dsn import fault_of
from somabrain_service.store.protocols import SchemaState

LOCK = 0x50_4D_41_42  # any number that nothing else in the database locks
POLL_S = 0.5


class MigrationFailed(SomaBrainError):
    """The schema is not what this image needs; the message is one sentence without secrets."""

    reason = "MIGRATION_FAILED"


@dataclass(frozen=True, slots=True)
class Migration:
    """What was done: schema numbers before (None: an empty database) and after. Equal: nothing was to do."""

    before: int | None
    after: int


def migrations_folder() -> Path:
    """Where the migrations lie: beside this module in the wheel, at the root of a checkout.

    Raises:
        MigrationFailed: in neither.
    """
    here = Path(__file__).resolve().parent
    for folder in (here / "migrations", here.parents[1] / "migrations"):
        if (folder / "env.py").is_file():
            return folder
    raise MigrationFailed("This installation holds no migrations; install the wheel or run from a checkout.")


def migrate(
    owner_dsn: str, database: DatabaseSettings, report: Callable[[str], None], *, revision: str = "head"
) -> Migration:
    """Run `alembic upgrade` under a lock; nothing when the database is ahead and compatible. Blocks.

    Args:
        owner_dsn: libpq URL of the owner role.
        database: role names and how long another migration is waited for.
        report: told, in sentences, what is being done.
        revision: where to stop; a lower one than the database's, or `base`, downgrades.

    Raises:
        MigrationFailed: one sentence that says why, never with the DSN.
    """
    with _failures_told(), _owner(owner_dsn, database) as connection:
        _lock(connection, database.migration_lock_timeout_s, report)
        try:
            before = _state(connection)
            if revision == "head" and before.current is not None and before.current >= before.head:
                if not before.compatible:
                    raise MigrationFailed(
                        f"The database's schema {before.current} no longer serves images older than schema "
                        f"{before.oldest_compatible}, and this one is {before.head}; use a newer image."
                    )
                report(f"The schema is {before.current}; nothing is to migrate.")
                return Migration(before.current, before.current)
            report(f"Migrating the schema from {before.current or 'nothing'} to {revision}.")
            _alembic(connection, database, revision, downgrade=_downwards(revision, before))
            after = _state(connection).current or 0
            report(f"The schema is {after}.")
            return Migration(before.current, after)
        finally:
            if not connection.invalidated:
                connection.rollback()
                connection.exec_driver_sql("SELECT pg_advisory_unlock_all()")
                connection.commit()


@contextmanager
def _failures_told() -> Iterator[None]:
    """One sentence from whatever went wrong: PostgreSQL's own primary message, which never holds the DSN."""
    try:
        yield
    except sqlalchemy.exc.DBAPIError as exc:
        orig = exc.orig
        said = orig.diag.message_primary if isinstance(orig, psycopg.Error) else None
        raise MigrationFailed(f"The migration failed: {said or type(orig).__name__}.") from exc


@contextmanager
def _owner(dsn: str, database: DatabaseSettings) -> Iterator[sqlalchemy.Connection]:
    """A connection as the owner.

    libpq's complaint about a malformed DSN repeats parts of it, so such a one is never given to it.
    """
    if fault := fault_of(dsn):
        raise MigrationFailed(f"The owner's DSN {fault}; correct owner-dsn in its Secret.")
    try:
        connected = psycopg.connect(
            dsn, connect_timeout=max(2, round(database.connect_timeout_s)), application_name="somabrain-migrate"
        )
    except psycopg.OperationalError as exc:
        first = str(exc).partition("\n")[0].rpartition("failed: ")[2].removeprefix("FATAL:").strip().rstrip(".")
        raise MigrationFailed(f"PostgreSQL cannot be reached with the owner's DSN: {first}.") from exc
    engine = sqlalchemy.create_engine(
        "postgresql+psycopg://", creator=lambda: connected, poolclass=sqlalchemy.pool.NullPool
    )
    with engine.connect() as connection:
        yield connection


def _lock(connection: sqlalchemy.Connection, timeout_s: float, report: Callable[[str], None]) -> None:
    deadline = time.monotonic() + timeout_s
    said = False
    while True:
        got = connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({LOCK})").scalar_one()
        connection.commit()
        if got:
            return
        if time.monotonic() >= deadline:
            raise MigrationFailed(f"Another migration has held the lock for {timeout_s:g} seconds; see what it does.")
        if not said:
            report("Another migration is running; waiting for it.")
            said = True
        time.sleep(POLL_S)


def _state(connection: sqlalchemy.Connection) -> SchemaState:
    there = connection.exec_driver_sql("SELECT to_regclass('schema_info') IS NOT NULL").scalar_one()
    row = connection.exec_driver_sql(schema.READ).one_or_none() if there else None
    connection.commit()
    return SchemaState(row[0] if row else None, row[1] if row else None, schema.HEAD)


def _downwards(revision: str, before: SchemaState) -> bool:
    return revision == "base" or (revision.isdigit() and int(revision) < (before.current or 0))


def _alembic(connection: sqlalchemy.Connection, database: DatabaseSettings, revision: str, *, downgrade: bool) -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    config.attributes.update(connection=connection, app_role=database.app_role, worker_role=database.worker_role)
    (command.downgrade if downgrade else command.upgrade)(config, revision)
    connection.commit()
