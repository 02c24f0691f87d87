"""The tables as the owner's role sees them, with the rows of all tenants."""

from __future__ import annotations

import psycopg

from tests.integration.conftest import Clone

TABLES = "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"


def counted_exactly(database: Clone) -> None:
    """Check every stored count against the rows."""
    with psycopg.connect(database.owner_dsn) as owner:
        stored = owner.execute(
            "SELECT namespace_id, memories, text_bytes, tokens, vectors FROM usage WHERE memories > 0 ORDER BY 1"
        ).fetchall()
        recounted = owner.execute(
            """SELECT namespace_id, count(*), sum(octet_length(text))::bigint, sum(length)::bigint, count(v.memory)
               FROM memories m LEFT JOIN memory_vectors v USING (tenant_id, namespace_id)
               WHERE v.memory IS NULL OR v.memory = m.id GROUP BY 1 ORDER BY 1"""
        ).fetchall()
        assert stored == recounted
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
