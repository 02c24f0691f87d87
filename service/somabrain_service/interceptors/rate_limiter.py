"""Rate limits per tenant, in this process: each pod enforces its share of a limit."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from common.config.settings import QuotaSettings
from common.errors import FailedPrecondition, ResourceExhausted
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.quota import TokenBucket
from somabrain_service.flags.registry import FlagSource
from somabrain_service.metrics import Metrics

MAX_BUCKETS = 20_000
"""Maximum number of token buckets; the least recently used is evicted first, and is full again by then."""


class RateLimiter:
    """Token buckets of all tenants, and the check of the flag `read_only`."""

    def __init__(
        self,
        flags: FlagSource,
        quota: QuotaSettings,
        metrics: Metrics,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._flags = flags
        self._replicas = quota.replicas
        self._burst_s = quota.burst_s
        self._metrics = metrics
        self._clock_s = clock_s
        self._buckets: OrderedDict[tuple[TenantId, str], TokenBucket] = OrderedDict()

    def check(self, tenant: TenantId, writes: int) -> None:
        """Consume one request and the given number of writes.

        Raises:
            ResourceExhausted: a rate limit is exceeded.
            FailedPrecondition: the call would write, and the flag `read_only` is set.
        """
        flags = self._flags.for_tenant(tenant)
        if writes and flags.read_only:
            self._metrics.quota_refusals.labels("read_only").inc()
            raise FailedPrecondition("Writes are refused while the flag read_only is set; try again later.")
        self._consume(tenant, "requests_per_second", flags.requests_per_second, 1)
        self._consume(tenant, "writes_per_second", flags.writes_per_second, writes)

    def _consume(self, tenant: TenantId, quota: str, limit: float, cost: int) -> None:
        if not limit or not cost:
            return
        rate, now_s = limit / self._replicas, self._clock_s()
        capacity = rate * self._burst_s
        bucket = self._buckets.setdefault((tenant, quota), TokenBucket(max(1.0, capacity), now_s))
        self._buckets.move_to_end((tenant, quota))
        if len(self._buckets) > MAX_BUCKETS:
            self._buckets.popitem(last=False)
        if wait_s := bucket.spend(cost, now_s, rate=rate, capacity=capacity):
            self._metrics.quota_refusals.labels(quota).inc()
            raise ResourceExhausted(
                f"The tenant's limit of {limit:.15g} {quota.replace('_', ' ')} is exceeded; "
                f"try again in {wait_s:.3f} s, or have the limit {quota} raised.",
                retry_after_s=wait_s,
                quota=quota,
                limit=limit,
            )
