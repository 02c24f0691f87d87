"""What a tenant holds, held against what it may, in the transaction that writes.

Namespaces are written side by side, and no transaction sees what others are about to commit. So near the limit growing
writes of a tenant take turns, by an advisory lock that each holds alone until it has committed. Far from it they share
the lock, and all that may be under way then, the largest batch on each of `writers` connections, fits in any case:

    of the writes that share the lock, let the last to look see S held. S + writers · largest ≤ allowed, and at most
    `writers` are under way, so together they end at or below what is allowed.

The lock is taken before every other one, so that nobody waits for it who holds what its holder needs.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from common.errors import ResourceExhausted
from somabrain_service.domain import limits
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.quota import StorageUsage, quota_exceeded
from somabrain_service.store.postgres.errors import Retry
from somabrain_service.store.postgres.pipeline import Connection
from somabrain_service.store.postgres.statement import sql

_USED = sql("SELECT coalesce(sum(memories), 0) AS memories, coalesce(sum(text_bytes), 0) AS text_bytes FROM usage")
_LOCK_SHARED = sql("SELECT pg_advisory_xact_lock_shared(:tenant)")
_LOCK_EXCLUSIVE = sql("SELECT pg_advisory_xact_lock(:tenant)")
# What has expired is counted in `usage` until it is swept; nobody can read it, so it fills nothing.
_EXPIRED = sql("""
SELECT count(*) AS memories, coalesce(sum(octet_length(text)), 0) AS text_bytes FROM memories WHERE expire_time <= :now
""")

MAX_WRITE = StorageUsage(limits.BATCH, limits.BATCH_BYTES)
"""What one transaction adds at most."""


@dataclass(slots=True)
class Headroom:
    """What a tenant may hold, and what it will hold as more is let in."""

    limit: StorageUsage
    used: StorageUsage

    def reserve(self, more: StorageUsage) -> ResourceExhausted | None:
        """Count `more` in, or say why not."""
        exhausted = quota_exceeded(self.limit, self.used, more)
        if exhausted is None:
            self.used += more
        return exhausted


class StorageQuota:
    """What tenants may hold. `writers`: the connections that all replicas have together."""

    def __init__(self, limit_of: Callable[[TenantId], StorageUsage], writers: int) -> None:
        self._limit_of = limit_of
        self._max_in_flight = StorageUsage(MAX_WRITE.memories * writers, MAX_WRITE.text_bytes * writers)
        self._near_limit: set[TenantId] = set()

    async def headroom(
        self, connection: Connection, tenant: TenantId, more: StorageUsage, now: datetime
    ) -> Headroom | None:
        """The room for a transaction that would add `more`; None: there is enough.

        To be asked before everything else in a transaction.
        """
        limit = self._limit_of(tenant)
        if not limit.limited or not (more.memories > 0 or more.text_bytes > 0):
            return None
        exclusive = tenant in self._near_limit
        await connection.execute(_LOCK_EXCLUSIVE if exclusive else _LOCK_SHARED, {"tenant": _lock_key(tenant)})
        used = await _current_usage(connection)
        if quota_exceeded(limit, used, more + self._max_in_flight) is None:
            self._near_limit.discard(tenant)
            return None
        if not exclusive:
            # A shared lock is not made one's own while others hold it, too: begin again.
            self._near_limit.add(tenant)
            raise Retry
        if quota_exceeded(limit, used, more) is not None:
            expired = (await connection.execute(_EXPIRED, {"now": now})).one()
            used = StorageUsage(used.memories - expired.memories, used.text_bytes - int(expired.text_bytes))
        return Headroom(limit, used)


async def _current_usage(connection: Connection) -> StorageUsage:
    row = (await connection.execute(_USED)).one()
    return StorageUsage(int(row.memories), int(row.text_bytes))


def _lock_key(tenant: TenantId) -> int:
    """The number that stands for a tenant's stock among advisory locks."""
    return int.from_bytes(hashlib.blake2b(f"stock/{tenant}".encode(), digest_size=8).digest(), signed=True)
