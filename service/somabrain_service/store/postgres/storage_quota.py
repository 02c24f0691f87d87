"""Check of a tenant's storage usage against its quota, in the writing transaction.

Namespaces are written concurrently, and no transaction sees the uncommitted writes of others. So near the limit the
growing writes of a tenant are serialised by an exclusive advisory lock, which each keeps until it has committed. Far
from the limit they share the lock, because all writes in flight, the largest batch on each of `writers` connections,
fit in any case:

    let S be the usage that the last of the writes sharing the lock reads. S + writers · largest ≤ limit, and at most
    `writers` are in flight, so together they end at or below the limit.

The lock is taken before every other lock (`driver.locks`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from common.errors import ResourceExhausted
from somabrain_service.domain import limits
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.quota import StorageUsage, quota_exceeded
from somabrain_service.domain.token_vectors import MAX_WORD_PIECES, bytes_per_piece
from somabrain_service.store.postgres.driver import locks
from somabrain_service.store.postgres.driver.errors import Retry
from somabrain_service.store.postgres.driver.pipeline import Connection
from somabrain_service.store.postgres.driver.statement import sql
from somabrain_service.store.postgres.queries import rows

_USED = sql("""
SELECT coalesce(sum(u.memories), 0) AS memories, coalesce(sum(u.text_bytes), 0) AS text_bytes,
    coalesce(sum(u.token_bytes), 0) AS token_bytes FROM usage u
WHERE u.tenant_id = :tenant
""")
# Expired memories are counted in `usage` until they are deleted; they cannot be read, so they do not count here.
_EXPIRED = sql(f"""
SELECT count(*) AS memories, coalesce(sum({rows.STORED_BYTES}), 0) AS text_bytes,
    coalesce(sum(v.size_bytes), 0) AS token_bytes
FROM memories m LEFT JOIN memory_token_vectors v
    ON v.tenant_id = :tenant AND v.namespace_id = m.namespace_id AND v.memory = m.id
WHERE m.tenant_id = :tenant AND m.expire_time <= :now
""")

MAX_WRITE = StorageUsage(
    limits.MAX_BATCH_ITEMS,
    limits.MAX_BATCH_BYTES,
    limits.MAX_BATCH_ITEMS * MAX_WORD_PIECES * bytes_per_piece(limits.MAX_VECTOR_DIMENSIONS),
)
"""Maximum that one transaction adds."""


@dataclass(slots=True)
class Headroom:
    """Storage limit of a tenant, and its usage including reservations."""

    limit: StorageUsage
    used: StorageUsage

    def reserve(self, more: StorageUsage) -> ResourceExhausted | None:
        """Add `more` to the usage; return the error instead if it exceeds the limit."""
        exhausted = quota_exceeded(self.limit, self.used, more)
        if exhausted is None:
            self.used += more
        return exhausted


class StorageQuota:
    """Storage limits of tenants. `writers`: number of connections of all pods together."""

    def __init__(self, limit_of: Callable[[TenantId], StorageUsage], writers: int) -> None:
        self._limit_of = limit_of
        self._max_in_flight = MAX_WRITE * writers
        self._near_limit: set[TenantId] = set()

    async def headroom(
        self, connection: Connection, tenant: TenantId, more: StorageUsage, now: datetime
    ) -> Headroom | None:
        """Return the headroom of a transaction that would add `more`; None: enough for it.

        To be called before everything else in a transaction.

        Raises:
            Retry: the exclusive lock is needed, which the next attempt takes.
        """
        limit = self._limit_of(tenant)
        if not limit.limited or not more.grows:
            return None
        exclusive = tenant in self._near_limit
        lock = locks.QUOTA_EXCLUSIVE if exclusive else locks.QUOTA_SHARED
        await connection.execute(lock, {"quota": locks.quota_key(tenant)})
        used = await _current_usage(connection)
        if quota_exceeded(limit, used, more + self._max_in_flight) is None:
            self._near_limit.discard(tenant)
            return None
        if not exclusive:
            # A shared lock cannot be upgraded while others share it: start again.
            self._near_limit.add(tenant)
            raise Retry
        if quota_exceeded(limit, used, more) is not None:
            expired = (await connection.execute(_EXPIRED, {"now": now})).one()
            used += _usage(expired) * -1
        return Headroom(limit, used)


async def _current_usage(connection: Connection) -> StorageUsage:
    return _usage((await connection.execute(_USED)).one())


def _usage(row: Any) -> StorageUsage:
    return StorageUsage(int(row.memories), int(row.text_bytes), int(row.token_bytes))
