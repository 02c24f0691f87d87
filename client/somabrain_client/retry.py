"""When a call that found nobody is tried again. gRPC's own retries are off: one layer retries, and counts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with jitter, for calls that nobody answered; writes carry a request id: none is doubled."""

    max_attempts: int = 12
    initial_s: float = 0.05
    multiplier: float = 2.0
    max_s: float = 1.0

    def backoff_s(self, attempt: int, jitter: float, retry_after_s: float | None = None) -> float:
        """Return how long to wait after a failed attempt.

        Args:
            attempt: 1 for the first.
            jitter: 0 to 1, drawn by the caller; the wait is that part of the upper half of the back-off.
            retry_after_s: what the server asked for; the wait is no shorter.
        """
        ceiling = min(self.max_s, self.initial_s * self.multiplier ** (attempt - 1))
        return max(ceiling * (0.5 + 0.5 * jitter), retry_after_s or 0.0)


@dataclass(slots=True)
class Attempts:
    """What happened underneath the calls of a client."""

    calls: int = 0
    """Calls as their callers see them."""
    attempts: int = 0
    unavailable: int = 0
    """Attempts answered UNAVAILABLE, or CANCELLED by a server that stops, whether or not a later one succeeded."""
