"""The protocol of a background job."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from common.errors import SomaBrainError
from somabrain_service.store.maintenance import MaintenanceStore


@dataclass(frozen=True, slots=True)
class BatchResult:
    """Result of one run.

    `rows`: number of processed items. `has_more`: more items can be processed at once. `lag_s`: age of the oldest
    pending item. `failure`: the error that kept the run from processing all its items; None: none.
    """

    rows: int
    has_more: bool = False
    lag_s: float = 0.0
    failure: SomaBrainError | None = None


class Job(Protocol):
    """One background job. `name` identifies its lock and labels its metrics; `interval_s` is the pause when it is idle.

    A run is small: it ends within seconds, and never blocks the event loop, which serves calls meanwhile.
    """

    @property
    def name(self) -> str:
        """Name of the lock, and label of the metrics."""
        ...

    @property
    def interval_s(self) -> float:
        """Pause between runs while nothing is pending."""
        ...

    async def run_once(self, store: MaintenanceStore) -> BatchResult:
        """Process one batch of the shard that `store` has locked.

        Raises:
            SomaBrainError: the run failed; the runner retries it with back-off.
        """
        ...
