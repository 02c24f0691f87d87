"""Statements that remove terms of memories that no longer exist.

Versions before 0.2 left them where a deletion met an update of the same memory: the deletion removed the memory, but
not the terms of its new text, and counted the vector of its former text. `terms.df` counts what was left.

Rows of a memory and of its terms are inserted and deleted in one transaction, so a statement that sees terms without
their memory sees orphans. They are deleted under the lock of the namespace's row: nobody else deletes orphans before it
has that lock, so no two transactions wait for each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from somabrain_service.domain.changes import ChangeType
from somabrain_service.domain.names import TenantId
from somabrain_service.store.maintenance import OrphanedTerms, Shard, TermPage, TermPosition
from somabrain_service.store.postgres.driver.arrays import numbers
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import sql
from somabrain_service.store.postgres.queries.commit import Commit, Counts, commit_changes

# In the order of the index memory_terms_memory. One row per namespace with orphans, or one for the page's end alone.
_NEXT_PAGE = sql("""
WITH page AS MATERIALIZED (
    SELECT t.tenant_id, t.namespace_id, t.memory FROM memory_terms t
    WHERE (t.tenant_id, t.namespace_id, t.memory) > (:after_tenant, :after_ns, :after_memory)
        AND t.namespace_id % :of = :number
    ORDER BY t.tenant_id, t.namespace_id, t.memory LIMIT :limit
), orphaned AS (
    SELECT p.tenant_id, p.namespace_id, array_agg(p.memory) AS memories
    FROM (SELECT DISTINCT tenant_id, namespace_id, memory FROM page) AS p
    WHERE NOT EXISTS (
        SELECT FROM memories m
        WHERE m.tenant_id = p.tenant_id AND m.namespace_id = p.namespace_id AND m.id = p.memory
    )
    GROUP BY p.tenant_id, p.namespace_id
), last AS (
    SELECT tenant_id, namespace_id, memory FROM page ORDER BY tenant_id DESC, namespace_id DESC, memory DESC LIMIT 1
)
SELECT last.tenant_id AS last_tenant, last.namespace_id AS last_ns, last.memory AS last_memory, orphaned.*
FROM last LEFT JOIN orphaned ON true ORDER BY orphaned.tenant_id, orphaned.namespace_id
""")

_LOCK_NAMESPACE = sql("SELECT n.id FROM namespaces n WHERE n.tenant_id = :tenant AND n.id = :ns FOR NO KEY UPDATE")

_DELETE = sql("""
WITH deleted AS (
    DELETE FROM memory_terms t
    WHERE t.tenant_id = :tenant AND t.namespace_id = :ns AND t.memory = ANY(CAST(:ids AS bigint[])) AND NOT EXISTS (
        SELECT FROM memories m WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = t.memory
    )
    RETURNING t.memory, t.term
), counted AS (
    SELECT term, count(*) AS df FROM deleted GROUP BY term
)
SELECT ARRAY(SELECT DISTINCT memory FROM deleted ORDER BY memory) AS ids,
    ARRAY(SELECT term FROM counted ORDER BY term) AS terms, ARRAY(SELECT df FROM counted ORDER BY term) AS dfs,
    (SELECT count(*) FROM memory_vectors v WHERE v.tenant_id = :tenant AND v.namespace_id = :ns) - u.vectors AS vectors
FROM usage u WHERE u.tenant_id = :tenant AND u.namespace_id = :ns
""")

_START = TermPosition(TenantId(UUID(int=0)), -1, -1)


async def next_page(connection: Connection, shard: Shard, after: TermPosition | None, limit: int) -> TermPage | None:
    """Read at most `limit` terms of the shard's memories, from the first `after` on; None: there are no more."""
    start = after or _START
    values = {
        "after_tenant": start.tenant,
        "after_ns": start.ns,
        "after_memory": start.memory,
        "number": shard.number,
        "of": shard.count,
        "limit": limit,
    }
    found = (await connection.execute(_NEXT_PAGE, values)).all()
    if not found:
        return None
    end = TermPosition(found[0].last_tenant, found[0].last_ns, found[0].last_memory)
    orphaned = [row for row in found if row.memories is not None]
    return TermPage(end, tuple(OrphanedTerms(row.tenant_id, row.namespace_id, tuple(row.memories)) for row in orphaned))


async def remove(connection: Connection, orphans: OrphanedTerms, now: datetime) -> int:
    """Delete these terms where their memory does not exist, and correct the namespace's counts."""
    namespace_key = {"ns": orphans.ns}
    if (await connection.execute(_LOCK_NAMESPACE, namespace_key)).one_or_none() is None:
        return 0  # it was deleted meanwhile, with all its terms
    row = (await connection.execute(_DELETE, {**namespace_key, "ids": numbers(orphans.memories)})).one()
    ids: Sequence[int] = row.ids
    if not ids:
        return 0
    # In the feed for search indexes and cached rankings, as after reindexing; clients do not see it.
    df = dict(zip(row.terms, row.dfs, strict=True))
    counts = Counts(vectors=row.vectors, terms={term: -count for term, count in df.items()})
    commit = Commit(ChangeType.REINDEXED, [(memory, 0) for memory in ids], counts)
    await commit_changes(connection, orphans.ns, commit, now)
    return len(ids)
