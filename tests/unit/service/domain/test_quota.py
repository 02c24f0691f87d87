"""Rates and storage quotas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config.settings import QuotaSettings
from common.errors import FailedPrecondition, ResourceExhausted
from somabrain_service.domain.names import TenantId, tenant_id
from somabrain_service.domain.quota import StorageUsage, TokenBucket, quota_exceeded
from somabrain_service.flags.registry import FixedFlags, Flags
from somabrain_service.interceptors.rate_limiter import RateLimiter
from somabrain_service.metrics import Metrics

CALLS = st.lists(st.tuples(st.floats(0, 5), st.integers(1, 500)), max_size=60)


@given(CALLS, st.floats(0.01, 1000), st.floats(0, 2000))
def test_token_bucket_spends_at_most_refill_plus_one_batch(
    calls: list[tuple[float, int]], rate: float, capacity: float
) -> None:
    bucket, now_s, spent = TokenBucket(max(1.0, capacity), 0.0), 0.0, 0
    for pause_s, cost in calls:
        now_s += pause_s
        if not bucket.spend(cost, now_s, rate=rate, capacity=capacity):
            spent += cost
            largest = max(cost for _, cost in calls)
            assert spent <= max(1.0, capacity) + rate * now_s + largest


@given(CALLS, st.floats(0.01, 1000), st.floats(0, 2000))
def test_call_after_returned_wait_is_allowed(calls: list[tuple[float, int]], rate: float, capacity: float) -> None:
    bucket, now_s = TokenBucket(max(1.0, capacity), 0.0), 0.0
    for pause_s, cost in calls:
        now_s += pause_s
        if wait_s := bucket.spend(cost, now_s, rate=rate, capacity=capacity):
            now_s += wait_s * (1 + 1e-9) + 1e-6
            assert bucket.spend(cost, now_s, rate=rate, capacity=capacity) == 0


def test_clock_moving_back_adds_no_tokens() -> None:
    bucket = TokenBucket(1.0, 100.0)
    assert bucket.spend(1, 100.0, rate=1, capacity=1) == 0
    assert bucket.spend(1, 50.0, rate=1, capacity=1) == 1


@given(st.integers(0, 20), st.integers(0, 20), st.integers(-5, 20))
def test_storage_quota_rejects_only_growth_past_limit(allowed: int, used: int, more: int) -> None:
    full = allowed > 0 and more > 0 and used + more > allowed
    for refused in (
        quota_exceeded(StorageUsage(memories=allowed), StorageUsage(memories=used), StorageUsage(memories=more)),
        quota_exceeded(StorageUsage(text_bytes=allowed), StorageUsage(text_bytes=used), StorageUsage(text_bytes=more)),
    ):
        assert (refused is not None) == full
        assert refused is None or (refused.limit, refused.retry_after_s) == (allowed, None)


A, B = tenant_id("i", "a"), tenant_id("i", "b")


def rate_limiter(flags: Flags, clock: list[float], metrics: Metrics, **quota: object) -> RateLimiter:
    return RateLimiter(FixedFlags(flags), QuotaSettings.model_validate(quota), metrics, lambda: clock[0])


def spent(limiter: RateLimiter, tenant: TenantId, writes: int, tries: int) -> int:
    """Return how many of `tries` calls were allowed."""
    allowed_calls = 0
    for _ in range(tries):
        try:
            limiter.check(tenant, writes)
        except ResourceExhausted:
            continue
        allowed_calls += 1
    return allowed_calls


def test_rate_limit_is_per_tenant_and_divided_by_replicas() -> None:
    clock, metrics = [0.0], Metrics()
    limiter = rate_limiter(Flags(requests_per_second=20), clock, metrics, replicas=2, burst_s=1)
    assert spent(limiter, A, 0, 100) == 10
    assert spent(limiter, B, 0, 100) == 10
    clock[0] = 0.5
    assert spent(limiter, A, 0, 100) == 5
    assert 'somabrain_quota_refusals_total{quota="requests_per_second"} 275.0' in metrics.exposition().decode()


def test_each_batch_item_counts_as_write() -> None:
    clock = [0.0]
    limiter = rate_limiter(Flags(writes_per_second=100), clock, Metrics(), burst_s=1)
    limiter.check(A, 500)
    assert spent(limiter, A, 0, 100) == 100
    with pytest.raises(ResourceExhausted) as caught:
        limiter.check(A, 1)
    assert (caught.value.quota, caught.value.limit) == ("writes_per_second", 100)
    assert caught.value.retry_after_s == pytest.approx(4.01)
    clock[0] = 4.1
    limiter.check(A, 1)


def test_read_only_flag_rejects_only_writes() -> None:
    limiter = rate_limiter(Flags(read_only=True), [0.0], Metrics())
    limiter.check(A, 0)
    with pytest.raises(FailedPrecondition, match="flag read_only"):
        limiter.check(A, 1)
