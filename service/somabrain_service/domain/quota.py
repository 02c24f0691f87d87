"""Tenant quotas: rates by token bucket (Turner 1986), storage by current usage. Pure functions.

A bucket fills at `rate` tokens per second up to `capacity` and admits a request while it has at least one token. A
request that costs more than the bucket has is admitted and leaves a debt, which is paid off before the next one: no
batch is too large for a rate, and the rate is met on average.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import ResourceExhausted


@dataclass(slots=True)
class TokenBucket:
    """Tokens of a rate that are left at a time; below 0: debt."""

    tokens: float
    updated_at_s: float

    def spend(self, cost: float, now_s: float, *, rate: float, capacity: float) -> float:
        """Spend `cost` if there is at least one token.

        Returns:
            Seconds until there will be one; 0: `cost` was spent.
        """
        filled = self.tokens + max(0.0, now_s - self.updated_at_s) * rate
        self.tokens, self.updated_at_s = min(filled, max(1.0, capacity)), now_s
        if self.tokens < 1:
            return (1 - self.tokens) / rate
        self.tokens -= cost
        return 0.0


@dataclass(frozen=True, slots=True)
class StorageUsage:
    """Memories and bytes of text: used, requested, or a limit, where 0 means no limit."""

    memories: int = 0
    text_bytes: int = 0

    def __add__(self, other: StorageUsage) -> StorageUsage:
        return StorageUsage(self.memories + other.memories, self.text_bytes + other.text_bytes)

    @property
    def limited(self) -> bool:
        """True if, as a quota, any limit is set."""
        return bool(self.memories or self.text_bytes)


def quota_exceeded(limit: StorageUsage, used: StorageUsage, requested: StorageUsage) -> ResourceExhausted | None:
    """Return the error of adding `requested` to `used`; None: it is within the limit."""
    if requested.memories > 0 and 0 < limit.memories < used.memories + requested.memories:
        return _exceeded("memories", "memories", limit.memories, used.memories, requested.memories)
    if requested.text_bytes > 0 and 0 < limit.text_bytes < used.text_bytes + requested.text_bytes:
        return _exceeded("text_bytes", "bytes of text", limit.text_bytes, used.text_bytes, requested.text_bytes)
    return None


def _exceeded(quota: str, unit: str, limit: int, used: int, requested: int) -> ResourceExhausted:
    return ResourceExhausted(
        f"The tenant may store {limit} {unit} in all and stores {used}; {requested} more exceed the limit. "
        f"Forget some, or have the limit {quota} raised.",
        quota=quota,
        limit=limit,
    )
