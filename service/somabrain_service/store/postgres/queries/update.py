"""Update of a memory in place; its former state becomes a revision."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime

from psycopg import IntegrityError

from somabrain_service.domain.changes import ChangeType
from somabrain_service.domain.idempotency import RequestKey
from somabrain_service.domain.memory import Memory, key_conflict, position_conflict
from somabrain_service.domain.names import MemoryName
from somabrain_service.domain.namespace import Namespace
from somabrain_service.store.postgres.driver.arrays import texts
from somabrain_service.store.postgres.driver.errors import Retry, violated_constraint
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import sql
from somabrain_service.store.postgres.queries import idempotency, memories, precheck, rows, token_vectors
from somabrain_service.store.postgres.queries.commit import Commit, Counts, Guard, commit_changes
from somabrain_service.store.records import MemoryUpdate, NewText, WriteResult

_SAVE_REVISION = sql("""
INSERT INTO memory_revisions (tenant_id, namespace_id, memory, revision, text, kind, session, position, subject,
    labels, event_time, create_time, update_time, salience, expire_time, pinned, key,
    index_text)
SELECT m.tenant_id, m.namespace_id, m.id, m.revision, m.text, m.kind, m.session, m.position, m.subject, m.labels,
    m.event_time, m.create_time, m.update_time, m.salience, m.expire_time, m.pinned, m.key,
    m.index_text
FROM memories m WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = :id
""")

_UPDATE = sql(f"""
UPDATE memories m SET text = :text, kind = :kind, session = :session,
    position = CASE WHEN :session <> '' THEN coalesce(CAST(:position AS bigint), (
        SELECT coalesce(max(o.position) + 1, 0) FROM memories o
        WHERE o.tenant_id = :tenant AND o.namespace_id = :ns AND o.session = :session AND o.session <> ''
            AND o.id <> :id)) END,
    subject = :subject, labels = CAST(:labels AS jsonb), event_time = :event_time, update_time = :now,
    salience = :salience, expire_time = :expire_time, pinned = :pinned, revision = m.revision + 1,
    length = coalesce(CAST(:length AS integer), m.length), key = nullif(:key, ''),
    index_text = nullif(:index_text, '')
WHERE m.tenant_id = :tenant AND m.namespace_id = :ns AND m.id = :id
RETURNING {rows.MEMORY}
""")

_DROP_LABELS = sql(
    "DELETE FROM memory_labels l WHERE l.tenant_id = :tenant AND l.namespace_id = :ns AND l.memory = :id"
)
_LABELS = sql("""
INSERT INTO memory_labels (tenant_id, namespace_id, key, value, memory)
SELECT n.tenant_id, n.id, l.key, l.value, :id
FROM namespaces n, unnest(CAST(:label_keys AS text[]), CAST(:label_values AS text[])) AS l (key, value)
WHERE n.tenant_id = :tenant AND n.id = :ns
""")

_DROP_TEXT = sql("""
WITH term AS (
    DELETE FROM memory_terms t WHERE t.tenant_id = :tenant AND t.namespace_id = :ns AND t.memory = :id
    RETURNING t.term, t.tf
), vector AS (
    DELETE FROM memory_vectors v WHERE v.tenant_id = :tenant AND v.namespace_id = :ns AND v.memory = :id
    RETURNING v.encoder_id
)
SELECT (SELECT v.size_bytes FROM memory_token_vectors v
        WHERE v.tenant_id = :tenant AND v.namespace_id = :ns AND v.memory = :id) AS token_bytes,
    ARRAY(SELECT term FROM term) AS terms, (SELECT coalesce(sum(tf), 0) FROM term) AS tokens,
    (SELECT count(*) FROM vector) AS vectors
""")
_TERMS = sql("""
INSERT INTO memory_terms (tenant_id, namespace_id, term, memory, tf, length)
SELECT n.tenant_id, n.id, t.term, :id, t.tf, :length
FROM namespaces n, unnest(CAST(:terms AS text[]), CAST(:tfs AS integer[])) AS t (term, tf)
WHERE n.tenant_id = :tenant AND n.id = :ns
""")
_VECTOR = sql("""
INSERT INTO memory_vectors (tenant_id, namespace_id, memory, encoder_id, embedding)
VALUES (:tenant, :ns, :id, :encoder_id, CAST(CAST(:vector AS real[]) AS halfvec))
""")


async def update_memory(
    connection: Connection, namespace: Namespace, change: MemoryUpdate, request: RequestKey | None
) -> WriteResult | None:
    """Save the former state as a revision, write the new one, and commit; see `Store.update_memory`.

    `namespace` is that of the transaction, and its etag guards the commit.

    Raises:
        ExpiredKeyHolders: the memory that has the new key has expired, and has to be deleted first.
    """
    name, now = change.before.name, change.update_time
    parameters = {"ns": namespace.number, "id": name.memory, "now": now}
    row = (await connection.execute(memories.FIND_LIVE_FOR_UPDATE, parameters)).one_or_none()
    if row is None or rows.memory(namespace.name, row) != change.before:
        return None
    if change.draft.key not in ("", change.before.key):
        await _check_key(connection, namespace, change.draft.key, now)
    try:
        memory, counts = await _write(connection, namespace.number, change)
    except IntegrityError as exc:
        if violated_constraint(exc) == "memories_position":
            raise position_conflict(change.draft.session_position) from None
        if violated_constraint(exc) == "memories_key":
            raise Retry from None
        raise
    await idempotency.save(connection, request, now, ns=namespace.number, memory=name.memory)
    commit = Commit(ChangeType.UPDATED, [(name.memory, memory.revision)], counts, Guard.ETAG, guarded=namespace.etag)
    return WriteResult(memory, await commit_changes(connection, namespace.number, commit, now))


async def _check_key(connection: Connection, namespace: Namespace, key: str, now: datetime) -> None:
    """Check that no live memory has the key.

    Raises:
        AlreadyExists: one has it.
        ExpiredKeyHolders: an expired one has to be deleted first.
    """
    values = {"name": namespace.name.namespace, "memory_keys": texts([key]), "now": now}
    holder = (await connection.execute(precheck.KEY_HOLDERS, values)).one_or_none()
    if holder is not None and holder.expired:
        raise precheck.ExpiredKeyHolders(namespace.number, [holder.id])
    if holder is not None:
        raise key_conflict(MemoryName(namespace.name, holder.id))


async def _write(connection: Connection, ns: int, change: MemoryUpdate) -> tuple[Memory, Counts]:
    before, draft = change.before, change.draft
    memory_key: dict[str, object] = {"ns": ns, "id": before.name.memory}
    values = {
        **memory_key,
        "text": draft.text,
        "kind": int(draft.kind),
        "session": draft.session,
        "position": draft.session_position,
        "subject": draft.subject,
        "labels": json.dumps(dict(draft.labels)),
        "event_time": change.event_time,
        "now": change.update_time,
        "salience": change.salience,
        "expire_time": change.expire_time,
        "pinned": draft.pinned,
        "key": draft.key,
        "index_text": draft.index_text,
        "length": None if change.new_text is None else sum(change.new_text.terms.values()),
    }
    _, updated = await connection.execute_all((_SAVE_REVISION, memory_key), (_UPDATE, values))
    if dict(draft.labels) != dict(before.labels):
        labels = {"label_keys": list(draft.labels), "label_values": list(draft.labels.values())}
        await connection.execute_all((_DROP_LABELS, memory_key), (_LABELS, {**memory_key, **labels}))
    text_bytes = draft.stored_bytes - before.stored_bytes
    counts = Counts(text_bytes=text_bytes)
    if change.new_text is not None:
        counts = await _replace_text(connection, ns, before.name.memory, change.new_text, text_bytes)
    return rows.memory(before.name.namespace, updated.one()), counts


async def _replace_text(connection: Connection, ns: int, memory: int, new: NewText, text_bytes: int) -> Counts:
    memory_key: dict[str, object] = {"ns": ns, "id": memory}
    deleted = (await connection.execute(_DROP_TEXT, memory_key)).one()
    doc_length = sum(new.terms.values())
    values = {
        **memory_key,
        "terms": list(new.terms),
        "tfs": list(new.terms.values()),
        "length": doc_length,
        "encoder_id": new.encoder_id,
        "vector": new.vector,
    }
    vector = [(_VECTOR, values)] if new.vector is not None else []
    tokens = [(memory, new.tokens)] if new.tokens is not None else []
    await connection.execute_all((_TERMS, values), *vector, *token_vectors.insert_statement(ns, tokens))
    df = Counter(dict.fromkeys(new.terms, 1))
    df.subtract(deleted.terms)
    return Counts(
        text_bytes=text_bytes,
        term_occurrences=doc_length - deleted.tokens,
        vectors=int(new.vector is not None) - deleted.vectors,
        token_texts=len(tokens) - int(deleted.token_bytes is not None),
        token_bytes=sum(record.size_bytes for _, record in tokens) - (deleted.token_bytes or 0),
        terms={term: change for term, change in df.items() if change},
    )
