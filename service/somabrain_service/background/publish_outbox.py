"""Publishes every change of every namespace to Kafka: at least once, in order, and without a gap.

A run reads pending changes, publishes them, and then saves the cursors of what Kafka acknowledged. A process that dies
between the last two leaves the changes to be published again. Two processes that both believe to be the leader publish
the same sequence from the same cursor; so a consumer always receives a sequence without gaps in which parts may repeat
(docs/events.md has the proof).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from common.errors import Unavailable
from somabrain_service.background.job import BatchResult
from somabrain_service.domain.names import TenantId
from somabrain_service.events.cloudevents import build_deletion_event, build_events
from somabrain_service.events.publisher import Publisher
from somabrain_service.metrics import Metrics
from somabrain_service.store.maintenance import MaintenanceStore

NAMESPACES_PER_RUN = 16
CHANGES_PER_RUN = 50
"""Maximum changes per namespace and run. Low, because events are built on the event loop, which also serves calls."""


class PublishOutbox:
    """Job that publishes changes to Kafka. Its lag is the age of the oldest unpublished change."""

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
        """Process one batch of the shard that `store` has locked."""
        now = self._clock()
        deleted = await store.deleted_namespaces(NAMESPACES_PER_RUN)
        # Namespaces take turns, so that one whose partition is unavailable does not block the others.
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
        failure = Unavailable(f"Kafka did not acknowledge all events: {result.reason}.") if result.reason else None
        return BatchResult(count, has_more=True, lag_s=lag_s, failure=failure)
