"""The retry policy is a value, and the back-off is a function of it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from somabrain_client.retry import RetryPolicy

POLICY = RetryPolicy()


@given(st.integers(1, 100), st.floats(0, 1))
def test_a_wait_is_positive_and_bounded(attempt: int, jitter: float) -> None:
    assert POLICY.initial_s / 2 <= POLICY.backoff_s(attempt, jitter) <= POLICY.max_s


@given(st.integers(1, 99), st.floats(0, 1))
def test_waits_never_shrink(attempt: int, jitter: float) -> None:
    assert POLICY.backoff_s(attempt, jitter) <= POLICY.backoff_s(attempt + 1, jitter)


@given(st.integers(1, 100), st.floats(0, 1), st.floats(0, 60))
def test_no_wait_is_shorter_than_the_server_asked_for(attempt: int, jitter: float, retry_after_s: float) -> None:
    assert POLICY.backoff_s(attempt, jitter, retry_after_s) >= retry_after_s


def test_the_whole_schedule_bridges_a_restart_of_a_pod() -> None:
    """Seven seconds at full jitter: longer than a replica takes to be taken out of DNS."""
    assert sum(POLICY.backoff_s(attempt, 1.0) for attempt in range(1, POLICY.max_attempts)) > 7
