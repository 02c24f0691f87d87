"""Removes memories past their expire_time. Reads ignore them already, so this job only frees their space."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from somabrain_service.background.job import BatchResult
from somabrain_service.store.maintenance import MaintenanceStore

NAMESPACES_PER_RUN = 64
"""Maximum namespaces per run, one transaction each."""
MEMORIES_PER_TRANSACTION = 500
"""Maximum memories per transaction: about ten thousand rows with their terms, a few hundred milliseconds."""


class ExpireMemories:
    """Job that deletes expired memories."""

    name = "expired-memories"

    def __init__(self, clock: Callable[[], datetime], interval_s: float) -> None:
        self._clock = clock
        self.interval_s = interval_s

    async def run_once(self, store: MaintenanceStore) -> BatchResult:
        """Process one batch of the shard that `store` has locked."""
        now = self._clock()
        namespaces = await store.expired(now, NAMESPACES_PER_RUN)
        removed = [await store.expire(namespace, now, MEMORIES_PER_TRANSACTION) for namespace in namespaces]
        return BatchResult(
            rows=sum(removed),
            has_more=len(namespaces) == NAMESPACES_PER_RUN or MEMORIES_PER_TRANSACTION in removed,
            lag_s=(now - namespaces[0].since).total_seconds() if namespaces else 0.0,
        )
