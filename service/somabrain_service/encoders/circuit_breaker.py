"""Circuit breaker: no calls for a while after repeated failures (Nygard 2007, Release It!).

Pure except for the injected clock. Closed: calls are allowed. After `max_failures` in a row it opens, and no call is
allowed for `open_s`. Then it is half-open: one call is allowed, whose outcome closes it or opens it again.
"""

from __future__ import annotations

from collections.abc import Callable


class CircuitBreaker:
    """Circuit breaker; see the module. Not thread-safe."""

    def __init__(self, max_failures: int, open_s: float, clock_s: Callable[[], float]) -> None:
        self._max_failures, self._open_s, self._clock_s = max_failures, open_s, clock_s
        self._failures = 0
        self._retry_at = 0.0

    def may_call(self) -> bool:
        """Return True if a call is allowed now. After `open_s`, only the first caller gets True."""
        if self._failures < self._max_failures:
            return True
        now = self._clock_s()
        if now < self._retry_at:
            return False
        self._retry_at = now + self._open_s
        return True

    def record_success(self) -> None:
        """Record a successful call, which closes the breaker."""
        self._failures = 0

    def record_failure(self) -> None:
        """Record a failed call."""
        self._failures += 1
        self._retry_at = self._clock_s() + self._open_s
