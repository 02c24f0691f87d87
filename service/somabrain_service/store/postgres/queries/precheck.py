"""Preconditions of an insert, read in one round trip.

The locks of all its sessions are taken first, until the end of the transaction: the state of a session read here does
not change before that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from somabrain_service.domain.idempotency import RequestKey
from somabrain_service.domain.names import MemoryId, NamespaceName, TenantId
from somabrain_service.domain.namespace import Namespace
from somabrain_service.store.postgres.driver import locks
from somabrain_service.store.postgres.driver.arrays import numbers, texts
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import Statement, sql
from somabrain_service.store.postgres.queries import filters, namespaces, rows
from somabrain_service.store.records import NewMemory

Item = tuple[NewMemory, RequestKey | None]

_STORED_REQUESTS = sql(f"""
SELECT k.key AS request_key, k.body_hash, k.memory AS request_memory, {rows.MEMORY}
FROM idempotency_keys k LEFT JOIN memories m
    ON m.tenant_id = :tenant AND m.namespace_id = k.namespace_id AND m.id = k.memory AND k.body_hash IS NOT NULL
    AND {filters.LIVE}
WHERE k.tenant_id = :tenant AND k.key = ANY(CAST(:keys AS bytea[])) AND k.expire_time > :now
""")

_LAST_POSITIONS = sql("""
SELECT m.session, max(m.position) AS last FROM memories m
WHERE m.tenant_id = :tenant
    AND m.namespace_id = (SELECT n.id FROM namespaces n WHERE n.tenant_id = :tenant AND n.name = :name)
    AND m.session <> '' AND m.session = ANY(CAST(:sessions AS text[])) GROUP BY m.session
""")

_OCCUPIED_POSITIONS = sql("""
SELECT m.session, m.position
FROM unnest(CAST(:sessions AS text[]), CAST(:positions AS bigint[])) AS p (session, position)
JOIN memories m ON m.tenant_id = :tenant
    AND m.namespace_id = (SELECT n.id FROM namespaces n WHERE n.tenant_id = :tenant AND n.name = :name)
    AND m.session = p.session AND m.position = p.position AND m.session <> ''
""")

KEY_HOLDERS = sql("""
SELECT m.key, m.id, (m.expire_time <= :now) IS TRUE AS expired FROM memories m
WHERE m.tenant_id = :tenant
    AND m.namespace_id = (SELECT n.id FROM namespaces n WHERE n.tenant_id = :tenant AND n.name = :name)
    AND m.key = ANY(CAST(:memory_keys AS text[]))
""")


class ExpiredKeyHolders(Exception):
    """Memories of the namespace `ns` that have expired still have keys to be claimed: delete them, and try again."""

    def __init__(self, ns: int, ids: Sequence[int]) -> None:
        super().__init__()
        self.ns = ns
        self.ids = ids


@dataclass(frozen=True, slots=True)
class Preconditions:
    """State of the namespace that an insert depends on.

    `stored_requests`: rows of answered requests, by key. `last_positions`: highest position per session.
    `occupied_positions`: those of the requested positions that another memory has. `key_holders`: the live memory of
    each of the requested keys that one has.
    """

    namespace: Namespace
    stored_requests: Mapping[bytes, Any]
    last_positions: Mapping[str, int]
    occupied_positions: frozenset[tuple[str, int]]
    key_holders: Mapping[str, MemoryId]


def assumed_preconditions(namespace: Namespace, items: Sequence[Item]) -> Preconditions | None:
    """Return the usual preconditions: the namespace unchanged, no stored request, no key taken. None: load them.

    Where the assumption is wrong, the statement fails as `insert.lost_race` describes.
    """
    if not items or any(new.draft.session for new, _ in items):
        return None
    return Preconditions(namespace, {}, {}, frozenset(), {})


async def load_preconditions(
    connection: Connection, tenant: TenantId, name: NamespaceName, items: Sequence[Item], now: datetime
) -> Preconditions | None:
    """Read the preconditions of the items; None: no such namespace.

    Raises:
        ExpiredKeyHolders: some of the keys have to be freed first.
    """
    name_parameter = {"name": name.namespace}
    keys = [request.key for _, request in items if request]
    drafts = [new.draft for new, _ in items if new.draft.session]
    sessions = sorted({draft.session for draft in drafts})
    memory_keys = {"memory_keys": texts(sorted({new.draft.key for new, _ in items if new.draft.key})), "now": now}
    explicit_positions = [
        (draft.session, draft.session_position) for draft in drafts if draft.session_position is not None
    ]
    statements: list[Statement] = [
        (namespaces.FIND, name_parameter),
        (_STORED_REQUESTS, {"keys": keys, "now": now}),
        (KEY_HOLDERS, {**name_parameter, **memory_keys}),
    ]
    if sessions:
        lock_keys = sorted(locks.session_key(tenant, name, session) for session in sessions)
        position_arrays = {
            "sessions": texts(session for session, _ in explicit_positions),
            "positions": numbers(position for _, position in explicit_positions),
        }
        statements = [
            (locks.SESSIONS, {"sessions": numbers(lock_keys)}),
            *statements,
            (_LAST_POSITIONS, {**name_parameter, "sessions": texts(sessions)}),
            (_OCCUPIED_POSITIONS, {**name_parameter, **position_arrays}),
        ]
    results = await connection.execute_all(*statements)
    namespace, stored_requests, holders = results[1:4] if sessions else results
    last_positions, occupied_positions = results[4:] if sessions else ((), ())
    row = namespace.one_or_none()
    if row is None:
        return None
    key_rows = holders.all()
    if expired := [holder.id for holder in key_rows if holder.expired]:
        raise ExpiredKeyHolders(row.id, expired)
    return Preconditions(
        namespace=rows.namespace(row),
        stored_requests={bytes(row.request_key): row for row in stored_requests},
        last_positions={row.session: row.last for row in last_positions},
        occupied_positions=frozenset((row.session, row.position) for row in occupied_positions),
        key_holders={holder.key: holder.id for holder in key_rows},
    )
