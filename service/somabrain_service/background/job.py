"""What a work is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from common.errors import SomaBrainError
from somabrain_service.store.maintenance import MaintenanceStore


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What one round did.

    `rows`: how many things were done. `more`: something is left that can be done at once. `lag_s`: for how long the
    oldest of what the round found had been waiting. `failure`: why the round could not do all that it found.
    """

    rows: int
    has_more: bool = False
    lag_s: float = 0.0
    failure: SomaBrainError | None = None


class Job(Protocol):
    """One work. `name` is that of its lock and a metric's label; `rest_s` is how long it waits when nothing is left.

    A round is small: it ends within seconds, and never blocks the event loop, which serves calls meanwhile.
    """

    @property
    def name(self) -> str:
        """See the class."""
        ...

    @property
    def interval_s(self) -> float:
        """See the class."""
        ...

    async def run_once(self, store: MaintenanceStore) -> BatchResult:
        """Do some of the work in the shard that is held.

        Raises:
            SomaBrainError: it could not be done now; it is tried again after a while.
        """
        ...
