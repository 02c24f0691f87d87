"""Many memories in one transaction: one statement for all rows, and the version is raised once.

What is wrong with one of them is found before anything is written. That is sound because the locks of all sessions
concerned are held, so nobody else takes a place; a request's twin that was first makes the transaction begin again.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from psycopg import IntegrityError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from common.errors import AlreadyExists, NotFound, SomaBrainError
from somabrain_service.domain.idempotency import KEPT, RequestKey, another_body
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryId, TenantId, memory_id
from somabrain_service.domain.namespace import Namespace
from somabrain_service.domain.quota import Stock
from somabrain_service.domain.tokens import Moment
from somabrain_service.store.postgres import filters, rows, writing
from somabrain_service.store.postgres.arrays import bigints
from somabrain_service.store.postgres.faults import Retry, violated
from somabrain_service.store.postgres.stocks import Room
from somabrain_service.store.protocols import NewMemory, WrittenMany

Item = tuple[NewMemory, RequestKey | None]

_ANSWERED = text(f"""
SELECT k.key, k.body_hash, k.memory AS request_memory, {rows.MEMORY}
FROM idempotency_keys k LEFT JOIN memories m
    ON m.namespace_id = k.namespace_id AND m.id = k.memory AND k.body_hash IS NOT NULL AND {filters.LIVE}
WHERE k.key = ANY(CAST(:keys AS bytea[])) AND k.expire_time > :now
""")

_CLAIM = text("""
INSERT INTO idempotency_keys (tenant_id, key, body_hash, namespace_id, memory, expire_time)
SELECT :tenant, r.key, r.body_hash, :ns, r.memory, :expire_time
FROM unnest(CAST(:keys AS bytea[]), CAST(:body_hashes AS bytea[]), CAST(:ids AS bigint[])) AS r (key, body_hash, memory)
ON CONFLICT (tenant_id, key) DO UPDATE SET body_hash = excluded.body_hash, namespace_id = excluded.namespace_id,
    memory = excluded.memory, expire_time = excluded.expire_time
    WHERE idempotency_keys.expire_time <= :now
""")

_LAST = text("""
SELECT session, max(position) AS last FROM memories
WHERE namespace_id = :ns AND session <> '' AND session = ANY(CAST(:sessions AS text[])) GROUP BY session
""")

_TAKEN = text("""
SELECT m.session, m.position
FROM unnest(CAST(:sessions AS text[]), CAST(:positions AS bigint[])) AS p (session, position)
JOIN memories m ON m.namespace_id = :ns AND m.session = p.session AND m.position = p.position AND m.session <> ''
""")

_INSERT = text("""
WITH kept AS (
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
), term AS (
    INSERT INTO memory_terms (tenant_id, namespace_id, term, memory, tf, length)
    SELECT :tenant, :ns, t.term, t.memory, t.tf, t.length
    FROM unnest(CAST(:terms AS text[]), CAST(:term_ids AS bigint[]), CAST(:tfs AS integer[]),
        CAST(:term_lengths AS integer[])) AS t (term, memory, tf, length)
), vector AS (
    INSERT INTO memory_vectors (tenant_id, namespace_id, memory, encoder_id, embedding)
    SELECT :tenant, :ns, v.memory, :encoder_id,
        CAST((CAST(:vectors AS real[]))[(v.n - 1) * :dimensions + 1 : v.n * :dimensions] AS halfvec)
    FROM unnest(CAST(:vector_ids AS bigint[])) WITH ORDINALITY AS v (memory, n)
)
INSERT INTO memory_labels (tenant_id, namespace_id, key, value, memory)
SELECT :tenant, :ns, l.key, l.value, l.memory
FROM unnest(CAST(:label_keys AS text[]), CAST(:label_values AS text[]), CAST(:label_ids AS bigint[]))
    AS l (key, value, memory)
""")


@dataclass(frozen=True, slots=True)
class _Placed:
    """A memory about to be written, with its number and its place."""

    id: MemoryId
    position: int | None
    new: NewMemory
    request: RequestKey | None


def stock_of(new: NewMemory) -> Stock:
    """What a memory adds to what its tenant holds."""
    return Stock(1, len(new.draft.text.encode()))


async def insert(
    connection: AsyncConnection,
    tenant: TenantId,
    namespace: Namespace,
    ns: int,
    items: Sequence[Item],
    room: Room | None = None,
) -> WrittenMany:
    """Keep what can be kept, in their order. The locks of all sessions of the items are held.

    `room` None: there is room for all of them.
    """
    results: dict[int, Memory | SomaBrainError] = {}
    if not items:
        return WrittenMany((), namespace.moment)
    now = items[0][0].create_time
    keys = [request.key for _, request in items if request]
    answered = {}
    if keys:
        found = await connection.execute(_ANSWERED, {"keys": keys, "now": now})
        answered = {bytes(row.key): row for row in found}
    first: dict[bytes, int] = {}
    twins: dict[int, int] = {}
    for index, (_, request) in enumerate(items):
        if request is None:
            continue
        row = answered.get(request.key)
        if row is not None and row.body_hash is not None and row.body_hash != request.body_hash:
            results[index] = another_body()
        elif row is not None and row.id is None:
            name = f"{namespace.name}/memories/{row.request_memory or 0:016x}"
            results[index] = NotFound("Memory", name, "It has been forgotten since.")
        elif row is not None:
            results[index] = rows.memory(namespace.name, row)
        elif (earlier := first.setdefault(request.key, index)) != index:
            twin = items[earlier][1]
            if twin is not None and twin.body_hash == request.body_hash:
                twins[index] = earlier
            else:
                results[index] = another_body()
    fresh = {index: item for index, item in enumerate(items) if index not in results and index not in twins}
    places = await _places(connection, ns, fresh)
    placed = []
    for index, (new, request) in fresh.items():
        place = places[index]
        if isinstance(place, AlreadyExists):
            results[index] = place
            continue
        if room and (refused := room.let_in(stock_of(new))):
            results[index] = refused
            continue
        memory = memory_id(new.create_time, secrets.randbits(32))
        placed.append(_Placed(memory, place, new, request))
        results[index] = writing.kept(namespace.name, memory, new, place)
    moment = namespace.moment
    if placed:
        moment = await _write(connection, tenant, ns, namespace.etag, placed)
    results |= {index: results[earlier] for index, earlier in twins.items()}
    return WrittenMany([results[index] for index in range(len(items))], moment)


async def _places(
    connection: AsyncConnection, ns: int, items: dict[int, Item]
) -> dict[int, int | AlreadyExists | None]:
    """The place of each in its session, in their order; None: it has no session."""
    wanted = [(new.draft.session, new.draft.session_position) for new, _ in items.values() if new.draft.session]
    if not wanted:
        return dict.fromkeys(items)
    found = await connection.execute(_LAST, {"ns": ns, "sessions": sorted({session for session, _ in wanted})})
    last = {row.session: row.last for row in found}
    fixed = [(session, position) for session, position in wanted if position is not None]
    asked = {"sessions": [session for session, _ in fixed], "positions": bigints(p for _, p in fixed)}
    taken = {(row.session, row.position) for row in await connection.execute(_TAKEN, {"ns": ns, **asked})}
    places: dict[int, int | AlreadyExists | None] = {}
    for index, (new, _) in items.items():
        session, position = new.draft.session, new.draft.session_position
        if not session:
            places[index] = None
            continue
        place = last.get(session, -1) + 1 if position is None else position
        if (session, place) in taken:
            places[index] = writing.place_taken(place)
            continue
        places[index] = place
        taken.add((session, place))
        last[session] = max(last.get(session, -1), place)
    return places


async def _write(
    connection: AsyncConnection, tenant: TenantId, ns: int, etag: str, placed: Sequence[_Placed]
) -> Moment:
    now = placed[0].new.create_time
    # In the order of their keys, so that two batches with the same requests wait for each other and do not deadlock.
    claims = sorted((p.request.key, p.request.body_hash, p.id) for p in placed if p.request)
    if claims:
        values = {
            "tenant": tenant,
            "ns": ns,
            "keys": [key for key, _, _ in claims],
            "body_hashes": [body_hash for _, body_hash, _ in claims],
            "ids": bigints(memory for _, _, memory in claims),
            "expire_time": now + KEPT,
            "now": now,
        }
        if (await connection.execute(_CLAIM, values)).rowcount != len(claims):
            raise Retry
    try:
        await connection.execute(_INSERT, _values(tenant, ns, placed))
    except IntegrityError as exc:
        if violated(exc) == "memories_pkey":
            raise Retry from None
        raise
    terms: Counter[str] = Counter()
    for p in placed:
        terms.update(p.new.terms.keys())
    counts = writing.Counts(
        memories=len(placed),
        text_bytes=sum(len(p.new.draft.text.encode()) for p in placed),
        tokens=sum(sum(p.new.terms.values()) for p in placed),
        vectors=sum(p.new.vector is not None for p in placed),
        terms=terms,
    )
    changed = [(p.id, 1) for p in placed]
    return await writing.raise_version(
        connection, tenant, ns, writing.ChangeType.REMEMBERED, changed, placed[-1].new.create_time, counts, etag
    )


def _values(tenant: TenantId, ns: int, placed: Sequence[_Placed]) -> dict[str, object]:
    drafts = [p.new.draft for p in placed]
    lengths = [sum(p.new.terms.values()) for p in placed]
    terms = [(t, p.id, tf, n) for p, n in zip(placed, lengths, strict=True) for t, tf in p.new.terms.items()]
    labels = [(key, value, p.id) for p in placed for key, value in p.new.draft.labels.items()]
    vectors = [(p.id, p.new.vector) for p in placed if p.new.vector is not None]
    return {
        "tenant": tenant,
        "ns": ns,
        "ids": bigints(p.id for p in placed),
        "texts": [draft.text for draft in drafts],
        "kinds": [int(draft.kind) for draft in drafts],
        "sessions": [draft.session for draft in drafts],
        "positions": [p.position for p in placed],
        "subjects": [draft.subject for draft in drafts],
        "labels": [json.dumps(dict(draft.labels)) for draft in drafts],
        "event_times": [p.new.event_time for p in placed],
        "create_times": [p.new.create_time for p in placed],
        "saliences": [p.new.salience for p in placed],
        "expire_times": [p.new.expire_time for p in placed],
        "pinned": [draft.pinned for draft in drafts],
        "lengths": lengths,
        "terms": [term for term, _, _, _ in terms],
        "term_ids": bigints(memory for _, memory, _, _ in terms),
        "tfs": bigints(tf for _, _, tf, _ in terms),
        "term_lengths": bigints(length for _, _, _, length in terms),
        "encoder_id": placed[0].new.encoder_id,
        "vectors": np.concatenate([vector for _, vector in vectors]) if vectors else None,
        "vector_ids": bigints(memory for memory, _ in vectors),
        "dimensions": len(vectors[0][1]) if vectors else 0,
        "label_keys": [key for key, _, _ in labels],
        "label_values": [value for _, value, _ in labels],
        "label_ids": bigints(memory for _, _, memory in labels),
    }
