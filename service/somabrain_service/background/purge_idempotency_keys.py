"""Removes request ids whose 24 hours have passed. They are no longer believed by then, so this only frees space."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from somabrain_service.background.job import BatchResult
from somabrain_service.store.maintenance import MaintenanceStore

KEYS_PER_TRANSACTION = 5000
"""Keys a transaction."""


class PurgeIdempotencyKeys:
    """See `Worker`."""

    name = "old-requests"

    def __init__(self, clock: Callable[[], datetime], interval_s: float) -> None:
        self._clock = clock
        self.interval_s = interval_s

    async def run_once(self, store: MaintenanceStore) -> BatchResult:
        """See `Worker.round`."""
        now = self._clock()
        result = await store.purge_keys(now, KEYS_PER_TRANSACTION)
        return BatchResult(
            rows=result.count, has_more=result.count == KEYS_PER_TRANSACTION, lag_s=(now - result.since).total_seconds()
        )
