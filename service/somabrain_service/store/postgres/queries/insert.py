"""INSERT of memories: rows, request ids, terms, vectors and labels, and the statements of the commit.

All are sent at once, with the COMMIT, so a condition that no longer holds must fail a statement: then PostgreSQL skips
the others and rolls back. SQL has no RAISE: the cast of a sentence fails, because it is not a number, and the sentence
appears in PostgreSQL's log.

All request ids and memories are inserted before the version is incremented, which locks the namespace's row for other
writers.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, repeat

import numpy as np
from psycopg import errors

from somabrain_service.domain.changes import ChangeType
from somabrain_service.domain.idempotency import IDEMPOTENCY_TTL, RequestKey
from somabrain_service.domain.names import MemoryId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.store.postgres.driver.arrays import blobs, numbers, texts, times
from somabrain_service.store.postgres.driver.statement import Statement, sql
from somabrain_service.store.postgres.queries import token_vectors
from somabrain_service.store.postgres.queries.commit import (
    Commit,
    Counts,
    Guard,
    bump_cte,
    commit_values,
    effect_statements,
)
from somabrain_service.store.records import NewMemory

_LOST = "another write went first, and this one begins again"

# Keys are inserted in their order, so that two batches with the same keys wait for each other instead of deadlocking.
_MEMORIES = sql("""
INSERT INTO memories (tenant_id, namespace_id, id, text, kind, session, position, subject, labels, event_time,
    create_time, update_time, salience, expire_time, pinned, revision, length, key, index_text)
SELECT n.tenant_id, n.id, m.id, m.text, m.kind, m.session, m.position, m.subject, CAST(m.labels AS jsonb), m.event_time,
    m.create_time, m.create_time, m.salience, m.expire_time, m.pinned, 1, m.length,
    nullif(m.key, ''), nullif(m.index_text, '')
FROM namespaces n, unnest(CAST(:ids AS bigint[]), CAST(:texts AS text[]), CAST(:kinds AS smallint[]),
    CAST(:sessions AS text[]), CAST(:positions AS bigint[]), CAST(:subjects AS text[]), CAST(:labels AS text[]),
    CAST(:event_times AS timestamptz[]), CAST(:create_times AS timestamptz[]),
    CAST(:saliences AS double precision[]), CAST(:expire_times AS timestamptz[]), CAST(:pinned AS boolean[]),
    CAST(:lengths AS integer[]), CAST(:memory_keys AS text[]), CAST(:index_texts AS text[]))
    AS m (id, text, kind, session, position, subject, labels, event_time, create_time, salience, expire_time,
        pinned, length, key, index_text)
WHERE n.tenant_id = :tenant AND n.id = :ns
ORDER BY m.key
""")

_CLAIMS = sql(f"""
INSERT INTO idempotency_keys (tenant_id, key, body_hash, namespace_id, memory, expire_time)
SELECT n.tenant_id, r.key, r.body_hash, n.id, r.memory, :claims_end
FROM namespaces n, unnest(CAST(:keys AS bytea[]), CAST(:body_hashes AS bytea[]), CAST(:claimants AS bigint[]))
    AS r (key, body_hash, memory)
WHERE n.tenant_id = :tenant AND n.id = :ns
ON CONFLICT (tenant_id, key) DO UPDATE SET body_hash = excluded.body_hash, namespace_id = excluded.namespace_id,
    memory = CASE WHEN idempotency_keys.expire_time <= :now THEN excluded.memory
        ELSE CAST('{_LOST}: ' || CAST(length(idempotency_keys.key) AS text) AS bigint) END,
    expire_time = excluded.expire_time
""")

_POSTINGS = sql("""
INSERT INTO memory_terms (tenant_id, namespace_id, term, memory, tf, length)
SELECT n.tenant_id, n.id, t.term, t.memory, t.tf, t.length
FROM namespaces n, unnest(CAST(:posting_terms AS text[]), CAST(:posting_ids AS bigint[]), CAST(:tfs AS integer[]),
    CAST(:posting_lengths AS integer[])) AS t (term, memory, tf, length)
WHERE n.tenant_id = :tenant AND n.id = :ns
""")

_VECTORS = sql("""
INSERT INTO memory_vectors (tenant_id, namespace_id, memory, encoder_id, embedding)
SELECT n.tenant_id, n.id, v.memory, :encoder_id,
    CAST((CAST(:embeddings AS real[]))[(v.n - 1) * :dimensions + 1 : v.n * :dimensions] AS halfvec)
FROM namespaces n, unnest(CAST(:vector_ids AS bigint[])) WITH ORDINALITY AS v (memory, n)
WHERE n.tenant_id = :tenant AND n.id = :ns
""")

_LABELS = sql("""
INSERT INTO memory_labels (tenant_id, namespace_id, key, value, memory)
SELECT n.tenant_id, n.id, l.key, l.value, l.memory
FROM namespaces n, unnest(CAST(:label_keys AS text[]), CAST(:label_values AS text[]), CAST(:label_ids AS bigint[]))
    AS l (key, value, memory)
WHERE n.tenant_id = :tenant AND n.id = :ns
""")

_BUMP = sql(f"""
WITH {bump_cte(Guard.ETAG)}
SELECT CAST(coalesce(CAST(max(version) AS text), '{_LOST}') AS bigint) AS version, max(epoch) AS epoch FROM bumped
""")


def lost_race(exc: BaseException) -> bool:
    """Return whether the insert failed because the namespace changed or a duplicate of a request committed first."""
    return isinstance(exc, errors.InvalidTextRepresentation) and _LOST in (exc.diag.message_primary or "")


@dataclass(frozen=True, slots=True)
class NewRow:
    """A memory to insert, with its id and its position in the session."""

    id: MemoryId
    position: int | None
    new: NewMemory
    request: RequestKey | None


def insert_statements(namespace: Namespace, new_rows: Sequence[NewRow]) -> list[Statement]:
    """Return the statements that insert memories into an unchanged namespace; one of them returns the version.

    One fails as `lost_race` describes if the namespace changed or a duplicate of a request committed first.
    """
    tokens = [(p.id, p.new.tokens) for p in new_rows if p.new.tokens is not None]
    counts = Counts(
        memories=len(new_rows),
        text_bytes=sum(p.new.draft.stored_bytes for p in new_rows),
        term_occurrences=sum(sum(p.new.terms.values()) for p in new_rows),
        vectors=sum(p.new.vector is not None for p in new_rows),
        token_texts=len(tokens),
        token_bytes=sum(record.size_bytes for _, record in tokens),
        terms=Counter(chain.from_iterable(p.new.terms for p in new_rows)),
    )
    commit = Commit(ChangeType.REMEMBERED, [(p.id, 1) for p in new_rows], counts, Guard.ETAG, guarded=namespace.etag)
    values = commit_values(namespace.number, commit, new_rows[-1].new.create_time)
    parts = (
        (_MEMORIES, _rows(new_rows)),
        (_CLAIMS, _claims(new_rows)),
        (_POSTINGS, _postings(new_rows)),
        (_VECTORS, _vectors(new_rows)),
        (_LABELS, _labels(new_rows)),
    )
    inserts: list[Statement] = [(statement, {**values, **columns}) for statement, columns in parts if columns]
    inserts += token_vectors.insert_statement(namespace.number, tokens)
    return [*inserts, (_BUMP, values), *effect_statements(commit, values)]


def _rows(new_rows: Sequence[NewRow]) -> dict[str, object]:
    drafts = [p.new.draft for p in new_rows]
    return {
        "texts": texts(draft.text for draft in drafts),
        "kinds": numbers(draft.kind for draft in drafts),
        "sessions": texts(draft.session for draft in drafts),
        "positions": numbers(p.position for p in new_rows),
        "subjects": texts(draft.subject for draft in drafts),
        "labels": texts(json.dumps(dict(draft.labels)) if draft.labels else "{}" for draft in drafts),
        "event_times": times(p.new.event_time for p in new_rows),
        "create_times": times(p.new.create_time for p in new_rows),
        "saliences": numbers(p.new.salience for p in new_rows),
        "expire_times": times(p.new.expire_time for p in new_rows),
        "pinned": numbers(draft.pinned for draft in drafts),
        "lengths": numbers(sum(p.new.terms.values()) for p in new_rows),
        "memory_keys": texts(draft.key for draft in drafts),
        "index_texts": texts(draft.index_text for draft in drafts),
    }


def _claims(new_rows: Sequence[NewRow]) -> dict[str, object]:
    # In key order, so that two batches with the same requests wait for each other instead of deadlocking.
    claims = sorted((p.request.key, p.request.body_hash, p.id) for p in new_rows if p.request)
    if not claims:
        return {}
    return {
        "keys": blobs(key for key, _, _ in claims),
        "body_hashes": blobs(body_hash for _, body_hash, _ in claims),
        "claimants": numbers(memory for _, _, memory in claims),
        "claims_end": new_rows[-1].new.create_time + IDEMPOTENCY_TTL,
    }


def _postings(new_rows: Sequence[NewRow]) -> dict[str, object]:
    terms = [p.new.terms for p in new_rows]
    if not any(terms):
        return {}
    # Values of each posting, converted to text once per memory.
    numbered = [(str(p.id), str(sum(p.new.terms.values())), len(p.new.terms)) for p in new_rows]
    return {
        "posting_terms": texts(chain.from_iterable(terms)),
        "posting_ids": numbers(chain.from_iterable(repeat(id_, n) for id_, _, n in numbered)),
        "tfs": numbers(chain.from_iterable(counts.values() for counts in terms)),
        "posting_lengths": numbers(chain.from_iterable(repeat(length, n) for _, length, n in numbered)),
    }


def _vectors(new_rows: Sequence[NewRow]) -> dict[str, object]:
    vectors = [(p.id, p.new.vector) for p in new_rows if p.new.vector is not None]
    if not vectors:
        return {}
    return {
        "encoder_id": new_rows[0].new.encoder_id,
        "embeddings": np.concatenate([vector for _, vector in vectors]),
        "vector_ids": numbers(memory for memory, _ in vectors),
        "dimensions": len(vectors[0][1]),
    }


def _labels(new_rows: Sequence[NewRow]) -> dict[str, object]:
    labels = [(key, value, p.id) for p in new_rows for key, value in p.new.draft.labels.items()]
    if not labels:
        return {}
    return {
        "label_keys": texts(key for key, _, _ in labels),
        "label_values": texts(value for _, value, _ in labels),
        "label_ids": numbers(memory for _, _, memory in labels),
    }
