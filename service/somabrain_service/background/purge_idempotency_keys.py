"""Removes request ids older than 24 hours. Writes ignore them already, so this job only frees their space."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from somabrain_service.background.job import BatchResult
from somabrain_service.store.maintenance import MaintenanceStore

KEYS_PER_TRANSACTION = 5000
"""Maximum keys per transaction."""


class PurgeIdempotencyKeys:
    """Job that deletes expired request ids."""

    name = "old-requests"

    def __init__(self, clock: Callable[[], datetime], interval_s: float) -> None:
        self._clock = clock
        self.interval_s = interval_s

    async def run_once(self, store: MaintenanceStore) -> BatchResult:
        """Process one batch of the shard that `store` has locked."""
        now = self._clock()
        result = await store.purge_keys(now, KEYS_PER_TRANSACTION)
        return BatchResult(
            rows=result.count, has_more=result.count == KEYS_PER_TRANSACTION, lag_s=(now - result.since).total_seconds()
        )
