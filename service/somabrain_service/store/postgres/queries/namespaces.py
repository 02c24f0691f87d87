"""Statements that create, measure, list and update namespaces, without changing their memories."""

from __future__ import annotations

import secrets
from dataclasses import replace
from datetime import datetime

from common.errors import AlreadyExists, NotFound
from somabrain_service.domain.changes import ChangeType
from somabrain_service.domain.etag import check_etag
from somabrain_service.domain.idempotency import RequestKey
from somabrain_service.domain.names import NamespaceName
from somabrain_service.domain.namespace import Namespace, NamespaceChange, NamespaceDraft, NamespaceStatistics
from somabrain_service.encoders.protocols import LEXICAL
from somabrain_service.store.postgres.driver.errors import Retry
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import sql
from somabrain_service.store.postgres.queries import filters, idempotency, rows
from somabrain_service.store.postgres.queries.commit import Commit, Counts, commit_changes

# Expired memories that are not deleted yet are counted in `usage` and `terms`, and subtracted here.
_MEASURE = sql(f"""
WITH n AS (
    SELECT * FROM namespaces s WHERE s.tenant_id = :tenant AND s.name = :name
), expired AS MATERIALIZED (
    SELECT m.namespace_id, m.id, {rows.STORED_BYTES} AS text_bytes FROM memories m
    WHERE m.tenant_id = :tenant AND m.expire_time <= :now
), here AS MATERIALIZED (
    SELECT e.* FROM expired e JOIN n ON n.id = e.namespace_id
), vector AS MATERIALIZED (
    SELECT v.encoder_id FROM memory_vectors v JOIN n ON n.id = v.namespace_id
    WHERE v.tenant_id = :tenant AND v.memory NOT IN (SELECT id FROM here)
), tokens AS MATERIALIZED (
    SELECT v.size_bytes FROM memory_token_vectors v
    JOIN here ON v.namespace_id = here.namespace_id AND v.memory = here.id
    WHERE v.tenant_id = :tenant
), term AS (
    SELECT x.term, count(*) AS df
    FROM memory_terms x JOIN here ON x.memory = here.id AND x.namespace_id = here.namespace_id
    WHERE x.tenant_id = :tenant GROUP BY x.term
)
SELECT {rows.NAMESPACE},
    u.memories - (SELECT count(*) FROM here) AS memories,
    u.text_bytes - (SELECT coalesce(sum(text_bytes), 0) FROM here) AS text_bytes,
    (SELECT count(*) FROM vector) AS vectors,
    (SELECT count(*) FROM vector WHERE encoder_id = n.encoder) AS encoded,
    u.token_texts - (SELECT count(*) FROM tokens) AS token_texts,
    u.token_bytes - (SELECT coalesce(sum(size_bytes), 0) FROM tokens) AS token_bytes,
    CASE WHEN n.analyzed_after IS NULL THEN 0 ELSE (
        SELECT count(*) FROM memories m
        WHERE m.tenant_id = :tenant AND m.namespace_id = n.id AND m.id > n.analyzed_after AND {filters.LIVE}
    ) END AS unanalyzed,
    (SELECT count(DISTINCT m.session) FROM memories m
        WHERE m.tenant_id = :tenant AND m.namespace_id = n.id AND m.session <> '' AND {filters.LIVE}) AS sessions,
    (SELECT count(*) FROM terms t LEFT JOIN term USING (term)
        WHERE t.tenant_id = :tenant AND t.namespace_id = n.id AND t.df > coalesce(term.df, 0)) AS terms,
    (SELECT sum(a.memories) FROM usage a WHERE a.tenant_id = :tenant) - (SELECT count(*) FROM expired)
        AS tenant_memories,
    (SELECT sum(a.text_bytes) FROM usage a WHERE a.tenant_id = :tenant)
        - (SELECT coalesce(sum(text_bytes), 0) FROM expired) AS tenant_bytes,
    (SELECT sum(a.token_bytes) FROM usage a WHERE a.tenant_id = :tenant) - (
        SELECT coalesce(sum(v.size_bytes), 0) FROM memory_token_vectors v
        JOIN expired ON v.namespace_id = expired.namespace_id AND v.memory = expired.id WHERE v.tenant_id = :tenant
    ) AS tenant_token_bytes
FROM n JOIN usage u ON u.tenant_id = :tenant AND u.namespace_id = n.id
""")

_PAGE = sql(f"""
SELECT {rows.NAMESPACE} FROM namespaces n WHERE n.tenant_id = :tenant AND n.name COLLATE "C" > :after
ORDER BY n.name COLLATE "C" LIMIT :limit
""")

_INSERT = sql(f"""
INSERT INTO namespaces AS n (tenant_id, name, display_name, analyzer, language, encoder, recency_half_life, default_ttl,
    feed_retention, content, create_time, update_time, epoch)
VALUES (:tenant, :name, :display_name, :analyzer, :language, :encoder, :recency_half_life, :default_ttl,
    :feed_retention, :content, :now, :now, :epoch)
ON CONFLICT (tenant_id, name) DO NOTHING RETURNING {rows.NAMESPACE}
""")
_INSERT_USAGE = sql("INSERT INTO usage (tenant_id, namespace_id) VALUES (:tenant, :ns)")
FIND = sql(f"SELECT {rows.NAMESPACE} FROM namespaces n WHERE n.tenant_id = :tenant AND n.name = :name")
_FIND_FOR_UPDATE = sql(f"{FIND.text} FOR UPDATE")

_UPDATE = sql(f"""
UPDATE namespaces n SET display_name = :display_name, recency_half_life = :recency_half_life,
    default_ttl = :default_ttl, feed_retention = :feed_retention, language = :language, analyzer = :analyzer,
    encoder = :encoder, content = :content, revision = revision + 1, update_time = :now,
    analyzed_after = CASE WHEN analyzer <> :analyzer THEN -1 ELSE analyzed_after END
WHERE n.tenant_id = :tenant AND n.id = :ns RETURNING {rows.NAMESPACE}
""")

_DROP_VECTORS = sql("""
DELETE FROM memory_vectors v WHERE v.tenant_id = :tenant AND v.namespace_id = :ns AND v.memory = ANY(ARRAY(
    SELECT o.memory FROM memory_vectors o
    WHERE o.tenant_id = :tenant AND o.namespace_id = :ns AND o.memory > :after ORDER BY o.memory LIMIT :batch
)) RETURNING v.memory, (
    SELECT t.size_bytes FROM memory_token_vectors t
    WHERE t.tenant_id = :tenant AND t.namespace_id = :ns AND t.memory = v.memory
) AS token_bytes
""")
VECTOR_BATCH = 5000
"""Maximum vectors that one statement deletes."""


async def create(
    connection: Connection,
    draft: NamespaceDraft,
    analyzer: str,
    now: datetime,
    request: RequestKey | None,
) -> Namespace:
    """Create a namespace; every setting of `draft` is set."""
    if await idempotency.find(connection, request, now):
        row = (await connection.execute(FIND, {"name": draft.name.namespace})).one_or_none()
        if row is None:
            raise NotFound("Namespace", str(draft.name), "It has since been deleted; use a new request id.")
        return rows.namespace(row)
    values = {
        "name": draft.name.namespace,
        "display_name": draft.display_name,
        "analyzer": analyzer,
        "language": draft.settings.language,
        "encoder": draft.settings.encoder,
        "content": draft.settings.content,
        "recency_half_life": draft.settings.recency_half_life,
        "default_ttl": draft.settings.default_ttl,
        "feed_retention": draft.settings.feed_retention,
        "now": now,
        "epoch": secrets.token_hex(6),
    }
    row = (await connection.execute(_INSERT, values)).one_or_none()
    if row is None:
        # A duplicate of this request may have committed first: then its result is this one's.
        if await idempotency.find(connection, request, now):
            raise Retry
        raise AlreadyExists(f"{draft.name} exists already; choose another name or use it as it is.")
    await connection.execute(_INSERT_USAGE, {"ns": row.id})
    await idempotency.save(connection, request, now, ns=row.id, memory=None)
    return rows.namespace(row)


async def measure(connection: Connection, name: NamespaceName, now: datetime) -> tuple[Namespace, NamespaceStatistics]:
    """Return a namespace as it is now, with its statistics."""
    row = (await connection.execute(_MEASURE, {"name": name.namespace, "now": now})).one_or_none()
    if row is None:
        raise namespace_not_found(name)
    return rows.namespace(row), NamespaceStatistics(
        memories=row.memories,
        text_bytes=int(row.text_bytes),
        vectors=row.vectors,
        unencoded=0 if row.encoder == LEXICAL else row.memories - row.encoded,
        unanalyzed=row.unanalyzed,
        token_texts=row.token_texts,
        token_bytes=int(row.token_bytes),
        sessions=row.sessions,
        terms=row.terms,
        tenant_memories=int(row.tenant_memories),
        tenant_bytes=int(row.tenant_bytes),
        tenant_token_bytes=int(row.tenant_token_bytes),
    )


async def page(connection: Connection, after: str, limit: int) -> list[Namespace]:
    """Return at most `limit` namespaces whose names' last part is after `after`, in byte order."""
    result = await connection.execute(_PAGE, {"after": after, "limit": limit})
    return [rows.namespace(row) for row in result]


async def update(
    connection: Connection,
    change: NamespaceChange,
    analyzer: str,
    now: datetime,
    request: RequestKey | None,
) -> Namespace:
    """Change a namespace's settings; `analyzer` is that of its language where that changes."""
    row = (await connection.execute(FIND, {"name": change.name.namespace})).one_or_none()
    if row is None:
        raise namespace_not_found(change.name)
    if await idempotency.find(connection, request, now):
        return rows.namespace(row)
    check_etag(change.etag, rows.namespace(row).etag, "namespace")
    dropped = Counts()
    if change.settings(rows.namespace(row).settings).encoder != row.encoder:
        # Before the namespace's row is locked, so that writers wait only for the vectors written meanwhile.
        dropped = await _drop_vectors(connection, row.id, dropped)
    row = (await connection.execute(_FIND_FOR_UPDATE, {"name": change.name.namespace})).one_or_none()
    if row is None:
        raise namespace_not_found(change.name)
    current = rows.namespace(row)
    if await idempotency.find(connection, request, now):
        raise Retry
    check_etag(change.etag, current.etag, "namespace")
    settings = change.settings(current.settings)
    values = {
        "ns": row.id,
        "now": now,
        "display_name": change.draft.display_name if "display_name" in change.paths else current.display_name,
        "recency_half_life": settings.recency_half_life,
        "default_ttl": settings.default_ttl,
        "feed_retention": settings.feed_retention,
        "language": settings.language,
        "analyzer": analyzer if "settings.language" in change.paths else current.analyzer,
        "encoder": settings.encoder,
        "content": settings.content,
    }
    if settings.encoder != current.settings.encoder:
        dropped = await _drop_vectors(connection, row.id, dropped)
    await idempotency.save(connection, request, now, ns=row.id, memory=None)
    updated = rows.namespace((await connection.execute(_UPDATE, values)).one())
    if (updated.analyzer, updated.settings.encoder) == (current.analyzer, current.settings.encoder):
        return updated
    # Recall finds something else from now on, so the version changes, and with it the feed.
    commit = Commit(ChangeType.REINDEXED, (), dropped)
    as_of = await commit_changes(connection, row.id, commit, now)
    return replace(updated, version=as_of.version)


async def _drop_vectors(connection: Connection, ns: int, dropped: Counts) -> Counts:
    """Delete all vectors of the namespace in batches: those of a former encoder are never compared.

    Returns:
        `dropped`, less what was deleted.
    """
    after = -1
    values = {"ns": ns, "batch": VECTOR_BATCH}
    while deleted := (await connection.execute(_DROP_VECTORS, {**values, "after": after})).all():
        after = max(row.memory for row in deleted)
        sizes = [row.token_bytes for row in deleted if row.token_bytes is not None]
        dropped = replace(
            dropped,
            vectors=dropped.vectors - len(deleted),
            token_texts=dropped.token_texts - len(sizes),
            token_bytes=dropped.token_bytes - sum(sizes),
        )
    return dropped


def namespace_not_found(name: NamespaceName) -> NotFound:
    """Return the error for a missing namespace."""
    return NotFound("Namespace", str(name), "Create it with NamespaceService.CreateNamespace.")
