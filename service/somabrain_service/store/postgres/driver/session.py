"""Settings that the service needs of a PostgreSQL session, and the statements that give them to a new one.

An administrator may set defaults for a role or database that change how values are written and where names are found.
So each new session sets what this service's statements and parsers assume, in its first exchange. Not in the startup
packet's `options`: there the schemas are not known yet, and a pooler may refuse or drop them.
"""

from __future__ import annotations

from collections.abc import Mapping

from somabrain_service.store.postgres.driver.statement import Sql, sql

SHARED = (
    "A pooler in front of PostgreSQL gives a connection another session for each transaction; let it pool sessions "
    "(PgBouncer: pool_mode = session), or connect to PostgreSQL directly: correct the host of the DSN."
)

_SETTINGS = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "extra_float_digits": "1",  # fewer would round
    "array_nulls": "on",
    "row_security": "on",
    "standard_conforming_strings": "on",
    "default_transaction_isolation": "read committed",  # a statement after a lock must see what others have committed
    "lock_timeout": "0",
    # Citus hands on SET LOCAL, and so the tenant, to the nodes that have the rows; PostgreSQL alone ignores it.
    "citus.propagate_set_commands": "local",
    # A filter's matches are looked up in a hash as long as PostgreSQL estimates that it fits work_mem: a million do.
    "work_mem": "32MB",
}

KEEPALIVES = {"tcp_keepalives_idle": "30", "tcp_keepalives_interval": "10", "tcp_keepalives_count": "3"}
"""Settings with which the server probes a silent client from 30 seconds on, and drops it and its locks after a minute.
On a Unix socket they have no effect."""

SEARCH_PATH = """concat_ws(
        ', ',
        coalesce(
            (
                SELECT quote_ident(n.nspname)
                FROM pg_catalog.pg_class AS c JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
                WHERE c.relname = 'schema_info' AND c.relkind = 'r'
                AND n.nspname = ANY (current_schemas(false) || CAST('public' AS name))
                ORDER BY array_position(current_schemas(false), n.nspname)
                LIMIT 1
            ),
            concat_ws(', ', nullif(current_setting('search_path'), ''), 'public')
        ),
        (SELECT quote_ident(n.nspname)
         FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
         WHERE e.extname = 'vector')
    )"""
"""Schema of the tables, found by the role's own search path or `public`, and that of pgvector's types. Without tables:
the role's own search path, `public`, and that of the types."""

_UNUSABLE_SCHEMA = """(
    SELECT n.nspname FROM pg_catalog.pg_extension AS e JOIN pg_catalog.pg_namespace AS n ON n.oid = e.extnamespace
    WHERE e.extname = 'vector' AND NOT has_schema_privilege(n.oid, 'USAGE')
)"""

BACKEND = sql("SELECT pg_backend_pid()")
PROBE = sql("SELECT pg_backend_pid() AS backend, CURRENT_TIMESTAMP AS time, CAST('1 day' AS interval) AS duration")
"""Columns of a probe: the backend, and a time and a duration, which the parsers must understand."""


def prepare(settings: Mapping[str, str]) -> Sql:
    """Return the statement that a new session begins with; it sets these settings, too. They are not from a caller."""
    set_all = ", ".join(f"set_config('{name}', '{value}', false)" for name, value in {**_SETTINGS, **settings}.items())
    return sql(
        f"SELECT pg_backend_pid() AS backend, current_user AS role, {_UNUSABLE_SCHEMA} AS unusable_schema, {set_all}, "
        f"set_config('search_path', {SEARCH_PATH}, false)"
    )


def unusable_schema(schema: str, *roles: str) -> str:
    """Return the sentence for roles that may not use the schema of pgvector's types."""
    names = ", ".join(_identifier(role) for role in roles)
    return (
        f"The extension vector is in the schema {_identifier(schema)}, which {names} may not use; let an administrator "
        f"run: GRANT USAGE ON SCHEMA {_identifier(schema)} TO {names}."
    )


def _identifier(name: str) -> str:
    quoted = name.replace('"', '""')
    return name if name.isidentifier() and name.islower() else f'"{quoted}"'
