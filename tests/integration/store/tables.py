"""The tables as the owner's role sees them, with the rows of all tenants."""

from __future__ import annotations

import psycopg

from tests.integration.conftest import Clone

TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"


def counted_exactly(database: Clone) -> None:
    """Check every stored count against the rows."""
    with psycopg.connect(database.owner_dsn) as owner:
        stored = owner.execute(
            "SELECT namespace_id, memories, text_bytes, tokens, vectors FROM usage ORDER BY 1"
        ).fetchall()
        recounted = owner.execute(
            """SELECT u.namespace_id, count(m.id), coalesce(sum(octet_length(m.text)), 0)::bigint,
                   coalesce(sum(m.length), 0)::bigint, count(v.memory)
               FROM usage u
                   LEFT JOIN memories m ON (m.tenant_id, m.namespace_id) = (u.tenant_id, u.namespace_id)
                   LEFT JOIN memory_vectors v
                       ON (v.tenant_id, v.namespace_id, v.memory) = (m.tenant_id, m.namespace_id, m.id)
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


def versions(database: Clone) -> list[tuple[int, int]]:
    """The positions of all changes in the feed."""
    with psycopg.connect(database.owner_dsn) as owner:
        return owner.execute("SELECT version, ordinal FROM changes ORDER BY 1, 2").fetchall()
