"""What a tenant may use: rates, by token buckets (Turner 1986); stocks, by what it holds already. Pure.

A bucket fills by `rate` a second up to `capacity` and is spent from as long as it holds one token. What costs more
than it holds is let in, and paid off before the next: no batch is too large for a rate, and the rate holds on average.
"""

from __future__ import annotations

from dataclasses import dataclass

from common.errors import ResourceExhausted


@dataclass(slots=True)
class TokenBucket:
    """What is left of a rate at a moment; below 0: what is still to be paid off."""

    tokens: float
    updated_at_s: float

    def spend(self, cost: float, now_s: float, *, rate: float, capacity: float) -> float:
        """Spend, if there is a token.

        Returns:
            After how many seconds there will be one; 0: it was spent.
        """
        filled = self.tokens + max(0.0, now_s - self.updated_at_s) * rate
        self.tokens, self.updated_at_s = min(filled, max(1.0, capacity)), now_s
        if self.tokens < 1:
            return (1 - self.tokens) / rate
        self.tokens -= cost
        return 0.0


@dataclass(frozen=True, slots=True)
class StorageUsage:
    """Memories and bytes of text: held, to come, or, where 0 means no limit, allowed."""

    memories: int = 0
    text_bytes: int = 0

    def __add__(self, other: StorageUsage) -> StorageUsage:
        return StorageUsage(self.memories + other.memories, self.text_bytes + other.text_bytes)

    @property
    def limited(self) -> bool:
        """As what is allowed: whether anything is not."""
        return bool(self.memories or self.text_bytes)


def quota_exceeded(limit: StorageUsage, used: StorageUsage, requested: StorageUsage) -> ResourceExhausted | None:
    """Return the error of adding `more` to what is held; None: it is allowed."""
    if requested.memories > 0 and 0 < limit.memories < used.memories + requested.memories:
        return _exceeded("memories", "memories", limit.memories, used.memories, requested.memories)
    if requested.text_bytes > 0 and 0 < limit.text_bytes < used.text_bytes + requested.text_bytes:
        return _exceeded("text_bytes", "bytes of text", limit.text_bytes, used.text_bytes, requested.text_bytes)
    return None


def _exceeded(quota: str, unit: str, limit: int, used: int, requested: int) -> ResourceExhausted:
    return ResourceExhausted(
        f"The tenant may hold {limit} {unit} in all and holds {used}; {requested} more do not fit. "
        f"Forget some, or have the limit {quota} raised.",
        quota=quota,
        limit=limit,
    )
