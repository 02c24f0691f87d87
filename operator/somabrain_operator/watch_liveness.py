"""The proof that watches are alive: a change that we know of must come back as an event.

A quiet cluster has no events, so silence alone proves nothing; but the Lease is renewed all the time, and each renewal
that we wrote or read must be told by the watch.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class WatchLiveness:
    """How long the watch owes an event."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Measure by a clock in seconds that never goes back."""
        self._clock = clock
        self._expected_since: float | None = None

    def expect_event(self) -> None:
        """Expect an event: the Lease has changed."""
        if self._expected_since is None:
            self._expected_since = self._clock()

    def on_event(self) -> None:
        """Take an event of the Lease."""
        self._expected_since = None

    def pause(self) -> None:
        """Expect nothing: the API server does not answer, so it tells of nothing either."""
        self._expected_since = None

    def overdue_s(self) -> float:
        """Return for how long the watch has owed an event, in seconds."""
        return 0.0 if self._expected_since is None else self._clock() - self._expected_since
