"""Statements that measure, list and update namespaces, without changing their memories."""

from __future__ import annotations

from datetime import datetime

from common.errors import Aborted, NotFound
from somabrain_service.domain.changes import ChangeType
from somabrain_service.domain.idempotency import RequestKey
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace, NamespaceChange, NamespaceStatistics
from somabrain_service.encoders.protocols import LEXICAL
from somabrain_service.store.postgres.driver.errors import Retry
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import sql
from somabrain_service.store.postgres.maintenance.reindex import NO_MEMORY
from somabrain_service.store.postgres.queries import filters, idempotency, rows

# Expired memories that are not deleted yet are counted in `usage` and `terms`, and subtracted here. Row security
# restricts the tenant's totals to the tenant.
_MEASURE = sql(f"""
WITH n AS (SELECT * FROM namespaces WHERE name = :name), expired AS MATERIALIZED (
    SELECT m.namespace_id, m.id, octet_length(m.text) AS text_bytes FROM memories m WHERE m.expire_time <= :now
), here AS MATERIALIZED (
    SELECT e.* FROM expired e JOIN n ON n.id = e.namespace_id
), vector AS MATERIALIZED (
    SELECT v.encoder_id FROM memory_vectors v JOIN n ON n.id = v.namespace_id
    WHERE v.memory NOT IN (SELECT id FROM here)
), term AS (
    SELECT x.term, count(*) AS df
    FROM memory_terms x JOIN here ON x.memory = here.id AND x.namespace_id = here.namespace_id GROUP BY x.term
)
SELECT {rows.NAMESPACE},
    u.memories - (SELECT count(*) FROM here) AS memories,
    u.text_bytes - (SELECT coalesce(sum(text_bytes), 0) FROM here) AS text_bytes,
    (SELECT count(*) FROM vector) AS vectors,
    (SELECT count(*) FROM vector WHERE encoder_id = n.encoder) AS encoded,
    CASE WHEN n.analyzed_after IS NULL THEN 0 ELSE (
        SELECT count(*) FROM memories m WHERE m.namespace_id = n.id AND m.id > n.analyzed_after AND {filters.LIVE}
    ) END AS unanalyzed,
    (SELECT count(DISTINCT m.session) FROM memories m
        WHERE m.namespace_id = n.id AND m.session <> '' AND {filters.LIVE}) AS sessions,
    (SELECT count(*) FROM terms t LEFT JOIN term USING (term)
        WHERE t.namespace_id = n.id AND t.df > coalesce(term.df, 0)) AS terms,
    (SELECT sum(memories) FROM usage) - (SELECT count(*) FROM expired) AS tenant_memories,
    (SELECT sum(text_bytes) FROM usage) - (SELECT coalesce(sum(text_bytes), 0) FROM expired) AS tenant_bytes
FROM n JOIN usage u ON u.namespace_id = n.id
""")

_PAGE = sql(f"""
SELECT {rows.NAMESPACE} FROM namespaces n WHERE n.name COLLATE "C" > :after ORDER BY n.name COLLATE "C" LIMIT :limit
""")

FIND = sql(f"SELECT {rows.NAMESPACE} FROM namespaces n WHERE n.name = :name")
_FIND_FOR_UPDATE = sql(f"{FIND.text} FOR UPDATE")

# A change of the encoder or analyzer changes what Recall finds, so it increments the version; each needs a change.
_UPDATE = sql(f"""
WITH raised AS (
    INSERT INTO changes (tenant_id, namespace_id, version, ordinal, type, memory, revision, change_time)
    SELECT tenant_id, id, version + 1, 0, :reindexed, {NO_MEMORY}, 0, :now FROM namespaces
    WHERE id = :ns AND (analyzer <> :analyzer OR encoder <> :encoder)
)
UPDATE namespaces n SET display_name = :display_name, recency_half_life = :recency_half_life,
    default_ttl = :default_ttl, feed_retention = :feed_retention, language = :language, analyzer = :analyzer,
    encoder = :encoder, revision = revision + 1, update_time = :now,
    analyzed_after = CASE WHEN analyzer <> :analyzer THEN -1 ELSE analyzed_after END,
    version = version + CAST(analyzer <> :analyzer OR encoder <> :encoder AS integer)
WHERE n.id = :ns RETURNING {rows.NAMESPACE}
""")

_DROP_VECTORS = sql("""
DELETE FROM memory_vectors v WHERE v.namespace_id = :ns AND v.memory = ANY(ARRAY(
    SELECT memory FROM memory_vectors
    WHERE namespace_id = :ns AND memory > :after ORDER BY memory LIMIT :batch
)) RETURNING v.memory
""")
_RESET_VECTOR_COUNT = sql("UPDATE usage SET vectors = 0 WHERE namespace_id = :ns")
VECTOR_BATCH = 5000
"""Maximum vectors that one statement deletes."""


async def measure(connection: Connection, name: NamespaceName, now: datetime) -> tuple[Namespace, NamespaceStatistics]:
    """See `Store.measure_namespace`."""
    row = (await connection.execute(_MEASURE, {"name": name.namespace, "now": now})).one_or_none()
    if row is None:
        raise namespace_not_found(name)
    return rows.namespace(row), NamespaceStatistics(
        memories=row.memories,
        text_bytes=int(row.text_bytes),
        vectors=row.vectors,
        unencoded=0 if row.encoder == LEXICAL else row.memories - row.encoded,
        unanalyzed=row.unanalyzed,
        sessions=row.sessions,
        terms=row.terms,
        tenant_memories=int(row.tenant_memories),
        tenant_bytes=int(row.tenant_bytes),
    )


async def page(connection: Connection, after: str, limit: int) -> list[Namespace]:
    """See `Store.list_namespaces`."""
    result = await connection.execute(_PAGE, {"after": after, "limit": limit})
    return [rows.namespace(row) for row in result]


async def update(
    connection: Connection,
    tenant: TenantId,
    change: NamespaceChange,
    analyzer: str,
    now: datetime,
    request: RequestKey | None,
) -> Namespace:
    """See `Store.update_namespace`."""
    row = (await connection.execute(FIND, {"name": change.name.namespace})).one_or_none()
    if row is None:
        raise namespace_not_found(change.name)
    if await idempotency.find(connection, request, now):
        return rows.namespace(row)
    _check_etag(change.etag, rows.namespace(row).etag)
    if change.settings(rows.namespace(row).settings).encoder != row.encoder:
        # Before the namespace's row is locked, so that writers wait only for the vectors written meanwhile.
        await _drop_vectors(connection, row.id)
    row = (await connection.execute(_FIND_FOR_UPDATE, {"name": change.name.namespace})).one_or_none()
    if row is None:
        raise namespace_not_found(change.name)
    current = rows.namespace(row)
    if await idempotency.find(connection, request, now):
        raise Retry
    _check_etag(change.etag, current.etag)
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
        "reindexed": int(ChangeType.REINDEXED),
    }
    if settings.encoder != current.settings.encoder:
        await _drop_vectors(connection, row.id)
        await connection.execute(_RESET_VECTOR_COUNT, {"ns": row.id})
    await idempotency.save(connection, tenant, request, now, ns=row.id, memory=None)
    return rows.namespace((await connection.execute(_UPDATE, values)).one())


async def _drop_vectors(connection: Connection, ns: int) -> None:
    """Delete all vectors of the namespace in batches; those of its former encoder are never compared again."""
    after = -1
    while deleted := (await connection.execute(_DROP_VECTORS, {"ns": ns, "after": after, "batch": VECTOR_BATCH})).all():
        after = max(row.memory for row in deleted)


def _check_etag(etag: str, current: str) -> None:
    if etag and etag != current:
        raise Aborted("etag: is not the current one; read the namespace again and retry with its etag.")


def namespace_not_found(name: NamespaceName) -> NotFound:
    """Return the error for a missing namespace."""
    return NotFound("Namespace", str(name), "Create it with NamespaceService.CreateNamespace.")
