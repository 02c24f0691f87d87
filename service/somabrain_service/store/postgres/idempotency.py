"""Requests that have been answered before (AIP-155).

In the column `memory` a number below 1, which is no memory's, is minus the count of memories that an erasure forgot.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.idempotency import IDEMPOTENCY_TTL, RequestKey, request_id_reused
from somabrain_service.domain.names import MemoryId, TenantId
from somabrain_service.store.postgres.errors import Retry
from somabrain_service.store.postgres.pipeline import Connection
from somabrain_service.store.postgres.statement import sql

_FIND = sql("""
SELECT k.body_hash, k.namespace_id, k.memory, coalesce(n.version, 0) AS version, coalesce(n.epoch, '') AS epoch
FROM idempotency_keys k LEFT JOIN namespaces n ON n.id = k.namespace_id WHERE k.key = :key AND k.expire_time > :now
""")

_SAVE = sql("""
INSERT INTO idempotency_keys (tenant_id, key, body_hash, namespace_id, memory, expire_time)
VALUES (:tenant, :key, :body_hash, :ns, :memory, :expire_time)
ON CONFLICT (tenant_id, key) DO UPDATE SET body_hash = excluded.body_hash, namespace_id = excluded.namespace_id,
    memory = excluded.memory, expire_time = excluded.expire_time
    WHERE idempotency_keys.expire_time <= :now
RETURNING true
""")


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A request that was answered before.

    `memory` None: it made or forgot no single one; `forgotten`: it is gone since, alone or with its namespace.
    `erased`: how many memories an erasure forgot; None: it was none. The moment is now's; where the namespace is gone,
    it is before all of any.
    """

    ns: int
    memory: MemoryId | None
    forgotten: bool
    erased_count: int | None
    as_of: NamespaceVersion


async def find(connection: Connection, request: RequestKey | None, now: datetime) -> StoredRequest | None:
    """Whether the request was answered before.

    Raises:
        AlreadyExists: its id came with another body.
    """
    if request is None:
        return None
    row = (await connection.execute(_FIND, {"key": request.key, "now": now})).one_or_none()
    if row is None:
        return None
    if row.body_hash is not None and row.body_hash != request.body_hash:
        raise request_id_reused()
    number: int | None = row.memory
    return StoredRequest(
        ns=row.namespace_id,
        memory=MemoryId(number) if number is not None and number > 0 else None,
        forgotten=row.body_hash is None,
        erased_count=-number if number is not None and number <= 0 else None,
        as_of=NamespaceVersion(row.epoch, row.version),
    )


async def save(
    connection: Connection,
    tenant: TenantId,
    request: RequestKey | None,
    now: datetime,
    *,
    ns: int,
    memory: MemoryId | None,
) -> None:
    """Remember that the request is being answered. When its twin was first, the transaction begins again."""
    if request is None:
        return
    values = {
        "tenant": tenant,
        "key": request.key,
        "body_hash": request.body_hash,
        "ns": ns,
        "memory": memory,
        "expire_time": now + IDEMPOTENCY_TTL,
        "now": now,
    }
    if (await connection.execute(_SAVE, values)).one_or_none() is None:
        raise Retry
