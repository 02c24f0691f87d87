"""Stored request ids and their results (AIP-155).

In the column `memory` a number below 1, which is not a memory's id, is minus the number of memories that an erasure
deleted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.idempotency import IDEMPOTENCY_TTL, RequestKey, request_id_reused
from somabrain_service.domain.names import MemoryId
from somabrain_service.store.postgres.driver.errors import Retry
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import sql

_FIND = sql("""
SELECT k.body_hash, k.namespace_id, k.memory, coalesce(n.version, 0) AS version, coalesce(n.epoch, '') AS epoch
FROM idempotency_keys k LEFT JOIN namespaces n ON n.tenant_id = :tenant AND n.id = k.namespace_id
WHERE k.tenant_id = :tenant AND k.key = :key AND k.expire_time > :now
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

    `memory` None: it did not write a single memory; `forgotten`: that memory has since been deleted, alone or with its
    namespace. `erased_count`: number of memories that an erasure deleted; None: the request was not an erasure. `as_of`
    is the namespace's current version; version 0 if the namespace was deleted.
    """

    ns: int
    memory: MemoryId | None
    forgotten: bool
    erased_count: int | None
    as_of: NamespaceVersion


async def find(connection: Connection, request: RequestKey | None, now: datetime) -> StoredRequest | None:
    """Return the stored request with this id; None: not answered before.

    Raises:
        AlreadyExists: the id was used with another body.
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
    request: RequestKey | None,
    now: datetime,
    *,
    ns: int,
    memory: MemoryId | None,
) -> None:
    """Save the request id in the transaction that answers it.

    Raises:
        Retry: a duplicate of the request committed first.
    """
    if request is None:
        return
    values = {
        "key": request.key,
        "body_hash": request.body_hash,
        "ns": ns,
        "memory": memory,
        "expire_time": now + IDEMPOTENCY_TTL,
        "now": now,
    }
    if (await connection.execute(_SAVE, values)).one_or_none() is None:
        raise Retry
