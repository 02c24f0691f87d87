"""Tells Kafka every change of every namespace: at least once, in order, and without a gap.

A round reads what is to be told, publishes it, and then notes what Kafka keeps. A process that dies between the last
two leaves it to be told again. Two that both believe to be the one tell the same order from the same place; so what
a consumer hears is, whatever happens, an unbroken order in which parts repeat (docs/events.md has the proof).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from common.errors import Unavailable
from somabrain_service.background.job import BatchResult
from somabrain_service.domain.events import build_deletion_event, build_events
from somabrain_service.domain.names import TenantId
from somabrain_service.kafka.publisher import Publisher
from somabrain_service.metrics import Metrics
from somabrain_service.store.maintenance import MaintenanceStore

NAMESPACES_PER_RUN = 16
CHANGES_PER_RUN = 50
"""Changes of a namespace a round. So few, because what a round reads is put together between calls being served."""


class PublishOutbox:
    """See `Worker`. Its lag is that of the oldest change that Kafka does not have."""

    name = "relay"

    def __init__(
        self, publisher: Publisher, source: str, clock: Callable[[], datetime], metrics: Metrics, interval_s: float
    ) -> None:
        self._publisher = publisher
        self._source = source
        self._clock = clock
        self._metrics = metrics
        self.interval_s = interval_s
        self._cursor: tuple[TenantId, int] | None = None

    async def run_once(self, store: MaintenanceStore) -> BatchResult:
        """See `Worker.round`."""
        now = self._clock()
        deleted = await store.deleted_namespaces(NAMESPACES_PER_RUN)
        # Namespaces take turns, so that none whose partition is away keeps others waiting.
        pending = await store.pending_changes(self._cursor, NAMESPACES_PER_RUN, CHANGES_PER_RUN)
        previous, self._cursor = self._cursor, (pending[-1].tenant, pending[-1].ns) if pending else None
        batches = [build_deletion_event(self._source, cursor, now) for cursor in deleted]
        batches += [build_events(self._source, changes, now) for changes in pending]
        if not batches:
            return BatchResult(0, has_more=previous is not None)
        oldest = min((changes.changes[0].change_time for changes in pending if changes.changes), default=now)
        lag_s = (now - oldest).total_seconds()
        try:
            result = await self._publisher.publish([batch.events for batch in batches])
        except Unavailable as exc:
            return BatchResult(0, lag_s=lag_s, failure=exc)
        saved = [batch for batch, acknowledged in zip(batches, result.acknowledged, strict=True) if acknowledged]
        await store.save_cursors(saved)
        count = sum(len(batch.events) for batch in saved)
        self._metrics.events_published.inc(count)
        failure = Unavailable(f"Kafka did not keep all events: {result.reason}.") if result.reason else None
        return BatchResult(count, has_more=True, lag_s=lag_s, failure=failure)
