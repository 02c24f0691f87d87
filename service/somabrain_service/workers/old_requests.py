"""Removes request ids whose 24 hours have passed. They are no longer believed by then, so this only frees space."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from somabrain_service.store.maintenance import MaintenanceStore
from somabrain_service.workers.protocols import Round

KEYS = 5000
"""Keys a transaction."""


class OldRequests:
    """See `Worker`."""

    name = "old-requests"

    def __init__(self, clock: Callable[[], datetime], rest_s: float) -> None:
        self._clock = clock
        self.rest_s = rest_s

    async def round(self, held: MaintenanceStore) -> Round:
        """See `Worker.round`."""
        now = self._clock()
        dropped = await held.purge_keys(now, KEYS)
        return Round(rows=dropped.count, more=dropped.count == KEYS, lag_s=(now - dropped.since).total_seconds())
