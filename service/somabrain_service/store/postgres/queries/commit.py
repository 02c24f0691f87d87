"""The statement that ends every writing transaction.

It increments the namespace's version under its row lock, appends to the change feed, and adjusts usage and document
frequencies. Locks before it: `driver.locks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from somabrain_service.domain.changes import ChangeType
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.names import TenantId
from somabrain_service.store.postgres.driver.arrays import numbers, texts
from somabrain_service.store.postgres.driver.errors import Retry
from somabrain_service.store.postgres.driver.pipeline import Connection, Result
from somabrain_service.store.postgres.driver.statement import Statement, sql

NO_MEMORY = -1
"""Memory id in the feed for a version that changed no memory."""


class Guard(Enum):
    """Condition of the namespace that must still hold, because the written data depends on it."""

    NONE = ""
    ETAG = "AND epoch || '-' || revision = :guarded"
    """The settings are unchanged, encoder and analyzer among them."""
    ENCODER = "AND encoder = :guarded"
    ANALYZER = "AND analyzed_after IS NOT NULL AND analyzer = :guarded"
    """The analyzer is unchanged, and memories are left to analyze; the commit moves on to `Commit.analyzed_after`."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Increments of a namespace's counts by a write; `terms`: increment of each term's document frequency."""

    memories: int = 0
    text_bytes: int = 0
    term_occurrences: int = 0
    vectors: int = 0
    terms: Mapping[str, int] = field(default_factory=dict)

    @property
    def removed_terms(self) -> list[str]:
        """The terms that some memory no longer has."""
        return [term for term, change in self.terms.items() if change < 0]


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


def commit_cte(guard: Guard, condition: str = "") -> str:
    """Return the common table expressions; `bumped` has the new version, or no row if `guard` or `condition` fails."""
    mark = ", analyzed_after = CAST(:analyzed_after AS bigint)" if guard is Guard.ANALYZER else ""
    return f"""bumped AS (
    UPDATE namespaces SET version = version + 1{mark}
    WHERE tenant_id = :tenant AND id = :ns {guard.value} {condition}
    RETURNING id, version, epoch
), counted AS (
    UPDATE usage u SET memories = u.memories + :memories, text_bytes = u.text_bytes + :text_bytes,
        tokens = u.tokens + :tokens, vectors = u.vectors + :vectors
    FROM bumped WHERE u.tenant_id = :tenant AND u.namespace_id = bumped.id
), change AS (
    INSERT INTO changes (tenant_id, namespace_id, version, ordinal, type, memory, revision, change_time)
    SELECT :tenant, bumped.id, version, c.ordinal - 1, :type, c.memory, c.revision, :now
    FROM bumped, unnest(CAST(:ids AS bigint[]), CAST(:revisions AS bigint[]))
        WITH ORDINALITY AS c (memory, revision, ordinal)
), term AS (
    INSERT INTO terms (tenant_id, namespace_id, term, df)
    SELECT :tenant, bumped.id, t.term, t.df
    FROM bumped, unnest(CAST(:terms AS text[]), CAST(:dfs AS bigint[])) AS t (term, df)
    ON CONFLICT (tenant_id, namespace_id, term) DO UPDATE SET df = terms.df + excluded.df
)"""


_STATEMENTS = {guard: sql(f"WITH {commit_cte(guard)} SELECT version, epoch FROM bumped") for guard in Guard}

_DROP_TERMS = sql("""
DELETE FROM terms
WHERE tenant_id = :tenant AND namespace_id = :ns AND term = ANY(CAST(:terms AS text[])) AND df = 0
""")


def commit_values(tenant: TenantId, ns: int, commit: Commit, now: datetime) -> dict[str, object]:
    """Return the values of `commit_cte`."""
    counts, changed = commit.counts, commit.changed or [(NO_MEMORY, 0)]
    terms = sorted(counts.terms)
    return {
        "tenant": tenant,
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
        "terms": texts(terms),
        "dfs": numbers(counts.terms[term] for term in terms),
    }


def commit_statement(tenant: TenantId, ns: int, commit: Commit, now: datetime) -> Statement:
    """Return the last statement of a writing transaction, with its values."""
    return _STATEMENTS[commit.guard], commit_values(tenant, ns, commit, now)


def committed_version(result: Result) -> NamespaceVersion:
    """Return the version that `commit_cte` assigned.

    Raises:
        Retry: the namespace was deleted or its settings changed concurrently; the next attempt detects which.
    """
    row = result.one_or_none()
    if row is None:
        raise Retry
    return NamespaceVersion(row.epoch, row.version)


async def bump_version(
    connection: Connection, tenant: TenantId, ns: int, commit: Commit, now: datetime
) -> NamespaceVersion:
    """Execute the commit statement; `Retry` as from `committed_version`."""
    return committed_version(await connection.execute(*commit_statement(tenant, ns, commit, now)))


def drop_terms_statement(tenant: TenantId, ns: int, terms: Sequence[str]) -> Statement:
    """Return the statement that deletes those of the terms that no memory has any more.

    To be executed after the commit statement, which locks the namespace's row.
    """
    return _DROP_TERMS, {"tenant": tenant, "ns": ns, "terms": texts(terms)}
