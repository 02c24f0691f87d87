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
    """Memories, bytes of text and of token vectors: used, requested, or a limit, where 0 means no limit."""

    memories: int = 0
    text_bytes: int = 0
    token_bytes: int = 0

    def __add__(self, other: StorageUsage) -> StorageUsage:
        return StorageUsage(
            self.memories + other.memories, self.text_bytes + other.text_bytes, self.token_bytes + other.token_bytes
        )

    def __mul__(self, count: int) -> StorageUsage:
        return StorageUsage(self.memories * count, self.text_bytes * count, self.token_bytes * count)

    @property
    def grows(self) -> bool:
        """True if, as a request, it adds anything."""
        return self.memories > 0 or self.text_bytes > 0 or self.token_bytes > 0

    @property
    def limited(self) -> bool:
        """True if, as a quota, any limit is set."""
        return bool(self.memories or self.text_bytes or self.token_bytes)


def quota_exceeded(limit: StorageUsage, used: StorageUsage, requested: StorageUsage) -> ResourceExhausted | None:
    """Return the error of adding `requested` to `used`; None: it is within the limit."""
    if requested.memories > 0 and 0 < limit.memories < used.memories + requested.memories:
        return _exceeded("memories", "memories", limit.memories, used.memories, requested.memories)
    if requested.text_bytes > 0 and 0 < limit.text_bytes < used.text_bytes + requested.text_bytes:
        return _exceeded("text_bytes", "bytes of text", limit.text_bytes, used.text_bytes, requested.text_bytes)
    if requested.token_bytes > 0 and 0 < limit.token_bytes < used.token_bytes + requested.token_bytes:
        unit = "bytes of token vectors"
        return _exceeded("token_bytes", unit, limit.token_bytes, used.token_bytes, requested.token_bytes)
    return None


def _exceeded(quota: str, unit: str, limit: int, used: int, requested: int) -> ResourceExhausted:
    return ResourceExhausted(
        f"The tenant may store {limit} {unit} in all and stores {used}; {requested} more exceed the limit. "
        f"Forget some, or have the limit {quota} raised.",
        quota=quota,
        limit=limit,
    )
