"""The statements that end every writing transaction.

They increment the namespace's version under its row lock, adjust usage and document frequencies, and append to the
change feed. Locks before it: `driver.locks`.

An INSERT is always a separate statement, and takes its rows' tenant and namespace from the namespace's row: only so
does a distributed engine run it whole on the node of the tenant.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from somabrain_service.domain.changes import ChangeType
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.store.postgres.driver.arrays import numbers, texts
from somabrain_service.store.postgres.driver.errors import Retry
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import Statement, sql

NO_MEMORY = -1
"""Memory id in the feed for a version that changed no memory."""


class Guard(Enum):
    """Condition of the namespace that must still hold, because the written data depends on it."""

    NONE = "true"
    ETAG = "n.epoch || '-' || n.revision = :guarded"
    """The settings are unchanged, encoder and analyzer among them."""
    ENCODER = "n.encoder = :guarded"
    ANALYZER = "n.analyzed_after IS NOT NULL AND n.analyzer = :guarded"
    """The analyzer is unchanged, and memories are left to analyze; the commit moves on to `Commit.analyzed_after`."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Increments of a namespace's counts by a write; `terms`: increment of each term's document frequency."""

    memories: int = 0
    text_bytes: int = 0
    term_occurrences: int = 0
    vectors: int = 0
    token_texts: int = 0
    token_bytes: int = 0
    terms: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Commit:
    """Effect of a writing transaction on its namespace.

    `changed` are memories, each with its revision, in feed order; empty: the version changes without a memory.
    `guarded` is the value that `guard` compares.
    """

    change: ChangeType
    changed: Sequence[tuple[int, int]]
    counts: Counts = Counts()
    guard: Guard = Guard.NONE
    guarded: str = ""
    analyzed_after: int | None = None


def bump_cte(guard: Guard) -> str:
    """Return the common table expressions that increment the version and adjust usage.

    `bumped` has the new version, or no row if the namespace does not exist or the guard fails.
    """
    mark = ", analyzed_after = CAST(:analyzed_after AS bigint)" if guard is Guard.ANALYZER else ""
    return f"""bumped AS (
    UPDATE namespaces n SET version = n.version + 1{mark}
    WHERE n.tenant_id = :tenant AND n.id = :ns AND {guard.value}
    RETURNING n.id, n.version, n.epoch
), counted AS (
    UPDATE usage u SET memories = u.memories + :memories, text_bytes = u.text_bytes + :text_bytes,
        tokens = u.tokens + :tokens, vectors = u.vectors + :vectors,
        token_texts = u.token_texts + :token_texts, token_bytes = u.token_bytes + :token_bytes
    FROM bumped WHERE u.tenant_id = :tenant AND u.namespace_id = bumped.id
)"""


_BUMP = {guard: sql(f"WITH {bump_cte(guard)} SELECT version, epoch FROM bumped") for guard in Guard}

_APPEND_CHANGES = sql("""
INSERT INTO changes (tenant_id, namespace_id, version, ordinal, type, memory, revision, change_time)
SELECT n.tenant_id, n.id, n.version, c.ordinal - 1, :type, c.memory, c.revision, :now
FROM namespaces n, unnest(CAST(:ids AS bigint[]), CAST(:revisions AS bigint[]))
    WITH ORDINALITY AS c (memory, revision, ordinal)
WHERE n.tenant_id = :tenant AND n.id = :ns
""")

_ADD_TERMS = sql("""
INSERT INTO terms (tenant_id, namespace_id, term, df)
SELECT n.tenant_id, n.id, t.term, t.df
FROM namespaces n, unnest(CAST(:terms AS text[]), CAST(:dfs AS bigint[])) AS t (term, df)
WHERE n.tenant_id = :tenant AND n.id = :ns
ON CONFLICT (tenant_id, namespace_id, term) DO UPDATE SET df = terms.df + excluded.df
""")

_DROP_TERMS = sql("""
DELETE FROM terms t
WHERE t.tenant_id = :tenant AND t.namespace_id = :ns AND t.term = ANY(CAST(:removed_terms AS text[])) AND t.df = 0
""")


def commit_values(ns: int, commit: Commit, now: datetime) -> dict[str, object]:
    """Return the values of all statements of a commit."""
    counts, changed = commit.counts, commit.changed or [(NO_MEMORY, 0)]
    terms = sorted(counts.terms)
    return {
        "ns": ns,
        "type": int(commit.change),
        "ids": numbers(memory for memory, _ in changed),
        "revisions": numbers(revision for _, revision in changed),
        "now": now,
        "guarded": commit.guarded,
        "analyzed_after": commit.analyzed_after,
        "memories": counts.memories,
        "text_bytes": counts.text_bytes,
        "tokens": counts.term_occurrences,
        "vectors": counts.vectors,
        "token_texts": counts.token_texts,
        "token_bytes": counts.token_bytes,
        "terms": texts(terms),
        "dfs": numbers(counts.terms[term] for term in terms),
        "removed_terms": texts(term for term in terms if counts.terms[term] < 0),
    }


def effect_statements(commit: Commit, values: Mapping[str, object]) -> list[Statement]:
    """Return the statements that follow the increment of the version, with the values of `commit_values`."""
    changes = commit.counts.terms.values()
    return [
        (_APPEND_CHANGES, values),
        *([(_ADD_TERMS, values)] if changes else []),
        *([(_DROP_TERMS, values)] if any(change < 0 for change in changes) else []),
    ]


async def commit_changes(connection: Connection, ns: int, commit: Commit, now: datetime) -> NamespaceVersion:
    """Execute the statements and commit the transaction.

    Raises:
        Retry: the namespace was deleted or its settings changed concurrently; the next attempt detects which.
    """
    values = commit_values(ns, commit, now)
    row = (await connection.execute(_BUMP[commit.guard], values)).one_or_none()
    if row is None:
        raise Retry
    await connection.execute_and_commit(*effect_statements(commit, values))
    return NamespaceVersion(row.epoch, row.version)
