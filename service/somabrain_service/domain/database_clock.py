"""The one clock of all processes: the database's, as each of them measures it.

A reading of the database's clock was taken after the query was sent and before its answer arrived, so it bounds the
difference to this process' monotonic clock from below and from above. The first reading sets the difference to the
middle of its bounds, as NTP does; each further one moves it only as far as its own bounds require. So a slow answer
changes nothing, a quick one corrects by milliseconds, and a database whose clock was set, or another database after a
failover, is followed at once. Between two readings time never goes back, even if the host's wall clock is set.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from common.errors import StoreUnavailable

MAX_SILENT_DIFFERENCE_S = 1.0
"""Difference between the process' wall clock and the database's, in seconds, up to which nothing is reported."""


class DatabaseClock:
    """The database's clock. `monotonic_s` is the process' clock that is never set, `wall_s` the one that can be."""

    def __init__(
        self, monotonic_s: Callable[[], float] = time.monotonic, wall_s: Callable[[], float] = time.time
    ) -> None:
        self._monotonic_s = monotonic_s
        self._wall_s = wall_s
        self._origin: datetime | None = None
        """The database's time when the monotonic clock was 0; None: not measured yet."""

    def now(self) -> datetime:
        """Return the database's current time, in UTC.

        Raises:
            StoreUnavailable: it has not been measured yet.
        """
        if self._origin is None:
            raise StoreUnavailable("The database's clock has not been read yet; try again shortly.")
        return self._origin + timedelta(seconds=self._monotonic_s())

    def record(self, sent_s: float, database_time: datetime, received_s: float) -> timedelta:
        """Record a reading of the database's clock, and return the correction; 0 for the first one.

        Args:
            sent_s: time of the monotonic clock before the query was sent.
            database_time: the answer.
            received_s: time of the monotonic clock after it was received.
        """
        earliest = database_time.astimezone(UTC) - timedelta(seconds=received_s)
        latest = database_time.astimezone(UTC) - timedelta(seconds=sent_s)
        previous = self._origin or earliest + (latest - earliest) / 2
        self._origin = min(max(previous, earliest), latest)
        return self._origin - previous

    def explain_difference(self) -> str:
        """Return a sentence about a process' wall clock that differs from the database's; empty: it does not.

        Raises:
            StoreUnavailable: the database's clock has not been measured yet.
        """
        ahead_s = self._wall_s() - self.now().timestamp()
        if abs(ahead_s) <= MAX_SILENT_DIFFERENCE_S:
            return ""
        return (
            f"This process' clock is {abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} PostgreSQL's. "
            "Memories follow PostgreSQL's; bearer tokens, certificates and log lines follow this one. "
            "Synchronize the clocks of both hosts by NTP."
        )
