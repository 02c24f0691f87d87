"""Removes changes past their namespace's feed_retention. Cursors from before them are OUT_OF_RANGE, swept or not.

Where events are told, changes wait for them, up to a bound; what passes it is removed untold, which is said.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from somabrain_service.metrics import Metrics
from somabrain_service.store.maintenance import MaintenanceStore
from somabrain_service.workers.protocols import Round

NAMESPACES = 64
"""Namespaces a round, each a transaction."""
CHANGES = 5000
"""Changes a transaction: narrow rows in the order of their key."""

_log = structlog.get_logger(__name__)


class OldChanges:
    """See `Worker`. `hold`: how long changes wait for their events after the retention; None: no events are told."""

    name = "old-changes"

    def __init__(
        self, clock: Callable[[], datetime], metrics: Metrics, rest_s: float, hold: timedelta | None = None
    ) -> None:
        self._clock = clock
        self._metrics = metrics
        self._hold = hold
        self.rest_s = rest_s

    async def round(self, held: MaintenanceStore) -> Round:
        """See `Worker.round`."""
        now = self._clock()
        hold = self._hold or timedelta(0)
        found = await held.namespaces_to_trim(now, hold, NAMESPACES)
        dropped = [await held.trim_changes(due, now, hold, CHANGES) for due in found]
        untold = sum(each.unpublished for each in dropped)
        if untold and self._hold is not None:
            self._metrics.events_lost.inc(untold)
            _log.error("changes were removed before Kafka took them", changes=untold, held=str(self._hold))
        return Round(
            rows=sum(each.count for each in dropped),
            more=len(found) == NAMESPACES or any(each.count == CHANGES for each in dropped),
            lag_s=(now - found[0].since).total_seconds() if found else 0.0,
        )
