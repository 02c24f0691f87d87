"""Tells Kafka every change of every namespace: at least once, in order, and without a gap.

A round reads what is to be told, publishes it, and then notes what Kafka keeps. A process that dies between the last
two leaves it to be told again. Two that both believe to be the one tell the same order from the same place; so what
a consumer hears is, whatever happens, an unbroken order in which parts repeat (docs/events.md has the proof).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from common.errors import Unavailable
from somabrain_service.domain.events import build_deletion_event, build_events
from somabrain_service.domain.names import TenantId
from somabrain_service.kafka.publisher import Publisher
from somabrain_service.metrics import Metrics
from somabrain_service.store.maintenance import MaintenanceStore
from somabrain_service.workers.protocols import Round

NAMESPACES = 16
CHANGES = 50
"""Changes of a namespace a round. So few, because what a round reads is put together between calls being served."""


class Relay:
    """See `Worker`. Its lag is that of the oldest change that Kafka does not have."""

    name = "relay"

    def __init__(
        self, publisher: Publisher, source: str, clock: Callable[[], datetime], metrics: Metrics, rest_s: float
    ) -> None:
        self._publisher = publisher
        self._source = source
        self._clock = clock
        self._metrics = metrics
        self.rest_s = rest_s
        self._after: tuple[TenantId, int] | None = None

    async def round(self, held: MaintenanceStore) -> Round:
        """See `Worker.round`."""
        now = self._clock()
        vanished = await held.deleted_namespaces(NAMESPACES)
        # Namespaces take turns, so that none whose partition is away keeps others waiting.
        backlogs = await held.pending_changes(self._after, NAMESPACES, CHANGES)
        begun, self._after = self._after, (backlogs[-1].tenant, backlogs[-1].ns) if backlogs else None
        tellings = [build_deletion_event(self._source, told, now) for told in vanished]
        tellings += [build_events(self._source, backlog, now) for backlog in backlogs]
        if not tellings:
            return Round(0, more=begun is not None)
        oldest = min((backlog.changes[0].change_time for backlog in backlogs if backlog.changes), default=now)
        lag_s = (now - oldest).total_seconds()
        try:
            published = await self._publisher.publish([telling.events for telling in tellings])
        except Unavailable as exc:
            return Round(0, lag_s=lag_s, failure=exc)
        kept = [telling for telling, whole in zip(tellings, published.whole, strict=True) if whole]
        await held.save_cursors(kept)
        count = sum(len(telling.events) for telling in kept)
        self._metrics.events_published.inc(count)
        failure = Unavailable(f"Kafka did not keep all events: {published.reason}.") if published.reason else None
        return Round(count, more=True, lag_s=lag_s, failure=failure)
