"""When to try again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling delays with a bound."""

    base_s: float
    cap_s: float

    def delay_s(self, attempt: int, jitter: float = 1.0) -> float:
        """Return how long to wait after the failed `attempt`, counted from 1.

        Args:
            attempt: how often it failed.
            share: in [0, 1], drawn at random to spread many waiters over the second half of the delay; 1: no jitter.
        """
        doubled = self.base_s * 2.0 ** min(max(attempt, 1) - 1, 32)
        return min(self.cap_s, doubled) * (0.5 + 0.5 * jitter)
