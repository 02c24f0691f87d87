"""Gives memories the terms of their namespace's language, after another one was chosen."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from somabrain_service.domain import analyzer
from somabrain_service.store.maintenance import MaintenanceStore
from somabrain_service.workers.protocols import Round

NAMESPACES = 16
"""Namespaces a round, each a transaction."""
MEMORIES = 100
"""Memories a transaction: some thousand rows of terms that go and some thousand that come."""


class Reanalysis:
    """See `Worker`."""

    name = "reanalysis"

    def __init__(self, clock: Callable[[], datetime], rest_s: float) -> None:
        self._clock = clock
        self.rest_s = rest_s

    async def round(self, held: MaintenanceStore) -> Round:
        """See `Worker.round`."""
        now = self._clock()
        found = await held.unanalyzed(NAMESPACES)
        done = [await held.analyze(each, analyzer.get_analyzer(each.analyzer).terms, now, MEMORIES) for each in found]
        return Round(
            rows=sum(done),
            more=bool(found),
            lag_s=(now - found[0].since).total_seconds() if found else 0.0,
        )
