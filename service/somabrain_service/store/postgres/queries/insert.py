"""INSERT of memories: saves request ids, rows, terms, vectors and labels, and increments the version."""

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
from somabrain_service.domain.names import MemoryId, TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.store.postgres.driver.arrays import blobs, numbers, texts, times
from somabrain_service.store.postgres.driver.statement import Statement, sql
from somabrain_service.store.postgres.queries.commit import Commit, Counts, Guard, commit_cte, commit_values
from somabrain_service.store.records import NewMemory

# Evaluated before the namespace's row is locked, so all request ids and memories are inserted before that.
_ALL_INSERTED = "AND (SELECT count(*) FROM claimed) = :claims AND (SELECT count(*) FROM inserted) = :memories"
# If no version was incremented, the statement fails, and with it the COMMIT that was pipelined after it. SQL has no
# RAISE: the cast of this sentence, which appears in PostgreSQL's log, fails because it is not a number.
_FAIL = "CAST('another write went first, and this one begins again: ' || (SELECT count(*) FROM bumped) AS bigint)"
_INSERT = sql(f"""
WITH claimed AS (
    INSERT INTO idempotency_keys (tenant_id, key, body_hash, namespace_id, memory, expire_time)
    SELECT :tenant, r.key, r.body_hash, :ns, r.memory, :claims_end
    FROM unnest(CAST(:keys AS bytea[]), CAST(:body_hashes AS bytea[]), CAST(:claimants AS bigint[]))
        AS r (key, body_hash, memory)
    ON CONFLICT (tenant_id, key) DO UPDATE SET body_hash = excluded.body_hash, namespace_id = excluded.namespace_id,
        memory = excluded.memory, expire_time = excluded.expire_time
        WHERE idempotency_keys.expire_time <= :now
    RETURNING 1
), inserted AS (
    INSERT INTO memories (tenant_id, namespace_id, id, text, kind, session, position, subject, labels, event_time,
        create_time, update_time, salience, expire_time, pinned, revision, length)
    SELECT :tenant, :ns, m.id, m.text, m.kind, m.session, m.position, m.subject, CAST(m.labels AS jsonb), m.event_time,
        m.create_time, m.create_time, m.salience, m.expire_time, m.pinned, 1, m.length
    FROM unnest(CAST(:ids AS bigint[]), CAST(:texts AS text[]), CAST(:kinds AS smallint[]), CAST(:sessions AS text[]),
        CAST(:positions AS bigint[]), CAST(:subjects AS text[]), CAST(:labels AS text[]),
        CAST(:event_times AS timestamptz[]), CAST(:create_times AS timestamptz[]),
        CAST(:saliences AS double precision[]), CAST(:expire_times AS timestamptz[]), CAST(:pinned AS boolean[]),
        CAST(:lengths AS integer[]))
        AS m (id, text, kind, session, position, subject, labels, event_time, create_time, salience, expire_time,
            pinned, length)
    RETURNING 1
), posting AS (
    INSERT INTO memory_terms (tenant_id, namespace_id, term, memory, tf, length)
    SELECT :tenant, :ns, t.term, t.memory, t.tf, t.length
    FROM unnest(CAST(:posting_terms AS text[]), CAST(:posting_ids AS bigint[]), CAST(:tfs AS integer[]),
        CAST(:posting_lengths AS integer[])) AS t (term, memory, tf, length)
), vector AS (
    INSERT INTO memory_vectors (tenant_id, namespace_id, memory, encoder_id, embedding)
    SELECT :tenant, :ns, v.memory, :encoder_id,
        CAST((CAST(:embeddings AS real[]))[(v.n - 1) * :dimensions + 1 : v.n * :dimensions] AS halfvec)
    FROM unnest(CAST(:vector_ids AS bigint[])) WITH ORDINALITY AS v (memory, n)
), label AS (
    INSERT INTO memory_labels (tenant_id, namespace_id, key, value, memory)
    SELECT :tenant, :ns, l.key, l.value, l.memory
    FROM unnest(CAST(:label_keys AS text[]), CAST(:label_values AS text[]), CAST(:label_ids AS bigint[]))
        AS l (key, value, memory)
), {commit_cte(Guard.ETAG, _ALL_INSERTED)}
SELECT coalesce((SELECT version FROM bumped), {_FAIL}) AS version, (SELECT epoch FROM bumped) AS epoch
""")


ConcurrentModification = errors.InvalidTextRepresentation


@dataclass(frozen=True, slots=True)
class NewRow:
    """A memory to insert, with its id and its position in the session."""

    id: MemoryId
    position: int | None
    new: NewMemory
    request: RequestKey | None


def insert_statement(tenant: TenantId, namespace: Namespace, new_rows: Sequence[NewRow]) -> Statement:
    """Return the statement that inserts memories into an unchanged namespace.

    It fails with `ConcurrentModification` if the namespace changed or a duplicate of a request committed first.
    """
    counts = Counts(
        memories=len(new_rows),
        text_bytes=sum(len(p.new.draft.text.encode()) for p in new_rows),
        term_occurrences=sum(sum(p.new.terms.values()) for p in new_rows),
        vectors=sum(p.new.vector is not None for p in new_rows),
        terms=Counter(chain.from_iterable(p.new.terms for p in new_rows)),
    )
    commit = Commit(ChangeType.REMEMBERED, [(p.id, 1) for p in new_rows], counts, Guard.ETAG, guarded=namespace.etag)
    values = commit_values(tenant, namespace.number, commit, new_rows[-1].new.create_time)
    return _INSERT, {**values, **_claims(new_rows), **_rows(new_rows), **_index_entries(new_rows)}


def _claims(new_rows: Sequence[NewRow]) -> dict[str, object]:
    # In key order, so that two batches with the same requests wait for each other instead of deadlocking.
    claims = sorted((p.request.key, p.request.body_hash, p.id) for p in new_rows if p.request)
    return {
        "claims": len(claims),
        "keys": blobs(key for key, _, _ in claims),
        "body_hashes": blobs(body_hash for _, body_hash, _ in claims),
        "claimants": numbers(memory for _, _, memory in claims),
        "claims_end": new_rows[-1].new.create_time + IDEMPOTENCY_TTL,
    }


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
    }


def _index_entries(new_rows: Sequence[NewRow]) -> dict[str, object]:
    """Return the values for terms, vectors and labels."""
    terms = [p.new.terms for p in new_rows]
    # Values of each posting, converted to text once per memory.
    numbered = [(str(p.id), str(sum(p.new.terms.values())), len(p.new.terms)) for p in new_rows]
    vectors = [(p.id, p.new.vector) for p in new_rows if p.new.vector is not None]
    labels = [(key, value, p.id) for p in new_rows for key, value in p.new.draft.labels.items()]
    return {
        "posting_terms": texts(chain.from_iterable(terms)),
        "posting_ids": numbers(chain.from_iterable(repeat(id_, n) for id_, _, n in numbered)),
        "tfs": numbers(chain.from_iterable(counts.values() for counts in terms)),
        "posting_lengths": numbers(chain.from_iterable(repeat(length, n) for _, length, n in numbered)),
        "encoder_id": new_rows[0].new.encoder_id,
        "embeddings": np.concatenate([vector for _, vector in vectors]) if vectors else None,
        "vector_ids": numbers(memory for memory, _ in vectors),
        "dimensions": len(vectors[0][1]) if vectors else 0,
        "label_keys": texts(key for key, _, _ in labels),
        "label_values": texts(value for _, value, _ in labels),
        "label_ids": numbers(memory for _, _, memory in labels),
    }
