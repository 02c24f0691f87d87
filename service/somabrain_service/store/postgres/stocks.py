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
from somabrain_service.domain.quota import Stock, refusal
from somabrain_service.store.postgres.connection import Connection
from somabrain_service.store.postgres.faults import Retry
from somabrain_service.store.postgres.sql import sql

_HELD = sql("SELECT coalesce(sum(memories), 0) AS memories, coalesce(sum(text_bytes), 0) AS text_bytes FROM usage")
_SHARED = sql("SELECT pg_advisory_xact_lock_shared(:tenant)")
_ALONE = sql("SELECT pg_advisory_xact_lock(:tenant)")
# What has expired is counted in `usage` until it is swept; nobody can read it, so it fills nothing.
_EXPIRED = sql("""
SELECT count(*) AS memories, coalesce(sum(octet_length(text)), 0) AS text_bytes FROM memories WHERE expire_time <= :now
""")

LARGEST = Stock(limits.BATCH, limits.BATCH_BYTES)
"""What one transaction adds at most."""


@dataclass(slots=True)
class Room:
    """What a tenant may hold, and what it will hold as more is let in."""

    allowed: Stock
    held: Stock

    def let_in(self, more: Stock) -> ResourceExhausted | None:
        """Count `more` in, or say why not."""
        refused = refusal(self.allowed, self.held, more)
        if refused is None:
            self.held += more
        return refused


class Stocks:
    """What tenants may hold. `writers`: the connections that all replicas have together."""

    def __init__(self, allowed: Callable[[TenantId], Stock], writers: int) -> None:
        self._allowed = allowed
        self._under_way = Stock(LARGEST.memories * writers, LARGEST.text_bytes * writers)
        self._near: set[TenantId] = set()

    async def room(self, connection: Connection, tenant: TenantId, more: Stock, now: datetime) -> Room | None:
        """The room for a transaction that would add `more`; None: there is enough.

        To be asked before everything else in a transaction.
        """
        allowed = self._allowed(tenant)
        if not allowed.limited or not (more.memories > 0 or more.text_bytes > 0):
            return None
        alone = tenant in self._near
        await connection.execute(_ALONE if alone else _SHARED, {"tenant": _lock(tenant)})
        held = await _sum(connection)
        if refusal(allowed, held, more + self._under_way) is None:
            self._near.discard(tenant)
            return None
        if not alone:
            # A shared lock is not made one's own while others hold it, too: begin again.
            self._near.add(tenant)
            raise Retry
        if refusal(allowed, held, more) is not None:
            expired = (await connection.execute(_EXPIRED, {"now": now})).one()
            held = Stock(held.memories - expired.memories, held.text_bytes - int(expired.text_bytes))
        return Room(allowed, held)


async def _sum(connection: Connection) -> Stock:
    row = (await connection.execute(_HELD)).one()
    return Stock(int(row.memories), int(row.text_bytes))


def _lock(tenant: TenantId) -> int:
    """The number that stands for a tenant's stock among advisory locks."""
    return int.from_bytes(hashlib.blake2b(f"stock/{tenant}".encode(), digest_size=8).digest(), signed=True)
