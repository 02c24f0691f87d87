"""Removes memories past their expire_time. Until then reads pass over them, so this only frees what they take up."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from somabrain_service.background.job import BatchResult
from somabrain_service.store.maintenance import MaintenanceStore

NAMESPACES_PER_RUN = 64
"""Namespaces a round, each a transaction."""
MEMORIES_PER_TRANSACTION = 500
"""Memories a transaction: some ten thousand rows with their terms, a few hundred milliseconds."""


class ExpireMemories:
    """See `Worker`."""

    name = "expired-memories"

    def __init__(self, clock: Callable[[], datetime], interval_s: float) -> None:
        self._clock = clock
        self.interval_s = interval_s

    async def run_once(self, store: MaintenanceStore) -> BatchResult:
        """See `Worker.round`."""
        now = self._clock()
        namespaces = await store.expired(now, NAMESPACES_PER_RUN)
        removed = [await store.expire(namespace, now, MEMORIES_PER_TRANSACTION) for namespace in namespaces]
        return BatchResult(
            rows=sum(removed),
            has_more=len(namespaces) == NAMESPACES_PER_RUN or MEMORIES_PER_TRANSACTION in removed,
            lag_s=(now - namespaces[0].since).total_seconds() if namespaces else 0.0,
        )
