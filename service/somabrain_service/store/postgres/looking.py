"""What a transaction must know before it keeps memories, in one round trip.

The locks of all their sessions are taken first and held to its end: what is seen of a session stays so until then.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from somabrain_service.domain.idempotency import RequestKey
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.store.postgres import filters, namespaces, rows, writing
from somabrain_service.store.postgres.arrays import numbers, texts
from somabrain_service.store.postgres.connection import Connection
from somabrain_service.store.postgres.sql import Statement, sql
from somabrain_service.store.values import NewMemory

Item = tuple[NewMemory, RequestKey | None]

_ANSWERED = sql(f"""
SELECT k.key, k.body_hash, k.memory AS request_memory, {rows.MEMORY}
FROM idempotency_keys k LEFT JOIN memories m
    ON m.namespace_id = k.namespace_id AND m.id = k.memory AND k.body_hash IS NOT NULL AND {filters.LIVE}
WHERE k.key = ANY(CAST(:keys AS bytea[])) AND k.expire_time > :now
""")

_LAST = sql("""
SELECT session, max(position) AS last FROM memories
WHERE namespace_id = (SELECT id FROM namespaces WHERE name = :name)
    AND session <> '' AND session = ANY(CAST(:sessions AS text[])) GROUP BY session
""")

_TAKEN = sql("""
SELECT m.session, m.position
FROM unnest(CAST(:sessions AS text[]), CAST(:positions AS bigint[])) AS p (session, position)
JOIN memories m ON m.namespace_id = (SELECT id FROM namespaces WHERE name = :name)
    AND m.session = p.session AND m.position = p.position AND m.session <> ''
""")


@dataclass(frozen=True, slots=True)
class Seen:
    """The namespace, and what is there already.

    `answered`: requests, by key. `last`: places of sessions; `taken`: of those that are wanted.
    """

    namespace: Namespace
    answered: Mapping[bytes, Any]
    last: Mapping[str, int]
    taken: frozenset[tuple[str, int]]


def believed(namespace: Namespace, items: Sequence[Item]) -> Seen | None:
    """What most writes would see: the namespace as it was, and nothing of theirs there. None: that is to be looked at.

    Where it is not so, `keeping` refuses.
    """
    if not items or any(new.draft.session for new, _ in items):
        return None
    return Seen(namespace, {}, {}, frozenset())


async def look(
    connection: Connection, tenant: TenantId, name: NamespaceName, items: Sequence[Item], now: datetime
) -> Seen | None:
    """Look at all that the items touch; None: no such namespace."""
    named = {"name": name.namespace}
    keys = [request.key for _, request in items if request]
    drafts = [new.draft for new, _ in items if new.draft.session]
    sessions = sorted({draft.session for draft in drafts})
    fixed = [(draft.session, draft.session_position) for draft in drafts if draft.session_position is not None]
    statements: list[Statement] = [(namespaces.FIND, named), (_ANSWERED, {"keys": keys, "now": now})]
    if sessions:
        locks = sorted(writing.session_lock(tenant, name, session) for session in sessions)
        wanted = {"sessions": texts(session for session, _ in fixed), "positions": numbers(place for _, place in fixed)}
        statements = [
            (writing.LOCK_SESSIONS, {"sessions": numbers(locks)}),
            *statements,
            (_LAST, {**named, "sessions": texts(sessions)}),
            (_TAKEN, {**named, **wanted}),
        ]
    found = await connection.execute_all(*statements)
    namespace, answered = found[1:3] if sessions else found
    last, taken = found[3:] if sessions else ((), ())
    row = namespace.one_or_none()
    if row is None:
        return None
    return Seen(
        namespace=rows.namespace(row),
        answered={bytes(row.key): row for row in answered},
        last={row.session: row.last for row in last},
        taken=frozenset((row.session, row.position) for row in taken),
    )
