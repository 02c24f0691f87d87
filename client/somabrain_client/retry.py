"""Retry policy for unavailable servers. gRPC's own retries are off, so that one layer retries and counts."""

from __future__ import annotations

from dataclasses import dataclass

from common.aio.backoff import Backoff


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with jitter, for calls to an unavailable server; request ids keep retried writes idempotent.

    `initial_s` and `max_s` bound the back-off, in seconds; `multiplier` is its growth per attempt.
    """

    max_attempts: int = 12
    initial_s: float = 0.05
    multiplier: float = 2.0
    max_s: float = 1.0

    def backoff_s(self, attempt: int, jitter: float, retry_after_s: float | None = None) -> float:
        """Return the seconds to wait after a failed attempt.

        Args:
            attempt: number of the failed attempt; 1 for the first.
            jitter: random number from 0 to 1; 0 waits half of the back-off, 1 all of it.
            retry_after_s: minimum wait that the server requested; None: no minimum.
        """
        backoff = Backoff(self.initial_s, self.multiplier, self.max_s)
        return max(backoff.delay_s(attempt, jitter), retry_after_s or 0.0)


@dataclass(slots=True)
class Attempts:
    """Counters of a client's calls and attempts."""

    calls: int = 0
    """Calls by the application, retries not counted."""
    attempts: int = 0
    """Attempts of all calls, retries included."""
    unavailable: int = 0
    """Attempts that ended UNAVAILABLE, or CANCELLED by a stopping server, even if a later one succeeded."""
