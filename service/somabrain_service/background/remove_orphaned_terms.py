"""Removes terms of memories that no longer exist, which versions before 0.2 left when a deletion met an update.

A job and not a migration: the migration runs while pods of the former version serve, which may leave further orphans
after it, and one transaction over the largest table would take long. So all terms are read in pages, with a pause after
each, once by each process that becomes the leader and then once a day; a namespace is locked only where it has orphans.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import structlog

from somabrain_service.background.job import BatchResult
from somabrain_service.store.maintenance import MaintenanceStore, TermPosition

TERMS_PER_PAGE = 10_000
"""Maximum rows per page: some milliseconds to read, and a tenth of a second to delete if all of them are orphans."""
PAGE_INTERVAL_S = 1.0
PASS_INTERVAL = timedelta(days=1)

_log = structlog.stdlib.get_logger(__name__)


class RemoveOrphanedTerms:
    """Job that removes orphaned terms. `idle_interval_s`: pause between passes, until the next one is due."""

    name = "orphaned-terms"

    def __init__(self, clock: Callable[[], datetime], idle_interval_s: float) -> None:
        self._clock = clock
        self._idle_interval_s = idle_interval_s
        self._position: TermPosition | None = None
        self._finished_at: datetime | None = None

    @property
    def interval_s(self) -> float:
        """Pause until the next page, or until the next pass once one has ended."""
        return PAGE_INTERVAL_S if self._finished_at is None else self._idle_interval_s

    async def run_once(self, store: MaintenanceStore) -> BatchResult:
        """Process one batch of the shard that `store` has locked."""
        now = self._clock()
        # A time in the future is from before the clock was set back.
        if self._finished_at is not None and self._finished_at <= now < self._finished_at + PASS_INTERVAL:
            return BatchResult(0)
        self._finished_at = None
        page = await store.next_terms(self._position, TERMS_PER_PAGE)
        if page is None:
            self._position, self._finished_at = None, now
            return BatchResult(0)
        removed = sum([await store.remove_orphaned_terms(orphans, now) for orphans in page.orphans])
        if removed:
            _log.info("orphaned terms removed", memories=removed)
        self._position = page.end
        return BatchResult(removed)
