"""A circuit breaker: who fails again and again is left alone for a while (Nygard 2007, Release It!).

Pure but for the clock it is given. Closed: all may call. After `failures` in a row it is open, and nobody may, for
`rest_s`. Then one may try, and how that ends closes it or opens it anew.
"""

from __future__ import annotations

from collections.abc import Callable


class CircuitBreaker:
    """See the module. Not for threads."""

    def __init__(self, max_failures: int, open_s: float, clock_s: Callable[[], float]) -> None:
        self._max_failures, self._open_s, self._clock_s = max_failures, open_s, clock_s
        self._failures = 0
        self._retry_at = 0.0

    def may_call(self) -> bool:
        """Whether to call now. Of those who ask after a rest, the first is the one who tries."""
        if self._failures < self._max_failures:
            return True
        now = self._clock_s()
        if now < self._retry_at:
            return False
        self._retry_at = now + self._open_s
        return True

    def record_success(self) -> None:
        """A call was answered."""
        self._failures = 0

    def record_failure(self) -> None:
        """A call was not."""
        self._failures += 1
        self._retry_at = self._clock_s() + self._open_s
