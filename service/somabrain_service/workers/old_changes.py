"""Removes changes past their namespace's feed_retention. Cursors from before them are OUT_OF_RANGE, swept or not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from somabrain_service.store.working import Holding
from somabrain_service.workers.protocols import Round

NAMESPACES = 64
"""Namespaces a round, each a transaction."""
CHANGES = 5000
"""Changes a transaction: narrow rows in the order of their key."""


class OldChanges:
    """See `Worker`."""

    name = "old-changes"

    def __init__(self, clock: Callable[[], datetime], rest_s: float) -> None:
        self._clock = clock
        self.rest_s = rest_s

    async def round(self, held: Holding) -> Round:
        """See `Worker.round`."""
        now = self._clock()
        found = await held.old_feeds(now, NAMESPACES)
        dropped = [await held.drop_changes(due, now, CHANGES) for due in found]
        return Round(
            rows=sum(dropped),
            more=len(found) == NAMESPACES or CHANGES in dropped,
            lag_s=(now - found[0].since).total_seconds() if found else 0.0,
        )
