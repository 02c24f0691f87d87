"""Reanalyzes memories after their namespace's language was changed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from somabrain_service.background.job import BatchResult
from somabrain_service.domain import analyzer
from somabrain_service.store.maintenance import MaintenanceStore

NAMESPACES_PER_RUN = 16
"""Maximum namespaces per run, one transaction each."""
MEMORIES_PER_TRANSACTION = 100
"""Maximum memories per transaction: some thousand rows of terms deleted and as many inserted."""


class Reanalyze:
    """Job that replaces terms of a former analyzer."""

    name = "reanalysis"

    def __init__(self, clock: Callable[[], datetime], interval_s: float) -> None:
        self._clock = clock
        self.interval_s = interval_s

    async def run_once(self, store: MaintenanceStore) -> BatchResult:
        """Process one batch of the shard that `store` has locked."""
        now = self._clock()
        namespaces = await store.unanalyzed(NAMESPACES_PER_RUN)
        counts = [
            await store.analyze(
                namespace, analyzer.get_analyzer(namespace.analyzer).terms, now, MEMORIES_PER_TRANSACTION
            )
            for namespace in namespaces
        ]
        return BatchResult(
            rows=sum(counts),
            has_more=bool(namespaces),
            lag_s=(now - namespaces[0].since).total_seconds() if namespaces else 0.0,
        )
