"""The retry policy is a value, and the back-off is a function of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from somabrain_client.retry import RetryPolicy

POLICY = RetryPolicy()


@given(st.integers(1, 100), st.floats(0, 1))
def test_backoff_is_positive_and_bounded(attempt: int, jitter: float) -> None:
    assert POLICY.initial_s / 2 <= POLICY.backoff_s(attempt, jitter) <= POLICY.max_s


@given(st.integers(1, 99), st.floats(0, 1))
def test_backoff_is_monotonic(attempt: int, jitter: float) -> None:
    assert POLICY.backoff_s(attempt, jitter) <= POLICY.backoff_s(attempt + 1, jitter)


@given(st.integers(1, 100), st.floats(0, 1), st.floats(0, 60))
def test_backoff_is_at_least_retry_after(attempt: int, jitter: float, retry_after_s: float) -> None:
    assert POLICY.backoff_s(attempt, jitter, retry_after_s) >= retry_after_s


def test_retry_schedule_outlasts_pod_restart() -> None:
    """The schedule lasts seven seconds at full jitter: longer than DNS lists a terminated pod."""
    assert sum(POLICY.backoff_s(attempt, 1.0) for attempt in range(1, POLICY.max_attempts)) > 7
