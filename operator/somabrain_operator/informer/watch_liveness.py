"""Liveness of watches: a known change of the Lease must arrive as a watch event.

A quiet cluster has no events, so silence alone proves nothing; but the Lease is renewed all the time, and the watch
must deliver each renewal that we wrote or read.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class WatchLiveness:
    """Timer of an expected watch event."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without an expected event, with a monotonic clock in seconds."""
        self._clock = clock
        self._expected_since: float | None = None

    def expect_event(self) -> None:
        """Expect an event, because the Lease has changed."""
        if self._expected_since is None:
            self._expected_since = self._clock()

    def on_event(self) -> None:
        """Clear the expectation: an event of the Lease arrived."""
        self._expected_since = None

    def pause(self) -> None:
        """Clear the expectation: the API server does not respond, so it sends no events either."""
        self._expected_since = None

    def overdue_s(self) -> float:
        """Return the seconds since an event has been expected; 0 if none is."""
        return 0.0 if self._expected_since is None else self._clock() - self._expected_since
