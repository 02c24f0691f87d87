"""PostgreSQL that requires passwords of the roles of one database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from tests.support.clones import Clone


def set_password(database: Clone, role: str, password: str) -> None:
    """Change the role's password; its open connections stay."""
    with psycopg.connect(database.superuser_dsn, autocommit=True) as superuser:
        superuser.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(password)))


def close_connections(database: Clone, role: str) -> None:
    """Close the connections of a role, as a restart of the server does."""
    with psycopg.connect(database.superuser_dsn, autocommit=True) as superuser:
        superuser.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s AND datname = %s",
            [role, database.name],
        )


def with_password(dsn: str, password: str) -> str:
    """Return the DSN with a password."""
    return dsn.replace("@", f":{password}@", 1)


@contextmanager
def passwords_required(database: Clone, *roles: str) -> Iterator[None]:
    """Require passwords of these roles in the database."""
    with psycopg.connect(database.superuser_dsn, autocommit=True) as superuser:
        row = superuser.execute("SHOW hba_file").fetchone()
        assert row is not None
        rules = Path(row[0])
        former = rules.read_text()
        rules.write_text(f"local {database.name} {','.join(roles)} scram-sha-256\n{former}")
        superuser.execute("SELECT pg_reload_conf()")
        try:
            yield
        finally:
            rules.write_text(former)
            superuser.execute("SELECT pg_reload_conf()")
