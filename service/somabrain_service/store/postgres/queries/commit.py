"""Statements of writing transactions.

The last one increments the namespace's version under its row lock, appends to the feed, and updates the counts. Locks
are always taken in this order: session, rows, namespace. The session lock keeps two writers from both taking the
position "after the last one".
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from common.errors import AlreadyExists
from somabrain_service.domain.changes import ChangeType as ChangeType  # noqa: PLC0414 - re-exported for callers
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryId, MemoryName, NamespaceName, TenantId
from somabrain_service.store.postgres.driver.arrays import numbers, texts
from somabrain_service.store.postgres.driver.errors import Retry
from somabrain_service.store.postgres.driver.pipeline import Result
from somabrain_service.store.postgres.driver.statement import Statement, sql
from somabrain_service.store.records import NewMemory

LOCK_SESSION = sql("SELECT pg_advisory_xact_lock(:session)")
LOCK_SESSIONS = sql("SELECT pg_advisory_xact_lock(s) FROM unnest(CAST(:sessions AS bigint[])) AS s")

DELETE_MEMORY = sql("""
WITH gone AS (
    DELETE FROM memories WHERE namespace_id = :ns AND id = :id
    RETURNING revision, octet_length(text) AS text_bytes, length
), vector AS (
    DELETE FROM memory_vectors WHERE namespace_id = :ns AND memory = :id RETURNING encoder_id
), term AS (
    DELETE FROM memory_terms WHERE namespace_id = :ns AND memory = :id RETURNING term
), scrubbed AS (
    UPDATE idempotency_keys SET body_hash = NULL WHERE namespace_id = :ns AND memory = :id
)
SELECT gone.revision, gone.text_bytes, gone.length,
    ARRAY(SELECT term FROM term ORDER BY term) AS terms, (SELECT count(*) FROM vector) AS vectors
FROM gone
""")

BUMP_VERSION_CTE = """raised AS (
    UPDATE namespaces SET version = version + 1
    WHERE id = :ns AND (CAST(:etag AS text) IS NULL OR epoch || '-' || revision = :etag) {condition}
    RETURNING id, version, epoch
), counted AS (
    UPDATE usage u SET memories = u.memories + :memories, text_bytes = u.text_bytes + :text_bytes,
        tokens = u.tokens + :tokens, vectors = u.vectors + :vectors
    FROM raised WHERE u.namespace_id = raised.id
), change AS (
    INSERT INTO changes (tenant_id, namespace_id, version, ordinal, type, memory, revision, change_time)
    SELECT :tenant, raised.id, version, c.ordinal - 1, :type, c.memory, c.revision, :now
    FROM raised, unnest(CAST(:ids AS bigint[]), CAST(:revisions AS bigint[]))
        WITH ORDINALITY AS c (memory, revision, ordinal)
), term AS (
    INSERT INTO terms (tenant_id, namespace_id, term, df)
    SELECT :tenant, raised.id, t.term, t.df
    FROM raised, unnest(CAST(:terms AS text[]), CAST(:dfs AS bigint[])) AS t (term, df)
    ON CONFLICT (tenant_id, namespace_id, term) DO UPDATE SET df = terms.df + excluded.df
)"""

_COMMIT_CHANGES = sql(f"WITH {BUMP_VERSION_CTE.format(condition='')} SELECT version, epoch FROM raised")

DROP_TERMS = sql("DELETE FROM terms WHERE namespace_id = :ns AND term = ANY(CAST(:terms AS text[])) AND df = 0")


def session_lock_key(tenant: TenantId, name: NamespaceName, session: str) -> int:
    """Return the advisory lock key of a session."""
    digest = hashlib.blake2b(f"{tenant}/{name.namespace}/{session}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def inserted_memory(name: NamespaceName, memory: MemoryId, new: NewMemory, position: int | None) -> Memory:
    """Return the memory that was inserted from `new`."""
    draft = new.draft
    return Memory(
        name=MemoryName(name, memory),
        text=draft.text,
        kind=draft.kind,
        session=draft.session,
        session_position=position,
        subject=draft.subject,
        labels=dict(draft.labels),
        event_time=new.event_time,
        create_time=new.create_time,
        update_time=new.create_time,
        salience=new.salience,
        expire_time=new.expire_time,
        pinned=draft.pinned,
        revision=1,
    )


def position_conflict(position: int | None) -> AlreadyExists:
    """Return the error for a session position that another memory has."""
    return AlreadyExists(
        f"memory.session_position: {position} is taken in this session; "
        "leave it unset for the position after the last one."
    )


@dataclass(frozen=True, slots=True)
class Counts:
    """Increments of a namespace's counts by a write; `terms`: increment of each term's document frequency."""

    memories: int
    text_bytes: int
    term_occurrences: int
    vectors: int
    terms: Mapping[str, int]


def commit_statement(
    tenant: TenantId,
    ns: int,
    change: ChangeType,
    changed: Sequence[tuple[MemoryId, int]],
    now: datetime,
    counts: Counts,
    etag: str | None = None,
) -> Statement:
    """Return the last statement of a writing transaction, which locks the namespace's row, with its values.

    The values are also those of BUMP_VERSION_CTE. `changed` are memories, each with its revision, in feed order. `etag`
    is that of the namespace whose encoder and analyzer produced the written data; None: the data depends on neither.
    """
    terms = sorted(counts.terms)
    return _COMMIT_CHANGES, {
        "tenant": tenant,
        "ns": ns,
        "type": int(change),
        "ids": numbers(memory for memory, _ in changed),
        "revisions": numbers(revision for _, revision in changed),
        "now": now,
        "etag": etag,
        "memories": counts.memories,
        "text_bytes": counts.text_bytes,
        "tokens": counts.term_occurrences,
        "vectors": counts.vectors,
        "terms": texts(terms),
        "dfs": numbers(counts.terms[term] for term in terms),
    }


def committed_version(result: Result) -> NamespaceVersion:
    """Return the version that BUMP_VERSION_CTE assigned.

    Raises:
        Retry: the namespace was deleted or its settings changed concurrently; the next attempt detects which.
    """
    row = result.one_or_none()
    if row is None:
        raise Retry
    return NamespaceVersion(row.epoch, row.version)
