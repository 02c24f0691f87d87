"""Check if there is anything to migrate, without the libraries of migrations, which take a second to import."""

from __future__ import annotations

import psycopg

from common.config.settings import DatabaseSettings
from somabrain_service.store.postgres.driver import session
from somabrain_service.store.schema import HEAD, SELECT_SCHEMA_INFO


def current_schema(owner_dsn: str, database: DatabaseSettings) -> int | None:
    """Return the schema version if this image may serve it as it is. None: it must be migrated, or is not known.

    Errors are not reported here: the migration meets the same ones and reports the remedy.
    """
    try:
        with psycopg.connect(owner_dsn, connect_timeout=max(2, round(database.connect_timeout_s))) as connection:
            connection.execute(f"SELECT set_config('search_path', {session.SEARCH_PATH}, false)".encode())
            row = connection.execute(SELECT_SCHEMA_INFO.encode()).fetchone()
    except psycopg.Error:
        return None
    match row:
        case (int(current), int(oldest_compatible)) if current >= HEAD >= oldest_compatible:
            return current
        case _:
            return None
