"""Exponential back-off of retries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Doubling delays with an upper bound."""

    base_s: float
    cap_s: float

    def delay_s(self, attempt: int, jitter: float = 1.0) -> float:
        """Return the seconds to wait after the failed `attempt`, counted from 1.

        Args:
            attempt: number of failures.
            jitter: random value in [0, 1] that spreads retries over the second half of the delay; 1: no jitter.
        """
        doubled = self.base_s * 2.0 ** min(max(attempt, 1) - 1, 32)
        return min(self.cap_s, doubled) * (0.5 + 0.5 * jitter)
