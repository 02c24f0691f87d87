"""Exponential back-off of retries."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that grow with each failed attempt, up to an upper bound.

    The delay before jitter is `initial_s * factor ** (attempt - 1)`, at most `cap_s`. `jitter` are the bounds of the
    random multiple of it that is waited, which spreads the retries of many processes.
    """

    initial_s: float
    factor: float = 2.0
    cap_s: float = math.inf
    jitter: tuple[float, float] = (0.5, 1.0)

    def delay_s(self, attempt: int, fraction: float = 1.0) -> float:
        """Return the seconds to wait after the failed `attempt`, counted from 1.

        Args:
            attempt: number of failures.
            fraction: random number in [0, 1] that selects the multiple between the bounds of `jitter`.
        """
        low, high = self.jitter
        return min(self.cap_s, self._grown_s(attempt)) * (low + (high - low) * fraction)

    def _grown_s(self, attempt: int) -> float:
        try:
            return float(self.initial_s * self.factor ** (max(attempt, 1) - 1))
        except OverflowError:
            return math.inf
