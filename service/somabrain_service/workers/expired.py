"""Removes memories past their expire_time. Until then reads pass over them, so this only frees what they take up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from somabrain_service.store.maintenance import MaintenanceStore
from somabrain_service.workers.protocols import Round

NAMESPACES = 64
"""Namespaces a round, each a transaction."""
MEMORIES = 500
"""Memories a transaction: some ten thousand rows with their terms, a few hundred milliseconds."""


class ExpiredMemories:
    """See `Worker`."""

    name = "expired-memories"

    def __init__(self, clock: Callable[[], datetime], rest_s: float) -> None:
        self._clock = clock
        self.rest_s = rest_s

    async def round(self, held: MaintenanceStore) -> Round:
        """See `Worker.round`."""
        now = self._clock()
        found = await held.expired(now, NAMESPACES)
        removed = [await held.expire(due, now, MEMORIES) for due in found]
        return Round(
            rows=sum(removed),
            more=len(found) == NAMESPACES or MEMORIES in removed,
            lag_s=(now - found[0].since).total_seconds() if found else 0.0,
        )
