"""The circuit breaker opens after repeated failures, and lets one call through after its reset time."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from somabrain_service.encoders.circuit_breaker import CircuitBreaker

FAILURES, OPEN_S = 3, 10.0


def test_half_open_call_decides_breaker_state() -> None:
    now = 0.0
    breaker = CircuitBreaker(FAILURES, OPEN_S, lambda: now)
    for _ in range(FAILURES):
        assert breaker.may_call()
        breaker.record_failure()
    assert not breaker.may_call()
    now = OPEN_S
    assert breaker.may_call()
    assert not breaker.may_call()
    breaker.record_failure()
    now = 2 * OPEN_S - 0.001
    assert not breaker.may_call()
    now = 2 * OPEN_S
    assert breaker.may_call()
    breaker.record_success()
    assert breaker.may_call()
    assert breaker.may_call()


@given(st.lists(st.tuples(st.floats(0, 3 * OPEN_S), st.booleans()), max_size=60))
@settings(deadline=None)
def test_open_breaker_allows_one_call_per_reset_time(
    steps: list[tuple[float, bool]],
) -> None:
    """While open the breaker allows exactly one call per reset time."""
    now, failures, called_at = 0.0, 0, float("-inf")
    breaker = CircuitBreaker(FAILURES, OPEN_S, lambda: now)
    for wait_s, answers in steps:
        now += wait_s
        if not breaker.may_call():
            assert failures >= FAILURES
            assert now < called_at + OPEN_S
            continue
        assert failures < FAILURES or now >= called_at + OPEN_S
        called_at, failures = now, 0 if answers else failures + 1
        (breaker.record_success if answers else breaker.record_failure)()
