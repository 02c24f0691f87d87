"""Removes changes past their namespace's feed_retention. Cursors from before them are OUT_OF_RANGE, trimmed or not.

If events are published, unpublished changes are retained longer, up to a bound; past it they are removed unpublished,
which is logged and counted.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from somabrain_service.background.job import BatchResult
from somabrain_service.metrics import Metrics
from somabrain_service.store.maintenance import MaintenanceStore

NAMESPACES_PER_RUN = 64
"""Maximum namespaces per run, one transaction each."""
CHANGES_PER_TRANSACTION = 5000
"""Maximum changes per transaction: narrow rows in the order of their key."""

_log = structlog.stdlib.get_logger(__name__)


class TrimChangeFeed:
    """Job that trims change feeds. `grace_period`: extra retention of unpublished changes; None: events are off."""

    name = "old-changes"

    def __init__(
        self, clock: Callable[[], datetime], metrics: Metrics, interval_s: float, grace_period: timedelta | None = None
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._grace_period = grace_period
        self.interval_s = interval_s

    async def run_once(self, store: MaintenanceStore) -> BatchResult:
        """Process one batch of the shard that `store` has locked."""
        now = self._clock()
        grace_period = self._grace_period or timedelta(0)
        namespaces = await store.namespaces_to_trim(now, grace_period, NAMESPACES_PER_RUN)
        results = [
            await store.trim_changes(namespace, now, grace_period, CHANGES_PER_TRANSACTION) for namespace in namespaces
        ]
        unpublished = sum(result.unpublished for result in results)
        if unpublished and self._grace_period is not None:
            self._metrics.events_lost.inc(unpublished)
            _log.error("changes removed before publication", changes=unpublished, held=str(self._grace_period))
        return BatchResult(
            rows=sum(result.count for result in results),
            has_more=len(namespaces) == NAMESPACES_PER_RUN
            or any(result.count == CHANGES_PER_TRANSACTION for result in results),
            lag_s=(now - namespaces[0].since).total_seconds() if namespaces else 0.0,
        )
