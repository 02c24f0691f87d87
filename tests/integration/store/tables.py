"""The tables as the owner's role sees them, with the rows of all tenants."""

from __future__ import annotations

import asyncio

import psycopg
from psycopg import sql

from tests.conformance.target import Target
from tests.support.clones import Clone
from tests.support.waiting import eventually_async

TABLES = """
SELECT relname FROM pg_class
WHERE relkind IN ('r', 'p') AND relnamespace = 'public'::regnamespace AND relname <> 'somabrain_conformance'
"""


def counted_exactly(database: Clone) -> None:
    """Check every stored count against the rows."""
    with psycopg.connect(database.owner_dsn) as owner:
        stored = owner.execute(
            "SELECT namespace_id, memories, text_bytes, tokens, vectors, token_texts, token_bytes FROM usage ORDER BY 1"
        ).fetchall()
        recounted = owner.execute(
            """SELECT u.namespace_id, count(m.id), coalesce(sum(octet_length(m.text)), 0)::bigint,
                   coalesce(sum(m.length), 0)::bigint, count(v.memory), count(t.memory),
                   coalesce(sum(octet_length(t.data)), 0)::bigint
               FROM usage u
                   LEFT JOIN memories m ON (m.tenant_id, m.namespace_id) = (u.tenant_id, u.namespace_id)
                   LEFT JOIN memory_vectors v
                       ON (v.tenant_id, v.namespace_id, v.memory) = (m.tenant_id, m.namespace_id, m.id)
                   LEFT JOIN memory_token_vectors t
                       ON (t.tenant_id, t.namespace_id, t.memory) = (m.tenant_id, m.namespace_id, m.id)
               GROUP BY 1 ORDER BY 1"""
        ).fetchall()
        assert stored == recounted
        orphaned_terms = owner.execute(
            """SELECT term, memory FROM memory_terms t WHERE NOT EXISTS (
                   SELECT FROM memories m
                   WHERE (m.tenant_id, m.namespace_id, m.id) = (t.tenant_id, t.namespace_id, t.memory))"""
        ).fetchall()
        assert orphaned_terms == []
        assert (
            owner.execute("SELECT namespace_id, term, df FROM terms ORDER BY 1, 2").fetchall()
            == owner.execute(
                "SELECT namespace_id, term, count(*) FROM memory_terms GROUP BY 1, 2 ORDER BY 1, 2"
            ).fetchall()
        )


def dump(database: Clone) -> str:
    """Return every row of every table as text, as a backup would hold it."""
    with psycopg.connect(database.owner_dsn) as owner:
        tables = [row[0] for row in owner.execute(TABLES)]
        assert "memories" in tables
        return "\n".join(
            row[0]
            for table in tables
            for row in owner.execute(sql.SQL("SELECT CAST(t.* AS text) FROM {} t").format(sql.Identifier(table)))
        )


async def wait_for_lock_waiters(database: Clone, count: int) -> None:
    """Wait until `count` sessions of the database wait for a lock.

    With a user's database, a second has to do: a distributed engine has its locks on other nodes.
    """
    if isinstance(database, Target):
        await asyncio.sleep(1)
        return
    waiting = """SELECT count(DISTINCT l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
        WHERE a.datname = current_database() AND NOT l.granted"""
    async with await psycopg.AsyncConnection.connect(database.owner_dsn, autocommit=True) as owner:

        async def waiters() -> int:
            row = await (await owner.execute(waiting)).fetchone()
            return int(row[0]) if row else 0

        await eventually_async(waiters, lambda number: number >= count, f"{count} sessions wait for a lock")


def end_sessions(dsn: str) -> int:
    """End all other sessions of the DSN's role in its database; return how many there were."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        row = connection.execute(
            """SELECT count(*) FILTER (WHERE pg_terminate_backend(pid, CAST(10000 AS bigint))) FROM pg_stat_activity
            WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid()"""
        ).fetchone()
    return int(row[0]) if row else 0


def versions(database: Clone) -> list[tuple[int, int]]:
    """The positions of all changes in the feed."""
    with psycopg.connect(database.owner_dsn) as owner:
        return owner.execute("SELECT version, ordinal FROM changes ORDER BY 1, 2").fetchall()
